"""Who worked on a training, when, where, from which source, and how it ended: a line when it began, one at its end.

An attempt without an end was killed, or goes on. Imports no torch.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.environment import describe_job, source_patch, source_version
from bench.files import append_line, clock_of, make_folder, read_lines, write_text

log = logging.getLogger(__name__)

FILE = "attempts.jsonl"
SOURCES = "source"


@dataclass(frozen=True)
class Attempt:
    """One process's work on a training and its points.

    Attributes:
        began: seconds since 1970.
        host: it ran on.
        job: of a scheduler, as `describe_job` gives it; None outside of one.
        source: as `source_version` gives it; the patch is in SOURCES/<its digest>.diff.
        points: experiment ids that were to be brought to their records.
        clock: seconds by which the host's clock is ahead of the file system's, which machines share.
        ended: seconds since 1970; None where it was killed or goes on.
        error: kind and text of what ended it; None where nothing did.
    """

    number: int
    began: float
    host: str
    job: dict[str, Any] | None
    source: dict[str, Any]
    points: tuple[str, ...]
    ended: float | None = None
    error: dict[str, str] | None = None
    clock: float = 0.0


# Seconds between two clocks from which times of different machines cannot be compared.
SKEWED = 60.0


@contextlib.contextmanager
def attempt(folder: Path, points: Sequence[str]) -> Iterator[None]:
    """Leave the lines of an attempt around the work; for the holder of the folder's lock."""
    number = len(read_attempts(folder)) + 1
    source = source_version()
    if source["patch"]:
        path = folder / SOURCES / f"{source['patch']}.diff"
        if not path.exists():
            make_folder(path.parent)
            write_text(path, source_patch())
    clock = round(time.time() - clock_of(folder), 1)
    if abs(clock) > SKEWED:
        log.warning(
            "The clock of %s is %+.0f s off that of the file system of %s.", socket.gethostname(), clock, folder
        )
    begun = Attempt(number, time.time(), socket.gethostname(), describe_job(), source, tuple(points), clock=clock)
    values = {name: value for name, value in asdict(begun).items() if name not in ("ended", "error")}
    append_line(folder / FILE, json.dumps(values))
    error: dict[str, str] | None = None
    try:
        yield
    except BaseException as exception:
        error = {"kind": type(exception).__name__, "text": str(exception)}
        raise
    finally:
        # What is wrong was said already; a full disk does not hide it.
        with contextlib.suppress(Exception):
            append_line(folder / FILE, json.dumps({"number": number, "ended": time.time(), "error": error}))


def read_attempts(folder: Path) -> list[Attempt]:
    """Attempts at a training, in order; lines that a kill cut short are left out.

    Raises:
        UserError: where the file is there and cannot be read.
    """
    found: dict[int, dict[str, Any]] = {}
    for line in read_lines(folder / FILE):
        try:
            values = json.loads(line)
            found.setdefault(int(values["number"]), {}).update(values)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return [_attempt(values) for values in found.values() if {"began", "points"} <= set(values)]


def _attempt(values: dict[str, Any]) -> Attempt:
    return Attempt(
        number=int(values["number"]),
        began=float(values["began"]),
        host=str(values.get("host", "")),
        job=values.get("job"),
        source=values.get("source") or {},
        points=tuple(values["points"]),
        ended=values.get("ended"),
        error=values.get("error"),
        clock=float(values.get("clock", 0.0)),
    )
