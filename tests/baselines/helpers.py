"""Backbones to test: small ones of each kind, alive in every layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from baselines.backbones import Backbone, make_backbone
from bench.macs import FORMULAS
from tests.baselines import reference

MOBILE: dict[str, Callable[..., Tensor]] = {
    "mobilenetv2": reference.mobilenet_v2,
    "mobilenetv3": reference.mobilenet_v3,
    "efficientnet-lite0": reference.efficientnet_lite0,
}
# One of each kind, small where a small one is there.
KINDS = ("tiny-glance", "resnet18", *MOBILE)


def on_meta(name: str) -> Backbone:
    """Without memory or time."""
    with torch.device("meta"):
        return make_backbone(name)


def lively(name: str, *, frames: int = 0) -> Backbone:
    """In evaluation, each batch-norm with statistics of noise, so that features depend on the input in all layers."""
    torch.manual_seed(0)
    backbone = make_backbone(name, frames=frames)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    with torch.no_grad():
        backbone.train()(torch.randn(2 * max(frames, 2), 3, 64, 64))
    return backbone.eval().requires_grad_(False)


def counted(network: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter, torch.no_grad():
        network(x)
    return counter.get_total_flops() // 2
