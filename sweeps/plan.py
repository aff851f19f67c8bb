"""The state of every point: records first, then what jobs and attempts tell. Imports no torch."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from bench.attempts import Attempt, read_attempts
from bench.errors import UserError
from bench.experiment import Experiment
from bench.files import is_locked
from bench.record import EVALUATED, find_result, point_folder, training_folder
from sweeps import queue
from sweeps.ledger import Ledger, Submission
from sweeps.queue import Job
from sweeps.triage import Cause, cause_of

log = logging.getLogger(__name__)

State = Literal["done", "running", "queued", "failed", "missing"]
# Of a record, which is written whole or not at all.
END = b"}\n"
STATES: tuple[State, ...] = ("done", "running", "queued", "failed", "missing")


@dataclass(frozen=True)
class Place:
    """Where a point stands in the ledger.

    Attributes:
        id: the scheduler's, of its job.
    """

    submission: Submission
    task: int

    @property
    def id(self) -> str:
        return self.submission.job_of(self.task)


@dataclass(frozen=True)
class Point:
    """One experiment and its state.

    Attributes:
        evaluated: whether all but its times is measured.
        place: the job that is to bring what is missing, or was; None where there is none.
        job: that job as the scheduler tells of it, None where it does not.
        cause: why it failed.
        alive: ids of all its jobs that wait or run.
    """

    experiment: Experiment
    state: State
    evaluated: bool = False
    place: Place | None = None
    job: Job | None = None
    cause: Cause | None = None
    alive: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scheduler:
    """What SLURM said when it was asked.

    Attributes:
        known: whether it could be asked at all.
        queued: jobs that wait or run, by their ids.
        ended: of others what accounting keeps.
    """

    known: bool
    queued: dict[str, Job]
    ended: dict[str, Job]


NO_SCHEDULER = Scheduler(False, {}, {})


def plan(points: Sequence[Experiment], runs: Path, must_know: bool = False) -> list[Point]:
    """The state of each point.

    Args:
        must_know: whether it is an error where SLURM cannot be asked, since something depends on what waits there.

    Raises:
        UserError: for a damaged record, and as said.
    """
    places = places_of(Ledger(runs).read())
    done = {point.experiment_id for point in points if is_done(point, runs)}
    unfinished = [point for point in points if point.experiment_id not in done]
    begun = [point for point in unfinished if point.experiment_id in places]
    scheduler = ask([places[point.experiment_id] for point in begun], must_know)
    gone = [point for point in begun if not _alive(places[point.experiment_id], scheduler.queued)]
    # A job that ended since the first look is no more in the queue, and has left its record.
    done |= {point.experiment_id for point in gone if is_done(point, runs)}
    return [
        Point(point, "done")
        if point.experiment_id in done
        else _unfinished(point, runs, places.get(point.experiment_id, []), scheduler)
        for point in points
    ]


def chosen(points: Sequence[Point], names: Sequence[str]) -> list[Point]:
    """Those whose experiment ids begin so; all where nothing is asked.

    Raises:
        UserError: for a name that no point has.
    """
    for name in names:
        if not any(point.experiment.experiment_id.startswith(name) for point in points):
            raise UserError(f"No point of the recipe has an experiment id that begins with {name!r}; see `sweep plan`.")
    return [point for point in points if not names or point.experiment.experiment_id.startswith(tuple(names))]


def by_training(points: Sequence[Point], recipe: str) -> list[list[Point]]:
    """Points of a training together, the trainings in an order that is drawn from the recipe's name.

    So the time of day, and what else runs then, does not follow what is swept.
    """
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.experiment.training_id, []).append(point)
    groups = list(found.values())
    random.Random(recipe).shuffle(groups)
    return groups


def places_of(submissions: Sequence[Submission]) -> dict[str, list[Place]]:
    """The jobs of each experiment id that were handed over, in their order."""
    found: dict[str, list[Place]] = {}
    for submission in submissions:
        if submission.job and not submission.withdrawn:
            for task, names in enumerate(submission.tasks):
                for name in names:
                    found.setdefault(name, []).append(Place(submission, task))
    return found


def is_done(experiment: Experiment, runs: Path) -> bool:
    """Whether there is a record, by a look that takes microseconds; `afbench check` and reports read all of it.

    Raises:
        UserError: for one that was cut short, or something else in its place.
    """
    try:
        with open(point_folder(runs, experiment) / "result.json", "rb") as file:
            file.seek(-len(END), os.SEEK_END)
            if file.read() == END:
                return True
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return find_result(runs, experiment) is not None  # says what is wrong with it


def is_evaluated(experiment: Experiment, runs: Path) -> bool:
    """Whether all of a point but its times is there, or all of it."""
    return (point_folder(runs, experiment) / EVALUATED).exists() or is_done(experiment, runs)


def ask(groups: Collection[list[Place]], must_know: bool) -> Scheduler:
    """What SLURM says of each point's jobs; nothing is asked where there are none."""
    if not groups:
        return NO_SCHEDULER
    try:
        waiting = queue.queued()
    except UserError as error:
        if must_know:
            raise
        _say_once(f"{error} Until then states are told from files alone: a job that seems to wait may be over.")
        return NO_SCHEDULER
    gone = {place.submission.job for places in groups if not _alive(places, waiting) for place in places}
    return Scheduler(True, waiting, queue.ended(gone))


@cache
def _say_once(words: str) -> None:
    log.warning("%s", words)


def _alive(places: Sequence[Place], queued: dict[str, Job]) -> list[Place]:
    """Those whose jobs wait or run; a job of another cluster, or of somebody's else, may have the same id."""
    return [
        place for place in places if (job := queued.get(place.id)) is not None and job.name == place.submission.token
    ]


def _unfinished(point: Experiment, runs: Path, places: list[Place], scheduler: Scheduler) -> Point:
    """The state of a point without a record."""
    evaluated = (point_folder(runs, point) / EVALUATED).exists()
    alive = _alive(places, scheduler.queued)
    if alive:
        # A training runs while its times wait for it.
        first = min(alive, key=lambda place: scheduler.queued[place.id].waits)
        found = scheduler.queued[first.id]
        ids = tuple(place.id for place in alive)
        return Point(point, "queued" if found.waits else "running", evaluated, first, found, alive=ids)
    place = last_place(places, evaluated)
    job = scheduler.ended.get(place.id) if place else None
    if job is not None and place is not None and job.name != place.submission.token:
        job = None
    folder = training_folder(runs, point)
    last = last_attempt(folder, point.experiment_id)
    if last is not None and last.ended is None and is_locked(folder):
        return Point(point, "running", evaluated, place, job)
    cause = cause_of(of_job(last, place, places), job, log_of(runs, place) if place else None, point.training_id)
    if place is not None and not scheduler.known and (last is None or (cause is not None and cause.kind.is_vague)):
        return Point(point, "queued", evaluated, place, job)  # for all that is known
    if cause is None:
        return Point(point, "missing", evaluated, place, job)
    return Point(point, "failed" if cause.is_failure else "missing", evaluated, place, job, cause)


def last_place(places: Sequence[Place], evaluated: bool) -> Place | None:
    """The last job that was to bring what a point lacks; the one after it never began."""
    return next((place for place in reversed(places) if place.submission.timed == evaluated), None)


def last_attempt(folder: Path, name: str) -> Attempt | None:
    """At the point with this experiment id, of the training in this folder."""
    attempts = [each for each in read_attempts(folder) if name in each.points]
    return attempts[-1] if attempts else None


def of_job(last: Attempt | None, place: Place | None, places: Sequence[Place]) -> Attempt | None:
    """The last attempt unless a later submission never came to one; by the ledger's order, since clocks differ."""
    if last is None or place is None or not last.job or "id" not in last.job:
        return last
    handed = [each.id for each in places]
    if last.job["id"] not in handed:  # of another runs folder's ledger, or started by hand
        return last if last.began > place.submission.time else None
    return last if handed.index(last.job["id"]) >= handed.index(place.id) else None


def log_of(runs: Path, place: Place) -> Path:
    """Where a job writes what goes wrong, and how far it is."""
    return Ledger(runs).jobs_folder(place.submission) / f"{place.id}_0_log.err"
