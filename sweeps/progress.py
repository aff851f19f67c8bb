"""How work is shown: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sweeps.plan import Point, describe

Report = Callable[[str, int, int], None]
STAGES = {"train": "training, step", "evaluate": "evaluating, batch", "time": "timing"}
LINE_SECONDS = 10.0


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
