"""The demo: the suite's question in twelve points on data whose answer is known."""

from __future__ import annotations

from bench.experiment import Experiment
from sweeps.recipes.bases import base, measured, shortened, trained

# Of AFNet: frames, target ratio, temporal shift.
AFNET_POINTS = ((8, 1.0, True), (8, 0.5, True), (8, 0.25, True), (16, 0.5, True), (16, 0.25, True), (8, 0.5, False))


def demo(tiny: bool) -> list[Experiment]:
    """TSN, TSM, AFNet and a frame sampler on digits in motion (about 10 minutes on 2 CPU cores).

    `afbench demo`. Ten trainings; TSN is trained once, at 8 frames, and measured at 4, 8 and 16.
    """
    points = [measured(base("tsn"), frames=frames) for frames in (4, 8, 16)]
    points.append(base("tsm"))
    for frames, ratio, shift in AFNET_POINTS:
        points.append(trained(base("afnet"), frames=frames, ratio=ratio, shift=shift))
    points += [base("uniform"), base("scsampler")]
    return [shortened(point) for point in points] if tiny else points
