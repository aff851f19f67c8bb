"""The temporal shift: channels of neighbouring frames trade places, at no multiply-add.

Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from afnet.execution import take_rows

# One channel in so many comes from the next frame, and as many from the previous one.
FRACTION = 8


def temporal_shift(x: Tensor, frames: int, fraction: int = FRACTION) -> Tensor:
    """Shift 1/fraction of the channels in from the next frame and as many from the previous one.

    Args:
        x: (N*T, C, H, W), frame-major inside a video.
        frames: T.
        fraction: the first C // fraction channels come from the next frame, the same number after them from the
            previous frame; zeros stand in where a clip begins and ends.

    Returns:
        A new tensor of x's shape and memory format.
    """
    fold = x.shape[1] // fraction
    if not (torch.is_grad_enabled() and x.requires_grad):  # torch.jit, by which fvcore counts, cannot trace the other
        return _shift(x, frames, slice(fold), slice(fold, 2 * fold))
    shifted: Tensor = _Shift.apply(x, frames, fold)
    return shifted


def shifted_rows(x: Tensor, frames: int, rows: Tensor, fraction: int = FRACTION) -> Tensor:
    """`temporal_shift(x, frames, fraction)[rows]` without shifting the other frames; no gradient is needed.

    Args:
        rows: (k,) int64 indices into N*T.

    Returns:
        (k, C, H, W).
    """
    out = take_rows(x, rows)
    for channels, source, outside in shift_sources(x.shape[1] // fraction, frames, rows, len(x)):
        moved = take_rows(x[:, channels], source)
        out[:, channels] = moved.masked_fill_(outside.view(-1, 1, 1, 1), 0)
    return out


def shift_sources(fold: int, frames: int, rows: Tensor, count: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """What `rows` of `count` are shifted in: channels, the rows they come from, and where zeros stand in."""
    position = rows % frames
    yield slice(fold), (rows + 1).clamp_max(count - 1), position == frames - 1
    yield slice(fold, 2 * fold), (rows - 1).clamp_min(0), position == 0


def shift_(x: Tensor, frames: int, fraction: int = FRACTION) -> Tensor:
    """`temporal_shift` in place, of a tensor without gradient: moves a quarter of the channels and no other."""
    fold = x.shape[1] // fraction
    clips = x.unflatten(0, (-1, frames))  # (N, T, C, H, W)
    for channels, target, source, outside in (
        (slice(fold), slice(-1), slice(1, None), -1),
        (slice(fold, 2 * fold), slice(1, None), slice(-1), 0),
    ):
        clips[:, target, channels] = clips[:, source, channels].clone()
        clips[:, outside, channels] = 0
    return x


def _shift(x: Tensor, frames: int, from_next: slice, from_previous: slice) -> Tensor:
    shifted = x.clone()
    source, target = (tensor.unflatten(0, (-1, frames)) for tensor in (x, shifted))  # (N, T, C, H, W)
    target[:, :-1, from_next] = source[:, 1:, from_next]
    target[:, -1, from_next] = 0
    target[:, 1:, from_previous] = source[:, :-1, from_previous]
    target[:, 0, from_previous] = 0
    return shifted


class _Shift(torch.autograd.Function):
    """The shift and its transpose, which is the shift the other way; autograd's own costs a zero fill per slice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, frames: int, fold: int) -> Tensor:
        ctx.frames, ctx.folds = frames, (slice(fold), slice(fold, 2 * fold))
        return _shift(x, frames, *ctx.folds)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _shift(gradients[0], ctx.frames, *reversed(ctx.folds)), None, None
