"""Checkpoints: written in one step, read without unpickling code, refused when they are another run's."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.files import replacing

PARTS = (
    "training_id",
    "step",
    "seconds",
    "loading",
    "best",
    "best_step",
    "bad",
    "scaler",
    "model",
    "optimiser",
    "digest",
)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace a checkpoint in one step; a kill at any moment leaves the old one or the new one.

    Raises:
        UserError: where it cannot be written.
    """
    # Not into the file at once: what the system says of a full disk torch hides behind an error of its own.
    content = io.BytesIO()
    torch.save({**state, "digest": digest(state)}, content)
    with replacing(path) as file:
        file.write(content.getbuffer())


def load_checkpoint(path: Path, training_id: str) -> dict[str, Any] | None:
    """Read a checkpoint on the CPU, None where there is none.

    Raises:
        UserError: when it is truncated, changed since it was written, not a checkpoint, or of another training.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # Reading damaged bytes raises whatever they happen to mean.
        raise unusable(path, f"is not a readable checkpoint ({_reason(error)})") from error
    found = state.get("training_id") if isinstance(state, dict) else None
    if found != training_id:
        raise unusable(path, f"belongs to training {found!r}; expected {training_id}")
    missing = [name for name in PARTS if name not in state]
    if missing:
        raise unusable(path, f"lacks {', '.join(missing)}; a checkpoint of this version has {', '.join(PARTS)}")
    # The archive's own checksums are not looked at when it is read: a flipped bit would be a changed weight.
    if state.pop("digest") != digest(state):
        raise unusable(path, "is damaged: what it holds does not have the digest it was written with")
    checked: dict[str, Any] = state
    return checked


def restore(path: Path, state: dict[str, Any], model: nn.Module, optimiser: torch.optim.Optimizer | None) -> None:
    """Put a checkpoint's weights, and the optimiser's state where both are there, in place.

    Raises:
        UserError: when they do not fit.
    """
    try:
        model.load_state_dict(state["model"])
        if state["optimiser"] is not None and optimiser is not None:
            optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise unusable(path, f"does not fit the network of this experiment ({_reason(error)})") from error


def digest(state: object) -> str:
    """sha256 of nested dictionaries and lists: of names and values, and of tensors type, shape and bytes."""
    total = hashlib.sha256()
    for name, value in _leaves(state, ""):
        if isinstance(value, Tensor):
            total.update(f"{name}: {value.dtype} {tuple(value.shape)}\n".encode())
            total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        else:
            total.update(f"{name}: {value!r}\n".encode())
    return total.hexdigest()


def _leaves(value: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}/{key}")
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            yield from _leaves(inner, f"{name}/{position}")
    else:
        yield name, value


def unusable(path: Path, what: str) -> UserError:
    """The error for a checkpoint that cannot be taken up."""
    return UserError(f"{path} {what}. It was left as it is; move it away to train this experiment from the start.")


def _reason(error: Exception) -> str:
    """The first two lines of a message: torch says what happened in the first and where in the second."""
    return " ".join(" ".join(str(error).splitlines()[:2]).split()) or type(error).__name__
