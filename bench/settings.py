"""What can be set in each method, beside its backbone and number of frames. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.errors import UserError
from bench.fields import Checked, choice, number, switch

# As baselines.backbones has them, which imports torch; a test holds the two together.
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

# Of AR-Net's smaller resolutions.
PAIRS = ("resnet34+resnet18", "tiny+tiny", "tiny+tiny-glance", "tiny-glance+tiny-glance")

# How much a method computes: what tells its points apart, beside their frames.
KNOBS = ("ratio", "keep", "patch")


@dataclass(frozen=True)
class MethodSettings(Checked):
    """What every method's settings have."""

    path = "model.settings"

    def knobs(self) -> dict[str, float]:
        """Those of KNOBS that it has."""
        return {name: getattr(self, name) for name in KNOBS if hasattr(self, name)}

    @property
    def smallest_batch(self) -> int:
        """Clips that a step of training needs; batch statistics over clips need two."""
        return 1

    def check_clips(self, frames: int, size: int) -> None:
        """UserError unless clips of this many frames of this many pixels a side suit the settings."""

    def _refuse_more(self, frames: int, **wanted: int) -> None:
        """UserError for a setting that wants more frames than a clip has."""
        for name, count in wanted.items():
            if count > frames:
                raise UserError(
                    f"model.settings.{name} is {count}; a clip has {frames} frames, expected at most as many."
                )


@dataclass(frozen=True)
class FrameAverage(MethodSettings):
    """Settings of TSN and TSM."""

    dropout: float = number(0.5, "probability, before the classifier", at_least=0, below=1)


@dataclass(frozen=True)
class AFNet(MethodSettings):
    """Settings of AFNet; the defaults are the paper's, all else is an ablation or an extension."""

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


@dataclass(frozen=True)
class FrameChoice(MethodSettings):
    """Settings of a recogniser that sees some of the frames."""

    keep: int = number(4, "frames of each clip that the recogniser sees", at_least=1)
    shift: bool = switch(True, "temporal shift among them")
    dropout: float = number(0.5, "probability, before the classifier", at_least=0, below=1)

    def check_clips(self, frames: int, size: int) -> None:
        self._refuse_more(frames, keep=self.keep)


@dataclass(frozen=True)
class BestFrame(MethodSettings):
    """Settings of the single best frame; frames see one another nowhere."""

    keep: int = number(4, "frames of each clip that it chooses from", at_least=1)
    dropout: float = number(0.5, "probability, before the classifier", at_least=0, below=1)

    def check_clips(self, frames: int, size: int) -> None:
        self._refuse_more(frames, keep=self.keep)


@dataclass(frozen=True)
class SCSampler(FrameChoice):
    """Settings of SCSampler."""

    glance: str = choice("mobilenetv2", "backbone of the glance", *BACKBONES)
    glance_size: int = number(84, "pixels, side of what the glance sees", at_least=32)
    explore: float = number(0.5, "share of the run on segment-wise frames", at_least=0, at_most=1)


@dataclass(frozen=True)
class OCSampler(FrameChoice):
    """Settings of OCSampler."""

    glance: str = choice("mobilenetv2", "backbone of the policy", *BACKBONES)
    glance_size: int = number(128, "pixels, side of what the policy sees", at_least=32)
    explore: float = number(0.5, "share of the run on segment-wise frames, without policy", at_least=0, at_most=1)
    joint: bool = switch(False, "the recogniser goes on learning beside the policy")
    entropy: float = number(0.1, "weight of the bonus for an undecided policy", at_least=0)
    reward: str = choice("frames", "published: of each frame's logits; or the label's probability", "frames", "label")


@dataclass(frozen=True)
class Crop(MethodSettings):
    """Settings of a recogniser that sees a part of each frame."""

    patch: int = number(128, "pixels, side of the crops", at_least=32)
    shift: bool = switch(True, "temporal shift")
    dropout: float = number(0.5, "probability, before the classifiers", at_least=0, below=1)

    def check_clips(self, frames: int, size: int) -> None:
        if self.patch > size:
            raise UserError(
                f"model.settings.patch is {self.patch}, but frames are {size} pixels; expected a patch no larger, for "
                f"example {size // 2}."
            )


@dataclass(frozen=True)
class GlancedCrop(Crop):
    """Settings of those that first glance at whole frames."""

    glance: str = choice("mobilenetv2", "backbone of the glance", *BACKBONES)
    glance_size: int = number(224, "pixels, side of what the glance sees", at_least=32)


@dataclass(frozen=True)
class AdaFocus(GlancedCrop):
    """Settings of AdaFocus (V1)."""

    hidden: int = number(1024, "width of policy and classifier", at_least=1)
    policy_from: float = number(0.6, "share of the run after which the policy learns", at_least=0, at_most=1)
    classifier_from: float = number(
        0.8, "share of the run after which the classifier learns again", at_least=0, at_most=1
    )

    def arguments(self) -> dict[str, Any]:
        values = super().arguments()
        stages = (values.pop("policy_from"), values.pop("classifier_from"))
        return {**values, "stages": stages}

    def check_clips(self, frames: int, size: int) -> None:
        super().check_clips(frames, size)
        if self.classifier_from < self.policy_from:
            raise UserError(
                f"model.settings.classifier_from is {self.classifier_from:g}, before policy_from at "
                f"{self.policy_from:g}; expected the policy to learn first."
            )


@dataclass(frozen=True)
class AdaFocusV2(GlancedCrop):
    """Settings of AdaFocus V2."""

    glance_frames: int = number(0, "frames that the glance sees; 0 is all", at_least=0)
    per: str = choice("frame", "a crop for each frame, or one for the video", "frame", "video")
    head: str = choice("pooled", "running maximum of both features, or averaged logits", "pooled", "average")
    hidden: int = number(2048, "width of the policy; 1024 is published for one crop a video", at_least=2)
    width: int = number(4096, "of the pooled head's MLP", at_least=1)

    @property
    def smallest_batch(self) -> int:
        return 2 if self.per == "video" else 1

    def check_clips(self, frames: int, size: int) -> None:
        super().check_clips(frames, size)
        self._refuse_more(frames, glance_frames=self.glance_frames)
        if self.per == "frame" and self.glance_frames not in (0, frames):
            raise UserError(
                f"model.settings.glance_frames is {self.glance_frames} of {frames}; with a crop for each frame "
                "(per=frame) the glance must see all of them, 0."
            )


@dataclass(frozen=True)
class UniAdaFocus(GlancedCrop):
    """Settings of Uni-AdaFocus."""

    glance_frames: int = number(16, "frames that the glance sees", at_least=1)
    keep: int = number(16, "frames that the focus sees", at_least=1)
    smallest: float = number(96 / 224, "side of the smallest crop, as a share of the frame's", above=0, at_most=1)
    largest: float = number(1.0, "side of the largest crop, as a share of the frame's", above=0, at_most=1)
    hidden: int = number(64, "channels of the spatial policy", at_least=1)
    temporal_hidden: int = number(64, "channels of the temporal policy", at_least=1)
    temperature: float = number(1.0, "of the weights by which frames are taken", above=0)
    width: int = number(4096, "of the heads' MLPs", at_least=1)
    draws: int = number(16, "of the Monte-Carlo estimate while training", at_least=1)

    def check_clips(self, frames: int, size: int) -> None:
        super().check_clips(frames, size)
        self._refuse_more(frames, keep=self.keep, glance_frames=self.glance_frames)
        if self.smallest > self.largest:
            raise UserError(
                f"model.settings.smallest is {self.smallest:g}, above largest at {self.largest:g}; expected it below."
            )


@dataclass(frozen=True)
class ARNet(MethodSettings):
    """Settings of AR-Net."""

    smaller: str = choice("resnet34+resnet18", "networks of the smaller resolutions", *PAIRS)
    sizes: str = choice("224+168+112", "pixels, sides of the resolutions", "224+168+112", "64+48+40", "96+72+48")
    glance: str = choice("mobilenetv2", "backbone of the glance", *BACKBONES)
    glance_size: int = number(84, "pixels, side of what the glance sees", at_least=32)
    hidden: int = number(512, "width of the LSTM", at_least=1)
    dropout: float = number(0.5, "probability, before the classifiers", at_least=0, below=1)

    def arguments(self) -> dict[str, Any]:
        values = super().arguments()
        sizes = tuple(int(size) for size in self.sizes.split("+"))
        return {**values, "smaller": tuple(self.smaller.split("+")), "sizes": sizes}


@dataclass(frozen=True)
class FrameExit(MethodSettings):
    """Settings of FrameExit."""

    width: int = number(4096, "of the MLP", at_least=1)
    gate_width: int = number(64, "of the gates' hidden layers", at_least=1)
    beta: float = number(1e-3, "loss that a step may have for its gate to open, at the start", above=0)
    dropout: float = number(0.5, "probability, before the classifiers", at_least=0, below=1)

    @property
    def smallest_batch(self) -> int:
        return 2


@dataclass(frozen=True)
class FFN(MethodSettings):
    """Settings of FFN."""

    counts: str = choice("4+8+16", "numbers of frames that it serves", "4+8+16", "4+8", "8+16", "2+4+8")
    dropout: float = number(0.5, "probability, before the classifier", at_least=0, below=1)

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "counts": tuple(int(count) for count in self.counts.split("+"))}

    def check_clips(self, frames: int, size: int) -> None:
        if frames != self.arguments()["counts"][-1]:
            raise UserError(f"model.frames is {frames}; FFN with counts {self.counts} trains with the last of them.")
