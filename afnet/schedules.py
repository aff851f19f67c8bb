"""AFNet's loss on the kept ratio and its two schedules (paper, section 3.3; epochs from the released recipe)."""

from __future__ import annotations

import torch
from torch import Tensor

# The released Something-Something recipe runs 55 epochs; its epochs are kept here as shares of the run.
EPOCHS = 55
WARM_START, WARM_END = 10 / EPOCHS, 20 / EPOCHS
TEMPERATURE_EPOCHS = 50


def target_ratio(ratio: float, fraction: float, *, start: float = WARM_START, end: float = WARM_END) -> float:
    """RT, the share of frames to keep at this point of training.

    1 before `start`, then down in three equal steps, at `start`, half way and at `end`: in the released recipe 1 until
    epoch 10 of 55, ratio + 2/3 (1 - ratio) until 15, ratio + 1/3 (1 - ratio) until 20, then ratio.
    """
    # The small term absorbs the rounding of step / steps at an edge.
    steps_down = sum(fraction + 1e-9 >= edge for edge in (start, (start + end) / 2, end))
    return ratio + (1 - ratio) * (3 - steps_down) / 3


def temperature(fraction: float, *, start: float = 1.0, end: float = 0.01) -> float:
    """Gumbel-softmax temperature, exponential from start to end over the first 50 of 55 epochs, then constant."""
    share = min(fraction * EPOCHS / TEMPERATURE_EPOCHS, 1.0)
    return start * (end / start) ** share


def ratio_loss(gates: Tensor, target: float) -> Tensor:
    """Mean over blocks of (target - kept ratio of the block)^2; gates (blocks, N, T)."""
    return torch.mean((target - gates.mean(dim=(1, 2))) ** 2)
