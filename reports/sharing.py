"""Equal parts of many records, kept once: a thousand points of one sweep repeat most of what they say."""

from __future__ import annotations

from typing import Any


class Shared:
    """Makes parsed JSON of parts that were seen before, where they are equal to the letter; nobody may change those."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def __call__(self, value: Any) -> Any:
        """The same value; its parts are those of equal values of earlier calls."""
        if isinstance(value, dict):
            made: Any = {self._known.setdefault(name, name): self(of) for name, of in value.items()}
            return self._known.setdefault((dict, *((name, *_key(of)) for name, of in made.items())), made)
        if isinstance(value, list):
            made = [self(of) for of in value]
            return self._known.setdefault((list, *map(_key, made)), made)
        return self._known.setdefault(value, value) if isinstance(value, str) else value


def _key(value: Any) -> tuple[type, Any]:
    """What two values have in common that are written alike: 1, 1.0 and true are not, nor are 0.0 and -0.0."""
    if isinstance(value, (dict, list)):
        return type(value), id(value)  # shared itself, and so alive as long as this is
    return type(value), repr(value) if isinstance(value, float) else value
