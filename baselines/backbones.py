"""The networks that methods are built on, by name."""

from __future__ import annotations

from collections.abc import Callable

from baselines.contract import SIDE_MULTIPLE, Backbone
from baselines.efficientnet import EfficientNetLite0
from baselines.mobilenet import MobileNetV2, MobileNetV3
from baselines.resnet import PRESETS, ResNet
from baselines.weights import load_weights, packaged_weights

__all__ = ["BACKBONES", "SIDE_MULTIPLE", "Backbone", "load_weights", "make_backbone", "packaged_weights"]

_OTHERS: dict[str, Callable[..., Backbone]] = {
    "mobilenetv2": MobileNetV2,
    "mobilenetv3": MobileNetV3,
    "efficientnet-lite0": EfficientNetLite0,
}
BACKBONES = (*PRESETS, *_OTHERS)


def make_backbone(name: str, *, frames: int = 0) -> Backbone:
    """A backbone with random weights.

    Args:
        name: in BACKBONES.
        frames: T to shift channels in time (TSM), 0 for a plain network.

    Raises:
        ValueError: for an unknown name or a number of frames below 0.
    """
    if name not in PRESETS and name not in _OTHERS:
        raise ValueError(f"no backbone is called {name!r}; expected one of {', '.join(BACKBONES)}")
    if frames < 0:
        raise ValueError(f"frames is {frames}; expected the frames of a clip, or 0 for no shift in time")
    return ResNet(name, frames=frames) if name in PRESETS else _OTHERS[name](frames=frames)
