"""What was submitted: whole lines, one launcher at a time, submissions cut short told from others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from sweeps.ledger import Ledger


def test_a_submission_is_noted_before_and_after(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.held():
        made = ledger.begin("big", "frames", False, [["a", "b"], ["c"]], [["t"], ["u"]])
        assert [each.job for each in ledger.read()] == [""]
        ledger.handed_over(made, "12")
    (found,) = ledger.read()
    assert (found.token, found.cluster, found.recipe, found.timed) == (made.token, "big", "frames", False)
    assert (found.trainings, found) == ((("t",), ("u",)), replace(made, job="12"))
    assert found.tasks == (("a", "b"), ("c",)) and [found.job_of(task) for task in (0, 1)] == ["12_0", "12_1"]


def test_a_lone_job_is_no_array(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.held():
        ledger.handed_over(ledger.begin("big", "frames", True, [["a"]]), "7")
    assert ledger.read()[0].job_of(0) == "7"


def test_what_was_taken_back_is_marked_and_lines_cut_short_are_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.held():
        ledger.withdraw(ledger.begin("big", "frames", True, [["a"]]))
        ledger.begin("big", "frames", True, [["b"]])
    path = tmp_path / ".sweep" / "submissions.jsonl"
    path.write_text(path.read_text() + '{"token": "x", "ta')
    assert [(each.withdrawn, each.tasks) for each in ledger.read()] == [(True, (("a",),)), (False, (("b",),))]
    assert Ledger(tmp_path / "none").read() == []


def test_two_launchers_take_turns(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sweeps.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])).held(): print('held', flush=True)"
    )
    ledger = Ledger(tmp_path)
    with ledger.held():
        other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        try:
            other.wait(2)
            raise AssertionError("the other did not wait")
        except subprocess.TimeoutExpired:
            pass
    out, _ = other.communicate(timeout=30)
    assert out == "held\n"
