"""The registry: every method by name, what can be set in it, and where it is built. Imports no torch.

A method is one file with a `VideoModel`, one entry in METHODS and a dataclass of settings in bench/settings.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import unknown
from bench.settings import (
    BACKBONES,
    FFN,
    AdaFocus,
    AdaFocusV2,
    AFNet,
    ARNet,
    BestFrame,
    Crop,
    FrameAverage,
    FrameChoice,
    FrameExit,
    MethodSettings,
    OCSampler,
    SCSampler,
    UniAdaFocus,
)

if TYPE_CHECKING:
    from afnet.contract import VideoModel

AF_BACKBONES = ("tiny", "resnet50", "resnet101", "mobilenetv3")
RESNETS = tuple(name for name in BACKBONES if name.startswith(("tiny", "resnet")))


Serves = Callable[[MethodSettings, int, int], bool]
"""Whether weights trained with these settings and this many frames serve clips of that many."""


def _any(settings: MethodSettings, trained: int, wanted: int) -> bool:
    return True


def _same(settings: MethodSettings, trained: int, wanted: int) -> bool:
    return trained == wanted


def _unless_by_position(settings: MethodSettings, trained: int, wanted: int) -> bool:
    """AFNet learns a map for each frame position, unless nothing is learned or all positions share one."""
    assert isinstance(settings, AFNet)
    return trained == wanted or settings.navigation != "learned" or settings.context != "position"


def _in_counts(settings: MethodSettings, trained: int, wanted: int) -> bool:
    return wanted in settings.arguments()["counts"]


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
        draws: whether its decisions can be drawn with the noise of its training.
        exits: whether it answers early, at a threshold.
        answers: whether it must be given the answer key of the clips, which only generated data has.
        learns: whether its decisions are learned, so that they can collapse to a single one.
        serves: which numbers of frames trained weights serve.
    """

    title: str
    factory: str
    settings: type[MethodSettings]
    backbones: tuple[str, ...] = BACKBONES
    side_multiple: int = 32
    skips: bool = False
    budgets: bool = False
    draws: bool = False
    exits: bool = False
    answers: bool = False
    learns: bool = False
    serves: Serves = _any


def _sampler(title: str, factory: str, settings: type[MethodSettings], **flags: Any) -> Method:
    return Method(title, f"baselines.{factory}", settings, **{"skips": True, "serves": _same, **flags})


METHODS: dict[str, Method] = {
    "tsn": Method("TSN", "baselines.tsn:TSN", FrameAverage),
    "tsm": Method("TSM", "baselines.tsm:TSM", FrameAverage),
    "ffn": Method("FFN", "baselines.ffn:FFN", FFN, backbones=RESNETS, serves=_in_counts),
    "afnet": Method(
        "AFNet",
        "afnet.network:AFNet",
        AFNet,
        backbones=AF_BACKBONES,
        skips=True,
        budgets=True,
        draws=True,
        learns=True,
        serves=_unless_by_position,
    ),
    # Samplers of frames, and their controls.
    "uniform": _sampler("Uniform frames", "controls:Uniform", FrameChoice, budgets=True),
    "random": _sampler("Random frames", "controls:Random", FrameChoice, budgets=True),
    "motion": _sampler("Frames with motion", "controls:Motion", FrameChoice, budgets=True),
    "best-frame": _sampler("Best frame", "controls:BestFrame", BestFrame),
    "oracle-frames": _sampler("Oracle frames", "controls:OracleFrames", FrameChoice, budgets=True, answers=True),
    "scsampler": _sampler("SCSampler", "scsampler:SCSampler", SCSampler, budgets=True, learns=True),
    "ocsampler": _sampler("OCSampler", "ocsampler:OCSampler", OCSampler, budgets=True, learns=True),
    "arnet": _sampler("AR-Net", "arnet:ARNet", ARNet, draws=True, learns=True, serves=_any),
    "frameexit": _sampler("FrameExit", "frameexit:FrameExit", FrameExit, exits=True, learns=True),
    # Samplers of crops, and theirs.
    "centre-crop": _sampler("Centre crop", "crop_controls:CentreCrop", Crop),
    "random-crop": _sampler("Random crop", "crop_controls:RandomCrop", Crop),
    "oracle-crop": _sampler("Oracle crop", "crop_controls:OracleCrop", Crop, answers=True),
    "adafocus": _sampler("AdaFocus", "adafocus:AdaFocus", AdaFocus, learns=True),
    "adafocus-v2": _sampler("AdaFocus V2", "adafocus_v2:AdaFocusV2", AdaFocusV2, learns=True),
    "uni-adafocus": _sampler("Uni-AdaFocus", "uni_adafocus:UniAdaFocus", UniAdaFocus, learns=True),
}


def find_method(name: str) -> Method:
    """The entry of a name, or a UserError with the valid ones."""
    # Names come from JSON too, where anything may stand; a list cannot be looked up.
    if not isinstance(name, str) or name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def build_model(method: str, *, backbone: str, frames: int, classes: int, settings: MethodSettings) -> VideoModel:
    """Build a method's network (this imports torch)."""
    module, _, attribute = find_method(method).factory.partition(":")
    factory: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    model: VideoModel = factory(backbone=backbone, frames=frames, classes=classes, **settings.arguments())
    return model
