"""Decisions are exact, straight-through, and start by keeping."""

import pytest
import torch

from afnet.navigation import Navigation, decide


def test_argmax_decision_is_exactly_zero_or_one_and_a_tie_drops() -> None:
    logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]])
    assert decide(logits, noise=False, temperature=0.1).tolist() == [[1.0, 0.0, 0.0]]


def test_gradient_is_that_of_the_soft_sample() -> None:
    logits = torch.tensor([[[0.3, 0.1]]], requires_grad=True)
    (hard,) = torch.autograd.grad(decide(logits, noise=False, temperature=0.7).sum(), logits)
    soft = torch.softmax(logits / 0.7, dim=-1)[..., 1].sum()
    (expected,) = torch.autograd.grad(soft, logits)
    torch.testing.assert_close(hard, expected)


def test_noise_draws_with_the_softmax_probability() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0]).expand(20_000, 1, 2)
    share = decide(logits, noise=True, temperature=1.0).mean().item()
    expected = torch.sigmoid(torch.tensor(1.0)).item()
    assert abs(share - expected) < 4 * (expected * (1 - expected) / 20_000) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_noise_is_as_good_in_other_precisions(dtype: torch.dtype) -> None:
    """Half precision would draw exact zeros, whose logarithm is infinite."""
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0], dtype=dtype).expand(200_000, 2).clone().requires_grad_()
    decisions = decide(logits, noise=True, temperature=0.5)
    assert decisions.dtype == dtype and set(decisions.unique().tolist()) == {0.0, 1.0}
    assert abs(decisions.double().mean().item() - torch.sigmoid(torch.tensor(1.0)).item()) < 0.005
    decisions.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("alike", [False, True])
def test_navigation_starts_by_keeping_every_frame(alike: bool) -> None:
    torch.manual_seed(0)
    navigation = Navigation(channels=6, frames=4)
    navigation.start(10.0, alike=alike)
    logits = navigation(torch.rand(8, 6, 3, 3))
    assert logits.shape == (2, 4, 2)
    assert (logits[..., 1] > logits[..., 0]).all()


def test_no_frame_sees_another() -> None:
    torch.manual_seed(0)
    navigation = Navigation(channels=6, frames=4).eval()
    x = torch.rand(4, 6, 3, 3)
    changed = x.clone()
    changed[2] += 1
    differs = (navigation(x) != navigation(changed)).any(dim=-1)[0]
    assert differs.tolist() == [False, False, True, False]
