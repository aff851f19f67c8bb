"""A user's own videos: a folder with a folder per class, or a table of paths and labels. Imports no torch."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.listing import SPLITS
from bench.data.prepare import Entry
from bench.errors import UserError, unknown

VIDEOS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".ts")
COLUMNS = ("path", "label")
OPTIONAL = ("group", "split")


@dataclass(frozen=True)
class Row:
    """A video as its owner lists it.

    Attributes:
        path: below the folder of the videos.
        labels: names of its classes.
        group: what must not be in both splits, as a person or a place; "" where nothing is said.
        split: "train" or "val" where its owner says so, else "".
    """

    path: str
    labels: tuple[str, ...]
    group: str = ""
    split: str = ""


@dataclass(frozen=True)
class Splitting:
    """How videos whose split is not said are divided.

    Attributes:
        share: of the videos that validate.
        by: "class", the same share of each; "group", whole groups.
        leave_out: of groups, those that validate; others train.
        seed: of the draw.
    """

    share: float = 0.2
    by: str = "class"
    leave_out: tuple[str, ...] = ()
    seed: int = 0


def rows_of_folder(folder: Path) -> list[Row]:
    """FOLDER/class/video, or FOLDER/train/class/video and FOLDER/val/class/video.

    Raises:
        UserError: where there is no video in such a place.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; expected one with a folder of videos for each class.")
    inside = {path.name for path in folder.iterdir() if path.is_dir()}
    rows: list[Row] = []
    for split in SPLITS if inside == set(SPLITS) else ("",):
        rows += [
            Row(path.relative_to(folder).as_posix(), (path.parent.name,), split=split)
            for path in sorted((folder / split).glob("*/*"))
            if path.is_file() and path.suffix.lower() in VIDEOS and not path.name.startswith(".")
        ]
    if not rows:
        raise UserError(
            f"{folder} has no video in a folder of a class; expected for example {folder}/running/one.mp4, with one of "
            f"{', '.join(VIDEOS)}."
        )
    return rows


def rows_of_table(path: Path) -> list[Row]:
    """A csv file with columns path and label, and group and split where wanted; several labels with | between.

    Raises:
        UserError: for a file without these columns, or a row without a value.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, values = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}); expected a csv file.") from error
    missing = [name for name in COLUMNS if name not in columns]
    strange = [name for name in columns if name not in (*COLUMNS, *OPTIONAL)]
    if missing or strange:
        raise UserError(
            f"{path} has the columns {', '.join(columns) or 'none'}; expected {', '.join(COLUMNS)}, and if wanted "
            f"{', '.join(OPTIONAL)}."
        )
    rows = []
    for number, value in enumerate(values, start=2):
        labels = tuple(label.strip() for label in (value["label"] or "").split("|"))
        split = (value.get("split") or "").strip()
        if not value["path"] or not all(labels):
            raise UserError(f"{path}, line {number}: a path or a label is empty; expected both in every row.")
        if split not in ("", *SPLITS):
            raise unknown("split", split, SPLITS, f"{path}, line {number}")
        rows.append(Row(value["path"].strip(), labels, (value.get("group") or "").strip(), split))
    if not rows:
        raise UserError(f"{path} has no rows; expected one for each video.")
    return rows


def entries_of(rows: Sequence[Row], folder: Path, splitting: Splitting) -> tuple[list[Entry], list[str]]:
    """Entries in the order of the rows, and the names of the classes in order.

    A video is called by its path without what comes after its last dot, unless two are called alike then.

    Raises:
        UserError: for a path that is listed twice or leaves the folder, or a splitting that cannot be done.
    """
    classes = sorted({label for row in rows for label in row.labels})
    number = {name: index for index, name in enumerate(classes)}
    paths = [row.path for row in rows]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UserError(f"{twice} is listed more than once; expected every video once, its labels with | between.")
    splits = split_of(rows, splitting)
    stems = [Path(path).with_suffix("").as_posix() for path in paths]
    if len(set(stems)) < len(stems):
        stems = paths
    entries = []
    for row, stem, split in zip(rows, stems, splits, strict=True):
        if Path(row.path).is_absolute() or ".." in Path(row.path).parts:
            raise UserError(f"{row.path} leaves {folder}; expected paths below it.")
        entries.append(Entry(folder / row.path, stem, tuple(number[label] for label in row.labels), split))
    return entries, classes


def split_of(rows: Sequence[Row], splitting: Splitting) -> list[str]:
    """ "train" or "val" for each row.

    Raises:
        UserError: for groups that are not there, or a share that leaves a split empty.
    """
    said = [row.split for row in rows]
    if all(said):
        return said
    if any(said):
        missing = sum(not split for split in said)
        raise UserError(f"{missing} of {len(rows)} videos have no split and others have one; expected all or none.")
    if splitting.leave_out or splitting.by == "group":
        validating = _groups(rows, splitting)
        splits = ["val" if row.group in validating else "train" for row in rows]
    else:
        splits = _stratified(rows, splitting)
    if set(splits) != set(SPLITS):
        raise UserError(
            f"All {len(rows)} videos fall into {splits[0]}; expected some in both splits, with a share between 0 and 1 "
            f"(--val-share is {splitting.share:g}) and enough videos or groups for it."
        )
    return splits


def _stratified(rows: Sequence[Row], splitting: Splitting) -> list[str]:
    """The share of each class, by first labels; a class of one video trains."""
    rng = np.random.default_rng(splitting.seed)
    of_class: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        of_class[row.labels[0]].append(index)
    splits = ["train"] * len(rows)
    for name in sorted(of_class):
        members = of_class[name]
        count = min(max(round(len(members) * splitting.share), 1), len(members) - 1)
        for index in rng.permutation(members)[:count].tolist():
            splits[index] = "val"
    return splits


def _groups(rows: Sequence[Row], splitting: Splitting) -> set[str]:
    """The groups that validate: those said, or drawn until they have the share of the videos."""
    sizes: dict[str, int] = defaultdict(int)
    for row in rows:
        sizes[row.group] += 1
    if "" in sizes:
        raise UserError(f"{sizes['']} of {len(rows)} videos have no group; expected one for each in the column group.")
    for name in splitting.leave_out:
        if name not in sizes:
            raise unknown("group", name, sizes, "--leave-out")
    if splitting.leave_out:
        return set(splitting.leave_out)
    chosen: set[str] = set()
    for name in np.random.default_rng(splitting.seed).permutation(sorted(sizes)).tolist():
        if sum(sizes[one] for one in chosen) >= splitting.share * len(rows) or len(chosen) == len(sizes) - 1:
            break
        chosen.add(name)
    return chosen
