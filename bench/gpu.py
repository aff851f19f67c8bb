"""What skipping is worth on this machine's GPU: `python -m bench.gpu`. Needs torch and numpy alone.

First equality: dense, masked, skipped and budget on the same weights, in fp32 and bf16. Then time, offline and one clip
at a time: AFNet at exact kept ratios (frames drawn at random, as many in every video), the fixed budget of as many,
with and without CUDA graph, against its own dense run and against TSM. Weights are random; the work done does not
depend on them. Everything goes into results/gpu-<name>.json, raw samples included. Without a GPU the same way is walked
on the CPU with small sizes, to show that it holds.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from afnet import AFNet, optimize_for_inference, spatial
from afnet.backbones import MOBILENET
from afnet.contract import Execution, Selection, VideoModel
from afnet.cost import closed_form
from afnet.spatial import GRID
from baselines.tsm import TSM
from bench.device import capture, state
from bench.environment import describe_environment
from bench.files import make_folder, write_json
from bench.macs import cost_model
from bench.savings import saving_realised
from bench.statistics import ratios, summarise
from bench.throughput import Turns, take_turns

RATIOS = (0.25, 0.4, 0.5, 0.8, 1.0)
CLASSES = 174
# Largest difference of logits allowed, as a share of what it changes to compute nothing: rounding of the dtype.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.3}
Variant = Callable[[], Any]
AGAIN = "again"


@dataclass(frozen=True)
class Plan:
    """Sizes of a run.

    Attributes:
        batches: clips of each scenario.
        budget_s: seconds after which no further network is begun.
        warmup_s: seconds of warm-up at most, for all variants together.
    """

    device: torch.device
    backbones: tuple[str, ...]
    frames: int
    side: int
    dtype: torch.dtype
    batches: dict[str, int]
    rounds: int
    budget_s: float = 450.0
    warmup_s: float = 3.0


GPU = Plan(
    torch.device("cuda"),
    ("resnet50", "resnet101", "mobilenetv3"),
    8,
    224,
    torch.bfloat16,
    {"offline": 32, "single_stream": 1},
    15,
)
CPU = Plan(torch.device("cpu"), ("tiny", "mobilenetv3"), 4, 64, torch.float32, {"offline": 2, "single_stream": 1}, 3)


def seasoned(model: VideoModel) -> VideoModel:
    """Random batch-norm statistics, as after a training: F(0) is then not zero, and mistakes show."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
            nn.init.normal_(module.bias, std=0.1, generator=generator)
    return model.eval()


def decisive(model: AFNet) -> AFNet:
    """The model with weights under which its logits hang on what its focal blocks compute, so that mistakes show."""
    with torch.no_grad():
        for module in model.modules() if model.backbone == MOBILENET else ():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # by what comes in: signals live on
        for block in model.focal_blocks.values():
            norms = [module for module in block.residual.modules() if isinstance(module, nn.BatchNorm2d)]
            norms[-1].weight.mul_(4.0)
    return model


def make(backbone: str, plan: Plan, kind: type[VideoModel] = AFNet, **settings: Any) -> VideoModel:
    torch.manual_seed(0)
    model = kind(backbone=backbone, frames=plan.frames, classes=CLASSES, **settings)  # type: ignore[call-arg]
    with torch.no_grad():
        return seasoned(model).to(plan.device)


def draw_clips(plan: Plan, videos: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    clips = torch.randn(videos * plan.frames, 3, plan.side, plan.side, generator=generator)
    clips = clips.to(plan.device, dtype, memory_format=torch.channels_last)
    return clips.unflatten(0, (videos, plan.frames))


@torch.no_grad()
def equality(plan: Plan, backbone: str, dtype: torch.dtype) -> dict[str, Any]:
    """Differences of logits between executions that must agree, in units of `effect`.

    Raises:
        AssertionError: for one beyond TOLERANCE.
    """
    clips, found = draw_clips(plan, 2, dtype), {}
    kinds: list[tuple[dict[str, Any], Callable[[AFNet, Tensor], Pairs]]] = [({}, _equal_pairs)]
    if backbone != MOBILENET:
        kinds.append(({"spatial": (1, 2)}, _equal_cells))
    for settings, pairs in kinds:
        made = make(backbone, plan, zero_init=False, **settings)
        assert isinstance(made, AFNet)
        model = decisive(made).to(dtype)
        unit = effect(model, clips)
        assert unit, "what is selected must matter"
        for name, one, other in pairs(model, clips):
            found[name] = (one - other).abs().max().item() / unit
            limit = TOLERANCE[dtype]
            assert found[name] <= limit, f"{backbone} {dtype}: {name} differ by {found[name]:.2e}; allowed {limit:.0e}"
    return {"dtype": str(dtype), "backbone": backbone, "largest_difference": found}


def effect(model: AFNet, clips: Tensor) -> float:
    """How far apart the logits are of everything computed and of nothing: what differences are measured by.

    0 where that is less than a hundredth of the logits: then nothing selected matters, and nothing would be tested.
    """
    before, grid, both = model.forced, model.design.grid, []
    shape = (len(model.unit_modules()), *clips.shape[:2])
    for keep in (True, False):
        frames, cells = (torch.full(s, keep, device=clips.device) for s in (shape, (*shape, grid, grid)))
        model.forced = Selection(frames, cells)
        both.append(_logits(model, clips, "masked").double())
    model.forced = before
    found = (both[0] - both[1]).abs().max().item()
    return found if found > 1e-2 * both[0].abs().max().item() else 0.0


Pairs = Iterator[tuple[str, Tensor, Tensor]]


def _logits(model: VideoModel, clips: Tensor, execution: Execution) -> Tensor:
    model.execution = execution
    return model(clips).logits.float()


def _equal_pairs(model: AFNet, clips: Tensor) -> Pairs:
    """Names and logits of what must agree, of whole frames."""
    dense = _logits(model, clips, "dense")
    model.forced = model.example_selection(2, 1.0)
    yield "masked with all frames kept and dense", _logits(model, clips, "masked"), dense
    for ratio in (0.0, 0.5):
        model.forced = model.example_selection(2, ratio)
        yield f"skipped and masked at {ratio}", _logits(model, clips, "skipped"), _logits(model, clips, "masked")
    expected = _logits(model, clips, "masked")
    yield "optimised, skipped, and masked at 0.5", _logits(optimize_for_inference(model), clips, "skipped"), expected
    model.buckets = 4
    yield "skipped in buckets and masked at 0.5", _logits(model, clips, "skipped"), expected
    model.forced, model.buckets, model.budget = Selection(), 0, model.frames // 2
    yield "budget skipped and masked", _logits(model, clips, "skipped"), _logits(model, clips, "masked")


def _equal_cells(model: AFNet, clips: Tensor) -> Pairs:
    """The same of cells."""
    frames = model.example_selection(2, 0.5).frames
    assert frames is not None
    model.forced = Selection(frames, draw_cells(frames, 0.5))
    expected = _logits(model, clips, "masked")
    yield "cells skipped and masked", _logits(model, clips, "skipped"), expected
    yield "cells optimised, skipped, and masked", _logits(optimize_for_inference(model), clips, "skipped"), expected


@torch.no_grad()
def times(plan: Plan, backbone: str, scenario: str) -> dict[str, Any]:
    """Time one backbone's variants in turns; the fields of the record."""
    videos = plan.batches[scenario]
    clips = draw_clips(plan, videos, plan.dtype)
    variants: dict[str, Variant] = {}
    cell_macs: float | None = None
    model = optimize_for_inference(make(backbone, plan)).to(plan.dtype)
    assert isinstance(model, AFNet)
    variants["dense"] = variant(model, clips, execution="dense")
    for ratio in RATIOS:
        forced = model.example_selection(videos, ratio)
        variants[f"skipped {ratio}"] = variant(model, clips, execution="skipped", forced=forced)
        variants[f"masked {ratio}"] = variant(model, clips, execution="masked", forced=forced)
        budget = round(ratio * plan.frames)
        variants[f"budget {ratio}"] = variant(model, clips, execution="skipped", budget=budget)
    if backbone != MOBILENET:
        spatial_variants, cell_macs = _cells(plan, backbone, clips)
        variants |= spatial_variants
        rival = optimize_for_inference(make(backbone, plan, TSM)).to(plan.dtype)
        variants["tsm"] = variant(rival, clips, execution="dense")
    if plan.device.type == "cuda":
        static = [name for name in variants if name.startswith(("dense", "budget", "tsm"))]
        variants |= {f"{name}, graph": capture(variants[name])[0] for name in static}
    cost = closed_form(backbone, frames=plan.frames, classes=CLASSES, size=plan.side)
    variants[AGAIN] = variants["dense"]
    turns = in_turns(variants, plan)
    samples = turns.samples
    again = samples.pop(AGAIN)
    return {
        "backbone": backbone,
        "scenario": scenario,
        "batch": videos,
        "dtype": str(plan.dtype),
        "unit": "seconds per forward",
        "macs_per_video": {str(ratio): cost.total(round(ratio * plan.frames) / plan.frames) for ratio in RATIOS},
        "times": {name: summarise(values) for name, values in samples.items()},
        "warmup_rounds": turns.warmup_rounds,
        "stable": turns.stable,
        "again": float(np.median(ratios(again, samples["dense"]))),
        "state": state(plan.device, variants["dense"]),
        "macs_per_video_cells": cell_macs,
        "saving_realised": savings(samples, cost.total, plan.frames, cell_macs),
    }


def draw_cells(frames: Tensor, ratio: float) -> Tensor:
    """(blocks, N, T, GRID, GRID) bool for (blocks, N, T) frames: in each, round(ratio * 49) cells drawn at random."""
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(*frames.shape, GRID * GRID, generator=generator).argsort(dim=-1)
    return (order < round(ratio * GRID * GRID)).unflatten(-1, (GRID, GRID)).to(frames.device)


def _cells(plan: Plan, backbone: str, clips: Tensor) -> tuple[dict[str, Variant], float]:
    """All frames kept, of each half of the cells in stages 1 and 2, with and without Triton; multiply-adds a video."""
    model = optimize_for_inference(make(backbone, plan, spatial=(1, 2))).to(plan.dtype)
    frames = model.example_selection(len(clips), 1.0).frames
    assert frames is not None
    half = draw_cells(frames, 0.5)
    forward = variant(model, clips, execution="skipped", forced=Selection(frames, half))

    def in_torch() -> Any:
        spatial.use_kernel = False
        try:
            return forward()
        finally:
            spatial.use_kernel = True

    units = model.kept_units(Selection(frames, half), plan.side, plan.side).cpu().numpy()
    macs = cost_model(model, clips[:1]).of(units).mean()
    return {"cells 0.5": forward, "cells 0.5, without Triton": in_torch}, float(macs)


def variant(model: VideoModel, clips: Tensor, **attributes: Any) -> Variant:
    """A forward with these attributes set on the model."""
    defaults = {"forced": Selection(), "budget": None}

    def forward() -> Tensor:
        for name, value in {**defaults, **attributes}.items():
            setattr(model, name, value)
        return model(clips).logits

    return forward


def in_turns(variants: Mapping[str, Variant], plan: Plan) -> Turns:
    """Times of variants, none of which cares for the number of the round."""
    forwards = {name: (lambda _, forward=forward: forward()) for name, forward in variants.items()}
    return take_turns(forwards, plan.device, rounds=plan.rounds, warmup=plan.warmup_s)


def savings(
    samples: Mapping[str, Sequence[float]],
    macs: Callable[[float], float],
    frames: int,
    cell_macs: float | None = None,
) -> dict[str, float]:
    """Saving realised of each variant that skips, by bench.savings' definition."""
    found = {}
    for name, values in samples.items():
        kind, _, rest = name.partition(" ")
        if kind not in ("skipped", "budget", "cells"):
            continue
        ratio = round(float(rest.partition(",")[0]) * frames) / frames
        taken = cell_macs if kind == "cells" else macs(ratio)
        reference = "dense, graph" if name.endswith("graph") else "dense"
        if taken is None:
            continue
        compared = {"dense": {"samples": samples[reference]}, "skipped": {"samples": values}}
        saving = saving_realised(compared, macs(1.0), taken)["saving_realised"]
        if saving is not None:
            found[name] = saving
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    out: Path = parser.parse_args().out
    make_folder(out)
    plan = GPU if torch.cuda.is_available() else CPU
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    started = time.monotonic()
    environment = describe_environment(plan.device.type)
    path = out / f"gpu-{re.sub('[^a-z0-9]+', '-', environment['device']['name'].lower()).strip('-')}.json"
    record: dict[str, Any] = {"environment": environment, "equality": [], "times": [], "left_out": []}
    for backbone in plan.backbones:
        for dtype in TOLERANCE:
            record["equality"].append(equality(plan, backbone, dtype))
            print(f"equal: {backbone}, {dtype}, {time.monotonic() - started:.0f} s", flush=True)
    for backbone in plan.backbones:
        for scenario in plan.batches:
            if time.monotonic() - started > plan.budget_s:
                record["left_out"].append(f"{backbone}, {scenario}: out of time")
                continue
            found = times(plan, backbone, scenario)
            record["times"].append(found)
            write_json(path, record)
            shares = ", ".join(f"{name}: {value:.2f}" for name, value in found["saving_realised"].items())
            print(f"{backbone}, {scenario}: saving realised {shares}; {time.monotonic() - started:.0f} s", flush=True)
    write_json(path, record)
    print(path)


if __name__ == "__main__":
    main()
