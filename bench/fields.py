"""Frozen dataclasses whose fields carry a unit and a range, checked when they are made and when they are read."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, ClassVar, TypeVar, get_type_hints

from bench.errors import UserError, unknown

T = TypeVar("T", bound="Checked")
SCALARS = frozenset((int, float, str, bool))
# What is hashed; a change of it is a change of every id.
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


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
        for rule in _rules(kind):
            value = getattr(self, rule.name)
            if not rule.holds(value):
                value = _coerced(value, rule.kind, self._label(rule.name))
                object.__setattr__(self, rule.name, value)
                self._check(rule.field, value)

    def arguments(self) -> dict[str, Any]:
        """The values as keyword arguments of what they are settings of."""
        return plain(self)

    @cached_property
    def canonical(self) -> str:
        """The values as JSON, the same text for the same values; made once, since many experiments share a part."""
        return CANONICAL.encode(plain(self))

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


@dataclasses.dataclass(frozen=True)
class _Rule:
    """What a field's value must be, for the one look that most values need."""

    name: str
    kind: Any
    field: dataclasses.Field[Any]
    choices: tuple[str, ...]
    least: float
    most: float
    above: float
    below: float

    def holds(self, value: Any) -> bool:
        """Whether the value is of the field's own type and all right; if not, it may still become so."""
        kind = self.kind
        if type(value) is not kind:
            return False
        if kind is bool:
            return True
        if kind is int or kind is float:
            # Infinity and NaN are between no two limits.
            return self.above < value < self.below and self.least <= value <= self.most
        return kind is str and (not self.choices or value in self.choices)


@cache
def _rules(cls: Any) -> tuple[_Rule, ...]:
    hints = get_type_hints(cls)
    return tuple(_rule(field, hints[field.name]) for field in dataclasses.fields(cls))


def _rule(field: dataclasses.Field[Any], kind: Any) -> _Rule:
    limits = field.metadata.get("limits", {})
    return _Rule(
        field.name,
        kind,
        field,
        field.metadata.get("choices", ()),
        least=limits.get("at least", -math.inf),
        most=limits.get("at most", math.inf),
        above=limits.get("above", -math.inf),
        below=limits.get("below", math.inf),
    )


def plain(part: Checked) -> dict[str, Any]:
    """As `dataclasses.asdict`, but faster: that copies every number."""
    kind: Any = type(part)
    names, nested = _names(kind)
    values = {name: getattr(part, name) for name in names}
    for name in nested:
        value = values[name]
        values[name] = plain(value) if isinstance(value, Checked) else copy.deepcopy(value)
    return values


@cache
def _names(cls: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of all fields, and of those that hold more than a number, a text or a switch."""
    rules = _rules(cls)
    return tuple(rule.name for rule in rules), tuple(rule.name for rule in rules if rule.kind not in SCALARS)


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
