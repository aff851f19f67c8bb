"""Differences within each class, corrected for the number of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reports.comparison.answers import Measured
from reports.comparison.differences import better_and_worse
from reports.statistics import ALPHA, Floats, holm, sign_test


@dataclass(frozen=True)
class ClassDifference:
    """A - B within one class.

    Attributes:
        name: of the class, or its number.
        videos: that have it.
        difference: in points of its accuracy, or of its average precision.
        better: videos on which A does better.
        worse: videos on which B does.
        p: of the exact sign test over these; with one seed each, of right answers, McNemar's.
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


def class_differences(measured: Measured, shares: Floats, names: list[str]) -> list[ClassDifference]:
    """The difference within each class that a video has."""
    if not len(shares):
        return []
    numbers = np.unique(measured.classes)
    groups = [shares[measured.classes == k] for k in numbers]
    told = [better_and_worse(group) for group in groups]
    p = [sign_test(*each) for each in told]
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
        for k, group, each, one, corrected in zip(numbers.tolist(), groups, told, p, holm(p), strict=True)
    ]
