"""Seconds and memory of whole commands over a sweep of ten thousand points: `nox -s benchmarks`.

Of the points 5,000 are done, 1,000 run, 2,000 wait and 100 failed, as SLURM and the files tell; SLURM's commands are
scripts that print what a cluster would. Wanted: plan and status in 2 s, submit --dry-run in 5, all in 300 MB. No time
makes anything fail.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.record import point_folder, read_result, training_folder
from bench.run import run_points
from sweeps.ledger import Ledger
from sweeps.recipes import find_recipe
from tests.conftest import small

RECIPE = '''
from dataclasses import replace
from bench.experiment import Evaluation, Model
from sweeps.recipes.bases import base

def recipe(tiny):
    """A hundred seeds of a hundred ratios."""
    start = base("afnet")
    settings = [replace(start.model.settings, ratio=number / 100) for number in range(1, 101)]
    return [
        replace(
            start,
            model=Model("afnet", "tiny", 8, chosen),
            training=replace(start.training, seed=seed),
            evaluation=Evaluation(),
        )
        for chosen in settings
        for seed in range(100)
    ]
'''
# The command, then what it held at most: what the system counts for a child has its parent's memory in it.
MEASURED = """
import sys
from pathlib import Path
from afbench import main
main(sys.argv[1:])
assert "torch" not in sys.modules, "no command over a sweep imports torch"
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
"""
DONE, RUNNING, WAITING, FAILED = 5000, 1000, 2000, 100


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe, its runs and SLURM's commands."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "many.py").write_text(RECIPE)
    points = find_recipe(str(folder / "many.py")).points(False)
    runs = folder / "runs"
    (result,) = run_points([small("afnet")], folder / "one")
    template = result.values
    for point in points[:DONE]:
        path = point_folder(runs, point) / "result.json"
        path.parent.mkdir(parents=True)
        values = template | {
            "experiment": point.to_dict(),
            "experiment_id": point.experiment_id,
            "training_id": point.training_id,
        }
        path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    assert read_result(path)
    ledger, lines = Ledger(runs), []
    later = points[DONE : DONE + RUNNING + WAITING + FAILED]
    with ledger.held():
        for start in range(0, len(later), 1000):
            chunk = later[start : start + 1000]
            submission = ledger.begin("slurm", "many", False, [[point.experiment_id] for point in chunk])
            job = str(100 + start)
            ledger.handed_over(submission, job)
            for task, _ in enumerate(chunk):
                state = "RUNNING|None|node1" if start + task < RUNNING else "PENDING|Priority|"
                if start + task < RUNNING + WAITING:
                    lines.append(f"{job}_{task}|{state}|{submission.token}|0:10:00")
    now = time.time()
    for point in later[:RUNNING]:
        path = training_folder(runs, point) / "heartbeat.json"
        path.parent.mkdir(parents=True)
        beat = {"pid": 1, "time": now, "stage": "train", "step": 5, "steps": 9, "host": "node1", "pace": 0.5}
        path.write_text(json.dumps(beat))
    for point in later[RUNNING + WAITING :]:
        path = training_folder(runs, point) / "attempts.jsonl"
        path.parent.mkdir(parents=True)
        begun = {"number": 1, "began": now, "job": None, "points": [point.experiment_id]}
        ended = {"number": 1, "ended": now, "error": {"kind": "Diverged", "text": "The loss became nan"}}
        path.write_text(f"{json.dumps(begun)}\n{json.dumps(ended)}\n")
    (folder / "squeue.out").write_text("\n".join(lines) + "\n")
    for name in ("squeue", "sacct", "scontrol", "sbatch", "sinfo"):
        (folder / name).write_text(f"#!/bin/sh\ncat {folder}/{name}.out 2>/dev/null\nexit 0\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("command", ["plan", "status", "status --json", "submit --cluster slurm --gpus 0 --dry-run"])
def test_a_command_over_ten_thousand_points(benchmark: Any, sweep: Path, command: str) -> None:
    name, *options = command.split()
    words = ["-c", MEASURED, "sweep", name, "many.py", *options]
    environment = {**os.environ, "PATH": f"{sweep}{os.pathsep}{os.environ['PATH']}"}
    memory = []

    def run() -> str:
        done = subprocess.run([sys.executable, *words], cwd=sweep, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        memory.append(int(done.stderr.split()[-1]))
        return done.stdout

    said = benchmark.pedantic(run, rounds=5)
    assert {
        "plan": "5000 of 10000 points done, 1000 running, 2000 queued, 100 failed",
        "status": "10000 points: 5000 done, 1000 running, 2000 queued, 100 failed, 1900 missing",
        "submit": "1900 missing",
    }[name] in said or json.loads(said)["counts"]["missing"] == 1900
    benchmark.extra_info["memory_mb"] = round(max(memory) / 1e3)
