"""Who worked on a training: lines that survive what ended the work; records whose times are measured apart."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import environment
from bench.attempts import attempt, read_attempts
from bench.environment import SUBMISSION, describe_job, source_patch, source_version
from bench.record import EVALUATED, point_folder, read_evaluated, read_result, training_folder
from bench.run import evaluate_points, run_experiment, run_points
from tests.conftest import small


def test_an_attempt_says_when_where_and_on_what(tmp_path: Path) -> None:
    with attempt(tmp_path, ["a", "b"]):
        (going,) = read_attempts(tmp_path)
    (done,) = read_attempts(tmp_path)
    assert going.points == ("a", "b") and going.ended is None and going.host
    assert done.number == 1 and done.ended is not None and done.began <= done.ended
    assert done.error is None and done.source == source_version()


def test_an_attempt_that_fails_says_why_and_the_next_one_has_the_next_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such luck"), attempt(tmp_path, ["a"]):
        raise ValueError("no such luck")
    with attempt(tmp_path, ["a"]):
        pass
    first, second = read_attempts(tmp_path)
    assert first.error == {"kind": "ValueError", "text": "no such luck"} and second.error is None
    assert (first.number, second.number) == (1, 2)


def test_lines_that_a_kill_cut_short_are_left_out(tmp_path: Path) -> None:
    with attempt(tmp_path, ["a"]):
        pass
    path = tmp_path / "attempts.jsonl"
    path.write_text(path.read_text() + '{"number": 2, "began": 1\n[]\n{"number": "x"}\n{"number": 7}\n')
    assert [each.number for each in read_attempts(tmp_path)] == [1]
    assert read_attempts(tmp_path / "nowhere") == []


def test_a_job_is_that_of_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", SUBMISSION):
        monkeypatch.delenv(name, raising=False)
    assert describe_job() is None
    monkeypatch.setenv(SUBMISSION, '{"log": "x"}')
    assert describe_job() == {"scheduler": "local", "submission": {"log": "x"}}
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    job = describe_job()
    assert job is not None and (job["id"], job["restarts"], job["tasks"]) == ("12", 0, 1)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    job = describe_job()
    assert job is not None and (job["id"], job["restarts"]) == ("10_3", 2)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a committed file, which the code takes for its own."""
    root = tmp_path / "checkout"
    (root / "bench").mkdir(parents=True)
    (root / "bench" / "a.py").write_text("one = 1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "bench"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    monkeypatch.setattr(environment, "ROOT", root.resolve())
    source_version.cache_clear()
    source_patch.cache_clear()
    return root


@pytest.fixture(autouse=True)
def sources_are_asked_for_anew() -> Iterator[None]:
    yield
    source_version.cache_clear()
    source_patch.cache_clear()


def test_an_unchanged_source_has_no_patch(checkout: Path, tmp_path: Path) -> None:
    """Whatever lies beside it."""
    (checkout / "recipe.py").write_text("a user's")
    found = source_version()
    assert len(found["commit"]) == 40 and (found["dirty"], found["patch"]) == (False, None)
    with attempt(tmp_path, []):
        pass
    assert not (tmp_path / "source").exists()


def test_a_changed_source_is_kept_and_can_be_had_again(checkout: Path, tmp_path: Path) -> None:
    """Changed and new files, and one that git ignores left out."""
    (checkout / "bench" / "a.py").write_text("one = 2\n")
    (checkout / "bench" / "new file.py").write_text("two = 2\n")
    (checkout / ".gitignore").write_text("*.log\n")
    (checkout / "bench" / "x.log").write_text("noise")
    (checkout / "recipe.py").write_text("a user's, which the records say in full")
    run = tmp_path / "run"
    run.mkdir()
    with attempt(run, []):
        pass
    (patch,) = (run / "source").iterdir()
    assert patch.stem == source_version()["patch"] and source_version()["dirty"]
    again = tmp_path / "again"
    subprocess.run(["git", "clone", "-q", str(checkout), str(again)], check=True)
    subprocess.run(["git", "-C", str(again), "apply", str(patch)], check=True)
    assert {path.name: path.read_text() for path in again.rglob("*.py")} == {
        "a.py": "one = 2\n",
        "new file.py": "two = 2\n",
    }
    assert not (again / "bench" / "x.log").exists()


# --- Times measured apart ---------------------------------------------------------------------------------------------


def test_a_point_is_evaluated_in_one_run_and_timed_in_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the metrics of a run that does both, and evaluated once."""
    experiment = small("afnet")
    both = run_experiment(experiment, tmp_path / "both")
    apart = tmp_path / "apart"
    evaluate_points([experiment], apart)
    folder = point_folder(apart, experiment)
    assert not (folder / "result.json").exists() and read_evaluated(folder, experiment) is not None
    monkeypatch.setattr("bench.run.evaluate", lambda *_: pytest.fail("evaluated again"))
    evaluate_points([experiment], apart)
    (result,) = run_points([experiment], apart)
    assert not (folder / EVALUATED).exists()
    for name in ("metrics", "macs", "left_out", "warnings", "preview", "experiment"):
        assert json.dumps(result.values[name]) == json.dumps(both.values[name]), name
    assert [len(run.values["attempts"]) for run in (both, result)] == [1, 2]
    assert set(result.values["stages"]) == set(both.values["stages"])


def test_points_of_one_training_may_be_timed_otherwise(tmp_path: Path) -> None:
    first = small("tsn")
    other = replace(first, timing=replace(first.timing, batch=3))
    results = run_points([first, other], tmp_path)
    assert [result.values["timing"]["requested_batch"] for result in results] == [2, 3]


@pytest.mark.parametrize("damage", ["", "[]", '{"schema": 1}'])
def test_what_was_kept_is_not_believed_where_it_is_damaged(tmp_path: Path, damage: str) -> None:
    experiment = small("tsn")
    evaluate_points([experiment], tmp_path)
    folder = point_folder(tmp_path, experiment)
    (folder / EVALUATED).write_text(damage)
    assert read_evaluated(folder, experiment) is None
    run_experiment(experiment, tmp_path)
    assert read_result(folder / "result.json").metrics
    assert [each.error for each in read_attempts(training_folder(tmp_path, experiment))] == [None, None]
