"""Checkpoints of the released TSM code, made here under its names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from afnet.released import CheckpointError
from baselines.tsm import TSM, load_released_tsm
from baselines.tsn import TSN


def released(model: TSN) -> dict[str, Tensor]:
    """Its tensors as the released code would call them, by its own rule: TemporalShift wraps the first convolution."""
    found = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("classifier."):
            found[name.replace("classifier.", "module.new_fc.")] = tensor
            continue
        name = name.replace("backbone.", "module.base_model.")
        if model.shift and ".layer" in name and name.endswith("conv1.weight"):
            name = name.replace("conv1.weight", "conv1.net.weight")
        found[name] = tensor
    return found


@pytest.mark.parametrize("backbone", ["tiny", "resnet18", "resnet50"])
@pytest.mark.parametrize("kind", [TSM, TSN])
def test_a_checkpoint_gives_back_its_network(backbone: str, kind: type[TSN], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = kind(backbone=backbone, frames=4, classes=7).eval()
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"state_dict": released(model), "epoch": 50, "arch": "TSM"}, path)
    loaded = load_released_tsm(path, frames=4)
    assert type(loaded) is kind and loaded.classes == 7 and not loaded.training
    clips = torch.randn(1, 4, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clips).logits, model(clips).logits)


def test_names_are_those_of_the_published_checkpoints() -> None:
    names = set(released(TSM(backbone="resnet50", frames=8, classes=174)))
    assert {
        "module.base_model.conv1.weight",
        "module.base_model.layer1.0.conv1.net.weight",
        "module.base_model.layer4.2.conv3.weight",
        "module.base_model.layer1.0.downsample.0.weight",
        "module.new_fc.bias",
    } <= names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"module.new_fc.weight": None}, "no module.new_fc.weight"),
        ({"module.base_model.layer2.1.bn2.weight": None}, "layer2.1.bn2.weight"),
        ({"module.base_model.layer5.weight": torch.zeros(1)}, "layer5.weight"),
        ({"module.base_model.layer4.9.conv1.net.weight": torch.zeros(1)}, r"\(2, 2, 2, 10\) blocks"),
        ({"module.base_model.conv1.weight": torch.full((8, 3, 7, 7), torch.inf)}, "not finite"),
    ],
)
def test_another_checkpoint_is_refused(change: dict[str, Tensor | None], words: str) -> None:
    state = {**released(TSM(backbone="tiny", frames=4, classes=7)), **change}
    with pytest.raises(CheckpointError, match=words):
        load_released_tsm({name: tensor for name, tensor in state.items() if tensor is not None}, frames=4)
