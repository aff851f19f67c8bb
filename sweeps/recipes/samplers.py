"""Samplers of frames and crops at matched multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bench.data.catalogue import DIGITS, DigitsSettings, find_dataset
from bench.experiment import Experiment, Timing
from sweeps.recipes.bases import SMALL, base, measured, network_on, shortened, suited, trained

# A digit smaller than the demo's, so that it matters where one looks.
SMALLER_DIGIT = DigitsSettings(scale=0.2)


@dataclass(frozen=True)
class Spot:
    """A method and what differs from its base; 0 frames are those of the base."""

    method: str
    frames: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    evaluated_at: int = 0

    def experiment(self, dataset: str, backbone: str) -> Experiment:
        point = trained(base(self.method, dataset, backbone), frames=self.frames, **self.settings)
        point = measured(point, frames=self.evaluated_at or point.model.frames)
        if find_dataset(dataset).generated:
            point = replace(point, data=replace(point.data, settings=SMALLER_DIGIT))
        return replace(point, timing=Timing(device=point.timing.device))


# In 1e9 multiply-adds: 4 whole frames of 64 pixels 0.0151, 16 crops of 32 pixels the same, a glance at 16 small frames
# 0.0041. Controls come twice, the second time with as many more frames as a sampler's glance costs.
SMALL_SPOTS = (
    Spot("tsm", 4),
    Spot("ffn", 8, {"counts": "2+4+8"}, evaluated_at=4),
    Spot("uniform", 16, {"keep": 4}),
    Spot("uniform", 16, {"keep": 5}),
    Spot("random", 16, {"keep": 4}),
    Spot("random", 16, {"keep": 5}),
    Spot("motion", 16, {"keep": 4}),
    Spot("best-frame", 16, {"keep": 4}),
    Spot("scsampler", 16, {"keep": 4}),
    Spot("ocsampler", 16, {"keep": 4}),
    Spot("frameexit"),
    Spot("arnet", 16),
    Spot("oracle-frames", 16, {"keep": 4}),
    Spot("centre-crop", 16),
    Spot("centre-crop", 20),
    Spot("random-crop", 16),
    Spot("random-crop", 20),
    Spot("adafocus", 16),
    Spot("adafocus-v2", 16),
    Spot("uni-adafocus", 16, {"keep": 16}),
    Spot("oracle-crop", 16),
    Spot("afnet", 5, {"ratio": 0.5}),
)

# In 1e9 multiply-adds at 224 pixels on ResNet-50: 6 whole frames 24.5 and 7 of them 28.6, 16 crops of 128 pixels 21.4
# and 20 of them 26.7, SCSampler 25.3, OCSampler 25.5, AdaFocus 26.5, V2 26.9, Uni-AdaFocus 26.6, AFNet 27.0; FFN 32.7,
# the nearest it has; FrameExit and AR-Net decide themselves.
LARGE_SPOTS = (
    Spot("tsm", 6),
    Spot("ffn", evaluated_at=8),
    Spot("uniform", 16, {"keep": 6}),
    Spot("uniform", 16, {"keep": 7}),
    Spot("random", 16, {"keep": 6}),
    Spot("random", 16, {"keep": 7}),
    Spot("motion", 16, {"keep": 6}),
    Spot("best-frame", 16, {"keep": 6}),
    Spot("scsampler", 16, {"keep": 6}),
    Spot("ocsampler"),
    Spot("frameexit"),
    Spot("arnet", 16),
    Spot("oracle-frames", 16, {"keep": 6}),
    Spot("centre-crop", 16, {"patch": 128}),
    Spot("centre-crop", 20, {"patch": 128}),
    Spot("random-crop", 16, {"patch": 128}),
    Spot("random-crop", 20, {"patch": 128}),
    Spot("adafocus", 16, {"patch": 128}),
    Spot("adafocus-v2", 16, {"patch": 128}),
    Spot("uni-adafocus"),
    Spot("oracle-crop", 16, {"patch": 128}),
    Spot("afnet", 12, {"ratio": 0.4}),
)


def samplers(tiny: bool, dataset: str = DIGITS, backbone: str = "") -> list[Experiment]:
    """At equal multiply-adds, which sampler looks at the right frames and places, and does it beat its controls?

    `afbench sweep submit samplers`. 22 points, each trained on its own; about 25 minutes for digits in motion on 2 CPU
    cores (measured). There oracles score highest, and learned samplers of frames above uniform and random frames;
    docs/rivals.md has the figures.
    """
    spots = SMALL_SPOTS if network_on(dataset, backbone) in SMALL else LARGE_SPOTS
    kept = suited(dict.fromkeys(spot.method for spot in spots), dataset, backbone)
    points = [spot.experiment(dataset, backbone) for spot in spots if spot.method in kept]
    return [shortened(point) for point in points] if tiny else points
