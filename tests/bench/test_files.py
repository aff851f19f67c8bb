"""Files whole or not at all, and locks that die with their holders."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files import (
    append_line,
    check_folder,
    is_locked,
    locked,
    make_folder,
    read_lines,
    replacing,
    write_json,
)


@pytest.mark.parametrize("durable", [True, False])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(ZeroDivisionError), replacing(path, durable=durable) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["value.json"]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    for check in (make_folder, check_folder):
        for folder in (tmp_path / "runs", tmp_path / "runs" / "below"):
            with pytest.raises(UserError, match="cannot be written"):
                check(folder)


def test_checking_a_folder_makes_none(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_written_file_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "value.json").mkdir()
    with pytest.raises(UserError, match=r"value\.json cannot be written"):
        write_json(tmp_path / "value.json", {})
    with pytest.raises(UserError, match=r"nowhere/value\.json cannot be written"):
        write_json(tmp_path / "nowhere" / "value.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["value.json"]


def test_a_line_below_one_that_was_cut_short_is_whole(tmp_path: Path) -> None:
    """Also the first one of a file, and below lines that are whole."""
    path = tmp_path / "lines"
    append_line(path, "first")
    append_line(path, "second")
    assert path.read_text() == "first\nsecond\n"
    with open(path, "a") as file:
        file.write('{"token": "a", "ta')
    append_line(path, "third")
    assert read_lines(path) == ["first", "second", '{"token": "a", "ta', "third"]


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UserError, match=r"\.lock cannot be opened \(Is a directory\)"), locked(tmp_path):
        pass
    with pytest.raises(UserError, match=r"\.lock cannot be opened"):
        is_locked(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # Tests may run as root, whom no permission stops.
    with pytest.raises(UserError, match=r"\.lock cannot be opened \(Permission denied\)"), locked(tmp_path):
        pass


def test_the_lock_keeps_a_second_writer_waiting_and_dies_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import time\nfrom pathlib import Path\nfrom bench.files import locked\n"
        f"with locked(Path({str(tmp_path)!r})):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    waiter = subprocess.Popen(
        [sys.executable, "-c", code.replace("time.sleep(60)", "pass")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiter.stderr is not None and "waiting" in waiter.stderr.readline()
    assert waiter.poll() is None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    out, _ = waiter.communicate(timeout=30)
    assert out == "held\n" and waiter.returncode == 0


def test_taking_the_lock_clears_what_a_killed_writer_left(tmp_path: Path) -> None:
    point = tmp_path / "points" / "abc"
    point.mkdir(parents=True)
    (tmp_path / ".checkpoint.pt.x.partial").write_text("half")
    (point / ".result.json.x.partial").write_text("half")
    (point / "result.json").write_text("whole")
    with locked(tmp_path):
        assert not list(tmp_path.rglob("*.partial")) and not list(tmp_path.rglob(".*.partial"))
        assert (point / "result.json").read_text() == "whole"
