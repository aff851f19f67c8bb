"""AFNet's settings, one at a time."""

from __future__ import annotations

from typing import Any

from bench.data.catalogue import DIGITS
from bench.experiment import Experiment
from sweeps.recipes.bases import base, shortened, trained

# Every value of a setting but that of the base is a point; docs/afnet.md says what they mean.
VALUES: dict[str, tuple[Any, ...]] = {
    # What the network is made of.
    "shift": (True, False),
    "fusion": ("gate", "sum", "ample", "focal"),
    "sharing": ("block", "stage"),
    "alpha": (1, 2, 4),
    "ample_stride": (1, 2, 4),
    # Who decides, and from what.
    "navigation": ("learned", "random", "uniform"),
    "context": ("position", "shared", "temporal"),
    # How decisions are trained.
    "hard": (True, False),
    "temperature_schedule": ("exponential", "linear", "constant"),
    "ratio_schedule": ("steps", "linear", "constant"),
    "ratio_weight": (0.5, 3.0),
    # How the network begins.
    "zero_init": (True, False),
    "keep_bias": (1.5, 10.0),
    "alike_start": (True, False),
}
# AF-MobileNetV3 is defined for one value of each.
FIXED = {"mobilenetv3": ("shift", "alpha", "ample_stride")}
# Table 1 of the paper beside TSN: 8 frames, no shift.
TABLE_1: tuple[dict[str, Any], ...] = ({"ratio": 1.0}, {"ratio": 0.25}, {"hard": False})


def ablations(tiny: bool, dataset: str = DIGITS, backbone: str = "") -> list[Experiment]:
    """Which of AFNet's parts and settings matter?

    `afbench sweep submit ablations`. AFNet at 8 frames and ratio .5, then each setting at each of its other values, one
    at a time; then Table 1 of the paper (TSN, ratios 1 and .25 and soft weights, all without shift; ratio .5 without
    shift is among the others). 27 points, each trained on its own; estimate for digits in motion: 27 minutes on 2 CPU
    cores; for ResNet-50 at 224 pixels a GPU.

    Expect the shift to matter most on digits in motion, whose labels are motions. A single seed is one draw: `--seeds 0
    1 2` before concluding from points or less.
    """
    start = base("afnet", dataset, backbone)
    fixed = FIXED.get(start.model.backbone, ())
    points = [start]
    for name, values in VALUES.items():
        here = getattr(start.model.settings, name)
        points += [trained(start, **{name: value}) for value in values if value != here and name not in fixed]
    points.append(base("tsn", dataset, backbone))
    if "shift" not in fixed:
        points += [trained(start, shift=False, **settings) for settings in TABLE_1]
    return [shortened(point) for point in points] if tiny else points
