"""The demo: the suite's question in ten points on data whose answer is known."""

from __future__ import annotations

from dataclasses import replace

from bench.experiment import Data, Evaluation, Experiment, Model, Training
from bench.methods import AFNet, FrameAverage

# One recipe for every method: from scratch, one pass over clips that are generated as they are needed.
DATA = Data(dataset="digits-in-motion", train_clips=6400, val_clips=480)
TRAINING = Training(epochs=1, batch=16, lr=0.05, schedule="cosine", multipliers="from-scratch")
PLAIN = FrameAverage(dropout=0.0)
AFNET = AFNet(
    dropout=0.0,
    # The published settings start from ImageNet weights and take 150,000 steps; these start from nothing and take 400.
    zero_init=False,
    keep_bias=4.0,
    shared_start=True,
    ratio_weight=3.0,
    warm_start=27 / 55,
    warm_end=33 / 55,
    end_temperature=0.5,
)


def demo(tiny: bool) -> list[Experiment]:
    """TSN, TSM and AFNet at several frame counts and ratios on digits in motion (about 9 minutes on 2 CPU cores).

    `afbench demo`. Eight trainings; TSN is trained once, at 8 frames, and measured at 4, 8 and 16.
    """
    base = Experiment(data=DATA, training=TRAINING)
    if tiny:
        base = replace(base, data=replace(DATA, train_clips=32, val_clips=32), timing=replace(base.timing, rounds=3))
    tsn = replace(base, model=Model("tsn", "tiny", 8, PLAIN))
    points = [replace(tsn, evaluation=Evaluation(frames=frames)) for frames in (4, 8, 16)]
    points.append(replace(base, model=Model("tsm", "tiny", 8, PLAIN)))
    for frames, ratio, shift in (
        (8, 1.0, True),
        (8, 0.5, True),
        (8, 0.25, True),
        (16, 0.5, True),
        (16, 0.25, True),
        (8, 0.5, False),
    ):
        model = Model("afnet", "tiny", frames, replace(AFNET, ratio=ratio, shift=shift))
        points.append(replace(base, model=model, evaluation=Evaluation()))
    return points
