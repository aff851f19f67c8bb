"""The registry: every method by name, what can be set in it, and where it is built. Imports no torch.

A method is one file with a `VideoModel` and one entry in METHODS; settings that it has for itself are a dataclass here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, unknown
from bench.fields import Checked, choice, number, switch

if TYPE_CHECKING:
    from afnet.contract import VideoModel

# Those of baselines.backbones, which imports torch; a test holds them together.
BACKBONES = (
    "tiny-glance",
    "tiny",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "mobilenetv2",
    "mobilenetv3",
    "efficientnet-lite0",
)


@dataclass(frozen=True)
class FrameAverage(Checked):
    """Settings of TSN and TSM."""

    path = "model.settings"

    dropout: float = number(0.5, "probability, before the classifier", at_least=0, below=1)


@dataclass(frozen=True)
class AFNet(Checked):
    """Settings of AFNet; the defaults are the paper's, all else is an ablation or an extension."""

    path = "model.settings"

    ratio: float = number(0.5, "share of frames per block to aim at (RT)", above=0, at_most=1)
    shift: bool = switch(True, "temporal shift in every block")
    dropout: float = number(0.5, "probability, before the classifier", at_least=0, below=1)
    # How decisions are trained.
    ratio_weight: float = number(0.5, "weight of the loss on the ratio (lambda)", at_least=0)
    ratio_schedule: str = choice("steps", "how the target ratio falls", "steps", "linear", "constant")
    warm_start: float = number(10 / 55, "share of the run before the target ratio first drops", at_least=0, at_most=1)
    warm_end: float = number(20 / 55, "share of the run after which the target is the ratio", at_least=0, at_most=1)
    temperature_schedule: str = choice(
        "exponential", "of the Gumbel-softmax temperature", "exponential", "linear", "constant"
    )
    start_temperature: float = number(1.0, "Gumbel-softmax temperature at the start of the run", above=0)
    end_temperature: float = number(0.01, "Gumbel-softmax temperature at the end of the run", above=0)
    hard: bool = switch(True, "decisions of 0 or 1; soft weights, which skip nothing, otherwise")
    keep_bias: float = number(10.0, "navigation's initial logit of keep; drop starts at 1")
    alike_start: bool = switch(False, "navigation starts with the same map for all frame positions")
    zero_init: bool = switch(True, "the dense bottlenecks' last batch-norm starts at zero")
    # What the network is made of.
    navigation: str = choice("learned", "who chooses the frames", "learned", "random", "uniform")
    context: str = choice(
        "position",
        "what navigation sees: frames by position (published), each alike, or with their neighbours",
        "position",
        "shared",
        "temporal",
    )
    sharing: str = choice("block", "one decision a block or one a stage", "block", "stage")
    fusion: str = choice("gate", "of the branches", "gate", "sum", "ample", "focal")
    alpha: int = number(2, "focal channels for one ample channel", at_least=1)
    ample_stride: int = number(2, "focal pixels for one ample pixel, along a side", at_least=1, at_most=4)
    spatial: str = choice("none", "stages whose focal blocks compute cells", "none", "1", "2", "3", "1-2", "2-3", "1-3")
    grid: int = number(7, "cells along a side", at_least=1)
    cell_ratio: float = number(0.5, "share of a kept frame's cells to aim at", above=0, at_most=1)
    cell_weight: float = number(0.5, "weight of the loss on the share of cells", at_least=0)
    cell_warm_start: float = number(10 / 55, "as warm_start, for cells", at_least=0, at_most=1)
    cell_warm_end: float = number(20 / 55, "as warm_end, for cells", at_least=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for start, end in (("warm_start", "warm_end"), ("cell_warm_start", "cell_warm_end")):
            if getattr(self, end) < getattr(self, start):
                raise UserError(
                    f"model.settings.{end} is {getattr(self, end):g}, before {start} at {getattr(self, start):g}; "
                    "expected the target to fall after it starts to."
                )
        if self.ample_stride == 3:
            raise UserError("model.settings.ample_stride is 3; expected 1, 2 or 4.")

    def arguments(self) -> dict[str, Any]:
        values = super().arguments()
        first, _, last = self.spatial.partition("-")
        stages = () if self.spatial == "none" else tuple(range(int(first), int(last or first) + 1))
        return {**values, "spatial": stages}


def _always(settings: Checked) -> bool:
    return True


def _unless_by_position(settings: Checked) -> bool:
    """AFNet learns a map for each frame position, unless nothing is learned or all positions share one."""
    assert isinstance(settings, AFNet)
    return settings.navigation != "learned" or settings.context != "position"


@dataclass(frozen=True)
class Method:
    """One registered method.

    Attributes:
        title: as reports write it.
        factory: "module:callable"; called with backbone, frames, classes and the settings as keywords.
        settings: the dataclass of what can be set.
        backbones: names it can be built on.
        side_multiple: the input's sides must be multiples of this, in pixels.
        skips: whether it decides what to compute; where not, all executions are the same.
        budgets: whether a fixed number of frames can be asked of it instead.
        any_frames: whether weights trained with these settings serve clips of any number of frames, as the network's
            own `any_frames` says once it is built.
    """

    title: str
    factory: str
    settings: type[Checked]
    backbones: tuple[str, ...] = BACKBONES
    side_multiple: int = 32
    skips: bool = False
    budgets: bool = False
    any_frames: Callable[[Checked], bool] = _always


METHODS: dict[str, Method] = {
    "tsn": Method("TSN", "baselines.tsn:TSN", FrameAverage),
    "tsm": Method("TSM", "baselines.tsm:TSM", FrameAverage),
    "afnet": Method(
        "AFNet",
        "afnet.network:AFNet",
        AFNet,
        backbones=("tiny", "resnet50", "resnet101", "mobilenetv3"),
        skips=True,
        budgets=True,
        any_frames=_unless_by_position,
    ),
}


def find_method(name: str) -> Method:
    """The entry of a name, or a UserError with the valid ones."""
    # Names come from JSON too, where anything may stand; a list cannot be looked up.
    if not isinstance(name, str) or name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def build_model(method: str, *, backbone: str, frames: int, classes: int, settings: Checked) -> VideoModel:
    """Build a method's network (this imports torch)."""
    module, _, attribute = find_method(method).factory.partition(":")
    factory: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    model: VideoModel = factory(backbone=backbone, frames=frames, classes=classes, **settings.arguments())
    return model
