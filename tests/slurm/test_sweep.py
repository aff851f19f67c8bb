"""A sweep on a real two-node SLURM cluster to which everything happens: `nox -s slurm`. As root on Debian.

At the end every point is done, `check` finds nothing wrong, and metrics are those of an undisturbed run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

from bench.attempts import read_attempts
from bench.record import read_result, result_files, training_folder
from bench.run import run_points
from sweeps.ledger import Ledger
from sweeps.recipes import find_recipe
from tests.slurm.cluster import Cluster, missing

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(bool(missing()), reason=f"no SLURM cluster without {missing()}"),
]
ROOT = Path(__file__).resolve().parents[2]

# Ten trainings, two of them long enough to be disturbed, each measured at two numbers of frames.
RECIPE = '''
from dataclasses import replace
from bench.experiment import Evaluation, Runtime
from sweeps.recipes.bases import base, shortened

def recipe(tiny):
    """Twenty points."""
    start = shortened(base("tsn"))
    points = []
    for seed in range(10):
        epochs = 40 if seed < 4 else 1
        training = replace(start.training, seed=seed, epochs=epochs)
        runtime = Runtime(threads=1, log_every=1, checkpoint_seconds=0.5)
        for frames in (2, 4):
            data = replace(start.data, val_clips=8)
            evaluation = Evaluation(frames=frames)
            points.append(replace(start, data=data, training=training, evaluation=evaluation, runtime=runtime))
    return points
'''
TOGETHER = '''
from dataclasses import replace
from sweeps.recipes.bases import base, shortened

def recipe(tiny):
    """One point, trained by two processes."""
    point = shortened(base("tsm"))
    return [replace(point, training=replace(point.training, batch=16, micro_batch=4))]
'''
ASKED = ("--cluster", "slurm", "--gpus", "0", "--cpus", "1", "--time", "30", "--pack", "1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """With arrays of at most four jobs."""
    # Not pytest's folder, which is its user's alone: munged runs as another one.
    folder = Path(tempfile.mkdtemp(prefix="afbench-slurm-"))
    folder.chmod(0o755)
    made = Cluster(folder, max_array=4)
    before = dict(os.environ)
    try:
        made.start()
        os.environ.update({**made.environment, "PYTHONPATH": str(ROOT)})
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        yield made
    finally:
        made.stop()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "afbench", "sweep", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def until(what: Callable[[], object], seconds: float = 120, pause: float = 0.5) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(pause)


def working(cluster: Cluster, runs: Path) -> dict[str, str]:
    """Jobs in which a long training is under way, and their nodes."""
    jobs = {}
    for line in cluster.run("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i %N").stdout.splitlines():
        name, _, node = line.partition(" ")
        for path in runs.glob("*/*/*/attempts.jsonl"):
            last = read_attempts(path.parent)[-1]
            if last.job and last.job["id"] == name and last.ended is None:
                lines = path.with_name("progress.jsonl")
                steps = len(lines.read_text().splitlines()) if lines.exists() else 0
                if 3 <= steps < 60:
                    jobs[name] = node
    return jobs


def settled(cluster: Cluster, folder: Path) -> None:
    """Submit again whatever went missing until all is done."""
    end = time.monotonic() + 900
    while True:
        done = sweep(folder, "submit", "sweep.py", *ASKED, "--retry", "all")
        assert done.returncode == 0, done.stderr
        if done.stdout.splitlines()[-1].startswith("20 points: 20 done."):
            return
        assert time.monotonic() < end, done.stdout + sweep(folder, "triage", "sweep.py").stdout
        time.sleep(5)


def test_a_sweep_survives_whatever_happens_to_it(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "sweep.py").write_text(RECIPE)
    runs = tmp_path / "runs"
    # The submitter is killed when it has handed over a part.
    command = [sys.executable, "-m", "afbench", "sweep", "submit", "sweep.py", *ASKED]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as submitter:
        until(lambda: [each for each in Ledger(runs).read() if each.job], pause=0.002)
        submitter.kill()
    assert any(not each.job for each in Ledger(runs).read()) or len(Ledger(runs).read()) < 6
    again = sweep(tmp_path, "submit", "sweep.py", *ASKED)
    assert again.returncode == 0, again.stderr

    preempted = cancelled = killed = failed_node = ""
    until(lambda: working(cluster, runs), 300)
    while not (preempted and cancelled and killed and failed_node):
        jobs = {name: node for name, node in working(cluster, runs).items() if name != preempted}
        if not jobs:
            time.sleep(0.5)
            settled_enough = sweep(tmp_path, "submit", "sweep.py", *ASKED, "--retry", "all")
            assert settled_enough.returncode == 0
            continue
        name, node = next(iter(jobs.items()))
        if not preempted:
            preempted = name
            cluster.run("scancel", "--signal=TERM", name)
            cluster.run("scancel", "--signal=USR2", name)
        elif not killed:
            killed = name
            for path in runs.glob("*/*/*/attempts.jsonl"):
                last = read_attempts(path.parent)[-1]
                if last.job and last.job["id"] == name:
                    os.kill(json.loads(path.with_name("heartbeat.json").read_text())["pid"], signal.SIGKILL)
        elif not cancelled:
            cancelled = name
            cluster.run("scancel", name)
        else:
            failed_node = node
            cluster.kill_node(node)
            time.sleep(5)
            cluster.start_node(node)
        time.sleep(1)
    settled(cluster, tmp_path)

    plan = sweep(tmp_path, "plan", "sweep.py")
    assert "20 of 20 points done; they take 10 trainings." in plan.stdout
    checked = subprocess.run(
        [sys.executable, "-m", "afbench", "check", "runs"], cwd=tmp_path, capture_output=True, text=True
    )
    assert checked.returncode == 0 and "20 records: 0 wrong" in checked.stderr, checked.stdout
    undisturbed = tmp_path / "undisturbed"
    points = find_recipe(str(tmp_path / "sweep.py")).points(False)
    for _, group in groupby(points, key=lambda point: point.training_id):
        run_points(list(group), undisturbed)
    of_sweep, alone = (
        {r.path.parent.name: r for r in map(read_result, result_files(top))} for top in (runs, undisturbed)
    )
    assert set(of_sweep) == set(alone) and len(alone) == 20
    for name, result in alone.items():
        assert of_sweep[name].metrics == result.metrics, name
    tried = [attempt for point in points for attempt in read_attempts(training_folder(runs, point))]
    ids = {attempt.job["id"] for attempt in tried if attempt.job}
    assert {preempted, killed, cancelled} <= ids
    assert any(attempt.ended is None for attempt in tried), "killed attempts have no end"


def test_two_nodes_train_one_point(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(TOGETHER)
    asked = (*ASKED, "--nodes", "2", "--tasks", "1")
    assert sweep(tmp_path, "submit", "together.py", *asked, "--snapshot").returncode == 0
    until(lambda: "1 of 1 point done" in sweep(tmp_path, "plan", "together.py").stdout, 300)
    (point,) = find_recipe(str(tmp_path / "together.py")).points(False)
    (copied,) = (tmp_path / "runs" / ".sweep" / "snapshots").iterdir()
    scripts = [path.read_text() for path in tmp_path.glob("runs/.sweep/*/*_submission.sh")]
    assert len(scripts) == 2 and all(str(copied) in script for script in scripts)
    (result,) = run_points([point], tmp_path / "alone")
    (other,) = map(read_result, result_files(tmp_path / "runs"))
    assert other.metrics["top1"] == pytest.approx(result.metrics["top1"], abs=13)
    first = read_attempts(training_folder(tmp_path / "runs", point))[0]
    assert first.job is not None and (first.job["tasks"], first.job["nodes"]) == (2, "node[1-2]")
    losses = [
        [json.loads(line)["loss"] for line in path.read_text().splitlines()]
        for path in (training_folder(top, point) / "progress.jsonl" for top in (tmp_path / "runs", tmp_path / "alone"))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_two_submitters_at_once_hand_over_each_point_once(cluster: Cluster, tmp_path: Path) -> None:
    """And what status, logs and cancel say of it, with a sacct that answers nobody."""
    (tmp_path / "sweep.py").write_text(RECIPE)
    command = [sys.executable, "-m", "afbench", "sweep", "submit", "sweep.py", *ASKED]
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("20 points: 20 missing" in text for text in said) == [False, True], said
    handed = Counter(
        (submission.timed, name)
        for submission in Ledger(tmp_path / "runs").read()
        for task in submission.tasks
        for name in task
        if not submission.withdrawn
    )
    assert len(handed) == 40 and set(handed.values()) == {1}
    until(lambda: working(cluster, tmp_path / "runs"))
    (tmp_path / "sacct").write_text("#!/bin/sh\necho 'sacct: error: accounting is off' >&2\nexit 1\n")
    (tmp_path / "sacct").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def without_accounting(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "afbench", "sweep", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    status = json.loads(without_accounting("status", "sweep.py", "--json"))
    assert status["counts"]["running"] >= 2 and sum(status["counts"].values()) == 20
    stages = [point["progress"]["stage"] for point in status["points"] if "progress" in point]
    assert set(stages) & {"train", "evaluate"}
    assert "training, step" in without_accounting("logs", "sweep.py", "--lines", "50")
    assert "jobs cancelled: " in without_accounting("cancel", "sweep.py")
    # At once: jobs that still end are waited for, and what was cancelled is taken up.
    again = without_accounting("submit", "sweep.py", *ASKED).splitlines()[-1]
    assert "missing" in again and "running" not in again and "queued" not in again, again
    assert "jobs cancelled: " in without_accounting("cancel", "sweep.py")
    until(lambda: not cluster.run("squeue", "-h").stdout.strip())
    counts = json.loads(without_accounting("status", "sweep.py", "--json"))["counts"]
    assert counts["done"] + counts["missing"] == 20, counts
