"""The residual blocks of AF-ResNet: `out = relu(shortcut(x) + F(shift(x)))`, and the focal one that can be skipped."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from afnet.execution import ZeroResponse, run_skipped
from afnet.shift import temporal_shift


class ResidualFunction(nn.Module):
    """F: 1x1 -> 3x3 -> 1x1 convolutions, each with batch-norm, ReLU after the first two.

    Args:
        groups: groups of all three convolutions (2 in focal blocks, section 3 of the paper).
        stride: of the 3x3.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, middle, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, outputs, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        x = functional.relu(self.bn2(self.conv2(x)), inplace=True)
        return self.bn3(self.conv3(x))


def make_shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Average-pool 3x3/2 where the block strides, 1x1 convolution and batch-norm where the width changes."""
    layers: list[nn.Module] = []
    if stride != 1:
        layers.append(nn.AvgPool2d(3, stride=stride, padding=1))
    if inputs != outputs:
        layers += [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers)


class Block(nn.Module):
    """A bottleneck over all frames: the ample, fusion and stage-4 blocks.

    Args:
        frames: T when the block shifts channels in time, 0 when it does not.
        last_relu: whether the block ends in its ReLU; the last one of a chain of several does not.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int = 1, groups: int = 1, frames: int = 0, last_relu: bool = True
    ) -> None:
        super().__init__()
        self.frames = frames
        self.last_relu = last_relu
        self.residual = ResidualFunction(inputs, outputs // 4, outputs, stride=stride, groups=groups)
        self.shortcut = make_shortcut(inputs, outputs, stride)

    def shifted(self, x: Tensor) -> Tensor:
        return temporal_shift(x, self.frames) if self.frames else x

    def finish(self, x: Tensor) -> Tensor:
        return functional.relu(x, inplace=True) if self.last_relu else x

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, inputs, H, W) -> (N*T, outputs, H / stride, W / stride)."""
        return self.finish(self.residual(self.shifted(x)) + self.shortcut(x))


class FocalBlock(Block):
    """A block that computes F only for kept frames; its shortcut sees every frame.

    masked:  `relu(shortcut(x) + F(m * shift(x)))`, the reference, with m in {0, 1} per frame.
    skipped: F on the kept frames alone; a dropped frame gets F(0), which batch-norm's shift makes a constant map
             rather than zero, computed once and kept.
    """

    def __init__(self, inputs: int, outputs: int, *, frames: int = 0, last_relu: bool = True) -> None:
        super().__init__(inputs, outputs, groups=2, frames=frames, last_relu=last_relu)
        self.zero_response = ZeroResponse()

    def masked(self, x: Tensor, gate: Tensor) -> Tensor:
        """x (N*T, inputs, H, W), gate (N*T,) float in {0, 1} -> (N*T, outputs, H, W)."""
        return self.finish(self.residual(self.shifted(x) * gate.view(-1, 1, 1, 1)) + self.shortcut(x))

    def skipped(self, x: Tensor, keep: Tensor) -> Tensor:
        """x (N*T, inputs, H, W), keep (N*T,) bool -> (N*T, outputs, H, W), equal to masked in evaluation."""
        response = self.zero_response(self.residual, x)
        return self.finish(run_skipped(self.residual, self.shifted(x), self.shortcut(x), keep, response))
