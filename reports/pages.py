"""What each page of the report says: tables, charts and facts, as the templates want them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.metrics import METRICS
from bench.record import Result
from reports.axes import COSTS, Cost, metric_of
from reports.looks import MARKERS, looks
from reports.tables import COLUMNS, MISSING, rows_of, shown, text_of

# Rows of a page's table; all of them are in the files beside it.
ROWS = 400
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
# Of a point, that its page has no own line for: they are parts of others.
LATER = ("macs_deciles", "kept_ratio_per_block", "recall_per_block")


def slug(text: str) -> str:
    """A file's name for a method's label."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "method"


def slugs(names: Sequence[str]) -> dict[str, str]:
    """A different one for each."""
    found: dict[str, str] = {}
    for name in names:
        base, number = slug(name), 1
        while (free := base if number == 1 else f"{base}-{number}") in found.values():
            number += 1
        found[name] = free
    return found


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


def table_of(table: pd.DataFrame, caption: str) -> dict[str, Any]:
    """Rows of a page's table: the best ROWS of the points, in their order."""
    kept = table.loc[table["value"].nlargest(ROWS).index].sort_index() if len(table) > ROWS else table
    columns = [column for column in shown(table) if column.name != "method"]
    texts = [column.decimals is None for column in columns]
    rows = [
        {"id": row["experiment_id"], "name": f"{row['method']} {row['point']}", "cells": written, "texts": texts}
        for row, written in zip(kept.to_dict("records"), rows_of(kept, columns), strict=True)
    ]
    return {
        "rows": rows,
        "headings": ["Point", *(column.heading for column in columns)],
        "caption": caption,
        "hidden": len(table) - len(kept),
    }


def chart_of(name: str, table: pd.DataFrame) -> dict[str, Any]:
    """What the chart's form offers."""
    return {
        "name": name,
        "costs": costs_of(table),
        "values": values_of(table),
        "methods": list(dict.fromkeys(table["method"])),
    }


def source_of(name: str, table: pd.DataFrame, results: dict[str, Result]) -> str:
    """The script that has a data set's points, for charts: numbers by column, and texts of experiments once each."""
    costs = costs_of(table)
    unbeaten = {cost.column: _unbeaten(table, cost) for cost in costs}
    numbers = ["value", "value_low", "value_high", *(each["column"] for each in values_of(table)[1:])]
    columns = ["experiment_id", "method", "point", "metric", "videos", "seeds", "noisy", *numbers]
    columns += [cost.column for cost in costs]
    texts: dict[str, int] = {}
    rows = []
    for place, row in enumerate(table.to_dict("records")):
        experiment = results[row["experiment_id"]].values["experiment"]
        parts = [texts.setdefault(_text(experiment[part]), len(texts)) for part in PARTS]
        best = [column for column, flags in unbeaten.items() if flags[place]]
        rows.append([*(_plain(row[column]) for column in columns), best, *parts])
    values = {
        "columns": [*columns, "unbeaten", *PARTS],
        "rows": rows,
        "texts": list(texts),
        "parts": PARTS,
        "looks": {
            method: {"colour": colour, "symbol": SYMBOLS[marker]} for method, (colour, marker) in looks(table).items()
        },
        "costs": [{"column": cost.column, "short": cost.short, "timed": cost.timed} for cost in costs],
    }
    # As a script, since pages that are opened as files may not read others; "<" could end it.
    text = json.dumps(values, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"(window.afbenchPoints = window.afbenchPoints || {{}})[{json.dumps(name)}] = {text};\n"


def _unbeaten(table: pd.DataFrame, cost: Cost) -> list[bool]:
    """Of each method's points those that no other point of it beats, in the table's order."""
    found = pd.concat([cost.unbeaten(rows) for _, rows in table.groupby("method", sort=False)])
    return [bool(flag) for flag in found.reindex(table.index)]


def _plain(value: Any) -> Any:
    """As JSON has it; what is missing is null."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def _text(part: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in _flat(part))


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, prefix if name == "settings" else f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def point_page(row: dict[str, Any], result: Result, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """The page of one record.

    Args:
        row: of the table of records.
        seeds: other records of the same point.
    """
    values = result.values
    return {
        "subtitle": f"{row['videos']} validation videos, views of each: {row['views']}, seed {row['seed']}.",
        "warnings": values["warnings"],
        "numbers": _headline(row),
        "metrics": _metrics(result.metrics),
        "experiment": [(name, _short(value) or MISSING) for name, value in _flat(values["experiment"])],
        "made": _made(values),
        "others": [
            {"id": other["experiment_id"], "seed": other["seed"], "value": f"{other['value']:.2f}%"} for other in seeds
        ],
    }


def _headline(row: dict[str, Any]) -> list[tuple[str, str]]:
    columns = [column for column in COLUMNS if column.name not in ("method", "seeds") and _has(row, column.name)]
    return [(column.heading, text_of(row, column)) for column in columns]


def _has(row: dict[str, Any], name: str) -> bool:
    return row.get(name) is not None and not pd.isna(row[name])


def _metrics(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in metrics.items():
        unit = METRICS[name].unit if name in METRICS else ""
        text = ", ".join(_digits(each) for each in value) if isinstance(value, list) else _digits(value)
        found.append((name, f"{text} {unit}".strip() if unit != "share" else text))
    return found


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.6g}"


def _processes(stages: dict[str, Any]) -> str:
    count = int(stages.get("processes", 1))
    return f"{count} process{'es' * (count != 1)}"


def _made(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Of a record: device, versions, attempts, seconds, what was left out."""
    environment, stages = values["environment"], values["stages"]
    source = environment["source"]
    found = [
        ("timed on", f"{environment['device']['name']}, {environment['cores']} cores, {environment['platform']}"),
        ("trained on", f"{stages.get('device', '-')}, {_processes(stages)}"),
        ("commit", f"{source['commit'] or 'unknown'}{', changed' if source['dirty'] else ''}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)),
        ("seconds", ", ".join(f"{name} {stages[name]:.1f}" for name in ("training", "evaluation", "timing"))),
        ("parameters", f"{values.get('parameters', 0):,}"),
        (
            "multiply-adds by operator",
            ", ".join(f"{name} {count:,}" for name, count in values["macs"].get("operators", {}).items()),
        ),
        ("by module", ", ".join(f"{name} {count:,}" for name, count in values["macs"].get("modules", {}).items())),
    ]
    attempts = values.get("attempts") or []
    for number, attempt in enumerate(attempts, start=1):
        job = attempt.get("job") or {}
        # The last one wrote the record, before its end.
        without_end = "wrote this record" if number == len(attempts) else "was killed"
        end = (attempt.get("error") or {}).get("kind") or ("ended well" if attempt.get("ended") else without_end)
        found.append((f"attempt {number}", f"on {attempt.get('host', '-')}, job {job.get('id', '-')}: {end}"))
    for split, bad in values["left_out"].items():
        if bad:
            found.append((f"{split} videos left out", "; ".join(f"{name}: {why}" for name, why in bad.items())))
    return found
