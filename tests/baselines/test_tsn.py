"""TSN: the mean of its frames' logits, blind to their order, for any number of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from baselines.resnet import PRESETS
from baselines.tsn import TSN
from tests.baselines.reference import awaken, logits

FRAMES = 4
TINY = PRESETS["tiny"].blocks


def make() -> TSN:
    torch.manual_seed(0)
    model = TSN(backbone="tiny", frames=FRAMES, classes=5)
    awaken(model)
    return model


def clips(videos: int = 2, frames: int = FRAMES) -> Tensor:
    return torch.randn(videos, frames, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def found(model: TSN, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).logits


def test_logits_equal_the_reference() -> None:
    model = make()
    torch.testing.assert_close(found(model, clips()), logits(model.state_dict(), clips(), TINY, shifts=False))


def test_logits_are_the_mean_of_the_frames_logits() -> None:
    model, x = make(), clips()
    whole = found(model, x)
    model.set_frames(1)
    alone = torch.stack([found(model, x[:, t : t + 1]) for t in range(FRAMES)])
    assert not torch.allclose(alone[0], alone[1])
    torch.testing.assert_close(whole, alone.mean(0))


def test_the_order_of_frames_is_not_seen() -> None:
    model, x = make(), clips()
    torch.testing.assert_close(found(model, x[:, [2, 0, 3, 1]]), found(model, x))


@pytest.mark.parametrize("frames", [1, 3, 8])
def test_weights_serve_any_number_of_frames(frames: int) -> None:
    model, x = make(), clips(frames=frames)
    model.set_frames(frames)
    assert model.frames == frames
    torch.testing.assert_close(found(model, x), logits(model.state_dict(), x, TINY, shifts=False))


@pytest.mark.parametrize(
    "shape",
    [(2, 3, 3, 64, 64), (2, 4, 1, 64, 64), (8, 3, 64, 64), (0, 4, 3, 64, 64), (1, 4, 3, 64, 48), (1, 4, 3, 33, 64)],
)
def test_wrong_clips_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="clips"):
        make()(torch.zeros(shape))


def test_clips_of_the_old_number_of_frames_are_refused_once_it_changed() -> None:
    model = make()
    model.set_frames(2)
    with pytest.raises(ValueError, match=r"\(N, 2, 3, H, W\)"):
        model(clips())


def test_nothing_is_selected() -> None:
    output = make()(clips())
    assert output.selection.frames is None and output.extras == {}


def test_dropout_acts_in_training_alone() -> None:
    model, x = make(), clips()
    assert torch.equal(found(model, x), found(model, x))
    model.dropout.train()  # batch-norms stay as they are
    assert not torch.allclose(found(model, x), found(model, x))


def test_the_classifier_starts_small() -> None:
    torch.manual_seed(0)
    classifier = TSN(backbone="tiny", frames=FRAMES, classes=100).classifier
    assert classifier.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert not classifier.bias.any()
