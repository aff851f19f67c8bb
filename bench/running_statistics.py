"""Running statistics of batch normalisation, the same on any number of processes."""

from __future__ import annotations

import torch
from torch import Tensor

from afnet.contract import VideoModel
from bench.distributed import Team


class Statistics:
    """A network's buffers over the parts of a step: each part begins with those of before the step.

    What parts make of them is averaged, so that it is the same on any number of processes; of integers, which count
    forwards, a step counts one. With a single part nothing is done.
    """

    def __init__(self, model: VideoModel, parts: int) -> None:
        self._parts = parts
        self._buffers = list(model.buffers()) if parts > 1 else []
        self._before = [buffer.clone() for buffer in self._buffers]
        self._sums = [torch.zeros_like(buffer) for buffer in self._buffers if buffer.is_floating_point()]

    def before_part(self) -> None:
        """As they were before the step."""
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(before)

    def after_part(self) -> None:
        """Take up what the part made of them."""
        for total, buffer in zip(self._sums, self._floating(), strict=True):
            total += buffer

    def settle(self, team: Team) -> None:
        """The mean over all parts."""
        if not self._sums:
            return
        flat = team.sum(torch.cat([total.reshape(-1) for total in self._sums])) / self._parts
        sizes = [total.numel() for total in self._sums]
        for buffer, mean in zip(self._floating(), flat.split(sizes), strict=True):
            buffer.copy_(mean.view_as(buffer))

    def _floating(self) -> list[Tensor]:
        return [buffer for buffer in self._buffers if buffer.is_floating_point()]
