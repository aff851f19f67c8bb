"""The points of a sweep on a terminal, line by line. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sweeps.describe import distinguishing
from sweeps.ledger import FOLDER
from sweeps.plan import STATES, Point
from sweeps.slurm import Handed, script_of


def print_plan(points: list[Point]) -> None:
    """A line for each point, with its state and ids; plain text, since rich takes seconds for ten thousand."""
    experiments = [point.experiment for point in points]
    rows = [("point", "state", "training", "experiment")]
    for name, point in zip(distinguishing(experiments), points, strict=True):
        rows.append((name, point.state, point.experiment.training_id, point.experiment.experiment_id))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    trainings = len({experiment.training_id for experiment in experiments})
    done = sum(point.state == "done" for point in points)
    print(f"{done} of {len(points)} points are done{_others(points)}; they take {trainings} trainings.")


def _others(points: Sequence[Point]) -> str:
    """How many are in the states between none and done."""
    counts = Counter(point.state for point in points)
    return "".join(f", {counts[state]} {state}" for state in ("running", "queued", "failed") if counts[state])


def print_submission(handed: Handed, runs: Path, dry: bool) -> None:
    """What was handed over, or in a dry run what would be, as sbatch gets it."""
    for array, submission in handed.arrays:
        if dry:
            print(script_of(array, runs / FOLDER / "afbench-TOKEN"))
        what = "times" if array.timed else "trainings"
        points = sum(map(len, array.tasks))
        after = ", each after its training" if array.after else ""
        name = f"job {submission.job}" if submission else "an array"
        print(f"{name}: {len(array.tasks)} {what} of {points} points{after}")
    counts = Counter(point.state for point in handed.points)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    print(f"{len(handed.points)} points were {states}. {'Nothing was submitted.' if dry or not handed.arrays else ''}")


def print_triage(points: Sequence[Point]) -> None:
    """A paragraph for each point that failed."""
    failed = [point for point in points if point.cause is not None and point.state == "failed"]
    names = dict(zip(points, distinguishing([point.experiment for point in points]), strict=True))
    for point in failed:
        assert point.cause is not None
        where = f" ({point.place.id})" if point.place else ""
        print(f"{names[point]} {point.experiment.experiment_id}{where}: {point.cause.kind.name}")
        for line in point.cause.lines:
            print(f"    {line}")
        print(f"    -> {point.cause.kind.advice}; log: {point.cause.log or 'none'}")
    print(f"{len(failed)} of {len(points)} points failed.")
