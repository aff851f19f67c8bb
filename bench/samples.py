"""samples.parquet: one row per video, the raw material of every metric. Imports no torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.errors import UserError
from bench.files import check_file, replacing

CellMap = tuple[int, int, int]
"""Number of a block that computes cells, height and width of its map."""


@dataclass(frozen=True)
class Samples:
    """What a point found for each of V validation videos; B blocks, T frames, K classes.

    T frames of all the video's views, one view after the other.

    Attributes:
        video: (V,) index in the validation split.
        label: (V,); of several, the first.
        logits: (V, K) float32.
        macs: (V,) executed multiply-adds.
        times: (V, T) frame times given to the model.
        informative: (V, T) bool, the answer key of the frames; all False where the data set has none.
        regions: (V, T, 4) float32, that of the picture: left, top, right and bottom of what carries the label, as
            shares of the sides; zeros where the frame has none.
        kept: (V, B, T) bool, or None where the method skips nothing.
        cell_maps: of the C blocks that compute cells, the number among the B, and height and width of their maps.
        cells: (V, C, T, G, G) bool, what those computed of the frames they kept; None where there are none.
        crops: (V, T, 4) float32, what was looked at of each frame, in shares as `regions`; None without crops.
        resolutions: (V, T) pixels a side at which each frame was looked at, 0 where not; None where all are alike.
        exit_step: (V,) frames looked at before the answer; None without early answers.
        targets: (V, K) bool, all labels of each; None where every video has one.
    """

    video: NDArray[np.int64]
    label: NDArray[np.int64]
    logits: NDArray[np.float32]
    macs: NDArray[np.int64]
    times: NDArray[np.int64]
    informative: NDArray[np.bool_]
    regions: NDArray[np.float32]
    kept: NDArray[np.bool_] | None = None
    cell_maps: tuple[CellMap, ...] = ()
    cells: NDArray[np.bool_] | None = None
    crops: NDArray[np.float32] | None = None
    resolutions: NDArray[np.int64] | None = None
    exit_step: NDArray[np.int64] | None = None
    targets: NDArray[np.bool_] | None = None

    def correct(self, k: int = 1) -> NDArray[np.bool_]:
        """(V,) whether a label is among the k largest logits; of equal logits the lower class comes first."""
        ranked = np.argsort(-self.logits, axis=1, kind="stable")[:, :k]
        if self.targets is not None:
            return np.asarray(np.take_along_axis(self.targets, ranked, axis=1).any(axis=1))
        return (ranked == self.label[:, None]).any(axis=1)


def write_samples(path: Path, samples: Samples) -> None:
    """Replace the file in one step.

    `kept` and `cells` are flattened block by block, `regions` frame by frame; the numbers needed to undo that are in
    the file's metadata.
    """
    videos = len(samples.video)
    ranked = np.argsort(-samples.logits, axis=1, kind="stable")[:, :5]
    columns = {
        "video": pa.array(samples.video),
        "label": pa.array(samples.label),
        "top5": _lists(ranked),
        "logits": _lists(samples.logits),
        "macs": pa.array(samples.macs),
        "times": _lists(samples.times),
        "informative": _lists(samples.informative),
        "regions": _lists(samples.regions.reshape(videos, -1)),
    }
    blocks = 0
    if samples.kept is not None:
        blocks = samples.kept.shape[1]
        columns["kept"] = _lists(samples.kept.reshape(videos, -1))
        columns["kept_per_block"] = _lists(samples.kept.mean(axis=2, dtype=np.float32))
    if samples.cells is not None:
        columns["cells"] = _lists(samples.cells.reshape(videos, -1))
    if samples.crops is not None:
        columns["crops"] = _lists(samples.crops.reshape(videos, -1))
    if samples.resolutions is not None:
        columns["resolutions"] = _lists(samples.resolutions)
    if samples.exit_step is not None:
        columns["exit_step"] = pa.array(samples.exit_step)
    if samples.targets is not None:
        columns["targets"] = _lists(samples.targets)
    metadata = {"blocks": json.dumps(blocks), "cell_maps": json.dumps(samples.cell_maps)}
    table = pa.table(columns).replace_schema_metadata(metadata)
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_samples(path: Path) -> Samples:
    """Read them back.

    Raises:
        UserError: when the file is missing, damaged or lacks a column.
    """
    try:
        check_file(path)
        table = pq.read_table(path)
        blocks, cell_maps = _layout(table)
        informative = _matrix(table, "informative", "b")
        videos, frames = informative.shape
        has = set(table.column_names)
        samples = Samples(
            video=_column(table, "video"),
            label=_column(table, "label"),
            logits=_matrix(table, "logits", "f"),
            macs=_column(table, "macs"),
            times=_matrix(table, "times", "iu"),
            informative=informative,
            regions=_matrix(table, "regions", "f").reshape(videos, frames, 4),
            kept=_matrix(table, "kept", "b").reshape(videos, blocks, frames) if blocks else None,
            cell_maps=cell_maps,
            cells=_cells(table, videos, len(cell_maps), frames) if cell_maps else None,
            crops=_matrix(table, "crops", "f").reshape(videos, frames, 4) if "crops" in has else None,
            resolutions=_matrix(table, "resolutions", "iu") if "resolutions" in has else None,
            exit_step=_column(table, "exit_step") if "exit_step" in has else None,
            targets=_matrix(table, "targets", "b") if "targets" in has else None,
        )
        _check(samples)
        return samples
    except (OSError, KeyError, ValueError, TypeError, RecursionError, pa.ArrowException) as error:
        raise UserError(
            f"{path} is not a readable file of samples ({error}); expected what a run writes there."
        ) from error


def _check(samples: Samples) -> None:
    """ValueError unless the columns are of one kind of clips and classes."""
    videos, classes = samples.logits.shape
    if not videos or not classes:
        raise ValueError(f"it has {videos} videos and {classes} classes")
    infinite = int((~np.isfinite(samples.logits)).any(axis=1).sum())
    wrong = {
        "its columns differ in their numbers of frames": samples.times.shape != samples.informative.shape,
        "its targets and logits differ in their numbers of classes": samples.targets is not None
        and samples.targets.shape != samples.logits.shape,
        f"its labels go from {samples.label.min()} to {samples.label.max()}, of {classes} classes": (
            samples.label.min() < 0 or samples.label.max() >= classes
        ),
        f"it has a video {samples.video.min()}": samples.video.min() < 0,
        "it has several samples of one video": len(np.unique(samples.video)) < videos,
        f"it has {infinite} videos whose logits are not all finite": infinite > 0,
        "a crop is no part of a picture": samples.crops is not None and not _are_boxes(samples.crops),
        "a region is no part of a picture": not np.isfinite(samples.regions).all(),
        "a video has fewer multiply-adds than none": samples.macs.min() < 0,
    }
    reasons = [reason for reason, found in wrong.items() if found]
    if reasons:
        raise ValueError("; ".join(reasons))


def _are_boxes(boxes: np.ndarray) -> bool:
    """Whether (..., 4) are left, top, right and bottom, in shares of the sides; some may reach out of the picture."""
    # Of what is no number neither is true.
    return bool((boxes[..., :2] <= boxes[..., 2:]).all() and (np.abs(boxes) <= FARTHEST).all())


def _layout(table: pa.Table) -> tuple[int, tuple[CellMap, ...]]:
    """The number of blocks, and the blocks that compute cells."""
    metadata = table.schema.metadata or {}
    blocks, maps = (json.loads(metadata[name]) for name in (b"blocks", b"cell_maps"))
    if type(blocks) is not int or blocks < 0:
        raise ValueError(f"its metadata names {blocks!r} blocks")
    numbers = [entry[0] for entry in maps]
    whole = all(len(entry) == 3 and all(type(value) is int and value >= 0 for value in entry) for entry in maps)
    if not whole or numbers != sorted(set(numbers)) or any(number >= blocks for number in numbers):
        raise ValueError(f"its metadata has cell_maps {maps!r} for {blocks} blocks")
    return blocks, tuple((number, height, width) for number, height, width in maps)


def _cells(table: pa.Table, videos: int, blocks: int, frames: int) -> NDArray[np.bool_]:
    flat = _matrix(table, "cells", "b")
    grid = math.isqrt(flat.shape[1] // (blocks * frames))
    return flat.reshape(videos, blocks, frames, grid, grid)


def _lists(rows: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1)), rows.shape[1])


FARTHEST = 10.0  # sides of a picture from its corner
# As NumPy calls them.
KINDS = {"b": "true and false", "iu": "whole numbers", "f": "numbers"}


def _matrix(table: pa.Table, name: str, kind: str) -> np.ndarray:
    """(V, n) of a column of lists.

    Args:
        kind: one of KINDS.

    Raises:
        ValueError: where they are not all of one length, or a value is missing or of another kind.
    """
    column = table[name].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type) or not column.type.list_size:
        raise ValueError(f"{name} is of type {column.type}, not a list of fixed length")
    values = column.flatten()
    if column.null_count or len(values) != len(column) * column.type.list_size:
        raise ValueError(f"{name} has rows without a value")
    return _checked(values, name, kind).reshape(len(column), column.type.list_size)


def _column(table: pa.Table, name: str) -> np.ndarray:
    """(V,) whole numbers."""
    return _checked(table[name].combine_chunks(), name, "iu")


def _checked(values: pa.Array, name: str, kind: str) -> np.ndarray:
    found = np.asarray(values.to_numpy(zero_copy_only=False))
    if values.null_count or found.dtype.kind not in kind:
        raise ValueError(f"{name} holds {values.type} with {values.null_count} missing, expected {KINDS[kind]}")
    return found
