"""Time of the forward: dense, masked and skipped, on real clips, in turns, raw samples kept.

`offline` is a whole batch at once; `single_stream` is one clip after another (MLPerf's names). Within each round every
forward runs once, in an order drawn anew, so that a drift of the machine and what a forward leaves in caches fall on
all of them alike, and the ratio of two of them within a round is free of it. One of them runs twice a round: how far
its two runs are apart (A/A) is how far apart any two may be by chance.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from afnet.contract import EXECUTIONS, Answers, Execution, VideoModel
from bench.errors import UserError
from bench.experiment import Timing
from bench.statistics import NOISY, ratios, spread, summarise

Input = tuple[Tensor, Answers | None]
Forward = Callable[[int], Any]
"""A forward on the input of a round, by the round's number."""

# Warm-up ends where, for every forward, the medians of this many rounds and of as many before agree within STABLE.
WINDOW = 4
STABLE = 0.05
AGAIN = "again"


@dataclass(frozen=True)
class Turns:
    """What taking turns gave.

    Attributes:
        samples: seconds of each forward, a sample a round.
        warmup_rounds: rounds before these.
        stable: whether times had settled when those ended; None where they were too few to tell.
    """

    samples: dict[str, list[float]]
    warmup_rounds: int
    stable: bool | None


def take_turns(forwards: Mapping[str, Forward], device: torch.device, *, rounds: int, warmup: float) -> Turns:
    """Time forwards in turns.

    Args:
        warmup: seconds after which measuring starts in any case, but for WINDOW rounds; it starts earlier where times
            have settled.
    """
    early: dict[str, list[float]] = {name: [] for name in forwards}
    done, spent, stable = 0, 0.0, False
    while not stable and (spent < warmup or done < WINDOW):
        _round(forwards, device, done, early)
        done += 1
        spent = sum(map(sum, early.values()))
        stable = all(map(settled, early.values()))
    samples: dict[str, list[float]] = {name: [] for name in forwards}
    for number in range(rounds):
        _round(forwards, device, number, samples)
    return Turns(samples, done, stable if done >= 2 * WINDOW else None)


def _round(forwards: Mapping[str, Forward], device: torch.device, number: int, into: dict[str, list[float]]) -> None:
    for name in random.Random(number).sample(list(forwards), len(forwards)):
        into[name].append(seconds(forwards[name], number, device))


def settled(samples: Sequence[float]) -> bool:
    """Whether the last medians agree."""
    if len(samples) < 2 * WINDOW:
        return False
    before, after = np.median(samples[-2 * WINDOW : -WINDOW]), np.median(samples[-WINDOW:])
    return bool(abs(after / before - 1) <= STABLE)


def seconds(forward: Forward, number: int, device: torch.device) -> float:
    """Of one call: by events on the device's own clock, or the processor's."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        forward(number)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3
    started = time.perf_counter()
    forward(number)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Network:
    """One network with what it is timed on.

    Attributes:
        clips: (N, T, 3, H, W) real clips, normalised, on the model's device; offline takes all of them, single_stream
            clip number r % N in round r.
        answers: their answer key, where the model wants it.
        executions: that are timed.
        own: of these, the one in which the point was evaluated.
    """

    model: VideoModel
    clips: Tensor
    answers: Answers | None
    executions: tuple[Execution, ...] = EXECUTIONS
    own: Execution = "skipped"


def time_networks(networks: Sequence[Network], timing: Timing) -> list[dict[str, Any]]:
    """Time networks on their device, all of their executions in turns with one another.

    Returns:
        For the record of each: per scenario and execution, raw seconds per forward and their summary.
    """
    before = [(each.model.execution, each.model.answers) for each in networks]
    try:
        offline = time_batches(networks, [[(each.clips, each.answers)] for each in networks], timing)
        alone = time_batches(networks, [one_by_one(each.clips, each.answers) for each in networks], timing)
    finally:
        for each, (execution, answers) in zip(networks, before, strict=True):
            each.model.execution, each.model.answers = execution, answers
    return [
        {
            "unit": "seconds per forward",
            "part": "model only: clips are on the device, decoded and normalised",
            "in_turns_with": len(networks),
            "scenarios": {"offline": one, "single_stream": other},
        }
        for one, other in zip(offline, alone, strict=True)
    ]


def time_batches(
    networks: Sequence[Network], batches: Sequence[Sequence[Input]], timing: Timing
) -> list[dict[str, dict[str, Any]]]:
    """Each network's executions, their seconds and summaries, taking turns; a batch a round, in turn.

    The network's own execution also has the samples of its second run in a round, and as `again` the median ratio of
    the two. Where a network's batches differ in their work, it is this ratio's spread that says whether it is noisy.
    """
    forwards: dict[str, Forward] = {}
    for number, (network, inputs) in enumerate(zip(networks, batches, strict=True)):
        for name in network.executions:
            forwards[f"{number} {name}"] = forward_of(network.model, inputs, name)
        forwards[f"{number} {AGAIN}"] = forward_of(network.model, inputs, network.own)
    with torch.inference_mode():
        turns = take_turns(forwards, batches[0][0][0].device, rounds=timing.rounds, warmup=timing.warmup)
    facts = {"warmup_rounds": turns.warmup_rounds, "stable": turns.stable}
    found = []
    for number, (network, inputs) in enumerate(zip(networks, batches, strict=True)):
        samples = {name: turns.samples[f"{number} {name}"] for name in network.executions}
        times: dict[str, dict[str, Any]] = {
            name: {"batch": len(inputs[0][0]), **facts, **summarise(values)} for name, values in samples.items()
        }
        again = turns.samples[f"{number} {AGAIN}"]
        apart = ratios(again, samples[network.own])
        own = times[network.own]
        own |= {"again": float(np.median(apart)), "again_samples": [round(sample, 9) for sample in again]}
        if len(inputs) > 1:
            own["noisy"] = spread(apart) > NOISY
        found.append(times)
    return found


def forward_of(model: VideoModel, batches: Sequence[Input], execution: Execution) -> Forward:
    """A forward in this execution of the batch whose turn it is in a round."""

    def forward(number: int) -> None:
        clips, model.answers = batches[number % len(batches)]
        model.execution = execution
        model(clips)

    return forward


def one_by_one(clips: Tensor, answers: Answers | None) -> list[Input]:
    """Batches of one clip."""
    if answers is None:
        return [(clip, None) for clip in clips.split(1)]
    keys = zip(answers.informative.split(1), answers.regions.split(1), strict=True)
    return [(clip, Answers(*key)) for clip, key in zip(clips.split(1), keys, strict=True)]


def first_of(batch: Input, videos: int) -> Input:
    """The first clips of a batch, with their answer key."""
    clips, answers = batch
    return clips[:videos], answers and Answers(answers.informative[:videos], answers.regions[:videos])


def largest(batch: Input, attempt: Callable[[Input], Any]) -> Input:
    """The batch, or the first half of it with which the attempt fits into memory, halved as often as need be.

    Raises:
        UserError: where not even one clip does.
    """
    while True:
        try:
            attempt(batch)
            return batch
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        clips = batch[0]
        if len(clips) == 1:
            raise UserError(
                f"Not even one clip of shape {tuple(clips.shape[1:])} fits into the memory of {clips.device}; expected "
                "a smaller data.size, model.frames or backbone, or a device with more memory."
            )
        batch = first_of(batch, len(clips) // 2)
        if clips.is_cuda:
            torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether it says so; torch's allocator on processors, cuDNN and cuBLAS raise a plain RuntimeError."""
    said = ("can't allocate memory", "STATUS_ALLOC_FAILED", "out of memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(words in str(error) for words in said)
