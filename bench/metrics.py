"""Metrics, computed from the per-video samples alone, so that a new one needs no re-run. Imports no torch.

A metric is a description, a unit, and a function of the samples of one point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Samples:
    """What a point found for each of V validation videos; B blocks, T frames, K classes.

    Attributes:
        video: (V,) index in the validation split.
        label: (V,).
        logits: (V, K) float32.
        macs: (V,) executed multiply-adds.
        times: (V, T) frame times given to the model.
        informative: (V, T) bool, the answer key of the frames.
        regions: (V, T, 4) float32, that of the picture: left, top, right and bottom of what carries the label, as
            shares of the sides; zeros where the frame has none.
        kept: (V, B, T) bool, or None where the method skips nothing.
        cell_blocks: (C,) the numbers, among the B, of the blocks that compute cells; None where none does.
        cells: (V, C, T, G, G) bool, what those computed of the frames they kept; None where none does.
    """

    video: NDArray[np.int64]
    label: NDArray[np.int64]
    logits: NDArray[np.float32]
    macs: NDArray[np.int64]
    times: NDArray[np.int64]
    informative: NDArray[np.bool_]
    regions: NDArray[np.float32]
    kept: NDArray[np.bool_] | None = None
    cell_blocks: NDArray[np.int64] | None = None
    cells: NDArray[np.bool_] | None = None

    def correct(self, k: int = 1) -> NDArray[np.bool_]:
        """(V,) whether the label is among the k largest logits; of equal logits the lower class comes first."""
        ranked = np.argsort(-self.logits, axis=1, kind="stable")[:, :k]
        return (ranked == self.label[:, None]).any(axis=1)


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
    if samples.kept is None or not samples.kept.any():
        return None
    return float((samples.kept & samples.informative[:, None, :]).sum() / samples.kept.sum())


def _informative_share(samples: Samples) -> float:
    return float(samples.informative.mean())


@dataclass(frozen=True)
class _Looked:
    """Cells beside the frames they were chosen in.

    Attributes:
        cells: (V, C, T, G * G) bool, computed.
        kept: (V, C, T) bool, frames that the block kept.
        shares: (V, T, G * G) how much of a frame's region lies in each cell; of sum 1, or zeros without one.
    """

    cells: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    shares: NDArray[np.float64]

    @property
    def useful(self) -> NDArray[np.bool_]:
        """(V, C, T) kept frames with a region."""
        return self.kept & (self.shares.sum(axis=-1) > 0)[:, None]


def _looked(samples: Samples) -> _Looked | None:
    if samples.cells is None or samples.kept is None:
        return None
    grid = samples.cells.shape[-1]
    edges = np.arange(grid) / grid
    left, top, right, bottom = np.moveaxis(samples.regions.astype(np.float64), -1, 0)[..., None]  # (V, T, 1) each
    across = np.clip(np.minimum(right, edges + 1 / grid) - np.maximum(left, edges), 0, None)  # (V, T, G)
    down = np.clip(np.minimum(bottom, edges + 1 / grid) - np.maximum(top, edges), 0, None)
    areas = (down[..., :, None] * across[..., None, :]).reshape(*across.shape[:2], -1)
    whole = areas.sum(axis=-1, keepdims=True)
    shares = np.divide(areas, whole, out=np.zeros_like(areas), where=whole > 0)
    return _Looked(samples.cells.reshape(*samples.cells.shape[:3], -1), samples.kept[:, samples.cell_blocks], shares)


def _cell_ratio(samples: Samples) -> float | None:
    looked = _looked(samples)
    if looked is None or not looked.kept.any():
        return None
    return float(looked.cells[looked.kept].mean())


def _region_recall(samples: Samples) -> float | None:
    looked = _looked(samples)
    if looked is None or not looked.useful.any():
        return None
    found = np.einsum("vctg,vtg->vct", looked.cells, looked.shares)
    return float(found[looked.useful].mean())


def _region_recall_by_chance(samples: Samples) -> float | None:
    looked = _looked(samples)
    if looked is None or not looked.useful.any():
        return None
    return float(looked.cells[looked.useful].mean())


def _region_recall_by_position(samples: Samples) -> float | None:
    looked = _looked(samples)
    if looked is None or not looked.useful.any():
        return None
    prior = np.sort(looked.shares[looked.shares.sum(axis=-1) > 0].mean(axis=0))[::-1]  # of each cell, best first
    counts = looked.cells[looked.useful].sum(axis=-1)  # cells of each useful frame
    return float(np.concatenate([[0.0], np.cumsum(prior)])[counts].mean())


def _region_precision(samples: Samples) -> float | None:
    looked = _looked(samples)
    if looked is None or not looked.cells[looked.useful].any():
        return None
    touched = np.broadcast_to((looked.shares > 0)[:, None], looked.cells.shape)
    return float(touched[looked.cells & looked.useful[..., None]].mean())


METRICS: dict[str, Metric] = {
    "top1": Metric("share of videos whose largest logit is the label's", "%", lambda s: _share(s.correct(1))),
    "top5": Metric("share of videos whose label is among the five largest logits", "%", lambda s: _share(s.correct(5))),
    "macs": Metric("executed multiply-adds per video, mean over videos", "MAC", lambda s: float(s.macs.mean())),
    "macs_std": Metric("their standard deviation over videos", "MAC", lambda s: float(s.macs.std())),
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
        "share of the cells of kept frames that were computed, in blocks with cells", "share", _cell_ratio
    ),
    "region_recall": Metric(
        "share of the informative region that was computed, in kept frames that have one and blocks with cells",
        "share",
        _region_recall,
    ),
    "region_recall_by_chance": Metric(
        "the same of a random choice of as many cells in every frame: the cell ratio in these frames",
        "share",
        _region_recall_by_chance,
    ),
    "region_recall_by_position": Metric(
        "the same of the best rule that knows the positions of cells alone, and how many to take in every frame",
        "share",
        _region_recall_by_position,
    ),
    "region_precision": Metric(
        "share of the computed cells of those frames that touch the region", "share", _region_precision
    ),
    "informative_share": Metric(
        "share of the frames given to the model that are informative", "share", _informative_share
    ),
}


def compute_metrics(samples: Samples) -> dict[str, Any]:
    """Every metric that applies, by name."""
    values = {name: metric.compute(samples) for name, metric in METRICS.items()}
    return {name: value for name, value in values.items() if value is not None}
