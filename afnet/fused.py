"""Operators of a frozen network that spare memory traffic: the same values, written once.

On a processor a new tensor of tens of megabytes costs more than the 1x1 convolution that fills it, because its pages
are new to the process. So sums, gates and activations happen in place, on tensors that their caller gives up, and
convolutions add and rectify while their output is still in the cache. No gradient is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from afnet.execution import WeightState
from afnet.module import FusionGate

Activation = Literal["none", "relu", "hardswish"]


class FusedConv(nn.Module):
    """A convolution with the batch-norm after it folded in: `act(conv(x) + add)`.

    On a processor, in float32, oneDNN does all of it in one pass, over weights laid out once for its kernels. Elsewhere
    it is up to three operators of torch. oneDNN's ReLU makes zero of NaN, so what is not finite before it need not be
    seen in the logits.

    Args:
        conv: frozen from here on.
        norm: None where none follows.
        activation: where the call names no other.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None, activation: Activation = "none") -> None:
        super().__init__()
        conv = conv.eval()
        folded = conv if norm is None else nn.utils.fuse_conv_bn_eval(conv, norm.eval())
        self.conv = folded.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.activation: Activation = activation
        self._packed: tuple[WeightState, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and files leave the packed weights out: their layout is this machine's."""
        return {**super().__getstate__(), "_packed": None}

    def forward(self, x: Tensor, add: Tensor | None = None, activation: Activation | None = None) -> Tensor:
        """(B, C, H, W) -> (B, D, H', W').

        Args:
            add: (B, D, H', W'), given up: the result may be written into it.
        """
        activation = self.activation if activation is None else activation
        if self._fuses(x, add):
            return self._in_one_pass(x, add, activation)
        out = self.conv(x)
        return activate_(out if add is None else add.add_(out), activation)

    def _fuses(self, x: Tensor, add: Tensor | None) -> bool:
        """Whether oneDNN's fused operators serve this call."""
        if not FUSES or torch.is_autocast_enabled("cpu"):
            return False
        plain = x.device.type == "cpu" and x.dtype == self.conv.weight.dtype == torch.float32 and x.numel() > 0
        laid_out = add is None or add.is_contiguous(memory_format=torch.channels_last)
        return plain and laid_out and not self.conv.weight.is_inference()

    def _in_one_pass(self, x: Tensor, add: Tensor | None, activation: Activation) -> Tensor:
        conv, ops = self.conv, torch.ops.mkldnn
        x = x.contiguous(memory_format=torch.channels_last)
        shape = (conv.padding, conv.stride, conv.dilation, conv.groups)
        weight = self._packed_weight(x)
        if add is None:
            return ops._convolution_pointwise(x, weight, conv.bias, *shape, activation, [], "")
        rectifies = activation == "relu"
        unary: tuple[Any, ...] = ("relu", [], "") if rectifies else (None, [], None)
        out = ops._convolution_pointwise_.binary(add, x, weight, conv.bias, *shape, "add", 1.0, *unary)
        return out if rectifies else activate_(out, activation)  # the only one it takes beside a sum

    def _packed_weight(self, x: Tensor) -> Tensor:
        """The weight in oneDNN's own layout, made anew when it changed."""
        conv = self.conv
        if self._packed is None or not self._packed[0].holds_for(conv):
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                conv.weight.detach(), conv.padding, conv.stride, conv.dilation, conv.groups, list(x.shape)
            )
            self._packed = (WeightState(conv), packed)
        return self._packed[1]


def _has_fused_operators() -> bool:
    """They are torch's own compiler's and may go; without them the same is computed in more passes."""
    names = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


FUSES = _has_fused_operators()


def activate_(x: Tensor, activation: Activation) -> Tensor:
    """The activation in place."""
    if activation == "relu":
        return x.relu_()
    return functional.hardswish(x, inplace=True) if activation == "hardswish" else x


# Frames that a stem computes at a time on a processor: its widest map then fits memory that is already mapped.
STEM_ROWS = 4


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x), for a function of rows alone; on a processor a few rows at a time."""
    if x.device.type != "cpu" or len(x) <= STEM_ROWS:
        return function(x)
    return torch.cat([function(rows) for rows in x.split(STEM_ROWS)])


class FrozenStem(nn.Sequential):
    """Layers that treat each frame alone, a few frames at a time."""

    def forward(self, x: Tensor) -> Tensor:
        return in_chunks(super().forward, x)


class FrozenGate(FusionGate):
    """The gate in place: writes into `focal`, reads the small ample map where it is."""

    def __init__(self, source: FusionGate) -> None:
        nn.Module.__init__(self)
        self.reduce, self.expand = source.reduce, source.expand

    def forward(self, ample: Tensor, focal: Tensor) -> Tensor:
        (height, width), (h, w) = focal.shape[-2:], ample.shape[-2:]
        if height % h or width % w or not _both_channels_last(ample, focal):
            return super().forward(ample, focal)
        # Each ample value covers a rectangle of equal size, so the mean is that of the small map.
        weight = self.weight(ample.mean(dim=(2, 3)) + focal.mean(dim=(2, 3)))  # (B, C)
        target = focal.permute(0, 2, 3, 1).unflatten(2, (w, -1)).unflatten(1, (h, -1))  # (B, h, H/h, w, W/w, C)
        ample, weight = ample.to(focal.dtype), weight.to(focal.dtype)  # under autocast they differ
        target.lerp_(ample.permute(0, 2, 3, 1)[:, :, None, :, None], weight[:, None, None, None, None])
        return focal


def _both_channels_last(one: Tensor, other: Tensor) -> bool:
    return all(x.is_contiguous(memory_format=torch.channels_last) for x in (one, other))
