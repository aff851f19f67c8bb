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
    again. Each is timed as there and with one thing changed: one clip, four times the batch, bfloat16, compiled, not
    optimised; networks for 224 pixels on a GPU, there also in float16, as a CUDA graph (AFNet with a budget, which
    gives it fixed shapes) and on the processor. All executions are timed in turns in every point.

    30 points of 5 trainings for digits in motion, 48 of 5 on a GPU; every point evaluates its checkpoint too. Estimate
    for digits in motion, trainings done: 15 minutes on 2 CPU cores. Expect little of a saving to be realised by the
    small network (README.md), more by ResNet-50 at 224 pixels (docs/afnet.md).
    """
    points: list[Experiment] = []
    for start in _checkpoints(dataset, backbone):
        point = shortened(start) if tiny else start
        points += [replace(point, timing=replace(point.timing, **change)) for change in _changes(point)]
        if point.timing.device == "cuda":
            points += _as_graph(point)
    return points


def _checkpoints(dataset: str, backbone: str) -> list[Experiment]:
    found: list[Experiment] = []
    for method in suited(("tsn", "tsm", "afnet"), dataset, backbone):
        start = base(method, dataset, backbone)
        found += [trained(start, ratio=ratio) for ratio in AFNET_RATIOS] if method == "afnet" else [start]
    return found


def _changes(point: Experiment) -> list[dict[str, Any]]:
    """What differs from the point's own timing, one thing at a time."""
    changes: list[dict[str, Any]] = [{}, {"batch": 1}, {"batch": 4 * point.timing.batch}, {"dtype": "bfloat16"}]
    changes += [{"mode": "compile"}, {"optimised": False}]
    if point.timing.device == "cuda":
        changes += [{"dtype": "float16"}, {"device": "cpu", "batch": 1}]
    return changes


def _as_graph(point: Experiment) -> list[Experiment]:
    """A CUDA graph, and what it is to be compared with where that is no point yet."""
    graph = replace(point.timing, mode="graph")
    if not find_method(point.model.method).skips:
        return [replace(point, timing=graph)]
    fixed = measured(point, budget=round(point.model.settings.knobs()["ratio"] * point.model.frames))
    return [fixed, replace(fixed, timing=graph)]
