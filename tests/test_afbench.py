"""The command line as a user meets it: exit statuses, one paragraph, no traceback, nothing lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.record import read_result, result_files


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
        (["run", "tsm", "--ratio", "0.5"], ["model.settings.ratio", "Valid choices"]),
        (["run", "afnet", "--set", "data.size=60"], ["data.size is 60", "multiple of 32"]),
        (["run", "afnet", "--set", "training.rate=1"], ["training.rate", "training.lr"]),
        (["run", "afnet", "--set", "training.lr"], ["FIELD=VALUE"]),
        (["sweep", "plan", "dem"], ["Unknown recipe 'dem'", "demo"]),
        (["report", "nowhere"], ["no folder nowhere"]),
        (["report", "nowhere", "--on-bad", "ignore"], ["ignore", "skip, stop"]),
    ],
)
def test_mistakes_get_a_paragraph_and_status_two(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    done = afbench(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["rune"], ["run"], ["run", "afnet", "--frame"], []])
def test_words_that_do_not_parse_get_status_two(arguments: list[str]) -> None:
    done = afbench(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_an_unwritable_runs_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    done = afbench("run", "tsn", "--runs", str(tmp_path / "file" / "runs"))
    assert done.returncode == 2 and "cannot be written" in done.stderr
    assert (tmp_path / "file").read_text() == "kept"


def test_a_truncated_result_stops_run_plan_and_report_and_is_kept(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    path = result_files(tmp_path / "runs")[0]
    path.write_text(path.read_text()[:99])
    done = afbench("report", str(tmp_path / "runs"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and "not a complete record" in done.stderr and str(path) in done.stderr
    assert len(path.read_text()) == 99 and not (tmp_path / "out").exists()


def test_a_run_prints_its_result_and_leaves_its_record(tmp_path: Path) -> None:
    small = "data.train_clips=8 data.val_clips=4 training.batch=4 timing.rounds=3 timing.batch=2 model.frames=2"
    done = afbench("run", "tsn", "--runs", str(tmp_path), "--set", *small.split())
    assert done.returncode == 0, done.stderr
    (path,) = result_files(tmp_path)
    assert f"top-1 {read_result(path).metrics['top1']:.2f} %" in done.stdout


@pytest.mark.slow
def test_the_demo_survives_a_kill_and_goes_on(tmp_path: Path) -> None:
    recipe = tmp_path / "two.py"
    recipe.write_text(
        "from sweeps.recipes import find_recipe\ndef recipe(tiny): return find_recipe('demo').points(True)[3:5]\n"
    )
    arguments = ["sweep", "submit", str(recipe), "--runs"]
    whole = afbench(*arguments, str(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    command = [sys.executable, "-m", "afbench", *arguments, str(tmp_path / "killed")]
    for seconds in (4.0, 7.0):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    rest = afbench(*arguments, str(tmp_path / "killed"))
    assert rest.returncode == 0, rest.stderr
    ours, theirs = (
        {read_result(path).values["experiment_id"]: read_result(path).metrics for path in result_files(tmp_path / name)}
        for name in ("killed", "whole")
    )
    assert ours == theirs and len(ours) == 2
