"""Checkpoints: written in one step, read without unpickling code, refused when they are another run's."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from bench.errors import UserError
from bench.record import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace a checkpoint in one step; a kill at any moment leaves the old one or the new one."""
    with replacing(path) as file:
        torch.save(state, file)


def load_checkpoint(path: Path, training_id: str) -> dict[str, Any] | None:
    """Read a checkpoint on the CPU, None where there is none.

    Raises:
        UserError: when it is truncated, not a checkpoint, or of another training.
    """
    advice = "Nothing was changed; move it away to train this experiment from the start."
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, BadZipFile, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a readable checkpoint ({reason}). {advice}") from error
    found = state.get("training_id") if isinstance(state, dict) else None
    if found != training_id:
        raise UserError(f"{path} belongs to training {found!r}; expected {training_id}. {advice}")
    checked: dict[str, Any] = state
    return checked
