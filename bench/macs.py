"""Executed multiply-adds: what a forward really computed, counted by torch on real clips.

FlopCounterMode sees the operators that ran and counts two operations per multiply-add in convolutions, linear layers
and matrix products, and nothing for the rest (normalisation, activations, pooling, shifts, gathers). "MACs" here are
its count halved; the field's "GFLOPs" are these, in units of 1e9.

A model that skips costs `static + sum over its unit modules of units x cost of a unit`, a unit being what it decides
on: a frame of a block, a pixel of a map, a frame at a resolution. The parts are read off two counted forwards,
"masked", which computes every unit, and "dense", so that the cost of every video of a validation set is exact without
counting each; `verify` holds the model against the counter on a batch of real clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from afnet.contract import Execution, Selection, VideoModel
from afnet.fused import FUSES


@dataclass(frozen=True)
class CostModel:
    """Multiply-adds of one video.

    Attributes:
        static: computed for every video, whatever is decided; the policy is part of it.
        per_unit: (modules,) for each unit of a unit module; empty where nothing is skipped.
        all_units: (modules,) of a video when everything is computed.
        policy: the part of `static` spent on deciding.
        dense: of the execution that ignores decisions.
        operators: of the dense execution, by operator.
        modules: of the masked execution, by module, two levels deep.
    """

    static: int
    per_unit: tuple[int, ...]
    all_units: tuple[int, ...]
    policy: int
    dense: int
    operators: dict[str, int]
    modules: dict[str, int]

    def of(self, units: NDArray[np.int64]) -> NDArray[np.int64]:
        """(videos,) multiply-adds of (modules, videos) units."""
        return self.static + np.tensordot(np.array(self.per_unit, np.int64), units.astype(np.int64), axes=1)

    def executed(self, model: VideoModel, selection: Selection, clips: Tensor) -> NDArray[np.int64]:
        """(N,) multiply-adds of each of these clips in the model's execution, for its decisions."""
        videos = len(clips)
        if model.execution == "dense" or not self.per_unit:
            return np.full(videos, self.dense if model.execution == "dense" else self.static, np.int64)
        if model.execution == "masked":
            return self.of(np.tile(np.array(self.all_units, np.int64)[:, None], videos))
        return self.of(model.kept_units(selection, *clips.shape[-2:]).cpu().numpy())

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": "multiply-adds per video",
            "counter": "torch.utils.flop_counter.FlopCounterMode, halved",
            "static": self.static,
            "per_unit": list(self.per_unit),
            "all_units": list(self.all_units),
            "policy": self.policy,
            "dense": self.dense,
            "operators": self.operators,
            "modules": self.modules,
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


def _attention_flops(query: Any, key: Any, value: Any, *others: Any, out_shape: Any = None, **named: Any) -> int:
    return sdpa_flop_count(query, key, value)


# What the counter does not know: attention on a processor, which it would take for free, and fused convolutions.
FORMULAS: dict[Any, Any] = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
if FUSES:
    FORMULAS |= {
        torch.ops.mkldnn._convolution_pointwise: _fused_flops,
        torch.ops.mkldnn._convolution_pointwise_: _fused_sum_flops,
    }


def count(model: VideoModel, clips: Tensor) -> dict[str, dict[str, int]]:
    """Multiply-adds of one forward by module name and operator; the root is "Global".

    The forward runs twice: what is computed once and kept (responses to zero input) is not part of a video's cost.
    Without cuDNN, whose recurrent layers are one operator that the counter does not know.
    """
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        model(clips)
        with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
            model(clips)
    root = type(model).__name__
    return {
        name.removeprefix(f"{root}."): {str(operator): flops // 2 for operator, flops in operators.items()}
        for name, operators in counter.get_flop_counts().items()
    }


def cost_model(model: VideoModel, clips: Tensor) -> CostModel:
    """Read the parts of the cost off two counted forwards of clips (N, T, 3, H, W)."""
    videos = len(clips)
    masked, dense = (_count_as(model, clips, execution) for execution in ("masked", "dense"))
    units = model.all_units(*clips.shape[-2:])
    work = [total(masked, name) // videos for name in model.unit_modules()]
    return CostModel(
        static=total(masked, "Global") // videos - sum(work),
        per_unit=tuple(macs // count for macs, count in zip(work, units, strict=True)),
        all_units=units,
        policy=sum(total(masked, name) for name in model.policy_modules()) // videos,
        dense=total(dense, "Global") // videos,
        operators={operator: macs // videos for operator, macs in dense["Global"].items()},
        modules=by_module(masked, type(model).__name__, videos),
    )


def by_module(counted: dict[str, dict[str, int]], root: str, videos: int) -> dict[str, int]:
    """Multiply-adds of a video by module, two levels deep; what no module of a name did is the root's."""
    totals = {name: total(counted, name) for name in counted if name not in ("Global", root)}
    own = {**totals, root: total(counted, "Global")}  # without what was done in modules within
    for name, macs in totals.items():
        parts = name.split(".")
        above = (".".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1))
        own[next((parent for parent in above if parent in totals), root)] -= macs
    found: dict[str, int] = {}
    for name, macs in own.items():
        group = ".".join(name.split(".")[:2])
        found[group] = found.get(group, 0) + macs // videos
    return {name: macs for name, macs in found.items() if macs}


def _count_as(model: VideoModel, clips: Tensor, execution: Execution) -> dict[str, dict[str, int]]:
    before = model.execution
    try:
        model.execution = execution
        return count(model, clips)
    finally:
        model.execution = before


def verify(model: VideoModel, clips: Tensor, cost: CostModel) -> int:
    """Hold the cost model against the counter on the model's own decisions.

    Returns:
        The multiply-adds of these clips.

    Raises:
        MismatchError: when they differ by a single multiply-add.
    """
    with torch.no_grad():
        selection = model(clips).selection
    predicted = int(cost.executed(model, selection, clips).sum())
    with model.forcing(selection):  # a decision that is drawn would be drawn anew
        counted = total(count(model, clips), "Global")
    if predicted != counted:
        raise MismatchError(
            f"the cost model gives {predicted} multiply-adds for {len(clips)} videos, the counter {counted}: "
            f"{type(model).__name__} computes something that its units do not name"
        )
    return counted


def total(counted: dict[str, dict[str, int]], module: str) -> int:
    """Of a module; of a list of modules, which is never called itself, of all in it."""
    if module in counted:
        return sum(counted[module].values())
    children = (name for name in counted if name.startswith(f"{module}.") and name.count(".") == module.count(".") + 1)
    return sum(sum(counted[name].values()) for name in children)
