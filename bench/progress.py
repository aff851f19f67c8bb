"""How long work is shown: a bar on a terminal, plain lines in a log. Imports no torch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_SECONDS = 10.0


@contextlib.contextmanager
def bars(console: Console, *more: ProgressColumn) -> Iterator[Progress]:
    """The project's progress bars, with more columns where wanted."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), *more)
    with Progress(*columns, console=console) as progress:
        yield progress


def lines(console: Console) -> Callable[[str, int, int], None]:
    """For a log: a line of what is counted, how many are done and of how many; at its end, and now and then."""
    last = 0.0

    def line(what: str, done: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == of or now - last > LINE_SECONDS:
            last = now
            console.print(f"{what} {done} of {of}", highlight=False)

    return line


@contextlib.contextmanager
def counting(text: str) -> Iterator[Callable[[int, int], None]]:
    """A report of how many of how many are done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        say = lines(console)
        yield lambda done, of: say(f"{text}:", done, of)
        return
    # The frames of a large data set take a day.
    with bars(console, TextColumn("left:"), TimeRemainingColumn()) as progress:
        task = progress.add_task(text)
        yield lambda done, of: progress.update(task, completed=done, total=of)
