"""Samplers of frames and crops at matched multiply-adds, on data whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bench.data.catalogue import DigitsSettings
from bench.experiment import Data, Evaluation, Experiment, Model
from bench.methods import find_method
from sweeps.recipes.demo import AFNET, GLANCE, TRAINING, shortened

# A digit smaller than the demo's, so that it matters where one looks.
DATA = Data(dataset="digits-in-motion", train_clips=6400, val_clips=480, settings=DigitsSettings(scale=0.2))


@dataclass(frozen=True)
class Spot:
    """A method with its settings; those of a network this small, the published ones are the defaults."""

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    frames: int = 16
    evaluated_at: int = 0

    def experiment(self) -> Experiment:
        settings = find_method(self.method).settings(**{"dropout": 0.0, **self.settings})
        return Experiment(
            data=DATA,
            model=Model(self.method, "tiny", self.frames, settings),
            training=TRAINING,
            evaluation=Evaluation(frames=self.evaluated_at),
        )


# In 1e9 multiply-adds: 4 whole frames of 64 pixels 0.0151, 16 crops of 32 pixels the same, a glance at 16 small frames
# 0.0041. Controls come twice, the second time with as many more frames as a sampler's glance costs.
SPOTS = (
    Spot("tsm", frames=4),
    Spot("ffn", {"counts": "2+4+8"}, frames=8, evaluated_at=4),
    Spot("uniform", {"keep": 4}),
    Spot("uniform", {"keep": 5}),
    Spot("random", {"keep": 4}),
    Spot("random", {"keep": 5}),
    Spot("motion", {"keep": 4}),
    Spot("best-frame", {"keep": 4}),
    # Short explorations: the recogniser must learn on what the policy chooses, and has 400 steps in all.
    Spot("scsampler", {"keep": 4, "explore": 0.2, **GLANCE}),
    # The published reward fails from scratch, see docs/rivals.md.
    Spot("ocsampler", {"keep": 4, "explore": 0.25, "joint": True, "reward": "label", "entropy": 0.01, **GLANCE}),
    Spot("frameexit", {"width": 128, "gate_width": 16, "beta": 0.3}, frames=8),
    Spot("arnet", {"smaller": "tiny+tiny", "sizes": "64+48+40", "hidden": 64, **GLANCE}),
    Spot("oracle-frames", {"keep": 4}),
    Spot("centre-crop", {"patch": 32}),
    Spot("centre-crop", {"patch": 32}, frames=20),
    Spot("random-crop", {"patch": 32}),
    Spot("random-crop", {"patch": 32}, frames=20),
    Spot("adafocus", {"patch": 32, "hidden": 64, **GLANCE}),
    Spot("adafocus-v2", {"patch": 32, "per": "video", "head": "average", "hidden": 64, **GLANCE}),
    Spot(
        "uni-adafocus",
        {"patch": 32, "glance": "tiny-glance", "glance_size": 64, "glance_frames": 4, "width": 128, "hidden": 16},
    ),
    Spot("oracle-crop", {"patch": 32}),
)


def samplers(tiny: bool) -> list[Experiment]:
    """Every sampler and its controls at matched multiply-adds on digits in motion (about 25 minutes on 2 CPU cores).

    `afbench sweep submit samplers`. One training of 400 steps a point; AFNet beside them, at five frames.
    """
    points = [spot.experiment() for spot in SPOTS]
    afnet = Model("afnet", "tiny", 5, replace(AFNET, ratio=0.5))
    points.append(Experiment(data=DATA, model=afnet, training=TRAINING, evaluation=Evaluation()))
    return [shortened(point) for point in points] if tiny else points
