"""Why points have no record, as the files of a runs folder tell: no scheduler is asked. Imports no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.attempts import Attempt
from bench.errors import UserError
from bench.files import is_locked
from bench.record import EVALUATED
from sweeps.ledger import Ledger
from sweeps.plan import Place, last_attempt, last_place, log_of, of_job, places_of
from sweeps.triage import Cause, cause_of


class Causes:
    """What ended the work on a point, in words; "" where nothing is known to have."""

    def __init__(self) -> None:
        self._places: dict[Path, dict[str, list[Place]]] = {}

    def __call__(self, runs: Path, folder: Path, name: str) -> str:
        """Of the point with this experiment id, in the folder of its training."""
        if runs not in self._places:
            self._places[runs] = places_of(Ledger(runs).read())
        places = self._places[runs].get(name, [])
        place = last_place(places, (folder / "points" / name / EVALUATED).exists())
        last = last_attempt(folder, name)
        if last is None or (last.ended is None and _goes_on(folder)):
            return ""
        log = log_of(runs, place) if place else None
        cause = cause_of(of_job(_confined(last, runs), place, places), None, log, folder.name)
        return "" if cause is None else _words(cause)


def _goes_on(folder: Path) -> bool:
    try:
        return is_locked(folder)
    except UserError:  # somebody else's folder
        return False


def _confined(attempt: Attempt, runs: Path) -> Attempt:
    """Without a log outside of the runs folder, which whoever sent the folder may have named as they liked."""
    job = attempt.job or {}
    submission = job.get("submission") or {}
    if not submission.get("log") or Path(submission["log"]).resolve().is_relative_to(runs.resolve()):
        return attempt
    return replace(attempt, job={**job, "submission": {**submission, "log": None}})


def _words(cause: Cause) -> str:
    if cause.kind.name == "killed" and not cause.lines:
        return "no end was noted: it was killed, or goes on elsewhere"
    said = f": {'; '.join(cause.lines)}" if cause.lines else ""
    return f"{'failed, ' if cause.is_failure else ''}{cause.kind.name}{said} -> {cause.kind.advice}"
