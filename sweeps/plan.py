"""What is done of a list of experiments, and what is not. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.experiment import Experiment
from bench.files import is_locked
from bench.methods import find_method
from bench.record import find_result, training_folder

State = Literal["done", "running", "missing"]


@dataclass(frozen=True)
class Point:
    """One experiment of a plan and its state."""

    experiment: Experiment
    state: State


def plan(points: list[Experiment], runs: Path) -> list[Point]:
    """The state of each experiment, from the records on disk alone.

    Raises:
        UserError: for a damaged record.
    """
    return [Point(experiment, _state(experiment, runs)) for experiment in points]


def _state(experiment: Experiment, runs: Path) -> State:
    if find_result(runs, experiment) is not None:
        return "done"
    return "running" if is_locked(training_folder(runs, experiment)) else "missing"


def describe(experiment: Experiment) -> str:
    """A point in a few words: method, frames, how much it computes, and what it shares a training with."""
    model = experiment.model
    words = [find_method(model.method).title, f"{experiment.evaluation.frames} frames"]
    words += [f"{name} {value:g}" for name, value in model.settings.knobs().items()]
    if getattr(model.settings, "shift", True) is False:
        words.append("no shift")
    if experiment.evaluation.frames != model.frames:
        words.append(f"trained at {model.frames}")
    return ", ".join(words)
