"""What skipping is worth in time. Ratios within one run, in turns: `nox -s benchmarks`. No time makes anything fail.

AF-ResNet50-TSM at 224 pixels, 2 clips of 8 frames, a quarter of the frames kept in every block, float32. Proof that the
work is what it is said to be: logits agree, and saving realised is against the closed form's multiply-adds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from afnet import AFNet, optimize_for_inference
from afnet.contract import Selection
from afnet.cost import closed_form
from bench import gpu
from bench.gpu import CPU, Variant, draw_cells, seasoned, variant
from bench.macs import cost_model

FRAMES, VIDEOS, CLASSES, RATIO = 8, 2, 174, 0.25
Samples = dict[str, "np.ndarray[Any, np.dtype[np.float64]]"]


@pytest.fixture(autouse=True)
def two_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with torch.inference_mode():
        yield
    torch.set_num_threads(before)


def network(**settings: Any) -> AFNet:
    torch.manual_seed(0)
    model = AFNet(backbone="resnet50", frames=FRAMES, classes=CLASSES, zero_init=False, **settings)
    with torch.no_grad():
        seasoned(model)
    return model.requires_grad_(False)


def clips() -> Tensor:
    return torch.randn(VIDEOS, FRAMES, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def in_turns(benchmark: Any, variants: dict[str, Variant], rounds: int = 15) -> Samples:
    """Seconds of each variant, taking turns; all that is measured goes into the benchmark's json."""
    turns = benchmark.pedantic(gpu.in_turns, args=(variants, replace(CPU, rounds=rounds, warmup_s=5.0)), rounds=1)
    samples = {name: np.array(values) for name, values in turns.samples.items()}
    benchmark.extra_info["median_seconds"] = {name: float(np.median(values)) for name, values in samples.items()}
    return samples


def test_skipped_and_optimised_against_masked_as_released(benchmark: Any) -> None:
    """The released code multiplies by zero, in contiguous eager mode; predicted floor: the convolutions alone."""
    model, x = network(), clips()
    frames = model.example_selection(VIDEOS, RATIO)
    masked = variant(model, x, execution="masked", forced=frames)
    skipped = variant(optimize_for_inference(model), x, execution="skipped", forced=frames)
    torch.testing.assert_close(skipped(), masked(), atol=1e-3, rtol=1e-3)
    samples = in_turns(benchmark, {"masked": masked, "skipped": skipped})
    benchmark.extra_info["speedup"] = float(np.median(samples["masked"] / samples["skipped"]))


@pytest.mark.parametrize("optimised", [False, True])
def test_saving_realised(benchmark: Any, optimised: bool) -> None:
    """(time dense / time skipped - 1) / (MACs dense / MACs skipped - 1), in one layout."""
    model, x = network(), clips()
    model = optimize_for_inference(model) if optimised else model
    frames = model.example_selection(VIDEOS, RATIO)
    samples = in_turns(
        benchmark,
        {name: variant(model, x, execution=name, forced=frames) for name in ("dense", "skipped")},
    )
    cost = closed_form("resnet50", frames=FRAMES, classes=CLASSES)
    saved = cost.total(1) / cost.total(RATIO) - 1
    benchmark.extra_info["macs_saved"] = saved
    benchmark.extra_info["saving_realised"] = float((np.median(samples["dense"] / samples["skipped"]) - 1) / saved)


@pytest.mark.parametrize("optimised", [False, True])
def test_half_of_the_cells_of_stages_1_and_2_against_whole_frames(benchmark: Any, optimised: bool) -> None:
    """All frames kept, so that cells alone are compared."""
    whole, cells, x = network(), network(spatial=(1, 2)), clips()
    if optimised:
        whole, cells = optimize_for_inference(whole), optimize_for_inference(cells)
    frames = whole.example_selection(VIDEOS, 1.0).frames
    assert frames is not None
    half = draw_cells(frames, 0.5)
    samples = in_turns(
        benchmark,
        {
            "whole frames": variant(whole, x, execution="skipped", forced=Selection(frames)),
            "cells": variant(cells, x, execution="skipped", forced=Selection(frames, half)),
        },
    )
    speedup = float(np.median(samples["whole frames"] / samples["cells"]))
    units = cells.kept_units(Selection(frames, half), 224, 224).numpy()
    cells.forced = Selection()
    macs = cost_model(cells, x[:1]).of(units).mean()
    saved = closed_form("resnet50", frames=FRAMES, classes=CLASSES).total(1) / macs - 1
    benchmark.extra_info |= {"speedup": speedup, "macs_saved": saved, "saving_realised": (speedup - 1) / saved}
