"""How many frames AFNet computes in full: by training, by a budget at inference, by chance; and fewer frames."""

from __future__ import annotations

from bench.data.catalogue import DIGITS
from bench.experiment import Experiment
from sweeps.recipes.bases import base, measured, shortened, trained

# The paper's: 1, .5 and .25 at 8 frames, .8 and .4 at 12.
RATIOS = (1.0, 0.8, 0.5, 0.4, 0.25)
# Multiply-adds of AFNet, as a share of TSM's at as many frames: what all frames cost, and what those in full add at
# ratio 1. By `afbench profile tsm afnet --backbone NAME --ratio .5 1`, tiny at 64 pixels, others at 224.
SHARES = {
    "tiny": (0.736, 0.207),
    "resnet50": (0.448, 0.256),
    "resnet101": (0.265, 0.372),
    "mobilenetv3": (0.805, 0.089),
}


def selection_ratio(tiny: bool, dataset: str = DIGITS, backbone: str = "") -> list[Experiment]:
    """How much can be left out before accuracy falls, and does it matter that the choice is learned?

    `afbench sweep submit selection-ratio`. At 8 frames: AFNet trained at ratios 1, .8, .5, .4 and .25; its training at
    .5 measured with budgets of 6, 4, 3 and 2 frames; random and uniform frames in its place at the ratios below 1; TSM
    with the whole number of frames that costs nearest to each ratio. 20 points of 16 trainings for digits in motion,
    estimate: 16 minutes on 2 CPU cores; for ResNet-50 at 224 pixels a GPU.

    Expect the navigation's recall of informative frames above chance, and random frames below it in accuracy where few
    are kept. The ratio reached is not the target: read the kept ratio.
    """
    start = base("afnet", dataset, backbone)
    count = start.model.frames
    points = [trained(start, ratio=ratio) for ratio in RATIOS]
    points += [measured(trained(start, ratio=0.5), budget=round(ratio * count)) for ratio in RATIOS if ratio < 1]
    for navigation in ("random", "uniform"):
        points += [trained(start, ratio=ratio, navigation=navigation) for ratio in RATIOS if ratio < 1]
    tsm = base("tsm", dataset, backbone)
    points += [trained(tsm, frames=frames) for frames in _as_costly(start.model.backbone, count)]
    return [shortened(point) for point in points] if tiny else points


def _as_costly(backbone: str, count: int) -> list[int]:
    """Numbers of frames at which TSM costs what AFNet does at `count` frames and each ratio, most first."""
    every, full = SHARES[backbone]
    return list(dict.fromkeys(round(count * (every + full * ratio)) for ratio in RATIOS))
