"""ResNets under torchvision's names and shapes, so that its weight files load; equal to a second implementation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from baselines import contract
from baselines.contract import ResidualBlock
from baselines.resnet import PRESETS, Bottleneck, Preset, ResNet
from tests.baselines.reference import awaken, features, shifted_blocks

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
BASIC = ("resnet18", "resnet34")


def torchvision_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's state dict (models/resnet.py), classifier apart.

    conv1, bn1, then layerL.B with conv1..3 and bn1..3 (basic blocks: conv1..2 and bn1..2) and, in the first block of
    each stage, downsample.0 (1x1) and .1 (basic blocks: not in the first stage, whose shape they keep).
    """
    blocks, basic = BLOCKS[name], name in BASIC
    shapes: dict[str, tuple[int, ...]] = {}

    def conv_bn(conv: str, norm: str, outputs: int, inputs: int, kernel: int) -> None:
        shapes[f"{conv}.weight"] = (outputs, inputs, kernel, kernel)
        shapes.update({f"{norm}.{name}": (outputs,) for name in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{norm}.num_batches_tracked"] = ()

    conv_bn("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, count in enumerate(blocks, 1):
        middle = 64 * 2 ** (stage - 1)
        outputs = middle if basic else 4 * middle
        for i in range(count):
            name = f"layer{stage}.{i}"
            kernels: tuple[tuple[int, int, int], ...] = ((middle, inputs, 3), (middle, middle, 3))
            if not basic:
                kernels = ((middle, inputs, 1), (middle, middle, 3), (outputs, middle, 1))
            for part, (rows, columns, kernel) in enumerate(kernels, 1):
                conv_bn(f"{name}.conv{part}", f"{name}.bn{part}", rows, columns, kernel)
            if i == 0 and (stage > 1 or not basic):
                conv_bn(f"{name}.downsample.0", f"{name}.downsample.1", outputs, inputs, 1)
            inputs = outputs
    return shapes


def on_meta(name: str, frames: int = 0) -> ResNet:
    """Without memory or time."""
    with torch.device("meta"):
        return ResNet(name, frames=frames)


@pytest.mark.parametrize("name", BLOCKS)
def test_names_and_shapes_are_torchvisions(name: str) -> None:
    found = {key: tuple(tensor.shape) for key, tensor in on_meta(name).state_dict().items()}
    assert found == torchvision_shapes(name)


# Of torchvision's documentation of its weights, for 1000 classes; fc's two tensors are not part of the features.
@pytest.mark.parametrize(
    ("name", "tensors", "weights"),
    [
        ("resnet18", 62, 11_689_512),
        ("resnet34", 110, 21_797_672),
        ("resnet50", 161, 25_557_032),
        ("resnet101", 314, 44_549_160),
    ],
)
def test_sizes_are_torchvisions(name: str, tensors: int, weights: int) -> None:
    model = on_meta(name)
    parameters = list(model.parameters())
    assert len(parameters) + 2 == tensors
    assert sum(parameter.numel() for parameter in parameters) + model.features * 1000 + 1000 == weights


@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
def test_the_stride_sits_in_the_3x3_of_each_later_stages_first_block(name: str) -> None:
    model = on_meta(name)
    strides = {
        key: (block.conv1.stride, block.conv2.stride, block.conv3.stride)
        for key, block in model.named_modules()
        if isinstance(block, Bottleneck)
    }
    first = {"layer2.0", "layer3.0", "layer4.0"}
    assert strides == {key: ((1, 1), (2, 2) if key in first else (1, 1), (1, 1)) for key in strides}


@pytest.mark.parametrize("frames", [0, 1, 3])
@pytest.mark.parametrize("name", ["tiny", "tiny-glance", "tiny basic"])
def test_features_equal_the_reference(name: str, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny basic", Preset((2, 2, 2, 1), 8, basic=True))
    torch.manual_seed(0)
    model = ResNet(name, frames=frames)
    awaken(model)
    x = torch.randn(6, 3, 64, 90)
    expected = features(model.state_dict(), x, PRESETS[name].blocks, frames=frames)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("name", [*BLOCKS, "tiny"])
def test_every_second_block_of_a_long_network_shifts_and_every_one_of_others(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TSM's released code: n_round is 2 where layer3 has 23 blocks or more, in every stage (ops/temporal_shift.py)."""
    model = on_meta(name, frames=2)
    entered: list[str] = []
    shifted: set[str] = set()

    def spy(x: Tensor, frames: int) -> Tensor:
        assert frames == 2
        shifted.add(entered[-1])
        return x

    monkeypatch.setattr(contract, "temporal_shift", spy)
    for key, module in model.named_modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_pre_hook(lambda _module, _inputs, key=key: entered.append(key))
    model(torch.empty(2, 3, 64, 64, device="meta"))
    assert len(entered) == sum(PRESETS[name].blocks)
    assert shifted == shifted_blocks(PRESETS[name].blocks)


def test_the_shifted_blocks_of_resnet101_are_the_even_ones() -> None:
    even = {f"layer3.{i}" for i in (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22)}
    assert shifted_blocks(BLOCKS["resnet101"]) == {
        "layer1.0", "layer1.2", "layer2.0", "layer2.2", *even, "layer4.0", "layer4.2"
    }  # fmt: skip


def test_convolutions_start_with_hes_variance_by_what_goes_out() -> None:
    torch.manual_seed(0)
    weight = ResNet("resnet50").get_parameter("layer1.0.conv2.weight")
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 3 * 3)), rel=0.02)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"resnet20.*tiny-glance, tiny, resnet18, resnet34"):
        ResNet("resnet20")
