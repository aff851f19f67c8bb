"""How well cells and crops meet the informative region, from samples alone. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.samples import Samples

# Shares of a frame smaller than this are rounding.
SLIVER = 1e-6


@dataclass(frozen=True)
class _Looked:
    """Where blocks with cells, or crops, looked in frames that have a region.

    Attributes:
        computed: (F, P) share that was computed of each of P parts of a frame: 0 or 1 for cells.
        shares: (F, P) how much of the frame's region lies in each part; of sum 1.
        areas: (F, P) how much of the frame each part is; of sum 1.
        group: (F,) which block; parts of one block mean the same places.
    """

    computed: NDArray[np.bool_]
    shares: NDArray[np.float64]
    areas: NDArray[np.float64]
    group: NDArray[np.int64]


def _cell_edges(grid: int, side: int) -> NDArray[np.float64]:
    """(grid + 1,) where cells begin, as shares of a map's side: its pixel i belongs to cell i * grid // side."""
    return -(-np.arange(grid + 1) * side // grid) / side


def _overlap(low: NDArray[Any], high: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F,) intervals and (G + 1,) edges -> (F, G) lengths within each part; slivers count as nothing."""
    found = np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1])
    return np.where(found > SLIVER, found, 0.0)


def _looked(samples: Samples) -> _Looked | None:
    """Of kept frames with a region, block by block; None where there are none."""
    if samples.cells is None or samples.kept is None or not samples.regions.any():
        return None
    grid, parts = samples.cells.shape[-1], []
    for index, (block, height, width) in enumerate(samples.cell_maps):
        useful = samples.kept[:, block] & samples.regions.any(axis=-1)  # (V, T)
        left, top, right, bottom = samples.regions[useful].astype(np.float64).T
        rows, columns = _cell_edges(grid, height), _cell_edges(grid, width)
        across, down = _overlap(left, right, columns), _overlap(top, bottom, rows)
        lying = (down[:, :, None] * across[:, None, :]).reshape(len(down), grid * grid)
        whole = lying.sum(axis=1)
        computed = samples.cells[:, index][useful].reshape(len(down), grid * grid)[whole > 0]
        shares = lying[whole > 0] / whole[whole > 0, None]
        areas = np.broadcast_to(np.outer(np.diff(rows), np.diff(columns)).reshape(-1), shares.shape)
        parts.append((computed, shares, areas, np.full(len(shares), block)))
    found = _Looked(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return found if len(found.group) else None


def cell_ratio(samples: Samples) -> float | None:
    """Share of the pixels of kept frames that were computed, in blocks with cells."""
    if samples.cells is None or samples.kept is None:
        return None
    computed = kept = 0.0
    for index, (block, height, width) in enumerate(samples.cell_maps):
        grid = samples.cells.shape[-1]
        areas = np.outer(np.diff(_cell_edges(grid, height)), np.diff(_cell_edges(grid, width)))
        computed += float((samples.cells[:, index][samples.kept[:, block]].sum(axis=0) * areas).sum())
        kept += float(samples.kept[:, block].sum())
    return computed / kept if kept else None


def region_recall(samples: Samples) -> float | None:
    """Share of the region that was computed, in frames that have one and were looked at."""
    if samples.crops is not None:
        return _region_recall_of_crops(samples)
    looked = _looked(samples)
    return None if looked is None else min(float((looked.computed * looked.shares).sum(axis=1).mean()), 1.0)


def region_recall_by_chance(samples: Samples) -> float | None:
    """The same to expect of as many cells drawn at random: the share of the frame that was computed."""
    looked = _looked(samples)
    return None if looked is None else min(float((looked.computed * looked.areas).sum(axis=1).mean()), 1.0)


def region_recall_by_position(samples: Samples) -> float | None:
    """The same of the best rule that knows, for each block, how often the region lies in each cell, and no picture."""
    looked = _looked(samples)
    if looked is None:
        return None
    recalls = []
    for block in np.unique(looked.group):
        rows = looked.group == block
        prior = np.sort(looked.shares[rows].mean(axis=0))[::-1]  # of each cell, best first
        counts = looked.computed[rows].sum(axis=1)
        recalls.append(np.concatenate([[0.0], np.cumsum(prior)])[counts])
    return min(float(np.concatenate(recalls).mean()), 1.0)


def region_precision(samples: Samples) -> float | None:
    """Share of the computed cells of those frames that touch the region."""
    looked = _looked(samples)
    if looked is None or not looked.computed.any():
        return None
    return float((looked.shares > 0)[looked.computed].mean())


def _region_recall_of_crops(samples: Samples) -> float | None:
    """Of the frames with a region that were looked at, the share of it within the crop."""
    assert samples.crops is not None
    useful = samples.crops.any(axis=-1) & samples.regions.any(axis=-1)
    if not useful.any():
        return None
    region, crop = samples.regions[useful].astype(np.float64), samples.crops[useful].astype(np.float64)
    sides = np.minimum(region[:, 2:], crop[:, 2:]) - np.maximum(region[:, :2], crop[:, :2])
    inside = np.clip(sides, 0, None).prod(axis=1) / (region[:, 2:] - region[:, :2]).prod(axis=1)
    return min(float(inside.mean()), 1.0)
