"""Making a trained network fast without changing what it computes."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn

from afnet.contract import VideoModel

Model = TypeVar("Model", bound=VideoModel)


def optimize_for_inference(model: Model) -> Model:
    """A copy for evaluation alone: batch-norms folded into their convolutions, weights laid out channels-last.

    Logits stay within rounding (1e-3), decisions too but for exact ties. The copy takes clips of any layout; the first
    convolution turns the maps channels-last. It cannot be trained: its batch-norms are gone.
    """
    fast = copy.deepcopy(model).eval()
    for module in list(fast.modules()):
        _fold_children(module)
    fast.optimised = True
    for parameter in fast.parameters():
        parameter.requires_grad_(False)
    return fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _fold_children(module: nn.Module) -> None:
    """Fold each batch-norm child into the convolution registered just before it."""
    children = list(module.named_children())
    for (name, conv), (norm_name, norm) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, nn.utils.fuse_conv_bn_eval(conv, norm))
            setattr(module, norm_name, nn.Identity())
