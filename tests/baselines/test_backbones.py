"""Backbones have the names, shapes, parameters and multiply-adds of the networks that their weight files are of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from baselines.backbones import BACKBONES, make_backbone
from baselines.tsm import TSM
from bench import methods, settings
from tests.baselines.helpers import counted, on_meta


def test_the_registry_lists_every_backbone() -> None:
    assert settings.BACKBONES == BACKBONES
    assert methods.METHODS["tsn"].backbones == methods.METHODS["tsm"].backbones == BACKBONES


def test_unknown_names_and_frames_are_refused() -> None:
    with pytest.raises(ValueError, match=r"vgg.*tiny-glance, tiny, resnet18.*efficientnet-lite0"):
        make_backbone("vgg")
    with pytest.raises(ValueError, match="-1"):
        make_backbone("tiny", frames=-1)


# --- Names, sizes, costs ------------------------------------------------------------------------------------------

# Parameters with the 1000 classes of ImageNet: torchvision's documentation of its weights; of lite0,
# d-li14/efficientnet-lite.pytorch, 4.652 M.
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "mobilenetv2": 3_504_872,
    "mobilenetv3": 5_483_032,
    "efficientnet-lite0": 4_652_008,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_published(name: str) -> None:
    backbone = on_meta(name)
    own = sum(parameter.numel() for parameter in backbone.parameters())
    assert own + (backbone.features + 1) * 1000 == PARAMETERS[name]


NAMES: dict[str, dict[str, tuple[int, ...]]] = {
    "mobilenetv2": {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.0.1.running_mean": (32,),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.0.1.bias": (32,),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.1.conv.2.weight": (16,),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.2.conv.1.1.num_batches_tracked": (),
        "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.2.conv.3.running_var": (24,),
        "features.7.conv.2.weight": (64, 192, 1, 1),
        "features.11.conv.0.0.weight": (384, 64, 1, 1),
        "features.14.conv.1.0.weight": (576, 1, 3, 3),
        "features.17.conv.2.weight": (320, 960, 1, 1),
        "features.18.0.weight": (1280, 320, 1, 1),
        "features.18.1.weight": (1280,),
    },
    "mobilenetv3": {
        "features.0.0.weight": (16, 3, 3, 3),
        "features.1.block.0.0.weight": (16, 1, 3, 3),
        "features.1.block.1.0.weight": (16, 16, 1, 1),
        "features.1.block.1.1.weight": (16,),
        "features.2.block.0.0.weight": (64, 16, 1, 1),
        "features.2.block.1.0.weight": (64, 1, 3, 3),
        "features.2.block.2.0.weight": (24, 64, 1, 1),
        "features.4.block.1.0.weight": (72, 1, 5, 5),
        "features.4.block.2.fc1.weight": (24, 72, 1, 1),
        "features.4.block.2.fc1.bias": (24,),
        "features.4.block.2.fc2.weight": (72, 24, 1, 1),
        "features.4.block.3.0.weight": (40, 72, 1, 1),
        "features.8.block.0.0.weight": (200, 80, 1, 1),
        "features.11.block.2.fc1.weight": (120, 480, 1, 1),
        "features.13.block.1.0.weight": (672, 1, 5, 5),
        "features.15.block.3.1.num_batches_tracked": (),
        "features.16.0.weight": (960, 160, 1, 1),
        "features.16.1.running_var": (960,),
        "classifier.0.weight": (1280, 960),
        "classifier.0.bias": (1280,),
    },
    "efficientnet-lite0": {
        "_conv_stem.weight": (32, 3, 3, 3),
        "_bn0.running_mean": (32,),
        "_blocks.0._depthwise_conv.weight": (32, 1, 3, 3),
        "_blocks.0._bn1.weight": (32,),
        "_blocks.0._project_conv.weight": (16, 32, 1, 1),
        "_blocks.1._expand_conv.weight": (96, 16, 1, 1),
        "_blocks.1._bn0.num_batches_tracked": (),
        "_blocks.4._depthwise_conv.weight": (240, 1, 5, 5),
        "_blocks.15._project_conv.weight": (320, 1152, 1, 1),
        "_blocks.15._bn2.bias": (320,),
        "_conv_head.weight": (1280, 320, 1, 1),
        "_bn1.running_var": (1280,),
    },
}
# All of them, classifiers apart: 52 convolutions and norms of six tensors; 46 of six, 8 squeeze-excites of four and a
# linear layer of two; 49 of six.
TENSORS = {"mobilenetv2": 52 * 6, "mobilenetv3": 46 * 6 + 8 * 4 + 2, "efficientnet-lite0": 49 * 6}


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_those_of_the_weight_files(name: str) -> None:
    found = {key: tuple(tensor.shape) for key, tensor in on_meta(name).state_dict().items()}
    assert {key: found.get(key) for key in NAMES[name]} == NAMES[name]
    assert len(found) == TENSORS[name]


def test_a_network_that_holds_a_backbone_speaks_the_same_names_and_loads_them_again() -> None:
    model, other = (TSM(backbone="mobilenetv2", frames=2, classes=3) for _ in range(2))
    state = model.state_dict()
    assert "backbone.features.1.conv.0.0.weight" in state and not any(".trunk." in name for name in state)
    other.load_state_dict(state)
    found = other.state_dict()
    assert list(found) == list(state) and all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("name", "epsilon", "momentum"),
    [("mobilenetv2", 1e-5, 0.1), ("mobilenetv3", 1e-3, 0.01), ("efficientnet-lite0", 1e-3, 0.01)],
)
def test_norms_are_as_published(name: str, epsilon: float, momentum: float) -> None:
    norms = [module for module in on_meta(name).modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and {(norm.eps, norm.momentum) for norm in norms} == {(epsilon, momentum)}


# Multiply-adds of a frame of 224 pixels without the layer of 1000 classes, by hand (test below for the mobile ones):
# with that layer torchvision gives 1.81, 3.66, 4.09, 7.80, 0.30 and 0.22 G, and d-li14 0.385 G for lite0.
MACS = {
    "resnet18": 1_813_561_344,
    "resnet34": 3_663_249_408,
    "resnet50": 4_087_136_256,
    "resnet101": 7_799_357_440,
    "mobilenetv2": 299_494_272,
    "mobilenetv3": 215_309_760,
    "efficientnet-lite0": 383_907_552,
}
PUBLISHED = {
    "resnet18": 1.814,
    "resnet34": 3.664,
    "resnet50": 4.089,
    "resnet101": 7.801,
    "mobilenetv2": 0.301,
    "mobilenetv3": 0.217,
    "efficientnet-lite0": 0.385,
}


@pytest.mark.parametrize("name", MACS)
def test_multiply_adds_at_224_are_those_published(name: str) -> None:
    backbone = on_meta(name).eval()
    found = counted(backbone, torch.empty(1, 3, 224, 224, device="meta"))
    assert found == MACS[name]
    assert found + 1000 * backbone.features == pytest.approx(1e9 * PUBLISHED[name], rel=0.005)


# kernel, hidden, outputs, hidden channels of the squeeze-excite (0: none), side of the output, expands
Row = tuple[int, int, int, int, int, bool]


def _rows(*stages: tuple[int, int, int, int, int]) -> list[Row]:
    """Of (kernel, expansion, outputs, blocks, side of the output), as papers write them."""
    rows, inputs = [], 32
    for kernel, expansion, outputs, blocks, side in stages:
        for _ in range(blocks):
            rows.append((kernel, expansion * inputs, outputs, 0, side, expansion > 1))
            inputs = outputs
    return rows


# The input and output sides of stem and head at 224 are 224 -> 112 and 7 -> 7.
TABLES: dict[str, tuple[int, list[Row], int, int]] = {  # stem, rows, head, hidden layer of the classifier
    "mobilenetv2": (
        32,
        _rows(
            (3, 1, 16, 1, 112), (3, 6, 24, 2, 56), (3, 6, 32, 3, 28), (3, 6, 64, 4, 14), (3, 6, 96, 3, 14),
            (3, 6, 160, 3, 7), (3, 6, 320, 1, 7),
        ),
        1280,
        0,
    ),
    "mobilenetv3": (
        16,
        [
            (3, 16, 16, 0, 112, False), (3, 64, 24, 0, 56, True), (3, 72, 24, 0, 56, True), (5, 72, 40, 24, 28, True),
            (5, 120, 40, 32, 28, True), (5, 120, 40, 32, 28, True), (3, 240, 80, 0, 14, True),
            (3, 200, 80, 0, 14, True), (3, 184, 80, 0, 14, True), (3, 184, 80, 0, 14, True),
            (3, 480, 112, 120, 14, True), (3, 672, 112, 168, 14, True), (5, 672, 160, 168, 7, True),
            (5, 960, 160, 240, 7, True), (5, 960, 160, 240, 7, True),
        ],
        960,
        1280,
    ),
    "efficientnet-lite0": (
        32,
        _rows(
            (3, 1, 16, 1, 112), (3, 6, 24, 2, 56), (5, 6, 40, 2, 28), (3, 6, 80, 3, 14), (5, 6, 112, 3, 14),
            (5, 6, 192, 4, 7), (3, 6, 320, 1, 7),
        ),
        1280,
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_multiply_adds_follow_from_the_papers_table(name: str) -> None:
    stem, rows, head, hidden_layer = TABLES[name]
    total, inputs, before = stem * 3 * 9 * 112**2, stem, 112
    for kernel, hidden, outputs, squeeze, side, expands in rows:
        total += inputs * hidden * before**2 if expands else 0
        total += hidden * (kernel**2 + outputs) * side**2 + 2 * hidden * squeeze
        inputs, before = outputs, side
    assert total + inputs * head * 7**2 + head * hidden_layer == MACS[name]
