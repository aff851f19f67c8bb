"""What a report calls a method: its title, and whatever else tells its experiments from the others at hand."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from bench.experiment import POINT_PARTS, Experiment
from bench.methods import find_method
from bench.settings import KNOBS

# Told by a title, a point's label or a column of the table; points of several seeds are one point.
TOLD = (
    "training.seed",
    "data.dataset",
    "model.method",
    "model.frames",
    "evaluation.frames",
    *(f"model.settings.{name}" for name in KNOBS),
    "model.settings.shift",
)


def title(experiment: Experiment) -> str:
    """The method, and the ablation that the suite is about: "AFNet", "AFNet, no shift"."""
    name = find_method(experiment.model.method).title
    return name if getattr(experiment.model.settings, "shift", True) else f"{name}, no shift"


def method_labels(experiments: list[Experiment]) -> list[str]:
    """A name for each experiment's method: its title, then each field whose value is not that of all the others.

    A setting of the method is compared within the method, any other field within the data set. Two of these
    experiments of one label, number of frames and values of KNOBS differ in the seed of their training at most.
    """
    fields = [_flat(experiment) for experiment in experiments]
    values: dict[tuple[str, ...], set[Any]] = defaultdict(set)
    for experiment, flat in zip(experiments, fields, strict=True):
        for path, value in flat.items():
            values[_peers(experiment, path)].add(value)
    labels = []
    for experiment, flat in zip(experiments, fields, strict=True):
        differing = [path for path in flat if len(values[_peers(experiment, path)]) > 1]
        labels.append(", ".join([title(experiment), *(f"{_name(path)} {_text(flat[path])}" for path in differing)]))
    return _with_trained_frames(labels, experiments)


def _with_trained_frames(labels: list[str], experiments: list[Experiment]) -> list[str]:
    """Say how many frames a point was trained at where another one differs from it in nothing else."""
    trained: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    knobs = [tuple(knobs_of(experiment).items()) for experiment in experiments]
    keys = [(label, e.evaluation.frames, of) for label, e, of in zip(labels, experiments, knobs, strict=True)]
    for key, experiment in zip(keys, experiments, strict=True):
        trained[key].add(experiment.model.frames)
    return [
        label + _trained_at(experiment.model.frames) if len(trained[key]) > 1 else label
        for label, key, experiment in zip(labels, keys, experiments, strict=True)
    ]


def without_trained_frames(label: str, frames: int) -> str:
    """The label of a method whose points may be of several trainings, of one that was trained at so many frames."""
    return label.removesuffix(_trained_at(frames))


def _trained_at(frames: int) -> str:
    return f", trained at {frames} frames"


def knobs_of(experiment: Experiment) -> dict[str, float]:
    """The settings of KNOBS, as the point was evaluated: where frames are kept, a budget stands for their number."""
    knobs = experiment.model.settings.knobs()
    if "keep" in knobs and experiment.evaluation.budget:
        knobs["keep"] = experiment.evaluation.budget
    return knobs


def _flat(experiment: Experiment) -> dict[str, Any]:
    """The fields that make the experiment's id, by dotted name, without those told elsewhere."""
    values = experiment.to_dict()
    found: dict[str, Any] = {}
    for part in POINT_PARTS:
        for name, value in values[part].items():
            if name == "settings":
                found.update({f"{part}.settings.{inner}": of for inner, of in value.items()})
            else:
                found[f"{part}.{name}"] = value
    told = {*TOLD, "evaluation.budget"} if "keep" in knobs_of(experiment) else TOLD
    return {path: value for path, value in found.items() if path not in told}


def _peers(experiment: Experiment, path: str) -> tuple[str, ...]:
    """With which other experiments' values of a field this one's is compared."""
    own = (experiment.model.method,) if path.startswith("model.settings.") else ()
    return (path, experiment.data.dataset, *own)


def _name(path: str) -> str:
    return path.removeprefix("model.").removeprefix("settings.")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
