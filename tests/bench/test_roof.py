"""Roofs: measured once, kept, and what a forward is beside them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from bench import roof as roofs
from bench.roof import Roof, find_roof, measure, utilisation

CPU = torch.device("cpu")


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The dtypes that were measured; into a cache of its own."""
    seen: list[torch.dtype] = []

    def fake(device: torch.device, dtype: torch.dtype) -> Roof:
        seen.append(dtype)
        return Roof(copy=1e10, product=2e11)

    monkeypatch.setenv("AFNET_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(roofs, "measure", fake)
    return seen


def test_a_roof_is_measured_once_for_each_dtype(measured: list[torch.dtype]) -> None:
    for _ in range(2):
        assert find_roof(CPU, torch.float32) == find_roof(CPU, torch.bfloat16) == Roof(1e10, 2e11)
    assert measured == [torch.float32, torch.bfloat16]


def test_a_roof_that_a_network_broke_through_is_measured_again(measured: list[torch.dtype], tmp_path: Path) -> None:
    find_roof(CPU, torch.float32)
    assert find_roof(CPU, torch.float32, reached=2e11) == Roof(1e10, 2e11) and len(measured) == 1
    path = tmp_path / "cache" / "roofs.json"
    (key,) = json.loads(path.read_text())
    path.write_text(json.dumps({key: {"copy": 5e10, "product": 1e11}}))
    assert find_roof(CPU, torch.float32, reached=1.5e11) == Roof(5e10, 2e11) and len(measured) == 2
    assert find_roof(CPU, torch.float32, reached=1.5e11) == Roof(5e10, 2e11) and len(measured) == 2


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": ', "\x00"])
def test_a_damaged_cache_is_said_and_replaced(
    measured: list[torch.dtype], tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    find_roof(CPU, torch.float32)
    (tmp_path / "cache" / "roofs.json").write_text(text)
    with caplog.at_level(logging.WARNING):
        find_roof(CPU, torch.float32)
    assert "no cache of roofs that can be read" in caplog.text and len(measured) == 2
    find_roof(CPU, torch.float32)
    assert len(measured) == 2


def test_an_entry_that_is_no_roof_is_measured_anew(measured: list[torch.dtype], tmp_path: Path) -> None:
    find_roof(CPU, torch.float32)
    path = tmp_path / "cache" / "roofs.json"
    path.write_text(path.read_text().replace("1e10", '"fast"').replace("10000000000.0", '"fast"'))
    assert find_roof(CPU, torch.float32) == Roof(1e10, 2e11) and len(measured) == 2


def test_a_cache_that_cannot_be_written_stops_nothing(
    measured: list[torch.dtype], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    with caplog.at_level(logging.WARNING):
        assert find_roof(CPU, torch.float32) == Roof(1e10, 2e11)
    assert "measured again each time" in caplog.text


def test_this_machine_has_a_roof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(roofs.SIZES, "cpu", (1 << 16, 32))
    found = measure(CPU, torch.float32)
    assert found.copy > 0 and found.product > 0


def test_utilisation_is_the_best_time_by_the_time_taken() -> None:
    roof = Roof(copy=1e9, product=1e10)
    found = utilisation(macs=2e9, traffic=100_000_000, seconds=0.4, roof=roof)
    assert (found["bound"], found["best_seconds"], found["utilisation"]) == ("arithmetic", 0.2, 0.5)
    assert found["macs_per_byte"] == 20 and found["macs_per_second"] == 5e9
    found = utilisation(macs=2e9, traffic=300_000_000, seconds=0.4, roof=roof)
    assert (found["bound"], found["best_seconds"]) == ("memory", 0.3)
