"""AFNet: shapes, executions that agree, gradients, errors at the door."""

from __future__ import annotations

import pytest
import torch

from afnet import AFNet, Progress
from afnet.blocks import FocalBlock
from afnet.contract import Selection

FRAMES = 4


def make(**changes: object) -> AFNet:
    """A tiny network whose batch-norms have seen data, so that F(0) is not zero."""
    torch.manual_seed(0)
    arguments: dict[str, object] = {"backbone": "tiny", "frames": FRAMES, "classes": 5, "zero_init": False, **changes}
    model = AFNet(**arguments)  # type: ignore[arg-type]
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    last = model.classifier[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight)
    return model.eval()


def clips(videos: int = 2, side: int = 64) -> torch.Tensor:
    return torch.randn(videos, FRAMES, 3, side, side, generator=torch.Generator().manual_seed(1))


def logits(model: AFNet, x: torch.Tensor, execution: str) -> torch.Tensor:
    model.execution = execution  # type: ignore[assignment]
    with torch.no_grad():
        return model(x).logits


def test_dense_is_masked_with_everything_kept() -> None:
    model, x = make(), clips()
    dense = logits(model, x, "dense")
    model.forced = Selection(torch.ones(len(model.unit_modules()), 2, FRAMES, dtype=torch.bool))
    torch.testing.assert_close(dense, logits(model, x, "masked"))


def test_skipped_runs_the_focal_function_on_kept_frames_only() -> None:
    model, x = make(), clips()
    frames = torch.zeros(len(model.unit_modules()), 2, FRAMES, dtype=torch.bool)
    frames[1, 0, 2] = True
    model.forced = Selection(frames)
    logits(model, x, "skipped")  # fills the responses to zero
    rows = []
    for module in model.modules():
        if isinstance(module, FocalBlock):
            module.residual.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0])))
    logits(model, x, "skipped")
    assert rows == [1]


def test_response_to_zero_follows_the_weights() -> None:
    model, x = make(), clips()
    model.forced = Selection(torch.zeros(len(model.unit_modules()), 2, FRAMES, dtype=torch.bool))
    before = logits(model, x, "skipped")
    focal = next(module for module in model.modules() if isinstance(module, FocalBlock))
    with torch.no_grad():
        focal.get_parameter("residual.bn3.bias").add_(1.0)
    after = logits(model, x, "skipped")
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, logits(model, x, "masked"), atol=1e-4, rtol=1e-4)


def test_response_to_zero_of_weights_made_in_inference_mode_follows_them_too() -> None:
    with torch.inference_mode():
        model, x = make(), clips()
        model.forced = Selection(torch.zeros(len(model.unit_modules()), 2, FRAMES, dtype=torch.bool))
        before = model(x).logits
        model.focal_blocks["stages.0.focal.0"].residual.get_parameter("bn3.bias").add_(1.0)
        model.execution = "skipped"
        after = model(x).logits
        model.execution = "masked"
        torch.testing.assert_close(after, model(x).logits, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(before, after)


def test_selection_is_deterministic_in_evaluation_and_has_the_shape_of_the_contract() -> None:
    model, x = make(keep_bias=1.0), clips()
    first, second = model(x).selection.frames, model(x).selection.frames
    assert first is not None and second is not None
    assert first.shape == (6, 2, FRAMES) and first.dtype == torch.bool
    assert torch.equal(first, second)


def test_training_loss_reaches_navigation_through_the_decisions() -> None:
    model = make(keep_bias=1.0).train()
    output = model(clips())
    model.loss(output, torch.tensor([0, 1]), Progress(30, 55)).backward()
    for navigation in model.navigations:
        gradient = navigation.get_parameter("score.bias").grad
        assert gradient is not None and gradient.abs().sum() > 0


def test_ratio_term_pulls_towards_the_scheduled_target() -> None:
    model = make(ratio=0.5, ratio_weight=2.0)
    model.forced = Selection(torch.ones(6, 2, FRAMES, dtype=torch.bool))
    model.execution = "masked"
    output, labels = model(clips()), torch.tensor([0, 1])
    early, late = (model.loss(output, labels, Progress(step, 55)).item() for step in (0, 50))
    assert late - early == pytest.approx(2.0 * 0.5**2)


@pytest.mark.parametrize("shape", [(2, 3, 3, 64, 64), (2, 4, 1, 64, 64), (0, 4, 3, 64, 64), (1, 4, 3, 31, 64)])
def test_wrong_clips_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"clips"):
        make()(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64, torch.float16])
def test_clips_of_another_dtype_are_refused_with_both(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"clips are {dtype} and the weights torch.float32"):
        make()(clips().to(dtype))


@pytest.mark.parametrize(("name", "shape"), [("frames", (6, 1, FRAMES)), ("cells", (6, 2, FRAMES, 3, 3))])
def test_forced_decisions_for_other_clips_are_refused(name: str, shape: tuple[int, ...]) -> None:
    model = make(spatial=(1,))
    model.forced = Selection(**{name: torch.ones(shape, dtype=torch.bool)})
    with pytest.raises(ValueError, match=rf"forced.{name} has shape .* need \(6, 2, 4"):
        model(clips())


@pytest.mark.parametrize("frames", [torch.full((6, 2, FRAMES), 0.3), [True]])
def test_forced_decisions_are_yes_or_no(frames: object) -> None:
    model = make()
    model.forced = Selection(frames)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"forced.frames is .*; expected a tensor of torch.bool"):
        model(clips())


@pytest.mark.parametrize(
    "arguments",
    [{"backbone": "resnet18"}, {"ratio": 0.0}, {"ratio": 1.5}, {"frames": 0}, {"frames": 2.5}, {"classes": 0}],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        make(**arguments)


def test_weights_are_tied_to_the_number_of_frames() -> None:
    with pytest.raises(ValueError, match="tied to 4 frames"):
        make().set_frames(8)


@pytest.mark.slow
def test_resnet50_has_ten_decisions_and_runs() -> None:
    model = AFNet(backbone="resnet50", frames=2, classes=3).eval()
    output = model(torch.randn(1, 2, 3, 64, 64))
    assert output.logits.shape == (1, 3)
    assert output.selection.frames is not None and output.selection.frames.shape == (10, 1, 2)
