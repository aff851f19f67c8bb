"""The demo: the suite's question in twelve points on data whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.experiment import Data, Evaluation, Experiment, Model, Timing, Training
from bench.settings import AFNet, FrameAverage, FrameChoice, MethodSettings, SCSampler

# One recipe for every method: from scratch, one pass over clips that are generated as they are needed.
DATA = Data(dataset="digits-in-motion", train_clips=6400, val_clips=480)
TRAINING = Training(epochs=1, batch=16, lr=0.08, nesterov=True, schedule="cosine", multipliers="from-scratch")
PLAIN = FrameAverage(dropout=0.0)
AFNET = AFNet(
    dropout=0.0,
    # The published settings start from ImageNet weights and take 150,000 steps; these start from nothing and take 400.
    zero_init=False,
    # Low enough that drops are drawn from the start. Where they are not (4.0), blocks still tell informative frames
    # from the others, but some settle on keeping the others.
    keep_bias=1.5,
    alike_start=True,
    # A map for each position learns from one frame in eight and settles on positions (measured; see the README).
    context="shared",
    ratio_weight=3.0,
    warm_start=27 / 55,
    warm_end=33 / 55,
    end_temperature=0.5,
)


# Enough for intervals, in a demo's time.
TIMING = Timing(batch=8, rounds=12, warmup=0.2)
BASE = Experiment(data=DATA, model=Model("afnet", "tiny", 8, AFNET), training=TRAINING, timing=TIMING)
SETTINGS: dict[str, MethodSettings] = {"tsn": PLAIN, "tsm": PLAIN, "afnet": AFNET}

# Of AFNet: frames, target ratio, temporal shift.
AFNET_POINTS = ((8, 1.0, True), (8, 0.5, True), (8, 0.25, True), (16, 0.5, True), (16, 0.25, True), (8, 0.5, False))

# What one looks at matters more than how much: two frames of eight, evenly or by a glance at small pictures.
GLANCE: dict[str, Any] = {"glance": "tiny-glance", "glance_size": 32}
SAMPLERS: dict[str, MethodSettings] = {
    "uniform": FrameChoice(keep=2, dropout=0.0),
    # A short exploration: the recogniser must learn on what the glance chooses.
    "scsampler": SCSampler(keep=2, dropout=0.0, explore=0.2, **GLANCE),
}


def starting_point(method: str) -> Experiment:
    """The demo's experiment for one of its methods, to start from."""
    return replace(BASE, model=Model(method, "tiny", 8, SETTINGS[method]), evaluation=Evaluation())


def demo(tiny: bool) -> list[Experiment]:
    """TSN, TSM, AFNet and a frame sampler on digits in motion (about 10 minutes on 2 CPU cores).

    `afbench demo`. Ten trainings; TSN is trained once, at 8 frames, and measured at 4, 8 and 16.
    """
    tsn = starting_point("tsn")
    points = [replace(tsn, evaluation=Evaluation(frames=frames)) for frames in (4, 8, 16)]
    points.append(starting_point("tsm"))
    for frames, ratio, shift in AFNET_POINTS:
        model = Model("afnet", "tiny", frames, replace(AFNET, ratio=ratio, shift=shift))
        points.append(replace(BASE, model=model, evaluation=Evaluation()))
    for method, settings in SAMPLERS.items():
        points.append(replace(BASE, model=Model(method, "tiny", 8, settings), evaluation=Evaluation()))
    return [shortened(point) for point in points] if tiny else points


def shortened(point: Experiment) -> Experiment:
    """Two steps and a few videos: the whole way in seconds, with meaningless accuracies."""
    data = replace(point.data, train_clips=32, val_clips=32)
    return replace(point, data=data, timing=replace(point.timing, rounds=3, warmup=0.0))
