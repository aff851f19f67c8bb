"""How a sweep goes: what runs and how far it is, what hangs, what waits, what failed, and what is left. No torch."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench.attempts import SKEWED
from bench.errors import UserError
from bench.files import clock_of
from bench.record import Heartbeat, read_heartbeat, training_folder
from sweeps.describe import distinguishing
from sweeps.estimate import Estimate, estimate
from sweeps.ledger import Ledger
from sweeps.plan import STATES, Point
from sweeps.progress import STAGES

# A sign of life is late after the time that so many of those before it took, and never before so many seconds.
LATE = 20
SOONEST = 180.0
# Of a stage that has shown no step yet: the first one reads data, compiles, waits for a file system.
FIRST = 900.0
BEFORE = 15.0  # by which a sign of life may be older than its job seems to be: squeue's seconds are whole, and cached
SILENT = 3600.0  # of timing, during which nothing is written
# How many times the pace of others like it makes a training slow.
SLOW = 3.0
COMPARED = 3  # others, at least

Verdict = Literal["", "slow", "hangs"]


@dataclass(frozen=True)
class Working:
    """A training that somebody works on.

    Attributes:
        point: one of its points.
        points: how many of them are running.
        heartbeat: None where there is none yet of this work.
        silent: seconds since the last sign of life, or since the job began.
        verdict: "hangs" where the next sign is overdue, "slow" where steps come at a fraction of others' pace.
        left: seconds of this stage that are left at its pace; None where it is not known.
        shared: whether it shares its job with other trainings, and so may wait there for its turn.
    """

    point: Point
    points: int
    heartbeat: Heartbeat | None
    silent: float
    verdict: Verdict = ""
    left: float | None = None
    shared: bool = False

    @property
    def doing(self) -> str:
        """In a word or two, what its job does with it."""
        if self.point.job is not None and self.point.job.ends:
            return "ending"
        if self.heartbeat is None:
            return "waits in its job" if self.shared else "in its job"
        return STAGES.get(self.heartbeat.stage, self.heartbeat.stage).partition(",")[0]


@dataclass(frozen=True)
class Status:
    """Of a sweep.

    Attributes:
        names: of the points, in few words.
        clocks: hosts whose clock is apart from the file system's, in seconds.
    """

    points: Sequence[Point]
    names: Sequence[str]
    working: Sequence[Working]
    left: Estimate
    clocks: dict[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """Points in each state."""
        counts = Counter(point.state for point in self.points)
        return {state: counts[state] for state in STATES}

    def of(self, state: str) -> list[tuple[str, Point]]:
        """Names and points in a state."""
        return [(name, point) for name, point in zip(self.names, self.points, strict=True) if point.state == state]

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        working = {each.point.experiment.training_id: each for each in self.working}
        return {
            "counts": self.counts,
            "seconds_left": self.left.total if self.left.past.records or not self.left.seconds else None,
            "seconds_left_unknown_points": self.left.unknown,
            "clocks": self.clocks,
            "points": [
                _values(name, point, working.get(point.experiment.training_id))
                for name, point in zip(self.names, self.points, strict=True)
            ],
        }


def look(points: Sequence[Point], runs: Path) -> Status:
    """How the points of a plan are doing."""
    groups: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        if point.state == "running":
            groups[point.experiment.training_id].append(point)
    now, clocks = _now(runs), dict[str, float]()
    working = [_working(group, runs, now, clocks) for group in groups.values()]
    names = distinguishing([point.experiment for point in points])
    return Status(points, names, _compared(working), estimate(points, runs), clocks)


def _now(runs: Path) -> float:
    """By the clock that stamps the files: nodes have their own."""
    try:
        return clock_of(Ledger(runs).folder)
    except UserError:  # somebody else's folder, or none yet
        return time.time()


def _working(group: Sequence[Point], runs: Path, now: float, clocks: dict[str, float]) -> Working:
    point = group[0]
    path = training_folder(runs, point.experiment) / "heartbeat.json"
    heartbeat, stamped = read_heartbeat(path.parent), _stamp(path)
    running = point.job.seconds if point.job is not None else None
    # What an earlier job left is no sign of this one.
    if heartbeat is None or heartbeat.stage == "done" or (running is not None and now - stamped > running + BEFORE):
        shared = point.place is not None and len(point.place.submission.tasks[point.place.task]) > len(group)
        overdue = running is not None and running > FIRST and not shared
        return Working(point, len(group), None, running or 0.0, "hangs" if overdue else "", shared=shared)
    if abs(heartbeat.time - stamped) > SKEWED:
        clocks[heartbeat.host] = round(heartbeat.time - stamped, 1)
    silent = max(now - stamped, 0.0)
    left = heartbeat.pace * (heartbeat.steps - heartbeat.step) if heartbeat.pace else None
    return Working(point, len(group), heartbeat, silent, "hangs" if silent > _patience(point, heartbeat) else "", left)


def _stamp(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _patience(point: Point, heartbeat: Heartbeat) -> float:
    """Seconds after which a sign of life is overdue."""
    if heartbeat.stage == "time":
        return SILENT
    if not heartbeat.pace:
        return FIRST
    steps = point.experiment.runtime.log_every if heartbeat.stage == "train" else 1
    return max(LATE * steps * heartbeat.pace, SOONEST)


def _compared(working: Sequence[Working]) -> list[Working]:
    """All of them, each beside others of its method, network and stage."""
    paces: dict[object, list[float]] = defaultdict(list)
    for each in working:
        if each.heartbeat is not None:
            paces[_like(each)].append(each.heartbeat.pace)
    usual = {like: median(found) for like, found in paces.items() if like is not None and len(found) > COMPARED}
    return [
        replace(each, verdict="slow")
        if not each.verdict and each.heartbeat and each.heartbeat.pace > SLOW * usual.get(_like(each), math.inf)
        else each
        for each in working
    ]


def _like(one: Working) -> tuple[object, ...] | None:
    if one.heartbeat is None or not one.heartbeat.pace:
        return None
    experiment = one.point.experiment
    return (experiment.model.method, experiment.model.backbone, experiment.model.frames, one.heartbeat.stage)


def _values(name: str, point: Point, working: Working | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": name,
        "experiment_id": point.experiment.experiment_id,
        "training_id": point.experiment.training_id,
        "state": point.state,
        "evaluated": point.state == "done" or point.evaluated,
        "job": point.place.id if point.place else None,
        "scheduler": point.job.state if point.job else None,
        "reason": point.job.reason if point.job else None,
        "nodes": point.job.nodes if point.job else None,
    }
    if point.cause is not None:
        values["cause"] = {
            "kind": point.cause.kind.name,
            "lines": point.cause.lines,
            "log": str(point.cause.log.resolve()) if point.cause.log else None,
            "advice": point.cause.kind.advice,
        }
    if point.state == "running" and working is not None:
        beat = working.heartbeat
        values["progress"] = {
            "stage": beat.stage if beat else None,
            "step": beat.step if beat else None,
            "steps": beat.steps if beat else None,
            "seconds_per_step": beat.pace if beat else None,
            "host": beat.host if beat else None,
            "silent_seconds": round(working.silent, 1),
            "seconds_left_of_stage": working.left,
            "verdict": working.verdict,
        }
    return values
