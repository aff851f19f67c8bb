"""The annotation files that data sets are published with, and the videos that they are about. Imports no torch."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.known import Known
from bench.data.own import videos_below, walk
from bench.errors import UserError


@dataclass(frozen=True)
class Listed:
    """A video as the annotations have it.

    Attributes:
        name: of its frames' folder in the prepared data set.
        files: what its file may be called, without what comes after the last dot; the likeliest first. One with
            folders before it lies in these.
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


@dataclass(frozen=True)
class _File:
    """An annotation file."""

    path: Path
    text: str

    def lines(self) -> Iterator[tuple[str, str]]:
        """Where it is and what it says, for each line that is not blank."""
        for number, line in enumerate(self.text.split("\n"), start=1):
            if line.strip():
                yield f"{self.path}, line {number}", line.strip()

    def rows(self) -> list[tuple[str, list[str]]]:
        """Where it is and its columns, for each line of a csv file that is not empty."""
        reader = csv.reader(io.StringIO(self.text, newline=""))
        try:
            return [(f"{self.path}, line {reader.line_num}", [value.strip() for value in row]) for row in reader if row]
        except csv.Error as error:
            raise UserError(f"{self.path}, line {reader.line_num} is no line of a csv file ({error}).") from error

    def json(self) -> Any:
        """Parsed."""
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise UserError(f"{self.path} is no JSON file ({error}).") from error

    def wrong(self, found: object, expected: str) -> UserError:
        """The error for a file of another form."""
        return UserError(f"{self.path} is not as it is published: found {found!r:.200}, expected {expected}.")


@dataclass(frozen=True)
class _Folder:
    """The annotation files of a data set.

    Attributes:
        digests: SHA-256 of each that was read, by its name.
    """

    known: Known
    path: Path
    digests: dict[str, str] = field(default_factory=dict)

    def file(self, *endings: str) -> _File:
        """The one whose name ends with the first of these endings that one has."""
        for ending in endings:
            found = [path for path in sorted(self.path.iterdir()) if self._is(path.name, ending)]
            if len(found) > 1:
                raise UserError(
                    f"{self.path} has {', '.join(path.name for path in found)}; expected one file that ends with "
                    f"{ending}."
                )
            if found:
                return self._read(found[0])
        raise UserError(
            f"{self.path} has no file that ends with {' or '.join(endings)}; expected {self.known.annotations}."
        )

    @staticmethod
    def _is(name: str, ending: str) -> bool:
        # Archives from a Mac have a hidden ._ file beside each.
        return name.lower().endswith(ending) and not name.startswith(".")

    def _read(self, path: Path) -> _File:
        try:
            data = path.read_bytes()
            self.digests[path.name] = hashlib.sha256(data).hexdigest()
            return _File(path, data.decode("utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read ({error}); expected a text file.") from error


def read_annotations(known: Known, folder: Path) -> Found:
    """What the annotation files of a known data set say.

    Raises:
        UserError: for files that are missing, double, or of another form, labels that are no class, or a video of which
            two things are said.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; expected one with {known.annotations}.")
    files = _Folder(known, folder)
    classes, listed = PARSERS[known.parser](files)
    if len(classes) != known.classes:
        raise UserError(f"{folder} has {len(classes)} classes; {known.title} has {known.classes}.")
    videos: dict[str, Listed] = {}
    for video in listed:
        if videos.setdefault(video.name, video) != video:
            raise UserError(f"The files in {folder} say two things of the video {video.name}; expected one.")
    return Found(classes, tuple(videos.values()), files.digests)


Parsed = tuple[tuple[str, ...], list[Listed]]


def _numbered(classes: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(classes)}


def _semicolons(folder: _Folder) -> Parsed:
    """Something-Something V1 and Jester: a line a class, then lines `id;label`.

    Classes are numbered in the order of their names, as TRN's and TSM's scripts do, whose weights are published so.
    """
    classes = tuple(sorted(line for _, line in folder.file("labels.csv").lines()))
    number = _numbered(classes)
    videos = []
    for split, ending in (("train", "train.csv"), ("val", "validation.csv")):
        for where, line in folder.file(ending).lines():
            name, _, label = line.partition(";")  # commas and quotes are part of a label
            if not name or label not in number:
                raise UserError(f"{where} is {line!r}; expected an id, a semicolon and one of the classes.")
            videos.append(Listed(name, (name,), (number[label],), split))
    return classes, videos


def _templates(folder: _Folder) -> Parsed:
    """Something-Something V2: labels with their numbers, and videos with templates that have brackets."""
    file = folder.file("labels.json")
    labels = file.json()
    try:
        number = {name: int(index) for name, index in labels.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise file.wrong(labels, 'an object such as {"Holding something": "0"}') from error
    classes = tuple(sorted(number, key=number.__getitem__))
    if sorted(number.values()) != list(range(len(number))):
        raise file.wrong(labels, f"the numbers 0 to {len(number) - 1}, each once")
    videos = []
    for split, ending in (("train", "train.json"), ("val", "validation.json")):
        file = folder.file(ending)
        entries = file.json()
        if not isinstance(entries, list):
            raise file.wrong(entries, "a list of videos")
        for entry in entries:
            try:
                name, template = str(entry["id"]), entry["template"].replace("[", "").replace("]", "")
                videos.append(Listed(name, (name,), (number[template],), split))
            except (KeyError, TypeError, AttributeError) as error:
                raise file.wrong(
                    entry, "an id, and a template that is among the labels without its brackets"
                ) from error
    return classes, videos


def _activitynet(folder: _Folder) -> Parsed:
    """ActivityNet v1.3: a database of videos with their segments. Those without a label, as in testing, are not used.

    A video has the labels of all its segments. Classes have no published number; here, in the order of their names.
    """
    file = folder.file("activity_net.v1-3.min.json", ".json")
    content = file.json()
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise file.wrong(content, "an object under database")
    splits = {"training": "train", "validation": "val"}
    used: list[tuple[str, str, list[str]]] = []
    for name, entry in database.items():
        try:
            labels = list(dict.fromkeys(str(each["label"]) for each in entry["annotations"]))
            if entry["subset"] in splits and labels:
                used.append((name, splits[entry["subset"]], labels))
        except (KeyError, TypeError) as error:
            raise file.wrong({name: entry}, "a subset, and annotations with a label each") from error
    classes = tuple(sorted({label for _, _, labels in used for label in labels}))
    number = _numbered(classes)
    return classes, [
        Listed(f"v_{name}", (f"v_{name}", name), tuple(number[label] for label in labels), split)
        for name, split, labels in used
    ]


def _fcvid(folder: _Folder) -> Parsed:
    """FCVID: lines of a path and train or test, and in the same order lines of 0 or 1 for each category, without names.

    As in the papers of this field, the test videos validate.
    """
    names, flags = folder.file("videoname_traintestsplit.txt"), folder.file("label.txt")
    paths, rows = list(names.lines()), list(flags.lines())
    if len(paths) != len(rows):
        raise flags.wrong(f"{len(rows)} lines", f"{len(paths)}, one for each of {names.path}")
    splits = {"train": "train", "test": "val"}
    width = len(rows[0][1].split()) if rows else 0
    videos = []
    for (where, line), (place, row) in zip(paths, rows, strict=True):
        path, _, split = line.replace("\t", " ").rpartition(" ")
        stem = Path(path.strip().replace("\\", "/"))
        if not stem.name or split not in splits:
            raise UserError(f"{where} is {line!r}; expected a path and one of {', '.join(splits)}.")
        labels = _flagged(row, width, place)
        videos.append(Listed(str(stem.with_suffix("")), (str(stem.with_suffix("")),), labels, splits[split]))
    return tuple(f"category {number}" for number in range(width)), videos


def _flagged(row: str, width: int, where: str) -> tuple[int, ...]:
    """The places of the ones in a line of zeros and ones."""
    try:
        flags = [float(flag) for flag in row.split()]
    except ValueError:
        flags = []
    if len(flags) != width or not any(flags) or not set(flags) <= {0.0, 1.0}:
        raise UserError(f"{where} is {row!r:.80}; expected {width} times 0 or 1, and 1 at least once.")
    return tuple(number for number, flag in enumerate(flags) if flag)


@dataclass(frozen=True)
class _Clip:
    """A row of Kinetics' tables; a video's name and its first and last second make the clip's name."""

    label: str
    video: str
    name: str
    split: str

    def listed(self, number: Mapping[str, int], split: str) -> Listed:
        return Listed(self.name, (self.name, self.video), (number[self.label],), split)


def _clips(folder: _Folder) -> list[_Clip]:
    validation = ("val.csv", "validate.csv", "validation.csv")
    return [*_clips_of(folder.file("train.csv"), "train"), *_clips_of(folder.file(*validation), "val")]


def _clips_of(file: _File, split: str) -> Iterator[_Clip]:
    rows = file.rows()
    heading = rows[0][1] if rows else []
    try:
        places = [heading.index(name) for name in ("label", "youtube_id", "time_start", "time_end")]
    except ValueError:
        raise file.wrong(",".join(heading), "the columns label, youtube_id, time_start, time_end") from None
    for where, columns in rows[1:]:
        try:
            label, video, start, end = (columns[place] for place in places)
            yield _Clip(label, video, f"{video}_{round(float(start)):06d}_{round(float(end)):06d}", split)
        except (IndexError, ValueError, OverflowError):
            raise UserError(f"{where} is {','.join(columns)!r}; expected a label, an id and two times.") from None


def _kinetics(folder: _Folder) -> Parsed:
    """Kinetics: a table a split. Classes have no published number; here, in the order of their names."""
    clips = _clips(folder)
    classes = tuple(sorted({clip.label for clip in clips}))
    number = _numbered(classes)
    return classes, [clip.listed(number, clip.split) for clip in clips]


def _mini_kinetics(folder: _Folder) -> Parsed:
    """Mini-Kinetics as AR-Net has it: Kinetics' videos of the classes that a text file lists, numbered in its order."""
    names = folder.file("minik_classind.txt")
    classes = tuple(line for _, line in names.lines())
    clips = _clips(folder)
    labels = {clip.label for clip in clips}
    for where, line in names.lines():
        if line not in labels:
            raise UserError(f"{where} is {line!r}; expected a class of Kinetics' tables.")
    number = _numbered(classes)
    return classes, [clip.listed(number, clip.split) for clip in clips if clip.label in number]


def _kinetics_ids(folder: _Folder) -> Parsed:
    """Mini-Kinetics as Xie et al. have it: ids of its videos in a text file a split, labels in Kinetics' tables."""
    wanted: dict[str, str] = {}
    for split in ("train", "val"):
        for where, line in folder.file(f"{split}_ytid_list.txt").lines():
            if wanted.setdefault(line, split) != split:
                raise UserError(f"{where} is {line!r}, which trains too; expected every id in one list.")
    clips = [clip for clip in _clips(folder) if clip.video in wanted]
    unknown = sorted(wanted.keys() - {clip.video for clip in clips})
    if unknown:
        raise UserError(
            f"{len(unknown)} of the {len(wanted)} ids in {folder.path} are not in Kinetics' tables there, the first "
            f"{unknown[0]}; expected labels for all of them."
        )
    classes = tuple(sorted({clip.label for clip in clips}))
    number = _numbered(classes)
    return classes, [clip.listed(number, wanted[clip.video]) for clip in clips]


PARSERS: dict[str, Callable[[_Folder], Parsed]] = {
    "semicolons": _semicolons,
    "templates": _templates,
    "activitynet": _activitynet,
    "fcvid": _fcvid,
    "kinetics": _kinetics,
    "mini-kinetics": _mini_kinetics,
    "kinetics-ids": _kinetics_ids,
}


class Finder:
    """Where the videos of a data set are below a folder, whatever folders they lie in.

    Args:
        folders: whether videos are folders of frames.

    Raises:
        UserError: where there is no such folder.
    """

    def __init__(self, media: Path, videos: Sequence[Listed], *, folders: bool) -> None:
        if not media.is_dir():
            raise UserError(f"There is no folder {media}; expected the data set's {'frames' if folders else 'videos'}.")
        self.media = media
        wanted = {Path(name).name for video in videos for name in video.files}
        self._places: dict[str, list[Path]] = defaultdict(list)
        for place in _frame_folders(media, wanted) if folders else videos_below(media):
            name = place.name if folders else place.stem
            if name in wanted:
                self._places[name].append(place)

    def find(self, video: Listed) -> Path:
        """Where it is; where it should be when it is nowhere.

        Raises:
            UserError: for a video in two places.
        """
        for name in video.files:
            depth = len(Path(name).parts)
            places = [
                place
                for place in self._places.get(Path(name).name, ())
                if (*place.parts[-depth:-1], Path(name).name) == Path(name).parts
            ]
            if len(places) > 1:
                # Kinetics-400 is handed out with files that replace corrupted ones of the same names.
                better = [place for place in places if any(part.startswith("replacement") for part in place.parts)]
                places = better if len(better) == 1 else places
            if len(places) > 1:
                raise UserError(
                    f"The video {name} is {places[0]} and {places[1]}; expected it once below {self.media}."
                )
            if places:
                return places[0]
        return self.media / video.files[0]


def _frame_folders(media: Path, wanted: set[str]) -> Iterator[Path]:
    """Folders of these names, which are not gone into: there may be a hundred million frames in them."""
    for path, folders, _ in walk(media):
        yield from (path / name for name in folders if name in wanted)
        folders[:] = [name for name in folders if name not in wanted]
