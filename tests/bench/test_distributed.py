"""Several processes give what one gives: losses, weights, records."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.checkpoint import load_checkpoint
from bench.distributed import ALONE, Team
from bench.errors import UserError
from bench.experiment import Experiment
from bench.record import point_folder, read_result, training_folder
from bench.run import run_experiment
from bench.samples import read_samples
from tests.conftest import small

# What each process runs: the experiment in a file, into a folder.
RUN = """
import json, sys
from pathlib import Path
from bench.experiment import from_dict
from bench.run import run_experiment
if __name__ == "__main__":
    run_experiment(from_dict(json.loads(Path(sys.argv[1]).read_text()), "the test"), Path(sys.argv[2]))
"""


def experiment(method: str = "afnet", **training: object) -> Experiment:
    """Four steps of two parts of two clips, some with noise, with a validation in the middle."""
    point = small(method)
    data = replace(point.data, train_clips=8, val_clips=5)
    wanted = {"batch": 4, "micro_batch": 2, "epochs": 2, "validate": 1, **training}
    return replace(
        point,
        data=data,
        training=replace(point.training, **wanted),  # type: ignore[arg-type]
        evaluation=replace(point.evaluation, batch=2),
    )


def run_together(point: Experiment, runs: Path, processes: int) -> list[subprocess.CompletedProcess[str]]:
    """As torchrun would start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runs.mkdir(parents=True, exist_ok=True)
    (runs / "point.json").write_text(json.dumps(point.to_dict()))
    place = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(runs / "point.json"), str(runs)],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    return [subprocess.CompletedProcess([], process.wait(), "", process.communicate()[1]) for process in started]


def lines(runs: Path, point: Experiment) -> list[dict[str, float]]:
    text = (training_folder(runs, point) / "progress.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["afnet", "tsm"])
def test_two_processes_train_as_one_does(tmp_path: Path, method: str) -> None:
    point = experiment(method)
    run_experiment(point, tmp_path / "one")
    for done in run_together(point, tmp_path / "two", 2):
        assert done.returncode == 0, done.stderr
    for one, other in zip(lines(tmp_path / "one", point), lines(tmp_path / "two", point), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    states = [
        load_checkpoint(training_folder(tmp_path / name, point) / "checkpoint.pt", point.training_id)
        for name in ("one", "two")
    ]
    assert states[0] is not None and states[1] is not None
    for name, tensor in states[0]["model"].items():
        torch.testing.assert_close(states[1]["model"][name], tensor, atol=1e-4, rtol=1e-4, msg=name)
    alone, shared = (read_samples(point_folder(tmp_path / name, point) / "samples.parquet") for name in ("one", "two"))
    assert alone.video.tolist() == shared.video.tolist() == list(range(5))
    np.testing.assert_allclose(alone.logits, shared.logits, atol=1e-3)
    assert read_result(point_folder(tmp_path / "two", point) / "result.json").metrics["macs"] > 0


@pytest.mark.slow
def test_a_training_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    """Begun by one process and cut off, finished by two: as an undisturbed run of one."""
    point = experiment("afnet")
    run_experiment(point, tmp_path / "whole")

    class CutOffError(Exception):
        pass

    def cut(stage: str, done: int, of: int) -> None:
        if (stage, done) == ("train", 3):
            raise CutOffError

    with pytest.raises(CutOffError):
        run_experiment(point, tmp_path / "parts", cut)
    for done in run_together(point, tmp_path / "parts", 2):
        assert done.returncode == 0, done.stderr
    whole, parts = lines(tmp_path / "whole", point), lines(tmp_path / "parts", point)
    assert [line["step"] for line in whole] == [line["step"] for line in parts]
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.slow
def test_processes_that_cannot_share_a_step_say_so(tmp_path: Path) -> None:
    for done in run_together(experiment(micro_batch=0), tmp_path, 2):
        assert done.returncode and "2 processes cannot share a step of 1 parts" in done.stderr


def test_parts_are_shared_evenly() -> None:
    assert list(ALONE.shared(3)) == [0, 1, 2]
    assert [list(Team(rank, 2).shared(4)) for rank in (0, 1)] == [[0, 2], [1, 3]]
    with pytest.raises(UserError, match=r"3 processes cannot share a step of 4 parts"):
        Team(0, 3).shared(4)
