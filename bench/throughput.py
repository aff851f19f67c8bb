"""Time of the forward: dense, masked and skipped, on real clips, interleaved, raw samples kept.

`offline` is a whole batch at once; `single_stream` is one clip after another. The executions take turns within each
round, so that a drift of the machine falls on all of them alike, and the ratio of two of them within a round is free
of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afnet.contract import EXECUTIONS, Answers, VideoModel
from bench.experiment import Timing

Input = tuple[Tensor, Answers | None]

WARMUP_ROUNDS = 3
# A point whose middle half spreads wider than this share of its median is marked noisy.
NOISY = 0.05


def time_executions(model: VideoModel, clips: Tensor, timing: Timing, *, skips: bool) -> dict[str, Any]:
    """Time a model on its device.

    Args:
        clips: (N, T, 3, H, W) real clips, normalised, on the model's device; offline takes all of them, single_stream
            one a round, in turn.
        skips: whether the executions differ; where not, only "dense" is timed.

    Returns:
        For the record: per scenario and execution, raw seconds per forward and their summary.
    """
    executions = EXECUTIONS if skips else EXECUTIONS[:1]
    before = model.execution
    try:
        scenarios = {
            "offline": time_batches(model, [(clips, model.answers)], executions, timing.rounds),
            "single_stream": time_batches(model, _one_by_one(clips, model.answers), executions, timing.rounds),
        }
    finally:
        model.execution = before
    return {
        "unit": "seconds per forward",
        "dtype": timing.dtype,
        "layout": "channels_last",
        "part": "model only: clips are on the device, decoded and normalised",
        "scenarios": scenarios,
    }


def _one_by_one(clips: Tensor, answers: Answers | None) -> list[Input]:
    if answers is None:
        return [(clip, None) for clip in clips.split(1)]
    keys = zip(answers.informative.split(1), answers.regions.split(1), strict=True)
    return [(clip, Answers(*key)) for clip, key in zip(clips.split(1), keys, strict=True)]


def time_batches(
    model: VideoModel, batches: Sequence[Input], executions: Sequence[str], rounds: int
) -> dict[str, dict[str, Any]]:
    """Raw seconds of each execution and their summary, taking turns; a batch a round, in turn."""
    seconds: dict[str, list[float]] = {execution: [] for execution in executions}
    size = len(batches[0][0])
    with torch.inference_mode():
        for number in range(WARMUP_ROUNDS + rounds):
            clips, model.answers = batches[number % len(batches)]
            for execution in executions:
                model.execution = execution  # type: ignore[assignment]
                elapsed = _timed(model, clips)
                if number >= WARMUP_ROUNDS:
                    seconds[execution].append(elapsed)
    return {execution: {"batch": size, **summarise(samples)} for execution, samples in seconds.items()}


def _timed(model: VideoModel, clips: Tensor) -> float:
    if clips.is_cuda:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        model(clips)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3
    started = time.perf_counter()
    model(clips)
    return time.perf_counter() - started


def summarise(samples: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and 90th percentile of seconds, with the samples they come from."""
    low, median, high, p90 = np.percentile(samples, [25, 50, 75, 90]).tolist()
    return {
        "median": median,
        "quartiles": [low, high],
        "p90": p90,
        "noisy": bool((high - low) / median > NOISY),
        "samples": [round(sample, 9) for sample in samples],
    }
