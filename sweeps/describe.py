"""Points in a few words, alone and as they differ from one another. Imports no torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any

from bench.experiment import Experiment
from bench.methods import find_method
from bench.settings import KNOBS


def describe(experiment: Experiment) -> str:
    """A point in a few words: method, frames, how much it computes, and what it shares a training with."""
    model = experiment.model
    words = [*_named(experiment)]
    words += [f"{name} {value:g}" for name, value in model.settings.knobs().items()]
    if getattr(model.settings, "shift", True) is False:
        words.append("no shift")
    if experiment.evaluation.frames != model.frames:
        words.append(f"trained at {model.frames}")
    return ", ".join(words)


def distinguishing(points: Sequence[Experiment]) -> list[str]:
    """Each point by its method, its frames and the fields in which these points differ, in short words.

    A setting of the method is compared within the method, any other field among all. What more than half of them have
    is not said, unless it is how much a method computes.
    """
    differing = _differing(points)
    leaves = Counter({path: _leaf(path) for _, path in differing}.values())
    described = []
    for point in points:
        words = _named(point)
        for (method, path), usual in differing.items():
            if method in ("", point.model.method) and (value := _value(point, path)) != usual:
                words += _words(_leaf(path) if leaves[_leaf(path)] == 1 else path, value)
        if point.evaluation.frames != point.model.frames:
            words.append(f"trained at {point.model.frames}")
        described.append(", ".join(words))
    return described


# Where the fields that tell points apart stand, in the order in which they are said.
PARTS = ("model", "model.settings", "evaluation", "training", "data", "data.settings", "timing")
SAID = {"model.method", "model.frames", "evaluation.frames"}
# Of a field that no value is usual of, or that a point does not have.
NOTHING = object()


def _named(experiment: Experiment) -> list[str]:
    return [find_method(experiment.model.method).title, f"{experiment.evaluation.frames} frames"]


def _differing(points: Sequence[Experiment]) -> dict[tuple[str, str], object]:
    """What is usual of each field that has several values among the points, by its method and dotted name.

    The method is empty but for a method's own settings.
    """
    found: dict[tuple[str, str], object] = {}
    for part in PARTS:
        # Points share most of their parts: each is looked at once.
        owners = {id(_value(point, part)): point for point in points}
        values: dict[tuple[str, str], set[object]] = defaultdict(set)
        for point in owners.values():
            method = point.model.method if part == "model.settings" else ""
            kind: Any = type(_value(point, part))
            for path in _fields(part, kind):
                values[method, path].add(_value(point, path))
        found |= {key: _usual(points, *key) for key, several in values.items() if len(several) > 1}
    return {key: usual for key, usual in found.items() if key[1] not in SAID}


def _usual(points: Sequence[Experiment], method: str, path: str) -> object:
    """The value that more than half of a method's points have, of those that have the field at all."""
    if _leaf(path) in KNOBS:
        return NOTHING
    values = Counter(_value(point, path) for point in points if method in ("", point.model.method))
    value, count = values.most_common(1)[0]
    return value if 2 * count > values.total() else NOTHING


def _value(point: Experiment, path: str) -> Any:
    """Of a field or part, by its dotted name; NOTHING where the point has none."""
    try:
        return _getter(path)(point)
    except AttributeError:
        return NOTHING


_getter = cache(attrgetter)


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


@cache
def _fields(part: str, kind: Any) -> list[str]:
    """Dotted names of a part's fields, without one that holds a part of its own."""
    return [f"{part}.{field.name}" for field in fields(kind) if field.name != "settings"]


def _words(called: str, value: object) -> list[str]:
    if value is NOTHING:
        return []
    called = called.replace("_", " ")
    if isinstance(value, bool):
        return [f"{called} {'on' if value else 'off'}"]
    return [f"{called} {value:g}" if isinstance(value, float) else f"{called} {value}"]
