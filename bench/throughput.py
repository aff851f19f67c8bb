"""Time of the forward: dense, masked and skipped, on real clips, in turns, raw samples kept.

`offline` is a whole batch at once; `single_stream` is one clip after another (MLPerf's names). Within each round every
forward runs once, in an order that rotates, so that a drift of the machine falls on all of them alike and the ratio of
two of them within a round is free of it. One of them runs twice a round, under two names: how far these are apart (A/A)
is how far apart any two may be by chance.
"""

from __future__ import annotations

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
from bench.statistics import quantile_interval

Input = tuple[Tensor, Answers | None]
Forward = Callable[[], Any]

# Warm-up ends where, for every forward, the medians of this many rounds and of as many before agree within STABLE.
WINDOW = 4
STABLE = 0.05
# A point whose middle half spreads wider than this share of its median is marked noisy.
NOISY = 0.05
AGAIN = "again"


@dataclass(frozen=True)
class Turns:
    """What taking turns gave.

    Attributes:
        samples: seconds of each forward, a sample a round.
        warmup_rounds: rounds before these.
        stable: whether they ended because times had settled, and not because time was up.
    """

    samples: dict[str, list[float]]
    warmup_rounds: int
    stable: bool


def take_turns(forwards: Mapping[str, Forward], device: torch.device, *, rounds: int, warmup: float) -> Turns:
    """Time forwards in turns.

    Args:
        warmup: seconds after which measuring starts in any case; it starts earlier where times have settled.
    """
    early: dict[str, list[float]] = {name: [] for name in forwards}
    stable, spent = False, 0.0
    while not stable and (spent < warmup or len(next(iter(early.values()))) < WINDOW):
        _round(forwards, device, len(next(iter(early.values()))), early)
        spent = sum(map(sum, early.values()))
        stable = all(map(settled, early.values()))
    samples: dict[str, list[float]] = {name: [] for name in forwards}
    for number in range(rounds):
        _round(forwards, device, number, samples)
    return Turns(samples, len(next(iter(early.values()))), stable)


def _round(forwards: Mapping[str, Forward], device: torch.device, number: int, into: dict[str, list[float]]) -> None:
    names = list(forwards)
    first = number % len(names)
    for name in names[first:] + names[:first]:
        into[name].append(seconds(forwards[name], device))


def settled(samples: Sequence[float]) -> bool:
    """Whether the last medians agree."""
    if len(samples) < 2 * WINDOW:
        return False
    before, after = np.median(samples[-2 * WINDOW : -WINDOW]), np.median(samples[-WINDOW:])
    return bool(abs(after / before - 1) <= STABLE)


def seconds(forward: Forward, device: torch.device) -> float:
    """Of one call: by events on the device's own clock, or the processor's."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        forward()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3
    started = time.perf_counter()
    forward()
    return time.perf_counter() - started


def summarise(samples: Sequence[float]) -> dict[str, Any]:
    """Quantiles of seconds with 95% intervals, and the samples they come from.

    A quantile's interval is by order statistics, with no assumption about the distribution; null where the samples are
    too few to bound it.
    """
    low, median, high, p90, p99 = np.percentile(samples, [25, 50, 75, 90, 99]).tolist()
    return {
        "median": median,
        "median_interval": quantile_interval(samples, 0.5),
        "quartiles": [low, high],
        "p90": p90,
        "p90_interval": quantile_interval(samples, 0.9),
        "p99": p99,
        "p99_interval": quantile_interval(samples, 0.99),
        "noisy": bool((high - low) / median > NOISY),
        "samples": [round(sample, 9) for sample in samples],
    }


@dataclass(frozen=True)
class Network:
    """One network with what it is timed on.

    Attributes:
        clips: (N, T, 3, H, W) real clips, normalised, on the model's device; offline takes all of them, single_stream
            one a round, in turn.
        answers: their answer key, where the model wants it.
        skips: whether its executions differ; where not, only "dense" is timed.
    """

    model: VideoModel
    clips: Tensor
    answers: Answers | None
    skips: bool

    @property
    def executions(self) -> tuple[Execution, ...]:
        return EXECUTIONS if self.skips else EXECUTIONS[:1]


def time_networks(networks: Sequence[Network], timing: Timing) -> list[dict[str, Any]]:
    """Time networks on their device, all of their executions in turns with one another.

    Returns:
        For the record of each: per scenario and execution, raw seconds per forward and their summary.

    Raises:
        UserError: where not even one clip fits into memory.
    """
    before = [(each.model.execution, each.model.answers) for each in networks]
    try:
        whole = [[largest_batch(each)] for each in networks]
        single = [one_by_one(each.clips, each.answers) for each in networks]
        offline, alone = (time_batches(networks, batches, timing) for batches in (whole, single))
    finally:
        for each, (execution, answers) in zip(networks, before, strict=True):
            each.model.execution, each.model.answers = execution, answers
    return [
        {
            "unit": "seconds per forward",
            "part": "model only: clips are on the device, decoded and normalised",
            "requested_batch": len(each.clips),
            "in_turns_with": len(networks),
            "scenarios": {"offline": one, "single_stream": other},
        }
        for each, one, other in zip(networks, offline, alone, strict=True)
    ]


def largest_batch(network: Network) -> Input:
    """The clips, or the first half of them that fits into memory in every execution, halved as often as need be."""
    model, clips, answers = network.model, network.clips, network.answers
    while True:
        try:
            with torch.inference_mode():
                for model.execution in network.executions:
                    model.answers = answers
                    model(clips)
            return clips, answers
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        if len(clips) == 1:
            raise UserError(
                f"Not even one clip of shape {tuple(clips.shape[1:])} fits into the memory of {clips.device}; expected "
                "a smaller data.size, model.frames or backbone, or a device with more memory."
            )
        clips, answers = first_of((clips, answers), len(clips) // 2)
        if clips.is_cuda:
            torch.cuda.empty_cache()


def first_of(batch: Input, videos: int) -> Input:
    """The first clips of a batch, with their answer key."""
    clips, answers = batch
    return clips[:videos], answers and Answers(answers.informative[:videos], answers.regions[:videos])


def out_of_memory(error: BaseException) -> bool:
    """Whether it says so; torch's allocator on processors raises a plain RuntimeError."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def one_by_one(clips: Tensor, answers: Answers | None) -> list[Input]:
    """Batches of one clip."""
    if answers is None:
        return [(clip, None) for clip in clips.split(1)]
    keys = zip(answers.informative.split(1), answers.regions.split(1), strict=True)
    return [(clip, Answers(*key)) for clip, key in zip(clips.split(1), keys, strict=True)]


def time_batches(
    networks: Sequence[Network], batches: Sequence[Sequence[Input]], timing: Timing
) -> list[dict[str, dict[str, Any]]]:
    """Each network's executions, their seconds and summaries, taking turns; a batch a round, in turn.

    The last execution also has, as `again`, the median ratio of its second run in a round to its first.
    """
    forwards: dict[str, Forward] = {}
    for number, (network, own) in enumerate(zip(networks, batches, strict=True)):
        for name in (*network.executions, AGAIN):
            execution = network.executions[-1] if name == AGAIN else name
            forwards[f"{number} {name}"] = forward_of(network.model, own, execution)  # type: ignore[arg-type]
    with torch.inference_mode():
        turns = take_turns(forwards, batches[0][0][0].device, rounds=timing.rounds, warmup=timing.warmup)
    settled_how = {"warmup_rounds": turns.warmup_rounds, "stable": turns.stable}
    found = []
    for number, (network, own) in enumerate(zip(networks, batches, strict=True)):
        samples = {name: turns.samples[f"{number} {name}"] for name in (*network.executions, AGAIN)}
        again = np.median(np.array(samples.pop(AGAIN)) / np.array(samples[network.executions[-1]]))
        facts = {"batch": len(own[0][0]), **settled_how}
        times = {name: {**facts, **summarise(seconds)} for name, seconds in samples.items()}
        times[network.executions[-1]]["again"] = float(again)
        found.append(times)
    return found


def forward_of(model: VideoModel, batches: Sequence[Input], execution: Execution) -> Forward:
    """A forward of the next of these batches at each call, from the first."""
    calls = 0

    def forward() -> None:
        nonlocal calls
        clips, model.answers = batches[calls % len(batches)]
        calls += 1
        model.execution = execution
        model(clips)

    return forward
