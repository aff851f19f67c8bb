"""Executed multiply-adds against a closed form, written here layer by layer from the architecture alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from afnet.contract import EXECUTIONS, Selection
from afnet.inference import optimize_for_inference
from bench.experiment import Data
from bench.macs import MismatchError, cost_model, count, verify
from bench.methods import build_model
from bench.settings import AFNet, FrameAverage

CLASSES = Data().classes
WIDTH, SIDE = 8, 64  # of the tiny presets
RESNET_BLOCKS, AFNET_BLOCKS = (2, 2, 2, 1), (2, 3, 4, 1)


def conv(inputs: int, outputs: int, kernel: int, side: int, groups: int = 1) -> int:
    """Multiply-adds of a convolution with an output of side x side."""
    return inputs // groups * outputs * kernel * kernel * side * side


def bottleneck(inputs: int, outputs: int, side: int, out_side: int, groups: int = 1) -> int:
    """1x1 at `side`, 3x3 to `out_side`, 1x1 there; middle width a quarter of the output."""
    middle = outputs // 4
    return (
        conv(inputs, middle, 1, side, groups)
        + conv(middle, middle, 3, out_side, groups)
        + conv(middle, outputs, 1, out_side, groups)
    )


def resnet_frame() -> int:
    """One frame of the tiny ResNet, classifier included."""
    total = conv(3, WIDTH, 7, SIDE // 2)
    inputs, side = WIDTH, SIDE // 4
    for stage, blocks in enumerate(RESNET_BLOCKS):
        outputs = 4 * WIDTH * 2**stage
        for block in range(blocks):
            out_side = side // 2 if stage and block == 0 else side
            total += bottleneck(inputs, outputs, side, out_side)
            if block == 0:
                total += conv(inputs, outputs, 1, out_side)
            inputs, side = outputs, out_side
    return total + inputs * CLASSES


def afnet_frame() -> tuple[int, list[int], int]:
    """One frame of the tiny AFNet: what every frame costs, each focal function, and navigation's part."""
    static, units, policy = conv(3, WIDTH, 7, SIDE // 2), [], 0
    inputs, side = WIDTH, SIDE // 4
    for stage in range(3):
        outputs = 4 * WIDTH * 2**stage
        cheap, ample_in, focal_in = outputs // 2, inputs, inputs
        for pair in range(AFNET_BLOCKS[stage] - 1):
            policy += ample_in * 2 + 2 * 2  # squeeze, and one position's 2x2 map
            ample_side = side if pair == 0 else side // 2
            static += bottleneck(ample_in, cheap, ample_side, side // 2)
            static += conv(ample_in, cheap, 1, side // 2) if ample_in != cheap else 0
            units.append(bottleneck(focal_in, outputs, side, side, groups=2))
            static += conv(focal_in, outputs, 1, side) if focal_in != outputs else 0
            ample_in, focal_in = cheap, outputs
        static += conv(cheap, outputs, 1, side // 2)  # project
        static += 2 * outputs * (outputs // 16)  # gate
        out_side = side // 2 if stage < 2 else side
        static += bottleneck(outputs, outputs, side, out_side)
        inputs, side = outputs, out_side
    outputs = 2 * inputs
    for block in range(AFNET_BLOCKS[3]):
        out_side = side // 2 if block == 0 else side
        static += bottleneck(inputs, outputs, side, out_side)
        static += conv(inputs, outputs, 1, out_side) if block == 0 else 0
        inputs, side = outputs, out_side
    return static + inputs * CLASSES + policy, units, policy


def clips(videos: int, frames: int) -> torch.Tensor:
    return torch.randn(videos, frames, 3, SIDE, SIDE)


@pytest.mark.parametrize("method", ["tsn", "tsm"])
@pytest.mark.parametrize("frames", [4, 8])
def test_static_networks_cost_their_closed_form(method: str, frames: int) -> None:
    settings = FrameAverage()
    model = build_model(method, backbone="tiny", frames=frames, classes=CLASSES, settings=settings).eval()
    cost = cost_model(model, clips(2, frames))
    assert cost.static == frames * resnet_frame()
    assert cost.per_unit == () and cost.policy == 0
    verify(model, clips(3, frames), cost)


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("frames", [4, 8])
def test_afnet_costs_its_closed_form(shift: bool, frames: int) -> None:
    settings = AFNet(shift=shift)
    model = build_model("afnet", backbone="tiny", frames=frames, classes=CLASSES, settings=settings).eval()
    cost = cost_model(model, clips(2, frames))
    static, units, policy = afnet_frame()
    assert cost.static == frames * static
    assert list(cost.per_unit) == units
    assert cost.policy == frames * policy


# Static and per kept ratio, in 1e9 multiply-adds a video of 224 x 224 pixels and 174 classes. The released code prints
# 14.72 + 8.37 r and 24.87 + 34.84 r; it counts pooling and normalisation too (tests/afnet/test_cost.py).
@pytest.mark.parametrize(
    ("backbone", "frames", "static", "slope"), [("resnet50", 8, 14.654, 8.375), ("resnet101", 12, 24.765, 34.836)]
)
def test_published_sizes_cost_what_is_known_of_them(backbone: str, frames: int, static: float, slope: float) -> None:
    """On the meta device: shapes without numbers take no time."""
    with torch.device("meta"):
        model = build_model("afnet", backbone=backbone, frames=frames, classes=174, settings=AFNet()).eval()
        cost = cost_model(model, torch.empty(1, frames, 3, 224, 224))
    assert cost.static / 1e9 == pytest.approx(static, abs=5e-4)
    assert (cost.dense - cost.static) / 1e9 == pytest.approx(slope, abs=5e-4)


def test_cost_of_a_selection_is_what_the_counter_sees() -> None:
    torch.manual_seed(0)
    model = build_model("afnet", backbone="tiny", frames=4, classes=CLASSES, settings=AFNet()).eval()
    cost = cost_model(model, clips(1, 4))
    kept = torch.rand(6, 2, 4) < 0.5
    model.forced = Selection(kept)
    counted = sum(count(model, clips(2, 4))["Global"].values())
    assert counted == cost.of(kept.sum(2).numpy()).sum()
    verify(model, clips(2, 4), cost)


def test_a_cost_that_does_not_match_is_refused() -> None:
    model = build_model("afnet", backbone="tiny", frames=4, classes=CLASSES, settings=AFNet()).eval()
    cost = cost_model(model, clips(1, 4))
    wrong = replace(cost, static=cost.static + 1)
    with pytest.raises(MismatchError, match="counter"):
        verify(model, clips(1, 4), wrong)


def test_counting_leaves_the_model_as_it_was() -> None:
    model = build_model("afnet", backbone="tiny", frames=4, classes=CLASSES, settings=AFNet()).eval()
    model.execution = "masked"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    x = torch.ones(1, 4, 3, SIDE, SIDE)
    cost_model(model, x)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(random_state, torch.get_rng_state())
    assert model.execution == "masked" and model.forced == Selection()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_videos_differ_in_cost_by_what_they_kept() -> None:
    model = build_model("afnet", backbone="tiny", frames=4, classes=CLASSES, settings=AFNet()).eval()
    cost = cost_model(model, clips(1, 4))
    units = np.zeros((6, 2), np.int64)
    units[1, 1] = 2
    assert cost.of(units).tolist() == [cost.static, cost.static + 2 * cost.per_unit[1]]


@pytest.mark.parametrize("name", ["tsn", "tsm", "afnet", "mobilenetv3", "cells", "tiles"])
def test_an_optimised_network_executes_the_same_multiply_adds(name: str) -> None:
    """By the counter, which must know the fused convolutions."""
    kinds: dict[str, dict[str, Any]] = {"mobilenetv3": {}, "cells": {"spatial": "2"}, "afnet": {}}
    kinds["tiles"] = {"spatial": "1-3", "grid": 4}  # that divides the maps
    settings = AFNet(keep_bias=1.0, **kinds[name]) if name in kinds else FrameAverage()
    method, backbone = (
        ("afnet", "mobilenetv3" if name == "mobilenetv3" else "tiny") if name in kinds else (name, "tiny")
    )
    model = build_model(method, backbone=backbone, frames=4, classes=CLASSES, settings=settings).eval()
    fast, clips = optimize_for_inference(model), torch.randn(2, 4, 3, SIDE, SIDE)
    cost = cost_model(model, clips)
    counted = cost_model(fast, clips)
    assert replace(counted, operators=cost.operators, modules=cost.modules) == cost
    for execution in EXECUTIONS:
        fast.execution = execution
        assert verify(fast, clips, cost) > 0


def test_soft_weights_leave_no_cell_out() -> None:
    settings = AFNet(spatial="1", hard=False, grid=4)
    model = build_model("afnet", backbone="tiny", frames=4, classes=CLASSES, settings=settings).eval()
    clips = torch.randn(1, 4, 3, SIDE, SIDE)
    model.forced = Selection(cells=torch.rand(6, 1, 4, 4, 4) < 0.5)
    cost = cost_model(model, clips)
    assert verify(model, clips, cost) == cost.dense
