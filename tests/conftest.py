"""Shared pieces: small experiments, and one finished runs folder for every test that reads records."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.experiment import Data, Evaluation, Experiment, Model, Runtime, Timing, Training
from bench.methods import find_method

# Tests run on every core at once; one thread each keeps them out of each other's way.
os.environ["OMP_NUM_THREADS"] = "1"
# Roofs measured by tests, with every core busy, are no one's.
os.environ.setdefault("AFNET_BENCH_CACHE", tempfile.mkdtemp(prefix="afnet-bench-tests-"))
# Read when triton is first imported, which torch does at odd moments.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


def small(method: str = "afnet", *, frames: int = 4, **settings: object) -> Experiment:
    """A point that trains for three steps."""
    chosen = find_method(method).settings(dropout=0.0, **settings)  # type: ignore[call-arg]
    return Experiment(
        data=Data(train_clips=12, val_clips=6),
        model=Model(method, "tiny", frames, chosen),
        training=Training(batch=4, multipliers="from-scratch"),
        evaluation=Evaluation(),
        timing=Timing(batch=2, rounds=3),
        runtime=Runtime(threads=1, log_every=1, checkpoint_seconds=0.0),
    )


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with four finished points, made once a worker; do not write to it."""
    from bench.run import run_experiment

    folder = tmp_path_factory.mktemp("runs")
    points = [
        small("tsn"),
        small("tsm"),
        small("afnet", keep_bias=1.2, zero_init=False),
        replace(small("tsn"), evaluation=Evaluation(frames=8)),
    ]
    for point in points:
        run_experiment(point, folder)
    return folder
