"""Differences of accuracy between points or lines, each with its interval and p."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.comparison.answers import Measured
from reports.comparison.frontiers import Contrast, Point
from reports.statistics import (
    FEWEST_TELLING,
    RANKED,
    Floats,
    bootstrap_p,
    interval,
    largest_share,
    replicate_seeds,
    seed_weights,
    sign_test,
)

ROUNDING = 1e-9  # below which a difference of interpolated answers is none


@dataclass(frozen=True)
class Difference:
    """A - B, in points of per cent.

    Attributes:
        at: the cost it is at; None of two points or of a mean over costs.
        a: accuracy in per cent.
        b: likewise.
        value: a - b.
        low: of the 95% interval.
        high: likewise.
        p: two-sided, of no difference; not corrected.
    """

    at: float | None
    a: float
    b: float
    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Found:
    """Differences, and how they were found.

    Attributes:
        main: (F,) the first difference, by right answers that could be given.
    """

    differences: list[Difference]
    test: str
    replicates: int
    main: Floats
    notes: list[str]


class Draws:
    """Accuracies of points in replicates that all of them share.

    Attributes:
        accuracy: by a point's experiments, (replicates,) in [0, 1].
        parts: likewise, (F,) as `Measured.parts`, mean over seeds.
    """

    def __init__(self, measured: Measured, points: Sequence[Point], ranked: float = RANKED) -> None:
        self.measured = measured
        ids = sorted({each for point in points for each in point.experiments})
        seed = int(hashlib.sha256(",".join(ids).encode()).hexdigest()[:16], 16)
        values = measured.replicates(ids, seed, ranked)
        self.replicates = len(values)
        column = {each: number for number, each in enumerate(ids)}
        rng = np.random.default_rng([seed, 1])
        # Points of the same trainings, at several budgets say, share what is drawn of them.
        families = sorted({(point.family, point.seeds) for point in points})
        weights = {family: seed_weights(len(family[1]), len(values), rng) for family in families}
        found = np.array([measured.accuracy(each) for each in ids])
        self.accuracy = {}
        for point in points:
            own = [column[each] for each in point.experiments]
            drawn = weights[point.family, point.seeds]
            self.accuracy[point.experiments] = replicate_seeds(values[:, own], found[own], drawn)
        self.parts = {
            point.experiments: np.mean([measured.parts(each) for each in point.experiments], axis=0) for point in points
        }


def find_differences(draws: Draws | None, fronts: Sequence[list[Point]], contrasts: list[Contrast]) -> Found:
    """Each contrast with its interval and p, all of them from the same replicates."""
    if not contrasts or draws is None:
        return Found([], "", 0, np.zeros(0), [])
    points, measured = [*fronts[0], *fronts[1]], draws.measured
    exact = len(points) == 2 and measured.targets is None and all(len(point.seeds) == 1 for point in points)
    differences, shares, few = [], [], False
    for at, a, b in contrasts:
        weights = np.concatenate([a, -b]).tolist()
        # Added one by one: the rounding of a matrix product depends on the number of threads.
        share, values = (
            sum((weight * of[point.experiments] for weight, point in zip(weights, points, strict=True)), np.zeros(1))
            for of in (draws.parts, draws.accuracy)
        )
        shares.append(share)
        wins, losses = better_and_worse(share)
        low, high = interval(values)
        p = sign_test(wins, losses) if exact else bootstrap_p(values)
        if wins + losses < FEWEST_TELLING:
            few, p = True, max(p, sign_test(wins, losses))
            low, high = _widened(low, high, wins, losses, measured)
        accuracies = ([point.accuracy for point in front] for front in fronts)
        value_a, value_b = (float(of @ each) for of, each in zip((a, b), accuracies, strict=True))
        differences.append(_difference(at, value_a, value_b, 100 * low, 100 * high, p))
    test = "two-sided, by bootstrap"
    if exact:
        wins, losses = better_and_worse(shares[0])
        test = f"McNemar's exact test: A alone is right in {wins} videos, B alone in {losses}"
    return Found(differences, test, draws.replicates, shares[0], [_FEW] if few else [])


_FEW = (
    f"Fewer than {FEWEST_TELLING} videos tell the sides apart, with which no test can find a difference and a "
    "bootstrap is too sure: intervals reach as far as exact bounds of these counts do, and no p is below 0.05."
)


def better_and_worse(shares: Floats) -> tuple[int, int]:
    """On how many A does better, and B."""
    return int((shares > ROUNDING).sum()), int((shares < -ROUNDING).sum())


def _widened(low: float, high: float, wins: int, losses: int, measured: Measured) -> tuple[float, float]:
    """Also what these counts allow: a difference is at most the share of videos on which A does better."""
    if measured.targets is not None:
        return -1.0, 1.0  # ranks depend on all videos: nothing is excluded
    videos = len(measured.video)
    return min(low, -largest_share(losses, videos)), max(high, largest_share(wins, videos))


def _difference(at: float | None, a: float, b: float, low: float, high: float, p: float) -> Difference:
    a, b, value, low, high = (round(number, 4) + 0.0 for number in (a, b, a - b, low, high))
    return Difference(at, a, b, value, low, high, float(f"{p:.6g}"))
