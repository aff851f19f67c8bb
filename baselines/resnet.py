"""Plain residual networks with torchvision's parameter names, so that its weight files load.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; the stride sits in the 3x3 (version 1.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.blocks import Block
from afnet.contract import he_initialise
from afnet.inference import FrozenBlock, FrozenBottleneck, freeze
from afnet.shift import temporal_shift


@dataclass(frozen=True)
class Preset:
    """Size of a ResNet of bottlenecks.

    Attributes:
        blocks: blocks of stages 1 to 4.
        width: channels of the stem; stage s puts out width * 2**(s + 1).
    """

    blocks: tuple[int, int, int, int]
    width: int


PRESETS = {
    "tiny": Preset((2, 2, 2, 1), 8),
    "resnet50": Preset((3, 4, 6, 3), 64),
    "resnet101": Preset((3, 4, 23, 3), 64),
}
SIDE_MULTIPLE = 32
# TSM shifts only every second block of a stage when stage 3 is this long, as ResNet-101's is.
LONG_STAGE = 23


class Bottleneck(nn.Module):
    """1x1 -> 3x3 -> 1x1; `frames` is T where the block shifts its residual input in time, 0 where not."""

    def __init__(self, inputs: int, middle: int, *, stride: int, frames: int) -> None:
        super().__init__()
        outputs = 4 * middle
        self.frames = frames
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, C, H, W) -> (N*T, 4 * middle, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = temporal_shift(x, self.frames) if self.frames else x
        out = functional.relu(self.bn1(self.conv1(out)), inplace=True)
        out = functional.relu(self.bn2(self.conv2(out)), inplace=True)
        return functional.relu(self.bn3(self.conv3(out)) + shortcut, inplace=True)


@freeze.register
def _(block: Bottleneck) -> nn.Module:
    shortcut = nn.Sequential() if block.downsample is None else block.downsample
    return FrozenBlock(Block(FrozenBottleneck(block), shortcut, frames=block.frames))


class ResNet(nn.Module):
    """Features of frames.

    Args:
        name: in PRESETS.
        frames: T to shift channels in time before the first convolution of the blocks (TSM), 0 for a plain network.

    Raises:
        ValueError: for an unknown name.
    """

    def __init__(self, name: str, *, frames: int = 0) -> None:
        super().__init__()
        if name not in PRESETS:
            raise ValueError(f"no ResNet is called {name!r}; expected one of {', '.join(PRESETS)}")
        preset = PRESETS[name]
        every = 2 if preset.blocks[2] >= LONG_STAGE else 1
        self.conv1 = nn.Conv2d(3, preset.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(preset.width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = preset.width
        for stage, blocks in enumerate(preset.blocks):
            middle = preset.width * 2**stage
            layer = nn.Sequential()
            for i in range(blocks):
                stride = 2 if stage and i == 0 else 1
                layer.append(Bottleneck(inputs, middle, stride=stride, frames=frames if i % every == 0 else 0))
                inputs = 4 * middle
            self.add_module(f"layer{stage + 1}", layer)
        self.features = inputs
        he_initialise(self)

    def set_frames(self, frames: int) -> None:
        """Shift within clips of another number of frames; a network that does not shift stays as it is."""
        for module in self.modules():
            if isinstance(module, Bottleneck) and module.frames:
                module.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, 3, H, W) -> (N*T, features)."""
        x = self.maxpool(functional.relu(self.bn1(self.conv1(x)), inplace=True))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return torch.mean(x, dim=(2, 3))


@freeze.register(ResNet)
class FrozenResNet(nn.Module):
    """The same features in evaluation, of frozen blocks in one chain."""

    def __init__(self, source: ResNet) -> None:
        super().__init__()
        self.features = source.features
        self.stem = freeze(nn.Sequential(source.conv1, source.bn1, nn.ReLU(), source.maxpool))
        blocks = [block for stage in range(1, 5) for block in source.get_submodule(f"layer{stage}").children()]
        self.blocks = freeze(nn.Sequential(*blocks))

    def set_frames(self, frames: int) -> None:
        for module in self.blocks.modules():
            if isinstance(module, Block) and module.frames:
                module.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        return torch.mean(self.blocks(self.stem(x)), dim=(2, 3))
