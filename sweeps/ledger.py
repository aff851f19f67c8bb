"""What was submitted: a line before a submission and one after it, so that one cut short by a kill can be told.

    runs/.sweep/submissions.jsonl     runs/.sweep/<token>/     submitit's files and the logs of a submission's jobs

Results never depend on it: a point is done when its record is there. Imports no torch.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.files import append_line, locked, make_folder, read_lines

FOLDER = ".sweep"
FILE = "submissions.jsonl"


@dataclass(frozen=True)
class Submission:
    """Jobs that were handed over together.

    Attributes:
        token: its name, which its jobs carry too.
        time: seconds since 1970.
        timed: as of `sweeps.job.Work`.
        tasks: experiment ids of each job.
        job: the scheduler's id of the job or array; "" where it was not handed over, or nobody noted that.
        withdrawn: whether it was taken back.
        trainings: ids of those of each job; none in the ledgers of before.
    """

    token: str
    time: float
    cluster: str
    recipe: str
    timed: bool
    tasks: tuple[tuple[str, ...], ...]
    job: str = ""
    withdrawn: bool = False
    trainings: tuple[tuple[str, ...], ...] = ()

    def job_of(self, task: int) -> str:
        """The scheduler's id of one job; that of a lone one is no array's."""
        return f"{self.job}_{task}" if len(self.tasks) > 1 else self.job


class Ledger:
    """The submissions of a runs folder; one launcher at a time writes, the one that holds it."""

    def __init__(self, runs: Path) -> None:
        self.folder = runs / FOLDER

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other launchers out.

        Raises:
            UserError: where the folder cannot be written to.
        """
        make_folder(self.folder)
        with locked(self.folder, waiting=f"Another submission into {self.folder.parent} is under way; waiting for it."):
            yield

    def read(self) -> list[Submission]:
        """In their order; lines that a kill cut short are left out."""
        found: dict[str, dict[str, Any]] = {}
        for line in read_lines(self.folder / FILE):
            try:
                values = json.loads(line)
                found.setdefault(str(values["token"]), {}).update(values)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return [_submission(values) for values in found.values() if "tasks" in values]

    def begin(
        self,
        cluster: str,
        recipe: str,
        timed: bool,
        tasks: Sequence[Sequence[str]],
        trainings: Sequence[Sequence[str]] = (),
    ) -> Submission:
        """Note what is about to be handed over."""
        token = f"afbench-{secrets.token_hex(5)}"
        each = tuple(map(tuple, trainings))
        made = Submission(token, time.time(), cluster, recipe, timed, tuple(map(tuple, tasks)), trainings=each)
        values = {
            "token": token,
            "time": made.time,
            "cluster": cluster,
            "recipe": recipe,
            "timed": timed,
            "tasks": made.tasks,
            "trainings": made.trainings,
        }
        append_line(self.folder / FILE, json.dumps(values))
        return made

    def handed_over(self, submission: Submission, job: str) -> None:
        """Note the scheduler's id."""
        append_line(self.folder / FILE, json.dumps({"token": submission.token, "job": job}))

    def withdraw(self, submission: Submission) -> None:
        """Note that its jobs are gone, or never were."""
        append_line(self.folder / FILE, json.dumps({"token": submission.token, "withdrawn": True}))

    def jobs_folder(self, submission: Submission) -> Path:
        """Of submitit's files and the logs."""
        return self.folder / submission.token


def _submission(values: dict[str, Any]) -> Submission:
    return Submission(
        token=str(values["token"]),
        time=float(values.get("time", 0)),
        cluster=str(values.get("cluster", "")),
        recipe=str(values.get("recipe", "")),
        timed=bool(values.get("timed")),
        tasks=tuple(tuple(map(str, task)) for task in values["tasks"]),
        job=str(values.get("job", "")),
        withdrawn=bool(values.get("withdrawn", False)),
        trainings=tuple(tuple(map(str, task)) for task in values.get("trainings", ())),
    )
