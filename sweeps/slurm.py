"""Handing points to SLURM, through submitit: what is missing, once, in arrays, times apart from trainings.

Imports no torch.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import submitit
from submitit.slurm import slurm as engine

from bench.attempts import SKEWED
from bench.environment import source_version
from bench.errors import UserError
from bench.experiment import Experiment
from bench.files import clock_of, make_folder
from sweeps import queue
from sweeps.clusters import Cluster, Resources
from sweeps.estimate import estimate
from sweeps.job import Work
from sweeps.ledger import Ledger, Submission
from sweeps.plan import Point, by_training, plan
from sweeps.snapshot import lines_for, snapshot

log = logging.getLogger(__name__)

# What SLURM allows where it does not say.
LARGEST_ARRAY = 1001
SNAPSHOTS = "snapshots"
PATIENCE = 120  # seconds for sbatch to say what it thinks
ENDING = 60.0  # and for jobs to end that were cancelled; SLURM kills them after half of it, where nothing else is set
POLL = 2.0
Seconds = Callable[[Point], float | None]
"""How long a point will take, None where nobody knows."""


def unknown(point: Point) -> None:
    """Of any point."""


@dataclass(frozen=True)
class Array:
    """Jobs that ask for the same, handed over together.

    Attributes:
        tasks: the points of each job, those of a training one after the other.
        timed: whether times are measured; otherwise points are trained and evaluated.
        after: the array whose job of the same number must have ended well before; None for none.
    """

    tasks: tuple[tuple[Experiment, ...], ...]
    timed: bool
    resources: Resources
    after: Array | None = None


@dataclass(frozen=True)
class Handed:
    """What a submission did.

    Attributes:
        points: in the states in which they were found.
        arrays: what was handed over, with its submission; without one where nothing was, in a dry run.
    """

    points: list[Point]
    arrays: list[tuple[Array, Submission | None]]


def submit(
    points: Sequence[Experiment],
    runs: Path,
    cluster: Cluster,
    recipe: str,
    retry: str = "",
    *,
    dry: bool = False,
    fixed: bool = False,
) -> Handed:
    """Hand over what is missing and neither waits nor runs; again, it adds what has become missing since.

    Args:
        recipe: its name, for the ledger; the order of its jobs is drawn from it.
        retry: which failed points too: "failed" for all but those that ended at a limit, "timeout", "oom", "all".
        dry: whether to stop before anything is handed over.
        fixed: whether jobs run from a copy of the source as it is now.

    Raises:
        UserError: before anything is handed over, where SLURM is not here or refuses such jobs, the folder cannot be
            written to, or a point cannot be trained by so many processes; after a part where it refuses the rest.
    """
    runs = runs.resolve()
    check(points, cluster, runs)
    ledger = Ledger(runs)
    if dry:
        found = plan(points, runs, must_know=shutil.which("squeue") is not None)
        arrays = arrays_of(found, cluster, retry, recipe, estimate(found, runs).of)
        return Handed(found, [(array, None) for array in arrays])
    make_folder(runs)
    _compare_clocks(runs)
    with ledger.held():
        withdraw_orphans(ledger)
        found = _settled(points, runs)
        if fixed:
            cluster = cluster.after(lines_for(snapshot(ledger.folder / SNAPSHOTS)))
        arrays = arrays_of(found, cluster, retry, recipe, estimate(found, runs).of)
        kinds: dict[Resources, Array] = {}
        for array in arrays:
            kinds.setdefault(array.resources, array)
        for array in kinds.values():
            _ask(array, ledger.folder)
        handed: dict[int, Submission] = {}
        for array in arrays:
            after = handed.get(id(array.after))
            handed[id(array)] = _hand_over(array, ledger, runs, cluster.name, recipe, after)
    return Handed(found, [(array, handed[id(array)]) for array in arrays])


def _settled(points: Sequence[Experiment], runs: Path) -> list[Point]:
    """The plan, once jobs that are ending have ended, so that what was cancelled just now is taken up."""
    until, said = time.monotonic() + ENDING, False
    while True:
        found = plan(points, runs, must_know=True)
        ending = {point.job.id for point in found if point.job is not None and point.job.ends}
        if not ending or time.monotonic() > until:
            return found
        if not said:
            log.warning("Waiting for jobs that are ending: %s.", ", ".join(sorted(ending)))
            said = True
        time.sleep(POLL)


def _compare_clocks(runs: Path) -> None:
    apart = time.time() - clock_of(runs)
    if abs(apart) > SKEWED:
        log.warning(
            "This machine's clock is %+.0f s off that of the file system of %s: times in the ledger, the records and "
            "the logs of several machines cannot be compared.",
            apart,
            runs,
        )


def check(points: Sequence[Experiment], cluster: Cluster, runs: Path) -> None:
    """UserError for what would only be found when jobs start."""
    if "%" in str(runs):
        raise UserError(f"The folder {runs} has a % in its name, which SLURM replaces in the names of logs.")
    processes = cluster.training.processes
    for point in points:
        if point.training.parts % processes:
            raise UserError(
                f"{processes} processes ({cluster.training.nodes} nodes of {cluster.training.tasks_per_node}) cannot "
                f"share a step of {point.training.parts} parts evenly. Expected training.batch / training.micro_batch "
                f"(now {point.training.batch} / {point.training.micro_batch or point.training.batch}) to be a multiple "
                f"of {processes}."
            )


def withdraw_orphans(ledger: Ledger) -> None:
    """Take back what a submitter that was killed may have handed over without noting it."""
    orphans = {each.token: each for each in ledger.read() if not each.job and not each.withdrawn}
    if not orphans:
        return
    jobs = [job.id for job in queue.queued().values() if job.name in orphans]
    if jobs:
        queue.cancel({job.partition("_")[0] for job in jobs})
    for submission in orphans.values():
        ledger.withdraw(submission)


def arrays_of(
    points: Sequence[Point], cluster: Cluster, retry: str, recipe: str, seconds: Seconds = unknown
) -> list[Array]:
    """What to hand over: each training with its points, its times after it, in a drawn order.

    Args:
        seconds: that a point will take; short ones share a job.
    """
    trainings = by_training([point for point in points if is_wanted(point, retry)], recipe)
    new = [group for group in trainings if not all(point.evaluated for point in group)]
    ready = [group for group in trainings if all(point.evaluated for point in group)]
    # Processes that train together leave together: after a failure of one nothing else of the job would run.
    pack = cluster.training.pack if cluster.training.processes == 1 else 0
    largest = largest_array()
    arrays: list[Array] = []
    for groups in _chunks(_packed(new, pack, seconds), largest):
        unevaluated = [[point for point in group if not point.evaluated] for group in groups]
        first = Array(_tasks(unevaluated), False, cluster.training)
        arrays += [first, Array(_tasks(groups), True, cluster.timing, first)]
    for groups in _chunks(_packed(ready, cluster.timing.pack, seconds), largest):
        arrays.append(Array(_tasks(groups), True, cluster.timing))
    return arrays


def _packed(groups: Sequence[list[Point]], minutes: int, seconds: Seconds) -> list[list[Point]]:
    """Neighbours together as long as they take no longer than so many minutes."""
    packed: list[list[Point]] = []
    spent: float | None = None
    for group in groups:
        each = [seconds(point) for point in group]
        takes = None if None in each else sum(one for one in each if one is not None)
        if takes is None or spent is None or spent + takes > 60 * minutes:
            packed.append([])
            spent = 0.0
        packed[-1] += group
        spent = None if takes is None else spent + takes
    return packed


def _tasks(groups: Sequence[Sequence[Point]]) -> tuple[tuple[Experiment, ...], ...]:
    return tuple(tuple(point.experiment for point in group) for group in groups)


def is_wanted(point: Point, retry: str) -> bool:
    """Whether a submission takes up the point."""
    if point.state != "failed":
        return point.state == "missing"
    assert point.cause is not None
    limit = {"timeout": "timeout", "out of memory": "oom"}.get(point.cause.kind.name, "failed")
    return retry in ("all", limit)


def _chunks(groups: Sequence[list[Point]], size: int) -> Iterator[list[list[Point]]]:
    rest = iter(groups)
    while chunk := list(islice(rest, size)):
        yield chunk


def largest_array() -> int:
    """Jobs of an array that SLURM takes."""
    if shutil.which("scontrol") is None:
        return LARGEST_ARRAY
    return max(int(queue.setting("MaxArraySize") or LARGEST_ARRAY), 1)


# --- Scripts ----------------------------------------------------------------------------------------------------------


def parameters_of(array: Array, name: str, after: str = "") -> dict[str, Any]:
    """What submitit is told of an array's jobs.

    Args:
        after: the scheduler's id of the array that comes before.
    """
    asked = array.resources
    more: dict[str, Any] = {"requeue": True}
    if asked.memory:
        more["mem"] = asked.memory
    if after:
        more["kill-on-invalid-dep"] = "yes"
    optional = {
        "gres": asked.gpus and asked.gpu_type and f"gpu:{asked.gpu_type}:{asked.gpus}",
        "gpus_per_node": 0 if asked.gpu_type else asked.gpus,
        "partition": asked.partition,
        "account": asked.account,
        "qos": asked.qos,
        "constraint": asked.constraint,
        "cpus_per_task": asked.cpus,
        "setup": asked.setup.splitlines(),
        "exclusive": asked.exclusive,
        "dependency": after and f"{'aftercorr' if len(array.tasks) > 1 else 'afterok'}:{after}",
    }
    return {
        "job_name": name,
        "time": asked.minutes,
        "nodes": asked.nodes,
        "ntasks_per_node": 1 if array.timed else asked.tasks_per_node,
        "array_parallelism": asked.parallel or len(array.tasks),
        # One process that fails ends the others, who would wait for it.
        "srun_args": ["--kill-on-bad-exit=1"],
        "wckey": None,
        "additional_parameters": more,
        **{key: value for key, value in optional.items() if value},
    }


def script_of(array: Array, folder: Path, name: str = "afbench", after: str = "") -> str:
    """The text that sbatch gets."""
    count = len(array.tasks) if len(array.tasks) > 1 else None
    command = f"python -u -m submitit.core._submit {folder}"
    text: str = engine._make_sbatch_string(
        command=command, folder=folder, map_count=count, **parameters_of(array, name, after)
    )
    return text


def _ask(array: Array, folder: Path) -> None:
    """UserError where SLURM would refuse such jobs; nothing is submitted."""
    if shutil.which("sbatch") is None:
        raise UserError(
            "There is no sbatch here; expected a machine that submits to SLURM, or --cluster local to run on this one."
        )
    with tempfile.NamedTemporaryFile("w", suffix=".sh", dir=folder) as script:
        script.write(script_of(array, folder))
        script.flush()
        try:
            done = subprocess.run(
                ["sbatch", "--test-only", script.name], capture_output=True, text=True, timeout=PATIENCE
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(
                f"sbatch does not answer ({error}); expected SLURM's controller to be up. Nothing was submitted."
            ) from error
    if done.returncode:
        said = " ".join(done.stderr.replace("sbatch:", "").split())
        asked = array.resources
        raise UserError(
            f"SLURM refuses {'timing' if array.timed else 'training'} jobs with partition {asked.partition!r}, account "
            f"{asked.account!r}, qos {asked.qos!r}, {asked.nodes} nodes of {asked.gpus} GPUs {asked.gpu_type!r}, time "
            f"{asked.time}: {said}. Nothing was submitted; expected other values in clusters.toml or by flags."
        )


def _hand_over(
    array: Array, ledger: Ledger, runs: Path, cluster: str, recipe: str, after: Submission | None
) -> Submission:
    names = [[point.experiment_id for point in task] for task in array.tasks]
    submission = ledger.begin(cluster, recipe, array.timed, names)
    folder = ledger.jobs_folder(submission)
    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=array.resources.requeues)
    executor.update_parameters(**parameters_of(array, submission.token, after.job if after else ""))
    about = {"token": submission.token, "recipe": recipe, "cluster": cluster, "source": source_version()}
    try:
        with executor.batch():
            jobs = [
                executor.submit(
                    Work(
                        tuple(point.to_dict() for point in task),
                        str(runs),
                        "time" if array.timed else "evaluate",
                        about,
                        array.resources.minutes,
                    )
                )
                for task in array.tasks
            ]
        job = jobs[0].job_id.partition("_")[0]
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError, OSError) as error:
        ledger.withdraw(submission)
        raise UserError(
            f"SLURM took some jobs and refuses the rest ({_words(error)}). What was taken runs; the same "
            "command submits what is missing."
        ) from error
    ledger.handed_over(submission, job)
    return replace(submission, job=job)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())
