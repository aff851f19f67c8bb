"""Which jobs a sweep becomes: trainings apart from times, in arrays, short ones packed, so many at a time.

Imports no torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice, pairwise

from bench.experiment import Experiment
from sweeps import queue
from sweeps.clusters import Cluster, Resources
from sweeps.plan import Point, by_training

# What SLURM allows where it does not say.
LARGEST_ARRAY = 1001
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
        behind: the scheduler's id of a job that works on the same trainings, and must have ended before; "" for none.
    """

    tasks: tuple[tuple[Experiment, ...], ...]
    timed: bool
    resources: Resources
    after: Array | None = None
    behind: str = ""


NO_JOBS: Mapping[str, str] = {}


def arrays_of(
    points: Sequence[Point],
    cluster: Cluster,
    retry: str,
    recipe: str,
    seconds: Seconds = unknown,
    flying: Mapping[str, str] = NO_JOBS,
) -> list[Array]:
    """What to hand over: each training with its points, its times after it, in a drawn order.

    Args:
        seconds: that a point will take; short ones share a job.
        flying: jobs that wait or run, by the ids of their trainings: other points of these follow when they have ended,
            instead of waiting for the training's folder on a GPU of their own.
    """
    trainings = by_training([point for point in points if is_wanted(point, retry)], recipe)
    new = [group for group in trainings if not all(point.evaluated for point in group)]
    ready = [group for group in trainings if all(point.evaluated for point in group)]
    # Processes that train together leave together: after a failure of one nothing else of the job would run.
    pack = cluster.training.pack if cluster.training.processes == 1 else 0
    largest = largest_array()
    free, untimed = (
        [group for group in groups if group[0].experiment.training_id not in flying] for groups in (new, ready)
    )
    trained = list(_chunks(_packed(free, pack, seconds), largest))
    timed = list(_chunks(_packed(untimed, cluster.timing.pack, seconds), largest))
    training = _shared(cluster.training, list(map(len, trained)))
    timing = _shared(cluster.timing, list(map(len, trained + timed)))
    arrays: list[Array] = []
    for groups, asked, then in zip(trained, training, timing[: len(trained)], strict=True):
        arrays += _pair(groups, asked, then)
    arrays += [Array(_tasks(groups), True, asked) for groups, asked in zip(timed, timing[len(trained) :], strict=True)]
    return arrays + _followers(new, ready, cluster, flying, largest)


def _followers(
    new: Sequence[list[Point]],
    ready: Sequence[list[Point]],
    cluster: Cluster,
    flying: Mapping[str, str],
    largest: int,
) -> list[Array]:
    """What waits for a job that works on the same training; one after the other, as that job does."""
    training, timing = (replace(asked, parallel=min(1, asked.parallel)) for asked in (cluster.training, cluster.timing))
    arrays: list[Array] = []
    for job in dict.fromkeys(flying.values()):
        follow, times = (
            [group for group in groups if flying.get(group[0].experiment.training_id) == job] for groups in (new, ready)
        )
        for groups in _chunks(follow, largest):
            arrays += _pair(groups, training, timing, job)
        arrays += [Array(_tasks(groups), True, timing, behind=job) for groups in _chunks(times, largest)]
    return arrays


def _pair(groups: Sequence[list[Point]], training: Resources, timing: Resources, behind: str = "") -> list[Array]:
    """Trainings with what is to be evaluated of them, and their times after them."""
    unevaluated = [[point for point in group if not point.evaluated] for group in groups]
    first = Array(_tasks(unevaluated), False, training, behind=behind)
    return [first, Array(_tasks(groups), True, timing, first)]


def _shared(asked: Resources, sizes: Sequence[int]) -> list[Resources]:
    """Of arrays of so many jobs: each may run its share of the jobs at a time, one at least."""
    if not (asked.parallel and sizes):
        return [asked] * len(sizes)
    rest = max(asked.parallel - len(sizes), 0)
    ends = [round(rest * end / sum(sizes)) for end in accumulate(sizes, initial=0)]
    return [replace(asked, parallel=1 + end - start) for start, end in pairwise(ends)]


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
