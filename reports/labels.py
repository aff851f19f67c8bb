"""What a report calls a method: its title, and in what else it is not as most experiments at hand are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from bench.experiment import POINT_PARTS, Experiment
from bench.fields import plain
from bench.methods import find_method
from bench.settings import KNOBS

# Told by a title, a point's label or a column of the table; points of several seeds are one point.
TOLD = (
    "training.seed",
    "data.dataset",
    "model.method",
    "model.frames",
    "evaluation.frames",
    "evaluation.budget",
    *(f"model.settings.{name}" for name in KNOBS),
    "model.settings.shift",
)
CELLS = ("grid", "cell_ratio", "cell_weight", "cell_warm_start", "cell_warm_end")  # settings


def title(experiment: Experiment) -> str:
    """The method, and the variants that the suite is about: "AFNet", "AFNet, no shift", "AFNet, by budget"."""
    name = find_method(experiment.model.method).title
    name += "" if getattr(experiment.model.settings, "shift", True) else ", no shift"
    # Of methods that decide themselves how many frames they keep.
    decides = "keep" not in experiment.model.settings.knobs()
    return f"{name}, by budget" if experiment.evaluation.budget and decides else name


def method_labels(experiments: list[Experiment]) -> list[str]:
    """A name for each experiment's method: its title, then each field in which it is not as most of the others are.

    A setting of the method is compared within the method, any other field within the data set. Where no value is that
    of more than half of them, each says its own; so do all where they differ in their data or their training.

    Two of these experiments of one label, number of frames and values of KNOBS differ in the seed of their training at
    most.
    """
    fields = [_flat(experiment) for experiment in experiments]
    # Of thousands most are alike in all of these; a method's on a data set have fields of the same names.
    kinds = [(of.data.dataset, of.model.method, *flat.values()) for of, flat in zip(experiments, fields, strict=True)]
    alike = dict(zip(kinds, zip(experiments, fields, strict=True), strict=True))
    values: dict[tuple[str, ...], Counter[Any]] = defaultdict(Counter)
    for kind, count in Counter(kinds).items():
        experiment, flat = alike[kind]
        for path in flat.keys() - _without_effect(experiment):
            values[_peers(experiment, path)][flat[path]] += count
    usual = {peers: _usual(peers[0], counts) for peers, counts in values.items()}
    told, idle = {}, {}
    for kind, (experiment, flat) in alike.items():
        without = _without_effect(experiment)
        telling = {path: value for path, value in flat.items() if usual.get(_peers(experiment, path)) != [value]}
        told[kind] = {path: of for path, of in telling.items() if path not in without}
        idle[kind] = {path: of for path, of in telling.items() if path in without}
    labels = [_label(title(experiment), told[kind]) for experiment, kind in zip(experiments, kinds, strict=True)]
    labels = _with_idle(labels, [idle[kind] for kind in kinds], experiments)
    labels = _with_training(labels, experiments, _trained_keep, lambda keep: f", trained to keep {keep}")
    return _with_training(labels, experiments, lambda experiment: experiment.model.frames, _trained_at)


def _usual(path: str, counts: Counter[Any]) -> list[Any]:
    """The value that goes without saying: that of more than half of them, or of all, if there is one."""
    value, count = counts.most_common(1)[0]
    least = counts.total() if path.startswith(("data.", "training.")) else counts.total() // 2 + 1
    return [value] if count >= least else []


def _label(start: str, fields: dict[str, Any]) -> str:
    return ", ".join([start, *(f"{_name(path)} {_text(value)}" for path, value in fields.items())])


def _without_effect(experiment: Experiment) -> set[str]:
    """Fields that change nothing of this experiment: those of cells, where no block computes any."""
    if getattr(experiment.model.settings, "spatial", "") != "none":
        return set()
    return {f"model.settings.{name}" for name in CELLS}


def _with_idle(labels: list[str], idle: list[dict[str, Any]], experiments: list[Experiment]) -> list[str]:
    """Say also what has no effect, of experiments that nothing else but their seeds tells apart."""
    keys = [_place(label, experiment) for label, experiment in zip(labels, experiments, strict=True)]
    kinds: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for key, fields in zip(keys, idle, strict=True):
        if fields not in kinds[key]:
            kinds[key].append(fields)
    found = []
    for key, label, fields in zip(keys, labels, idle, strict=True):
        others = kinds[key]
        telling = [path for path in fields if any(other.get(path) != fields[path] for other in others)]
        found.append(_label(label, {path: fields[path] for path in telling}))
    return found


def _place(label: str, experiment: Experiment) -> tuple[Any, ...]:
    """What a report tells points by beside the frames of their training and their seeds."""
    return (label, experiment.data.dataset, experiment.evaluation.frames, *knobs_of(experiment).items())


def _with_training(
    labels: list[str], experiments: list[Experiment], value: Callable[[Experiment], Any], words: Callable[[Any], str]
) -> list[str]:
    """Say what a point was trained at where another one differs from it in nothing else."""
    trained: dict[tuple[Any, ...], set[Any]] = defaultdict(set)
    keys = [_place(label, experiment) for label, experiment in zip(labels, experiments, strict=True)]
    for key, experiment in zip(keys, experiments, strict=True):
        trained[key].add(value(experiment))
    return [
        label + words(value(experiment)) if len(trained[key]) > 1 else label
        for label, key, experiment in zip(labels, keys, experiments, strict=True)
    ]


def without_trained_frames(label: str, frames: int) -> str:
    """The label of a method whose points may be of several trainings, of one that was trained at so many frames."""
    return label.removesuffix(_trained_at(frames))


def _trained_at(frames: int) -> str:
    return f", trained at {frames} frames"


def _trained_keep(experiment: Experiment) -> float | None:
    """Frames that a network was trained to keep, which a budget may be other than."""
    return experiment.model.settings.knobs().get("keep")


def knobs_of(experiment: Experiment) -> dict[str, float]:
    """The settings of KNOBS, as the point was evaluated: a budget stands for the number of frames that are kept."""
    knobs = experiment.model.settings.knobs()
    if experiment.evaluation.budget:
        knobs["keep"] = experiment.evaluation.budget
    return knobs


def _flat(experiment: Experiment) -> dict[str, Any]:
    """The fields that make the experiment's id, by dotted name, without those told elsewhere."""
    found: dict[str, Any] = {}
    for part in POINT_PARTS:
        for name, value in plain(getattr(experiment, part)).items():
            if name == "settings":
                found.update({f"{part}.settings.{inner}": of for inner, of in value.items()})
            else:
                found[f"{part}.{name}"] = value
    return {path: value for path, value in found.items() if path not in TOLD}


def _peers(experiment: Experiment, path: str) -> tuple[str, ...]:
    """With which other experiments' values of a field this one's is compared."""
    own = (experiment.model.method,) if path.startswith("model.settings.") else ()
    return (path, experiment.data.dataset, *own)


def _name(path: str) -> str:
    return path.removeprefix("model.").removeprefix("settings.")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
