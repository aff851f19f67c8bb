"""The blocks of an AF network: `out = act(shortcut(x) + F(shift(x)))`, and the focal one, whose F can be skipped.

F is a `Bottleneck` in AF-ResNets and an `InvertedResidual` in AF-MobileNetV3. Each treats the rows of its input alone
in evaluation, which is what makes skipping rows exact.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from afnet.execution import ZeroResponse, rounded_up, run_skipped, take_rows
from afnet.shift import shifted_rows, temporal_shift


class Bottleneck(nn.Module):
    """F of AF-ResNets: 1x1 -> 3x3 -> 1x1 convolutions, each with batch-norm, ReLU after the first two.

    Args:
        groups: groups of all three convolutions (2 in focal blocks).
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


class SqueezeExcite(nn.Module):
    """Channels weighed by a hard sigmoid of their means (MobileNetV3, section 5.3)."""

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = round_to_eight(channels // reduction)
        self.reduce = nn.Linear(channels, hidden)
        self.expand = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        weight = functional.hardsigmoid(self.expand(functional.relu(self.reduce(x.mean(dim=(2, 3))))))
        return x * weight[:, :, None, None]


class InvertedResidual(nn.Module):
    """F of AF-MobileNetV3: 1x1 -> depthwise -> squeeze-excite -> 1x1.

    Without expansion (hidden = inputs) the first 1x1 is left out and the activation comes before the squeeze-excite.

    Args:
        groups: groups of the 1x1 convolutions (2 in focal blocks).
        hard_swish: activation, h-swish or ReLU.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        squeeze_excite: bool = False,
        hard_swish: bool = False,
    ) -> None:
        super().__init__()
        self.expands = hidden != inputs
        self.activate = nn.Hardswish() if hard_swish else nn.ReLU()
        depthwise = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
        project = nn.Conv2d(hidden, outputs, 1, groups=groups, bias=False)
        self.se = SqueezeExcite(hidden) if squeeze_excite else nn.Identity()
        if self.expands:
            self.conv1 = nn.Conv2d(inputs, hidden, 1, groups=groups, bias=False)
            self.bn1 = nn.BatchNorm2d(hidden)
            self.conv2, self.bn2 = depthwise, nn.BatchNorm2d(hidden)
            self.conv3, self.bn3 = project, nn.BatchNorm2d(outputs)
        else:
            self.conv1, self.bn1 = depthwise, nn.BatchNorm2d(hidden)
            self.conv2, self.bn2 = project, nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        x = self.activate(self.bn1(self.conv1(x)))
        if not self.expands:
            return self.bn2(self.conv2(self.se(x)))
        x = self.activate(self.se(self.bn2(self.conv2(x))))
        return self.bn3(self.conv3(x))


def round_to_eight(width: float) -> int:
    """The multiple of 8 nearest to a width, at least 8, and never more than a tenth below it (MobileNetV2's rule)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


class Block(nn.Module):
    """A residual block over all frames: the ample, fusion and plain ones.

    Args:
        residual: F, (B, C, H, W) -> (B, D, H', W').
        shortcut: of the same shapes; None where the block has no shortcut.
        frames: T when the block shifts channels in time, 0 when it does not.
        relu: whether the block ends in a ReLU.
    """

    def __init__(self, residual: nn.Module, shortcut: nn.Module | None, *, frames: int = 0, relu: bool = True) -> None:
        super().__init__()
        self.frames = frames
        self.relu = relu
        self.residual = residual
        self.shortcut = shortcut

    def shifted(self, x: Tensor) -> Tensor:
        return temporal_shift(x, self.frames) if self.frames else x

    def finish(self, x: Tensor) -> Tensor:
        return functional.relu(x, inplace=True) if self.relu else x

    def forward(self, x: Tensor) -> Tensor:
        """(N*T, C, H, W) -> (N*T, D, H', W')."""
        out = self.residual(self.shifted(x))
        return self.finish(out if self.shortcut is None else out + self.shortcut(x))


class FocalBlock(Block):
    """A block that computes F only for kept frames; its shortcut sees every frame.

    masked:  `act(shortcut(x) + F(m * shift(x)))`, the reference, with m in {0, 1} per frame.
    skipped: F on the kept frames alone; a dropped frame gets F(0), which batch-norm's shift makes a constant map
             rather than zero, computed once and kept.
    """

    shortcut: nn.Module

    def __init__(self, residual: nn.Module, shortcut: nn.Module, *, frames: int = 0, relu: bool = True) -> None:
        super().__init__(residual, shortcut, frames=frames, relu=relu)
        self.zero_response = ZeroResponse()

    def masked(self, x: Tensor, gate: Tensor) -> Tensor:
        """x (N*T, C, H, W), gate (N*T,) float in {0, 1} -> (N*T, D, H, W)."""
        return self.finish(self.residual(self.shifted(x) * gate.view(-1, 1, 1, 1)) + self.shortcut(x))

    def skipped(self, x: Tensor, kept: Tensor, multiple: int = 1) -> Tensor:
        """x (N*T, C, H, W), kept (k,) int64 rows -> (N*T, D, H, W), equal to masked in evaluation.

        Args:
            multiple: of which the number of computed rows is one, see rounded_up.
        """
        response = self.zero_response(self.residual, x)
        rows = self.gathered(x, kept, multiple)
        return self.finish(run_skipped(self.residual, rows, self.shortcut(x), kept, response))

    def gathered(self, x: Tensor, kept: Tensor, multiple: int) -> Tensor:
        """The kept rows of shift(x), and repeated ones."""
        rows = rounded_up(kept, multiple)
        return shifted_rows(x, self.frames, rows) if self.frames else take_rows(x, rows)
