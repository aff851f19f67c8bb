"""Every ablation builds, decides as it says, and means the same masked and skipped."""

from __future__ import annotations

import pytest
import torch

from afnet import AFNet, Progress, optimize_for_inference
from tests.afnet.test_network import FRAMES, clips, logits, make

ABLATIONS: list[dict[str, object]] = [
    {"context": "shared"},
    {"context": "temporal"},
    {"sharing": "stage"},
    {"navigation": "random"},
    {"navigation": "uniform"},
    {"fusion": "sum"},
    {"fusion": "ample"},
    {"fusion": "focal"},
    {"alpha": 1},
    {"alpha": 4},
    {"ample_stride": 1},
    {"ample_stride": 4},
    {"hard": False},
    {"ratio_schedule": "linear", "temperature_schedule": "linear"},
    {"spatial": (1, 2), "sharing": "stage"},
]


@pytest.mark.parametrize("ablation", ABLATIONS, ids=str)
def test_trains_and_means_the_same_masked_and_skipped(ablation: dict[str, object]) -> None:
    model, x = make(keep_bias=1.2, **ablation), clips()
    torch.manual_seed(5)
    masked = logits(model, x, "masked")
    torch.manual_seed(5)
    torch.testing.assert_close(logits(model, x, "skipped"), masked, atol=1e-4, rtol=1e-4)
    model.train()
    model.prepare(Progress(10, 55))
    output = model(x)
    model.loss(output, torch.tensor([0, 1]), Progress(10, 55)).backward()
    used = [p for n, p in model.named_parameters() if "navigation" not in n and "cells" not in n and p.grad is None]
    assert not used or ablation.get("fusion") == "focal"


def kept(model: AFNet, videos: int = 2) -> torch.Tensor:
    frames = model(clips(videos)).selection.frames
    assert frames is not None
    return frames


def test_a_stage_shares_its_decision() -> None:
    frames = kept(make(sharing="stage", keep_bias=1.2))
    assert torch.equal(frames[1], frames[2]) and torch.equal(frames[3], frames[4]) and torch.equal(frames[3], frames[5])


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0])
def test_controls_keep_exactly_the_ratio(ratio: float) -> None:
    for navigation in ("random", "uniform"):
        frames = kept(make(navigation=navigation, ratio=ratio))
        assert (frames.sum(dim=2) == round(ratio * FRAMES)).all()


def test_uniform_is_spread_and_random_differs_between_blocks_and_draws() -> None:
    assert kept(make(navigation="uniform", ratio=0.5))[0, 0].tolist() == [False, True, False, True]
    model = make(navigation="random", ratio=0.5)
    first, second = kept(model, 6), kept(model, 6)
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])


def test_soft_weights_compute_everything() -> None:
    model = make(hard=False, keep_bias=1.2)
    assert kept(model).all()
    gates = model(clips()).extras["gates"]
    assert ((gates >= 0) & (gates <= 1)).all() and ((gates > 0.01) & (gates < 0.99)).any()


def test_without_focal_branch_nothing_is_decided() -> None:
    model = make(fusion="ample")
    assert model.unit_modules() == () and model(clips()).selection.frames is None


def test_neighbours_are_seen_with_temporal_context_alone() -> None:
    for context, seen in (("shared", [False, False, True, False]), ("temporal", [False, True, True, True])):
        navigation = make(context=context).navigations[0]
        x = torch.rand(4, 8, 3, 3)
        changed = x.clone()
        changed[2] += 1
        differs = (navigation(x) != navigation(changed)).any(dim=-1)[0].tolist()
        assert differs == seen


def test_weights_without_positions_serve_any_number_of_frames() -> None:
    model = make(context="shared")
    model.set_frames(7)
    output = model(torch.randn(1, 7, 3, 64, 64))
    assert output.selection.frames is not None and output.selection.frames.shape == (6, 1, 7)


def test_budget_keeps_the_frames_navigation_prefers_and_skipped_equals_masked() -> None:
    model, x = make(keep_bias=1.2), clips(3)
    for budget in range(FRAMES + 1):
        model.budget = budget
        masked = logits(model, x, "masked")
        torch.testing.assert_close(logits(model, x, "skipped"), masked, atol=1e-4, rtol=1e-4)
        frames = model(x).selection.frames
        assert frames is not None and (frames.sum(dim=2) == budget).all()
    scores = model.navigations[0](model.stem(x.flatten(0, 1)))
    margin = scores[..., 1] - scores[..., 0]
    model.budget = 1
    frames = model(x).selection.frames
    assert frames is not None and torch.equal(frames[0].int().argmax(dim=1), margin.argmax(dim=1))


@pytest.mark.parametrize("buckets", [1, 2, 3, 8])
def test_buckets_change_shapes_and_nothing_else(buckets: int) -> None:
    model, x = make(keep_bias=1.2), clips(3)
    expected = logits(model, x, "skipped")
    model.buckets = buckets
    sizes = []
    for block in model.focal_blocks.values():
        block.residual.register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
    logits(model, x, "skipped")  # fills the responses to zero again, of one row each
    sizes.clear()
    torch.testing.assert_close(logits(model, x, "skipped"), expected, atol=1e-5, rtol=1e-5)
    assert sizes and all(size % -(-3 * FRAMES // buckets) == 0 or size == 3 * FRAMES for size in sizes)


@pytest.mark.parametrize("budget", [-1, FRAMES + 1, 1.5])
def test_a_budget_that_cannot_be_is_refused(budget: object) -> None:
    model = make()
    model.budget = budget  # type: ignore[assignment]
    with pytest.raises(ValueError, match="expected a number of frames from 0 to 4"):
        model(clips())


@pytest.mark.parametrize("settings", [{}, {"spatial": (1, 2)}, {"backbone": "mobilenetv3", "keep_bias": 1.0}], ids=str)
def test_optimised_network_keeps_logits_and_decisions(settings: dict[str, object]) -> None:
    model, x = make(**{"keep_bias": 1.2, **settings}), clips()
    expected = model(x)
    fast = optimize_for_inference(model)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fast.modules())
    for execution in ("masked", "skipped"):
        fast.execution = execution
        with torch.no_grad():
            output = fast(x)
        torch.testing.assert_close(output.logits, expected.logits, atol=1e-3, rtol=1e-3)
        assert torch.equal(output.selection.frames, expected.selection.frames)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()), "the original stays as it was"
    with pytest.raises(RuntimeError, match="optimised for inference"):
        fast.train()


@pytest.mark.parametrize("name", ["fuson", "ratios"])
def test_an_unknown_setting_is_refused_with_the_valid_ones(name: str) -> None:
    with pytest.raises(ValueError, match=rf"no setting '{name}'.*fusion.*ratio"):
        make(**{name: 1})
