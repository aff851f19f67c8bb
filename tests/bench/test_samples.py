"""Files of samples, also a stranger's: what is none of ours is refused with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import UserError
from bench.samples import Samples, read_samples, write_samples

VIDEOS, CLASSES, FRAMES = 3, 4, 2


def samples() -> Samples:
    return Samples(
        video=np.arange(VIDEOS),
        label=np.arange(VIDEOS),
        logits=np.zeros((VIDEOS, CLASSES), np.float32),
        macs=np.full(VIDEOS, 10),
        times=np.zeros((VIDEOS, FRAMES), np.int64),
        informative=np.zeros((VIDEOS, FRAMES), np.bool_),
        regions=np.zeros((VIDEOS, FRAMES, 4), np.float32),
        kept=np.ones((VIDEOS, 1, FRAMES), np.bool_),
        crops=np.zeros((VIDEOS, FRAMES, 4), np.float32),
    )


def lists(values: list[Any], width: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values * (VIDEOS * width)), width)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.parquet", samples())
    assert read_samples(tmp_path / "samples.parquet").kept is not None


@pytest.mark.parametrize(
    ("name", "column", "reason"),
    [
        ("label", pa.array(["x"] * VIDEOS), "label holds string"),
        ("label", pa.array([0, None, 1]), "1 missing"),
        ("label", pa.array([0, 1, CLASSES]), "its labels go from 0 to 4, of 4 classes"),
        ("label", pa.array([0, -1, 1]), "its labels go from -1"),
        ("video", pa.array([0, 0, 1]), "several samples of one video"),
        ("video", pa.array([0, -1, 1]), "it has a video -1"),
        ("video", pa.array([0.0, 1.0, 2.0]), "video holds double"),
        ("macs", pa.array([1, -1, 1]), "fewer multiply-adds than none"),
        ("logits", lists([float("nan")], CLASSES), "3 videos whose logits are not all finite"),
        ("logits", lists([float("inf")], CLASSES), "3 videos whose logits are not all finite"),
        ("logits", lists([1], CLASSES), "logits holds int64"),
        ("times", lists([1], FRAMES + 1), "numbers of frames"),
        ("informative", lists([1], FRAMES), "informative holds int64"),
        ("kept", lists(["yes"], FRAMES), "kept holds string"),
        ("crops", lists([float("nan")], 4 * FRAMES), "a crop is no part of a picture"),
        ("regions", lists([float("nan")], 4 * FRAMES), "a region is no part of a picture"),
        ("crops", lists([20.0], 4 * FRAMES), "a crop is no part of a picture"),
        ("regions", pa.array([[0.0] * 8] * VIDEOS), "not a list of fixed length"),
        ("logits", pa.array([[0.0] * CLASSES, None, [0.0] * CLASSES], pa.list_(pa.float64(), CLASSES)), "without a"),
    ],
)
def test_what_is_no_samples_is_refused(tmp_path: Path, name: str, column: pa.Array, reason: str) -> None:
    path = tmp_path / "samples.parquet"
    write_samples(path, samples())
    table = pq.read_table(path)
    changed = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(UserError, match=rf"samples\.parquet is not a readable file of samples \(.*{reason}"):
        read_samples(path)


def test_of_no_videos_there_are_no_samples(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    write_samples(path, samples())
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(UserError, match="it has 0 videos"):
        read_samples(path)
