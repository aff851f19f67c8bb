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
# Replicates drawn at once: few, so that memory stays small; changing it changes the numbers drawn.
CHUNK = 64
HELD = 10**7  # counts of videos in memory at once
# Videos x classes x points x replicates that a bootstrap of mAP may rank: less than a minute on two slow cores.
RANKED = 1e10
FEWEST_REPLICATES = 1_000
# Fewer videos than this that tell two points apart can never make an exact test's p smaller than 1 - LEVEL.
FEWEST_TELLING = 6
ROUNDING = 1e-9  # below which a difference of interpolated answers is none


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


def precisions_without(has: NDArray[np.bool_], scores: NDArray[np.floating]) -> Floats:
    """(V,) average precision in [0, 1] of all videos but each one; nan where none is left that has the class.

    Args:
        has: (V,) which videos have the class, at least one.
        scores: (V,).
    """
    own = np.sort(scores[has])
    surest = own[::-1]
    # Of each video that has the class, how many rank at least as high, of all videos and of those that have it.
    ranks = len(scores) - np.searchsorted(np.sort(scores), surest)
    hits = len(own) - np.searchsorted(own, surest)
    fewer = np.maximum(ranks - 1, 1)  # 0 of a video alone at the top, which is without itself nothing
    higher = len(own) - np.searchsorted(
        own, scores, side="right"
    )  # (V,) that have the class; a video counts in no such
    before = np.append(0, np.cumsum(hits / ranks))[higher]
    behind, each = (np.append(np.cumsum(of[::-1])[::-1], 0)[higher] for of in (hits / fewer, 1 / fewer))
    place = np.minimum(higher, len(own) - 1)
    itself = np.where(has, (hits[place] - 1) / fewer[place], 0)
    left = len(own) - has
    return np.divide(before + behind - has * each - itself, left, out=np.full(len(has), np.nan), where=left > 0)


def means_without(values: Floats) -> Floats:
    """(V,) mean of all values but each one; nan of a single one."""
    left = len(values) - 1
    return (values.sum() - values) / left if left else np.full(1, np.nan)


def jackknife_p(value: float, without: Floats) -> float:
    """Two-sided p of 0, of an estimate from V videos and the (V,) same estimates without each; 1 where one is nan.

    By the jackknife's standard error and a normal distribution (Efron and Tibshirani, 1993, ch. 11).
    """
    error = math.sqrt((len(without) - 1) / len(without) * float(((without - without.mean()) ** 2).sum()))
    if math.isnan(error) or abs(value) < ROUNDING:
        return 1.0
    return math.erfc(abs(value) / error / math.sqrt(2)) if error > ROUNDING else 0.0


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


def training_variance(found: Floats, values: Floats) -> float:
    """Variance of a sum over S trainings that their videos do not explain; 0 where these explain all of it.

    Replicates move with the videos that trainings share, and with what each training owes to the videos at hand. So of
    the spread between trainings only the rest is another training's, and may be added (Owen, The pigeonhole bootstrap,
    Annals of Applied Statistics 1, 2007, shows what counting it twice would do).

    Args:
        found: (S,) what each training, of two or more, has in the sum, less their mean.
        values: (replicates, S) likewise on the videos drawn.
    """
    seeds = len(found)
    by_videos = float(values.var(axis=0).sum())
    return max(0.0, float((found**2).sum()) - by_videos) * seeds / (seeds - 1)


def degrees_of_freedom(variances: Sequence[float], degrees: Sequence[float]) -> float:
    """Of the sum of these variances, each estimated with so many: one with few, if large, leaves few.

    Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946; for two
    groups of unequal variances, Welch's.
    """
    shares = np.array(variances) / sum(variances)
    return float(1 / (shares**2 / np.array(degrees)).sum())


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
