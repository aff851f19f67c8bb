"""Logs: which ones, their ends, and following them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from afbench import main
from bench.errors import UserError
from sweeps.ledger import Ledger, Submission
from sweeps.logs import follow, last_lines, logs_of, print_logs
from sweeps.plan import Place, Point
from sweeps.triage import UNKNOWN, Cause
from tests.conftest import small


def test_points_of_a_job_share_their_log(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    submission = Submission("afbench-1", 0.0, "slurm", "mine", False, (("a",), ("b",)), "7")
    first, second = (Point(small("tsn", frames=count), "running", place=Place(submission, 1)) for count in (3, 4))
    third = Point(small("tsn", frames=5), "failed", cause=Cause(UNKNOWN, log=tmp_path / "x.err"))
    none = Point(small("tsn", frames=6), "missing")
    found = logs_of([first, second, third, none], tmp_path)
    assert found == {
        ledger.jobs_folder(submission) / "7_1_0_log.err": [first, second],
        tmp_path / "x.err": [third],
    }
    with pytest.raises(UserError, match="None of the 1 points has a log"):
        print_logs([none], tmp_path, 3, False)


def test_a_log_is_one_file_by_whatever_name_the_folder_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what runs the folder is that of whoever looks, of what is done that of its attempt."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "link").symlink_to("runs")
    monkeypatch.chdir(tmp_path)
    submission = Submission("afbench-1", 0.0, "slurm", "mine", False, (("a",),), "7")
    point = Point(small("tsn"), "running", place=Place(submission, 0))
    for name in (Path("runs"), Path("link"), tmp_path / "link"):
        assert list(logs_of([point], name)) == [tmp_path / "runs" / ".sweep" / "afbench-1" / "7_0_log.err"]


def test_the_log_of_what_is_done_is_found_by_its_attempt(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert logs_of([Point(small("tsn"), "done")], runs) == {}, "none of a run by hand"
    with pytest.raises(SystemExit) as caught:
        main(["sweep", "logs", "demo", "--tiny", "--runs", str(runs), "--failed"])
    assert caught.value.code == 2
    assert "No point has failed; expected --points" in capsys.readouterr().err


def test_the_last_lines_and_what_keeps_them_from_being_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo \xff\nthree\n")
    assert last_lines(path, 2) == ["two �", "three"]
    with pytest.raises(UserError, match=r"cannot be read .*A job that waits has none yet"):
        last_lines(tmp_path / "none", 2)


def test_lines_are_followed_as_they_come_also_of_logs_that_are_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.logs.POLL_SECONDS", 0.01)
    monkeypatch.setattr("sweeps.logs.LOOK_SECONDS", 0.05)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    first.write_text("before\n")
    followed, written = threading.Event(), threading.Event()

    def look() -> tuple[list[Path], bool]:
        followed.set()
        more = not written.is_set()
        return [first] if more else [first, third], more

    def write() -> None:
        followed.wait(10)
        with open(first, "a") as file:
            for part in ("a", "b\nc", "\n"):
                file.write(part)
                file.flush()
                time.sleep(0.03)
        second.write_text("d\n")
        third.write_text("of a job that came later\n")
        written.set()

    writer = threading.Thread(target=write)
    writer.start()
    found = list(follow([first, second], look))
    writer.join()
    assert found == [(first, "ab"), (first, "c"), (second, "d"), (third, "of a job that came later")]
