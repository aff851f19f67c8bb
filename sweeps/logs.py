"""The logs of a sweep's jobs: their ends, or as they grow. Imports no torch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.attempts import read_attempts
from bench.errors import UserError
from bench.record import training_folder
from sweeps.plan import Point, log_of, plan

POLL_SECONDS = 0.5
LOOK_SECONDS = 10.0  # between two looks at whether the jobs go on
WIDEST = 20_000  # bytes of a log's end that are looked at for its last lines, for each line wanted


def print_logs(points: Sequence[Point], runs: Path, lines: int, following: bool) -> None:
    """Of points: a heading and the last lines of each log, then, where that is wanted, what is written to them.

    Raises:
        UserError: where there is none.
    """
    logs = logs_of(points, runs)
    if not logs and not (following and any(point.state == "queued" for point in points)):
        raise UserError(
            f"None of the {len(points)} points has a log; expected points that were begun (`sweep plan` shows them), "
            "whose logs were not moved away."
        )
    for path, group in logs.items():
        print(f"==> {', '.join(point.experiment.experiment_id for point in group)}: {path}")
        if path.exists() or not following:
            for line in last_lines(path, lines):
                print(line)
    experiments = [point.experiment for point in points]

    def look() -> tuple[list[Path], bool]:
        found = plan(experiments, runs)
        logs.update(logs_of(found, runs))
        return list(logs), any(point.state in ("running", "queued") for point in found)

    for path, line in follow(list(logs), look) if following else ():
        print(f"{logs[path][0].experiment.experiment_id[:8]} | {line}", flush=True)


def logs_of(points: Sequence[Point], runs: Path) -> dict[Path, list[Point]]:
    """Each log with its points, in their order; points without one are left out."""
    found: dict[Path, list[Point]] = {}
    for point in points:
        path = _log(point, runs)
        if path is not None:
            # However the folder is called: attempts name it otherwise than whoever looks.
            found.setdefault(path.resolve(), []).append(point)
    return found


def _log(point: Point, runs: Path) -> Path | None:
    if point.cause is not None and point.cause.log is not None:
        return point.cause.log
    if point.place is not None:
        return log_of(runs, point.place)
    attempts = read_attempts(training_folder(runs, point.experiment))
    for attempt in reversed([each for each in attempts if point.experiment.experiment_id in each.points]):
        said = ((attempt.job or {}).get("submission") or {}).get("log")
        if said:
            return Path(said)
    return None


def last_lines(path: Path, count: int) -> list[str]:
    """The end of a log.

    Raises:
        UserError: where it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - count * WIDEST, 0))
            return list(deque(file.read().decode(errors="replace").splitlines(), maxlen=count))
    except OSError as error:
        raise UserError(
            f"The log {path} cannot be read ({error.strerror}); expected it where its job wrote it. A job that waits "
            "has none yet."
        ) from error


def follow(paths: Sequence[Path], look: Callable[[], tuple[Sequence[Path], bool]]) -> Iterator[tuple[Path, str]]:
    """Lines as they are written, from the end of what is there; what is not there yet is waited for.

    Args:
        look: asked now and then: which files there are, those that are new being read from their beginning, and whether
            to go on; the rest is read when it says no.
    """
    places = {path: path.stat().st_size if path.exists() else 0 for path in paths}
    begun = dict.fromkeys(paths, b"")
    looked, last = time.monotonic(), False
    while True:
        for path in list(places):
            content = _since(path, places[path])
            places[path] += len(content)
            *whole, begun[path] = (begun[path] + content).split(b"\n")
            for line in whole:
                yield path, line.decode(errors="replace")
        if last:
            return
        if time.monotonic() - looked > LOOK_SECONDS:
            found, more = look()
            looked, last = time.monotonic(), not more
            for path in found:
                places.setdefault(path, 0)
                begun.setdefault(path, b"")
        time.sleep(POLL_SECONDS)


def _since(path: Path, place: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(place)
            return file.read()
    except FileNotFoundError:
        return b""
