"""What a reader may rely on in a result.json: the values it must have, and of which kind."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """A kind of value, as an error names it."""

    name: str
    holds: Callable[[Any], bool]


# Whatever is measured here is below this; infinity, which JSON can hold in Python, is not.
LARGEST = 2.0**63
ROUNDING = 1e-9
_REAL = (int, float)  # a switch, though an int to Python, is neither
NUMBER = Kind("a number", lambda value: type(value) in _REAL and -LARGEST <= value <= LARGEST)
POSITIVE = Kind("a number above 0", lambda value: type(value) in _REAL and 0 < value <= LARGEST)
SHARE = Kind("a number from 0 to 1", lambda value: type(value) in _REAL and 0 <= value <= 1)
PERCENT = Kind("a number from 0 to 100", lambda value: type(value) in _REAL and 0 <= value <= 100)
QUARTILES = Kind(
    "two numbers above 0", lambda value: isinstance(value, list) and len(value) == 2 and all(map(POSITIVE.holds, value))
)
SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("text", lambda value: isinstance(value, str))
TEXTS = Kind("a list of text", lambda value: isinstance(value, list) and all(map(TEXT.holds, value)))
TIMES = Kind(
    "a list of numbers above 0",
    lambda value: isinstance(value, list) and bool(value) and all(map(POSITIVE.holds, value)),
)
NUMBERS = Kind("a list of numbers", lambda value: isinstance(value, list) and all(map(NUMBER.holds, value)))
NUMBER_OR_NULL = Kind("a number or null", lambda value: value is None or NUMBER.holds(value))
TEXT_OR_NULL = Kind("text or null", lambda value: value is None or isinstance(value, str))
COUNTS = Kind(
    "a list of whole numbers from 0",
    lambda value: isinstance(value, list) and all(type(each) is int and 0 <= each < LARGEST for each in value),
)
# Later metrics than those below, too; a new one needs no other schema.
METRIC = Kind("a number or a list of numbers", lambda value: NUMBER.holds(value) or NUMBERS.holds(value))
SWITCH_OR_NULL = Kind("true, false or null", lambda value: value is None or isinstance(value, bool))

ATTEMPTS = Kind("a list of attempts", lambda value: isinstance(value, list) and all(map(_is_attempt, value)))


def _is_attempt(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    parts = [value.get("job") or {}, value.get("error") or {}]
    return all(isinstance(part, dict) for part in parts) and NUMBER_OR_NULL.holds(value.get("ended"))


Shape = dict[str, Any]
"""Names and what is expected under each: a Kind or a Shape. "name?" may be missing; "*" is every name there is."""

TIMED: Shape = {
    "batch": POSITIVE,
    "median": POSITIVE,
    "quartiles": QUARTILES,
    "p90": POSITIVE,
    "noisy": SWITCH,
    "stable": SWITCH_OR_NULL,
    "samples": TIMES,
    "again?": POSITIVE,
    "again_samples?": TIMES,
}
EXECUTIONS: Shape = {"dense": {}, "*": TIMED}
RESULT: Shape = {
    "experiment": {},
    "metrics": {
        "top1": PERCENT,
        "top5": PERCENT,
        "map?": PERCENT,
        "macs": POSITIVE,
        "kept_ratio?": SHARE,
        "recall?": SHARE,
        "recall_by_position?": SHARE,
        "precision?": SHARE,
        "cell_ratio?": SHARE,
        "region_recall?": SHARE,
        "region_recall_by_chance?": SHARE,
        "region_recall_by_position?": SHARE,
        "commonest_decision?": SHARE,
        "kept_ratio_per_block?": NUMBERS,
        "macs_deciles?": NUMBERS,
        "*": METRIC,
    },
    "warnings": TEXTS,
    "left_out": {"train": {"*": TEXT}, "val": {"*": TEXT}},
    "macs": {
        "static": NUMBER,
        "per_unit": NUMBERS,
        "all_units": NUMBERS,
        "dense": POSITIVE,
        "views": POSITIVE,
        "operators?": {"*": NUMBER},
        "modules?": {"*": NUMBER},
        "witnesses": {"*": {"missing": TEXT, "total": NUMBER_OR_NULL, "apart": NUMBER_OR_NULL}},
    },
    "timing": {
        "macs_per_video": POSITIVE,
        "requested_batch": POSITIVE,
        "throttled": SWITCH_OR_NULL,
        "same_answers": SHARE,
        "dtype": TEXT,
        "device": {"name": TEXT},
        "energy": {"joules_per_video?": POSITIVE},
        "roofline": {
            "missing?": TEXT,
            "utilisation?": POSITIVE,
            "macs_per_byte?": POSITIVE,
            "macs_per_second?": POSITIVE,
            "roof?": {"copy": POSITIVE, "product": POSITIVE},
        },
        "scenarios": {"offline": EXECUTIONS, "single_stream": EXECUTIONS},
    },
    "stages": {
        "training": NUMBER,
        "evaluation": NUMBER,
        "timing": NUMBER,
        "device?": TEXT,
        "processes?": POSITIVE,
    },
    "attempts?": ATTEMPTS,
    "parameters?": NUMBER,
    "preview": {"videos": COUNTS},
    "names?": TEXT,
    "environment": {
        "device": {"name": TEXT},
        "cores": NUMBER,
        "platform": TEXT,
        "python": TEXT,
        "packages": {"torch": TEXT_OR_NULL, "numpy": TEXT_OR_NULL, "*": TEXT_OR_NULL},
        "source": {"commit": TEXT_OR_NULL, "dirty": SWITCH_OR_NULL},
    },
}


def problems(values: dict[str, Any]) -> list[str]:
    """What keeps parsed JSON from being a result, in words; nothing where it is one."""
    return _problems(values, RESULT) or list(_contradictions(values))


def _contradictions(values: dict[str, Any]) -> Iterator[str]:
    """What does not go together, of values that are each of their kind."""
    scenarios = values["timing"]["scenarios"]
    if set(scenarios["offline"]) != set(scenarios["single_stream"]):
        yield "timing.scenarios.offline and single_stream differ in their executions"
    for scenario in ("offline", "single_stream"):  # others are a later version's
        for execution, timed in scenarios[scenario].items():
            low, high = timed["quartiles"]
            if not low * (1 - ROUNDING) <= timed["median"] <= high * (1 + ROUNDING):
                yield f"timing.scenarios.{scenario}.{execution} has its median outside of its quartiles"
    macs, roofline = values["macs"], values["timing"]["roofline"]
    if len(macs["per_unit"]) != len(macs["all_units"]):
        yield "macs.per_unit and all_units differ in their lengths"
    if "missing" not in roofline and not {"utilisation", "macs_per_byte", "macs_per_second", "roof"} <= set(roofline):
        yield "timing.roofline is neither whole nor missing"
    for name, witness in macs["witnesses"].items():
        if not witness["missing"] and None in (witness["total"], witness["apart"]):
            yield f"macs.witnesses.{name} has neither numbers nor a reason"


def _problems(values: Any, expected: Shape, path: str = "") -> list[str]:
    if not isinstance(values, dict):
        return [f"{path} is {reprlib.repr(values)}, expected an object"]
    found = []
    for entry, inner in expected.items():
        name = entry.removesuffix("?")
        for key in values if name == "*" else (name,):
            if key not in values:
                if name == entry:
                    found.append(f"{_joined(path, key)} is missing")
            elif not isinstance(inner, Kind):
                found += _problems(values[key], inner, _joined(path, key))
            elif not inner.holds(values[key]):
                found.append(f"{_joined(path, key)} is {reprlib.repr(values[key])}, expected {inner.name}")
    return found


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
