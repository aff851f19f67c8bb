"""The annotation files that data sets are published with, and the videos that they are about. Imports no torch."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.data.known import Known
from bench.data.own import VIDEOS
from bench.errors import UserError


@dataclass(frozen=True)
class Listed:
    """A video as the annotations have it.

    Attributes:
        name: of its frames' folder in the prepared data set.
        files: what its file may be called, without what comes after the last dot; the likeliest first.
        labels: indices of its classes.
        split: "train" or "val".
    """

    name: str
    files: tuple[str, ...]
    labels: tuple[int, ...]
    split: str


@dataclass(frozen=True)
class Found:
    """What annotation files say.

    Attributes:
        files: SHA-256 of each that was read, by its name.
    """

    classes: tuple[str, ...]
    videos: tuple[Listed, ...]
    files: Mapping[str, str]


class _Files:
    """The annotation files of a folder, found by what their names end with, digests kept."""

    def __init__(self, known: Known, folder: Path) -> None:
        self.known, self.folder = known, folder
        self.digests: dict[str, str] = {}
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder}; expected one with {known.annotations}.")

    def text(self, *endings: str) -> str:
        """Of the one file whose name ends with the first of these endings that one has."""
        for ending in endings:
            found = sorted(path for path in self.folder.iterdir() if path.name.lower().endswith(ending))
            if len(found) > 1:
                raise UserError(
                    f"{self.folder} has {', '.join(path.name for path in found)}; expected one file that ends with "
                    f"{ending}."
                )
            if found:
                self.path = found[0]
                try:
                    data = found[0].read_bytes()
                    self.digests[found[0].name] = hashlib.sha256(data).hexdigest()
                    return data.decode("utf-8-sig")
                except (OSError, UnicodeDecodeError) as error:
                    raise UserError(f"{found[0]} cannot be read ({error}); expected a text file.") from error
        raise UserError(
            f"{self.folder} has no file that ends with {' or '.join(endings)}; expected {self.known.annotations}."
        )

    def rows(self, *endings: str, separator: str) -> Iterator[tuple[str, list[str]]]:
        """Where it is and its columns, for each line that is not empty."""
        text = self.text(*endings)
        for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=separator), start=1):
            if row:
                yield f"{self.path}, line {number}", [column.strip() for column in row]

    def json(self, *endings: str) -> Any:
        """Parsed."""
        text = self.text(*endings)
        try:
            return json.loads(text)
        except ValueError as error:
            raise UserError(f"{self.path} is no JSON file ({error}).") from error

    def wrong(self, found: object, expected: str) -> UserError:
        """The error for a file of another form."""
        return UserError(f"{self.path} is not as it is published: found {found!r:.200}, expected {expected}.")


def read_annotations(known: Known, folder: Path) -> Found:
    """What the annotation files of a known data set say.

    Raises:
        UserError: for files that are missing, double, or of another form, and labels that are no class.
    """
    files = _Files(known, folder)
    classes, videos = PARSERS[known.parser](files)
    if len(classes) != known.classes:
        raise UserError(f"{folder} has {len(classes)} classes; {known.title} has {known.classes}.")
    return Found(classes, tuple(videos), files.digests)


Parsed = tuple[tuple[str, ...], list[Listed]]


def _semicolons(files: _Files) -> Parsed:
    """Something-Something V1 and Jester: a line a class, then lines `id;label`."""
    classes = tuple(columns[0] for _, columns in files.rows("labels.csv", separator=";"))
    number = {name: index for index, name in enumerate(classes)}
    videos = []
    for split, endings in (("train", ("train.csv",)), ("val", ("validation.csv",))):
        for where, columns in files.rows(*endings, separator=";"):
            if len(columns) != 2 or columns[1] not in number:
                raise UserError(
                    f"{where} is {';'.join(columns)!r}; expected an id, a semicolon and one of the classes."
                )
            videos.append(Listed(columns[0], (columns[0],), (number[columns[1]],), split))
    return classes, videos


def _templates(files: _Files) -> Parsed:
    """Something-Something V2: labels by template, and a list of videos with templates that have brackets."""
    labels = files.json("labels.json")
    if not isinstance(labels, dict):
        raise files.wrong(labels, 'an object such as {"Holding something": "0"}')
    classes = tuple(sorted(labels, key=lambda name: int(labels[name])))
    number = {name: index for index, name in enumerate(classes)}
    videos = []
    for split, ending in (("train", "train.json"), ("val", "validation.json")):
        for entry in files.json(ending):
            try:
                name, template = str(entry["id"]), entry["template"].replace("[", "").replace("]", "")
                videos.append(Listed(name, (name,), (number[template],), split))
            except (KeyError, TypeError, AttributeError) as error:
                raise files.wrong(
                    entry, f"id and a template of the labels ({type(error).__name__}: {error})"
                ) from error
    return classes, videos


def _activitynet(files: _Files) -> Parsed:
    """ActivityNet v1.3: a database of videos with their segments; the test videos have no labels."""
    database = files.json("activity_net.v1-3.min.json", ".json").get("database")
    if not isinstance(database, dict):
        raise files.wrong(database, "an object under database")
    splits = {"training": "train", "validation": "val"}
    try:
        used = {name: entry for name, entry in database.items() if entry["subset"] in splits and entry["annotations"]}
        labels = {
            name: list(dict.fromkeys(each["label"] for each in entry["annotations"])) for name, entry in used.items()
        }
    except (KeyError, TypeError) as error:
        raise files.wrong(error, "subset and annotations with labels in every entry of database") from error
    classes = tuple(sorted({label for own in labels.values() for label in own}))
    number = {name: index for index, name in enumerate(classes)}
    videos = [
        Listed(f"v_{name}", (f"v_{name}", name), tuple(number[label] for label in own), splits[used[name]["subset"]])
        for name, own in labels.items()
    ]
    return classes, videos


def _kinetics_rows(files: _Files, *endings: str) -> Iterator[tuple[str, str, str, str]]:
    """Label, video and its first and last second, of a file of Kinetics."""
    rows = files.rows(*endings, separator=",")
    _, heading = next(rows, ("", []))
    try:
        places = [heading.index(name) for name in ("label", "youtube_id", "time_start", "time_end")]
    except ValueError:
        raise files.wrong(",".join(heading), "the columns label, youtube_id, time_start, time_end") from None
    for where, columns in rows:
        try:
            label, name, start, end = (columns[place] for place in places)
            yield label, name, f"{round(float(start)):06d}", f"{round(float(end)):06d}"
        except (IndexError, ValueError):
            raise UserError(f"{where} is {','.join(columns)!r}; expected a label, an id and two times.") from None


TRAIN = ("train.csv",)
VALIDATION = ("val.csv", "validate.csv", "validation.csv")


def _kinetics(files: _Files, wanted: Mapping[str, str] | None = None) -> Parsed:
    """Kinetics: a table a split; `wanted` gives the splits of the videos that are taken, all as they are without it."""
    found = [
        (wanted.get(name, "") if wanted is not None else split, label, name, start, end)
        for split, endings in (("train", TRAIN), ("val", VALIDATION))
        for label, name, start, end in _kinetics_rows(files, *endings)
    ]
    found = [row for row in found if row[0]]
    classes = tuple(sorted({label for _, label, *_ in found}))
    number = {name: index for index, name in enumerate(classes)}
    videos = [
        Listed(f"{name}_{start}_{end}", (f"{name}_{start}_{end}", name), (number[label],), split)
        for split, label, name, start, end in found
    ]
    return classes, videos


def _mini_kinetics(files: _Files) -> Parsed:
    """Mini-Kinetics: ids of its videos in a text file a split, labels in Kinetics' tables."""
    wanted: dict[str, str] = {}
    for split, endings in (("train", ("train_ytid_list.txt", "train.txt")), ("val", ("val_ytid_list.txt", "val.txt"))):
        wanted |= {line.strip(): split for line in files.text(*endings).splitlines() if line.strip()}
    return _kinetics(files, wanted)


PARSERS: dict[str, Callable[[_Files], Parsed]] = {
    "semicolons": _semicolons,
    "templates": _templates,
    "activitynet": _activitynet,
    "kinetics": _kinetics,
    "mini-kinetics": _mini_kinetics,
}


class Finder:
    """Where the videos of a data set are below a folder, whatever folders they lie in."""

    def __init__(self, media: Path, *, folders: bool) -> None:
        self.media, self.folders = media, folders
        if not media.is_dir():
            raise UserError(f"There is no folder {media}; expected the data set's {'frames' if folders else 'videos'}.")

    def find(self, names: Sequence[str]) -> Path:
        """The first of these that is there; where it should be when none is."""
        for name in names:
            if name in self._places:
                return self._places[name]
        return self.media / names[0]

    @cached_property
    def _places(self) -> dict[str, Path]:
        if self.folders:
            return {path.name: path for path in self.media.glob("**/*") if path.is_dir()}
        return {path.stem: path for path in sorted(self.media.glob("**/*")) if path.suffix.lower() in VIDEOS}
