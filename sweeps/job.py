"""What a job does: bring points to their records, training by training. Its launcher imports no torch."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
import traceback
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from submitit.core.utils import UncompletedJobError

from bench.environment import SUBMISSION, describe_job, source_version
from bench.errors import UserError
from sweeps.triage import BEGAN

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

    from bench.experiment import Experiment

log = logging.getLogger(__name__)


Stage = Literal["evaluate", "time", "all"]
# Share of its time limit after which a job that reached nothing will not reach anything the next time either.
FRUITLESS = 0.5


class JobFailed(Exception):
    """Some of a job's points have no record; which, and why, is in the log above."""


class NoProgress(UncompletedJobError):
    """A job at its time limit that kept nothing: it would go on for ever."""


@dataclass
class Work:
    """Points for one job.

    Attributes:
        points: experiments as plain values, those of a training one after the other.
        runs: folder of the records.
        stage: whether they are trained and evaluated, or, having been, timed; or all of it.
        submission: who submitted it, from which source; goes into the records.
        minutes: time limit of the job; 0 for none.
        gpu: the one to use, as CUDA_VISIBLE_DEVICES names it; None where the scheduler has said.
        cores: to run on; all there are where there are none.
    """

    points: tuple[dict[str, Any], ...]
    runs: str
    stage: Stage
    submission: dict[str, Any]
    minutes: int = 0
    gpu: str | None = None
    cores: tuple[int, ...] = ()
    _began: float = field(default=0.0, init=False, repr=False)
    _found: frozenset[tuple[str, int]] = field(default=frozenset(), init=False, repr=False)

    def __call__(self) -> None:
        """Work on every training, whatever becomes of the others.

        Raises:
            JobFailed: where all went wrong, which is said on standard error when it does. Where some did, others still
                have what comes after this job.
        """
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        self._settle()
        points = self._experiments()
        self._began, self._found = time.monotonic(), self._kept()
        names, failed = [], []
        for name, group in groupby(points, key=lambda point: point.training_id):
            names.append(name)
            print(f"{BEGAN}{name}", file=sys.stderr, flush=True)
            if not self._succeeds(list(group)):
                failed.append(name)
        if failed == names:
            raise JobFailed(f"Trainings of this job that failed: {', '.join(failed)}; see above.")
        if not failed:
            from bench.distributed import leave

            leave()  # one of several does, without submitit's note of the result, which nobody reads

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit when the job is to be preempted or reaches its time limit: it goes on after a requeue.

        Nothing is written: the last checkpoint of the training is seconds old.

        Raises:
            NoProgress: where nothing was kept since the job began, and most of its time is over.
        """
        from submitit.helpers import DelayedSubmission

        spent = time.monotonic() - self._began
        if self.minutes and spent > FRUITLESS * 60 * self.minutes and self._kept() == self._found:
            raise NoProgress(
                f"The job made no progress in {spent / 60:.0f} of its {self.minutes} minutes: no checkpoint and no "
                "record since it began. It does not go on."
            )
        return DelayedSubmission(self)

    def _settle(self) -> None:
        """Take the place that was given to this process."""
        if self.gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpu
        if self.cores:
            os.sched_setaffinity(0, self.cores)
        _join()
        os.environ[SUBMISSION] = json.dumps({**self.submission, "log": _log_file()})
        _compare(self.submission.get("source"))

    def _experiments(self) -> list[Experiment]:
        from bench.experiment import from_dict

        return [from_dict(values, "the submitted experiment") for values in self.points]

    def _kept(self) -> frozenset[tuple[str, int]]:
        """What of the points is on disk, each file with its time."""
        from bench.record import EVALUATED, point_folder, training_folder

        runs, paths = Path(self.runs), set()
        for point in self._experiments():
            paths.add(training_folder(runs, point) / "checkpoint.pt")
            paths.update(point_folder(runs, point) / name for name in (EVALUATED, "result.json"))
        return frozenset((str(path), path.stat().st_mtime_ns) for path in paths if path.exists())

    def _succeeds(self, points: list[Experiment]) -> bool:
        from bench.run import evaluate_points, run_points
        from sweeps.progress import stage_bars

        runs = Path(self.runs)
        if self.stage == "time":
            points = _evaluated(points, runs)
        if not points:
            return True
        try:
            with stage_bars() as report:
                if self.stage == "evaluate":
                    evaluate_points(points, runs, report)
                else:
                    run_points(points, runs, report)
        except UncompletedJobError:
            raise  # submitit's, in the middle of whatever was going on
        except UserError as error:
            print(f"afbench: {error}", file=sys.stderr)
        except Exception:
            traceback.print_exc()
        else:
            return True
        return False


def _evaluated(points: list[Experiment], runs: Path) -> list[Experiment]:
    """Those that can be timed or are; the others are named."""
    from bench.record import point_folder, read_evaluated

    found = []
    for point in points:
        folder = point_folder(runs, point)
        if read_evaluated(folder, point) or (folder / "result.json").exists():
            found.append(point)
        else:
            print(f"{point.experiment_id} is not evaluated yet, so its times are left", file=sys.stderr)
    return found


def _join() -> None:
    """Let a job's processes find each other, as submitit says; and mend what a killed attempt left of submitit's."""
    import submitit

    if "SLURM_JOB_ID" not in os.environ:
        return
    environment = submitit.JobEnvironment()
    # submitit refuses to write beside what a killed attempt left half written.
    for path in environment.paths.folder.glob(f"{environment.job_id}_*.save_tmp"):
        with contextlib.suppress(OSError):
            path.unlink()
    if environment.num_tasks > 1:
        # SLURM has given each process its GPU already.
        submitit.helpers.TorchDistributedEnvironment().export(set_cuda_visible_devices=False)


def _log_file() -> str:
    import submitit

    try:
        return str(submitit.JobEnvironment().paths.stderr)
    except (RuntimeError, KeyError):  # not started by submitit
        return ""


def _compare(submitted: dict[str, Any] | None) -> None:
    """Say so where the source is not the one that was submitted: a job imports what is there when it starts."""
    found = source_version()
    if submitted and submitted != found:
        job = describe_job() or {}
        log.warning(
            "This job (%s) runs commit %s%s, but was submitted from %s%s: jobs run what is there when they start.",
            job.get("id"),
            found["commit"],
            " with changes" if found["dirty"] else "",
            submitted["commit"],
            " with changes" if submitted["dirty"] else "",
        )
