"""What the charts of a page are drawn from: a script with a data set's points, and what the form beside them offers.

A page may not read files where it was opened as one, so the points are a script. Of thousands of points it stays
below 2 MB: numbers have six digits, and a text that many points share is there once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.record import Result
from reports.axes import COSTS, Cost, metric_of
from reports.looks import MARKERS, looks
from reports.pages import flat, short

# As Plotly calls the markers of the figures.
SYMBOLS = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "*": "star",
    "<": "triangle-left",
    ">": "triangle-right",
}
assert set(MARKERS) <= set(SYMBOLS)
PARTS = ("data", "model", "training", "evaluation", "timing")


def costs_of(table: pd.DataFrame) -> list[Cost]:
    """The costs that points of a table have."""
    return [cost for cost in COSTS if cost.present(table)]


def values_of(table: pd.DataFrame) -> list[dict[str, str]]:
    """What a chart may have upward, the data set's own metric first."""
    names = [
        ("value", metric_of(table)),
        ("top5", "top-5 (%)"),
        ("kept_ratio", "kept ratio"),
        ("cell_ratio", "cell ratio"),
    ]
    names.append(("saving_realised", "saving realised"))
    return [{"column": name, "label": label} for name, label in names if name in table and table[name].notna().any()]


def chart_of(name: str, table: pd.DataFrame) -> dict[str, Any]:
    """What the chart's form offers."""
    return {
        "name": name,
        "costs": costs_of(table),
        "values": values_of(table),
        "methods": list(dict.fromkeys(table["method"])),
    }


def source_of(name: str, table: pd.DataFrame, results: dict[str, Result], published: pd.DataFrame | None = None) -> str:
    """The script that has a data set's points: columns of their table, and the fields of their experiments by part.

    Args:
        published: figures to draw beside them, as `published_points` gives them.
    """
    costs = costs_of(table)
    numbers = ["value", "value_low", "value_high", *(each["column"] for each in values_of(table)[1:])]
    columns = ["experiment_id", "method", "point", "metric", "videos", "seeds", "noisy", *numbers]
    columns += [cost.column for cost in costs]
    values = {
        "count": len(table),
        "columns": {column: _packed([_plain(each) for each in table[column].tolist()]) for column in columns}
        | {"unbeaten": _packed(_unbeaten(table, costs))},
        "fields": _fields([results[each].values["experiment"] for each in table["experiment_id"]]),
        "looks": {
            method: {"colour": colour, "symbol": SYMBOLS[marker]} for method, (colour, marker) in looks(table).items()
        },
        "costs": [{"column": cost.column, "short": cost.short, "timed": cost.timed} for cost in costs],
        "published": [] if published is None else _published(published),
    }
    # "<" could end the script.
    text = json.dumps(values, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"(window.afbenchPoints = window.afbenchPoints || {{}})[{json.dumps(name)}] = {text};\n"


def _published(figures: pd.DataFrame) -> list[dict[str, Any]]:
    names = ["method", "backbone", "frames", "gflops", "value", "source"]
    return [
        {name: _plain(value) for name, value in zip(names, row, strict=True)}
        for row in figures[names].itertuples(index=False)
    ]


def _fields(experiments: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each field its part, name and texts, null where an experiment has none of the name; in the order of parts."""
    found: dict[tuple[str, str], list[str | None]] = {}
    written: dict[int, list[tuple[str, str]]] = {}
    for place, experiment in enumerate(experiments):
        for part in PARTS:
            # Equal parts are one object, see reports.sharing.
            key = id(experiment[part])
            if key not in written:
                written[key] = [(name, short(value)) for name, value in flat(experiment[part])]
            for name, text in written[key]:
                if (part, name) not in found:
                    found[part, name] = [None] * len(experiments)
                found[part, name][place] = text
    ordered = sorted(found.items(), key=lambda item: PARTS.index(item[0][0]))
    return [{"part": part, "name": name, "texts": _packed(texts)} for (part, name), texts in ordered]


def _packed(values: Sequence[Any]) -> Any:
    """As they are; where most of them stand there several times {of: each once, at: which one each is}."""
    if all(value is None or type(value) in (int, float) for value in values):
        return list(values)
    places: dict[Any, int] = {}
    at = [places.setdefault(value, len(places)) for value in values]
    if len(places) == 1:
        return {"of": list(places), "at": 0}
    return {"of": list(places), "at": at} if 2 * len(places) <= len(at) else list(values)


def _unbeaten(table: pd.DataFrame, costs: Sequence[Cost]) -> list[tuple[str, ...]]:
    """For each point the columns of the costs by which no other point of its method beats it."""
    found: list[tuple[str, ...]] = [()] * len(table)
    for cost in costs:
        flags = pd.concat([cost.unbeaten(rows) for _, rows in table.groupby("method", sort=False)])
        found = [
            (*best, cost.column) if flag else best for best, flag in zip(found, flags.reindex(table.index), strict=True)
        ]
    return found


def _plain(value: Any) -> Any:
    """As JSON has it; what is missing is null, and a number has six digits."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if pd.isna(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")
