"""The points of a sweep on a terminal, line by line. Imports no torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.words import counted
from sweeps.describe import distinguishing
from sweeps.estimate import Estimate, estimate, in_words
from sweeps.ledger import FOLDER
from sweeps.plan import STATES, Point

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from sweeps.slurm import Handed
    from sweeps.status import Status

BAR = 60  # characters
TOKEN = "afbench-TOKEN"  # of a submission that was not made


def print_plan(points: list[Point], runs: Path) -> None:
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
    print(
        f"{done} of {counted(len(points), 'point')} done{_others(points)}; they take {counted(trainings, 'training')}."
    )
    for line in _ended(points):
        print(line)
    if done < len(points):
        print(_said(estimate(points, runs)))


def _others(points: Sequence[Point]) -> str:
    """How many are in the states between none and done."""
    counts = Counter(point.state for point in points)
    return "".join(f", {counts[state]} {state}" for state in ("running", "queued", "failed") if counts[state])


def _said(left: Estimate) -> str:
    """How long the rest takes, and by what that is known."""
    past = left.past
    if not past.records:
        return "How long they take is not known: there is no record of the data set in this folder to go by."
    unknown = f"; {counted(left.unknown, 'point')} on networks without a record on top" if left.unknown else ""
    return (
        f"About {in_words(left.total)} on {past.device} are left (training, evaluation, timing), going by "
        f"{counted(past.records, 'record')}{unknown}."
    )


def print_submission(handed: Handed, runs: Path, dry: bool) -> None:
    """What was handed over, or in a dry run what would be, as sbatch gets it."""
    from sweeps.slurm import script_of

    for array, submission in handed.arrays:
        what = "times" if array.timed else "trainings"
        points = sum(map(len, array.tasks))
        after = ", each after its training" if array.after else ""
        after += f", after job {array.behind}, which is at the same training" if array.behind else ""
        name = f"job {submission.job}" if submission else "an array"
        print(f"{name}: {what} of {counted(points, 'point')} in {counted(len(array.tasks), 'job')}{after}")
        if dry:
            print(script_of(array, runs / FOLDER / TOKEN, TOKEN, "JOB" if array.after else ""))
    counts = Counter(point.state for point in handed.points)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    nothing = "" if handed.arrays and not dry else " Nothing was submitted."
    print(f"{counted(len(handed.points), 'point')}: {states}.{nothing}")
    taken = {point.experiment_id for array, _ in handed.arrays for task in array.tasks for point in task}
    left = sum(point.state == "failed" and point.experiment.experiment_id not in taken for point in handed.points)
    if left:
        print(f"Left for --retry: {counted(left, 'failed point')} (`sweep triage` says why).")
    ending = sum(point.job is not None and point.job.ends for point in handed.points)
    if ending:
        print(f"{counted(ending, 'point')} of jobs that still end: submit again when they have.")


def print_triage(points: Sequence[Point]) -> None:
    """A paragraph for each training that failed, with its points."""
    names = distinguishing([point.experiment for point in points])
    failed: dict[object, list[tuple[str, Point]]] = defaultdict(list)
    for name, point in zip(names, points, strict=True):
        if point.state == "failed" and point.cause is not None:
            failed[point.experiment.training_id, point.cause].append((name, point))
    for group in failed.values():
        point = group[0][1]
        assert point.cause is not None
        for name, each in group:
            print(f"{name} {each.experiment.experiment_id}{f' ({each.place.id})' if each.place else ''}")
        print(f"    {point.cause.kind.name}:")
        for line in point.cause.lines:
            print(f"    {line}")
        print(f"    -> {point.cause.kind.advice}; log: {point.cause.log or 'none'}")
    print(f"{sum(map(len, failed.values()))} of {counted(len(points), 'point')} failed.")
    for line in _ended(points):
        print(line)


# --- Status -----------------------------------------------------------------------------------------------------------


def status_view(status: Status, rows: int) -> RenderableType:
    """Of a sweep, for a terminal: what runs, what is wrong, how much is left.

    Args:
        rows: of a table, at most.
    """
    from rich.console import Group
    from rich.text import Text

    counts = status.counts
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    filled = BAR * counts["done"] // len(status.points)
    parts: list[RenderableType] = [
        Text(f"{counted(len(status.points), 'point')}: {said}"),
        Text("█" * filled + "░" * (BAR - filled)),
    ]
    if status.working:
        parts.append(_working_table(status, rows))
    parts += [
        Text(line) for line in (*_waiting(status), *_ended(status.points), *_failures(status, rows), *_clocks(status))
    ]
    if counts["done"] < len(status.points):
        parts.append(Text(_said(status.left)))
    return Group(*parts)


def _working_table(status: Status, rows: int) -> Table:
    from rich.markup import escape
    from rich.table import Table

    names = {point.experiment.experiment_id: name for name, point in zip(status.names, status.points, strict=True)}
    table = Table("running", "job", "on", "stage", "step", "s/step", "left", "last sign", box=None, pad_edge=False)
    # What needs somebody comes first.
    order = sorted(status.working, key=lambda each: ("hangs", "slow", "").index(each.verdict))
    for each in order[:rows]:
        beat, point = each.heartbeat, each.point
        name = names[point.experiment.experiment_id] + (f" +{each.points - 1}" if each.points > 1 else "")
        sign = f"{in_words(each.silent)} ago" if beat else "none yet"
        table.add_row(
            escape(name),
            point.place.id if point.place and point.job else "here",
            escape(beat.host if beat else (point.job.nodes if point.job else "")),
            each.doing,
            f"{beat.step}/{beat.steps}" if beat else "",
            f"{beat.pace:.3g}" if beat and beat.pace else "",
            in_words(each.left) if each.left is not None else "",
            sign + (f", {each.verdict}" if each.verdict else ""),
            style={"hangs": "bold red", "slow": "yellow", "": None}[each.verdict],
        )
    if len(order) > rows:
        table.add_row(f"and {len(order) - rows} more (--rows)")
    return table


def _waiting(status: Status) -> list[str]:
    reasons = Counter(
        (point.job.reason or "the scheduler's next look") if point.job else "what only SLURM could tell"
        for _, point in status.of("queued")
    )
    if not reasons:
        return []
    lines = ["waiting: " + ", ".join(f"{count} for {reason}" for reason, count in reasons.most_common())]
    hopeless = Counter(point.job.reason for _, point in status.of("queued") if point.job and point.job.is_hopeless)
    if hopeless:
        why = ", ".join(f"{count} for {reason}" for reason, count in hopeless.most_common())
        lines.append(f"will not begin by itself: {why} -> `sweep cancel`, then submit with what the cluster allows")
    return lines


def _ended(points: Sequence[Point]) -> list[str]:
    """What was begun and is to be submitted again, by what ended it: the same words wherever points are told of."""
    ended = Counter(point.cause.kind.name for point in points if point.state == "missing" and point.cause is not None)
    if not ended:
        return []
    return [
        "of the missing: "
        + ", ".join(f"{count} {kind}" for kind, count in ended.most_common())
        + " -> submit again to go on"
    ]


def _failures(status: Status, rows: int) -> list[str]:
    """A line for each kind of failure, with what to do."""
    kinds: dict[str, list[str]] = defaultdict(list)
    advice = {}
    for name, point in status.of("failed"):
        assert point.cause is not None
        kinds[point.cause.kind.name].append(name)
        advice[point.cause.kind.name] = point.cause.kind.advice
    return [
        f"failed, {kind}: {'; '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} -> "
        f"{advice[kind]} (`sweep triage` has the logs' lines)"
        for kind, names in list(kinds.items())[:rows]
    ]


def _clocks(status: Status) -> list[str]:
    return [
        f"The clock of {host} is {seconds:+.0f} s off the file system's." for host, seconds in status.clocks.items()
    ]
