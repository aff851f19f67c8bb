"""What the parts cost, tiny networks on a processor: `nox -s benchmarks`. No time makes anything fail.

Multiply-adds of a forward are in extra_info, so that a change of speed can be told from a change of work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from afnet.contract import EXECUTIONS, Execution
from afnet.execution import put_rows_, take_rows
from afnet.inference import optimize_for_inference
from afnet.shift import temporal_shift
from baselines.looking import boxes_at, crop, resized
from bench.data.catalogue import find_dataset
from bench.data.loader import TrainingClips
from bench.experiment import Data
from bench.macs import cost_model
from bench.methods import METHODS
from bench.run import run_experiment
from bench.samples import read_samples, write_samples
from bench.throughput import take_turns
from reports.site import write_site
from tests.baselines.test_samplers import clips
from tests.bench.test_witnesses import model_of
from tests.conftest import small

VIDEOS = 2
CPU = torch.device("cpu")
CASES = [(method, name) for method, entry in METHODS.items() for name in (EXECUTIONS if entry.skips else ("dense",))]


@pytest.fixture(autouse=True)
def without_gradients() -> Any:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize(("method", "execution"), CASES)
def test_forward(benchmark: Any, method: str, execution: Execution) -> None:
    """Two clips of eight frames of 64 pixels, as deployed."""
    plain, x = model_of(method), clips(VIDEOS)
    with torch.inference_mode(False), torch.no_grad():
        cost = cost_model(plain, x)
    model = optimize_for_inference(plain)
    model.execution, model.answers = execution, plain.answers
    output = model(x)
    benchmark.extra_info["macs"] = int(cost.executed(model, output.selection, x).sum())
    benchmark.pedantic(model, args=(x,), rounds=10, warmup_rounds=2)


def maps(frames: int = 128) -> Tensor:
    return torch.randn(frames, 32, 16, 16).to(memory_format=torch.channels_last)


def test_gather(benchmark: Any) -> None:
    """Every other of 128 maps of 32 x 16 x 16; the floor is reading and writing half of them, 4 MB."""
    benchmark(take_rows, maps(), torch.arange(0, 128, 2))


def test_scatter(benchmark: Any) -> None:
    """64 maps into 128; the floor is reading and writing 4 MB."""
    benchmark(put_rows_, maps(), torch.arange(0, 128, 2), maps(64))


def test_shift(benchmark: Any) -> None:
    """Of 16 clips of 8; the floor is reading and writing all, 8 MB."""
    benchmark(temporal_shift, maps(), 8)


def test_crop(benchmark: Any) -> None:
    """128 crops of 32 pixels from frames of 64."""
    frames = torch.randn(128, 3, 64, 64)
    boxes = boxes_at(torch.rand(128, 2), 32, 64, 64)
    benchmark(crop, frames, boxes, 32)


def test_resize(benchmark: Any) -> None:
    """128 frames of 64 pixels to 32."""
    benchmark(resized, torch.randn(128, 3, 64, 64), 32)


def test_loader(benchmark: Any) -> None:
    """A batch of 16 clips of 8 frames of 64 pixels."""
    digits = find_dataset("digits-in-motion").open(Data())
    batches = TrainingClips(digits, clips=6400, frames=8, batch=16, part=16, seed=0).stream(0, 400)
    benchmark.pedantic(next, args=(batches,), rounds=20, warmup_rounds=2)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.inference_mode(False):
        return run_experiment(small("afnet"), tmp_path_factory.mktemp("record")).path


def test_record_write(benchmark: Any, record: Path, tmp_path: Path) -> None:
    """The samples of six videos: compressed, flushed to disk, renamed."""
    samples = read_samples(record.parent / "samples.parquet")
    benchmark(write_samples, tmp_path / "samples.parquet", samples)


def test_report_build(benchmark: Any, record: Path, tmp_path: Path) -> None:
    """Of one point."""
    benchmark.pedantic(write_site, args=([record], tmp_path), rounds=3, warmup_rounds=1)


def test_harness_overhead(benchmark: Any) -> None:
    """What the harness adds to a time: what it measures of nothing, as a share of 5 ms; wanted is below 1%."""

    def measured() -> float:
        turns = take_turns({"one": lambda _: None, "other": lambda _: None}, CPU, rounds=1000, warmup=0.0)
        return float(np.median([sample for samples in turns.samples.values() for sample in samples]))

    benchmark.extra_info["overhead"] = benchmark.pedantic(measured, rounds=3) / 5e-3
