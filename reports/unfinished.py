"""Points that a runs folder began and that have no record: which, how far they got, and what ended the work on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.attempts import read_attempts
from bench.errors import UserError
from bench.experiment import from_dict
from bench.files import read_text
from bench.record import EVALUATED, read_heartbeat
from bench.settings import KNOBS
from bench.words import counted
from reports.labels import knobs_of, title
from reports.load import point_label

LISTED = 200  # of trainings, and of damaged records; the others are counted
NAMED = 12  # points of one
CUT = 400  # characters of a cause
# What a sign of life says of a point that has no record, where it says how far it is.
STAGES = {"train": "training, step", "validate": "validating, batch", "evaluate": "evaluating, batch"}

Explain = Callable[[Path, Path, str], str]
"""What ended the work on a point, by runs folder, folder of its training and experiment id; "" where nothing did."""


@dataclass(frozen=True)
class Unfinished:
    """A training of which points have no record.

    Attributes:
        name: method, point and seed.
        place: <dataset>/<method>/<training_id>.
        points: ids of its experiments without a record.
        evaluated: how many of these lack only their times.
        reached: the last sign of life, in words; "" where it says nothing of how far they are.
        causes: by experiment id, of those of which it is known, what ended the work on them.
    """

    name: str
    place: str
    points: tuple[str, ...]
    evaluated: int
    reached: str
    causes: dict[str, str]

    @property
    def text(self) -> str:
        """All of it in one line."""
        named = ", ".join(self.points[:NAMED]) + (", ..." if len(self.points) > NAMED else "")
        parts = [f"{self.name} ({self.place}): {counted(len(self.points), 'point')} without a record ({named})"]
        some = f"{self.evaluated} of them " if self.evaluated < len(self.points) else ""
        parts += [f"{some}measured but for times"] if self.evaluated else []
        parts += [self.reached] if self.reached else []
        parts += list(dict.fromkeys(self.causes.values())) or ["no failure is known"]
        return "; ".join(parts)


def _lack(count: int) -> str:
    return "lacks" if count == 1 else "lack"


def last_error(runs: Path, folder: Path, name: str) -> str:
    """As a training's attempts alone tell."""
    attempts = [each for each in read_attempts(folder) if name in each.points]
    error = attempts[-1].error if attempts else None
    return "" if error is None else f"{error['kind']}: {error['text']}"


def find_unfinished(runs: Sequence[Path], recorded: Collection[str], explain: Explain) -> list[Unfinished]:
    """Trainings of which points were begun and have no record, in the order of their folders.

    Args:
        recorded: ids of experiments whose records are at hand, wherever.
    """
    known = set(recorded)
    return [
        found
        for folder in runs
        for training in sorted(_trainings(folder))
        for found in [_look(folder, training, known, explain)]
        if found.points
    ]


def _trainings(runs: Path) -> Iterator[Path]:
    """Folders of trainings; what the launcher keeps is hidden."""
    level = [runs]
    for _ in ("data set", "method", "training"):
        level = [folder / name for folder in level for name in _inside(folder) if (folder / name).is_dir()]
    yield from level


def _inside(folder: Path) -> list[str]:
    """Of what is in a folder, without what is hidden; none where it is no folder that can be read."""
    try:
        return [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []


def _look(runs: Path, folder: Path, recorded: set[str], explain: Explain) -> Unfinished:
    begun = set(_inside(folder / "points"))
    begun |= {name for each in read_attempts(folder) for name in each.points}
    missing = [name for name in sorted(begun - recorded) if not (folder / "points" / name / "result.json").exists()]
    if not missing:
        return Unfinished("", "", (), 0, "", {})
    causes = {name: _cut(explain(runs, folder, name)) for name in missing}
    return Unfinished(
        name=_name(folder),
        place=folder.relative_to(runs).as_posix(),
        points=tuple(missing),
        evaluated=sum((folder / "points" / name / EVALUATED).exists() for name in missing),
        reached=_reached(folder),
        causes={name: text for name, text in causes.items() if text},
    )


def _name(folder: Path) -> str:
    """As its description says; the method's name where there is none that can be read."""
    path = folder / "experiment.json"
    try:
        experiment = from_dict(json.loads(read_text(path)), str(path))
    except (OSError, ValueError, RecursionError, UserError):
        return folder.parent.name
    knobs = {name: knobs_of(experiment).get(name) for name in KNOBS}
    point = point_label({"frames": experiment.model.frames, **knobs})
    return f"{title(experiment)} {point}, seed {experiment.training.seed}"


def _reached(folder: Path) -> str:
    beat = read_heartbeat(folder)
    if beat is None or beat.stage not in STAGES:
        return "it was being timed" if beat is not None and beat.stage == "time" else ""
    return f"last seen {STAGES[beat.stage]} {beat.step} of {beat.steps}"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= CUT else f"{text[:CUT]} ..."


def summary(found: Sequence[Unfinished]) -> str:
    """In words, how many; "" where there are none."""
    if not found:
        return ""
    points = sum(len(each.points) for each in found)
    timed, ended = sum(each.evaluated for each in found), sum(len(each.causes) for each in found)
    have = "has" if points == 1 else "have"
    text = f"{counted(points, 'point')} of {counted(len(found), 'training')} {have} no record"
    text += f"; {timed} of them {_lack(timed)} only times" if timed else ""
    return text + (f"; of {ended} it is known what ended the work" if ended else "")


def listed(texts: Sequence[str], name: str) -> list[str]:
    """LISTED of them at most, and how many more there are."""
    more = len(texts) - LISTED
    return [*texts[:LISTED], f"And {counted(more, name)} more."] if more > 0 else list(texts)
