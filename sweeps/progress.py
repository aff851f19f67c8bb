"""How work is shown: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.progress import bars, lines

Report = Callable[[str, int, int], None]
STAGES = {
    "start": "starting",
    "train": "training, step",
    "validate": "validating, batch",
    "evaluate": "evaluating, batch",
    "time": "timing",
}
# Of a profile: what describes a network, and the headings of a terminal's table, which is narrow.
DESCRIBING = ("backbone", "settings", "frames", "size", "ratio", "dtype")
HEADINGS = {
    "frames": "T",
    "gmacs": "GMACs",
    "gmacs_dense": "dense",
    "parameters": "weights",
    "clips_per_second": "clips/s",
    "latency_ms": "ms",
    "again": "A/A",
    "predicted_off": "line off",
}


@contextlib.contextmanager
def stage_bars() -> Iterator[Report]:
    """A report of one experiment's stages: a bar each on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        say = lines(console)
        yield lambda stage, done, of: say(STAGES[stage], done, of)
        return
    with bars(console) as progress:
        tasks: dict[str, object] = {}

        def report(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(STAGES[stage], total=of)
            progress.update(tasks[stage], completed=done)  # type: ignore[arg-type]

        yield report


def print_rows(values: list[dict[str, Any]], form: str) -> None:
    """Profiles as a table on the terminal or in md, or as csv or json, with every digit."""
    if form == "json":
        print(json.dumps(values, indent=1))
        return
    names = list(values[0])
    if form == "csv":
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(values)
        return
    cells = [[WRITTEN.get(name, _cell)(value) for name, value in row.items()] for row in values]
    if form == "md":
        for line in (names, ["---"] * len(names), *cells):
            print("| " + " | ".join(line) + " |")
        return
    _print_narrow(names, cells)


def _print_narrow(names: list[str], cells: list[list[str]]) -> None:
    """A terminal's table: what is the same in all rows is said once, above it."""
    console = Console()
    columns = dict(zip(names, zip(*cells, strict=True), strict=True))
    known = [name for name in DESCRIBING if name in columns]
    same = [name for name in known if len(set(columns[name])) == 1 and columns[name][0] != "-"]
    if same:
        console.print(", ".join(f"{name} {columns[name][0]}" for name in same), highlight=False)
    kinds = list(dict.fromkeys(text for text in columns["settings"] if text != "-"))
    if "settings" not in same:
        columns["method"] = tuple(
            method if text == "-" else f"{method} [{kinds.index(text) + 1}]"
            for method, text in zip(columns["method"], columns["settings"], strict=True)
        )
    if "saving" in columns:
        ends = zip(columns["saving"], columns["saving_low"], columns["saving_high"], strict=True)
        columns["saving"] = tuple("-" if value == "-" else f"{value} [{low}, {high}]" for value, low, high in ends)
    apart = (*same, "settings", "saving_low", "saving_high")
    shown = [name for name in names if name not in apart and set(columns[name]) != {"-"}]
    table = Table(*(HEADINGS.get(name, name) for name in shown), box=None, pad_edge=False, padding=(0, 1))
    for row in zip(*(columns[name] for name in shown), strict=True):
        table.add_row(*map(escape, row))
    console.print(table)
    for number, text in enumerate(kinds if "settings" not in same else (), start=1):
        console.print(f"[{number}] {text}", highlight=False, markup=False)
    console.print("GMACs: executed multiply-adds of a video in 1e9, which papers call GFLOPs.", highlight=False)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if not isinstance(value, float):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if value == 0 or abs(value) >= 1e-3 else "<.001"


# Columns of a profile that are written otherwise than as numbers of three digits.
WRITTEN: dict[str, Callable[[Any], str]] = {
    "parameters": lambda count: f"{count / 1e6:.3g} M",
    "again": lambda ratio: f"{abs(ratio - 1):.1%}",
}
