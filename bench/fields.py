"""Frozen dataclasses whose fields carry a unit and a range, checked when they are made and when they are read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar, get_type_hints

from bench.errors import UserError, unknown

T = TypeVar("T", bound="Checked")


def number(
    default: float,
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A numeric field with its unit and range; integer or float as annotated."""
    limits = {"at least": at_least, "at most": at_most, "above": above, "below": below}
    return dataclasses.field(
        default=default, metadata={"unit": unit, "limits": {k: v for k, v in limits.items() if v is not None}}
    )


def choice(default: str, unit: str, *choices: str) -> Any:
    """A field that names one of `choices`, or any name where none are given."""
    return dataclasses.field(default=default, metadata={"unit": unit, "choices": choices})


def switch(default: bool, unit: str) -> Any:
    """A field that is on or off."""
    return dataclasses.field(default=default, metadata={"unit": unit})


_OUTSIDE = {
    "at least": lambda value, limit: value < limit,
    "at most": lambda value, limit: value > limit,
    "above": lambda value, limit: value <= limit,
    "below": lambda value, limit: value >= limit,
}


@dataclasses.dataclass(frozen=True)
class Checked:
    """Base of configuration dataclasses: values are coerced to their type (1 -> 1.0) and checked on creation.

    Attributes:
        path: dotted name of the class's place in an experiment; the class's name where it is empty.

    Raises:
        UserError: names the field, what was found, what was expected.
    """

    path: ClassVar[str] = ""

    def __post_init__(self) -> None:
        kind: Any = type(self)
        hints = _hints(kind)
        for field in dataclasses.fields(self):
            value = _coerced(getattr(self, field.name), hints[field.name], self._label(field.name))
            object.__setattr__(self, field.name, value)
            self._check(field, value)

    def arguments(self) -> dict[str, Any]:
        """The values as keyword arguments of what they are settings of."""
        return dataclasses.asdict(self)

    def _label(self, name: str) -> str:
        """How the command line calls the field."""
        return f"{self.path or type(self).__name__.lower()}.{name}"

    def _check(self, field: dataclasses.Field[Any], value: Any) -> None:
        limits = field.metadata.get("limits", {})
        if any(_OUTSIDE[word](value, limit) for word, limit in limits.items()):
            # An integer in full: %g would round the largest seed up, to one that is refused.
            expected = " and ".join(
                f"{word} {limit if isinstance(limit, int) else format(limit, 'g')}" for word, limit in limits.items()
            )
            raise UserError(
                f"{self._label(field.name)} is {value!r}; expected a number {expected} ({field.metadata['unit']})."
            )
        choices = field.metadata.get("choices", ())
        if choices and value not in choices:
            raise unknown(self._label(field.name), value, choices)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


def _coerced(value: Any, kind: Any, label: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        # An integer too large for a float is as little a number here as infinity is.
        value = float(value) if abs(value) < 2**1023 else math.inf
    if kind in (int, float, str, bool) and type(value) is not kind:
        raise UserError(f"{label} is {value!r}; expected a value of type {kind.__name__}.")
    if kind is float and not math.isfinite(value):
        raise UserError(f"{label} is {value!r}; expected a finite number.")
    return value


def from_mapping(cls: type[T], values: object, where: str) -> T:
    """Make a flat `cls` from parsed JSON, refusing unknown fields.

    Args:
        where: what to call the mapping in an error, for example "experiment.json: model".
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where} holds {type(values).__name__}; expected an object with fields.")
    names = {field.name for field in dataclasses.fields(cls)}
    for name in values:
        if name not in names:
            raise unknown("field", name, names, where)
    return cls(**values)
