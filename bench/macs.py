"""Executed multiply-adds: what a forward really computed, counted by torch on real clips.

FlopCounterMode sees the operators that ran and counts two operations per multiply-add in convolutions, linear layers
and matrix products, and nothing for the rest (normalisation, activations, pooling, shifts, gathers). "MACs" here are
its count halved; the field's "GFLOPs" are these, in units of 1e9.

A model that skips costs `static + sum over blocks of kept frames x cost of a kept frame`. The parts are read off one
counted forward, so that the cost of every video of a validation set is exact without counting each; `verify` holds
the model against the counter on a batch of real clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from afnet.contract import VideoModel


@dataclass(frozen=True)
class CostModel:
    """Multiply-adds of one video.

    Attributes:
        static: computed for every video, whatever is decided; the policy is part of it.
        per_unit: (blocks,) for each kept frame of a block; empty where nothing is skipped.
        policy: the part of `static` spent on deciding.
        frames: T.
        operators: static and kept work of one video with everything kept, by operator.
    """

    static: int
    per_unit: tuple[int, ...]
    policy: int
    frames: int
    operators: dict[str, int]

    @property
    def dense(self) -> int:
        """With every unit computed."""
        return self.static + self.frames * sum(self.per_unit)

    def of(self, kept: NDArray[np.bool_] | None, videos: int) -> NDArray[np.int64]:
        """(videos,) multiply-adds; kept is (blocks, videos, T) or None where nothing is skipped."""
        if kept is None:
            return np.full(videos, self.static, np.int64)
        return self.static + np.tensordot(np.array(self.per_unit, np.int64), kept.sum(axis=2, dtype=np.int64), axes=1)

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": "multiply-adds per video",
            "counter": "torch.utils.flop_counter.FlopCounterMode, halved",
            "static": self.static,
            "per_unit": list(self.per_unit),
            "policy": self.policy,
            "dense": self.dense,
            "operators": self.operators,
            "not_counted": "normalisation, activation, pooling, element-wise arithmetic, copies, decoding",
        }


class MismatchError(RuntimeError):
    """The cost model and the counter disagree; a number that rests on it must not be recorded."""


def count(model: VideoModel, clips: Tensor) -> dict[str, dict[str, int]]:
    """Multiply-adds of one forward by module name and operator; the root is "Global".

    The forward runs twice: what is computed once and kept (responses to zero input) is not part of a video's cost.
    """
    with torch.no_grad():
        model(clips)
        with FlopCounterMode(display=False) as counter:
            model(clips)
    root = type(model).__name__
    return {
        name.removeprefix(f"{root}."): {str(operator): flops // 2 for operator, flops in operators.items()}
        for name, operators in counter.get_flop_counts().items()
    }


def cost_model(model: VideoModel, clips: Tensor) -> CostModel:
    """Read the parts of the cost off one counted forward of clips (N, T, 3, H, W) with everything kept."""
    videos = len(clips)
    counted = _count_all_kept(model, clips)
    units = tuple(_total(counted, name) // (videos * model.frames) for name in model.unit_modules())
    total = _total(counted, "Global")
    return CostModel(
        static=total // videos - model.frames * sum(units),
        per_unit=units,
        policy=sum(_total(counted, name) for name in model.policy_modules()) // videos,
        frames=model.frames,
        operators={operator: macs // videos for operator, macs in counted["Global"].items()},
    )


def _count_all_kept(model: VideoModel, clips: Tensor) -> dict[str, dict[str, int]]:
    execution, forced = model.execution, model.forced
    try:
        model.execution = "skipped"
        if model.unit_modules():
            model.forced = torch.ones(len(model.unit_modules()), len(clips), model.frames, dtype=torch.bool)
        return count(model, clips)
    finally:
        model.execution, model.forced = execution, forced


def verify(model: VideoModel, clips: Tensor, cost: CostModel) -> None:
    """Hold the cost model against the counter on the model's own decisions.

    Raises:
        MismatchError: when they differ by a single multiply-add.
    """
    with torch.no_grad():
        frames = model(clips).selection.frames
    kept = frames.cpu().numpy() if frames is not None and model.execution == "skipped" else None
    if kept is None and model.unit_modules():
        kept = np.ones((len(cost.per_unit), len(clips), model.frames), np.bool_)
    predicted = int(cost.of(kept, len(clips)).sum())
    counted = _total(count(model, clips), "Global")
    if predicted != counted:
        raise MismatchError(
            f"the cost model gives {predicted} multiply-adds for {len(clips)} videos, the counter {counted}: "
            f"{type(model).__name__} computes something that its units do not name"
        )


def _total(counted: dict[str, dict[str, int]], module: str) -> int:
    return sum(counted.get(module, {}).values())
