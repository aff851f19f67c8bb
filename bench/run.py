"""One experiment from description to record: train, evaluate, count, time, write."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from afnet.contract import VideoModel
from afnet.inference import optimize_for_inference
from bench.data.loader import Batch, present
from bench.environment import available_cores, describe_device, describe_environment
from bench.errors import UserError
from bench.evaluation import evaluate, first_clips, validation
from bench.experiment import SCHEMA, Experiment
from bench.files import locked, make_folder, replacing, write_json
from bench.macs import CostModel, cost_model, verify
from bench.methods import find_method
from bench.metrics import compute_metrics
from bench.record import Result, find_result, point_folder, read_result, training_folder, write_heartbeat
from bench.samples import write_samples
from bench.throughput import time_executions
from bench.training import Clock, Report, set_up_torch, train

PREVIEW_CLIPS = 6
# Share of videos with the same decision from which a learned policy counts as none.
COLLAPSED = 0.99


# Seconds between two heartbeats of one stage: each is flushed to disk.
HEARTBEAT_SECONDS = 0.5


def quiet(stage: str, done: int, of: int) -> None:
    """A report that nobody reads."""


def beating(folder: Path, report: Report) -> Report:
    """A report that leaves heartbeats in a training's folder: at the start and the end of a stage, and between."""
    last_stage, last_time = "", 0.0

    def beat(stage: str, done: int, of: int) -> None:
        nonlocal last_stage, last_time
        now = time.monotonic()
        if stage != last_stage or done == of or now - last_time >= HEARTBEAT_SECONDS:
            last_stage, last_time = stage, now
            write_heartbeat(folder, stage, done, of)
        report(stage, done, of)

    return beat


def run_experiment(experiment: Experiment, runs: Path, report: Report = quiet) -> Result:
    """Bring one point to its record, taking up whatever an earlier run left; a finished point is only read.

    Raises:
        UserError: for a folder, device, checkpoint or record that cannot be used, or logits that are not finite.
    """
    device = choose_device(experiment)
    folder, point = training_folder(runs, experiment), point_folder(runs, experiment)
    make_folder(folder)
    make_folder(point)
    with locked(folder, f"Another process works on {folder}; waiting for it."):
        done = find_result(runs, experiment)
        if done is not None:
            return done
        set_up_torch(experiment.runtime.threads or available_cores(), device)
        report = beating(folder, report)
        model, clock = train(experiment, folder, device, report)
        values = _measure(model, experiment, point, device, clock, report)
        # The last file to appear: its presence says that all the others are there.
        write_json(point / "result.json", values)
        write_heartbeat(folder, "done", experiment.steps, experiment.steps)
    return read_result(point / "result.json")


def choose_device(experiment: Experiment) -> torch.device:
    """Where to train and evaluate.

    Raises:
        UserError: when CUDA is asked for, here or for timing, and there is none.
    """
    wanted = experiment.runtime.device
    check_device(wanted, "runtime.device")
    check_device(experiment.timing.device, "timing.device")
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def check_device(device: str, field: str) -> None:
    """UserError where CUDA is asked for and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{field} is 'cuda', but torch sees no CUDA device here. Use 'cpu', or run where there is one.")


def _measure(
    model: VideoModel, experiment: Experiment, point: Path, device: torch.device, clock: Clock, report: Report
) -> dict[str, Any]:
    """Everything of result.json; writes the other files of the point."""
    started = time.perf_counter()
    model = _at_point(model, experiment)
    batches = validation(experiment)
    first = present(model, batches[0], device)
    cost = cost_model(model, first)
    verify(model, first, cost)
    samples = evaluate(model, batches, experiment, cost, device, report)
    evaluated = time.perf_counter()
    report("time", 0, 1)
    timing = _time(model, experiment, cost)
    report("time", 1, 1)
    write_samples(point / "samples.parquet", samples)
    preview = first_clips(experiment, PREVIEW_CLIPS)
    write_preview(point / "clips.jpg", preview)
    metrics = compute_metrics(samples)
    return {
        "schema": SCHEMA,
        "training_id": experiment.training_id,
        "experiment_id": experiment.experiment_id,
        "experiment": experiment.to_dict(),
        "metrics": metrics,
        "warnings": _warnings(experiment, metrics),
        "macs": {**cost.to_dict(), "views": 1},
        "timing": timing,
        "stages": {
            "unit": "seconds",
            "training": round(clock.total, 3),
            "training_loader_share": round(clock.loading / clock.total, 4) if clock.total else 0.0,
            "evaluation": round(evaluated - started, 3),
            "timing": round(time.perf_counter() - evaluated, 3),
        },
        "environment": describe_environment(device.type),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "preview": {"file": "clips.jpg", "videos": preview.videos.tolist()},
    }


def _warnings(experiment: Experiment, metrics: dict[str, Any]) -> list[str]:
    """What a reader of the metrics should know: a learned policy that decides the same for every video."""
    decides = getattr(experiment.model.settings, "navigation", "learned") == "learned"
    share = metrics.get("commonest_decision", 0.0)
    # Nothing left out is no decision, where frames are all that is decided on.
    everything = metrics.get("kept_ratio") == 1.0 and experiment.model.method in ("afnet", "scsampler", "ocsampler")
    ignored = experiment.evaluation.execution == "dense"
    learns = find_method(experiment.model.method).learns and decides and not ignored
    if not learns or everything or share < COLLAPSED:
        return []
    return [f"The policy collapsed: {share:.1%} of the videos got one and the same decision."]


def _at_point(model: VideoModel, experiment: Experiment) -> VideoModel:
    """Set the knobs of the inference point on a trained model."""
    evaluation = experiment.evaluation
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


def _time(model: VideoModel, experiment: Experiment, cost: CostModel) -> dict[str, Any]:
    """Time the point on the first validation clips; the multiply-adds of the network that is timed stand beside it."""
    timing = experiment.timing
    device, dtype = torch.device(timing.device), getattr(torch, timing.dtype)
    batch = first_clips(experiment, timing.batch)
    optimised = optimize_for_inference(model) if timing.optimised else None  # before the cast: folding rounds
    model = model.to(device=device, dtype=dtype)
    clips = present(model, batch, device, dtype)
    with torch.inference_mode():
        if not model(clips).logits.isfinite().all():
            raise UserError(
                f"Timed in {timing.dtype}, the network's logits are not finite, so its decisions mean nothing; use "
                "a timing.dtype that holds its values: float32, or bfloat16 instead of float16."
            )
    if optimised is not None:
        model = optimised.to(device=device, dtype=dtype)
        clips = present(model, batch, device, dtype)
    macs = verify(model, clips, cost)
    return {
        **time_executions(model, clips, timing, skips=find_method(experiment.model.method).skips),
        "optimised": timing.optimised,
        "device": describe_device(timing.device),
        "macs_per_video": macs / len(clips),
    }


def write_preview(path: Path, batch: Batch) -> None:
    """A sheet of clips as the model was given them: a row a clip, a column a frame."""
    count, frames, height, width, _ = batch.clips.shape  # (n, T, H, W, 3)
    sheet = np.ascontiguousarray(batch.clips.transpose(0, 2, 1, 3, 4)).reshape(count * height, frames * width, 3)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=90, subsampling=0)
    with replacing(path) as file:
        file.write(buffer.getvalue())
