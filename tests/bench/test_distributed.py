"""Several processes give what one gives: losses, weights, records."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.attempts import read_attempts
from bench.checkpoint import load_checkpoint
from bench.data.listing import Prepared
from bench.distributed import ALONE, Team, _port
from bench.environment import available_cores
from bench.errors import UserError
from bench.experiment import Evaluation, Experiment
from bench.record import point_folder, read_result, training_folder
from bench.run import run_experiment
from bench.samples import read_samples
from tests.bench.test_bad_videos import point as bad_point
from tests.bench.test_bad_videos import prepared as prepared
from tests.bench.test_bad_videos import spoil
from tests.conftest import small

# What each process runs: the experiment in a file, into a folder.
RUN = """
import json, sys
from pathlib import Path
from bench.distributed import leave
from bench.experiment import from_dict
from bench.run import run_experiment
if __name__ == "__main__":
    run_experiment(from_dict(json.loads(Path(sys.argv[1]).read_text()), "the test"), Path(sys.argv[2]))
    leave()
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


def run_together(
    point: Experiment, runs: Path, processes: int, jobs: tuple[str, ...] = ()
) -> list[subprocess.CompletedProcess[str]]:
    """As torchrun would start it; a {rank} in the folder's name gives each process its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = [Path(str(runs).format(rank=rank)) for rank in range(processes)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    (folders[0] / "point.json").write_text(json.dumps(point.to_dict()))
    names = [{"TORCHELASTIC_RUN_ID": job} for job in jobs] or [{}] * processes
    place = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(folders[0] / "point.json"), str(folders[rank])],
            env={**os.environ, **place, **names[rank], "RANK": str(rank), "LOCAL_RANK": str(rank)},
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


@pytest.mark.slow
def test_what_ends_one_process_ends_all_of_them_with_its_words(tmp_path: Path, prepared: Prepared) -> None:
    """Not with those of the others, who lose it."""
    spoil(prepared, [5])
    point = replace(bad_point(batch=4, micro_batch=2, on_bad="stop"), evaluation=Evaluation(batch=2))
    done = run_together(point, tmp_path / "runs", 2)
    for each in done:
        assert each.returncode and "clip 5" in each.stderr.splitlines()[-1], each.stderr
    assert any("Process 1 of 2: The train video 'clip 5'" in each.stderr.splitlines()[-1] for each in done) or any(
        "Process 0 of 2: The train video 'clip 5'" in each.stderr.splitlines()[-1] for each in done
    )
    (attempt,) = read_attempts(training_folder(tmp_path / "runs", point))
    assert attempt.error is not None and "clip 5" in attempt.error["text"]


@pytest.mark.slow
@pytest.mark.parametrize("file", ["heartbeat.json", "points/*/samples.parquet", "points/*/result.json"])
def test_what_the_first_process_alone_does_ends_all_of_them_with_its_words(tmp_path: Path, file: str) -> None:
    """At the start, after the evaluation, and at the end: folders lie where it writes."""
    point = experiment("tsn", epochs=1)
    taken = training_folder(tmp_path / "runs", point) / file.replace("*", point.experiment_id)
    taken.mkdir(parents=True)
    for rank, done in enumerate(run_together(point, tmp_path / "runs", 2)):
        said = done.stderr.splitlines()[-1]
        assert done.returncode and re.search(rf"{re.escape(str(taken))} cannot be (read|written)", said), done.stderr
        assert ("Process 0 of 2: " in said) == (rank == 1)


@pytest.mark.slow
def test_the_first_process_hands_its_checkpoint_to_the_others(tmp_path: Path) -> None:
    """Whose own folder may be another machine's, with an older one or none."""
    point = experiment("afnet")
    run_experiment(point, tmp_path / "whole")

    def cut(stage: str, done: int, of: int) -> None:
        if (stage, done) == ("train", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(point, tmp_path / "rank0", cut)
    for done in run_together(point, tmp_path / "rank{rank}", 2):
        assert done.returncode == 0, done.stderr
    for one, other in zip(lines(tmp_path / "whole", point), lines(tmp_path / "rank0", point), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


LOSE = """
import os, signal, torch
from bench.distributed import team
with team(torch.device("cpu")) as crew:
    if crew.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    {call}
"""


@pytest.mark.slow
@pytest.mark.parametrize("call", ["crew.sum(torch.ones(2))", "crew.gathered(3)", "crew.first(crew.rank)"])
def test_a_process_that_is_killed_is_told_by_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The first one may have handed on what it has before: it hears of it when it asks the next time."""
    monkeypatch.setattr(f"{__name__}.RUN", LOSE.format(call=f"{call}; crew.gathered(None)"))
    first, second = run_together(experiment("tsn"), tmp_path, 2)
    assert second.returncode == -signal.SIGKILL and first.returncode
    said = first.stderr.splitlines()[-1]
    assert "UserError: Process 0 of 2 lost another one, which was killed or ended by itself" in said, first.stderr


@pytest.mark.slow
def test_processes_of_two_jobs_do_not_train_together(tmp_path: Path) -> None:
    for done in run_together(experiment("tsn"), tmp_path, 2, jobs=("7", "8")):
        assert done.returncode and "do not belong together" in done.stderr
        assert "7'" in done.stderr and "8'" in done.stderr


def test_jobs_of_a_scheduler_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {_port({"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0"}) for job in range(1000, 1900)}
    assert len(ports) == 900 and all(20_000 <= int(port) < 50_000 for port in ports)
    assert _port({}) == "29501"


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, 1.0),
        ({"LOCAL_WORLD_SIZE": "2"}, 0.5),
        ({"SLURM_STEP_ID": "0", "SLURM_CPUS_PER_TASK": "1"}, 0.0),
        ({"SLURM_CPUS_PER_TASK": "1"}, 1.0),
    ],
)
def test_processes_of_one_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], share: float
) -> None:
    for name in ("LOCAL_WORLD_SIZE", "SLURM_STEP_ID", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    whole = available_cores()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert available_cores() == max(int(whole * share), 1)


def test_parts_are_shared_evenly() -> None:
    assert list(ALONE.shared(3)) == [0, 1, 2]
    assert [list(Team(rank, 2).shared(4)) for rank in (0, 1)] == [[0, 2], [1, 3]]
    with pytest.raises(UserError, match=r"3 processes cannot share a step of 4 parts"):
        Team(0, 3).shared(4)
