"""The registry: every method by name, what can be set in it, and where it is built. Imports no torch.

A method is one file with a `VideoModel` and one entry in METHODS; settings that it has for itself are a dataclass here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, unknown
from bench.fields import Checked, number, switch

if TYPE_CHECKING:
    from afnet.contract import VideoModel

RESNETS = ("tiny", "resnet50", "resnet101")


@dataclass(frozen=True)
class FrameAverage(Checked):
    """Settings of TSN and TSM."""

    path = "model.settings"

    dropout: float = number(0.5, "probability, before the classifier", at_least=0, below=1)


@dataclass(frozen=True)
class AFNet(Checked):
    """Settings of AFNet; the defaults are the paper's."""

    path = "model.settings"

    ratio: float = number(0.5, "share of frames per block to aim at (RT)", above=0, at_most=1)
    shift: bool = switch(True, "temporal shift in every block")
    dropout: float = number(0.5, "probability, before the classifier", at_least=0, below=1)
    ratio_weight: float = number(0.5, "weight of the loss on the ratio (lambda)", at_least=0)
    warm_start: float = number(10 / 55, "share of the run before the target ratio first drops", at_least=0, at_most=1)
    warm_end: float = number(20 / 55, "share of the run after which the target is the ratio", at_least=0, at_most=1)
    end_temperature: float = number(0.01, "Gumbel-softmax temperature at the end of the run", above=0)
    keep_bias: float = number(10.0, "navigation's initial logit of keep; drop starts at 1")
    shared_start: bool = switch(False, "navigation starts with one map for all frame positions")
    zero_init: bool = switch(True, "the dense blocks' last batch-norm starts at zero")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_end < self.warm_start:
            raise UserError(
                f"model.settings.warm_end is {self.warm_end:g}, before warm_start at {self.warm_start:g}; expected "
                "the target ratio to fall after it starts to."
            )


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
    """

    title: str
    factory: str
    settings: type[Checked]
    backbones: tuple[str, ...] = RESNETS
    side_multiple: int = 32
    skips: bool = False


METHODS: dict[str, Method] = {
    "tsn": Method("TSN", "baselines.tsn:TSN", FrameAverage),
    "tsm": Method("TSM", "baselines.tsm:TSM", FrameAverage),
    "afnet": Method("AFNet", "afnet.network:AFNet", AFNet, skips=True),
}


def find_method(name: str) -> Method:
    """The entry of a name, or a UserError with the valid ones."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def build_model(method: str, *, backbone: str, frames: int, classes: int, settings: Checked) -> VideoModel:
    """Build a method's network (this imports torch)."""
    module, _, attribute = find_method(method).factory.partition(":")
    factory: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    model: VideoModel = factory(backbone=backbone, frames=frames, classes=classes, **asdict(settings))
    return model
