"""Points on this machine, each training in a process of its own that submitit starts; one a GPU at a time.

With several GPUs all trainings come first, side by side, then all times, one after the other with nothing beside them.
With one, or with processors alone, a training is timed when it is done, and there is nothing beside it anyway. A crash
loses one training. When the launcher dies what it started lives on; the next launcher finds the training locked, waits
for it and goes on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import submitit
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID

from bench.attempts import read_attempts
from bench.environment import source_version
from bench.errors import UserError
from bench.files import make_folder
from bench.progress import bars
from bench.record import read_heartbeat, training_folder
from sweeps.clusters import LOCAL
from sweeps.describe import distinguishing
from sweeps.job import Stage, Work
from sweeps.plan import Point, by_training, is_done, is_evaluated, plan
from sweeps.progress import STAGES
from sweeps.triage import Cause, cause_of

if TYPE_CHECKING:
    from bench.experiment import Experiment

POLL_SECONDS = 0.2
JOBS = ".jobs"


@dataclass(frozen=True)
class Slot:
    """What one training has to itself.

    Attributes:
        gpu: as CUDA_VISIBLE_DEVICES names it; None where there is none.
        cores: of the processor; all where there are none.
    """

    gpu: str | None = None
    cores: tuple[int, ...] = ()


@dataclass(frozen=True)
class Running:
    """A job that was started.

    Attributes:
        name: of its training, for the reader.
        attempts: at this training, before it.
        since: seconds since 1970.
        bar: on the terminal.
    """

    job: Any
    points: Sequence[Point]
    name: str
    slot: Slot
    attempts: int
    since: float
    bar: TaskID


def slots() -> list[Slot]:
    """This machine's GPUs, as far as CUDA_VISIBLE_DEVICES shows them, each with its share of the cores."""
    gpus = _gpus()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(gpus) < 2:
        return [Slot(gpus[0] if gpus else None)]
    return [Slot(gpu, tuple(cores[number :: len(gpus)])) for number, gpu in enumerate(gpus)]


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [name.strip() for name in shown.split(",") if name.strip() not in ("", "-1")]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def run_points(points: list[Experiment], runs: Path, recipe: str = LOCAL) -> None:
    """Run what is missing of these points; what failed before is tried again.

    Args:
        recipe: from whose name the order is drawn.

    Raises:
        UserError: when points have no record at the end, with the reasons.
        KeyboardInterrupt: after what runs was stopped; its last checkpoints are kept.
    """
    runs = runs.resolve()
    make_folder(runs)
    found = plan(points, runs)
    missing = [point for point in found if point.state != "done"]
    console = Console(stderr=True)
    if not missing:
        console.print(f"All {len(points)} points are done.", highlight=False)
        return
    names = dict(zip((point.experiment_id for point in points), distinguishing(points), strict=True))
    with bars(console) as progress:
        launcher = Launcher(runs, recipe, names, progress)
        launcher.run(by_training(missing, recipe), slots(), len(points))
    launcher.complain(found)


class Launcher:
    """Starts jobs and follows them.

    Attributes:
        failures: what ended without its points, by the training's name.
    """

    def __init__(self, runs: Path, recipe: str, names: dict[str, str], progress: Progress) -> None:
        self.runs, self.names, self.progress = runs, names, progress
        self.executor: Any = submitit.LocalExecutor(folder=runs / JOBS)
        self.executor.update_parameters(timeout_min=24 * 60, gpus_per_node=0, visible_gpus=())
        self.about = {"recipe": recipe, "cluster": LOCAL, "source": source_version()}
        self.failures: dict[str, Cause] = {}
        self.gave_up = False

    def run(self, trainings: Sequence[Sequence[Point]], places: Sequence[Slot], count: int) -> None:
        """All trainings, on all slots."""
        missing = sum(map(len, trainings))
        self.whole = self.progress.add_task("all points", total=count, completed=count - missing)
        if len(places) == 1:
            self._stage("all", trainings, places)
            return
        self._stage(
            "evaluate",
            [group for group in trainings if not all(is_evaluated(p.experiment, self.runs) for p in group)],
            places,
        )
        self._stage("time", trainings, [Slot(places[0].gpu)])

    def _stage(self, stage: Stage, trainings: Sequence[Sequence[Point]], places: Sequence[Slot]) -> None:
        waiting, running = list(trainings), list[Running]()
        try:
            while running or (waiting and not self.gave_up):
                for slot in places:
                    if waiting and not self.gave_up and all(each.slot != slot for each in running):
                        running.append(self._start(stage, waiting.pop(0), slot))
                time.sleep(POLL_SECONDS)
                for each in running:
                    self._show(each)
                for each in [each for each in running if each.job.done()]:
                    running.remove(each)
                    self._end(stage, each)
        except KeyboardInterrupt:
            for each in running:
                each.job.cancel()
            raise

    def _start(self, stage: Stage, points: Sequence[Point], slot: Slot) -> Running:
        first = points[0].experiment
        name = self.names[first.experiment_id]
        name += f" and {len(points) - 1} more of its training" if len(points) > 1 else ""
        if not self.progress.console.is_terminal:
            self.progress.console.print(name, highlight=False, markup=False)
        work = Work(
            tuple(point.experiment.to_dict() for point in points),
            str(self.runs),
            stage,
            self.about,
            gpu=slot.gpu,
            cores=slot.cores,
        )
        attempts = len(read_attempts(training_folder(self.runs, first)))
        since = time.time()
        with _errors_into(self.runs / JOBS / "launcher.log"):
            job = self.executor.submit(work)
        return Running(job, points, name, slot, attempts, since, self.progress.add_task(escape(name), total=None))

    def _show(self, running: Running) -> None:
        heartbeat = read_heartbeat(training_folder(self.runs, running.points[0].experiment))
        # A training's earlier point leaves its last heartbeat behind; it says nothing of this one.
        if heartbeat is not None and heartbeat.time >= running.since:
            said = f"{running.name}: {STAGES.get(heartbeat.stage, heartbeat.stage)}"
            self.progress.update(running.bar, description=escape(said), completed=heartbeat.step, total=heartbeat.steps)

    def _end(self, stage: Stage, running: Running) -> None:
        self.progress.remove_task(running.bar)
        points = running.points
        done = [point for point in points if is_done(point.experiment, self.runs)]
        if stage != "evaluate":
            self.progress.advance(self.whole, len(done))
        reached = (
            [point for point in points if is_evaluated(point.experiment, self.runs)] if stage == "evaluate" else done
        )
        if len(reached) == len(points):
            return
        attempts = read_attempts(training_folder(self.runs, points[0].experiment))[running.attempts :]
        log = Path(running.job.paths.stderr)
        cause = cause_of(attempts[-1] if attempts else None, None, log) or cause_of(None, None, log)
        assert cause is not None
        # What is wrong with two of them is wrong with all.
        same = [each for each in self.failures.values() if each.lines == cause.lines and each.kind.is_mistake]
        self.gave_up = bool(same)
        self.failures[running.name] = cause
        self.progress.console.print(f"{running.name}: {_said(cause)}", highlight=False, markup=False)

    def complain(self, points: Sequence[Point]) -> None:
        """UserError where a point has no record."""
        left = [point for point in points if not is_done(point.experiment, self.runs)]
        if not left:
            return
        causes = "; ".join(f"{name}: {_said(cause)}" for name, cause in self.failures.items())
        rest = " The others were not tried, since it would be the same with them." if self.gave_up else ""
        raise UserError(
            f"{len(left)} of {len(points)} points have no record. {causes}.{rest} What is done is on disk; the same "
            "command tries the others again."
        )


def _said(cause: Cause) -> str:
    lines = " ".join(cause.lines).removeprefix("afbench: ").rstrip(". ")
    return f"{cause.kind.name}{f' ({lines})' if lines else ''}, log {cause.log}"


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
