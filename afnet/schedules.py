"""AFNet's losses on the kept ratio and its schedules; epochs from the released recipe."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

# The released Something-Something recipe runs 55 epochs; its epochs are kept here as shares of the run.
EPOCHS = 55
WARM_START, WARM_END = 10 / EPOCHS, 20 / EPOCHS
TEMPERATURE_EPOCHS = 50

RatioSchedule = Literal["steps", "linear", "constant"]
TemperatureSchedule = Literal["exponential", "linear", "constant"]


def target_ratio(
    ratio: float,
    fraction: float,
    *,
    start: float = WARM_START,
    end: float = WARM_END,
    shape: RatioSchedule = "steps",
) -> float:
    """RT, the share to keep at this point of training.

    "steps", as published: 1 before `start`, then down in three equal steps, at `start`, half way and at `end`; in the
    released recipe 1 until epoch 10 of 55, ratio + 2/3 (1 - ratio) until 15, ratio + 1/3 (1 - ratio) until 20, then
    ratio. "linear": down from `start` to `end` without steps. "constant": ratio from the first step on.
    """
    if shape == "constant":
        return ratio
    # The small term absorbs the rounding of step / steps at an edge.
    fraction += 1e-9
    if shape == "linear" and end > start:
        done = min(max((fraction - start) / (end - start), 0.0), 1.0)
    else:
        done = sum(fraction >= edge for edge in (start, (start + end) / 2, end)) / 3
    return 1 - (1 - ratio) * done


def temperature(
    fraction: float, *, start: float = 1.0, end: float = 0.01, shape: TemperatureSchedule = "exponential"
) -> float:
    """Gumbel-softmax temperature, from start to end over the first 50 of 55 epochs, then constant.

    "exponential" as published; "linear"; "constant" stays at start.
    """
    share = min(fraction * EPOCHS / TEMPERATURE_EPOCHS, 1.0)
    if shape == "constant":
        return start
    return start + (end - start) * share if shape == "linear" else start * (end / start) ** share


def ratio_loss(gates: Tensor, target: float) -> Tensor:
    """Mean over blocks of (target - kept ratio of the block)^2; gates (blocks, N, T)."""
    return torch.mean((target - gates.mean(dim=(1, 2))) ** 2)


def cell_ratio_loss(cells: Tensor, gates: Tensor, target: float) -> Tensor:
    """The same for cells (blocks, N, T, grid, grid): the kept share of the cells of kept frames, gates (blocks, N, T).

    Frames count with their gate, of which this loss takes no gradient: it asks for fewer cells, not for other frames.
    """
    weight = gates.detach()
    shares = (cells.mean(dim=(3, 4)) * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp_min(1.0)
    # A block that keeps no frame has no cells to speak of.
    present = (weight.sum(dim=(1, 2)) > 0).to(shares.dtype)
    return torch.mean(present * (target - shares) ** 2)
