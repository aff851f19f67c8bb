"""What is skipped, and how: gather the kept frames, compute, scatter; a constant response for the rest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def kept_rows(keep: Tensor) -> list[Tensor]:
    """Indices of the kept frames of several blocks: (blocks, N*T) bool -> one (k,) int64 tensor a block, ascending.

    How many are kept decides the shapes of what follows, so the host must know: one synchronisation for all blocks.
    """
    rows = [row.nonzero().squeeze(1) for row in keep.cpu()]
    return [row.to(keep.device, non_blocking=True) for row in rows]


def rounded_up(rows: Tensor, multiple: int) -> Tensor:
    """(k,) rows with the last one repeated up to the next multiple.

    A library that chooses an algorithm for each shape then chooses a few times only; the repeated rows are computed and
    not used.
    """
    missing = -len(rows) % multiple
    return torch.cat([rows, rows[-1:].expand(missing)]) if missing else rows


def budget_rows(logits: Tensor, budget: int) -> Tensor:
    """Rows of the `budget` frames of each video that navigation prefers most: (N, T, 2) logits -> (N * budget,) int64.

    The number is fixed, so shapes are static and the host need not wait. Ties keep the earlier frame. Rows ascend.
    """
    videos, frames, _ = logits.shape
    margin = logits[..., 1] - logits[..., 0]
    best = torch.sort(margin, dim=1, descending=True, stable=True).indices[:, :budget]
    positions = best.sort(dim=1).values
    return (positions + frames * torch.arange(videos, device=logits.device)[:, None]).flatten()


def take_rows(x: Tensor, rows: Tensor) -> Tensor:
    """x[rows], (B, C, H, W) -> (k, C, H, W).

    Channels-last maps, and slices of their channels, stay so: torch's own index_select on them does not keep the layout
    and takes ten times as long.
    """
    if x.stride(1) == 1:
        return x.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return x.index_select(0, rows)


def put_rows_(x: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """x[rows] = values, in place; equal indices have equal values."""
    if x.stride(1) == 1:
        x.permute(0, 2, 3, 1).index_copy_(0, rows, values.permute(0, 2, 3, 1))
        return x
    return x.index_copy_(0, rows, values)


def add_rows_(x: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """x[rows] += values, in place; no index twice."""
    if x.stride(1) == 1:
        x.permute(0, 2, 3, 1).index_add_(0, rows, values.permute(0, 2, 3, 1))
        return x
    return x.index_add_(0, rows, values)


def run_skipped(
    function: Callable[[Tensor], Tensor], rows: Tensor, base: Tensor, kept: Tensor, response: Tensor
) -> Tensor:
    """base + function(rows) in the kept rows, base + response elsewhere: a new tensor.

    Args:
        function: maps (j, C, H, W) to (j, D, H', W'), row by row.
        rows: (j >= k, C, H, W), its input; the rows beyond k are computed and not used.
        base: (B, D, H', W'), the shortcut.
        kept: (k,) int64, where the first k rows belong; no index twice.
        response: (1, D, H', W'), function of an all-zero row.
    """
    out = base + response
    if len(kept):
        put_rows_(out, kept, function(rows)[: len(kept)].add_(take_rows(base, kept)))
    return out


class ZeroResponse:
    """F(0) of a residual function, computed once per input size, dtype, device and state of the weights.

    With zero in, batch-norm still adds its shift, and the 3x3's zero padding makes the border differ: a dropped frame
    gets this map, the same for all of a block, not zero. A plain object, so that it stays out of the state dict; copies
    of it start empty. A weight that is changed behind torch's back (through `.data`) is not noticed.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[object, ...], WeightState, Tensor] | None = None

    def __reduce__(self) -> tuple[type[ZeroResponse], tuple[()]]:
        return ZeroResponse, ()

    def __call__(self, function: nn.Module, like: Tensor) -> Tensor:
        """The response (1, D, H', W') to one all-zero row shaped as the rows of like (B, C, H, W)."""
        key = (like.shape[1:], like.dtype, like.device)
        known = self._known
        if known is not None and known[0] == key and known[1].holds_for(function):
            return known[2]
        # Outside inference mode, so that it serves calls that keep gradients too.
        with torch.inference_mode(False), torch.no_grad():
            zero = torch.zeros((1, *like.shape[1:]), dtype=like.dtype, device=like.device)
            if like.is_contiguous(memory_format=torch.channels_last):
                zero = zero.to(memory_format=torch.channels_last)
            response: Tensor = function(zero)
        self._known = (key, WeightState(function), response)
        return response


class WeightState:
    """Which tensors a module had, and in what state.

    It holds them, so that none of their addresses can be given to another tensor meanwhile.
    """

    def __init__(self, module: nn.Module) -> None:
        self._tensors = [tensor.detach() for tensor in _tensors_of(module)]
        self._versions = _versions(self._tensors)

    def holds_for(self, module: nn.Module) -> bool:
        """Whether the module still has them, unchanged; no where that cannot be told."""
        tensors = _tensors_of(module)
        same = len(tensors) == len(self._tensors) and all(
            one.data_ptr() == other.data_ptr() for one, other in zip(tensors, self._tensors, strict=True)
        )
        return same and self._versions is not None and self._versions == _versions(tensors)


def _tensors_of(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _versions(tensors: list[Tensor]) -> list[int] | None:
    """In-place versions; None where there are none: tensors made in inference mode."""
    return None if any(tensor.is_inference() for tensor in tensors) else [tensor._version for tensor in tensors]
