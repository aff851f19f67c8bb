"""A training that starts from files of weights: which files, whether they are the same, and that they are taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from afnet.released import released_names
from baselines.contract import Backbone
from bench.errors import UserError
from bench.experiment import Experiment, Model, from_dict
from bench.methods import build_model, find_method
from bench.training import make_model
from bench.weights import networks_of, start_from
from tests.conftest import small

GLANCE = {"glance": "tiny-glance", "glance_size": 32}
SETTINGS: dict[str, dict[str, object]] = {
    "tsm": {},
    "ocsampler": {"keep": 2, **GLANCE},
    "arnet": {"smaller": "tiny+tiny", "sizes": "64+48+40", "hidden": 8, **GLANCE},
    "ffn": {"counts": "4+8"},
    "afnet": {},
}


def files_for(point: Experiment, folder: Path) -> Path:
    """What torchvision would publish of the networks, of weights of its own; with classifiers of a thousand classes."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    if point.model.method == "afnet":
        model = make_model(replace(point, training=replace(point.training, seed=7)))
        names = released_names(model)  # type: ignore[arg-type]
        state = {name.removeprefix("module.base_model."): model.state_dict()[own] for own, name in names.items()}
        state = {f"module.{name}": tensor for name, tensor in state.items() if not name.startswith("module.new_fc")}
        torch.save({"state_dict": state}, folder / "af-tiny.pth")
        return folder
    for name in networks_of(point.model):
        plain = build_model("tsn", backbone=name, frames=2, classes=5, settings=find_method("tsn").settings())
        backbone = plain.backbone
        assert isinstance(backbone, Backbone)
        head = {f"{backbone.head}.{part}": torch.zeros(1000) for part in ("weight", "bias")}
        torch.save({**backbone.state_dict(), **head}, folder / f"{name}.pth")
    return folder


def point_of(method: str) -> Experiment:
    return small(method, frames=8 if method == "ffn" else 4, **SETTINGS[method])


def from_files(point: Experiment, folder: Path) -> Experiment:
    return replace(point, runtime=replace(point.runtime, weights=str(folder)))


@pytest.mark.parametrize("method", SETTINGS)
def test_every_network_of_a_method_starts_from_its_file(tmp_path: Path, method: str) -> None:
    point = from_files(point_of(method), files_for(point_of(method), tmp_path / "weights"))
    model, fresh = make_model(point), make_model(point)
    start_from(model, point)
    for one, other in zip(networks_in(model), networks_in(fresh), strict=True):
        assert not torch.equal(first_conv(one), first_conv(other))
    if method == "ffn":
        norms = [module.norms for module in model.modules() if type(module).__name__ == "Switched"]
        assert all(torch.equal(norm["4"].weight, norm["8"].weight) for norm in norms)  # type: ignore[index, union-attr]


def networks_in(model: nn.Module) -> list[nn.Module]:
    """Its backbones; AFNet is one itself."""
    return [module for module in model.modules() if isinstance(module, Backbone)] or [model]


def first_conv(model: nn.Module) -> torch.Tensor:
    return next(module.weight for module in model.modules() if isinstance(module, nn.Conv2d)).detach()


def test_which_networks_a_method_is_built_of() -> None:
    assert networks_of(Model("arnet", "resnet50")) == ["resnet50", "resnet34", "resnet18", "mobilenetv2"]
    assert networks_of(Model("ocsampler", "resnet101")) == ["resnet101", "mobilenetv2"]
    assert networks_of(Model("afnet", "resnet50")) == ["af-resnet50"]


def test_the_same_files_elsewhere_are_the_same_experiment(tmp_path: Path) -> None:
    point = point_of("tsm")
    one, other = (from_files(point, files_for(point, tmp_path / name)) for name in ("one", "other"))
    assert one.training_id == other.training_id != point.training_id
    assert from_dict(one.to_dict(), "x") == one
    path = tmp_path / "other" / "tiny.pth"
    path.write_bytes(path.read_bytes() + b"0")
    assert from_files(point, tmp_path / "other").training_id != one.training_id


def test_other_files_than_the_experiments_are_refused(tmp_path: Path) -> None:
    point = from_files(point_of("tsm"), files_for(point_of("tsm"), tmp_path / "weights"))
    with pytest.raises(UserError, match="nothing says where their files are"):
        start_from(make_model(point), replace(point, runtime=replace(point.runtime, weights="")))
    path = tmp_path / "weights" / "tiny.pth"
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(UserError, match="have digest"):
        start_from(make_model(point), point)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"junk\n", r"tiny\.pth is no file that torch saved: it begins with b'junk\\n'; expected weights"),
        (b"<!DOCTYPE html>" * 9, r"tiny\.pth is no file that torch saved: it begins with b'<!DOCTYPE html>"),
        (b"", r"tiny\.pth is empty; expected weights"),
        (b"PK\x03\x04 and no more", "cannot be used: .*tiny.pth is not a checkpoint that can be read safely"),
    ],
)
def test_a_file_of_something_else_is_described(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "tiny.pth").write_bytes(data)
    point = from_files(point_of("tsm"), tmp_path)
    with pytest.raises(UserError, match=words):
        start_from(make_model(point), point)


def test_missing_and_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no tiny.pth; .* tiny.pth, tiny-glance.pth"):
        from_files(point_of("ocsampler"), tmp_path)
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "tiny.pth")
    point = from_files(point_of("tsm"), tmp_path)
    with pytest.raises(UserError, match=r"cannot be used: the checkpoint does not fit tiny"):
        start_from(make_model(point), point)
