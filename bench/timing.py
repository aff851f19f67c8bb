"""All that a record says about time: the network as it is deployed, its forwards in turns, what surrounds them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from afnet.contract import EXECUTIONS, Execution, VideoModel, lay_out_channels_last
from afnet.inference import optimize_for_inference
from bench.data.batches import Batch, present
from bench.device import capture, host_stops, joules, peak_memory, plain_arithmetic, state, traffic
from bench.environment import describe_device
from bench.errors import UserError
from bench.evaluation import first_clips
from bench.experiment import Experiment
from bench.macs import CostModel, verify
from bench.methods import find_method
from bench.roof import find_roof, utilisation
from bench.statistics import summarise
from bench.throughput import Input, Network, first_of, largest, out_of_memory, take_turns, time_networks

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


@dataclass(frozen=True)
class Deployed:
    """A point's network as it is timed.

    Attributes:
        macs: executed multiply-adds of its clips, all together.
        same_answers: share of these clips that it answers as the network that was evaluated does.
        bytes: that operators move in a forward of the point's own execution.
        stops: of the host in it, None where that cannot be told.
    """

    network: Network
    macs: int
    same_answers: float
    bytes: int
    stops: int | None


def measure_times(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Time points with the same timing settings on the first validation clips, in turns; for the record of each.

    Raises:
        UserError: for logits that are not finite in this dtype, a network that this mode cannot run, or one clip that
            does not fit into memory.
    """
    timing = points[0].experiment.timing
    assert all(point.experiment.timing == timing for point in points)
    device = torch.device(timing.device)
    with plain_arithmetic(device) as switches:
        ready = [_deployed(point) for point in points]
        networks = [each.network for each in ready]
        for network in networks:
            _launched_as(timing.mode, network)
        before = state(device, forward_of_own(networks[0]))
        times = time_networks(networks, timing)
        after = state(device, forward_of_own(networks[0]))
        around = [
            {**_around(each, own["scenarios"]["offline"]), **_pipeline(each.network, point.experiment)}
            for each, own, point in zip(ready, times, points, strict=True)
        ]
    facts = {
        "requested_batch": timing.batch,
        "dtype": timing.dtype,
        "layout": timing.layout,
        "mode": timing.mode,
        "optimised": timing.optimised,
        "switches": switches,
        "device": describe_device(timing.device),
        "state": {"before": before, "after": after},
        "throttled": _throttled(before, after),
    }
    return [{**own, **facts, **others} for own, others in zip(times, around, strict=True)]


def _throttled(*states: dict[str, Any]) -> bool | None:
    """None where nobody could be asked."""
    known = [each["throttled"] for each in states if "throttled" in each]
    return any(known) if known else None


def _deployed(point: Point) -> Deployed:
    """The network as the timing wants it, with as many of the clips as fit; refused where it cannot compute them."""
    timing = point.experiment.timing
    device, dtype = torch.device(timing.device), getattr(torch, timing.dtype)
    batch = first_clips(point.experiment, timing.batch)
    plain = copy.deepcopy(point.model)
    optimised = optimize_for_inference(plain) if timing.optimised else None  # before the cast: folding rounds
    plain = plain.to(device=device, dtype=dtype)
    model = plain if optimised is None else optimised.to(device=device, dtype=dtype)
    _lay_out(model, timing.layout)
    skips = find_method(point.experiment.model.method).skips
    executions = EXECUTIONS if skips else EXECUTIONS[:1]
    own: Execution = point.experiment.evaluation.execution if skips else "dense"  # type: ignore[assignment]
    clips = laid_out(present(model, batch, device, dtype), timing.layout)
    answers, found = model.answers, {}

    def attempt(part: Input) -> None:
        with torch.inference_mode():
            plain.answers = model.answers = part[1]
            if not plain(part[0]).logits.isfinite().all():
                raise UserError(
                    f"Timed in {timing.dtype}, the network's logits are not finite, so its decisions mean nothing; use "
                    "a timing.dtype that holds its values: float32, or bfloat16 instead of float16."
                )
            for model.execution in executions:
                model(part[0])
        model.execution = own
        found["macs"] = verify(model, part[0], point.cost)

    clips, answers = largest((clips, answers), attempt)
    network = Network(model, clips, answers, executions, own)
    forward = forward_of_own(network)
    same = _same_answers(point.model, batch, network)
    with torch.inference_mode():
        return Deployed(network, found["macs"], same, traffic(forward), host_stops(forward, device))


def _lay_out(model: VideoModel, layout: str) -> None:
    if layout == "channels_last":
        lay_out_channels_last(model)
        return
    for parameter in model.parameters():
        # A 1x1 kernel is contiguous in every layout, and torch takes its strides for channels-last.
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)


def laid_out(clips: Tensor, layout: str) -> Tensor:
    """(N, T, 3, H, W) clips, each frame in this layout; as they come, pixels lie channels-last."""
    return clips.contiguous() if layout == "contiguous" else clips


def forward_of_own(network: Network) -> Callable[[], Any]:
    """The network's forward of all its clips, as the point was evaluated."""

    def forward() -> Any:
        network.model.execution, network.model.answers = network.own, network.answers
        with torch.inference_mode():
            return network.model(network.clips)

    return forward


def _same_answers(evaluated: VideoModel, batch: Batch, network: Network) -> float:
    device = next(evaluated.parameters()).device
    before = evaluated.answers
    clips = present(evaluated, batch, device)
    clips, evaluated.answers = first_of((clips, evaluated.answers), len(network.clips))
    with torch.inference_mode():
        expected = evaluated(clips).logits.argmax(dim=1).cpu()
    evaluated.answers = before
    return float((forward_of_own(network)().logits.argmax(dim=1).cpu() == expected).float().mean())


# --- Modes ------------------------------------------------------------------------------------------------------------


def _launched_as(mode: str, network: Network) -> None:
    """Let the model's forward be launched so; whatever cannot be is said here, before anything is timed."""
    if mode == "eager":
        return
    model = network.model
    if mode == "compile":
        torch._dynamo.config.fail_on_recompile_limit_hit = True  # rather than run the rest eagerly and not say so
        model.forward = torch.compile(model.forward)
    else:
        _capture(network)
    try:
        for clips in (network.clips, network.clips[:1]):
            for model.execution in network.executions:
                _, model.answers = first_of((clips, network.answers), len(clips))
                with torch.inference_mode():
                    model(clips)
    except UserError:
        raise
    # A compiler's failures are of many kinds, none of them this program's.
    except Exception as error:
        if out_of_memory(error):
            raise
        raise UserError(
            f"torch.compile cannot run {type(model).__name__}: {type(error).__name__}: {_first_line(error)}. "
            "Expected a network it supports, and on a processor a C++ compiler; timing.mode 'eager' needs neither."
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no reason given"])[0]


def _capture(network: Network) -> None:
    """Let the model's forward replay CUDA graphs, one for each execution and shape; each copies its clips in."""
    model = network.model
    name = type(model).__name__
    if network.answers is not None:
        raise UserError(
            f"{name} takes an answer key, which a CUDA graph would not see change; expected timing.mode eager."
        )
    plain, graphs = model.forward, {}

    def forward(clips: Tensor) -> Any:
        key = (model.execution, clips.shape)
        if key not in graphs:
            still = clips.clone()
            try:
                graphs[key] = still, *capture(lambda: plain(still))
            except RuntimeError as error:
                if out_of_memory(error):
                    raise
                raise UserError(
                    f"{name} cannot be captured as a CUDA graph when {model.execution} ({_first_line(error)}). "
                    "Expected shapes that do not depend on data: a method that decides nothing, or a fixed "
                    "evaluation.budget; timing.mode 'eager' takes all."
                ) from error
        still, replay, output = graphs[key]
        still.copy_(clips)
        replay()
        return output

    model.forward = forward


# --- What surrounds the times -----------------------------------------------------------------------------------------


def _around(deployed: Deployed, offline: dict[str, Any]) -> dict[str, Any]:
    """What else a forward of the offline scenario is: memory, energy, stops, and how near it came to the roof."""
    network, timed = deployed.network, offline[deployed.network.own]
    videos, device, dtype = len(network.clips), network.clips.device, network.clips.dtype
    forward = forward_of_own(network)
    energy = joules(forward, device)
    if "joules_per_forward" in energy:
        energy["joules_per_video"] = energy["joules_per_forward"] / videos
    tensors = (*network.model.parameters(), *network.model.buffers(), network.clips)
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return {
        "macs_per_video": deployed.macs / videos,
        "same_answers": deployed.same_answers,
        "host_stops": deployed.stops,
        "peak_memory_bytes": peak_memory(forward, device, held),
        "energy": energy,
        "roofline": _roofline(deployed, timed["median"], device, dtype),
    }


def _roofline(deployed: Deployed, seconds: float, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    try:
        roof = find_roof(device, dtype, deployed.macs / seconds)
    # No room beside the networks, or no product in this dtype: the times stand without it.
    except RuntimeError as error:
        return {"missing": f"{type(error).__name__}: {_first_line(error)}"}
    return utilisation(deployed.macs, deployed.bytes, seconds, roof)


def _pipeline(network: Network, experiment: Experiment) -> dict[str, Any]:
    """Seconds of making a batch, and of making it and answering it, one after the other in this process."""
    layout, device, dtype = experiment.timing.layout, network.clips.device, network.clips.dtype

    def load(number: int) -> Batch:
        return first_clips(experiment, len(network.clips))

    def answer(number: int) -> None:
        network.model.execution = network.own
        clips = laid_out(present(network.model, load(number), device, dtype), layout)
        with torch.inference_mode():
            network.model(clips).logits.cpu()

    parts = {"loader": load, "end_to_end": answer}
    turns = take_turns(parts, torch.device("cpu"), rounds=PIPELINE_ROUNDS, warmup=0.0)
    facts = {"batch": len(network.clips)}
    return {"pipeline": {name: {**facts, **summarise(samples)} for name, samples in turns.samples.items()}}
