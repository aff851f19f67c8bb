"""What records answered on the videos that all of them have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.metrics import mean_average_precision
from bench.samples import read_samples
from reports.comparison.sides import Entry
from reports.statistics import (
    REPLICATES,
    Floats,
    Ranking,
    map_replicates,
    precisions_without,
    probabilities,
    replicate_maps,
    replicate_means,
)


@dataclass(frozen=True)
class Measured:
    """What entries answered on the videos that they all have: V videos, K classes.

    Attributes:
        video: (V,) index in the validation split.
        left_out: videos that only some of them have.
        label: (V,).
        targets: (V, K) bool, all labels of each; None where a video has one.
        answers: by experiment id, (V,) bool whether right, or (V, K) logits where a video has several labels.
        macs: by experiment id, mean over the videos.
    """

    video: NDArray[np.int64]
    left_out: int
    label: NDArray[np.int64]
    targets: NDArray[np.bool_] | None
    answers: dict[str, NDArray[Any]]
    macs: dict[str, float]

    @property
    def metric(self) -> str:
        return "top-1" if self.targets is None else "mAP"

    def accuracy(self, of: str) -> float:
        """Of an experiment, in [0, 1]."""
        if self.targets is None:
            return float(self.answers[of].mean())
        return mean_average_precision(self.targets, self.answers[of]) / 100

    def replicates(self, ids: Sequence[str], seed: int, ranked: float) -> Floats:
        """(replicates, ids) accuracies in [0, 1], of the same drawn videos for each."""
        answers = [self.answers[each] for each in ids]
        if self.targets is None:
            return replicate_means(np.stack(answers, axis=1), REPLICATES, seed)
        count = map_replicates(len(self.video), self.targets.shape[1], len(ids), ranked)
        return replicate_maps(self.targets, answers, count, seed)

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """(F,) the class of each right answer that could be given: of each video, or of each label of each video."""
        return self.label if self.targets is None else np.nonzero(self.targets.T)[0]

    def parts(self, of: str) -> Floats:
        """(F,) what an experiment has of these: 1 or 0, or the precision among videos that rank at least as high.

        Their mean within a class is its accuracy or its average precision.
        """
        if self.targets is None:
            return self.answers[of].astype(np.float64)
        scores, values = probabilities(self.answers[of]), np.zeros(self.targets.shape)
        for k in np.unique(self.classes):
            ranking = Ranking(self.targets[:, k], scores[:, k])
            values[ranking.positive, k] = ranking.precisions()
        return np.asarray(values.T[self.targets.T])

    def without_each(self, of: str) -> Floats:
        """(classes that a video has, V) an experiment's average precision, of all videos but each."""
        assert self.targets is not None
        scores = probabilities(self.answers[of])
        return np.stack([precisions_without(self.targets[:, k], scores[:, k]) for k in np.unique(self.classes)])


def measure(entries: list[Entry]) -> Measured:
    """Read what these entries answered, on the videos that all of them have.

    Raises:
        UserError: where they are of other videos, disagree on a label, or an answer is no number.
    """
    first = entries[0]
    other = next((entry for entry in entries if entry.videos != first.videos), None)
    if other is not None:
        raise UserError(
            f"{first.name} ({first.id}) and {other.name} ({other.id}) were not measured on the same list of videos "
            f"({first.videos[0] or 'no names'} and {other.videos[0] or 'no names'}, or other data); no video of one is "
            "known to be in the other. Expected the same data set, val_clips and, where data are drawn, data.seed."
        )
    read = {entry.id: _read(entry) for entry in entries}
    sets = [set(each.video.tolist()) for each in read.values()]
    common = np.array(sorted(set.intersection(*sets)), np.int64)
    parts = {name: each.on(common) for name, each in read.items()}
    start = parts[first.id]
    for entry in entries:
        mine = parts[entry.id]
        if not np.array_equal(mine.label, start.label) or not _same(mine.targets, start.targets):
            raise UserError(
                f"{first.name} ({first.id}) and {entry.name} ({entry.id}) give the same videos other labels; expected "
                "records of one preparation of the data set."
            )
    return Measured(
        common,
        len(set.union(*sets)) - len(common),
        start.label,
        start.targets,
        {name: part.answers for name, part in parts.items()},
        {name: float(part.macs.mean()) if len(common) else math.nan for name, part in parts.items()},
    )


@dataclass(frozen=True)
class _Part:
    video: NDArray[np.int64]
    label: NDArray[np.int64]
    macs: NDArray[np.int64]
    answers: NDArray[Any]
    targets: NDArray[np.bool_] | None

    def on(self, videos: NDArray[np.int64]) -> _Part:
        """Of these videos, in this order."""
        order = np.argsort(self.video)
        rows = order[np.searchsorted(self.video, videos, sorter=order)]
        targets = None if self.targets is None else self.targets[rows]
        return _Part(videos, self.label[rows], self.macs[rows], self.answers[rows], targets)


def _read(entry: Entry) -> _Part:
    path = entry.result.path.with_name("samples.parquet")
    samples = read_samples(path)
    # As samples.correct(), of equal logits the first, without ranking all of them.
    answers = samples.logits.argmax(axis=1) == samples.label if samples.targets is None else samples.logits
    return _Part(samples.video, samples.label, samples.macs, answers, samples.targets)


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)
