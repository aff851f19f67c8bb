"""Every backbone keeps the contract: maps, features, the shift within clips, and a frozen form that changes nothing."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from afnet import optimize_for_inference
from afnet.fused import FusedConv
from afnet.inference import FrozenBlock, freeze
from baselines.backbones import BACKBONES, make_backbone
from baselines.contract import FrozenBackbone, ResidualBlock
from baselines.efficientnet import SamePadding
from baselines.resnet import PRESETS
from baselines.tsm import TSM
from baselines.tsn import TSN
from tests.baselines.helpers import KINDS, MOBILE, counted, lively

# --- Maps and features --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (90, 90), (64, 225)], ids=str)
@pytest.mark.parametrize("name", ["tiny", *KINDS])
def test_maps_are_a_32nd_rounded_up_and_are_pooled_to_features(name: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        backbone = make_backbone(name).eval()
        maps = backbone.maps(torch.empty(2, 3, *size))
    assert maps.shape == (2, backbone.channels, -(-size[0] // 32), -(-size[1] // 32))
    assert backbone.pooled(maps).shape == (2, backbone.features)


@pytest.mark.parametrize("shape", [(3, 64, 64), (4, 1, 64, 64), (2, 2, 3, 64, 64)])
def test_frames_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expects \(B, 3, H, W\)"):
        make_backbone("tiny-glance")(torch.zeros(shape))


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    backbone = make_backbone(name, frames=2).train()
    backbone(torch.randn(4, 3, 64, 64)).square().sum().backward()
    for parameter in backbone.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()


def test_the_glance_is_smaller_than_tiny() -> None:
    assert (PRESETS["tiny-glance"].blocks, PRESETS["tiny-glance"].width) == ((1, 1, 1, 1), 4)
    assert make_backbone("tiny-glance").features == 128


@pytest.mark.parametrize("frames", [0, 3])
@pytest.mark.parametrize("name", MOBILE)
def test_features_equal_the_reference(name: str, frames: int) -> None:
    backbone = lively(name, frames=frames)
    for size in ((64, 64), (75, 90)):
        x = torch.randn(6, 3, *size)
        found = backbone(x)
        assert found.std(dim=0).mean() > 0.01  # not a constant that hides what went wrong
        torch.testing.assert_close(found, MOBILE[name](backbone.state_dict(), x, frames=frames), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found, backbone.pooled(backbone.maps(x)))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("side", [7, 8])
def test_padding_is_tensorflows(side: int, kernel: int) -> None:
    """Ramps: where output o begins to look is 2 o less what was padded before, which even sides have one less of."""
    x = torch.arange(1.0, side + 1).expand(1, 1, side, side)
    padded = SamePadding(kernel)(x)[0, 0, kernel]
    before = int((padded != 0).nonzero()[0])
    assert before == (kernel // 2 if side % 2 else kernel // 2 - 1)
    assert (len(padded) - kernel) // 2 + 1 == -(-side // 2)


# --- The shift in time --------------------------------------------------------------------------------------------

# Blocks that both expand and add to their input.
SHIFTED = {
    "mobilenetv2": {f"trunk.{i}" for i in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)},
    "mobilenetv3": {f"trunk.{i}" for i in (3, 5, 6, 8, 9, 10, 12, 14, 15)},
    "efficientnet-lite0": {f"_blocks.{i}" for i in (2, 4, 6, 7, 9, 10, 12, 13, 14)},
    "resnet18": {f"layer{stage}.{i}" for stage in (1, 2, 3, 4) for i in (0, 1)},
}


@pytest.mark.parametrize("name", SHIFTED)
def test_the_blocks_that_shift(name: str) -> None:
    with torch.device("meta"):
        backbone = make_backbone(name, frames=5)
    blocks = {key: m.frames for key, m in backbone.named_modules() if isinstance(m, ResidualBlock)}
    assert {key for key, frames in blocks.items() if frames} == SHIFTED[name]
    backbone.set_frames(7)
    assert {m.frames for m in backbone.modules() if isinstance(m, ResidualBlock)} <= {0, 7}
    assert backbone.frames == 7


def first_shifted(name: str, frames: int) -> ResidualBlock:
    backbone = lively(name, frames=frames)
    return next(m for m in backbone.modules() if isinstance(m, ResidualBlock) and m.frames)


@pytest.mark.parametrize("name", SHIFTED)
def test_a_block_sees_the_frames_beside_its_own_and_no_others(name: str) -> None:
    frames, changed = 5, 2
    block = first_shifted(name, frames)
    channels = next(m for m in block.modules() if isinstance(m, nn.Conv2d)).in_channels
    x = torch.randn(2 * frames, channels, 6, 6)
    other = x.clone()
    other[changed] += torch.randn(channels, 6, 6)
    differs = (block(x) - block(other)).abs().flatten(1).amax(dim=1) > 1e-6
    assert differs.tolist() == [changed - 1 <= t <= changed + 1 for t in range(2 * frames)]


@pytest.mark.parametrize("name", SHIFTED)
def test_a_block_is_its_residual_of_frames_put_together_one_by_one(name: str) -> None:
    frames = 3
    block = first_shifted(name, frames)
    channels = next(m for m in block.modules() if isinstance(m, nn.Conv2d)).in_channels
    clips = torch.randn(2, frames, channels, 6, 6)
    fold = channels // 8
    assert fold
    expected = []
    for clip in clips:
        for t in range(frames):
            mixed = clip[t].clone()
            mixed[:fold] = clip[t + 1][:fold] if t + 1 < frames else 0
            mixed[fold : 2 * fold] = clip[t - 1][fold : 2 * fold] if t else 0
            out = mixed[None]
            for layer in block.layers():
                out = layer(out)
            out = out + clip[t]  # its shortcut is the identity in all of these
            expected.append(out.relu() if block.relu else out)
    torch.testing.assert_close(block(clips.flatten(0, 1)), torch.cat(expected), atol=1e-5, rtol=1e-5)


def test_a_change_travels_one_frame_a_block_that_shifts_and_has_eight_channels() -> None:
    """The glance's first block takes four channels, an eighth of which is none; the other three shift."""
    frames, changed = 12, 6
    backbone = lively("tiny-glance", frames=frames)
    x = torch.randn(2 * frames, 3, 32, 32)
    other = x.clone()
    other[changed] = torch.randn(3, 32, 32)
    differs = (backbone(x) - backbone(other)).abs().amax(dim=1) > 1e-6
    assert differs.tolist() == [changed - 3 <= t <= changed + 3 for t in range(2 * frames)]


@pytest.mark.parametrize("name", KINDS)
def test_clips_of_a_batch_do_not_see_each_other_whatever_their_length(name: str) -> None:
    backbone = lively(name, frames=4)
    for frames in (4, 2):
        backbone.set_frames(frames)
        x = torch.randn(2 * frames, 3, 64, 64)
        whole = backbone(x)
        torch.testing.assert_close(whole, torch.cat([backbone(clip) for clip in x.split(frames)]), atol=1e-4, rtol=1e-4)
        # And frames of a clip do.
        assert not torch.allclose(whole[: frames - 1], backbone(torch.cat([x[: frames - 1], x[-1:]]))[:-1], atol=1e-3)


def test_a_backbone_that_does_not_shift_takes_any_number_of_frames() -> None:
    backbone = lively("tiny-glance")
    backbone.set_frames(4)
    assert backbone.frames == 0 and backbone(torch.randn(3, 3, 32, 32)).shape == (3, 128)


def test_frames_that_are_no_whole_clips_are_refused() -> None:
    with pytest.raises(ValueError, match=r"5 frames.*clips of 4"):
        make_backbone("tiny-glance", frames=4)(torch.zeros(5, 3, 32, 32))
    with pytest.raises(ValueError, match="0"):
        make_backbone("tiny-glance", frames=4).set_frames(0)


# --- Frozen -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TSN, TSM])
@pytest.mark.parametrize("name", ["tiny", *KINDS])
def test_an_optimised_network_is_the_network_for_any_number_of_frames(name: str, kind: type[TSN]) -> None:
    model = kind(backbone=name, frames=4, classes=5)
    model.backbone = lively(name, frames=model.backbone.frames)
    nn.init.normal_(model.classifier.weight)
    fast = optimize_for_inference(model.eval())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    for frames in (4, 3):
        model.set_frames(frames)
        fast.set_frames(frames)
        clips = torch.randn(2, frames, 3, 64, 96)
        before = clips.clone()
        with torch.no_grad():
            expected = model(clips).logits
        assert not torch.allclose(expected[0], expected[1], rtol=1e-2)
        scale = float(expected.abs().max())
        torch.testing.assert_close(fast(clips).logits, expected, atol=1e-4 * scale, rtol=1e-4)
        assert torch.equal(clips, before)
        assert counted(fast, clips) == counted(model, clips)


@pytest.mark.parametrize("size", [(33, 47), (90, 90)], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_a_frozen_backbone_gives_the_same_maps_of_odd_frames(name: str, size: tuple[int, int]) -> None:
    backbone = lively(name, frames=2)
    frozen = freeze(copy.deepcopy(backbone))
    assert isinstance(frozen, FrozenBackbone)
    assert (frozen.name, frozen.channels, frozen.features) == (name, backbone.channels, backbone.features)
    x = torch.randn(4, 3, *size)
    maps, expected = frozen.maps(x), backbone.maps(x)
    # Either differs by about as much from what double precision gives.
    rounding = 2e-4 * float(expected.abs().max())
    torch.testing.assert_close(maps, expected, atol=rounding, rtol=1e-4)
    torch.testing.assert_close(frozen.pooled(maps), backbone.pooled(expected), atol=rounding, rtol=1e-4)
    torch.testing.assert_close(freeze(frozen)(x), backbone(x), atol=rounding, rtol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_convolution_of_maps_is_fused_and_every_block_but_the_first_owns_its_input(name: str) -> None:
    frozen = freeze(make_backbone(name).eval())
    fused = sum(isinstance(module, FusedConv) for module in frozen.modules())
    squeezes = sum(key.endswith((".fc1", ".fc2")) for key, _ in frozen.named_modules())
    assert fused + squeezes == sum(isinstance(module, nn.Conv2d) for module in frozen.modules())
    owned = [module.owned for module in frozen.modules() if isinstance(module, FrozenBlock)]
    assert owned == [False] + [True] * (len(owned) - 1)


def test_copies_and_pickles_of_a_backbone_keep_its_names() -> None:
    backbone = make_backbone("mobilenetv3")
    for other in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        state = other.state_dict()
        assert list(state) == list(backbone.state_dict())
        other.load_state_dict(state)
