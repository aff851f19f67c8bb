"""Numbers of frames: trained at each, or trained once and measured at several."""

from __future__ import annotations

from bench.data.catalogue import DIGITS
from bench.experiment import Experiment
from sweeps.recipes.bases import base, measured, shortened, suited, trained

COUNTS = (4, 8, 12, 16)
# FFN serves the counts that it is trained for.
SERVED = (4, 8, 16)


def frames(tiny: bool, dataset: str = DIGITS, backbone: str = "") -> list[Experiment]:
    """What do more frames buy, and at what cost?

    `afbench sweep submit frames`. 15 points of 10 trainings: TSN and FFN are trained once and measured at several
    numbers of frames, TSM and AFNet (ratio .5) are trained at each of 4, 8, 12 and 16. Estimate for digits in motion:
    12 minutes on 2 CPU cores; for ResNet-50 at 224 pixels a GPU.

    Expect multiply-adds in proportion to frames, less for AFNet than for TSM; on digits in motion TSN stays below 50%,
    whatever the number (see docs/digits-in-motion.md).
    """
    points: list[Experiment] = []
    for method in suited(("tsn", "ffn", "tsm", "afnet"), dataset, backbone):
        start = base(method, dataset, backbone)
        if method == "tsn":
            points += [measured(start, frames=count) for count in COUNTS]
        elif method == "ffn":
            points += [measured(start, frames=count) for count in SERVED]
        else:
            points += [trained(start, frames=count) for count in COUNTS]
    return [shortened(point) for point in points] if tiny else points
