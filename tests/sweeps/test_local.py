"""Points on this machine: what is shown while one runs, and what is said when one fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from bench.errors import UserError
from bench.experiment import Evaluation, Experiment
from bench.record import training_folder, write_heartbeat
from sweeps.local import _run_job
from tests.conftest import small

TRACEBACK = """submitit ERROR (2026-01-01 00:00:00,000) - Submitted job triggered an exception
Traceback (most recent call last):
  File "a.py", line 1, in first
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in second
    one / 0
ZeroDivisionError: division by zero
"""


class Job:
    """Stands in for submitit's: writes a heartbeat at each look, then ends as told."""

    def __init__(self, log: str = "", mistake: str = "", beats: tuple[tuple[str, int, int], ...] = ()) -> None:
        self.log, self.mistake, self.beats = log, mistake, list(beats)
        self.folder = Path()
        self.paths = type("Paths", (), {"stderr": "jobs/1_0_log.err"})

    def submit(self, function: object, values: dict[str, object], runs: str) -> Job:
        return self

    def done(self) -> bool:
        if not self.beats:
            return True
        beat = self.beats.pop(0)
        if beat[0]:
            write_heartbeat(self.folder, *beat)
        return False

    def exception(self) -> Exception | None:
        return RuntimeError("many\nlines") if self.log else None

    def result(self) -> str:
        return self.mistake

    def stderr(self) -> str:
        return self.log


class Recorder(Progress):
    """Remembers what its bars said."""

    def __init__(self) -> None:
        super().__init__(console=Console(quiet=True))
        self.said: list[tuple[str, float, float | None]] = []

    def update(self, task_id, **changes) -> None:  # type: ignore[no-untyped-def]
        super().update(task_id, **changes)
        task = self.tasks[-1]
        self.said.append((task.description, task.completed, task.total))


def run(job: Job, experiment: Experiment, runs: Path, progress: Progress) -> None:
    job.folder = training_folder(runs, experiment)
    _run_job(job, experiment, runs, progress)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Job(log=TRACEBACK), ["failed: ZeroDivisionError: division by zero. "]),
        (Job(log="submitit INFO - Loading\n"), ["failed: its process ended without a traceback"]),
        (Job(mistake="timing.device is 'cuda'."), ["cannot be run: timing.device is 'cuda'. "]),
        (Job(), ["ended without a record"]),
    ],
)
def test_a_point_that_fails_gets_one_line_and_its_log(tmp_path: Path, job: Job, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        run(job, small("tsn"), tmp_path, Recorder())
    said = str(caught.value)
    assert "\n" not in said
    assert all(word in said for word in [*words, "The point TSN, 4 frames", "jobs/1_0_log.err"]), said


def test_the_bar_follows_every_stage_of_this_point_alone(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs hold two points of one training; the first one's "done" is not the second one's."""
    monkeypatch.setattr("sweeps.local.POLL_SECONDS", 0.0)
    monkeypatch.setattr("sweeps.local.find_result", lambda *_: True)
    experiment = replace(small("tsn"), evaluation=Evaluation(frames=8))
    folder = training_folder(tmp_path, experiment)
    folder.mkdir(parents=True)
    write_heartbeat(folder, "done", 3, 3)
    progress = Recorder()
    run(Job(beats=(("", 0, 0), ("evaluate", 1, 2), ("time", 0, 1))), experiment, tmp_path, progress)
    assert progress.said == [
        ("TSN, 8 frames, trained at 4: evaluating, batch", 1, 2),
        ("TSN, 8 frames, trained at 4: timing", 0, 1),
    ]


def test_a_damaged_heartbeat_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.local.POLL_SECONDS", 0.0)
    monkeypatch.setattr("sweeps.local.find_result", lambda *_: True)
    folder = training_folder(tmp_path, small("tsn"))
    folder.mkdir(parents=True)
    (folder / "heartbeat.json").write_text('{"pid": 1')
    progress = Recorder()
    run(Job(beats=(("", 0, 0),)), small("tsn"), tmp_path, progress)
    assert not progress.said
