"""MobileNetV2 and MobileNetV3-large with torchvision's parameter names, so that its weight files load.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2; Howard et al., "Searching
for MobileNetV3", ICCV 2019, table 1. Both shift in time, where asked to, before the expansion of the blocks that have
one and add to their input, as TSM's code does for MobileNetV2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from afnet.blocks import round_to_eight
from afnet.contract import he_initialise
from afnet.inference import freeze
from baselines.contract import Backbone, ResidualBlock


class InvertedResidual(ResidualBlock):
    """1x1 -> depthwise -> 1x1, narrow outside and wide inside; it adds to its input where that has its shape.

    Args:
        frames: T to shift, which only a block does that both expands and adds; 0 to not.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, stride: int, frames: int) -> None:
        adds = stride == 1 and inputs == outputs
        super().__init__(frames=frames if adds and hidden != inputs else 0, relu=False)
        self.identity = nn.Sequential() if adds else None

    def shortcut(self) -> nn.Module | None:
        return self.identity


class MobileNet(Backbone):
    """A chain that is `features` in torchvision's files; here that is a number, and the chain's name in memory `trunk`.

    State dicts hold torchvision's names, both those given out and those taken in.
    """

    def __init__(self, name: str, *, channels: int, features: int, frames: int) -> None:
        super().__init__(name, channels=channels, features=features, frames=frames)
        self.trunk = nn.Sequential()
        self.register_state_dict_post_hook(_give_names)
        self.register_load_state_dict_pre_hook(_take_names)

    def layers(self) -> list[nn.Module]:
        return [self.trunk]


def _give_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _rename(state, f"{prefix}trunk.", f"{prefix}features.")


def _take_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    _rename(state, f"{prefix}features.", f"{prefix}trunk.")


def _rename(state: dict[str, Any], old: str, new: str) -> None:
    for name in [name for name in state if name.startswith(old)]:
        state[new + name.removeprefix(old)] = state.pop(name)


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    norm: type[nn.BatchNorm2d] | partial[nn.BatchNorm2d] = nn.BatchNorm2d,
    activation: type[nn.Module] | None,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """A convolution, its batch-norm, and its activation where there is one."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    chain = nn.Sequential(conv, norm(outputs))
    return chain if activation is None else chain.append(activation(inplace=True))


# --- MobileNetV2 --------------------------------------------------------------------------------------------------

# Expansion, channels out, blocks, stride of the first.
STAGES_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class InvertedResidualV2(InvertedResidual):
    """ReLU6 after the first two convolutions."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, stride: int, frames: int) -> None:
        super().__init__(inputs, hidden, outputs, stride=stride, frames=frames)
        self.conv = nn.Sequential()
        if hidden != inputs:
            self.conv.append(convolution(inputs, hidden, 1, activation=nn.ReLU6))
        self.conv.append(convolution(hidden, hidden, 3, stride=stride, groups=hidden, activation=nn.ReLU6))
        # Torchvision keeps these two beside the chains.
        self.conv.extend([nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)])

    def layers(self) -> list[nn.Module]:
        return [self.conv]


class MobileNetV2(MobileNet):
    """MobileNetV2 of width 1 without its classifier.

    Args:
        frames: T to shift channels in time (TSM), 0 for a plain network.
    """

    head = "classifier.1"

    def __init__(self, *, frames: int = 0) -> None:
        super().__init__("mobilenetv2", channels=1280, features=1280, frames=frames)
        inputs = 32
        self.trunk.append(convolution(3, inputs, 3, stride=2, activation=nn.ReLU6))
        for expansion, outputs, blocks, first in STAGES_V2:
            for i in range(blocks):
                stride = 1 if i else first
                self.trunk.append(InvertedResidualV2(inputs, expansion * inputs, outputs, stride=stride, frames=frames))
                inputs = outputs
        self.trunk.append(convolution(inputs, self.channels, 1, activation=nn.ReLU6))
        he_initialise(self)


# --- MobileNetV3-large --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A row of the paper's table 1: kernel, hidden channels, channels out, squeeze-excite, h-swish, stride."""

    kernel: int
    hidden: int
    outputs: int
    se: bool
    hs: bool
    stride: int


ROWS_V3 = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)
norm_v3 = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
convolution_v3 = partial(convolution, norm=norm_v3)


class SqueezeExcite(nn.Module):
    """Channels weighed by a hard sigmoid of their means, of 1x1 convolutions as torchvision's (section 5.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = round_to_eight(channels // 4)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def weight(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        hidden = functional.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)), inplace=True)
        return functional.hardsigmoid(self.fc2(hidden))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x * self.weight(x)


@freeze.register(SqueezeExcite)
class FrozenSqueezeExcite(SqueezeExcite):
    """In place: what it weighs is the depthwise convolution's output, which nothing else reads."""

    def __init__(self, source: SqueezeExcite) -> None:
        nn.Module.__init__(self)
        self.fc1, self.fc2 = source.fc1, source.fc2

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(self.weight(x))


class InvertedResidualV3(InvertedResidual):
    """ReLU or h-swish after the first two convolutions, squeeze-excite before the last one."""

    def __init__(self, inputs: int, row: Row, *, frames: int) -> None:
        hidden = row.hidden
        super().__init__(inputs, hidden, row.outputs, stride=row.stride, frames=frames)
        activation = nn.Hardswish if row.hs else nn.ReLU
        self.block = nn.Sequential()
        if hidden != inputs:
            self.block.append(convolution_v3(inputs, hidden, 1, activation=activation))
        depthwise = convolution_v3(hidden, hidden, row.kernel, stride=row.stride, groups=hidden, activation=activation)
        self.block.append(depthwise)
        if row.se:
            self.block.append(SqueezeExcite(hidden))
        self.block.append(convolution_v3(hidden, row.outputs, 1, activation=None))

    def layers(self) -> list[nn.Module]:
        return [self.block]


class MobileNetV3(MobileNet):
    """MobileNetV3-large without the last layer of its classifier.

    Args:
        frames: T to shift channels in time, 0 for a plain network.
    """

    head = "classifier.3"

    def __init__(self, *, frames: int = 0) -> None:
        super().__init__("mobilenetv3", channels=960, features=1280, frames=frames)
        inputs = 16
        self.trunk.append(convolution_v3(3, inputs, 3, stride=2, activation=nn.Hardswish))
        for row in ROWS_V3:
            self.trunk.append(InvertedResidualV3(inputs, row, frames=frames))
            inputs = row.outputs
        self.trunk.append(convolution_v3(inputs, self.channels, 1, activation=nn.Hardswish))
        hidden = nn.Linear(self.channels, self.features)
        self.classifier = nn.Sequential(hidden, nn.Hardswish(inplace=True))
        he_initialise(self)
        nn.init.normal_(hidden.weight, std=0.01)
        nn.init.zeros_(hidden.bias)
