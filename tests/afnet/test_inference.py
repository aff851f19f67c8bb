"""Frozen modules give what the ones they are made of give, and overwrite nothing that is not theirs."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from afnet import AFNet, optimize_for_inference
from afnet.blocks import Block, Bottleneck, FocalBlock, InvertedResidual
from afnet.contract import EXECUTIONS, Selection, VideoModel
from afnet.execution import put_rows_, take_rows
from afnet.fused import FUSES, FrozenGate, FusedConv
from afnet.inference import FrozenBlock, FrozenFocalBlock, freeze
from afnet.module import FusionGate
from afnet.shift import shift_, temporal_shift
from baselines.tsm import TSM
from bench.gpu import seasoned

LAYOUTS = (torch.contiguous_format, torch.channels_last)
FRAMES = 4
CELLS = {grid: torch.rand(grid, grid, generator=torch.Generator().manual_seed(0)) < 0.5 for grid in (4, 7)}


def settled(module: nn.Module) -> Any:
    """In evaluation, with random batch-norm statistics, without gradients."""
    with torch.no_grad():
        return seasoned(module).requires_grad_(False)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=40)
@given(
    kernel=st.sampled_from([1, 3]),
    stride=st.sampled_from([1, 2]),
    groups=st.sampled_from([1, 2, 8]),
    activation=st.sampled_from(["none", "relu", "hardswish"]),
    adds=st.booleans(),
    layout=st.sampled_from(LAYOUTS),
    rows=st.integers(0, 3),
    side=st.integers(1, 6),
)
def test_a_fused_convolution_is_its_parts(kernel, stride, groups, activation, adds, layout, rows, side) -> None:  # type: ignore[no-untyped-def]
    conv = nn.Conv2d(8, 16, kernel, stride, kernel // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(16)
    settled(nn.Sequential(conv, norm))
    x = torch.randn(rows, 8, side, side).to(memory_format=layout)
    expected = norm(conv(x))
    add = torch.randn_like(expected).to(memory_format=layout) if adds else None
    expected = expected if add is None else expected + add
    expected = {"none": lambda y: y, "relu": torch.relu, "hardswish": nn.functional.hardswish}[activation](expected)
    found = FusedConv(copy.deepcopy(conv), norm, activation)(x, add)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_this_torch_has_the_fused_operators() -> None:
    """Without them everything above would be tested in its slow form alone."""
    assert FUSES


def test_a_changed_weight_is_packed_anew() -> None:
    conv, x = FusedConv(nn.Conv2d(8, 8, 1)), torch.randn(1, 8, 4, 4)
    before = conv(x)
    with torch.no_grad():
        conv.conv.weight.mul_(2)
        conv.conv.bias.mul_(2)
    torch.testing.assert_close(conv(x), 2 * before)
    conv.double()
    torch.testing.assert_close(conv(x.double()).float(), 2 * before)


def test_a_weight_that_takes_the_place_of_another_is_packed_anew() -> None:
    """Its address and version may be those of the one that was freed."""
    conv, x = FusedConv(nn.Conv2d(256, 256, 1, bias=False)), torch.randn(1, 256, 4, 4)
    conv(x)
    for _ in range(3):
        conv.conv.weight.data = torch.randn(256, 256, 1, 1)
        conv.conv.weight.data = torch.randn(256, 256, 1, 1)
        torch.testing.assert_close(conv(x), conv.conv(x), atol=1e-4, rtol=1e-4)


def test_a_chain_that_rectifies_before_it_normalises_is_left_in_order() -> None:
    chain = settled(nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.BatchNorm2d(8)))
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(freeze(copy.deepcopy(chain))(x), chain(x))


def test_copies_and_files_hold_no_packed_weights() -> None:
    conv, x = FusedConv(nn.Conv2d(8, 8, 1)), torch.randn(1, 8, 4, 4)
    expected = conv(x)
    file = io.BytesIO()
    torch.save(conv, file)
    file.seek(0)
    for other in (copy.deepcopy(conv), torch.load(file, weights_only=False)):
        torch.testing.assert_close(other(x), expected, atol=0, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("frames", [1, 2, 3, 6])
def test_shift_in_place_is_the_shift(frames: int, layout: torch.memory_format) -> None:
    x = torch.randn(6, 17, 2, 3).to(memory_format=layout)
    expected = temporal_shift(x, frames)
    assert torch.equal(shift_(x, frames), expected) and torch.equal(x, expected)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_rows_are_taken_and_put_as_by_indexing(layout: torch.memory_format) -> None:
    x = torch.randn(6, 16, 2, 3).to(memory_format=layout)
    rows, none = torch.tensor([4, 1, 1]), torch.tensor([], dtype=torch.int64)
    for part in (x, x[:, 2:5], x[:, :1]):
        assert torch.equal(take_rows(part, rows), part[rows]) and len(take_rows(part, none)) == 0
    assert take_rows(x, rows).is_contiguous(memory_format=layout)
    values = torch.randn(2, 16, 2, 3)
    expected = x.clone()
    expected[torch.tensor([5, 0])] = values
    assert torch.equal(put_rows_(x, torch.tensor([5, 0]), values), expected)


@pytest.mark.parametrize("size", [(4, 4), (4, 8), (6, 9), (7, 7), (3, 5)], ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_the_frozen_gate_is_the_gate(size: tuple[int, int], bias: bool) -> None:
    gate = FusionGate(16, bias=bias).requires_grad_(False)
    ample = torch.randn(2, 16, -(-size[0] // 2), -(-size[1] // 2)).to(memory_format=torch.channels_last)
    focal = torch.randn(2, 16, *size).to(memory_format=torch.channels_last)
    expected = gate(ample, focal)
    torch.testing.assert_close(FrozenGate(gate)(ample, focal), expected, atol=1e-6, rtol=1e-6)


BLOCKS: dict[str, Block] = {
    "identity": Block(Bottleneck(16, 4, 16), nn.Sequential(), frames=FRAMES),
    "identity, no shift, no relu": Block(Bottleneck(16, 4, 16), nn.Sequential(), relu=False),
    "no shortcut": Block(InvertedResidual(16, 24, 8, kernel=3, stride=2), None, frames=FRAMES, relu=False),
    "projection": Block(
        Bottleneck(16, 4, 32, stride=2),
        nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32)),
        frames=FRAMES,
    ),
    "unexpanded": Block(
        InvertedResidual(16, 16, 16, kernel=5, squeeze_excite=True, hard_swish=True), nn.Sequential(), relu=False
    ),
    "expanded": Block(
        InvertedResidual(16, 40, 16, kernel=3, squeeze_excite=True, hard_swish=True), nn.Sequential(), frames=FRAMES
    ),
}


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_frozen_block_is_the_block_and_keeps_an_input_it_does_not_own(name: str, owned: bool) -> None:
    block = settled(copy.deepcopy(BLOCKS[name]))
    x = torch.randn(2 * FRAMES, 16, 6, 6).to(memory_format=torch.channels_last)
    expected, before = block(x), x.clone()
    frozen = freeze(block)
    assert isinstance(frozen, FrozenBlock)
    frozen.owned = owned
    torch.testing.assert_close(frozen(x), expected, atol=1e-5, rtol=1e-5)
    assert owned or torch.equal(x, before)


@pytest.mark.parametrize("owned", [False, True])
@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("kept", [[], [0], [3, 5, 6], list(range(8))], ids=str)
@pytest.mark.parametrize("kind", ["identity", "projection", "inverted"])
def test_a_frozen_focal_block_is_the_masked_block(kind: str, kept: list[int], multiple: int, owned: bool) -> None:
    residual: nn.Module = Bottleneck(16, 4, 32 if kind == "projection" else 16, groups=2)
    if kind == "inverted":
        residual = InvertedResidual(16, 24, 16, kernel=3, groups=2)
    shortcut = nn.Sequential()
    if kind == "projection":
        shortcut.extend([nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32)])
    block = settled(FocalBlock(residual, shortcut, frames=FRAMES, relu=kind != "inverted"))
    x = torch.randn(2 * FRAMES, 16, 5, 6).to(memory_format=torch.channels_last)
    rows, before = torch.tensor(kept, dtype=torch.int64), x.clone()
    gate = torch.zeros(len(x)).index_fill_(0, rows, 1.0)
    expected = block.masked(x, gate)
    frozen = freeze(block)
    assert isinstance(frozen, FrozenFocalBlock)
    frozen.owned = owned
    torch.testing.assert_close(frozen.masked(x, gate), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(frozen.skipped(x, rows, multiple), expected, atol=1e-5, rtol=1e-5)
    assert owned or torch.equal(x, before)


MODELS: dict[str, VideoModel] = {
    **{name: AFNet(backbone=name, frames=FRAMES, classes=5, keep_bias=1.0) for name in ("tiny", "mobilenetv3")},
    **{f"fusion {kind}": AFNet(backbone="tiny", frames=FRAMES, classes=5, fusion=kind) for kind in ("sum", "focal")},
    "ample alone": AFNet(backbone="tiny", frames=FRAMES, classes=5, fusion="ample"),
    "small ample": AFNet(backbone="tiny", frames=FRAMES, classes=5, ample_stride=4, keep_bias=1.0),
    "as large ample": AFNet(backbone="tiny", frames=FRAMES, classes=5, ample_stride=1, alpha=1, keep_bias=1.0),
    "one stage of cells": AFNet(backbone="tiny", frames=FRAMES, classes=5, spatial=(2,), keep_bias=1.0),
    "cells in tiles": AFNet(backbone="tiny", frames=FRAMES, classes=5, spatial=(1, 2, 3), grid=4, keep_bias=1.0),
    "no shift": AFNet(backbone="tiny", frames=FRAMES, classes=5, shift=False, keep_bias=1.0),
    "tsm": TSM(backbone="tiny", frames=FRAMES, classes=5),
}


@pytest.mark.parametrize("side", [64, 75])
@pytest.mark.parametrize("name", MODELS)
def test_an_optimised_network_is_the_network_in_every_execution(name: str, side: int) -> None:
    if name == "tsm" and side % 32:
        side = 96
    model = settled(copy.deepcopy(MODELS[name]))
    fast = optimize_for_inference(model)
    assert not any(isinstance(module, nn.BatchNorm2d) or module.training for module in fast.modules())
    clips = torch.randn(2, FRAMES, 3, side, side)
    before = clips.clone()
    blocks = len(model.unit_modules())
    for execution in EXECUTIONS:
        for share in (0.0, 0.4, 1.0):
            frames = torch.rand(blocks, 2, FRAMES) < share if blocks else None
            cells = None
            if isinstance(model, AFNet) and model.design.spatial and frames is not None:
                cells = frames[..., None, None] & CELLS[model.design.grid]  # their own decisions may be ties
            for network in (model, fast):
                network.execution, network.forced = execution, Selection(frames, cells)
            expected, found = model(clips), fast(clips)
            scale = float(expected.logits.abs().max())
            torch.testing.assert_close(found.logits, expected.logits, atol=1e-4 * scale, rtol=1e-4)
            assert torch.equal(clips, before)


@pytest.mark.parametrize("name", ["tiny", "tsm", "cells in tiles"])
def test_an_optimised_network_keeps_no_gradient_and_serves_autocast(name: str) -> None:
    model = settled(copy.deepcopy(MODELS[name]))
    fast = optimize_for_inference(model)
    clips = torch.randn(1, FRAMES, 3, 64, 64, requires_grad=True)
    assert not fast(clips).logits.requires_grad
    blocks = len(model.unit_modules())
    if blocks:
        model.forced = fast.forced = Selection(torch.ones(blocks, 1, FRAMES, dtype=torch.bool))
    for execution in EXECUTIONS:
        model.execution = fast.execution = execution
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            expected, found = model(clips).logits.float(), fast(clips).logits.float()
        torch.testing.assert_close(found, expected, atol=5e-2 * float(expected.abs().max()), rtol=5e-2)


@pytest.mark.parametrize("settings", [{}, {"spatial": (1,)}], ids=str)
def test_a_response_kept_in_inference_mode_serves_gradients_too(settings: dict[str, Any]) -> None:
    model = AFNet(backbone="tiny", frames=FRAMES, classes=5, keep_bias=1.0, **settings).eval()
    clips = torch.randn(1, FRAMES, 3, 64, 64)
    for execution in EXECUTIONS:
        model.execution = execution
        with torch.inference_mode():
            model(clips)
        model(clips).logits.sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_an_optimised_network_in_other_precisions(dtype: torch.dtype) -> None:
    model = settled(copy.deepcopy(MODELS["tiny"])).to(dtype)
    fast = optimize_for_inference(settled(copy.deepcopy(MODELS["tiny"]))).to(dtype)
    clips = torch.randn(2, FRAMES, 3, 64, 64, dtype=dtype)
    model.forced = fast.forced = Selection(torch.rand(len(model.unit_modules()), 2, FRAMES) < 0.5)
    expected = model(clips).logits.double()
    tolerance = {torch.bfloat16: 5e-2, torch.float64: 1e-5}[dtype]
    torch.testing.assert_close(
        fast(clips).logits.double(), expected, atol=tolerance * float(expected.abs().max()), rtol=tolerance
    )
