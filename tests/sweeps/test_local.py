"""Points on this machine: where they run, what is shown while they do, and what is said when one fails."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

import sweeps.local as local
from bench.attempts import attempt
from bench.errors import UserError
from bench.experiment import Evaluation, Experiment
from bench.files import write_json
from bench.record import EVALUATED, point_folder, training_folder, write_heartbeat
from sweeps.job import Work
from sweeps.plan import Point
from tests.conftest import small

TRACEBACK = """training {name}
Traceback (most recent call last):
  File "b.py", line 2, in second
    one / 0
ZeroDivisionError: division by zero
"""


class Executor:
    """Stands in for submitit's: jobs last a look or two, and do what `acts` does."""

    def __init__(self, acts: Any, beats: tuple[tuple[str, int, int], ...] = ()) -> None:
        self.acts, self.beats = acts, beats
        self.works: list[tuple[str, Work]] = []
        self.running: list[Work] = []
        self.most = 0
        self.cancelled: list[Job] = []

    def update_parameters(self, **_: object) -> None: ...

    def submit(self, work: Work) -> Job:
        self.works.append((work.stage, work))
        self.running.append(work)
        self.most = max(self.most, len(self.running))
        return Job(self, work)


class Job:
    def __init__(self, executor: Executor, work: Work) -> None:
        self.executor, self.work, self.beats = executor, work, list(executor.beats)
        self.log = str(Path(work.runs) / f"{len(executor.works)}_0_log.err")
        self.paths = type("Paths", (), {"stderr": self.log})

    @property
    def points(self) -> list[Experiment]:
        return self.work._experiments()

    def done(self) -> bool:
        folder = training_folder(Path(self.work.runs), self.points[0])
        folder.mkdir(parents=True, exist_ok=True)
        if self.beats:
            write_heartbeat(folder, *self.beats.pop(0))
            return False
        self.executor.acts(self)
        self.executor.running.remove(self.work)
        return True

    def cancel(self) -> None:
        self.executor.cancelled.append(self)


def succeed(job: Job) -> None:
    """Leave what the stage leaves."""
    for point in job.points:
        folder = point_folder(Path(job.work.runs), point)
        folder.mkdir(parents=True, exist_ok=True)
        if job.work.stage == "evaluate":
            write_json(folder / EVALUATED, {})
        else:
            (folder / "result.json").write_text(f'{{"experiment_id": "{point.experiment_id}"}}\n')


def fail(error: Exception | None, log: str = "") -> Any:
    def act(job: Job) -> None:
        folder = training_folder(Path(job.work.runs), job.points[0])
        Path(job.log).write_text(log.replace("{name}", job.points[0].training_id))
        if error is not None:
            with pytest.raises(type(error)), attempt(folder, [point.experiment_id for point in job.points]):
                raise error

    return act


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(local, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(local, "_gpus", list)

    def do(points: list[Experiment], executor: Executor) -> Executor:
        monkeypatch.setattr("submitit.LocalExecutor", lambda folder: executor)
        local.run_points(points, tmp_path)
        return executor

    return do


TWO = [small("tsn"), replace(small("tsn"), evaluation=Evaluation(frames=8))]


def test_points_of_a_training_share_a_job(run: Any) -> None:
    """And with one device all of it is done in one go."""
    executor = run([*TWO, small("tsm")], Executor(succeed))
    assert sorted(len(work.points) for _, work in executor.works) == [1, 2]
    assert {stage for stage, _ in executor.works} == {"all"} and executor.most == 1
    assert not run([*TWO, small("tsm")], Executor(succeed)).works, "what is done is not done again"


def test_several_gpus_train_side_by_side_and_times_are_taken_alone(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_gpus", lambda: ["3", "5"])
    executor = Executor(succeed, beats=(("train", 1, 3), ("train", 2, 3)))
    most = []

    def act(job: Job) -> None:
        most.append((job.work.stage, len(executor.running)))
        succeed(job)

    executor.acts = act
    run([small("tsn", frames=count) for count in (3, 4, 5, 6)], executor)
    stages = [stage for stage, _ in executor.works]
    assert stages == ["evaluate"] * 4 + ["time"] * 4
    assert max(count for stage, count in most if stage == "evaluate") == 2
    assert {count for stage, count in most if stage == "time"} == {1}
    assert {work.gpu for stage, work in executor.works if stage == "evaluate"} == {"3", "5"}
    assert {work.gpu for stage, work in executor.works if stage == "time"} == {"3"}
    cores = {work.gpu: set(work.cores) for stage, work in executor.works if stage == "evaluate"}
    assert not cores["3"] & cores["5"] or not cores["5"]


def test_gpus_are_those_that_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 0\necho 1\necho 2\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [slot.gpu for slot in local.slots()] == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-a")
    assert [slot.gpu for slot in local.slots()] == ["2", "GPU-a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [slot.gpu for slot in local.slots()] == [None]
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert local.slots() == [local.Slot()]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (fail(ZeroDivisionError("division by zero"), TRACEBACK), "error (division by zero)"),
        (fail(None, TRACEBACK), "error (ZeroDivisionError: division by zero)"),
        (fail(None, "training {name}\n"), "killed (training "),
        (fail(None), "lost, log "),
        (fail(UserError("timing.device is 'cuda'."), "afbench: x"), "user (timing.device is 'cuda')"),
    ],
)
def test_a_training_that_fails_gets_its_reason_and_its_log(run: Any, act: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        run([small("tsn")], Executor(act))
    said = str(caught.value)
    assert "\n" not in said and "1 of 1 points have no record. TSN, 4 frames: " in said
    assert words in said and "_0_log.err" in said


def test_the_others_go_on_after_a_failure_unless_it_is_theirs_too(run: Any) -> None:
    points = [small("tsn", frames=count) for count in (3, 4, 5, 6)]
    failing = {points[0].experiment_id}

    def act(job: Job) -> None:
        own = job.points[0].experiment_id in failing
        (fail(UserError("no room"), "") if own else succeed)(job)

    executor = Executor(act)
    with pytest.raises(UserError, match=r"1 of 4 points have no record. TSN, 3 frames: user \(no room\)"):
        run(points, executor)
    assert len(executor.works) == 4
    failing |= {point.experiment_id for point in points}
    others = [small("tsn", frames=count) for count in (7, 8, 9, 10)]
    failing |= {point.experiment_id for point in others}
    executor = Executor(act)
    with pytest.raises(UserError, match=r"4 of 4 points have no record\..*The others were not tried"):
        run(others, executor)
    assert len(executor.works) == 2


def test_an_interrupted_launcher_ends_what_it_began(run: Any) -> None:
    def interrupt(job: Job) -> None:
        raise KeyboardInterrupt

    executor = Executor(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run([small("tsn")], executor)
    assert len(executor.cancelled) == 1


def test_the_bar_follows_every_stage_of_this_work_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the "done" of an earlier point of the training nor a damaged heartbeat is shown."""
    monkeypatch.setattr(local, "POLL_SECONDS", 0.0)
    point = TWO[1]
    folder = training_folder(tmp_path, point)
    folder.mkdir(parents=True)
    with Progress(console=Console(quiet=True)) as progress:
        launcher = local.Launcher(tmp_path, "mine", {point.experiment_id: "TSN [b]"}, progress)
        bar = progress.add_task("TSN", total=None)
        running = local.Running(None, [Point(point, "missing")], "TSN [b]", local.Slot(), 0, time.time() - 5, bar)
        launcher._show(replace(running, since=time.time() + 5))
        (folder / "heartbeat.json").write_text('{"pid": 1')
        launcher._show(running)
        assert progress.tasks[0].description == "TSN"
        write_heartbeat(folder, "evaluate", 1, 2)
        launcher._show(running)
        task = progress.tasks[0]
        assert (task.description, task.completed, task.total) == ("TSN \\[b]: evaluating, batch", 1, 2)
        write_heartbeat(folder, "done", 3, 3)
        launcher._show(replace(running, since=time.time() + 5))
        assert progress.tasks[0].completed == 1
