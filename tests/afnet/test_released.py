"""Released checkpoints: names, equality with a second implementation, errors at the door.

released_shapes.json lists every name and shape of two checkpoints of the released code (AF-ResNet50-TSM and
AF-MobileNetV3-TSM, T = 8, Something-Something V1), taken from BeSpontaneous/AFNet-pytorch.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import afnet
from afnet.released import CheckpointError
from tests.afnet.reference import Reference

SHAPES = json.loads((Path(__file__).parent / "data" / "released_shapes.json").read_text())
State = dict[str, Tensor]


def drawn(shapes: dict[str, list[int]], seed: int = 0, dtype: torch.dtype = torch.float32) -> State:
    """Random weights under which signals neither vanish nor explode and masks are mixed."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
            continue
        values = torch.randn(shape, generator=generator, dtype=dtype)
        if name.endswith("running_var"):
            values = 0.5 + values.abs()
        elif len(shape) >= 2:
            fan = values[0].numel()
            values *= (8.0 if "conv_gs" in name else 2.0 / fan**0.5 if fan > 1 else 1.0) ** (1 if fan > 1 else 0.5)
            values *= 1.0 if "conv_gs" in name else 0.7
        elif name.endswith("weight"):
            values = 0.6 + 0.2 * values
        else:
            values *= 0.2
        state[name] = values
    return state


def small_shapes(frames: int = 3, classes: int = 5) -> dict[str, list[int]]:
    """Of a tiny AF-ResNet in the released format."""
    model = afnet.AFNet(backbone="tiny", frames=frames, classes=classes)
    names = afnet.released_names(model)
    return {names[name]: list(tensor.shape) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("checkpoint", SHAPES)
def test_names_are_those_of_the_released_checkpoints(checkpoint: str) -> None:
    backbone = {"resnet50_tsm": "resnet50", "mobilenetv3_tsm": "mobilenetv3"}[checkpoint]
    with torch.device("meta"):
        model = afnet.AFNet(backbone=backbone, frames=8, classes=174)
    names = afnet.released_names(model)
    assert {names[name]: list(tensor.shape) for name, tensor in model.state_dict().items()} == SHAPES[checkpoint]
    assert set(names) == set(model.state_dict())


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_small_network_equals_the_reference(shift: bool, seed: int) -> None:
    state = drawn(small_shapes(), seed)
    model = afnet.load_released({"state_dict": state}, shift=shift)
    clips = torch.randn(2, 3, 3, 80, 96, generator=torch.Generator().manual_seed(seed))
    expected, masks = Reference(state, frames=3, shift=shift)(clips)
    assert 0 < masks.float().mean() < 1
    for execution in ("masked", "skipped"):
        model.execution = execution  # type: ignore[assignment]
        with torch.no_grad():
            output = model(clips)
        assert output.selection.frames is not None
        assert torch.equal(output.selection.frames, masks)
        torch.testing.assert_close(output.logits, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", SHAPES)
def test_released_sizes_equal_the_reference(checkpoint: str) -> None:
    state = drawn(SHAPES[checkpoint])
    model = afnet.load_released(state, shift=True)
    assert not model.training and (model.frames, model.classes) == (8, 174)
    clips = torch.randn(1, 8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected, masks = Reference(state, frames=8, shift=True)(clips)
    with torch.no_grad():
        output = model(clips)
    assert output.selection.frames is not None
    assert torch.equal(output.selection.frames, masks) and 0 < masks.float().mean() < 1
    torch.testing.assert_close(output.logits, expected, rtol=1e-3, atol=1e-5)


def gradients_agree(state: State, *, shift: bool, frames: int, classes: int, side: int) -> None:
    clips = torch.randn(2, frames, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(2) % classes
    leaves = {
        name: tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    logits, _ = Reference(leaves, frames=frames, shift=shift, training=True)(clips)
    functional.cross_entropy(logits, labels).backward()
    model = afnet.load_released(state, shift=shift).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.gumbel_noise, model.temperature = False, 1.0
    functional.cross_entropy(model(clips).logits, labels).backward()
    names = afnet.released_names(model)
    for name, parameter in model.named_parameters():
        expected = leaves[names[name]].grad
        assert parameter.grad is not None and expected is not None, name
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")
    navigation = [p for n, p in model.named_parameters() if "score.weight" in n]
    assert any(p.grad is not None and p.grad.abs().max() > 1e-6 for p in navigation)


@pytest.mark.parametrize("shift", [True, False])
def test_training_gradients_equal_the_reference_through_the_masks(shift: bool) -> None:
    gradients_agree(drawn(small_shapes(), dtype=torch.float64), shift=shift, frames=3, classes=5, side=64)


@pytest.mark.slow
def test_mobilenet_gradients_equal_the_reference() -> None:
    state = drawn(SHAPES["mobilenetv3_tsm"], dtype=torch.float64)
    gradients_agree(state, shift=True, frames=8, classes=174, side=64)


def test_what_was_saved_loads_as_it_was(tmp_path: Path) -> None:
    state = drawn(small_shapes())
    model = afnet.load_released(state, shift=True)
    afnet.save_released(model, tmp_path / "model.pth")
    again = afnet.load_released(tmp_path / "model.pth", shift=True, frames=3)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    assert set(torch.load(tmp_path / "model.pth", weights_only=True)["state_dict"]) == set(state)


def test_an_ablation_has_no_released_names() -> None:
    with pytest.raises(ValueError, match="no such network"):
        afnet.released_names(afnet.AFNet(backbone="tiny", frames=2, classes=3, fusion="sum"))


def test_trunk_of_an_imagenet_checkpoint_leaves_navigation_and_classifier() -> None:
    shapes = {
        name.replace("module.base_model.", "module."): shape
        for name, shape in small_shapes().items()
        if "list_gen" not in name and "new_fc" not in name
    }
    state = drawn({**shapes, "module.fc.weight": [1000, 256], "module.fc.bias": [1000]})
    model = afnet.AFNet(backbone="tiny", frames=7, classes=4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    afnet.load_trunk(model, state)
    after = model.state_dict()
    assert torch.equal(after["stem.0.weight"], state["module.conv1.weight"])
    kept = {name for name in after if torch.equal(after[name], before[name]) and "num_batches" not in name}
    assert {name for name in after if "navigation" in name or "classifier" in name} - {
        name for name in after if "num_batches" in name
    } <= kept
    with pytest.raises(CheckpointError, match=r"left over: module\.base_model\.extra"):
        afnet.load_trunk(model, {**state, "module.extra": torch.zeros(1)})


def change(state: State, **tensors: Tensor | None) -> State:
    changed = {**state, **{name: tensor for name, tensor in tensors.items() if tensor is not None}}
    return {name: tensor for name, tensor in changed.items() if tensors.get(name, tensor) is not None}


FIRST, HEAD = "module.base_model.conv1.weight", "module.new_fc.weight"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({FIRST: None}, ["1 missing", FIRST]),
        ({"module.base_model.new": torch.zeros(1)}, ["1 left over", "module.base_model.new"]),
        ({FIRST: torch.full((8, 3, 7, 7), torch.nan)}, [FIRST, "not finite"]),
        ({FIRST: torch.zeros(8, 3, 5, 5)}, [FIRST, "(8, 3, 5, 5)", "(8, 3, 7, 7)"]),
        ({HEAD: None}, ["no module.new_fc.weight"]),
        ({"module.base_model.layer4.1.conv1.weight": torch.zeros(1)}, ["(1, 2, 3, 2)", "resnet50"]),
    ],
)
def test_a_wrong_key_set_is_named(damage: dict[str, Tensor | None], words: list[str]) -> None:
    state = change(drawn(small_shapes()), **damage)
    with pytest.raises(CheckpointError) as caught:
        afnet.load_released(state, shift=True)
    assert all(word in str(caught.value) for word in words), caught.value


def test_frames_other_than_the_checkpoints_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"trained with 3 frames.*got frames=8"):
        afnet.load_released(drawn(small_shapes()), shift=True, frames=8)


def test_mobilenet_without_shift_is_refused() -> None:
    with pytest.raises(CheckpointError, match="shift=True"):
        afnet.load_released(drawn(SHAPES["mobilenetv3_tsm"]), shift=False)


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("content", ["attack", "empty", "text", "absent"])
def test_a_file_that_is_no_checkpoint_is_refused_and_runs_nothing(tmp_path: Path, content: str) -> None:
    path, attacked = tmp_path / "file.pth", tmp_path / "attacked"
    if content == "attack":
        path.write_bytes(pickle.dumps({"state_dict": Attack(attacked)}, protocol=2))
    elif content != "absent":
        path.write_bytes(b"" if content == "empty" else b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"file\.pth"):
        afnet.load_released(path, shift=True)
    assert not attacked.exists()
