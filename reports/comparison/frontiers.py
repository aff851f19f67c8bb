"""The points of a side, the line that joins the best of them, and the costs at which two lines are compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.axes import COSTS, Cost, pareto
from reports.comparison.answers import Measured
from reports.comparison.sides import Entry
from reports.statistics import Floats, mean_interpolation

# What two frontiers are matched by.
AXES = {"gflops": COSTS[0], "throughput": COSTS[1]}


@dataclass(frozen=True)
class Point:
    """One point of a side.

    Attributes:
        name: label and number of frames, ratio and so on.
        seeds: of its trainings.
        experiments: their ids, in the order of the seeds.
        trainings: the ids of these, in the same order.
        family: id of the training but for its seed.
        accuracy: per cent on the common videos, mean over seeds.
        gflops: 1e9 executed multiply-adds of a common video, mean over videos and seeds.
        videos_per_second: of the executed path, mean over seeds; None where these were timed on several devices.
        noisy: whether the clock was, of any of these.
        on_frontier: whether no other point of the side is cheaper and better, as this comparison counts costs.
    """

    name: str
    seeds: tuple[int, ...]
    experiments: tuple[str, ...]
    trainings: tuple[str, ...]
    family: str
    accuracy: float
    gflops: float
    videos_per_second: float | None
    noisy: bool = False
    on_frontier: bool = True


def points_of(entries: list[Entry], measured: Measured) -> list[Point]:
    """Trials that differ only in the seed are one point; cheapest first."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.unseeded.experiment_id].append(entry)
    points = []
    for group in groups.values():
        group.sort(key=lambda entry: entry.result.experiment.training.seed)
        points.append(
            Point(
                name=group[0].name,
                seeds=tuple(entry.result.experiment.training.seed for entry in group),
                experiments=tuple(entry.id for entry in group),
                trainings=tuple(entry.result.experiment.training_id for entry in group),
                family=group[0].unseeded.training_id,
                accuracy=100 * float(np.mean([measured.accuracy(entry.id) for entry in group])),
                gflops=float(np.mean([measured.macs[entry.id] for entry in group])) / 1e9,
                videos_per_second=_speed(group),
                noisy=any(bool(entry.row["noisy"]) for entry in group),
            )
        )
    return sorted(points, key=lambda point: (point.gflops, point.experiments))


def _speed(group: list[Entry]) -> float | None:
    if len({entry.row["device"] for entry in group}) > 1:
        return None
    return float(np.mean([entry.row["videos_per_second"] for entry in group]))


def marked(points: list[Point], axis: Cost) -> list[Point]:
    """In the order of their costs, with what is on the frontier; of equals the first."""
    points = sorted(points, key=lambda point: (getattr(point, axis.column), point.experiments))
    best = set(front_of(points, [point.accuracy for point in points], axis))
    return [replace(point, on_frontier=place in best) for place, point in enumerate(points)]


def front_of(points: Sequence[Point], accuracy: Sequence[float], axis: Cost) -> list[int]:
    """Places of the points that no other beats, if these are their accuracies; of equals the first."""
    costs = [getattr(point, axis.column) * (1 if axis.less_is_better else -1) for point in points]
    found: dict[float, int] = {}
    for place, on in enumerate(pareto(costs, list(accuracy))):
        if on:
            found.setdefault(costs[place], place)
    return list(found.values())


Contrast = tuple[float | None, Floats, Floats]
"""A cost, and the weights of each side's frontier points in its value there."""


def overlap_of(sides: Sequence[list[Point]], axis: Cost) -> tuple[float, float] | None:
    """Costs that the points of both sides cover."""
    costs = [[getattr(point, axis.column) for point in side] for side in sides]
    low, high = max(map(min, costs)), min(map(max, costs))
    return (low, high) if low <= high else None


def contrasts_between(fronts: Sequence[list[Point]], axis: Cost, low: float, high: float) -> list[Contrast]:
    """The mean over these costs, then the value at each point's cost among them."""
    a, b = ([getattr(point, axis.column) for point in front] for front in fronts)
    knots = sorted({cost for cost in (*a, *b) if low <= cost <= high} | {low, high})
    ranges = [(None, low, high), *((cost, cost, cost) for cost in knots)]
    return [(at, line_weights(a, *ends), line_weights(b, *ends)) for at, *ends in ranges]


def line_weights(costs: Sequence[float], low: float, high: float) -> Floats:
    """Weights of a line's points, of ascending costs, in its mean from low to high.

    Beyond its ends it goes on level: of a side with dearer points that are no better, the best one can be had for as
    much, too.
    """
    first, *inner, last = mean_interpolation([min(low, costs[0]), *costs, max(high, costs[-1])], low, high)
    weights = np.array(inner)
    weights[0] += first
    weights[-1] += last
    return weights
