"""Executed multiply-adds: what a forward really computed, counted by torch on real clips.

FlopCounterMode sees the operators that ran and counts two operations per multiply-add in convolutions, linear layers
and matrix products, and nothing for the rest (normalisation, activations, pooling, shifts, gathers). "MACs" here are
its count halved; the field's "GFLOPs" are these, in units of 1e9.

A model that skips costs `static + sum over blocks of kept units x cost of a unit`, a unit being a frame, or a pixel of
the block's map where it computes cells. The parts are read off one
counted forward, so that the cost of every video of a validation set is exact without counting each; `verify` holds
the model against the counter on a batch of real clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from afnet.contract import Selection, VideoModel
from afnet.fused import FUSES


@dataclass(frozen=True)
class CostModel:
    """Multiply-adds of one video.

    Attributes:
        static: computed for every video, whatever is decided; the policy is part of it.
        per_unit: (blocks,) for each kept unit of a block; empty where nothing is skipped.
        units_per_frame: (blocks,) how many of them a whole frame is.
        policy: the part of `static` spent on deciding.
        frames: T.
        operators: static and kept work of one video with everything kept, by operator.
    """

    static: int
    per_unit: tuple[int, ...]
    units_per_frame: tuple[int, ...]
    policy: int
    frames: int
    operators: dict[str, int]

    @property
    def dense(self) -> int:
        """With every unit computed."""
        frame = (cost * units for cost, units in zip(self.per_unit, self.units_per_frame, strict=True))
        return self.static + self.frames * sum(frame)

    def of(self, units: NDArray[np.int64] | None, videos: int) -> NDArray[np.int64]:
        """(videos,) multiply-adds; units is (blocks, videos) kept units, or None where everything is computed."""
        if units is None:
            return np.full(videos, self.dense, np.int64)
        return self.static + np.tensordot(np.array(self.per_unit, np.int64), units.astype(np.int64), axes=1)

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": "multiply-adds per video",
            "counter": "torch.utils.flop_counter.FlopCounterMode, halved",
            "static": self.static,
            "per_unit": list(self.per_unit),
            "units_per_frame": list(self.units_per_frame),
            "policy": self.policy,
            "dense": self.dense,
            "operators": self.operators,
            "not_counted": "normalisation, activation, pooling, element-wise arithmetic, copies, decoding",
        }


class MismatchError(RuntimeError):
    """The cost model and the counter disagree; a number that rests on it must not be recorded."""


def _fused_flops(x: Any, weight: Any, *others: Any, out_shape: Any = None, **named: Any) -> int:
    """Of afnet.fused's convolutions, whatever they add and rectify: two for each weight and place it is applied to."""
    out_channels, places = out_shape[1], math.prod(out_shape) // out_shape[1]
    assert weight[0] == out_channels
    return 2 * places * math.prod(weight)


def _fused_sum_flops(add: Any, x: Any, weight: Any, *others: Any, out_shape: Any = None, **named: Any) -> int:
    return _fused_flops(x, weight, out_shape=out_shape)


# The counter knows torch's public convolutions only.
FUSED_CONVOLUTIONS: dict[Any, Any] = {}
if FUSES:
    FUSED_CONVOLUTIONS = {
        torch.ops.mkldnn._convolution_pointwise: _fused_flops,
        torch.ops.mkldnn._convolution_pointwise_: _fused_sum_flops,
    }


def count(model: VideoModel, clips: Tensor) -> dict[str, dict[str, int]]:
    """Multiply-adds of one forward by module name and operator; the root is "Global".

    The forward runs twice: what is computed once and kept (responses to zero input) is not part of a video's cost.
    """
    with torch.no_grad():
        model(clips)
        with FlopCounterMode(display=False, custom_mapping=FUSED_CONVOLUTIONS) as counter:
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
    blocks = [_total(counted, name) // (videos * model.frames) for name in model.unit_modules()]
    units = model.units_per_frame(*clips.shape[-2:])
    total = _total(counted, "Global")
    return CostModel(
        static=total // videos - model.frames * sum(blocks),
        per_unit=tuple(cost // count for cost, count in zip(blocks, units, strict=True)),
        units_per_frame=units,
        policy=sum(_total(counted, name) for name in model.policy_modules()) // videos,
        frames=model.frames,
        operators={operator: macs // videos for operator, macs in counted["Global"].items()},
    )


def _count_all_kept(model: VideoModel, clips: Tensor) -> dict[str, dict[str, int]]:
    """Count the dense execution, which computes every unit whatever is decided."""
    execution = model.execution
    try:
        model.execution = "dense"
        return count(model, clips)
    finally:
        model.execution = execution


def kept_units(model: VideoModel, selection: Selection, clips: Tensor) -> NDArray[np.int64] | None:
    """(blocks, N) units that the model's execution computed of clips; None where it computed everything."""
    if model.execution != "skipped" or selection.frames is None:
        return None
    return model.kept_units(selection, *clips.shape[-2:]).cpu().numpy()


def verify(model: VideoModel, clips: Tensor, cost: CostModel) -> int:
    """Hold the cost model against the counter on the model's own decisions.

    Returns:
        The multiply-adds of these clips.

    Raises:
        MismatchError: when they differ by a single multiply-add.
    """
    with torch.no_grad():
        selection = model(clips).selection
    predicted = int(cost.of(kept_units(model, selection, clips), len(clips)).sum())
    with model.forcing(selection):  # a decision that is drawn would be drawn anew
        counted = _total(count(model, clips), "Global")
    if predicted != counted:
        raise MismatchError(
            f"the cost model gives {predicted} multiply-adds for {len(clips)} videos, the counter {counted}: "
            f"{type(model).__name__} computes something that its units do not name"
        )
    return counted


def _total(counted: dict[str, dict[str, int]], module: str) -> int:
    return sum(counted.get(module, {}).values())
