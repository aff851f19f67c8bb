"""A user's own videos: a folder with a folder per class, or a table of paths and labels. Imports no torch."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.listing import SPLITS
from bench.data.prepare import Entry, Options
from bench.errors import UserError, unknown
from bench.fields import choice, number

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
class Splitting(Options):
    """How videos whose split is not said are divided.

    Attributes:
        split_by: "class", the same share of each; "group", whole groups.
        leave_out: groups that validate; all others train.
    """

    val_share: float = number(0.2, "of the videos that validate", above=0, below=1)
    split_by: str = choice("class", "what is divided", "class", "group")
    leave_out: tuple[str, ...] = ()
    seed: int = number(0, "seed of the draw", at_least=0)


def walk(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[tuple[Path, list[str], list[str]]]:
    """This folder and each below it with the names of the folders and files in it, in order; hidden ones left out.

    Links are followed, but not to a folder that they lie in. A caller may shorten the list of folders to those to go
    into.

    Args:
        above: device and number of the folders that this one lies in.

    Raises:
        UserError: for a folder that cannot be read.
    """
    try:
        status = folder.stat()
        if (here := (status.st_dev, status.st_ino)) in above:
            return
        with os.scandir(folder) as found:
            inside = sorted((each.name, each.is_dir()) for each in found if not each.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}); expected a folder of yours.") from error
    folders = [name for name, is_folder in inside if is_folder]
    yield folder, folders, [name for name, is_folder in inside if not is_folder]
    for name in folders:
        yield from walk(folder / name, above | {here})


def videos_below(folder: Path) -> list[Path]:
    """The files with a suffix of VIDEOS, in whatever folders they lie."""
    return [path / name for path, _, files in walk(folder) for name in files if Path(name).suffix.lower() in VIDEOS]


def rows_of_folder(folder: Path) -> list[Row]:
    """FOLDER/class/video, or FOLDER/train/class/video and FOLDER/val/class/video.

    Raises:
        UserError: where there is no video, or one in another place.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; expected one with a folder of videos for each class.")
    videos = [path.relative_to(folder) for path in videos_below(folder)]
    if not videos:
        raise UserError(
            f"{folder} has no video; expected for example {folder}/running/one.mp4, with one of {', '.join(VIDEOS)}."
        )
    has_splits = {path.parts[0] for path in videos} == set(SPLITS)
    depth = 3 if has_splits else 2
    astray = [path for path in videos if len(path.parts) != depth]
    if astray:
        raise UserError(
            f"{folder / astray[0]} is not where a video of a class is ({len(astray)} of {len(videos)} are not); "
            f"expected all as {folder}/CLASS/VIDEO, or all as {folder}/train/CLASS/VIDEO and {folder}/val/CLASS/VIDEO. "
            "Any other order can be listed: --table."
        )
    return [Row(path.as_posix(), (path.parts[-2],), split=path.parts[0] if has_splits else "") for path in videos]


def rows_of_table(path: Path) -> list[Row]:
    """A csv file with columns path and label, and group and split where wanted; several labels with | between.

    Raises:
        UserError: for a file without these columns, or a row without a value or with one too many.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            values = [(reader.line_num, [value.strip() for value in row]) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}); expected a csv file.") from error
    columns = values[0][1] if values else []
    if not set(COLUMNS) <= set(columns) <= {*COLUMNS, *OPTIONAL} or len(set(columns)) < len(columns):
        raise UserError(
            f"{path} has the columns {', '.join(map(repr, columns)) or 'none'}; expected {', '.join(COLUMNS)}, and if "
            f"wanted {', '.join(OPTIONAL)}, in its first line and with commas between."
        )
    rows = [_row(columns, row, f"{path}, line {line}") for line, row in values[1:]]
    if not rows:
        raise UserError(f"{path} has no rows; expected one for each video.")
    return rows


def _row(columns: Sequence[str], values: Sequence[str], where: str) -> Row:
    if len(values) != len(columns):
        raise UserError(
            f"{where}: {len(values)} values for the {len(columns)} columns {', '.join(columns)}; expected as many. A "
            'value with a comma in it stands in "quotes".'
        )
    found = dict(zip(columns, values, strict=True))
    labels = tuple(label.strip() for label in found["label"].split("|"))
    split = found.get("split", "")
    if not found["path"] or not all(labels):
        raise UserError(f"{where}: a path or a label is empty; expected both in every row.")
    if len(set(labels)) < len(labels):
        raise UserError(f"{where}: a label stands twice in {found['label']!r}; expected each once.")
    if split not in ("", *SPLITS):
        raise unknown("split", split, SPLITS, where)
    return Row(Path(found["path"]).as_posix(), labels, found.get("group", ""), split)


def entries_of(rows: Sequence[Row], folder: Path, splitting: Splitting) -> tuple[list[Entry], list[str]]:
    """Entries in the order of the rows, and the names of the classes in order.

    Raises:
        UserError: for a path that is listed twice or leaves the folder, a single class, or a splitting that cannot be
            done.
    """
    seen: set[str] = set()
    for row in rows:
        if Path(row.path).is_absolute() or ".." in Path(row.path).parts:
            raise UserError(f"{row.path} leaves {folder}; expected paths below it.")
        if row.path in seen:
            raise UserError(
                f"{row.path} is listed more than once; expected every video once, its labels with | between."
            )
        seen.add(row.path)
    classes = sorted({label for row in rows for label in row.labels})
    if len(classes) == 1:
        raise UserError(f"All videos ({len(rows)}) are of the class {classes[0]!r}; expected at least two classes.")
    index = {name: label for label, name in enumerate(classes)}
    entries = [
        Entry(folder / row.path, row.path, tuple(index[label] for label in row.labels), split)
        for row, split in zip(rows, split_of(rows, splitting), strict=True)
    ]
    return entries, classes


def split_of(rows: Sequence[Row], splitting: Splitting) -> list[str]:
    """ "train" or "val" for each row.

    Raises:
        UserError: for groups that are not there, options without a use, or a division that leaves a split empty.
    """
    said = [row.split for row in rows]
    silent = said.count("")
    if 0 < silent < len(rows):
        raise UserError(f"{silent} of {len(rows)} videos have no split and others have one; expected all or none.")
    in_groups = bool(splitting.leave_out) or splitting.split_by == "group"
    if not silent and in_groups:
        raise UserError("The videos say their splits; expected no --leave-out and no --split-by group.")
    if not silent:
        splits = said
    elif in_groups:
        validating = _groups(rows, splitting)
        splits = ["val" if row.group in validating else "train" for row in rows]
    else:
        splits = _stratified(rows, splitting)
    if set(splits) != set(SPLITS):
        raise UserError(
            f"All videos ({len(rows)}) fall into {splits[0]}; expected some in train and some in val: at least two "
            "videos of a class, two groups where whole groups are drawn, one that is not left out."
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
        count = min(max(round(len(members) * splitting.val_share), 1), len(members) - 1)
        for index in rng.permutation(members)[:count].tolist():
            splits[index] = "val"
    return splits


def _groups(rows: Sequence[Row], splitting: Splitting) -> set[str]:
    """The groups that validate: those said, or drawn."""
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
    return _drawn(sizes, splitting)


def _drawn(sizes: Mapping[str, int], splitting: Splitting) -> set[str]:
    """Groups by chance as long as the share holds them, and one more where that is nearer to it; never all."""
    wanted = splitting.val_share * sum(sizes.values())
    order = np.random.default_rng(splitting.seed).permutation(sorted(sizes)).tolist()
    chosen: set[str] = set()
    total = 0
    for name in order:
        if total + sizes[name] <= wanted:
            chosen.add(name)
            total += sizes[name]
    rest = [name for name in order if name not in chosen]
    over = {name: total + sizes[name] - wanted for name in rest}
    nearest = min(rest, key=over.__getitem__)
    if len(rest) > 1 and (not chosen or over[nearest] < wanted - total):
        chosen.add(nearest)
    return chosen
