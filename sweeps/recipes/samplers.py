"""Samplers of frames and crops at matched multiply-adds, on data whose answer is known."""

from __future__ import annotations

from typing import Any

from bench.data.catalogue import DigitsSettings
from bench.experiment import Data, Evaluation, Experiment, Model, Training
from bench.methods import find_method
from sweeps.recipes.demo import TRAINING, shortened

# Larger pictures with a smaller digit than the demo's, so that where to look matters.
DATA = Data(dataset="digits-in-motion", size=96, train_clips=6400, val_clips=480, settings=DigitsSettings(scale=0.25))
FRAMES = 16
# Of a network this small; the published ones are the defaults.
GLANCE: dict[str, Any] = {"glance": "tiny-glance", "glance_size": 32}
WIDE_GLANCE: dict[str, Any] = {"glance": "tiny-glance", "glance_size": 64}

# Method, settings. Frames: 2 of 16 at 96 pixels cost 0.017 GFLOPs; crops: 16 of 32 pixels 0.015; a glance at 16 frames
# 0.004. Controls come again with more frames or larger crops, so that a sampler has dearer ones to beat as well.
POINTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("uniform", {"keep": 2}),
    ("uniform", {"keep": 3}),
    ("random", {"keep": 2}),
    ("random", {"keep": 3}),
    ("motion", {"keep": 2}),
    ("best-frame", {"keep": 2, "shift": False}),
    ("scsampler", {"keep": 2, **GLANCE}),
    ("ocsampler", {"keep": 2, "explore": 0.4, "joint": True, **GLANCE}),
    ("oracle-frames", {"keep": 2}),
    ("centre-crop", {"patch": 32}),
    ("centre-crop", {"patch": 40}),
    ("random-crop", {"patch": 32}),
    ("random-crop", {"patch": 40}),
    ("adafocus", {"patch": 32, "hidden": 64, **GLANCE}),
    ("adafocus-v2", {"patch": 32, "per": "video", "head": "average", "hidden": 64, **WIDE_GLANCE}),
    ("oracle-crop", {"patch": 32}),
)


def samplers(tiny: bool) -> list[Experiment]:
    """Every sampler and its controls at matched multiply-adds on digits in motion (under 40 minutes on 2 CPU cores).

    `afbench sweep submit samplers`. One training a point, 400 steps each.
    """
    points = [_point(method, settings) for method, settings in POINTS]
    return [shortened(point) for point in points] if tiny else points


def _point(method: str, settings: dict[str, Any], frames: int = FRAMES, training: Training = TRAINING) -> Experiment:
    kind = find_method(method).settings
    own = kind(**{"dropout": 0.0, **settings})
    return Experiment(data=DATA, model=Model(method, "tiny", frames, own), training=training, evaluation=Evaluation())
