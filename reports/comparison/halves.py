"""Whether a lead of lines is there when points are chosen on one half of the videos and compared on the other.

A line joins the points that no other of its side beats, by the accuracy that is compared: of a side with more points to
choose from luckier ones are chosen. Chosen on videos that the comparison does not use, luck is not in it. Of each half
the other one chooses, so that every video is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.axes import Cost
from reports.comparison.answers import Measured
from reports.comparison.differences import Difference, Draws, turned
from reports.comparison.frontiers import Point, front_of
from reports.statistics import Floats, bootstrap_p, interpolation, interval, mean_interpolation


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


def looks_luckier(measured: Measured, points: Sequence[Sequence[Point]], difference: Difference) -> bool:
    """Whether the side that is ahead chose, and had more points to choose from; of top-1."""
    ahead, behind = points if difference.value > 0 else points[::-1]
    chose = len(ahead) > len(behind) and not all(point.on_frontier for point in ahead)
    return chose and difference.value != 0 and measured.targets is None


def by_halves(draws: Draws, points: Sequence[list[Point]], axis: Cost, low: float, high: float) -> Halves:
    """The main difference of these sides, on average over these costs. Of top-1 alone.

    Args:
        draws: of all of these points.
        points: of each side, all that there are to choose from.
        low: a cost; where it is `high`, the difference there.
    """
    half = np.arange(len(draws.measured.video)) % 2  # in their order: each class is in both alike
    shares, weighted = np.zeros(len(half)), list[tuple[float, Point]]()
    for sign, side in zip((1, -1), points, strict=True):
        right = np.stack([draws.parts[point.experiments] for point in side])
        weights = [_weights(side, right[:, half != h].mean(axis=1), axis, low, high) for h in (0, 1)]
        for h in (0, 1):
            shares[half == h] += sign * (weights[h] @ right[:, half == h])
        both = sign * np.mean([weights[h] for h in half], axis=0)
        weighted += zip(both.tolist(), side, strict=True)
    values = draws.means(shares) + turned(points) * draws.trainings(weighted)
    value, low, high = (round(100 * float(each), 4) + 0.0 for each in (shares.mean(), *interval(values)))
    return Halves(value, low, high, float(f"{bootstrap_p(values):.6g}"))


def _weights(side: list[Point], accuracy: Floats, axis: Cost, low: float, high: float) -> Floats:
    """(points,) of a side in the value of the line through those that none beats by this accuracy.

    Beyond the line's ends its last point stands for it, which has the other half's choice at any cost compared.
    """
    front = front_of(side, accuracy.tolist(), axis)
    costs = [getattr(side[place], axis.column) for place in front]
    start, end = (float(np.clip(cost, costs[0], costs[-1])) for cost in (low, high))
    if low == high:
        found = interpolation(costs, start)
    else:
        found = mean_interpolation(costs, start, end) * (end - start)
        found[0] += start - low
        found[-1] += high - end
        found /= high - low
    weights = np.zeros(len(side))
    weights[front] = found
    return weights
