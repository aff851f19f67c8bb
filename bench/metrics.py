"""Metrics, computed from the per-video samples alone, so that a new one needs no re-run. Imports no torch.

A metric is a description, a unit, and a function of the samples of one point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.regions import (
    cell_ratio,
    region_precision,
    region_recall,
    region_recall_by_chance,
    region_recall_by_position,
)
from bench.samples import Samples


@dataclass(frozen=True)
class Metric:
    """One number of a point.

    Attributes:
        compute: gives a number, a list of numbers (one per block), or None where the metric does not apply.
    """

    description: str
    unit: str
    compute: Callable[[Samples], float | list[float] | None]


def _share(of: NDArray[np.bool_]) -> float:
    return float(of.mean()) * 100


def _kept_ratio(samples: Samples) -> float | None:
    return None if samples.kept is None else float(samples.kept.mean())


def _kept_ratio_per_block(samples: Samples) -> list[float] | None:
    return None if samples.kept is None else [float(share) for share in samples.kept.mean(axis=(0, 2))]


def _recall_per_block(samples: Samples) -> list[float] | None:
    if samples.kept is None or not samples.informative.any():
        return None
    hits = (samples.kept & samples.informative[:, None, :]).sum(axis=(0, 2))
    return [float(count) for count in hits / samples.informative.sum()]


def _recall(samples: Samples) -> float | None:
    per_block = _recall_per_block(samples)
    return None if per_block is None else float(np.mean(per_block))


def _recall_by_position(samples: Samples) -> float | None:
    if samples.kept is None or not samples.informative.any():
        return None
    prior = np.sort(samples.informative.mean(axis=0))[::-1]  # (T,) how often each position is informative, best first
    recalls = []
    for kept in samples.kept.mean(axis=(0, 2)) * len(prior):  # frames a video that the block keeps
        shares = np.clip(kept - np.arange(len(prior)), 0, 1)  # all of the best positions, a part of the last one
        recalls.append(float((prior * shares).sum() / prior.sum()))
    return float(np.mean(recalls))


def _precision(samples: Samples) -> float | None:
    if samples.kept is None or not samples.kept.any() or not samples.informative.any():
        return None
    return float((samples.kept & samples.informative[:, None, :]).sum() / samples.kept.sum())


def _informative_share(samples: Samples) -> float | None:
    return float(samples.informative.mean()) if samples.informative.any() else None


def _mean_average_precision(samples: Samples) -> float | None:
    """None where videos have one label each."""
    return None if samples.targets is None else mean_average_precision(samples.targets, samples.logits)


def mean_average_precision(targets: NDArray[np.bool_], logits: NDArray[np.floating[Any]]) -> float:
    """Per cent, over the classes that a video has, of (V, K) which videos have them and what a network says.

    Average precision is the mean, over a class's videos, of the precision among the videos that rank at least as high
    (probabilities; equal ones are at the same rank).
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    scores = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    classes = np.flatnonzero(targets.any(axis=0))
    return float(np.mean([average_precision(targets[:, k], scores[:, k]) for k in classes])) * 100


def average_precision(positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float:
    """In [0, 1], of (V,) which videos have a class, at least one, and how sure a network is of it."""
    order = np.argsort(-scores, kind="stable")
    ranked, ordered = positive[order], scores[order]
    hits = np.cumsum(ranked)
    last = np.searchsorted(-ordered, -ordered, side="right") - 1  # the end of each tie
    return float((hits[last] / (last + 1))[ranked].mean())


def _looked_at(samples: Samples) -> float | None:
    """Frames a video of which something was seen by the network that decides."""
    if samples.exit_step is not None:
        return float(samples.exit_step.mean())
    if samples.resolutions is not None:
        return float((samples.resolutions > 0).sum(axis=1).mean())
    return None


def _commonest_decision(samples: Samples) -> float | None:
    """Share of videos with the commonest decision."""
    parts = [samples.kept, samples.cells, samples.resolutions, samples.exit_step]
    if samples.crops is not None:
        parts.append(np.round(samples.crops * 48).astype(np.int64))  # crops a fiftieth apart are the same
    known = [part.reshape(len(part), -1).astype(np.int64) for part in parts if part is not None]
    if not known:
        return None
    _, counts = np.unique(np.concatenate(known, axis=1), axis=0, return_counts=True)
    return float(counts.max() / len(samples.video))


METRICS: dict[str, Metric] = {
    "top1": Metric("share of videos whose largest logit is the label's", "%", lambda s: _share(s.correct(1))),
    "top5": Metric("share of videos whose label is among the five largest logits", "%", lambda s: _share(s.correct(5))),
    "map": Metric(
        "mean over classes of the average precision of their videos, ranked by probability",
        "%",
        _mean_average_precision,
    ),
    "macs": Metric("executed multiply-adds per video, mean over videos", "MAC", lambda s: float(s.macs.mean())),
    "macs_std": Metric("their standard deviation over videos", "MAC", lambda s: float(s.macs.std())),
    "macs_deciles": Metric(
        "least, nine deciles and most of them: what a video costs where costs differ",
        "MAC",
        lambda s: [float(decile) for decile in np.quantile(s.macs, np.linspace(0, 1, 11))],
    ),
    "kept_ratio": Metric("share of (block, frame) pairs computed in full", "share", _kept_ratio),
    "kept_ratio_per_block": Metric("the same for each block, in network order", "share", _kept_ratio_per_block),
    "recall": Metric(
        "share of (block, informative frame) pairs that were kept; a random selection has the kept ratio",
        "share",
        _recall,
    ),
    "recall_per_block": Metric("the same for each block", "share", _recall_per_block),
    "recall_by_position": Metric(
        "recall of the best rule that knows the positions of frames alone, at the same kept ratio in every block",
        "share",
        _recall_by_position,
    ),
    "precision": Metric(
        "share of kept (block, frame) pairs whose frame is informative; a random selection has the informative share",
        "share",
        _precision,
    ),
    "cell_ratio": Metric(
        "share of the cells of kept frames that were computed, in blocks with cells", "share", cell_ratio
    ),
    "region_recall": Metric(
        "share of the informative region that was computed, in frames that have one and were looked at",
        "share",
        region_recall,
    ),
    "region_recall_by_chance": Metric(
        "the same of a random choice of as many cells in every frame: the cell ratio in these frames",
        "share",
        region_recall_by_chance,
    ),
    "region_recall_by_position": Metric(
        "the same of the best rule that knows the positions of cells alone, and how many to take in every frame",
        "share",
        region_recall_by_position,
    ),
    "region_precision": Metric(
        "share of the computed cells of those frames that touch the region", "share", region_precision
    ),
    "frames_looked_at": Metric("frames a video that were looked at", "frames", _looked_at),
    "commonest_decision": Metric(
        "share of videos with the commonest decision; 1 where all are decided alike", "share", _commonest_decision
    ),
    "informative_share": Metric(
        "share of the frames given to the model that are informative", "share", _informative_share
    ),
}


def compute_metrics(samples: Samples) -> dict[str, Any]:
    """Every metric that applies, by name."""
    values = {name: metric.compute(samples) for name, metric in METRICS.items()}
    return {name: value for name, value in values.items() if value is not None}
