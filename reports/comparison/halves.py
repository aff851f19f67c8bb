"""Whether a lead of lines is there when points are chosen on one half of the videos and compared on the other.

A line joins the points that no other of its side beats, by the accuracy that is compared: of a side with more points to
choose from luckier ones are chosen. Chosen on videos that the comparison does not use, luck is not in it. Of each half
the other one chooses, so that every video is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reports.axes import Cost
from reports.comparison.answers import Measured
from reports.comparison.differences import Difference, Draws, Found, turned, widened
from reports.comparison.frontiers import Point, front_of, line_weights
from reports.statistics import FEWEST_TELLING, Floats, bootstrap_p, interval, replicate_means

TEST = "two-sided, by bootstrap, each half of the videos choosing the points that are compared on the other"


@dataclass(frozen=True)
class Halves:
    """A - B so found, in points of per cent.

    Attributes:
        low: of the 95% interval.
        high: likewise.
        p: two-sided, of no difference; not corrected.
    """

    value: float
    low: float
    high: float
    p: float


def looks_luckier(
    measured: Measured,
    points: Sequence[Sequence[Point]],
    difference: Difference,
    axis: Cost,
    overlap: tuple[float, float],
) -> bool:
    """Whether the side that is ahead chose, and had more points to choose from where lines are compared; of top-1."""
    ahead, behind = points if difference.value > 0 else points[::-1]
    low, high = overlap
    counts = [sum(low <= getattr(point, axis.column) <= high for point in side) for side in (ahead, behind)]
    chose = counts[0] > counts[1] and not all(point.on_frontier for point in ahead)
    known = measured.targets is None and len(measured.video) >= FEWEST_TELLING
    return known and chose and difference.value != 0


def guarded(found: Found, halves: Halves | None) -> Found:
    """The same, its first difference with no p below that of halves; of a lead that is none there, p is 1."""
    if halves is None:
        return found
    main, *others = found.differences
    p = halves.p if halves.value * main.value > 0 else 1.0
    if p <= main.p:
        return found
    return replace(found, differences=[replace(main, p=p), *others], test=TEST)


def halves_of(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(V,) 0 or 1: of the videos of each label the first is in one half, the next in the other."""
    half = np.empty(len(labels), np.int64)
    half[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % 2
    return half


class HalfDraws:
    """Right answers of points in each half of the videos, in replicates that all of them share.

    Args:
        points: of all sides, all that there are to choose from.
    """

    def __init__(self, measured: Measured, points: Sequence[Point]) -> None:
        self.draws, self.half = Draws(measured, points), halves_of(measured.label)
        ids = sorted({each for point in points for each in point.experiments})
        right = np.stack([measured.answers[each] & (self.half == h) for each in ids for h in (0, 1)], axis=1)
        columns = replicate_means(right, self.draws.replicates, self.draws.seed)
        values = {(each, h): columns[:, 2 * place + h] for place, each in enumerate(ids) for h in (0, 1)}
        # (replicates,) by a point's experiments and the half: what it has there of its accuracy, mean over seeds.
        self.accuracy = {
            (point.experiments, h): sum(values[each, h] for each in point.experiments) / len(point.experiments)
            for point in points
            for h in (0, 1)
        }


def by_halves(drawn: HalfDraws, points: Sequence[list[Point]], axis: Cost, overlap: tuple[float, float]) -> Halves:
    """The difference of these sides, on average over costs, or at the one where both ends are it. Of top-1 alone."""
    half = drawn.half
    shares, values = np.zeros(len(half)), np.zeros(drawn.draws.replicates)
    weighted: list[tuple[float, Point]] = []
    for sign, side in zip((1, -1), points, strict=True):
        right = np.stack([drawn.draws.parts[point.experiments] for point in side])
        weights = [sign * weights_of(side, right[:, half != h].mean(axis=1), axis, overlap) for h in (0, 1)]
        for h in (0, 1):
            shares[half == h] += weights[h] @ right[:, half == h]
            for weight, point in zip(weights[h], side, strict=True):
                values += weight * drawn.accuracy[point.experiments, h]
        both = np.mean([weights[h] for h in half], axis=0)
        weighted += zip(both.tolist(), side, strict=True)
    values += turned(points) * drawn.draws.trainings(weighted)
    low, high, _ = widened(*interval(values), shares)
    value, low, high = (round(100 * float(each), 4) + 0.0 for each in (shares.mean(), low, high))
    return Halves(value, low, high, float(f"{bootstrap_p(values):.6g}"))


def weights_of(side: Sequence[Point], accuracy: Floats, axis: Cost, overlap: tuple[float, float]) -> Floats:
    """(points,) of a side, in the mean over these costs of the line through those that none beats by this accuracy."""
    front = front_of(side, accuracy.tolist(), axis)
    weights = np.zeros(len(side))
    weights[front] = line_weights([getattr(side[place], axis.column) for place in front], *overlap)
    return weights
