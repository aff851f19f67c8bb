"""The property the project stands on: what is skipped changes nothing.

Masked is the definition; skipped, and the optimised network in either execution, must give its logits for any
selection, size, dtype, layout and variant of the network.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from afnet import AFNet, optimize_for_inference
from afnet.contract import Selection
from bench.gpu import decisive, effect
from bench.macs import cost_model, verify
from tests.afnet.test_network import make

# Largest difference, as a share of what computing nothing changes: rounding through some forty layers. Folded
# batch-norms round at other places, in the dtype that they were folded in.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 2e-2}
FOLDED = {**TOLERANCE, torch.float64: 1e-4, torch.float32: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.1}
# Or as many times what the masked network is off its own value in double precision, since both round.
TWICE = 2.0
VARIANTS: list[dict[str, Any]] = [
    {},
    {"shift": False},
    {"context": "temporal", "sharing": "stage"},
    {"fusion": "sum", "alpha": 4},
    {"fusion": "focal", "ample_stride": 1},
    {"ample_stride": 4, "alpha": 1},
    {"spatial": (1, 2)},
    {"spatial": (1,), "grid": 4},
    {"spatial": (1, 2, 3), "grid": 3, "shift": False, "sharing": "stage"},
    {"backbone": "mobilenetv3"},
]


def logits(model: AFNet, x: Tensor, execution: str) -> Tensor:
    model.execution = execution  # type: ignore[assignment]
    with torch.no_grad():
        return model(x).logits.double()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.sampled_from([32, 45, 56, 64, 71]), st.integers(32, 72)),
    square=st.booleans(),
    dtype=st.sampled_from(list(TOLERANCE)),
    channels_last=st.booleans(),
    shares=st.tuples(*[st.sampled_from([0.0, 0.3, 0.7, 1.0])] * 2),
    buckets=st.sampled_from([0, 2]),
    optimised=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=12, deadline=None)
def test_skipped_is_masked(
    variant: dict[str, Any],
    shape: tuple[int, int, int, int],
    square: bool,
    dtype: torch.dtype,
    channels_last: bool,
    shares: tuple[float, float],
    buckets: int,
    optimised: bool,
    seed: int,
) -> None:
    videos, frames, height, width = shape
    width = height if square else width
    generator = torch.Generator().manual_seed(seed)
    model = decisive(make(frames=frames, **variant))
    kept = torch.rand(len(model.unit_modules()), videos, frames, generator=generator) < shares[0]
    grid = model.design.grid
    chosen = Selection(kept, torch.rand(*kept.shape, grid, grid, generator=generator) < shares[1])
    model.buckets = buckets
    x = torch.randn(videos * frames, 3, height, width, generator=generator).to(dtype)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    x = x.unflatten(0, (videos, frames))
    fast = optimize_for_inference(model).to(dtype)  # before the cast: folding rounds
    exact = copy.deepcopy(model).double()
    model = model.to(dtype)
    model.forced = fast.forced = exact.forced = chosen
    expected = logits(model, x, "masked")
    # Some networks of random weights amplify rounding more than others: this one's own, of the definition itself.
    rounding = (logits(exact, x.double(), "masked") - expected).abs().max().item()
    with torch.no_grad():
        unit = effect(model, x)
    assume(unit)  # of random weights it is rarely nothing
    for execution in ("masked", "skipped") if optimised else ("skipped",):
        found = logits(fast if optimised else model, x, execution)
        limit = max((FOLDED if optimised else TOLERANCE)[dtype] * unit, TWICE * rounding)
        torch.testing.assert_close(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize(("side", "grid"), [(328, 2), (368, 14)])
def test_cells_of_large_maps_are_the_same_everywhere(side: int, grid: int) -> None:
    """Where torch's nearest neighbour would put some pixels into other cells."""
    model = decisive(make(frames=1, spatial=(1,), grid=grid))
    cells = torch.rand(6, 1, 1, grid, grid, generator=torch.Generator().manual_seed(0)) < 0.5
    model.forced = Selection(torch.ones(6, 1, 1, dtype=torch.bool), cells)
    fast, x = optimize_for_inference(model), torch.randn(1, 1, 3, side, side)
    expected = logits(model, x, "masked")
    with torch.no_grad():
        unit = effect(model, x)
    assert unit
    torch.testing.assert_close(logits(fast, x, "skipped"), expected, rtol=0, atol=1e-3 * unit)
    verify(fast, x, cost_model(model, x))
