"""What a job does with its points: after a failure, at its time limit, on another source."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.experiment import Experiment
from bench.record import point_folder, read_result, training_folder
from sweeps.job import JobFailed, NoProgress, Work
from sweeps.queue import Job
from sweeps.snapshot import lines_for, snapshot
from sweeps.triage import cause_of
from tests.conftest import small


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Methods whose points were brought to their records, which takes no time here; tsm fails."""
    found: list[str] = []

    def run(points: list[Experiment], runs: Path, report: Any) -> None:
        if points[0].model.method == "tsm":
            raise UserError("tsm cannot")
        if points[0].model.method == "uniform":
            raise ZeroDivisionError
        found.append(points[0].model.method)

    monkeypatch.setattr("bench.run.run_points", run)
    monkeypatch.setattr("bench.run.evaluate_points", run)
    monkeypatch.setattr("sweeps.job.source_version", lambda: {"commit": "b" * 40, "dirty": False, "patch": None})
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("AFNET_BENCH_SUBMISSION", "")
    return found


def work(*methods: str, runs: str = "runs", stage: Any = "evaluate", **fields: Any) -> Work:
    return Work(tuple(small(method).to_dict() for method in methods), runs, stage, {}, **fields)


def test_a_training_that_fails_does_not_keep_others_of_its_job(
    done: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor what comes after the job, as long as one has succeeded."""
    work("tsm", "uniform", "tsn")()
    said = capsys.readouterr().err
    assert done == ["tsn"] and "afbench: tsm cannot\n" in said and "ZeroDivisionError" in said
    assert [line for line in said.splitlines() if line.startswith("training ")] == [
        f"training {small(method).training_id}" for method in ("tsm", "uniform", "tsn")
    ]
    with pytest.raises(JobFailed, match=small("tsm").training_id):
        work("tsm", "uniform")()


def test_a_training_that_its_job_never_came_to_has_not_failed(tmp_path: Path) -> None:
    log = tmp_path / "7_0_log.err"
    log.write_text("training aaa\nafbench: out of luck\n")
    reached, other = (cause_of(None, None, log, name) for name in ("aaa", "bbb"))
    assert reached is not None and reached.is_failure and reached.kind.name == "user"
    assert other is not None and not other.is_failure and other.kind.name == "not reached"


def test_times_of_what_is_not_evaluated_are_left(
    done: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work("tsn", runs=str(tmp_path), stage="time")()
    assert done == [] and "is not evaluated yet, so its times are left" in capsys.readouterr().err


def test_a_job_goes_on_after_its_limit_only_if_it_got_somewhere(done: list[str], tmp_path: Path) -> None:
    job = work("tsn", runs=str(tmp_path), minutes=10)
    job()
    assert job.checkpoint().function is job, "preempted at once"
    job._began -= 9 * 60
    with pytest.raises(NoProgress, match="made no progress in 9 of its 10 minutes"):
        job.checkpoint()
    folder = training_folder(tmp_path, small("tsn"))
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"1")
    assert job.checkpoint().function is job
    job()
    job._began -= 9 * 60
    with pytest.raises(NoProgress):
        job.checkpoint()
    (point_folder(tmp_path, small("tsn"))).mkdir(parents=True)
    (point_folder(tmp_path, small("tsn")) / "evaluated.json").write_text("{}")
    assert job.checkpoint().function is job


def test_the_end_of_the_job_itself_is_no_failure_of_a_training(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit's signals arrive as exceptions in the middle of anything."""

    def run(*_: object) -> None:
        raise NoProgress("The job made no progress in 9 of its 10 minutes")

    monkeypatch.setattr("bench.run.evaluate_points", run)
    with pytest.raises(NoProgress):
        work("tsn", "tsm")()


def test_the_process_that_failed_says_why_not_those_that_lost_it(tmp_path: Path) -> None:
    first = tmp_path / "7_0_log.err"
    first.write_text("RuntimeError: [gloo/transport] Connection closed by peer\n")
    (tmp_path / "7_1_log.err").write_text("training a\nafbench: Video 3 of val cannot be used: it is gone\n")
    cause = cause_of(None, None, first)
    assert cause is not None and cause.kind.name == "data" and cause.log == tmp_path / "7_1_log.err"
    (tmp_path / "7_1_log.err").write_text("Traceback (most recent call last):\nValueError: what was that\n")
    cause = cause_of(None, None, first)
    assert cause is not None and (cause.kind.name, cause.lines) == ("error", ("ValueError: what was that",))
    (tmp_path / "7_1_log.err").write_text("nothing of interest\n")
    cause = cause_of(None, None, first)
    assert cause is not None and cause.kind.name == "nccl" and cause.log == first


ENDED = """training a
srun: error: n2: task 1: {how}
srun: launch/slurm: _step_signal: Terminating StepId=7.0
slurmstepd-n1: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***
RuntimeError: [gloo/transport] Connection closed by peer
srun: error: n1: task 0: Killed
"""


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("Killed", "killed"),
        ("Segmentation fault (core dumped)", "killed"),
        ("Out Of Memory", "out of memory"),
        ("Exited with exit code 1", "nccl"),
    ],
)
def test_a_process_that_vanished_is_why_the_others_lost_it_and_nobody_cancelled_them(
    tmp_path: Path, how: str, kind: str
) -> None:
    first = tmp_path / "7_0_log.err"
    first.write_text(ENDED.format(how=how))
    (tmp_path / "7_1_log.err").write_text("training a\n")
    cause = cause_of(None, Job("7", "FAILED"), first, "a")
    assert cause is not None and (cause.kind.name, cause.is_failure) == (kind, True)
    if kind != "nccl":
        assert cause.lines == (f"srun: error: n2: task 1: {how}",)


def test_another_source_than_was_submitted_is_said(done: list[str], caplog: pytest.LogCaptureFixture) -> None:
    job = work("tsn")
    job.submission = {"source": {"commit": "a" * 40, "dirty": True, "patch": "1"}}
    job()
    assert f"runs commit {'b' * 40}, but was submitted from {'a' * 40} with changes" in caplog.text


def test_a_snapshot_is_what_jobs_import_wherever_they_start(tmp_path: Path) -> None:
    """Also in a folder that has packages of the same names; and it says what it is a copy of."""
    place = snapshot(tmp_path / "it's here")
    assert snapshot(tmp_path / "it's here") == place and len(list(place.parent.iterdir())) == 1
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("raise ImportError('the wrong one')")
    code = "import json, bench, bench.environment as e; print(json.dumps([bench.__file__, e.source_version()]))"
    command = ["bash", "-c", f'{lines_for(place)}\n"$0" -c "$1"', sys.executable, code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    file, version = json.loads(done.stdout)
    assert Path(file) == place / "bench" / "__init__.py"
    assert version == json.loads((place / "SNAPSHOT.json").read_text()) and set(version) == {"commit", "dirty", "patch"}
    done = subprocess.run(
        ["bash", "-c", f'{lines_for(place)}\n"$0" -m afbench sweep list', sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "frames" in done.stdout


def test_records_say_where_and_by_how_many_they_were_trained(runs: Path) -> None:
    stages = read_result(point_folder(runs, small("tsn")) / "result.json").values["stages"]
    assert stages["processes"] == 1 and stages["device"]


def test_points_of_a_job_are_grouped_by_training(done: list[str]) -> None:
    tsn = small("tsn")
    points = (tsn, replace(tsn, evaluation=replace(tsn.evaluation, frames=8)), small("afnet"))
    Work(tuple(point.to_dict() for point in points), "runs", "all", {})()
    assert done == ["tsn", "afnet"]
