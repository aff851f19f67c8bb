"""samples.parquet: one row per video, the raw material of every metric. Imports no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import UserError
from bench.metrics import Samples
from bench.record import replacing


def write_samples(path: Path, samples: Samples) -> None:
    """Replace the file in one step. `kept` is flattened block by block; its block count is in the file's metadata."""
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
    }
    blocks = 0
    if samples.kept is not None:
        blocks = samples.kept.shape[1]
        columns["kept"] = _lists(samples.kept.reshape(videos, -1))
        columns["kept_per_block"] = _lists(samples.kept.mean(axis=2, dtype=np.float32))
    table = pa.table(columns).replace_schema_metadata({"blocks": str(blocks)})
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_samples(path: Path) -> Samples:
    """Read them back.

    Raises:
        UserError: when the file is missing, damaged or lacks a column.
    """
    try:
        table = pq.read_table(path)
        blocks = int((table.schema.metadata or {})[b"blocks"])
        informative = _matrix(table, "informative").astype(bool)
        kept = _matrix(table, "kept").astype(bool).reshape(len(informative), blocks, -1) if blocks else None
        samples = Samples(
            video=table["video"].to_numpy(),
            label=table["label"].to_numpy(),
            logits=_matrix(table, "logits"),
            macs=table["macs"].to_numpy(),
            times=_matrix(table, "times"),
            kept=kept,
            informative=informative,
        )
        if samples.times.shape != informative.shape or (kept is not None and kept.shape[2:] != informative.shape[1:]):
            raise ValueError("its columns differ in their numbers of frames")
        return samples
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise UserError(
            f"{path} is not a readable file of samples ({error}); expected what a run writes there."
        ) from error


def _lists(rows: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).reshape(-1)), rows.shape[1])


def _matrix(table: pa.Table, name: str) -> np.ndarray:
    column = table[name].combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        raise ValueError(f"{name} is of type {column.type}, not a list of fixed length")
    width = column.type.list_size
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
