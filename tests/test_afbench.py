"""The command line as a user meets it: exit statuses, one paragraph, no traceback, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from afbench import _print_result, main
from bench.checkpoint import load_checkpoint
from bench.experiment import Experiment
from bench.files import locked
from bench.record import point_folder, read_heartbeat, read_result, result_files, training_folder
from bench.run import run_experiment
from sweeps.plan import by_training, plan
from sweeps.recipes import RECIPES, find_recipe


def afbench(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "afbench", *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "afnt"], ["Unknown method 'afnt'", "afnet"]),
        (["run", "afnet", "--frames", "0"], ["model.frames is 0", "at least 1"]),
        (["run", "afnet", "--ratio", "1.5"], ["model.settings.ratio is 1.5", "at most 1"]),
        (["run", "afnet", "--set", "data.size=60"], ["data.size is 60", "multiple of 32"]),
        (["run", "afnet", "--set", "training.rate=1"], ["training.rate", "training.lr"]),
        (["run", "afnet", "--set", "training.lr"], ["FIELD=VALUE"]),
        (["run", "afnet", "--set", "training.rate=1", "--set", "data.size=64"], ["training.rate", "training.lr"]),
        (["run", "afnet", "--set", "data.seed=1", "--set", "data.seed=2"], ["--set has data.seed twice, 1 and 2"]),
        (["run", "tsm", "--ratio", "0.5"], ["--ratio is 0.5", "tsm", "afnet"]),
        (["sweep", "plan", "dem"], ["Unknown recipe 'dem'", "demo"]),
        (["sweep", "plan", "demo", "--dataset", "jester"], ["--dataset is jester", "recipe demo"]),
        (["sweep", "plan", "frames", "--dataset", "jestr"], ["Unknown data set 'jestr'", "jester"]),
        (["sweep", "submit", "frames", "--backbone", "vgg"], ["Unknown backbone 'vgg'", "resnet50"]),
        (["sweep", "plan", "frames", "--seeds", "0", "0"], ["--seeds are 0 0", "each once"]),
        (["sweep", "plan", "frames", "--set", "timing.batch"], ["--set got 'timing.batch'", "FIELD=VALUE"]),
        (["sweep", "submit", "frames", "--set", "timing.rate=1"], ["Point 1 of recipe frames", "timing.rate"]),
        (["sweep", "plan", "frames", "--only", "arnet"], ["Unknown method 'arnet'", "tsm"]),
        (["report", "nowhere"], ["no folder nowhere"]),
        (["report", "nowhere", "--on-bad", "ignore"], ["ignore", "skip, stop"]),
        (["run", "afnet", "--set", "training.seed=" + "9" * 23], ["training.seed is 9999", "9223372036854775807"]),
        (["run", "afnet", "--set", "data.train_clips=8"], ["data.train_clips is 8", "no step"]),
    ],
)
def test_mistakes_get_a_paragraph_and_status_two(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    done = afbench(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [["rune"], ["run"], ["run", "afnet", "--frame"], ["sweep", "plan", "demo", "--seeds", "x"], []]
)
def test_words_that_do_not_parse_get_status_two(arguments: list[str]) -> None:
    done = afbench(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_reader_that_has_had_enough_is_no_mistake() -> None:
    """As `afbench sweep list | head -1`."""
    command = [sys.executable, "-m", "afbench", "sweep", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait(60) == 0


def test_recipes_are_listed_with_their_question_points_and_trainings(capsys: pytest.CaptureFixture[str]) -> None:
    main(["sweep", "list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)
    (line,) = (line for line in lines if line.startswith("frames"))
    assert " ".join(line.split()) == "frames 15 points, 10 trainings What do more frames buy, and at what cost?"


def test_a_plan_is_of_the_points_that_the_options_give(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--seeds", "0", "1", "--set", "timing.batch=2", "--set", "timing.rounds=5", "--only", "tsm", "ffn"]
    main(["sweep", "plan", "frames", "--runs", str(runs), "--tiny", *options])
    lines = capsys.readouterr().out.splitlines()
    expected = find_recipe("frames").points(
        True, seeds=(0, 1), assignments={"timing.batch": "2", "timing.rounds": "5"}, only=("tsm", "ffn")
    )
    assert [line.split()[-1] for line in lines[1:-2]] == [point.experiment_id for point in expected]
    assert lines[1].startswith("FFN, 4 frames, seed 0, trained at 16  missing  ")
    assert lines[-2] == "0 of 14 points done; they take 10 trainings."
    assert lines[-1].startswith("About ") and lines[-1].endswith("(training, evaluation, timing), going by 4 records.")


def test_an_unwritable_runs_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    done = afbench("run", "tsn", "--runs", str(tmp_path / "file" / "runs"))
    assert done.returncode == 2 and "cannot be written" in done.stderr
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    "arguments",
    [
        ["sweep", "plan", "demo", "--runs", "file"],
        ["demo", "--out", "file"],
        ["demo", "--tiny", "--out", "file/report"],
    ],
)
def test_a_file_in_a_folders_place_is_refused_at_once(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "file").write_text("kept")
    done = afbench(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "file" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("text", ["import sys\nsys.exit(3)\n", "def recipe(tiny): return 1 / 0\n"])
def test_a_recipe_file_that_fails_gets_status_two(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    done = afbench("sweep", "plan", "mine.py", cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "in line" in done.stderr


def test_the_demo_keeps_tiny_apart_and_reports_its_own_points(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweeps.local.run_points", lambda points, runs, recipe: None)
    reported: list[tuple[list[Path], Path]] = []
    monkeypatch.setattr("reports.site.write_site", lambda runs, out, **others: reported.append((runs, out)))
    for tiny, own in ((False, "demo"), (True, "demo-tiny")):
        main(["demo", *(["--tiny"] if tiny else [])])
        paths, out = reported.pop()
        assert out == Path(own, "report") and all(path.is_relative_to(Path(own, "runs")) for path in paths)
        assert [path.parent.name for path in paths] == [
            point.experiment_id for point in find_recipe("demo").points(tiny)
        ]


def test_a_truncated_result_stops_run_plan_and_report_and_is_kept(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    path = result_files(tmp_path / "runs")[0]
    path.write_text(path.read_text()[:99])
    done = afbench("report", str(tmp_path / "runs"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and "not a complete record" in done.stderr and str(path) in done.stderr
    assert len(path.read_text()) == 99 and not (tmp_path / "out").exists()


def test_what_a_record_warns_of_is_printed_after_its_run(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = json.loads(result_files(runs)[0].read_text())
    (tmp_path / "result.json").write_text(json.dumps({**values, "warnings": ["Of 2 videos one frame was seen."]}))
    _print_result(tmp_path / "result.json")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("top-1 ") and second == "beware: Of 2 videos one frame was seen."


def test_a_run_prints_its_result_and_leaves_its_record(tmp_path: Path) -> None:
    small = "data.train_clips=8 data.val_clips=4 training.batch=4 timing.rounds=3 timing.batch=2 model.frames=2"
    done = afbench("run", "tsn", "--runs", str(tmp_path), *(f"--set={field}" for field in small.split()))
    assert done.returncode == 0, done.stderr
    (path,) = result_files(tmp_path)
    assert f"top-1 {read_result(path).metrics['top1']:.2f} %" in done.stdout


RECIPE = """
from dataclasses import replace
from bench.experiment import Data, Evaluation, Model, Runtime, Timing, Training
from sweeps.recipes.start import starting_point

def recipe(tiny):
    return [
        replace(
            starting_point(method),
            data=Data(size=32, train_clips=160, val_clips=8),
            model=replace(starting_point(method).model, frames=2),
            training=Training(batch=4, multipliers="from-scratch"),
            evaluation=Evaluation(),
            timing=Timing(batch=2, rounds=3),
            runtime=Runtime(threads=1, log_every=1, checkpoint_seconds=0.0),
        )
        for method in ("tsm", "afnet")
    ]
"""


def kill_at(step: int, command: list[str], experiment: Experiment, runs: Path) -> tuple[int, int]:
    """Start a sweep and kill all of its processes when a training reaches a step.

    Returns:
        The first step that was seen of this start, and the step of the checkpoint it left.
    """
    folder, started, first = training_folder(runs, experiment), time.time(), None
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while True:
            heartbeat = read_heartbeat(folder)
            if heartbeat is not None and heartbeat.time > started and heartbeat.stage != "start":
                first = heartbeat.step if first is None else first
                if heartbeat.step >= step:
                    break
            assert process.poll() is None, "the sweep ended before the training reached the step"
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with locked(folder):  # the training's process is gone
        state = load_checkpoint(folder / "checkpoint.pt", experiment.training_id)
    assert state is not None
    return first, state["step"]


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_of_its_trainings_ends_as_if_it_were_not(tmp_path: Path) -> None:
    recipe, runs, whole = tmp_path / "two.py", tmp_path / "killed", tmp_path / "whole"
    recipe.write_text(RECIPE)
    points = find_recipe(str(recipe)).points(tiny=False)
    command = [sys.executable, "-m", "afbench", "sweep", "submit", str(recipe), "--runs", str(runs)]
    before = {point.training_id: 0 for point in points}
    first_one, second = (group[0].experiment for group in by_training(plan(points, runs), "two"))
    for point, step in ((first_one, 8), (first_one, 20), (second, 12)):
        first, left = kill_at(step, command, point, runs)
        assert before[point.training_id] < first and step <= left < point.steps
        before[point.training_id] = left
    rest = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert rest.returncode == 0, rest.stderr
    for point in points:
        run_experiment(point, whole)
        ours, theirs = (point_folder(folder, point) / "result.json" for folder in (runs, whole))
        assert read_result(ours).metrics == read_result(theirs).metrics
        losses = [(training_folder(folder, point) / "progress.jsonl").read_bytes() for folder in (runs, whole)]
        assert losses[0] == losses[1] and losses[0].count(b"\n") == point.steps
