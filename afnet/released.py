"""Checkpoints in the format of the released AFNet code (BeSpontaneous/AFNet-pytorch): read, name, write.

A file holds a dict with `state_dict`, whose names start with `module.base_model.`; the classifier is `module.new_fc` in
AF-ResNets. ImageNet checkpoints carry `module.` alone. They are pickles from others: only tensors are read from them.
"""

from __future__ import annotations

import os
import pickle
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from afnet.backbones import MOBILENET, RESNETS, Design
from afnet.network import AFNet

ROOT = "module.base_model."
Source = str | os.PathLike[str] | Mapping[str, Any]


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that does not belong to the network it should fill."""


# Own names to released ones, first match; what follows the match keeps its name.
_RESNET_RULES = (
    (r"stem\.0\.", r"conv1."),
    (r"stem\.1\.", r"bn1."),
    (r"stages\.(\d+)\.navigation\.(\d+)\.squeeze\.", r"layer{0}.list_gen.{1}.conv_pool."),
    (r"stages\.(\d+)\.navigation\.(\d+)\.bn\.", r"layer{0}.list_gen.{1}.bn."),
    (r"stages\.(\d+)\.navigation\.(\d+)\.score\.", r"layer{0}.list_gen.{1}.conv_gs."),
    (r"stages\.(\d+)\.ample\.(\d+)\.residual\.", r"layer{0}.base_module.{1}."),
    (r"stages\.(\d+)\.ample\.(\d+)\.shortcut\.", r"layer{0}.base_module.{1}.downsample."),
    (r"stages\.(\d+)\.focal\.(\d+)\.residual\.", r"layer{0}.refine_module.{1}."),
    (r"stages\.(\d+)\.focal\.(\d+)\.shortcut\.", r"layer{0}.refine_module.{1}.downsample."),
    (r"stages\.(\d+)\.project\.", r"layer{0}.base_transform."),
    (r"stages\.(\d+)\.gate\.reduce\.", r"layer{0}.att_gen.fc.0."),
    (r"stages\.(\d+)\.gate\.expand\.", r"layer{0}.att_gen.fc.2."),
    (r"stages\.(\d+)\.fusion\.residual\.", r"layer{0}.fusion.0."),
    (r"stages\.(\d+)\.fusion\.shortcut\.", r"layer{0}.fusion.0.downsample."),
    (r"tail\.(\d+)\.residual\.", r"layer4.{0}."),
    (r"tail\.(\d+)\.shortcut\.", r"layer4.{0}.downsample."),
)
_RESNET_FIRST_STAGE = 1
_RESNET_CLASSIFIER = ("classifier.1.", "module.new_fc.")

_MOBILENET_RULES = (
    (r"stem\.0\.", r"conv."),
    (r"stem\.1\.", r"bn."),
    (r"stem\.3\.residual\.", r"features_head.0."),
    (r"stem\.4\.residual\.", r"features_stage1.0."),
    (r"stem\.5\.residual\.", r"features_stage1.1."),
    (r"stages\.(\d+)\.navigation\.(\d+)\.squeeze\.", r"list_gen{0}.{1}.conv_pool."),
    (r"stages\.(\d+)\.navigation\.(\d+)\.bn\.", r"list_gen{0}.{1}.bn."),
    (r"stages\.(\d+)\.navigation\.(\d+)\.score\.", r"list_gen{0}.{1}.conv_gs."),
    (r"stages\.(\d+)\.ample\.(\d+)\.residual\.", r"features_stage{0}_base.{1}."),
    (r"stages\.(\d+)\.focal\.(\d+)\.residual\.", r"features_stage{0}_refine.{1}."),
    (r"stages\.(\d+)\.focal\.(\d+)\.shortcut\.", r"features_stage{0}_refine.{1}.res_connect."),
    (r"stages\.(\d+)\.gate\.reduce\.", r"att_gen{0}.fc.0."),
    (r"stages\.(\d+)\.gate\.expand\.", r"att_gen{0}.fc.2."),
    (r"stages\.(\d+)\.fusion\.residual\.", r"features_stage{0}_fuse.0."),
    (r"tail\.0\.residual\.", r"features_stage4.0."),
    (r"tail\.1\.residual\.", r"features_stage4.1."),
    (r"tail\.2\.residual\.", r"features_stage5.0."),
    (r"tail\.3\.residual\.", r"features_stage5.1."),
    (r"tail\.4\.residual\.", r"features_stage5.2."),
    (r"tail\.5\.", r"conv_last."),
    (r"tail\.6\.", r"bn_last."),
    (r"classifier\.0\.", r"fc.0."),
    (r"classifier\.3\.", r"fc.3."),
)
_MOBILENET_FIRST_STAGE = 2


def released_names(model: AFNet) -> dict[str, str]:
    """The released name of every parameter and buffer, by own name.

    Raises:
        ValueError: for a network whose design the released code does not have (an ablation, cells), or whose
            batch-norms were folded.
    """
    published = Design(shift=model.design.shift)
    if model.design != published:
        raise ValueError(f"the released code has no such network: {model.design}; expected {published}")
    return {name: _released_name(name, model.backbone == MOBILENET) for name in model.state_dict()}


def _released_name(name: str, mobilenet: bool) -> str:
    rules = _MOBILENET_RULES if mobilenet else _RESNET_RULES
    first = _MOBILENET_FIRST_STAGE if mobilenet else _RESNET_FIRST_STAGE
    own, released = _RESNET_CLASSIFIER
    if not mobilenet and name.startswith(own):
        return released + name.removeprefix(own)
    for pattern, replacement in rules:
        match = re.match(pattern, name)
        if match:
            numbers = [int(group) for group in match.groups()]
            if pattern.startswith(r"stages"):
                numbers[0] += first
            rest = name[match.end() :].replace("se.reduce.", "se.fc.0.").replace("se.expand.", "se.fc.2.")
            return ROOT + replacement.format(*numbers) + rest
    raise ValueError(f"{name} has no released name")


def load_released(source: Source, *, shift: bool, frames: int | None = None) -> AFNet:
    """The network of a released checkpoint, in evaluation mode.

    Architecture, classes and frames are read off the tensors.

    Args:
        source: path of a file, or a mapping as it holds one, with or without its `state_dict` level.
        shift: whether the network was trained with temporal shift ("-TSM"), which no tensor tells.
        frames: T; None takes the checkpoint's.

    Raises:
        CheckpointError: for a file that cannot be read safely; tensors missing, left over, misshapen or not finite; a
            T that is not the checkpoint's.
    """
    state = read_state(source)
    backbone, own_frames, classes = _architecture(state)
    if frames is not None and frames != own_frames:
        raise CheckpointError(
            f"the checkpoint was trained with {own_frames} frames a clip and navigation has weights for each frame's "
            f"position; got frames={frames}, expected {own_frames}"
        )
    if backbone == MOBILENET and not shift:
        raise CheckpointError("the released AF-MobileNetV3 shifts channels in every block; expected shift=True")
    model = AFNet(backbone=backbone, frames=own_frames, classes=classes, shift=shift)
    _fill(model, released_names(model), state)
    return model.eval()


def load_trunk(model: AFNet, source: Source) -> None:
    """Fill a network's stem, stages and tail from an ImageNet checkpoint; navigation and classifier stay as they are.

    Raises:
        CheckpointError: as load_released; tensors other than a classifier's or navigation's are left over.
    """
    state = {ROOT + name.removeprefix("module."): tensor for name, tensor in read_state(source).items()}
    names = {
        own: name
        for own, name in released_names(model).items()
        if not own.startswith("classifier.") and ".navigation." not in own
    }
    head = re.compile(re.escape(ROOT) + r"(fc\.|.*list_gen)")
    _fill(model, names, {name: tensor for name, tensor in state.items() if not head.match(name)})


def save_released(model: AFNet, path: str | os.PathLike[str]) -> None:
    """Write a network in the released format, in one step.

    Raises:
        ValueError: as released_names.
    """
    names = released_names(model)
    state = {names[name]: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    target = Path(path)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            torch.save({"state_dict": state}, file)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def read_state(source: Source) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name; nothing but tensors and plain values is ever unpickled.

    Raises:
        CheckpointError: unreadable, unsafe, or without a mapping of names to tensors.
    """
    where = "the mapping"
    content: Any = source
    if not isinstance(source, Mapping):
        where = str(source)
        try:
            content = torch.load(Path(source), map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"{where} is not a checkpoint that can be read safely: {reason}") from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{where} holds no `state_dict` of tensors by name")
    return {str(name): tensor for name, tensor in state.items()}


def _architecture(state: Mapping[str, Tensor]) -> tuple[str, int, int]:
    """Backbone, frames and classes that the shapes tell."""
    mobilenet = f"{ROOT}conv.weight" in state
    gate, head = (
        (f"{ROOT}list_gen2.0.conv_gs.weight", f"{ROOT}fc.3.weight")
        if mobilenet
        else (f"{ROOT}layer1.list_gen.0.conv_gs.weight", "module.new_fc.weight")
    )
    for name in (gate, head):
        if name not in state:
            found = ", ".join(sorted(state)[:3])
            raise CheckpointError(f"the checkpoint has no {name}; it holds {len(state)} tensors: {found}, ...")
    frames, classes = state[gate].shape[0] // 2, state[head].shape[0]
    if mobilenet:
        return MOBILENET, frames, classes
    blocks = tuple(
        1 + max((int(match[1]) for match in _matches(rf"{re.escape(ROOT)}{part}\.(\d+)\.", state)), default=-1)
        for part in (r"layer1\.base_module", r"layer2\.base_module", r"layer3\.base_module", "layer4")
    )
    for name, size in RESNETS.items():
        if blocks == (*(count - 1 for count in size.blocks[:3]), size.blocks[3]):
            return name, frames, classes
    known = ", ".join(f"{name} {size.blocks}" for name, size in RESNETS.items())
    raise CheckpointError(f"the checkpoint has {blocks} ample and plain blocks, which no AF-ResNet has; known: {known}")


def _matches(pattern: str, names: Iterable[str]) -> Iterable[re.Match[str]]:
    return filter(None, (re.match(pattern, name) for name in names))


def fill(model: nn.Module, names: Mapping[str, str], state: Mapping[str, Tensor], title: str) -> None:
    """Copy tensors into a network, each exactly once.

    Args:
        names: what the checkpoint calls the network's tensors, by own name.
        state: the checkpoint's tensors, all of which must be named.
        title: the network, for messages.

    Raises:
        CheckpointError: tensors missing, left over, misshapen or not finite.
    """
    check_fits(model, names, state, title)
    own = model.state_dict()
    with torch.no_grad():
        for name, released in names.items():
            own[name].copy_(state[released])


def check_fits(model: nn.Module, names: Mapping[str, str], state: Mapping[str, Tensor], title: str) -> None:
    """Raise what fill would."""
    own = model.state_dict()
    missing = sorted(set(names.values()) - set(state))
    left_over = sorted(set(state) - set(names.values()))
    problems = [f"{len(n)} {word}: {_listed(n)}" for n, word in ((missing, "missing"), (left_over, "left over")) if n]
    if problems:
        raise CheckpointError(f"the checkpoint does not fit {title}: {'; '.join(problems)}")
    for name, released in names.items():
        tensor = state[released]
        if tensor.shape != own[name].shape:
            raise CheckpointError(f"{released} has shape {tuple(tensor.shape)}; {title} needs {tuple(own[name].shape)}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{released} holds values that are not finite (NaN or infinity)")


def _listed(names: list[str], most: int = 8) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _fill(model: AFNet, names: Mapping[str, str], state: Mapping[str, Tensor]) -> None:
    """As fill; a checkpoint in double precision makes the network one."""
    title = f"{model.backbone} with {model.frames} frames and {model.classes} classes"
    check_fits(model, names, state, title)
    if state[next(iter(names.values()))].dtype == torch.float64:
        model.double()
    fill(model, names, state, title)
