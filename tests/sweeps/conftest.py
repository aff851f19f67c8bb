"""Data sets that are prepared as far as a plan looks: lists of videos that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.items import Item
from bench.data.listing import Layout, write_prepared

NAMES = ("something-something-v1", "kinetics-400", "activitynet", "jester", "mine")


def prepare(root: Path, name: str, train: int = 256) -> None:
    """A data set of so many training videos, three classes, 40 for validation."""
    root.mkdir(parents=True, exist_ok=True)
    lists = {
        split: [Item(f"{split}/{number}", 80, (number % 3,)) for number in range(count)]
        for split, count in (("train", train), ("val", 40))
    }
    write_prepared(
        root,
        name=name,
        title=name,
        layout=Layout("frames", "frames"),
        classes=["run", "stand", "walk"],
        metric="top1",
        flip="never",
        swaps=[],
        lists=lists,
        made={},
    )


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$AFNET_BENCH_DATA with the data sets of NAMES."""
    monkeypatch.setenv("AFNET_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AFNET_BENCH_CONFIG", str(tmp_path / "config"))
    for name in NAMES:
        prepare(tmp_path / "data" / name, name)
    return tmp_path / "data"
