"""Plain residual networks with torchvision's parameter names, so that its weight files load.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; a bottleneck's stride sits in the 3x3 (version
1.5).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from afnet.contract import he_initialise
from baselines.contract import Backbone, ResidualBlock


@dataclass(frozen=True)
class Preset:
    """Size of a ResNet.

    Attributes:
        blocks: blocks of stages 1 to 4.
        width: channels of the stem; the 3x3 of stage s have width * 2**(s - 1).
        basic: blocks of two 3x3 rather than bottlenecks, which put out four times the channels of their 3x3.
    """

    blocks: tuple[int, int, int, int]
    width: int
    basic: bool = False


PRESETS = {
    "tiny-glance": Preset((1, 1, 1, 1), 4),
    "tiny": Preset((2, 2, 2, 1), 8),
    "resnet18": Preset((2, 2, 2, 2), 64, basic=True),
    "resnet34": Preset((3, 4, 6, 3), 64, basic=True),
    "resnet50": Preset((3, 4, 6, 3), 64),
    "resnet101": Preset((3, 4, 23, 3), 64),
}
# TSM shifts only every second block of a stage when stage 3 is this long, as ResNet-101's is.
LONG_STAGE = 23


class _ResNetBlock(ResidualBlock):
    """A shortcut with a strided 1x1 where the shape changes, and a ReLU last."""

    downsample: nn.Sequential

    def __init__(self, frames: int) -> None:
        super().__init__(frames=frames, relu=True)
        self.activate = nn.ReLU(inplace=True)

    def _add_shortcut(self, inputs: int, outputs: int, stride: int) -> None:
        """Last, as in torchvision: the order of modules is the order in which random weights are drawn."""
        self.downsample = nn.Sequential()
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample.extend([conv, nn.BatchNorm2d(outputs)])

    def shortcut(self) -> nn.Module:
        return self.downsample


class BasicBlock(_ResNetBlock):
    """3x3 -> 3x3, the stride in the first."""

    expansion = 1

    def __init__(self, inputs: int, middle: int, *, stride: int, frames: int) -> None:
        super().__init__(frames)
        self.conv1 = nn.Conv2d(inputs, middle, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self._add_shortcut(inputs, middle, stride)

    def layers(self) -> list[nn.Module]:
        return [self.conv1, self.bn1, self.activate, self.conv2, self.bn2]


class Bottleneck(_ResNetBlock):
    """1x1 -> 3x3 -> 1x1, the stride in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, middle: int, *, stride: int, frames: int) -> None:
        outputs = self.expansion * middle
        super().__init__(frames)
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self._add_shortcut(inputs, outputs, stride)

    def layers(self) -> list[nn.Module]:
        first = [self.conv1, self.bn1, self.activate]
        return [*first, self.conv2, self.bn2, self.activate, self.conv3, self.bn3]


class ResNet(Backbone):
    """A ResNet without its classifier.

    Args:
        name: in PRESETS.
        frames: T to shift channels in time before the first convolution of the blocks (TSM), 0 for a plain network.

    Raises:
        ValueError: for an unknown name.
    """

    def __init__(self, name: str, *, frames: int = 0) -> None:
        if name not in PRESETS:
            raise ValueError(f"no ResNet is called {name!r}; expected one of {', '.join(PRESETS)}")
        preset = PRESETS[name]
        kind = BasicBlock if preset.basic else Bottleneck
        last = 8 * preset.width * kind.expansion
        super().__init__(name, channels=last, features=last, frames=frames)
        every = 2 if preset.blocks[2] >= LONG_STAGE else 1
        self.conv1 = nn.Conv2d(3, preset.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(preset.width)
        self.activate = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = preset.width
        for stage, blocks in enumerate(preset.blocks):
            middle = preset.width * 2**stage
            layer = nn.Sequential()
            for i in range(blocks):
                stride = 2 if stage and i == 0 else 1
                layer.append(kind(inputs, middle, stride=stride, frames=frames if i % every == 0 else 0))
                inputs = kind.expansion * middle
            self.add_module(f"layer{stage + 1}", layer)
        he_initialise(self)

    def layers(self) -> list[nn.Module]:
        stages = [self.get_submodule(f"layer{stage}") for stage in range(1, 5)]
        return [self.conv1, self.bn1, self.activate, self.maxpool, *stages]
