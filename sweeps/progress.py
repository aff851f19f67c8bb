"""How work is shown: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sweeps.plan import Point, describe

Report = Callable[[str, int, int], None]
STAGES = {"train": "training, step", "evaluate": "evaluating, batch", "time": "timing"}
LINE_SECONDS = 10.0
# Of a terminal's table, which is narrow.
HEADINGS = {"frames": "T", "gmacs": "GMACs", "gmacs_dense": "dense", "parameters": "M params"}


@contextlib.contextmanager
def bars(console: Console) -> Iterator[Progress]:
    """The project's progress bars."""
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        yield progress


@contextlib.contextmanager
def stage_bars() -> Iterator[Report]:
    """A report of one experiment's stages: a bar each on a terminal, a line now and then elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    with bars(console) as progress:
        tasks: dict[str, object] = {}

        def report(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(STAGES[stage], total=of)
            progress.update(tasks[stage], completed=done)  # type: ignore[arg-type]

        yield report


def _lines(console: Console) -> Report:
    said = {"at": 0.0}

    def report(stage: str, done: int, of: int) -> None:
        now = time.monotonic()
        if done == of or now - said["at"] > LINE_SECONDS:
            said["at"] = now
            console.print(f"{STAGES[stage]} {done} of {of}", highlight=False)

    return report


def print_rows(values: list[dict[str, Any]], form: str) -> None:
    """Profiles as a table on the terminal, or as md, csv or json, with every digit."""
    if form == "json":
        print(json.dumps(values, indent=1))
        return
    names = list(values[0])
    if form == "csv":
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(values)
        return
    cells = [[_cell(value) for value in row.values()] for row in values]
    if form == "md":
        for line in (names, ["---"] * len(names), *cells):
            print("| " + " | ".join(line) + " |")
        return
    table = Table(*(HEADINGS.get(name, name) for name in names), box=None, pad_edge=False)
    for row in cells:
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print("GMACs: executed multiply-adds of a video in 1e9, which papers call GFLOPs.", highlight=False)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def print_plan(points: list[Point]) -> None:
    """A table of the points and their states."""
    table = Table("point", "state", "training", "experiment")
    for point in points:
        table.add_row(
            describe(point.experiment), point.state, point.experiment.training_id, point.experiment.experiment_id
        )
    console = Console()
    console.print(table)
    done = sum(point.state == "done" for point in points)
    console.print(f"{done} of {len(points)} points are done.", highlight=False)
