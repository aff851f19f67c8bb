"""One experiment from start to record: deterministic, and exact after a kill at any moment."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.checkpoint import digest, load_checkpoint, save_checkpoint
from bench.data.catalogue import find_dataset
from bench.data.loader import TrainingClips, ValidationClips
from bench.data.source import Sampling
from bench.errors import UserError
from bench.evaluation import validation
from bench.experiment import Data, Evaluation, Experiment, Runtime, Training
from bench.metrics import compute_metrics
from bench.record import point_folder, read_result, result_files, training_folder
from bench.run import _still, beating, quiet, run_experiment, run_points
from bench.samples import read_samples
from bench.training import train
from tests.conftest import small

KILLER = """
import json, os, signal, sys
import bench.training, bench.training_state, bench.record, bench.run
from bench.experiment import from_dict
from pathlib import Path
where, at, values, runs = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), Path(sys.argv[4])
calls = 0
module, name = {"step": (bench.training, "_step"), "checkpoint": (bench.training_state, "save_checkpoint"),
                "result": (bench.run, "write_json"), "samples": (bench.run, "write_samples")}[where]
original = getattr(module, name)
def wrapped(*args, **kwargs):
    global calls
    calls += 1
    if calls == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)
setattr(module, name, wrapped)
bench.run.run_experiment(from_dict(values, "test"), runs)
"""


def metrics_of(experiment: Experiment, runs: Path) -> bytes:
    values = read_result(point_folder(runs, experiment) / "result.json").values
    return json.dumps([values["metrics"], values["macs"]], sort_keys=True).encode()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Path]:
    runs = tmp_path_factory.mktemp("undisturbed")
    experiment = small("afnet", keep_bias=1.2, zero_init=False)
    run_experiment(experiment, runs)
    return experiment, runs


@pytest.mark.parametrize(
    ("where", "at"), [("step", 2), ("checkpoint", 1), ("checkpoint", 3), ("samples", 1), ("result", 1)]
)
def test_a_killed_run_ends_with_the_same_bytes(
    undisturbed: tuple[Experiment, Path], tmp_path: Path, where: str, at: int
) -> None:
    experiment, reference = undisturbed
    arguments = [sys.executable, "-c", KILLER, where, str(at), json.dumps(experiment.to_dict()), str(tmp_path)]
    assert subprocess.run(arguments).returncode == -signal.SIGKILL
    assert not result_files(tmp_path)
    run_experiment(experiment, tmp_path)
    assert metrics_of(experiment, tmp_path) == metrics_of(experiment, reference)
    progress, expected = (
        (training_folder(runs, experiment) / "progress.jsonl").read_bytes() for runs in (tmp_path, reference)
    )
    assert progress == expected
    ours, theirs = (
        load_checkpoint(training_folder(runs, experiment) / "checkpoint.pt", experiment.training_id)
        for runs in (tmp_path, reference)
    )
    assert ours is not None and theirs is not None
    assert all(torch.equal(tensor, theirs["model"][name]) for name, tensor in ours["model"].items())
    ours_samples, theirs_samples = (
        read_samples(point_folder(runs, experiment) / "samples.parquet") for runs in (tmp_path, reference)
    )
    assert np.array_equal(ours_samples.logits, theirs_samples.logits)


@pytest.mark.parametrize("stage", ["train", "evaluate", "time"])
def test_a_file_system_that_goes_away_is_named_and_once_it_is_back_the_run_goes_on(
    undisturbed: tuple[Experiment, Path], tmp_path: Path, stage: str
) -> None:
    experiment, reference = undisturbed
    mount, away = tmp_path / "mount", tmp_path / "away"
    mount.mkdir()

    def lose(now: str, done: int, _: int) -> None:
        if (now, done) == (stage, 1):
            mount.rename(away)

    with pytest.raises(UserError, match=r"cannot be written \(No such file|was moved away or damaged"):
        run_experiment(experiment, mount / "runs", lose)
    assert not mount.exists(), "nothing is written in its place"
    away.rename(mount)
    run_experiment(experiment, mount / "runs")
    assert metrics_of(experiment, mount / "runs") == metrics_of(experiment, reference)


def test_a_finished_point_is_only_read(runs: Path) -> None:
    path = result_files(runs)[0]
    before = path.stat().st_mtime_ns
    result = read_result(path)
    assert run_experiment(result.experiment, runs).values == result.values
    assert path.stat().st_mtime_ns == before


def test_points_of_one_training_share_its_checkpoint(runs: Path) -> None:
    by_training: dict[str, int] = {}
    for path in result_files(runs):
        by_training[read_result(path).values["training_id"]] = (
            by_training.get(read_result(path).values["training_id"], 0) + 1
        )
    assert sorted(by_training.values()) == [1, 1, 2]


def test_points_of_one_training_are_measured_together(tmp_path: Path) -> None:
    start = small("uniform", frames=4, keep=2)
    points = [replace(start, evaluation=replace(start.evaluation, budget=budget)) for budget in (1, 2, 4)]
    alone = run_experiment(points[1], tmp_path)
    results = run_points(points, tmp_path)
    assert [round(result.metrics["kept_ratio"] * 4) for result in results] == [1, 2, 4]
    assert results[1].values == alone.values, "a point that was done is only read"
    assert [result.values["timing"]["in_turns_with"] for result in results] == [2, 1, 2]
    fresh = run_points(points, tmp_path / "fresh")
    for one, other in zip(results, fresh, strict=True):
        assert (one.metrics, one.values["macs"]) == (other.metrics, other.values["macs"])


def test_metrics_are_those_of_the_samples(runs: Path) -> None:
    for path in result_files(runs):
        assert compute_metrics(read_samples(path.with_name("samples.parquet"))) == read_result(path).metrics


def test_skipped_and_masked_points_find_the_same(undisturbed: tuple[Experiment, Path]) -> None:
    experiment, runs = undisturbed
    masked = replace(experiment, evaluation=Evaluation(execution="masked"))
    run_experiment(masked, runs)
    one, other = (read_samples(point_folder(runs, point) / "samples.parquet") for point in (experiment, masked))
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
    assert one.kept is not None and other.kept is not None and np.array_equal(one.kept, other.kept)
    assert (one.macs < other.macs).any() and (one.macs <= other.macs).all()


def test_resumed_batches_are_the_ones_not_yet_seen() -> None:
    data = Data(train_clips=10)
    digits = find_dataset(data.dataset).open(data)
    clips = TrainingClips(digits, clips=10, frames=4, batch=4, part=4, seed=3)
    whole, rest = list(clips.stream(0, 5)), list(clips.stream(3, 5))
    assert [batch.videos.tolist() for batch in whole[3:]] == [batch.videos.tolist() for batch in rest]
    assert np.array_equal(whole[4].clips, rest[1].clips)
    first_epoch = np.concatenate([batch.videos for batch in whole[:2]])
    assert len(set(first_epoch.tolist())) == 8


def test_validation_covers_every_clip_once_in_order() -> None:
    data = Data()
    digits = find_dataset(data.dataset).open(data)
    batches = list(ValidationClips(digits, clips=7, sampling=Sampling(4), batch=3).stream())
    assert np.concatenate([batch.videos for batch in batches]).tolist() == list(range(7))
    assert [len(batch) for batch in batches] == [3, 3, 1]


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"not a checkpoint"]
)
def test_a_damaged_checkpoint_is_named_and_left_alone(
    undisturbed: tuple[Experiment, Path], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    experiment, reference = undisturbed
    folder = training_folder(tmp_path, experiment)
    folder.mkdir(parents=True)
    damaged = damage((training_folder(reference, experiment) / "checkpoint.pt").read_bytes())
    (folder / "checkpoint.pt").write_bytes(damaged)
    with pytest.raises(UserError, match=r"not a readable checkpoint"):
        run_experiment(experiment, tmp_path)
    assert (folder / "checkpoint.pt").read_bytes() == damaged
    assert {path.name for path in folder.iterdir()} <= {
        "checkpoint.pt",
        ".lock",
        "points",
        "attempts.jsonl",
        "source",
        "heartbeat.json",
    }


def test_any_flipped_bit_of_a_checkpoint_is_refused_or_changes_nothing(undisturbed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    experiment, reference = undisturbed
    whole = (training_folder(reference, experiment) / "checkpoint.pt").read_bytes()
    expected = load_checkpoint(training_folder(reference, experiment) / "checkpoint.pt", experiment.training_id)
    assert expected is not None
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        flipped = bytearray(whole)
        flipped[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path = tmp_path / "checkpoint.pt"
        path.write_bytes(flipped)
        try:
            found = load_checkpoint(path, experiment.training_id)
        except UserError:
            refused += 1
            continue
        assert found is not None and digest(found) == digest(expected)
    assert refused > 75


@pytest.mark.parametrize("part", ["model", "optimiser", "step", "digest"])
def test_a_checkpoint_that_lacks_a_part_is_named(undisturbed, tmp_path: Path, part: str) -> None:  # type: ignore[no-untyped-def]
    experiment, reference = undisturbed
    state = torch.load(training_folder(reference, experiment) / "checkpoint.pt", weights_only=True)
    folder = training_folder(tmp_path, experiment)
    folder.mkdir(parents=True)
    torch.save({name: value for name, value in state.items() if name != part}, folder / "checkpoint.pt")
    with pytest.raises(UserError, match=rf"checkpoint\.pt lacks {part}.*move it away"):
        run_experiment(experiment, tmp_path)


def test_a_checkpoint_of_other_shapes_is_named(undisturbed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    experiment, _ = undisturbed
    folder = training_folder(tmp_path, experiment)
    folder.mkdir(parents=True)
    state = {"training_id": experiment.training_id, "step": 1, "seconds": 0.0, "loading": 0.0, "optimiser": None}
    state |= {"best": -1.0, "best_step": 0, "bad": {}, "scaler": {}}
    save_checkpoint(folder / "checkpoint.pt", {**state, "model": {"stem.conv1.weight": torch.zeros(1)}})
    with pytest.raises(UserError, match="does not fit the network of this experiment"):
        run_experiment(experiment, tmp_path)
    assert not (folder / "experiment.json").exists()


def test_the_digest_sees_names_types_shapes_and_bytes() -> None:
    tensor = torch.arange(4.0)
    other = ({"b": tensor}, {"a": tensor.view(2, 2)}, {"a": tensor.double()}, {"a": tensor + 1}, {"a": [tensor]})
    assert len({digest(state) for state in ({"a": tensor}, *other)}) == 6
    image = torch.rand(1, 3, 4, 4)
    assert digest(image) == digest(image.to(memory_format=torch.channels_last))
    assert digest(torch.tensor(1.0)) != digest(torch.tensor(2.0)) and digest(torch.zeros(2, dtype=torch.bfloat16))


def test_another_runs_checkpoint_is_refused(undisturbed: tuple[Experiment, Path], tmp_path: Path) -> None:
    experiment, reference = undisturbed
    other = replace(experiment, training=replace(experiment.training, seed=9))
    folder = training_folder(tmp_path, other)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes((training_folder(reference, experiment) / "checkpoint.pt").read_bytes())
    with pytest.raises(UserError, match="belongs to training"):
        run_experiment(other, tmp_path)


def test_a_pickle_that_wants_to_run_code_is_refused(undisturbed: tuple[Experiment, Path], tmp_path: Path) -> None:
    import pickle

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "attacked"),)

    experiment, _ = undisturbed
    folder = training_folder(tmp_path, experiment)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(pickle.dumps(Attack(), protocol=2))
    with pytest.raises(UserError, match="not a readable checkpoint"):
        run_experiment(experiment, tmp_path)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".lock", r"\.lock cannot be opened"),
        ("progress.jsonl", r"progress\.jsonl cannot be read"),
        ("experiment.json", None),
        ("heartbeat.json", r"heartbeat\.json cannot be written"),
        ("checkpoint.pt", "not a readable checkpoint"),
    ],
)
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, name: str, said: str | None) -> None:
    experiment = small("tsn", frames=1)
    (training_folder(tmp_path, experiment) / name).mkdir(parents=True)
    if said is None:
        assert run_experiment(experiment, tmp_path)
        return
    with pytest.raises(UserError, match=said):
        run_experiment(experiment, tmp_path)


def test_a_training_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its permissions were taken while those of its points were not; root, who may run this, needs a trick."""
    experiment = small("tsn", frames=1)
    folder = training_folder(tmp_path, experiment)
    make = tempfile.TemporaryFile

    def refuse(*, dir: Path) -> object:
        if dir == folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        return make(dir=dir)

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UserError, match=rf"{experiment.training_id} cannot be written to"):
        run_experiment(experiment, tmp_path)


def test_progress_that_is_no_text_loses_only_the_damaged_line(undisturbed, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    experiment, reference = undisturbed
    folder = training_folder(tmp_path, experiment)
    folder.mkdir(parents=True)
    for name in ("checkpoint.pt", "progress.jsonl"):
        (folder / name).write_bytes((training_folder(reference, experiment) / name).read_bytes())
    first, second, third = (folder / "progress.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "progress.jsonl").write_bytes(first + b"\xff\xfe" + second + third)
    run_experiment(experiment, tmp_path)
    assert (folder / "progress.jsonl").read_bytes() == first + third


def test_a_training_is_described_once_without_its_points(runs: Path) -> None:
    points = [read_result(path) for path in result_files(runs) if "/tsn/" in str(path)]
    assert len(points) == 2
    description = json.loads((training_folder(runs, points[0].experiment) / "experiment.json").read_text())
    assert description == points[0].experiment.training_dict() == points[1].experiment.training_dict()
    assert set(description) == {"schema", "data", "model", "training"}


def test_divergence_stops_with_the_step_and_a_suggestion(tmp_path: Path) -> None:
    wild = replace(small("tsn"), training=Training(batch=4, lr=1e30, warmup=0.0, clip_norm=1e30))
    with pytest.raises(UserError, match=r"step \d of 3.*training\.lr"):
        run_experiment(wild, tmp_path)


def test_logits_that_half_precision_cannot_hold_are_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def large(*arguments: Any) -> Any:
        model, clock = train(*arguments)
        with torch.no_grad():
            model.get_parameter("classifier.1.bias").fill_(1e6)
        return model, clock

    monkeypatch.setattr("bench.run.train", large)
    experiment = small("afnet", frames=2)
    point = replace(experiment, timing=replace(experiment.timing, dtype="float16"))
    with pytest.raises(UserError, match=r"Timed in float16.*bfloat16"):
        run_experiment(point, tmp_path)
    assert not list(tmp_path.glob("**/result.json"))


def test_cuda_where_there_is_none_is_refused(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    experiment = replace(small("tsn"), runtime=Runtime(device="cuda"))
    with pytest.raises(UserError, match=r"runtime\.device is 'cuda'"):
        run_experiment(experiment, tmp_path)


def test_frames_other_than_trained_are_refused_where_weights_are_tied(undisturbed: tuple[Experiment, Path]) -> None:
    """At once, not after the training: the experiment cannot be described."""
    experiment, _ = undisturbed
    with pytest.raises(UserError, match=r"evaluation\.frames is 8.*tied"):
        replace(experiment, evaluation=Evaluation(frames=8))


@pytest.mark.slow
def test_shuffling_frames_costs_a_temporal_model_its_accuracy(tmp_path: Path) -> None:
    """The data set's ceiling, measured: order told apart, no model passes one half; with order, TSM does."""
    from bench.data.batches import normalise
    from bench.training import set_up_torch, train

    experiment = small("tsm", frames=8)
    experiment = replace(
        experiment,
        data=Data(train_clips=16 * 230, val_clips=192),
        training=Training(nesterov=True, multipliers="from-scratch"),
        runtime=Runtime(threads=1, log_every=50),
    )
    set_up_torch(1, torch.device("cpu"))
    model, _ = train(experiment, tmp_path, torch.device("cpu"), lambda *_: None)
    digits = find_dataset("digits-in-motion").open(experiment.data)
    rng = np.random.default_rng(0)
    right = shuffled_right = total = 0
    for batch in ValidationClips(digits, clips=192, sampling=Sampling(8), batch=32).stream():
        order = rng.permuted(np.tile(np.arange(8), (len(batch), 1)), axis=1)
        shuffled = np.take_along_axis(batch.clips, order[:, :, None, None, None], axis=1)
        with torch.no_grad():
            for clips, add in ((batch.clips, 0), (shuffled, 1)):
                found = model(normalise(torch.from_numpy(clips))).logits.argmax(1).numpy() == batch.labels
                right += found.sum() * (1 - add)
                shuffled_right += found.sum() * add
        total += len(batch)
    ceiling = find_dataset("digits-in-motion").order_blind_ceiling
    assert ceiling is not None
    three_sigma = 3 * (ceiling * (1 - ceiling) / total) ** 0.5
    assert right / total > ceiling + three_sigma
    assert shuffled_right / total < ceiling + three_sigma


def test_videos_that_are_too_short_for_what_was_sampled_are_warned_of(undisturbed: tuple[Experiment, Path]) -> None:
    experiment, runs = undisturbed
    samples = read_samples(point_folder(runs, experiment) / "samples.parquet")
    assert _still(experiment, samples) == []
    times = samples.times.copy()
    times[[0, 2]] = 0
    (warning,) = _still(experiment, replace(samples, times=times))
    frames, videos = experiment.evaluation.frames, len(samples.video)
    assert warning == f"Of 2 of {videos} videos, which are too short, one frame was seen {frames} times."
    # Of two views one moves.
    assert _still(experiment, replace(samples, times=np.concatenate([times, samples.times], axis=1))) == []


def test_heartbeat_tells_the_stage(runs: Path) -> None:
    heartbeat = json.loads(next(runs.glob("*/*/*/heartbeat.json")).read_text())
    assert heartbeat["stage"] == "done" and heartbeat["step"] == heartbeat["steps"] == 3
    assert abs(time.time() - heartbeat["time"]) < 3600


def test_a_checkpoint_that_finds_no_room_is_named(tmp_path: Path) -> None:
    """torch hides the system's words behind an error of its own."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limit[1]))
    try:
        with pytest.raises(UserError, match=r"checkpoint.pt cannot be written \(File too large\)"):
            save_checkpoint(tmp_path / "checkpoint.pt", {"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert not list(tmp_path.iterdir())


def test_validations_see_clips_as_in_training_whatever_is_measured(tmp_path: Path) -> None:
    """So the best weights do not depend on which point of the training came first."""
    start = replace(small("tsn"), training=replace(small("tsn").training, validate=1))
    found = []
    for name, frames in (("first", 2), ("second", 4)):
        point = replace(start, evaluation=Evaluation(frames=frames, weights="best"))
        run_experiment(point, tmp_path / name)
        text = (training_folder(tmp_path / name, point) / "progress.jsonl").read_text()
        found.append([line for line in text.splitlines() if "top1" in line])
    assert found[0] == found[1] and len(found[0]) == 1


def test_a_forward_has_as_many_clips_however_many_views_a_video_has() -> None:
    several = {(1, 1): 32, (10, 1): 3, (10, 3): 1, (20, 3): 1}
    for (clips, crops), videos in several.items():
        point = small("tsn")
        object.__setattr__(point, "evaluation", replace(Evaluation(frames=4), clips=clips, crops=crops))
        assert validation(point).batch == videos


def test_every_stage_leaves_heartbeats_and_a_finished_training_none_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[tuple[str, int, int]] = []
    monkeypatch.setattr("bench.run.write_heartbeat", lambda folder, *facts: beats.append(facts[:3]))
    experiment = replace(small("tsn", frames=2), evaluation=Evaluation(batch=4))
    run_experiment(experiment, tmp_path)
    assert [stage for stage, *_ in dict.fromkeys((stage,) for stage, *_ in beats)] == [
        "start",
        "train",
        "evaluate",
        "time",
        "done",
    ]
    assert ("train", 3, 3) in beats and ("evaluate", 2, 2) in beats and ("time", 0, 1) in beats
    beats.clear()
    run_experiment(replace(experiment, evaluation=Evaluation(frames=4)), tmp_path)
    assert [beats[0][0], beats[1][0], beats[-1][0]] == ["start", "evaluate", "done"]


def test_heartbeats_are_throttled_within_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the seconds that a step took so far, in this stage of this process."""
    beats: list[tuple[str, int, float]] = []
    monkeypatch.setattr(
        "bench.run.write_heartbeat", lambda folder, stage, done, of, pace: beats.append((stage, done, pace))
    )
    clock = iter(range(10_000))
    monkeypatch.setattr("bench.run.time.monotonic", lambda: next(clock) / 100)
    report = beating(tmp_path, quiet)
    for done in range(301, 1001):
        report("train", done, 1000)
    assert beats[0] == ("train", 301, 0.0) and beats[-1][:2] == ("train", 1000) and 10 < len(beats) < 20
    assert all(pace == pytest.approx(0.01) for _, _, pace in beats[1:])
    report("evaluate", 1, 3)
    assert beats[-1] == ("evaluate", 1, 0.0)
