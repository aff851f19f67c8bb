"""Handing points to SLURM, through submitit: what is missing, once, in arrays, times apart from trainings.

Imports no torch.
"""

from __future__ import annotations

import logging
import math
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
from sweeps.arrays import Array, arrays_of
from sweeps.clusters import Cluster, Resources
from sweeps.estimate import estimate
from sweeps.job import Work
from sweeps.ledger import Ledger, Submission
from sweeps.plan import Point, plan
from sweeps.snapshot import lines_for, snapshot

log = logging.getLogger(__name__)

SNAPSHOTS = "snapshots"
# Of what jobs ask for, what SLURM knows nothing of.
OURS = ("setup", "parallel", "pack", "requeues")
# What sbatch --test-only says of jobs that no node can run, but also where such nodes are only down or drained.
UNAVAILABLE = "node configuration is not available"
PATIENCE = 120  # seconds for sbatch to say what it thinks
ENDING = 60.0  # and for jobs to end that were cancelled; SLURM kills them after half of it, where nothing else is set
POLL = 2.0


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
        flying = _flying(ledger) if shutil.which("squeue") is not None else {}
        arrays = arrays_of(found, cluster, retry, recipe, estimate(found, runs).of, flying)
        if shutil.which("sbatch") is not None:
            _ask_all(arrays)
        return Handed(found, [(array, None) for array in arrays])
    make_folder(runs)
    _compare_clocks(runs)
    with ledger.held():
        withdraw_orphans(ledger)
        found = _settled(points, runs)
        if fixed:
            cluster = cluster.after(lines_for(snapshot(ledger.folder / SNAPSHOTS)))
        arrays = arrays_of(found, cluster, retry, recipe, estimate(found, runs).of, _flying(ledger))
        _ask_all(arrays)
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


def _flying(ledger: Ledger) -> dict[str, str]:
    """Jobs of any recipe that run, or wait to train, by the ids of their trainings, whose folders they hold or will."""
    handed = [each for each in ledger.read() if each.job and not each.withdrawn]
    waiting = queue.queued() if handed else {}
    found = {}
    for each in handed:
        for task, trainings in enumerate(each.trainings):
            job = waiting.get(each.job_of(task))
            if job is None or job.name != each.token or job.is_hopeless or (each.timed and job.waits):
                continue
            found.update(dict.fromkeys(trainings, job.id))
    return found


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


def withdraw_orphans(ledger: Ledger) -> set[str]:
    """Take back what a submitter that was killed may have handed over without noting it; the ids of these jobs."""
    # Also those that were withdrawn: an sbatch may outlive its submitter, or fail though SLURM has the job.
    orphans = {each.token: each for each in ledger.read() if not each.job}
    if not orphans:
        return set()
    jobs = {job.id.partition("_")[0] for job in queue.queued().values() if job.name in orphans}
    if jobs:
        queue.cancel(jobs)
    for submission in orphans.values():
        if not submission.withdrawn:
            ledger.withdraw(submission)
    return jobs


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
        "exclude": asked.exclude,
        "cpus_per_task": asked.cpus,
        "setup": asked.setup.splitlines(),
        "exclusive": asked.exclusive,
        "dependency": _dependency(array, after),
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


def _dependency(array: Array, after: str) -> str:
    if after:
        return f"{'aftercorr' if len(array.tasks) > 1 else 'afterok'}:{after}"
    return f"afterany:{array.behind}" if array.behind else ""


def script_of(array: Array, folder: Path, name: str, after: str = "") -> str:
    """The text that sbatch gets, by a function that submitit has not made public; a test compares it with what came."""
    count = len(array.tasks) if len(array.tasks) > 1 else None
    command = f"{shlex.quote(sys.executable)} -u -m submitit.core._submit {shlex.quote(str(folder))}"
    text: str = engine._make_sbatch_string(
        command=command, folder=folder, map_count=count, **parameters_of(array, name, after)
    )
    return text


def _ask_all(arrays: Sequence[Array]) -> None:
    """UserError where SLURM would refuse jobs of any kind; nothing is submitted."""
    kinds: dict[Resources, Array] = {}
    for array in arrays:
        kinds.setdefault(replace(array.resources, parallel=0), array)
    for array in kinds.values():
        _ask(array)


def _ask(array: Array) -> None:
    if shutil.which("sbatch") is None:
        raise UserError(
            "There is no sbatch here; expected a machine that submits to SLURM, or --cluster local to run on this one."
        )
    asked = array.resources
    nodes = queue.nodes(asked.partition)
    _check_time(asked, nodes)
    script = script_of(array, Path("logs"), "afbench")
    try:
        done = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(
            f"sbatch does not answer ({error}); expected SLURM's controller to be up. Nothing was submitted."
        ) from error
    if not done.returncode:
        return
    said = " ".join(done.stderr.replace("sbatch:", "").split())
    what = "timing" if array.timed else "training"
    down = sum(not node.serves and _could(node, asked) for node in nodes)
    if UNAVAILABLE not in said or not down:
        given = {name: value for name, value in asdict(asked).items() if value and name not in OURS}
        raise UserError(
            f"SLURM refuses {what} jobs of {', '.join(f'{name} {value!r}' for name, value in given.items())}: {said}. "
            "Nothing was submitted; expected other values in clusters.toml or by flags."
        )
    words = "%s jobs will wait: what could run them is down or drained (%d of the nodes, see sinfo -R)."
    log.warning(words, what.capitalize(), down)


def _check_time(asked: Resources, nodes: Sequence[queue.Node]) -> None:
    """UserError where no node's partition lets a job run so long: some clusters take it, and it waits for ever."""
    longest = max((node.longest for node in nodes), default=math.inf)
    # A quality of service may allow more.
    if 60 * asked.minutes > longest and not asked.qos:
        where = f"partition {asked.partition}" if asked.partition else "the cluster's own partition"
        raise UserError(
            f"time is {asked.time}, but {where} lets jobs run {longest / 60:g} minutes at most. Nothing was submitted; "
            "expected a shorter one, another partition, or a qos that allows it."
        )


def _could(node: queue.Node, asked: Resources) -> bool:
    """Whether a node is large enough; features that are not simply all of some names are left to SLURM."""
    memory = int(asked.memory[:-1]) * 1024 ** ("KMGT".index(asked.memory[-1]) - 1) if asked.memory else 0
    features = (
        set(asked.constraint.split("&")) if asked.constraint and not set("|[(*") & set(asked.constraint) else set()
    )
    return (
        node.cpus >= asked.tasks_per_node * max(asked.cpus, 1)
        and node.memory >= memory
        and node.gpus >= asked.gpus
        and features <= node.features
    )


def _hand_over(
    array: Array, ledger: Ledger, runs: Path, cluster: str, recipe: str, after: Submission | None
) -> Submission:
    names = [[point.experiment_id for point in task] for task in array.tasks]
    trainings = [list(dict.fromkeys(point.training_id for point in task)) for task in array.tasks]
    submission = ledger.begin(cluster, recipe, array.timed, names, trainings)
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
