"""Everything a record says about time: the network as it is deployed, its forwards in turns, what surrounds them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from afnet.contract import VideoModel, lay_out_channels_last
from afnet.inference import optimize_for_inference
from bench.data.loader import Batch, present
from bench.device import capture, joules, peak_memory, state, watch
from bench.environment import describe_device
from bench.errors import UserError
from bench.evaluation import first_clips
from bench.experiment import Experiment
from bench.macs import CostModel, verify
from bench.methods import find_method
from bench.roof import find_roof, utilisation
from bench.throughput import Network, first_of, summarise, take_turns, time_networks

# Batches that the loader, and the loader with the network, are timed on.
PIPELINE_ROUNDS = 3


@dataclass(frozen=True)
class Point:
    """One point to be timed.

    Attributes:
        model: at the point, in single precision; it is left as it is.
        cost: of its clips.
    """

    model: VideoModel
    experiment: Experiment
    cost: CostModel


def measure_times(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Time points with the same timing settings on the first validation clips, in turns; for the record of each.

    Raises:
        UserError: for logits that are not finite in this dtype, a network that this mode cannot run, or one clip that
            does not fit into memory.
    """
    timing = points[0].experiment.timing
    assert all(point.experiment.timing == timing for point in points)
    device, dtype = torch.device(timing.device), getattr(torch, timing.dtype)
    networks = [_deployed(point, device, dtype) for point in points]
    macs = [verify(each.model, each.clips, point.cost) for each, point in zip(networks, points, strict=True)]
    for network in networks:
        _launched_as(timing.mode, network)
    before = state(device)
    times = time_networks(networks, timing)
    after = state(device)
    facts = {
        "dtype": timing.dtype,
        "layout": timing.layout,
        "mode": timing.mode,
        "optimised": timing.optimised,
        "device": describe_device(timing.device),
        "state": {"before": before, "after": after},
        "throttled": bool(before.get("throttled") or after.get("throttled")),
    }
    found = []
    for point, network, own, count in zip(points, networks, times, macs, strict=True):
        per_video = count / len(network.clips)
        offline = own["scenarios"]["offline"][network.executions[-1]]
        around = _around(network, offline, per_video, dtype)
        pipeline = _pipeline(network.model, point.experiment, device, dtype)
        found.append({**own, **facts, "macs_per_video": per_video, **around, "pipeline": pipeline})
    return found


def _launched_as(mode: str, network: Network) -> None:
    if mode == "compile":
        _compile(network)
    elif mode == "graph":
        _capture(network.model)


def _deployed(point: Point, device: torch.device, dtype: torch.dtype) -> Network:
    """The network as the timing wants it, with its clips; refused where it cannot compute them so."""
    timing = point.experiment.timing
    batch = first_clips(point.experiment, timing.batch)
    plain = copy.deepcopy(point.model)
    optimised = optimize_for_inference(plain) if timing.optimised else None  # before the cast: folding rounds
    plain = plain.to(device=device, dtype=dtype)
    clips = present(plain, batch, device, dtype)
    with torch.inference_mode():
        if not plain(clips).logits.isfinite().all():
            raise UserError(
                f"Timed in {timing.dtype}, the network's logits are not finite, so its decisions mean nothing; use "
                "a timing.dtype that holds its values: float32, or bfloat16 instead of float16."
            )
    model = plain if optimised is None else optimised.to(device=device, dtype=dtype)
    if timing.layout == "contiguous":
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()
    else:
        lay_out_channels_last(model)
    clips = laid_out(present(model, batch, device, dtype), timing.layout)
    return Network(model, clips, model.answers, find_method(point.experiment.model.method).skips)


def laid_out(clips: Tensor, layout: str) -> Tensor:
    """(N, T, 3, H, W) clips, each frame in this layout; as they come, pixels lie channels-last."""
    return clips.contiguous() if layout == "contiguous" else clips


def _compile(network: Network) -> None:
    """Compile the model's forward in place; whatever the compiler cannot do is said here, before anything is timed."""
    model = network.model
    model.forward = torch.compile(model.forward)
    try:
        with torch.inference_mode():
            model(network.clips)
    # A compiler's failures are of many kinds, none of them this program's.
    except Exception as error:
        raise UserError(
            f"torch.compile cannot run {type(model).__name__}: {type(error).__name__}: {str(error).splitlines()[0]}. "
            "Expected a network it supports, and on a processor a C++ compiler; timing.mode 'eager' needs neither."
        ) from error


def _capture(model: VideoModel) -> None:
    """Let the model's forward replay CUDA graphs, one for each execution and shape of clips."""
    plain, graphs = model.forward, {}

    def forward(clips: Tensor) -> Any:
        key = (model.execution, clips.shape)
        if key not in graphs:
            still = clips.clone()
            try:
                graphs[key] = still, *capture(lambda: plain(still))
            except RuntimeError as error:
                raise UserError(
                    f"{type(model).__name__} cannot be captured as a CUDA graph when {model.execution} "
                    f"({str(error).splitlines()[0]}). Expected shapes that do not depend on data: a method that "
                    "decides nothing, or a fixed evaluation.budget; timing.mode 'eager' takes all."
                ) from error
        still, replay, output = graphs[key]
        still.copy_(clips)
        replay()
        return output

    model.forward = forward


def _around(network: Network, offline: dict[str, Any], macs: float, dtype: torch.dtype) -> dict[str, Any]:
    """What else a forward of the offline scenario is: memory, energy, stops, and how near it came to the roof."""
    model = network.model
    model.execution = network.executions[-1]
    clips, model.answers = first_of((network.clips, network.answers), offline["batch"])

    def forward() -> None:
        model(clips)

    with torch.inference_mode():
        counts = watch(forward)
        energy = joules(forward, clips.device)
        memory = peak_memory(forward, clips.device)
    model.answers = network.answers
    if "joules_per_forward" in energy:
        energy["joules_per_video"] = energy["joules_per_forward"] / len(clips)
    roof = find_roof(clips.device, dtype, macs * len(clips) / offline["median"])
    return {
        "host_stops": counts.stops,
        "peak_memory_bytes": memory,
        "energy": energy,
        "roofline": utilisation(macs * len(clips), counts.bytes, offline["median"], roof),
    }


def _pipeline(model: VideoModel, experiment: Experiment, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Seconds of making a batch, and of making it and answering it, one after the other in this process."""
    timing = experiment.timing

    def load() -> Batch:
        return first_clips(experiment, timing.batch)

    def answer() -> None:
        batch = load()
        with torch.inference_mode():
            model(laid_out(present(model, batch, device, dtype), timing.layout)).logits.cpu()

    parts: dict[str, Callable[[], Any]] = {"loader": load, "end_to_end": answer}
    turns = take_turns(parts, torch.device("cpu"), rounds=PIPELINE_ROUNDS, warmup=0.0)
    return {name: {"batch": timing.batch, **summarise(samples)} for name, samples in turns.samples.items()}
