"""TSM: TSN that sees its neighbours' channels, within a clip and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from baselines.resnet import PRESETS, Bottleneck, Preset
from baselines.tsm import TSM
from baselines.tsn import TSN
from tests.baselines.reference import awaken, logits

FRAMES = 4
TINY = PRESETS["tiny"].blocks


def make(backbone: str = "tiny", frames: int = FRAMES) -> TSM:
    torch.manual_seed(0)
    model = TSM(backbone=backbone, frames=frames, classes=5)
    awaken(model)
    return model


def clips(videos: int = 2, frames: int = FRAMES) -> Tensor:
    return torch.randn(videos, frames, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def found(model: TSN, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).logits


def test_logits_equal_the_reference() -> None:
    model = make()
    torch.testing.assert_close(found(model, clips()), logits(model.state_dict(), clips(), TINY, shifts=True))


def test_a_long_network_equals_the_reference_that_shifts_every_second_block(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = (3, 2, 23, 2)
    monkeypatch.setitem(PRESETS, "long", Preset(blocks, 8))
    model, x = make("long"), clips()
    torch.testing.assert_close(found(model, x), logits(model.state_dict(), x, blocks, shifts=True))


def test_weights_of_tsn_are_weights_of_tsm() -> None:
    plain = TSN(backbone="tiny", frames=FRAMES, classes=5)
    ours, theirs = ({n: t.shape for n, t in model.state_dict().items()} for model in (make(), plain))
    assert ours == theirs


def test_the_order_of_frames_is_seen() -> None:
    model, x = make(), clips()
    assert not torch.allclose(found(model, x.flip(1)), found(model, x), atol=1e-2)


def test_one_frame_has_no_neighbours_and_is_tsn_without_the_shifted_channels() -> None:
    """Zeros stand in for frames before and after a clip: the first two eighths of each block's input vanish."""
    model, x = make(frames=1), clips(frames=1)
    plain = TSN(backbone="tiny", frames=1, classes=5).eval()
    plain.load_state_dict(model.state_dict())
    assert not torch.allclose(found(plain, x), found(model, x), atol=1e-2)
    for block in plain.modules():
        if isinstance(block, Bottleneck):
            nn.init.zeros_(block.conv1.weight[:, : 2 * (block.conv1.in_channels // 8)])
    torch.testing.assert_close(found(plain, x), found(model, x))


def test_videos_of_a_batch_do_not_see_each_other() -> None:
    model, x = make(), clips(3)
    torch.testing.assert_close(found(model, x), torch.cat([found(model, video[None]) for video in x]))


@pytest.mark.parametrize("frames", [1, 2, 8])
def test_weights_serve_any_number_of_frames(frames: int) -> None:
    model, x = make(), clips(frames=frames)
    model.set_frames(frames)
    torch.testing.assert_close(found(model, x), logits(model.state_dict(), x, TINY, shifts=True))


def test_wrong_clips_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clips have shape \(2, 3, 3, 64, 64\)"):
        make()(clips(frames=3))
