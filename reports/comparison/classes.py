"""Differences within each class, corrected for the number of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.comparison.answers import Measured
from reports.comparison.differences import better_and_worse
from reports.statistics import ALPHA, Floats, holm, jackknife_p, means_without, sign_test


@dataclass(frozen=True)
class ClassDifference:
    """A - B within one class.

    Attributes:
        name: of the class, or its number.
        videos: that have it.
        difference: in points of its accuracy, or of its average precision.
        better: videos on which A does better.
        worse: videos on which B does.
        p: of accuracy the exact sign test's over these, McNemar's with one seed each, and with more of them not smaller
            than the jackknife's of the mean; of average precision the jackknife's, since ranks depend on all videos.
        p_holm: as corrected for the number of classes.
        stands: whether that is below 0.05.
    """

    name: str
    videos: int
    difference: float
    better: int
    worse: int
    p: float
    p_holm: float
    stands: bool


def class_differences(
    measured: Measured, shares: Floats, weights: Mapping[str, float], names: list[str]
) -> list[ClassDifference]:
    """The difference within each class that a video has.

    Args:
        shares: (F,) of the difference, as `Measured.parts`; nothing where there is none.
        weights: by experiment id, what it counts for in that.
    """
    if not len(shares):
        return []
    numbers = np.unique(measured.classes).tolist()
    groups = [shares[measured.classes == k] for k in numbers]
    told = [better_and_worse(group) for group in groups]
    p = _of_accuracy(groups, weights) if measured.targets is None else _of_precision(measured, groups, weights)
    return [
        ClassDifference(
            name=names[k] if k < len(names) else str(k),
            videos=len(group),
            difference=round(100 * float(group.mean()), 4) + 0.0,
            better=each[0],
            worse=each[1],
            p=float(f"{one:.6g}"),
            p_holm=float(f"{corrected:.6g}"),
            stands=corrected < ALPHA,
        )
        for k, group, each, one, corrected in zip(numbers, groups, told, p, holm(p), strict=True)
    ]


def _of_accuracy(groups: Sequence[Floats], weights: Mapping[str, float]) -> list[float]:
    """p of each class, whose videos have these shares of the difference."""
    signs = [sign_test(*better_and_worse(group)) for group in groups]
    if len(weights) == 2:
        return signs
    # Who is ahead on more videos need not have the higher mean, where one video may differ by more than another.
    means = [jackknife_p(float(group.mean()), means_without(group)) for group in groups]
    return [max(pair) for pair in zip(signs, means, strict=True)]


def _of_precision(measured: Measured, groups: Sequence[Floats], weights: Mapping[str, float]) -> list[float]:
    """p of each class. No sign test: one video that ranks too high lowers the precision of all that follow it."""
    without = sum(
        (weight * measured.without_each(each) for each, weight in weights.items()),
        np.zeros((len(groups), len(measured.video))),
    )
    return [jackknife_p(float(group.mean()), of) for group, of in zip(groups, without, strict=True)]
