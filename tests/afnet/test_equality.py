"""The property the project stands on: what is skipped changes nothing.

Masked is the definition; skipped, and the optimised network in either execution, must give its logits for any
selection, size, dtype, layout and variant of the network.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from afnet import AFNet, optimize_for_inference
from afnet.contract import Selection
from tests.afnet.test_network import make

# Largest difference as a share of the largest logit: rounding through some forty layers.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
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
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(32, 72), st.integers(32, 72)),
    dtype=st.sampled_from(list(TOLERANCE)),
    channels_last=st.booleans(),
    shares=st.tuples(*[st.sampled_from([0.0, 0.3, 0.7, 1.0])] * 2),
    buckets=st.sampled_from([0, 2]),
    optimised=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=8, deadline=None)
def test_skipped_is_masked(
    variant: dict[str, Any],
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    channels_last: bool,
    shares: tuple[float, float],
    buckets: int,
    optimised: bool,
    seed: int,
) -> None:
    videos, frames, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    model = make(frames=frames, **variant)
    kept = torch.rand(len(model.unit_modules()), videos, frames, generator=generator) < shares[0]
    grid = model.design.grid
    cells = torch.rand(*kept.shape, grid, grid, generator=generator) < shares[1]
    model.forced = Selection(kept, cells)
    model.buckets = buckets
    x = torch.randn(videos * frames, 3, height, width, generator=generator).to(dtype)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    x = x.unflatten(0, (videos, frames))
    fast = optimize_for_inference(model).to(dtype)  # before the cast: folding rounds
    model = model.to(dtype)
    expected = logits(model, x, "masked")
    limit = TOLERANCE[dtype] * max(expected.abs().max().item(), 1.0)
    # Folded batch-norms round at other places, in the dtype that they were folded in.
    folded = max(limit, 1e-4 * max(expected.abs().max().item(), 1.0))
    for execution in ("masked", "skipped") if optimised else ("skipped",):
        found = logits(fast if optimised else model, x, execution)
        torch.testing.assert_close(found, expected, rtol=0, atol=folded if optimised else limit)
