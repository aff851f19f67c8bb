"""Every sampler: executions agree, multiply-adds are what units say, learning reaches what should learn, doors."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from afnet.contract import EXECUTIONS, Answers, Output, Progress, Selection, VideoModel
from afnet.inference import optimize_for_inference
from baselines.adafocus import discounted, places
from baselines.adafocus_v2 import AdaFocusV2
from baselines.arnet import ARNet
from baselines.controls import BestFrame
from baselines.ffn import FFN
from baselines.frameexit import FrameExit
from baselines.ocsampler import draw_in_order, reward_of_frames, reward_of_label
from baselines.uni_adafocus import expected_logits, frames_by_weight
from bench.macs import cost_model, verify
from bench.methods import METHODS

FRAMES, CLASSES, VIDEOS = 8, 5, 4
GLANCE: dict[str, Any] = {"glance": "tiny-glance", "glance_size": 32}
SETTINGS: dict[str, dict[str, Any]] = {
    "uniform": {"keep": 3},
    "random": {"keep": 3},
    "motion": {"keep": 3, "shift": False},
    "best-frame": {"keep": 3},
    "oracle-frames": {"keep": 3},
    "scsampler": {"keep": 3, **GLANCE},
    "ocsampler": {"keep": 3, **GLANCE},
    "arnet": {"smaller": ("tiny", "tiny-glance"), "sizes": (64, 48, 40), "hidden": 16, **GLANCE},
    "frameexit": {"width": 32, "gate_width": 4},
    "centre-crop": {"patch": 32},
    "random-crop": {"patch": 33},
    "oracle-crop": {"patch": 32},
    "adafocus": {"patch": 32, "hidden": 16, **GLANCE},
    "adafocus-v2": {"patch": 40, "hidden": 16, "width": 32, **GLANCE},
    "uni-adafocus": {
        "patch": 32, "glance": "tiny-glance", "glance_size": 64, "glance_frames": 4, "keep": 3,
        "hidden": 8, "temporal_hidden": 8, "width": 32,
    },
    "ffn": {"counts": (2, 4, 8)},
}  # fmt: skip


def make(name: str, **changes: Any) -> VideoModel:
    """With random batch statistics, and policies that decide differently for different clips."""
    import importlib

    torch.manual_seed(0)
    module, _, attribute = METHODS[name].factory.partition(":")
    kind = getattr(importlib.import_module(module), attribute)
    settings = {"backbone": "tiny", "frames": FRAMES, "classes": CLASSES, "dropout": 0.0, **SETTINGS[name], **changes}
    model: VideoModel = kind(**settings)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.uniform_(-0.3, 0.3)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        elif isinstance(part, (nn.Linear, nn.Conv3d)):
            nn.init.normal_(part.weight, std=2.0 / part.weight[0].numel() ** 0.5)
    if isinstance(model, ARNet):  # else one of the seven choices has it all
        model.lstm.weight_ih.data.mul_(20)
        model.score.weight.data.mul_(20)
        model.score.bias.data = torch.tensor([0.0, 10, 0, -10, -50, -50, -50])
    return model.eval()


def clips(videos: int = VIDEOS, side: int = 64, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    each = torch.rand(videos, FRAMES, 1, 1, 1, generator=generator) * 3  # of different contrast
    return torch.randn(videos, FRAMES, 3, side, side, generator=generator) * each


def answered(model: VideoModel, videos: int = VIDEOS) -> VideoModel:
    """With an answer key, where it wants one."""
    informative = torch.zeros(videos, FRAMES, dtype=torch.bool)
    informative[:, 2:6] = True
    regions = torch.tensor([8.0, 30.0, 28.0, 50.0]).expand(videos, FRAMES, 4) * informative[..., None]
    model.answers = Answers(informative, regions)
    return model


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("optimised", [False, True])
def test_skipped_is_masked_and_costs_what_its_units_say(name: str, optimised: bool) -> None:
    model, x = answered(make(name)), clips()
    cost = cost_model(model, x)
    with torch.no_grad():
        selection = model(x).selection
        fast = answered(optimize_for_inference(model)) if optimised else model
        found = {}
        for execution in EXECUTIONS:
            model.execution = fast.execution = execution
            with model.forcing(selection), fast.forcing(selection):
                expected, found[execution] = model(x).logits, fast(x).logits
            scale = float(expected.abs().max())
            torch.testing.assert_close(found[execution], expected, atol=1e-3 * scale, rtol=0)
            assert verify(fast, x, cost) > 0
    torch.testing.assert_close(found["skipped"], found["masked"], atol=1e-4 * scale, rtol=0)
    if METHODS[name].skips:
        assert not torch.allclose(found["skipped"], found["dense"]), "dense must not be the same, or nothing is tested"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_video_alone_is_what_it_is_in_a_batch(name: str) -> None:
    """The per-video loop, which no method has, against the batch: also for answers at different steps."""
    model, x = answered(make(name)), clips()
    with torch.no_grad():
        output = model(x)
        for video in range(VIDEOS):
            answers = model.answers
            assert answers is not None
            model.answers = Answers(answers.informative[video : video + 1], answers.regions[video : video + 1])
            part = Selection(**{k: _of(v, k, video) for k, v in vars(output.selection).items()})
            with model.forcing(part):
                alone = model(x[video : video + 1]).logits
            model.answers = answers
            torch.testing.assert_close(alone[0], output.logits[video], atol=1e-4, rtol=1e-4)


def _of(value: Tensor | None, field: str, video: int) -> Tensor | None:
    if value is None:
        return None
    return value[:, video : video + 1] if field in ("frames", "cells") else value[video : video + 1]


def halve_the_gates(model: FrameExit, x: Tensor) -> None:
    """Let each gate open for half of these clips."""
    with torch.no_grad():
        features = model.features(x[:, model.order])
        middles = model._opened(features.cummax(dim=1).values).median(dim=0).values
        for gate, middle in zip(model.gates, middles, strict=True):
            gate.get_parameter("score.bias").sub_(middle)


def test_early_answers_differ_between_videos_and_leave_the_batch() -> None:
    model, x = make("frameexit"), clips(16)
    assert isinstance(model, FrameExit)
    halve_the_gates(model, x)
    seen = []
    model.backbone.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    with torch.no_grad():
        steps = model(x).selection.exit_step
    assert steps is not None and len(set(steps.tolist())) > 1, "these weights must answer at different steps"
    assert seen == [int((steps >= step).sum()) for step in range(1, int(steps.max()) + 1)]
    model.threshold = 0.99
    with torch.no_grad():
        later = model(x).selection.exit_step
    assert later is not None and (later >= steps).all() and (later > steps).any()


def test_each_resolution_is_a_batch_of_the_frames_that_chose_it() -> None:
    model, x = make("arnet"), clips(8)
    assert isinstance(model, ARNet)
    seen: list[tuple[int, ...]] = []
    for network in model.networks:
        network.register_forward_pre_hook(lambda _m, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        resolutions = model(x).selection.resolutions
    assert resolutions is not None
    used = [size for size in model.sizes if (resolutions == size).any()]
    assert len(used) > 1, "these weights must choose several"
    assert seen == [(int((resolutions == size).sum()), 3, size, size) for size in used]


def test_a_skip_leaves_out_the_next_frames_too() -> None:
    model = make("arnet")
    assert isinstance(model, ARNet)
    nn.init.zeros_(model.score.weight)
    options = len(model.sizes) + 1
    for index, length in enumerate((1, 2, 4)):
        model.score.bias.data = torch.full((options + 3,), -1.0).index_fill_(0, torch.tensor([options + index]), 1.0)
        glanced = torch.randn(VIDEOS, FRAMES, model.glance.features)
        with torch.no_grad():
            states, choices, free = model._decide(glanced)
        assert free[0].tolist() == [float(t % length == 0) for t in range(FRAMES)]
        assert (choices.argmax(dim=2) == options + index).all(), "inside a skip its choice stands"
        for t in range(FRAMES):
            began = t - t % length
            assert torch.equal(states[:, t], states[:, began])
            assert t == began or not torch.equal(glanced[:, t], glanced[:, began])


# --- Controls ---------------------------------------------------------------------------------------------------------


def kept(model: VideoModel, x: Tensor) -> Tensor:
    with torch.no_grad():
        frames = model(x).selection.frames
    assert frames is not None
    return frames[0]


def test_controls_choose_as_they_say() -> None:
    x = clips()
    assert kept(make("uniform"), x)[0].nonzero().squeeze(1).tolist() == [1, 4, 6]
    model = make("random")
    assert not torch.equal(kept(model, x), kept(model, x)) and (kept(model, x).sum(dim=1) == 3).all()
    still = x[:, :1].expand(-1, FRAMES, -1, -1, -1).clone()
    still[:, 3] += 1
    still[:, 6] += 1
    assert kept(make("motion", keep=4), still)[0].nonzero().squeeze(1).tolist() == [3, 4, 6, 7]


def test_the_oracle_takes_informative_frames_spread_and_only_then_others() -> None:
    model = answered(make("oracle-frames", keep=2))
    assert kept(model, clips())[0].nonzero().squeeze(1).tolist() == [3, 5]
    model = answered(make("oracle-frames", keep=6))
    chosen = kept(model, clips())[0]
    assert chosen[2:6].all() and chosen.sum() == 6
    model.answers = None
    with pytest.raises(ValueError, match="no answer key"):
        model(clips())


def test_the_best_frame_is_the_one_that_is_most_confident() -> None:
    model, x = make("best-frame", keep=FRAMES), clips()
    assert isinstance(model, BestFrame)
    with torch.no_grad():
        each = model.recogniser(x.flatten(0, 1), 1).unflatten(0, (VIDEOS, FRAMES))
        best = each.softmax(dim=2).amax(dim=2).argmax(dim=1)
        torch.testing.assert_close(model(x).logits, each[torch.arange(VIDEOS), best])


@pytest.mark.parametrize("name", ["centre-crop", "oracle-crop", "adafocus", "adafocus-v2", "uni-adafocus"])
def test_dense_says_that_it_sees_whole_frames(name: str) -> None:
    model = answered(make(name))
    model.execution = "dense"
    with torch.no_grad():
        selection = model(clips()).selection
    assert selection.crops is not None and (selection.crops == torch.tensor([0.0, 0, 64, 64])).all()
    assert selection.frames is None or selection.frames.all()


def test_oracle_crops_are_centred_on_the_region_as_far_as_the_frame_allows() -> None:
    model = answered(make("oracle-crop"))
    with torch.no_grad():
        crops = model(clips()).selection.crops
    assert crops is not None and crops[0, 0].tolist() == pytest.approx([2, 24, 34, 56])


# --- Learning ---------------------------------------------------------------------------------------------------------


def gradients(model: VideoModel, step: int = 54) -> dict[str, float]:
    """Size of each part's gradient after a step of training at this point of 55."""
    model.train()
    progress = Progress(step, 55)
    model.prepare(progress)
    torch.manual_seed(0)
    output = model(clips())
    model.loss(output, torch.arange(VIDEOS), progress).backward()
    found: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0]
        size = 0.0 if parameter.grad is None else float(parameter.grad.abs().sum())
        found[part] = found.get(part, 0.0) + size
    return found


@pytest.mark.parametrize(
    ("name", "step", "learning", "resting"),
    [
        ("scsampler", 54, {"recogniser", "glance", "glance_classifier"}, set()),
        ("ocsampler", 0, {"recogniser", "glance", "glance_classifier"}, {"policy"}),
        ("ocsampler", 54, {"glance", "glance_classifier", "policy"}, {"recogniser"}),
        ("arnet", 54, {"networks", "glance", "lstm", "own", "score"}, set()),
        ("frameexit", 54, {"backbone", "mlp", "classifiers", "gates"}, set()),
        ("adafocus", 0, {"glance", "focus", "classifier", "last"}, {"policy"}),
        ("adafocus", 40, {"policy"}, {"glance", "focus", "classifier", "last"}),
        ("adafocus", 54, {"classifier", "last"}, {"policy", "glance", "focus"}),
        ("adafocus-v2", 54, {"glance", "focus", "policy", "classifier"}, set()),
        ("uni-adafocus", 54, {"glance", "focus", "spatial", "temporal", "classifier", "auxiliary"}, set()),
        ("ffn", 54, {"backbone", "classifier"}, set()),
    ],
)
def test_each_stage_teaches_its_own_parts(name: str, step: int, learning: set[str], resting: set[str]) -> None:
    found = gradients(make(name), step)
    assert {part for part, size in found.items() if size > 0} == learning
    assert {part for part, size in found.items() if size == 0} == resting


def test_gates_and_policies_leave_the_networks_they_read_alone() -> None:
    model = make("frameexit").train()
    output = model(clips())
    output.extras["gates"].sum().backward()
    assert all(p.grad is None for n, p in model.named_parameters() if not n.startswith("gates"))
    model = make("adafocus-v2").train()
    crops: list[Tensor] = []
    assert isinstance(model, AdaFocusV2)
    model.policy.register_forward_hook(lambda _m, _i, output: crops.append(output))
    model(clips())
    crops[0].sum().backward()
    assert all(p.grad is None for n, p in model.named_parameters() if not n.startswith("policy"))


def test_with_joint_learning_the_recogniser_learns_beside_the_policy() -> None:
    assert gradients(make("ocsampler", joint=True))["recogniser"] > 0


def test_a_draw_is_as_likely_as_it_says() -> None:
    scores = torch.tensor([[0.5, -1.0, 1.0, 0.0]])
    probabilities = scores.softmax(dim=1)[0].tolist()
    torch.manual_seed(0)
    drawn, log_probability = draw_in_order(scores.expand(20000, -1), 2)
    total = 0.0
    for first, second in itertools.permutations(range(4), 2):
        expected = probabilities[first] * probabilities[second] / (1 - probabilities[first])
        these = (drawn == torch.tensor([first, second])).all(dim=1)
        total += expected
        assert these.float().mean().item() == pytest.approx(expected, abs=0.015)
        assert log_probability[these][0].exp().item() == pytest.approx(expected, rel=1e-4)
    assert total == pytest.approx(1)


def test_reward_is_the_labels_confidence_or_how_far_it_is_from_the_largest() -> None:
    logits = torch.log(torch.tensor([[[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]]]))
    assert reward_of_frames(logits, torch.tensor([0])).item() == pytest.approx((0.7 + (0.3 - 0.6)) / 2)
    mean = torch.tensor([0.7 * 0.3, 0.2 * 0.6, 0.1 * 0.1]).sqrt()
    assert reward_of_label(logits, torch.tensor([0])).item() == pytest.approx((mean[0] / mean.sum()).item())


def test_use_that_is_as_balanced_as_can_be_costs_nothing_but_its_work() -> None:
    model = make("arnet").train()
    assert isinstance(model, ARNet)
    options = len(model.sizes) + 4
    even = torch.eye(options).expand(2, -1, -1)  # every choice once in each video
    alone = torch.eye(options)[:1].expand(2, options, -1)  # the largest resolution, always
    logits, progress = torch.zeros(2, CLASSES), Progress(0, 1)
    own = torch.zeros(2, options, CLASSES)
    entropy = 0.95 * 2 * torch.tensor(float(CLASSES)).log()
    found = [
        model.loss(Output(logits, extras={"decided": decided, "own": own}), torch.zeros(2).long(), progress)
        for decided in (even, alone)
    ]
    assert (found[0] - entropy).item() == pytest.approx(0.05 * sum(model.costs) / options, rel=1e-4)
    assert (found[1] - entropy).item() == pytest.approx(0.05 * (1 + 3 * (1 - 1 / options) ** 0.5), rel=1e-4)


def test_rewards_are_discounted_backwards() -> None:
    found = discounted(torch.tensor([[1.0, 0.0, 2.0]]))
    assert found[0].tolist() == pytest.approx([1 + 0.7 * (0 + 0.7 * 2), 0.7 * 2, 2])


def test_places_are_seven_by_seven_row_by_row() -> None:
    assert places(torch.tensor([[0, 6, 42, 48, 8]]))[0].tolist() == [
        [0, 0], [1, 0], [0, 1], [1, 1], pytest.approx([1 / 6, 1 / 6])
    ]  # fmt: skip


@pytest.mark.parametrize("draw", [False, True])
def test_frames_follow_their_weights_and_are_never_the_same(draw: bool) -> None:
    torch.manual_seed(0)
    weights = torch.rand(50, 4).softmax(dim=1)
    found = frames_by_weight(weights, 12, 5, draw=draw)
    assert (found.diff(dim=1) > 0).all() and found.min() >= 0 and found.max() < 12
    even = frames_by_weight(torch.full((1, 4), 0.25), 12, 4, draw=False)[0].tolist()
    assert even == [1, 4, 7, 10]
    last = frames_by_weight(torch.tensor([[0.0, 0, 0, 1]]), 12, 3, draw=False)[0].tolist()
    assert last == [9, 10, 11]


def test_logits_to_expect_lean_to_what_is_weighed_and_send_the_weights_their_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 6, 3)
    even = torch.full((1, 6), 1 / 6, requires_grad=True)
    torch.testing.assert_close(expected_logits(logits, even, 4000), logits.mean(dim=1), atol=0.03, rtol=0)
    (gradient,) = torch.autograd.grad(expected_logits(logits, even, 64)[0, 0], even)
    assert gradient.argmax() == logits[0, :, 0].argmax()


def test_a_frame_flexible_network_uses_the_norms_and_factors_of_its_number() -> None:
    model = make("ffn")
    assert isinstance(model, FFN)
    x = clips()

    def of_each_number() -> dict[int, Tensor]:
        found = {}
        for frames in (2, 4, 8):
            model.set_frames(frames)
            found[frames] = model(x[:, :frames]).logits
        return found

    with torch.no_grad():
        before = of_each_number()
        for name, parameter in model.named_parameters():
            if ".4." in name or name.endswith(".4"):
                parameter.add_(0.5)
        after = of_each_number()
    assert torch.equal(before[2], after[2]) and torch.equal(before[8], after[8])
    assert not torch.allclose(before[4], after[4])
    for wrong in (3, 16):
        with pytest.raises(ValueError, match="serves 2, 4, 8 frames"):
            model.set_frames(wrong)
    model.set_frames(4)
    fast = optimize_for_inference(model)
    torch.testing.assert_close(fast(x[:, :4]).logits, after[4], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="serves 4 frames"):
        fast.set_frames(8)


# --- Doors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("uniform", {"keep": 9}, "9 frames are to be kept; expected a number from 1 to 8"),
        ("uniform", {"keep": 0}, "0 frames"),
        ("arnet", {"sizes": (32, 48, 64)}, "the largest first"),
        ("arnet", {"sizes": (64, 40)}, "expected 3"),
        ("arnet", {"glance_size": 48}, "to be told apart"),
        ("adafocus-v2", {"glance_frames": 4}, "4 of 8 frames"),
        ("uni-adafocus", {"keep": 9}, "keep is 9 of 8"),
        ("uni-adafocus", {"smallest": 0.9, "largest": 0.5}, "0.9 to 0.5"),
        ("ffn", {"counts": (4, 2)}, "ascending"),
        ("ffn", {"counts": (2, 4)}, "frames the last"),
        ("ffn", {"counts": (4, 8, 16)}, "frames the last"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(name, **changes)


@pytest.mark.parametrize("name", ["centre-crop", "adafocus", "adafocus-v2", "uni-adafocus"])
def test_a_crop_larger_than_the_frame_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="smaller than the crop of 80"):
        make(name, patch=80)(clips())


def test_a_budget_sets_the_number_of_frames_in_evaluation() -> None:
    model = make("ocsampler")
    model.budget = 5  # type: ignore[assignment]
    assert (kept(model, clips()).sum(dim=1) == 5).all()
    model.budget = 9  # type: ignore[assignment]
    with pytest.raises(ValueError, match="9 frames"):
        model(clips())
