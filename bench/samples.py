"""samples.parquet: one row per video, the raw material of every metric. Imports no torch."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.errors import UserError
from bench.metrics import Samples
from bench.record import replacing


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
    blocks, cell_blocks = 0, []
    if samples.kept is not None:
        blocks = samples.kept.shape[1]
        columns["kept"] = _lists(samples.kept.reshape(videos, -1))
        columns["kept_per_block"] = _lists(samples.kept.mean(axis=2, dtype=np.float32))
    if samples.cells is not None and samples.cell_blocks is not None:
        cell_blocks = samples.cell_blocks.tolist()
        columns["cells"] = _lists(samples.cells.reshape(videos, -1))
    metadata = {"blocks": json.dumps(blocks), "cell_blocks": json.dumps(cell_blocks)}
    table = pa.table(columns).replace_schema_metadata(metadata)
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_samples(path: Path) -> Samples:
    """Read them back.

    Raises:
        UserError: when the file is missing, damaged or lacks a column.
    """
    try:
        table = pq.read_table(path)
        metadata = table.schema.metadata or {}
        blocks, cell_blocks = (json.loads(metadata[name]) for name in (b"blocks", b"cell_blocks"))
        informative = _matrix(table, "informative").astype(bool)
        videos, frames = informative.shape
        kept = _matrix(table, "kept").astype(bool).reshape(videos, blocks, frames) if blocks else None
        samples = Samples(
            video=table["video"].to_numpy(),
            label=table["label"].to_numpy(),
            logits=_matrix(table, "logits"),
            macs=table["macs"].to_numpy(),
            times=_matrix(table, "times"),
            informative=informative,
            regions=_matrix(table, "regions").reshape(videos, frames, 4),
            kept=kept,
            cell_blocks=np.array(cell_blocks, np.int64) if cell_blocks else None,
            cells=_cells(table, videos, len(cell_blocks), frames) if cell_blocks else None,
        )
        if samples.times.shape != informative.shape:
            raise ValueError("its columns differ in their numbers of frames")
        return samples
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise UserError(
            f"{path} is not a readable file of samples ({error}); expected what a run writes there."
        ) from error


def _cells(table: pa.Table, videos: int, blocks: int, frames: int) -> NDArray[np.bool_]:
    flat = _matrix(table, "cells").astype(bool)
    grid = math.isqrt(flat.shape[1] // (blocks * frames))
    return flat.reshape(videos, blocks, frames, grid, grid)


def _lists(rows: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1)), rows.shape[1])


def _matrix(table: pa.Table, name: str) -> np.ndarray:
    column = table[name].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        raise ValueError(f"{name} is of type {column.type}, not a list of fixed length")
    width = column.type.list_size
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
