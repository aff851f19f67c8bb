"""What is skipped, and how: gather the kept frames, compute, scatter; a constant response for the rest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def run_skipped(
    function: Callable[[Tensor], Tensor], x: Tensor, base: Tensor, keep: Tensor, response: Tensor
) -> Tensor:
    """base + function(x) where keep, base + response elsewhere, computing function on kept rows only.

    Args:
        function: maps (B, C, H, W) to (B, D, H', W'), row by row.
        x: (B, C, H, W).
        base: (B, D, H', W'), the shortcut.
        keep: (B,) bool.
        response: (1, D, H', W'), function of an all-zero row.
    """
    kept = keep.nonzero().squeeze(1)  # the one host synchronisation of a block
    if kept.numel() == keep.numel():
        return base + function(x)
    out = base + response
    if kept.numel():
        out[kept] = base[kept] + function(x[kept])
    return out


class ZeroResponse:
    """F(0) of a residual function, computed once per input size, dtype, device and state of the weights.

    With zero in, batch-norm still adds its shift, and the 3x3's zero padding makes the border differ: a dropped frame
    gets this map, the same for all of a block, not zero. A plain object, so that it stays out of the state dict.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._response: Tensor | None = None

    def __call__(self, function: nn.Module, like: Tensor) -> Tensor:
        """The response (1, D, H', W') to one all-zero row shaped as the rows of like (B, C, H, W)."""
        key = (like.shape[1:], like.dtype, like.device, *_state_of(function))
        if self._response is None or key != self._key:
            with torch.no_grad():
                zero = torch.zeros_like(like[:1])
                self._response = function(zero)
            self._key = key
        return self._response


def _state_of(function: nn.Module) -> tuple[tuple[int, int], ...]:
    """Identity and in-place version of every tensor of a module: changes when the weights do."""
    tensors = [*function.parameters(), *function.buffers()]
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
