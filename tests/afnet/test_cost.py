"""Multiply-adds: the published figures, the counter, and the closed form say the same."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from afnet import BACKBONES, AFNet
from afnet.contract import Selection
from afnet.cost import authors_count, closed_form

# Multiply-adds per video at 224 as static + slope * kept ratio, in 1e9, counted by the released code.
PUBLISHED = {
    ("resnet50", 12): (22.08, 12.56),
    ("resnet50", 8): (14.72, 8.37),
    ("resnet101", 12): (24.87, 34.84),
    ("resnet101", 8): (24.87 * 8 / 12, 34.84 * 8 / 12),
}


@pytest.mark.parametrize(("backbone", "frames"), PUBLISHED)
@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 1.0])
def test_counted_as_the_authors_count_it_is_what_they_print(backbone: str, frames: int, ratio: float) -> None:
    static, slope = PUBLISHED[backbone, frames]
    counted = authors_count(backbone, frames=frames, classes=174).total(ratio)
    assert counted == pytest.approx((static + slope * ratio) * 1e9, rel=0.005)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("frames", "size"), [(8, 224), (12, 224), (3, 96)])
def test_counter_sees_the_closed_form(backbone: str, frames: int, size: int) -> None:
    """On the meta device: shapes without numbers, so that large networks take no time."""
    cost = closed_form(backbone, frames=frames, classes=174, size=size)
    with torch.device("meta"):
        model = AFNet(backbone=backbone, frames=frames, classes=174).eval()
        clips = torch.empty(1, frames, 3, size, size)
    model.execution = "dense"
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(clips)
    assert counter.get_total_flops() // 2 == cost.static + frames * sum(cost.focal)
    counted = counter.get_flop_counts()
    units = [sum(counted[f"AFNet.{name}"].values()) // 2 for name in model.unit_modules()]
    assert units == [frames * focal for focal in cost.focal]
    policy = sum(sum(counted[f"AFNet.{name}"].values()) // 2 for name in model.policy_modules())
    assert policy == cost.policy


@pytest.mark.parametrize("backbone", ["tiny", "mobilenetv3"])
def test_skipped_costs_the_closed_form_of_what_was_kept(backbone: str) -> None:
    torch.manual_seed(0)
    cost = closed_form(backbone, frames=4, classes=5, size=64)
    model = AFNet(backbone=backbone, frames=4, classes=5).eval()
    kept = torch.rand(len(cost.focal), 2, 4) < 0.4
    model.forced = Selection(kept)
    clips = torch.randn(2, 4, 3, 64, 64)
    with torch.no_grad():
        model(clips)  # the responses to zero are computed once and no part of a video's cost
        with FlopCounterMode(display=False) as counter:
            model(clips)
    expected = 2 * cost.static + sum(macs * int(n) for macs, n in zip(cost.focal, kept.sum(dim=(1, 2)), strict=True))
    assert counter.get_total_flops() // 2 == expected
