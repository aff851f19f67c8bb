"""Differences of accuracy between points or lines, each with its interval and p."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.comparison.answers import Measured
from reports.comparison.frontiers import Contrast, Point
from reports.statistics import (
    FEWEST_TELLING,
    RANKED,
    ROUNDING,
    Floats,
    bootstrap_p,
    degrees_of_freedom,
    interval,
    largest_share,
    sign_test,
    training_variance,
)


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
        main: (F,) the first difference, by right answers that could be given, as `Measured.parts`.
        weights: by experiment id, what it counts for in that.
    """

    differences: list[Difference]
    test: str
    replicates: int
    main: Floats
    weights: dict[str, float]
    notes: list[str]


class Draws:
    """Accuracies of points in replicates that all of them share.

    Attributes:
        accuracy: by a point's experiments, (replicates,) in [0, 1] on the videos drawn, mean over seeds.
        parts: likewise, (F,) as `Measured.parts`.
        seed: of what is drawn.
    """

    def __init__(self, measured: Measured, points: Sequence[Point], ranked: float = RANKED) -> None:
        self.measured = measured
        ids = sorted({each for point in points for each in point.experiments})
        self.seed = int(hashlib.sha256(",".join(ids).encode()).hexdigest()[:16], 16)
        values = measured.replicates(ids, self.seed, ranked)
        self.replicates = len(values)
        self._found = {each: measured.accuracy(each) for each in ids}
        self._values = {each: values[:, number] for number, each in enumerate(ids)}
        self.accuracy = {
            point.experiments: _mean([self._values[each] for each in point.experiments]) for point in points
        }
        self.parts = {
            point.experiments: np.mean([measured.parts(each) for each in point.experiments], axis=0) for point in points
        }
        self._variances = {
            point.experiments: self._variance([(1.0, point)]) for point in points if len(point.seeds) > 1
        }

    def trainings(self, weighted: Sequence[tuple[float, Point]]) -> Floats:
        """(replicates,) how far other trainings would move a weighted sum of points, drawn for each replicate.

        Student's t, of as many degrees of freedom as the seeds leave. 0 where all points have one seed.
        """
        families: dict[str, list[tuple[float, Point]]] = defaultdict(list)
        for weight, point in weighted:
            if len(point.seeds) > 1 and weight:
                families[point.family].append((weight, point))
        variances = [self._of_family(family) for family in families.values()]
        if not sum(variances):
            return np.zeros(self.replicates)
        seeds = [len({each for _, point in family for each in point.trainings}) for family in families.values()]
        degrees = degrees_of_freedom(variances, [count - 1 for count in seeds])
        drawn = np.random.default_rng([self.seed, 1]).standard_t(degrees, self.replicates)
        return math.sqrt(sum(variances)) * drawn

    def _of_family(self, family: Sequence[tuple[float, Point]]) -> float:
        """Of points of the same trainings, at several budgets say, which move together."""
        if len(family) > 1:
            return self._variance(family)
        ((weight, point),) = family
        return weight**2 * self._variances[point.experiments]

    def _variance(self, family: Sequence[tuple[float, Point]]) -> float:
        """What the trainings of these points add to the variance of their weighted sum."""
        found: dict[str, float] = defaultdict(float)
        drawn: dict[str, Floats] = defaultdict(lambda: np.zeros(self.replicates))
        for weight, point in family:
            share = weight / len(point.seeds)
            mean = sum(self._found[each] for each in point.experiments) / len(point.seeds)
            for training, each in zip(point.trainings, point.experiments, strict=True):
                found[training] += share * (self._found[each] - mean)
                drawn[training] += share * (self._values[each] - self.accuracy[point.experiments])
        return training_variance(np.array(list(found.values())), np.stack(list(drawn.values()), axis=1))


def _mean(values: Sequence[Floats]) -> Floats:
    # Added one by one: numpy may add in another order elsewhere.
    return sum(values[1:], values[0]) / len(values)


def find_differences(draws: Draws | None, fronts: Sequence[list[Point]], contrasts: list[Contrast]) -> Found:
    """Each contrast with its interval and p, all of them from the same replicates."""
    if not contrasts or draws is None:
        return Found([], "", 0, np.zeros(0), {}, [])
    points = [*fronts[0], *fronts[1]]
    exact = len(points) == 2 and draws.measured.targets is None and all(len(point.seeds) == 1 for point in points)
    pairs = [_difference(draws, fronts, contrast, exact) for contrast in contrasts]
    differences = [difference for difference, _ in pairs]
    first, *others = (note for _, note in pairs)
    notes = [first] if first else []
    notes += [f"At a cost or more of these: {note}" for note in dict.fromkeys(others) if note not in ("", first)]
    weighted = _weighted(fronts, contrasts[0])
    main = _sum(weighted, draws.parts)
    test = "two-sided, by bootstrap"
    if exact:
        wins, losses = better_and_worse(main)
        test = f"McNemar's exact test: A alone is right in {wins} videos, B alone in {losses}"
    return Found(differences, test, draws.replicates, main, _by_experiment(weighted), notes)


def _difference(draws: Draws, fronts: Sequence[list[Point]], contrast: Contrast, exact: bool) -> tuple[Difference, str]:
    """Also what is to be known of its interval; "" where nothing is."""
    at, a, b = contrast
    value_a, value_b = (
        float(of @ [point.accuracy for point in front]) for of, front in zip((a, b), fronts, strict=True)
    )
    weighted = _weighted(fronts, contrast)
    values = _sum(weighted, draws.accuracy) + turned(fronts) * draws.trainings(weighted)
    parts = _sum(weighted, draws.parts)
    wins, losses = better_and_worse(parts)
    low, high = interval(values)
    p = sign_test(wins, losses) if exact else bootstrap_p(values)
    note = ""
    if wins + losses < FEWEST_TELLING:
        p, note = max(p, sign_test(wins, losses)), _FEW
    if draws.measured.targets is None:
        low, high, alike = widened(low, high, parts)
        note = note or (_ALIKE if alike else "")
    elif note:
        low, high = -1.0, 1.0  # ranks depend on all videos: nothing is excluded
    numbers = (value_a, value_b, value_a - value_b, 100 * low, 100 * high)
    value_a, value_b, value, low, high = (round(number, 4) + 0.0 for number in numbers)
    return Difference(at, value_a, value_b, value, low, high, float(f"{p:.6g}")), note


def turned(sides: Sequence[Sequence[Point]]) -> int:
    """The sign of what is drawn for other trainings: B and A have the other one than A and B, which they mirror."""
    return 1 if sides[0][0].experiments < sides[1][0].experiments else -1


def _weighted(fronts: Sequence[list[Point]], contrast: Contrast) -> list[tuple[float, Point]]:
    _, a, b = contrast
    return list(zip(np.concatenate([a, -b]).tolist(), [*fronts[0], *fronts[1]], strict=True))


def _by_experiment(weighted: Sequence[tuple[float, Point]]) -> dict[str, float]:
    return {each: weight / len(point.seeds) for weight, point in weighted for each in point.experiments}


def _sum(weighted: Sequence[tuple[float, Point]], values: Mapping[tuple[str, ...], Floats]) -> Floats:
    """Added one by one: the rounding of a matrix product depends on the number of threads."""
    return sum((weight * values[point.experiments] for weight, point in weighted), np.zeros(1))


_FEW = (
    f"Fewer than {FEWEST_TELLING} videos tell the sides apart, with which no test can find a difference and a "
    "bootstrap is too sure: intervals reach as far as exact bounds of these counts do, and no p is below 0.05."
)
_ALIKE = (
    f"All but fewer than {FEWEST_TELLING} videos differ by as much, of which a bootstrap is too sure: intervals "
    "reach as far as exact bounds of the others' counts do."
)


def better_and_worse(shares: Floats) -> tuple[int, int]:
    """On how many A does better, and B."""
    return int((shares > ROUNDING).sum()), int((shares < -ROUNDING).sum())


def widened(low: float, high: float, shares: Floats) -> tuple[float, float, bool]:
    """Where nearly all videos have the same share, none mostly, also what the counts of the others allow.

    A share lies in [-1, 1], and no more of all videos lie above or below than these counts do not exclude. The last is
    whether that was so.
    """
    kinds, counts = np.unique(np.round(shares, 9), return_counts=True)
    common = float(kinds[counts.argmax()])
    above, below = better_and_worse(shares - common)
    if above + below >= FEWEST_TELLING:
        return low, high, False
    least = common - (1 + common) * largest_share(below, len(shares))
    most = common + (1 - common) * largest_share(above, len(shares))
    return min(low, least), max(high, most), True
