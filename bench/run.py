"""One experiment from description to record: train, evaluate, count, time, write."""

from __future__ import annotations

import contextlib
import copy
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from afnet.contract import VideoModel
from bench.attempts import attempt, read_attempts
from bench.data.batches import Batch, present
from bench.data.catalogue import find_dataset
from bench.distributed import Team, team
from bench.environment import available_cores, describe_device, describe_environment
from bench.errors import UserError
from bench.evaluation import evaluate, first_clips, preview_clips, score, validation
from bench.experiment import Evaluation, Experiment
from bench.files import locked, make_folder, replacing, write_json
from bench.macs import CostModel, cost_model, verify
from bench.methods import find_method
from bench.metrics import compute_metrics
from bench.record import (
    EVALUATED,
    Result,
    find_result,
    point_folder,
    read_evaluated,
    read_result,
    training_folder,
    write_evaluated,
    write_heartbeat,
    write_names,
)
from bench.samples import Samples, write_samples
from bench.timing import Point, measure_times
from bench.training import Report, Score, set_up_torch, train, workers_of
from bench.training_state import State
from bench.witnesses import reconcile

PREVIEW_CLIPS = 6
# Clips that the cost model is read off and held against, and those that every counter counts.
VERIFIED_CLIPS = 8
COUNTED_CLIPS = 2
# Share of videos with the same decision from which a learned policy counts as none.
COLLAPSED = 0.99


# Seconds between two heartbeats of one stage: each is flushed to disk.
HEARTBEAT_SECONDS = 0.5


def quiet(stage: str, done: int, of: int) -> None:
    """A report that nobody reads."""


def beating(folder: Path, report: Report) -> Report:
    """A report that leaves heartbeats in a training's folder: at the start and the end of a stage, and between."""
    last_stage, last_time = "", 0.0
    first = (0.0, 0)  # sign of this stage: when, and how many steps were done

    def beat(stage: str, done: int, of: int) -> None:
        nonlocal last_stage, last_time, first
        now = time.monotonic()
        if stage != last_stage or done < first[1]:
            first = (now, done)
        if stage != last_stage or done == of or now - last_time >= HEARTBEAT_SECONDS:
            last_stage, last_time = stage, now
            began, before = first
            write_heartbeat(folder, stage, done, of, (now - began) / (done - before) if done > before else 0.0)
        report(stage, done, of)

    return beat


def run_experiment(experiment: Experiment, runs: Path, report: Report = quiet) -> Result:
    """Bring one point to its record, taking up whatever an earlier run left; a finished point is only read.

    Raises:
        UserError: for a folder, device, checkpoint or record that cannot be used, or logits that are not finite.
    """
    return run_points([experiment], runs, report)[0]


def run_points(points: Sequence[Experiment], runs: Path, report: Report = quiet) -> list[Result]:
    """Bring points of one training to their records: trained or loaded once, timed in turns with one another.

    Args:
        points: with the same training_id; those with the same timing settings take turns.

    Raises:
        UserError: as run_experiment; none of the points that are timed together is recorded then.
    """
    return _run(points, runs, report, timed=True)


def evaluate_points(points: Sequence[Experiment], runs: Path, report: Report = quiet) -> None:
    """As `run_points`, but for times: what is found is kept, and `run_points` goes on from there, on another machine
    if need be.
    """
    _run(points, runs, report, timed=False)


def _run(points: Sequence[Experiment], runs: Path, report: Report, *, timed: bool) -> list[Result]:
    """The records, none where times are not wanted, in all processes."""
    first = points[0]
    assert {point.training_id for point in points} == {first.training_id}
    device = choose_device(first, timed)
    folder = training_folder(runs, first)
    for path in (folder, *(point_folder(runs, point) for point in points)):
        make_folder(path)
    with team(device, first.training_id) as crew, contextlib.ExitStack() as stack:
        with crew.together():
            if crew.is_first:
                stack.enter_context(locked(folder, f"Another process works on {folder}; waiting for it."))
            # The first process says what there is to do, once it holds the folder.
            missing = [point for point in points if crew.is_first and _is_missing(point, runs, timed)]
        missing = crew.first(missing)
        if missing:
            set_up_torch(first.runtime.threads or available_cores(), device)
            report = beating(folder, report) if crew.is_first else quiet
            with contextlib.ExitStack() as attempts:
                with crew.together():
                    if crew.is_first:
                        write_heartbeat(folder, "start", 0, 1)
                        attempts.enter_context(attempt(folder, [point.experiment_id for point in missing]))
                _bring(missing, runs, device, crew, report, timed)
        # All of them wait for the records, which are where the first one's folder is.
        with crew.together():
            if missing and crew.is_first:
                write_heartbeat(folder, "done", first.steps, first.steps)
            paths = [point_folder(runs, point) / "result.json" for point in points if timed and crew.is_first]
            results = [read_result(path) for path in paths]
        return crew.first(results)


def _is_missing(point: Experiment, runs: Path, timed: bool) -> bool:
    if find_result(runs, point) is not None:
        return False
    return timed or read_evaluated(point_folder(runs, point), point) is None


def _bring(
    points: Sequence[Experiment], runs: Path, device: torch.device, crew: Team, report: Report, timed: bool
) -> None:
    """Train, by all processes, then measure: evaluation by all of them, the rest by the first one, alone."""
    first = points[0]
    folder = training_folder(runs, first)

    # As trained, whatever is measured of it: which weights are the best must not depend on which point came first.
    plain = replace(first, evaluation=Evaluation(batch=first.evaluation.batch))

    def validate(model: VideoModel) -> Score:
        with crew.together():
            clips = validation(plain, on_device=device.type != "cpu")
        return score(model, clips, device, report, crew, workers_of(first))

    model, trained = train(first, folder, device, report, crew, validate)
    ready = []
    for experiment in points:
        point, own = point_folder(runs, experiment), _at_point(copy.deepcopy(model), experiment, trained)
        with crew.together():
            first_batch = present(own, first_clips(experiment, VERIFIED_CLIPS), device)
            cost = cost_model(own, first_batch)
            known = crew.is_first and read_evaluated(point, experiment) is not None
        if not crew.first(known):
            started = time.perf_counter()
            with crew.together():
                verify(own, first_batch, cost)
            facts = _evaluate(own, cost, experiment, point, device, crew, report)
            facts["left_out"]["train"] = trained.bad
            facts["stages"] = {
                **_seconds(trained),
                "evaluation": round(time.perf_counter() - started, 3),
                "device": describe_device(device.type)["name"],
                "processes": crew.size,
            }
            with crew.together():
                if crew.is_first:
                    facts["names"] = _write_names(runs, experiment)
                    write_evaluated(point, experiment, facts)
        ready.append(Point(own, experiment, cost))
    with crew.together():
        if crew.is_first and timed:
            for timing in dict.fromkeys(each.experiment.timing for each in ready):
                _time([each for each in ready if each.experiment.timing == timing], runs, report)


def _write_names(runs: Path, experiment: Experiment) -> str:
    source = find_dataset(experiment.data.dataset).open(experiment.data)
    videos = [source.name("val", number) for number in range(experiment.data.val_clips)]
    return write_names(runs, experiment, source.class_names, videos)


def _seconds(trained: State) -> dict[str, Any]:
    share = round(trained.loading / trained.seconds, 4) if trained.seconds else 0.0
    return {"unit": "seconds", "training": round(trained.seconds, 3), "training_loader_share": share}


def choose_device(experiment: Experiment, timed: bool = True) -> torch.device:
    """Where to train and evaluate.

    Args:
        timed: whether the times are measured here too.

    Raises:
        UserError: when CUDA is asked for, here or for timing, and there is none.
    """
    wanted = experiment.runtime.device
    check_device(wanted, "runtime.device")
    if timed:
        check_device(experiment.timing.device, "timing.device")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def check_device(device: str, field: str) -> None:
    """UserError where CUDA is asked for and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{field} is 'cuda', but torch sees no CUDA device here. Use 'cpu', or run where there is one.")


def _time(ready: Sequence[Point], runs: Path, report: Report) -> None:
    """Time points in turns, and write their result.json."""
    report("time", 0, 1)
    started = time.perf_counter()
    timings = measure_times(ready)
    timed = (time.perf_counter() - started) / len(ready)
    report("time", 1, 1)
    for point, timing in zip(ready, timings, strict=True):
        folder = point_folder(runs, point.experiment)
        facts = read_evaluated(folder, point.experiment)
        if facts is None:
            raise UserError(f"{folder / EVALUATED} was moved away or damaged while its point was timed; run it again.")
        values = {
            **facts,
            "timing": timing,
            "stages": {**facts["stages"], "timing": round(timed, 3)},
            "environment": describe_environment(point.experiment.timing.device),
            "attempts": [asdict(each) for each in read_attempts(training_folder(runs, point.experiment))],
        }
        # The last file to appear: its presence says that all the others are there.
        write_json(folder / "result.json", values)
        (folder / EVALUATED).unlink()


def _evaluate(
    model: VideoModel,
    cost: CostModel,
    experiment: Experiment,
    point: Path,
    device: torch.device,
    crew: Team,
    report: Report,
) -> dict[str, Any]:
    """The deterministic part of a point's record; the first process writes its other files."""
    with crew.together():
        witnesses = reconcile(model, present(model, first_clips(experiment, COUNTED_CLIPS), device))
        clips = validation(experiment, on_device=device.type != "cpu")
    samples, bad = evaluate(model, clips, experiment, cost, device, report, crew)
    with crew.together():
        preview = preview_clips(experiment, samples, PREVIEW_CLIPS)
        if crew.is_first:
            write_samples(point / "samples.parquet", samples)
            write_preview(point / "clips.jpg", preview)
    metrics = compute_metrics(samples)
    return {
        "training_id": experiment.training_id,
        "experiment": experiment.to_dict(),
        "metrics": metrics,
        "warnings": [*_collapsed(experiment, metrics), *_still(experiment, samples)],
        "left_out": {"train": {}, "val": bad},
        "macs": {**cost.to_dict(), "views": clips.sampling.views, "witnesses": witnesses},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "preview": {"file": "clips.jpg", "videos": preview.videos.tolist()},
    }


def _collapsed(experiment: Experiment, metrics: dict[str, Any]) -> list[str]:
    """What a reader of the metrics should know of a learned policy: that it decides the same for every video."""
    decides = getattr(experiment.model.settings, "navigation", "learned") == "learned"
    share = metrics.get("commonest_decision", 0.0)
    # Nothing left out is no decision, where frames are all that is decided on.
    everything = metrics.get("kept_ratio") == 1.0 and experiment.model.method in ("afnet", "scsampler", "ocsampler")
    ignored = experiment.evaluation.execution == "dense"
    learns = find_method(experiment.model.method).learns and decides and not ignored
    if not learns or everything or share < COLLAPSED:
        return []
    return [f"The policy collapsed: {share:.1%} of the videos got one and the same decision."]


def _still(experiment: Experiment, samples: Samples) -> list[str]:
    """Or of the videos: that some are too short for what was sampled, and stood still."""
    frames, videos = experiment.evaluation.frames, len(samples.video)
    times = samples.times.reshape(videos, -1, frames)
    still = int((times == times[:, :, :1]).all(axis=(1, 2)).sum())
    if frames == 1 or not still:
        return []
    return [f"Of {still:,} of {videos:,} videos, which are too short, one frame was seen {frames} times."]


def _at_point(model: VideoModel, experiment: Experiment, trained: State) -> VideoModel:
    """Set the weights and knobs of the inference point on a trained model."""
    evaluation = experiment.evaluation
    if evaluation.weights == "best":
        trained.load_best(model)
    if evaluation.frames != experiment.model.frames:
        model.set_frames(evaluation.frames)
    model.execution = evaluation.execution  # type: ignore[assignment]
    method = find_method(experiment.model.method)
    if method.exits:
        model.threshold = evaluation.threshold  # type: ignore[assignment]
    if method.draws:
        model.gumbel_noise = evaluation.decisions == "noisy"  # type: ignore[assignment]
    if evaluation.budget:
        model.budget = evaluation.budget  # type: ignore[assignment]
    return model


def write_preview(path: Path, batch: Batch) -> None:
    """A sheet of clips as the model was given them: a row a clip, a column a frame."""
    count, frames, height, width, _ = batch.clips.shape  # (n, T, H, W, 3)
    sheet = np.ascontiguousarray(batch.clips.transpose(0, 2, 1, 3, 4)).reshape(count * height, frames * width, 3)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=90, subsampling=0)
    with replacing(path) as file:
        file.write(buffer.getvalue())
