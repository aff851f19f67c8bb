"""Paired statistics of trainings on the same videos: bootstrap, exact tests, correction, interpolation.

Every function is pure and, given its seed, gives the same numbers again. Accuracies are shares in [0, 1] here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REPLICATES = 10_000
LEVEL = 0.95
ALPHA = 1 - LEVEL
NORMAL = 1.959964  # of a normal distribution, the quantile that leaves half of 1 - LEVEL beyond it
# Replicates drawn at once: few, so that memory stays small; changing it changes the numbers drawn.
CHUNK = 64
HELD = 10**7  # counts of videos in memory at once
# Videos x classes x points x replicates that a bootstrap of mAP may rank: less than a minute on two slow cores.
RANKED = 1e10
FEWEST_REPLICATES = 1_000
# Fewer videos than this that tell two points apart can never make an exact test's p smaller than 1 - LEVEL.
FEWEST_TELLING = 6


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p of so many wins and losses if both were as likely; 1 where there are none.

    Of two trainings' right answers, wins and losses being the videos that only one of them gets right, this is the
    exact form of McNemar's test (McNemar, Note on the sampling error of the difference between correlated proportions
    or percentages, Psychometrika 12, 1947).
    """
    count = wins + losses
    term = total = 1  # binomial coefficients, in whole numbers
    for k in range(min(wins, losses)):
        term = term * (count - k) // (k + 1)
        total += term
    return min(1.0, 2 * total / 2**count)


def holm(values: Sequence[float]) -> list[float]:
    """p-values as corrected for their number, in the given order.

    All that stay below 0.05 are wrong together with a probability of at most 0.05, whatever their dependence (Holm, A
    simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979).
    """
    corrected, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected


def largest_share(count: int, of: int, tail: float = (1 - LEVEL) / 2) -> float:
    """The share at which seeing at most `count` of `of` has probability `tail`.

    One bound of the exact interval of Clopper and Pearson, The use of confidence or fiducial limits illustrated in the
    case of the binomial, Biometrika 26, 1934.
    """
    if count >= of:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(math.comb(of, k) * middle**k * (1 - middle) ** (of - k) for k in range(count + 1))
        low, high = (middle, high) if below > tail else (low, middle)
    return high


def resamples(videos: int, replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """(up to CHUNK, videos) at a time: which videos each replicate draws, with replacement."""
    rng = np.random.default_rng(seed)
    for start in range(0, replicates, CHUNK):
        yield rng.integers(0, videos, size=(min(CHUNK, replicates - start), videos))


def _counts(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """(replicates, videos) how often each was drawn."""
    return np.stack([np.bincount(row, minlength=drawn.shape[1]) for row in drawn])


def replicate_means(right: NDArray[np.bool_], replicates: int, seed: int) -> Floats:
    """(replicates, P) share of right answers among the videos drawn, of (V, P) right answers.

    Sums of whole numbers below 2**24, which float32 holds exactly, so that the order of adding changes nothing.
    """
    bits, sums = right.astype(np.float32), []
    drawn = resamples(len(right), replicates, seed)
    # Many rows a product, or it spends its time on fetching the bits.
    while rows := [_counts(few).astype(np.float32) for few in islice(drawn, max(1, HELD // (CHUNK * len(right))))]:
        sums.append(np.concatenate(rows) @ bits)
    return np.concatenate(sums).astype(np.float64) / len(right)


def probabilities(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """(V, K), as bench.metrics ranks videos by."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


class Ranking:
    """The videos of one class, from the surest on.

    Attributes:
        positive: those that have the class, surest first.
    """

    def __init__(self, has: NDArray[np.bool_], scores: NDArray[np.floating]) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked, ordered = has[order], scores[order]
        # One behind the end of each positive's tie: it counts all that rank at least as high.
        ends = np.searchsorted(-ordered, -ordered[ranked], side="right")
        self.positive = order[ranked]
        self._ends, self._firsts, self._tie = np.unique(ends, return_index=True, return_inverse=True)
        self._order = order[: self._ends[-1]] if len(ends) else order[:0]

    def precisions(self) -> Floats:
        """Of each of `positive`, the share of positives among the videos that rank at least as high."""
        hits = np.append(self._firsts[1:], len(self.positive))
        return np.asarray((hits / self._ends)[self._tie], np.float64)

    def average_precision(self, counts: NDArray[np.unsignedinteger]) -> Floats:
        """(replicates,) in [0, 1], of (videos, replicates) how often each was drawn; nan where no positive was."""
        drawn = np.cumsum(_sums(counts[self._order], [0, *self._ends[:-1]]), axis=0)
        hits = _sums(counts[self.positive], self._firsts.tolist())
        found = np.cumsum(hits, axis=0)
        shares = np.divide(found, drawn, out=np.zeros(found.shape), where=drawn > 0)
        total = np.full(counts.shape[1], np.nan)
        return np.divide((hits * shares).sum(axis=0), found[-1], out=total, where=found[-1] > 0)


def _sums(rows: NDArray[np.unsignedinteger], starts: Sequence[int]) -> NDArray[np.unsignedinteger]:
    """Sums over the rows from each start to the next; reduceat along this axis is ten times slower."""
    ends = [*starts[1:], len(rows)]
    return np.stack([np.add.reduce(rows[a:b], axis=0, dtype=rows.dtype) for a, b in zip(starts, ends, strict=True)])


def replicate_maps(
    targets: NDArray[np.bool_], logits: Sequence[NDArray[np.floating]], replicates: int, seed: int
) -> Floats:
    """(replicates, P) mean average precision of the videos drawn, ranked anew in each replicate.

    A mean over the classes that a drawn video has, as bench.metrics.mean_average_precision of the drawn rows.

    Args:
        targets: (V, K) which classes each video has.
        logits: (V, K) of each of P points.
    """
    classes = np.flatnonzero(targets.any(axis=0))
    kind = np.uint16 if len(targets) < 2**16 else np.uint32  # no sum of counts is larger than the videos are many
    columns = []
    for each in logits:
        scores = probabilities(each)
        rankings = [Ranking(targets[:, k], scores[:, k]) for k in classes]
        parts = []
        for drawn in resamples(len(targets), replicates, seed):  # the same ones for each point
            counts = np.ascontiguousarray(_counts(drawn).T.astype(kind))
            parts.append(np.nanmean([ranking.average_precision(counts) for ranking in rankings], axis=0))
        columns.append(np.concatenate(parts))
    return np.stack(columns, axis=1)


def map_replicates(videos: int, classes: int, points: int, ranked: float = RANKED) -> int:
    """As many as `ranked` allows; a replicate of mAP ranks every class anew."""
    return int(min(REPLICATES, max(FEWEST_REPLICATES, ranked // max(videos * classes * points, 1))))


def seed_weights(seeds: int, replicates: int, rng: np.random.Generator) -> Floats:
    """(replicates, seeds) weight of each training in a mean over seeds drawn with replacement; 1 where there is one.

    Of S trainings S - 1 are drawn, so that the variance of the mean is estimated without bias (Rao and Wu, Resampling
    inference with complex survey data, JASA 83, 1988); drawing S makes it too small by (S - 1) / S: a half at S = 2.
    """
    if seeds == 1:
        return np.ones((replicates, 1))
    draws = seeds - 1
    return rng.multinomial(draws, [1 / seeds] * seeds, size=replicates) / draws


def replicate_seeds(values: Floats, found: Floats, weights: Floats) -> Floats:
    """(replicates,) mean accuracy of S trainings, videos and seeds drawn.

    Videos are drawn for all trainings alike, and the mean moves as their mean does. Drawing seeds as well from the same
    values would count what a training owes to the videos at hand up to three times (Owen, The pigeonhole bootstrap,
    Annals of Applied Statistics 1, 2007). So what is drawn of seeds is only the part of their spread that videos do not
    explain, widened as Student's t is wider than a normal distribution at 2 (S - 1) degrees of freedom.

    Args:
        values: (replicates, S) accuracy of each training on the videos drawn.
        found: (S,) on all videos.
        weights: (replicates, S) of the trainings drawn, as `seed_weights`.
    """
    means, seeds = values.mean(axis=1), len(found)
    spread = float(found.var(ddof=1)) if seeds > 1 else 0.0
    if not spread:
        return np.asarray(means)
    by_videos = float((values - means[:, None]).var(axis=0).sum()) / (seeds - 1)
    share = math.sqrt(max(0.0, 1 - by_videos / spread)) * student(2 * (seeds - 1)) / NORMAL
    # Added one by one: the rounding of a matrix product depends on the number of threads.
    drawn = (weights * (found - found.mean())).sum(axis=1)
    return np.asarray(means + share * drawn)


def student(degrees: int) -> float:
    """The 97.5% quantile of Student's t with an even number of degrees (Abramowitz and Stegun, 1964, 26.7.4)."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        cosine = degrees / (degrees + middle**2)  # squared
        term = total = 1.0
        for k in range(2, degrees, 2):
            term *= cosine * (k - 1) / k
            total += term
        low, high = (middle, high) if math.sqrt(1 - cosine) * total < LEVEL else (low, middle)
    return high


def interval(values: Floats) -> tuple[float, float]:
    """The bootstrap's 95% percentile interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 13.3)."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_p(values: Floats) -> float:
    """Two-sided p of a difference of 0: twice the share of replicates on the rarer side of it; never 0.

    What is counted is how many differ in sign, plus one (Davison and Hinkley, Bootstrap methods, 1997, ch. 4).
    """
    rarer = min(int((values <= 1e-12).sum()), int((values >= -1e-12).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(values) + 1))


def interpolation(costs: Sequence[float], at: float) -> Floats:
    """Weights of points of ascending costs in the value at a cost between two of them, on the line that joins them.

    `at` must lie within the costs: nothing is extrapolated.
    """
    assert costs[0] <= at <= costs[-1]
    weights = np.zeros(len(costs))
    right = int(np.searchsorted(costs, at))  # the first that costs at least as much
    if costs[right] == at:
        weights[right] = 1
        return weights
    share = (at - costs[right - 1]) / (costs[right] - costs[right - 1])
    weights[right - 1 : right + 1] = 1 - share, share
    return weights


def mean_interpolation(costs: Sequence[float], low: float, high: float) -> Floats:
    """Weights of points of ascending costs in the mean, from low to high, of the lines that join them."""
    knots = [low, *(cost for cost in costs if low < cost < high), high]
    if low == high:
        return interpolation(costs, low)
    values = np.array([interpolation(costs, knot) for knot in knots])
    widths = np.diff(knots)[:, None]
    return np.asarray(((values[1:] + values[:-1]) / 2 * widths).sum(axis=0) / (high - low))
