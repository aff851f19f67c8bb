"""What a job does: bring points to their records, training by training. Its launcher imports no torch."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import traceback
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.environment import SUBMISSION, describe_job, source_version
from bench.errors import UserError

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

    from bench.experiment import Experiment

log = logging.getLogger(__name__)


class JobFailed(Exception):
    """Some of a job's points have no record; which, and why, is in the log above."""


@dataclass(frozen=True)
class Work:
    """Points for one job.

    Attributes:
        points: experiments as plain values, those of a training one after the other.
        runs: folder of the records.
        timed: whether times are measured, of points that are evaluated; otherwise they are trained and evaluated.
        submission: who submitted it, from which source; goes into the records.
    """

    points: tuple[dict[str, Any], ...]
    runs: str
    timed: bool
    submission: dict[str, Any]

    def __call__(self) -> None:
        """Work on every training, whatever becomes of the others.

        Raises:
            JobFailed: where something went wrong, which is said on standard error when it does.
        """
        from bench.experiment import from_dict

        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        _join()
        os.environ[SUBMISSION] = json.dumps({**self.submission, "log": _log_file()})
        _compare(self.submission.get("source"))
        points = [from_dict(values, "the submitted experiment") for values in self.points]
        failed = [
            training
            for training, group in groupby(points, key=lambda point: point.training_id)
            if not self._succeeds(list(group))
        ]
        if failed:
            raise JobFailed(f"{len(failed)} trainings of this job failed: {', '.join(failed)}; see above.")

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit when the job is to be preempted or reaches its time limit: it goes on after a requeue.

        Nothing is written: the last checkpoint of the training is seconds old.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _succeeds(self, points: list[Experiment]) -> bool:
        from bench.record import point_folder, read_evaluated
        from bench.run import evaluate_points, run_points
        from sweeps.progress import stage_bars

        runs = Path(self.runs)
        if self.timed:
            ready = [point for point in points if read_evaluated(point_folder(runs, point), point)]
            for point in points:
                if point not in ready and not (point_folder(runs, point) / "result.json").exists():
                    print(f"{point.experiment_id} is not evaluated yet, so its times are left", file=sys.stderr)
            points = ready
        if not points:
            return True
        try:
            with stage_bars() as report:
                if self.timed:
                    run_points(points, runs, report)
                else:
                    evaluate_points(points, runs, report)
        except UserError as error:
            print(f"afbench: {error}", file=sys.stderr)
            return False
        except Exception:
            traceback.print_exc()
            return False
        return True


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
