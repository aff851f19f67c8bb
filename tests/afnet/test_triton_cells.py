"""The kernel for cells equals what is written out in torch: on the GPU where there is one, else in the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from afnet import inference, optimize_for_inference, spatial
from afnet.contract import Selection
from bench.macs import cost_model, verify
from tests.afnet.test_network import make
from tests.afnet.test_spatial import FRAMES, decided, logits

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"


@given(
    seed=st.integers(0, 2**16),
    share=st.sampled_from([0.0, 0.2, 1.0]),
    maps=st.sampled_from([(1, 1, 1), (2, 5, 3), (3, 7, 7)]),
    channels=st.sampled_from([(3, 5, 1), (8, 4, 2), (40, 72, 2), (80, 16, 1)]),
    bias=st.booleans(),
    relu=st.booleans(),
    channels_last=st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_kernel_is_the_gathered_convolution(
    seed: int,
    share: float,
    maps: tuple[int, int, int],
    channels: tuple[int, int, int],
    bias: bool,
    relu: bool,
    channels_last: bool,
) -> None:
    torch.manual_seed(seed)
    inputs, outputs, groups = channels
    from afnet.triton_cells import conv_3x3

    conv = torch.nn.Conv2d(inputs * groups, outputs * groups, 3, padding=1, groups=groups, bias=bias)
    conv = conv.to(DEVICE)
    if channels_last:
        conv = conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    frames, height, width = maps
    pixels = (torch.rand(frames * height * width) < share).nonzero().squeeze(1).to(DEVICE)
    rows, outside = (
        torch.randn(len(pixels), inputs * groups, device=DEVICE),
        torch.randn(1, inputs * groups, device=DEVICE),
    )
    frame, place = pixels // (height * width), pixels % (height * width)
    centres = (frame * (height + 2) + place // width + 1) * (width + 2) + place % width + 1
    with torch.no_grad():
        expected = spatial._conv_3x3(conv, rows, outside, centres, maps)
        found = conv_3x3(rows, outside, conv.weight, conv.bias, centres, list(maps), groups, relu)
    torch.testing.assert_close(found, expected.relu() if relu else expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_network_with_the_kernel_equals_masked(monkeypatch: pytest.MonkeyPatch, optimised: bool, share: float) -> None:
    model = make(spatial=(1, 2), grid=4).to(DEVICE)
    decided(model, 3, share)
    assert model.forced.frames is not None and model.forced.cells is not None
    model.forced = Selection(model.forced.frames.to(DEVICE), model.forced.cells.to(DEVICE))
    x = torch.randn(2, FRAMES, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    expected = logits(model, x, "masked")
    used = []

    def serves(conv: torch.nn.Conv2d, rows: torch.Tensor) -> bool:
        used.append(len(rows))
        return spatial.suits_kernel(conv, rows)

    for module in (spatial, inference):
        monkeypatch.setattr(module, "kernel_serves", serves)
    fast = optimize_for_inference(model) if optimised else model
    torch.testing.assert_close(logits(fast, x, "skipped"), expected, atol=1e-3, rtol=1e-3)
    verify(fast, x, cost_model(model, x))
    with torch.autocast(DEVICE, torch.bfloat16):
        half = logits(fast, x, "skipped").float()
    torch.testing.assert_close(half, expected, atol=0.1 * float(expected.abs().max()), rtol=0)
    assert used or not share


@pytest.mark.skipif(not INTERPRETED, reason="a GPU runs it in every other test here")
def test_kernel_compiles_for_gpus_in_each_dtype() -> None:
    """The interpreter accepts what the compiler does not."""
    code = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from afnet.triton_cells import _conv_3x3
integers = dict.fromkeys(("count", "across", "stride_n", "stride_k", "stride_y", "stride_x"), "i32")
constants = dict(groups=2, K=24, N=40, has_bias=True, relu=True, block_p=64, block_k=32, block_n=64)
for dtype in ("fp32", "bf16", "fp16"):
    signature = dict.fromkeys(("rows", "outside", "weight", "bias", "out"), f"*{dtype}") | integers
    signature |= dict(numbers="*i32", centres="*i64") | dict.fromkeys(constants, "constexpr")
    for capability in (80, 90):
        source = ASTSource(_conv_3x3, signature=signature, constexprs=constants)
        assert compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]
print("compiled")
"""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "compiled\n", done.stderr
