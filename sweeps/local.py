"""Points on this machine, one at a time, each in a process of its own that submitit starts.

A point is measured alone: its process has the machine's cores, and a crash loses one point. When the launcher dies the
point it started lives on; the next launcher finds the training locked, waits for it and goes on.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import submitit
from rich.console import Console
from rich.progress import Progress

from bench.errors import UserError
from bench.experiment import Experiment
from bench.files import make_folder
from bench.progress import bars
from bench.record import find_result, read_heartbeat, training_folder
from sweeps.describe import describe
from sweeps.plan import plan
from sweeps.progress import STAGES

POLL_SECONDS = 0.2


def run_one(values: dict[str, Any], runs: str) -> str:
    """The job: bring one point to its record. Returns a user's mistake as text, so that it is shown as one."""
    from bench.experiment import from_dict
    from bench.run import run_experiment

    try:
        run_experiment(from_dict(values, "the submitted experiment"), Path(runs))
    except UserError as error:
        return str(error)
    return ""


def run_points(points: list[Experiment], runs: Path) -> None:
    """Run what is missing of these points, in order.

    Raises:
        UserError: when a point cannot run; the points before it are on disk.
        KeyboardInterrupt: after the running point was stopped; its last checkpoint is kept.
    """
    runs = runs.resolve()
    make_folder(runs)
    missing = [point.experiment for point in plan(points, runs) if point.state != "done"]
    console = Console(stderr=True)
    if not missing:
        console.print(f"All {len(points)} points are done.", highlight=False)
        return
    executor = submitit.LocalExecutor(folder=runs / ".jobs")
    executor.update_parameters(timeout_min=24 * 60, gpus_per_node=0, visible_gpus=())
    with bars(console) as progress:
        whole = progress.add_task("all points", total=len(points), completed=len(points) - len(missing))
        for experiment in missing:
            if not console.is_terminal:
                console.print(f"{describe(experiment)}", highlight=False)
            _run_job(executor, experiment, runs, progress)
            progress.advance(whole)


def _run_job(executor: submitit.LocalExecutor, experiment: Experiment, runs: Path, progress: Progress) -> None:
    """Submit one point and follow it to its end."""
    name = describe(experiment)
    bar = progress.add_task(name, total=None)
    started = time.time()
    with _errors_into(runs / ".jobs" / "launcher.log"):
        job = executor.submit(run_one, experiment.to_dict(), str(runs))
    folder = training_folder(runs, experiment)
    try:
        while not job.done():
            heartbeat = read_heartbeat(folder)
            # A training's earlier point leaves its last heartbeat behind; it says nothing of this one.
            if heartbeat is not None and heartbeat.time >= started:
                stage = STAGES.get(heartbeat.stage, heartbeat.stage)
                progress.update(bar, description=f"{name}: {stage}", completed=heartbeat.step, total=heartbeat.steps)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        job.cancel()
        raise
    progress.remove_task(bar)
    where = f"Its log is {job.paths.stderr}; the points before it are on disk, and the same command goes on from there."
    if job.exception() is not None:
        raise UserError(f"The point {name} failed: {_last_words(job.stderr() or '')}. {where}")
    mistake = job.result()
    if mistake:
        raise UserError(f"The point {name} cannot be run: {mistake} {where}")
    if find_result(runs, experiment) is None:
        raise UserError(f"The point {name} ended without a record. {where}")


@contextlib.contextmanager
def _errors_into(path: Path) -> Iterator[None]:
    """Processes started within write their errors to a file.

    submitit's local launcher shares the terminal: a Ctrl-C reaches it too, and it would answer with a traceback.
    """
    make_folder(path.parent)
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with open(path, "ab") as file:
            os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _last_words(log: str) -> str:
    """The exception that ended a job, from the last traceback of its log."""
    _, traceback, after = log.rpartition("Traceback (most recent call last):")
    words = [line.rstrip(". ") for line in after.splitlines() if line and not line[0].isspace()]
    return words[0] if traceback and words else "its process ended without a traceback, as where memory runs out"
