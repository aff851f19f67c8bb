"""What each page of the report says: tables, charts and facts, as the templates want them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from bench.metrics import METRICS
from bench.record import Result
from reports.formats import MISSING
from reports.rows import rows_in
from reports.seeds import is_missing
from reports.tables import COLUMNS, rows_of, shown, text_of

# Rows of a page's table; all of them are in the files beside it.
ROWS = 400


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


def table_of(table: pd.DataFrame, caption: str) -> dict[str, Any]:
    """Rows of a page's table: the best ROWS of the points, in their order."""
    kept = table.loc[table["value"].nlargest(ROWS).index].sort_index() if len(table) > ROWS else table
    columns = [column for column in shown(table) if column.name != "method"]
    texts = [column.decimals is None for column in columns]
    rows = [
        {"id": row["experiment_id"], "name": f"{row['method']} {row['point']}", "cells": written, "texts": texts}
        for row, written in zip(rows_in(kept), rows_of(kept, columns), strict=True)
    ]
    return {
        "rows": rows,
        "headings": ["Point", *(column.heading for column in columns)],
        "caption": caption,
        "hidden": len(table) - len(kept),
    }


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Names and values of an experiment's fields; those of settings stand beside the others."""
    found = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += flat(value, prefix if name == "settings" else f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found


def short(value: Any) -> str:
    """A field's value as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and texts as rows of a list, escaped."""
    return Markup("".join([_fact(name, text) for name, text in pairs]))


@lru_cache(maxsize=4096)
def _fact(name: str, text: str) -> str:
    return f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n"


class Described:
    """Parts of experiments as rows of a page; of a part that many records share (see reports.sharing) made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, int], Markup] = {}

    def rows(self, name: str, part: Any) -> Markup:
        """Of the part of this name, which is kept as it is while these are."""
        key = (name, id(part))
        if key not in self._made:
            self._made[key] = facts((field, short(value) or MISSING) for field, value in flat({name: part}))
        return self._made[key]


def point_page(
    row: dict[str, Any], result: Result, seeds: list[dict[str, Any]], described: Described
) -> dict[str, Any]:
    """The page of one record.

    Args:
        row: of the table of records.
        seeds: other records of the same point.
        described: what was made of other records' experiments.
    """
    values = result.values
    return {
        "subtitle": f"{row['videos']} validation videos, views of each: {row['views']}, seed {row['seed']}.",
        "warnings": values["warnings"],
        "numbers": _headline(row),
        "metrics": _metrics(result.metrics),
        "experiment": [described.rows(name, part) for name, part in values["experiment"].items()],
        "made": _made(values),
        "others": [
            {"id": other["experiment_id"], "seed": other["seed"], "value": f"{other['value']:.2f}%"} for other in seeds
        ],
    }


def _headline(row: dict[str, Any]) -> list[tuple[str, str]]:
    columns = [column for column in COLUMNS if column.name not in ("method", "seeds")]
    return [(each.heading, text_of(row, each)) for each in columns if not is_missing(row.get(each.name))]


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
