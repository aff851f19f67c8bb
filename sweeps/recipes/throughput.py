"""Time alone: trainings of other recipes, timed in every way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.data.catalogue import DIGITS
from bench.experiment import Experiment
from bench.methods import find_method
from sweeps.recipes.bases import base, measured, shortened, suited, trained

AFNET_RATIOS = (1.0, 0.5, 0.25)


def throughput(tiny: bool, dataset: str = DIGITS, backbone: str = "") -> list[Experiment]:
    """How fast is each network, and how much of a saving in multiply-adds is realised as time?

    `afbench sweep submit throughput`, on the machine that is to be timed, after `frames` and `selection-ratio` into the
    same `--runs`: TSN and TSM at 8 frames and AFNet at ratios 1, .5 and .25 are their trainings, and nothing is trained
    again. Each is timed as there and with one thing changed: one clip, four times the batch, bfloat16, not optimised.
    Networks for 224 pixels are timed on a GPU: there also in float16, compiled, as a CUDA graph (AFNet with a budget,
    which gives it fixed shapes), and on the processor. All executions are timed in turns in every point.

    25 points of 5 trainings for digits in motion, 48 of 5 on a GPU; every point evaluates its checkpoint too. Estimate
    for digits in motion, trainings done: 10 minutes on 2 CPU cores. Expect little of a saving to be realised by the
    small network (README.md), more by ResNet-50 at 224 pixels (docs/afnet.md).
    """
    points: list[Experiment] = []
    for start in _checkpoints(dataset, backbone):
        point = shortened(start) if tiny else start
        changes: list[dict[str, Any]] = [
            {},
            {"batch": 1},
            {"batch": 4 * point.timing.batch},
            {"dtype": "bfloat16"},
            {"optimised": False},
        ]
        points += _timed(point, *changes)
        if point.timing.device == "cuda":
            points += _timed(point, {"dtype": "float16"}, {"device": "cpu", "batch": 1}) + _launched(point)
    return points


def _checkpoints(dataset: str, backbone: str) -> list[Experiment]:
    found: list[Experiment] = []
    for method in suited(("tsn", "tsm", "afnet"), dataset, backbone):
        start = base(method, dataset, backbone)
        found += [trained(start, ratio=ratio) for ratio in AFNET_RATIOS] if method == "afnet" else [start]
    return found


def _timed(point: Experiment, *changes: dict[str, Any]) -> list[Experiment]:
    return [replace(point, timing=replace(point.timing, **change)) for change in changes]


def _launched(point: Experiment) -> list[Experiment]:
    """Compiled, and as a CUDA graph, which both want fixed shapes; and those launched one by one, unless they are.

    Not on a processor: torch.compile gives up on what optimize_for_inference makes there.
    """
    modes: list[dict[str, Any]] = [{"mode": "compile"}, {"mode": "graph"}]
    if not find_method(point.model.method).skips:
        return _timed(point, *modes)
    ratio = point.model.settings.knobs()["ratio"]
    return _timed(measured(point, budget=round(ratio * point.model.frames)), {}, *modes)
