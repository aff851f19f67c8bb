"""What AFNet is built on: stem, AF modules, tail and classifier of AF-ResNets and AF-MobileNetV3.

Sizes are the released ones (BeSpontaneous/AFNet-pytorch), where the file differs from the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from afnet.blocks import Block, Bottleneck, FocalBlock, InvertedResidual, round_to_eight
from afnet.module import AFModule, Fusion
from afnet.navigation import Context, FixedNavigation, Navigation
from afnet.spatial import GRID, CellBottleneck, CellNavigation, SpatialFocalBlock

PUBLISHED_ALPHA = PUBLISHED_STRIDE = 2


@dataclass(frozen=True)
class Design:
    """What a network is made of; the defaults are the paper's. Everything else is an ablation or extension.

    Attributes:
        shift: temporal shift in every block ("AFNet-TSM").
        alpha: the ample branch has 1/alpha of the focal branch's channels.
        ample_stride: and 1/ample_stride of its side: 1, 2 or 4.
        navigation: "learned"; "random" or "uniform" frames as controls.
        context: what navigation sees: each frame by its "position" in the clip, each alike ("shared"), or each with its
            "temporal" neighbours.
        sharing: one decision a "block", or one a "stage".
        fusion: how the branches are fused.
        spatial: the stages (1 to 3) whose focal blocks compute cells.
        grid: cells along a side.
    """

    shift: bool = True
    alpha: int = PUBLISHED_ALPHA
    ample_stride: int = PUBLISHED_STRIDE
    navigation: Literal["learned", "random", "uniform"] = "learned"
    context: Context = "position"
    sharing: Literal["block", "stage"] = "block"
    fusion: Fusion = "gate"
    spatial: tuple[int, ...] = ()
    grid: int = GRID


@dataclass(frozen=True)
class Parts:
    """A network taken apart: (N*T, 3, H, W) -> stem -> stages -> tail -> mean over the map -> classifier."""

    stem: nn.Sequential
    stages: list[AFModule]
    tail: nn.Sequential
    classifier: nn.Sequential


@dataclass(frozen=True)
class ResNetSize:
    """Size of an AF-ResNet.

    Attributes:
        blocks: blocks of stages 1 to 4; the first three are AF modules.
        width: channels of the stem; stage s puts out width * 2**(s + 1).
    """

    blocks: tuple[int, int, int, int]
    width: int


RESNETS = {
    "tiny": ResNetSize((2, 3, 4, 1), 8),
    "resnet50": ResNetSize((3, 4, 6, 3), 64),
    "resnet101": ResNetSize((4, 8, 18, 3), 64),
}
MOBILENET = "mobilenetv3"
BACKBONES = (*RESNETS, MOBILENET)


def build(backbone: str, *, frames: int, classes: int, dropout: float, ratio: float, design: Design) -> Parts:
    """The parts of a network, with torch's default weights.

    Raises:
        ValueError: for an unknown backbone, or a design that it cannot have.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"AFNet has no backbone {backbone!r}; expected one of {', '.join(BACKBONES)}")
    if backbone == MOBILENET:
        return _build_mobilenet(frames, classes, dropout, ratio, design)
    return _build_resnet(RESNETS[backbone], frames, classes, dropout, ratio, design)


def _navigation(design: Design, frames: int, ratio: float, widths: list[int]) -> list[nn.Module]:
    """Navigation modules that read features of these widths, one a focal block."""
    if design.fusion == "ample":
        return []
    if design.navigation != "learned":
        return [FixedNavigation(frames, ratio, design.navigation) for _ in widths]
    learned = [Navigation(width, frames, design.context) for width in widths]
    return [*learned[:1]] if design.sharing == "stage" else [*learned]


# --- AF-ResNet ----------------------------------------------------------------------------------------------------


def _build_resnet(size: ResNetSize, frames: int, classes: int, dropout: float, ratio: float, design: Design) -> Parts:
    shifting = frames if design.shift else 0
    stem = nn.Sequential(
        nn.Conv2d(3, size.width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(size.width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    stages = []
    inputs = size.width
    for stage, (blocks, stride) in enumerate(zip(size.blocks[:3], (2, 2, 1), strict=True)):
        outputs = size.width * 4 * 2**stage
        spatial = stage + 1 in design.spatial
        stages.append(_resnet_module(inputs, outputs, blocks - 1, stride, frames, ratio, design, spatial=spatial))
        inputs = outputs
    tail = nn.Sequential(
        _bottleneck(inputs, 2 * inputs, stride=2, frames=shifting),
        *(_bottleneck(2 * inputs, 2 * inputs, frames=shifting) for _ in range(size.blocks[3] - 1)),
    )
    classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * inputs, classes))
    return Parts(stem, stages, tail, classifier)


def _resnet_module(
    inputs: int, outputs: int, pairs: int, stride: int, frames: int, ratio: float, design: Design, *, spatial: bool
) -> AFModule:
    shifting = frames if design.shift else 0
    if outputs % (8 * design.alpha):
        raise ValueError(f"alpha is {design.alpha}; expected a divisor of {outputs // 8} for stages of this width")
    cheap = outputs // design.alpha
    ample, focal = [], []
    for i in range(pairs):
        relu = pairs == 1 or i < pairs - 1  # the last block of a chain of several has no ReLU
        first = i == 0
        block = _bottleneck(
            inputs if first else cheap,
            cheap,
            stride=min(design.ample_stride, 2) if first else 1,
            frames=shifting,
            relu=relu,
        )
        ample.append(nn.Sequential(nn.AvgPool2d(3, 2, 1), block) if first and design.ample_stride == 4 else block)
        focal.append(_focal_bottleneck(inputs if first else outputs, outputs, shifting, relu=relu, spatial=spatial))
    widths = [inputs] + [cheap] * (pairs - 1)
    navigation = _navigation(design, frames, ratio, widths)
    project: nn.Module = nn.Identity()
    if cheap != outputs:
        project = nn.Sequential(nn.Conv2d(cheap, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
    return AFModule(
        navigation=navigation,
        cells=[CellNavigation(w, grid=design.grid) for w in widths[: len(navigation)]] if spatial else [],
        ample=ample,
        focal=[] if design.fusion == "ample" else focal,
        project=project,
        channels=outputs,
        fusion=design.fusion,
        block=_bottleneck(outputs, outputs, stride=stride, frames=shifting),
        relu=True,
    )


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Average-pool 3x3/2 where the block strides, 1x1 convolution and batch-norm where the width changes."""
    layers: list[nn.Module] = []
    if stride != 1:
        layers.append(nn.AvgPool2d(3, stride=stride, padding=1))
    if inputs != outputs:
        layers += [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers)


def _bottleneck(inputs: int, outputs: int, *, stride: int = 1, frames: int = 0, relu: bool = True) -> Block:
    residual = Bottleneck(inputs, outputs // 4, outputs, stride=stride)
    return Block(residual, _shortcut(inputs, outputs, stride), frames=frames, relu=relu)


def _focal_bottleneck(inputs: int, outputs: int, frames: int, *, relu: bool, spatial: bool) -> FocalBlock:
    function, kind = (CellBottleneck, SpatialFocalBlock) if spatial else (Bottleneck, FocalBlock)
    residual = function(inputs, outputs // 4, outputs, groups=2)
    return kind(residual, _shortcut(inputs, outputs, 1), frames=frames, relu=relu)


# --- AF-MobileNetV3 (large) ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inverted:
    """kernel, expansion of the block's own input width, channels out, squeeze-excite, h-swish, stride."""

    kernel: int
    expansion: float
    outputs: int
    se: bool
    hs: bool
    stride: int

    def residual(self, inputs: int, groups: int = 1, stride: int | None = None) -> InvertedResidual:
        return InvertedResidual(
            inputs,
            round_to_eight(inputs * self.expansion),
            self.outputs,
            kernel=self.kernel,
            stride=self.stride if stride is None else stride,
            groups=groups,
            squeeze_excite=self.se,
            hard_swish=self.hs,
        )


STEM_WIDTH = 16
HEAD = (
    Inverted(3, 1, 16, False, False, 1),
    Inverted(3, 4, 24, False, False, 2),
    Inverted(3, 3, 24, False, False, 2),
)
# Pairs (the ample block's; the focal one is the same without stride), then the fusion block.
MODULES = (
    ((Inverted(5, 3, 40, True, False, 2), Inverted(5, 3, 40, True, False, 1)), Inverted(5, 3, 40, True, False, 2)),
    (
        (
            Inverted(3, 6, 80, False, True, 2),
            Inverted(3, 2.5, 80, False, True, 1),
            Inverted(3, 2.3, 80, False, True, 1),
        ),
        Inverted(3, 2.3, 80, False, True, 1),
    ),
)
TAIL = (
    *(Inverted(3, 6, 112, True, True, 1),) * 2,
    Inverted(5, 6, 160, True, True, 2),
    *(Inverted(5, 6, 160, True, True, 1),) * 2,
)
LAST, HIDDEN = 960, 1280


def _build_mobilenet(frames: int, classes: int, dropout: float, ratio: float, design: Design) -> Parts:
    published = Design()
    fixed = ("shift", "alpha", "ample_stride", "spatial")
    changed = [name for name in fixed if getattr(design, name) != getattr(published, name)]
    if changed:
        raise ValueError(
            f"{MOBILENET} has {changed[0]} {getattr(design, changed[0])!r}; expected "
            f"{getattr(published, changed[0])!r}, the only one it is defined for (its squeeze-excites see whole "
            "frames, its widths are a table, its blocks always shift)"
        )
    width = STEM_WIDTH
    stem: list[nn.Module] = [
        nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.Hardswish(inplace=True),
    ]
    for spec in HEAD:
        stem.append(_inverted(spec, width, frames))
        width = spec.outputs
    stages = []
    for pairs, last in MODULES:
        stages.append(_mobilenet_module(width, pairs, last, frames, ratio, design))
        width = last.outputs
    tail: list[nn.Module] = []
    for spec in TAIL:
        tail.append(_inverted(spec, width, frames))
        width = spec.outputs
    tail += [nn.Conv2d(width, LAST, 1, bias=False), nn.BatchNorm2d(LAST), nn.Hardswish(inplace=True)]
    classifier = nn.Sequential(nn.Linear(LAST, HIDDEN), nn.Hardswish(), nn.Dropout(dropout), nn.Linear(HIDDEN, classes))
    return Parts(nn.Sequential(*stem), stages, nn.Sequential(*tail), classifier)


def _inverted(spec: Inverted, inputs: int, frames: int) -> Block:
    shortcut = nn.Sequential() if spec.stride == 1 and inputs == spec.outputs else None
    return Block(spec.residual(inputs), shortcut, frames=frames, relu=False)


def _mobilenet_module(
    inputs: int, pairs: tuple[Inverted, ...], last: Inverted, frames: int, ratio: float, design: Design
) -> AFModule:
    ample, focal, widths = [], [], []
    width = inputs
    for spec in pairs:
        widths.append(width)
        ample.append(_inverted(spec, width, frames))
        shortcut = nn.Sequential()
        if width != spec.outputs:
            conv = nn.Conv2d(width, spec.outputs, 1, groups=2, bias=False)
            shortcut = nn.Sequential(conv, nn.BatchNorm2d(spec.outputs))
        focal.append(FocalBlock(spec.residual(width, groups=2, stride=1), shortcut, frames=frames, relu=False))
        width = spec.outputs
    return AFModule(
        navigation=_navigation(design, frames, ratio, widths),
        cells=[],
        ample=ample,
        focal=[] if design.fusion == "ample" else focal,
        project=nn.Identity(),
        channels=width,
        fusion=design.fusion,
        block=_inverted(last, width, frames),
        relu=False,
        gate_bias=True,
    )
