"""What a user asks to have prepared, as a plan: own videos, lists there are, official annotations. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.data.annotations import Finder, read_annotations
from bench.data.catalogue import DIGITS, NAME
from bench.data.items import parse_list
from bench.data.known import KNOWN, Known, swaps
from bench.data.listing import FLIPS, SPLITS, Layout, read_list
from bench.data.own import Splitting, entries_of, rows_of_folder, rows_of_table
from bench.data.prepare import FRAMES, Entry, Pictures, Plan
from bench.errors import UserError, unknown

SUFFIXES = (".jpg", ".jpeg")


def check_name(name: str) -> None:
    """UserError for what cannot be the name of a user's own data set."""
    if not NAME.fullmatch(name) or name == DIGITS or name in KNOWN:
        raise UserError(
            f"The data set cannot be called {name!r}; expected small letters, digits and hyphens, and a name that no "
            f"known data set has ({', '.join((DIGITS, *KNOWN))})."
        )


def plan_of_own(
    name: str, folder: Path, table: Path | None, splitting: Splitting, pictures: Pictures | None, flip: str
) -> Plan:
    """Videos in folders of their classes, or listed in a table.

    Args:
        pictures: how frames are extracted; None leaves the videos where they are.

    Raises:
        UserError: as own.rows_of_folder, rows_of_table and entries_of; for the name or the flip rule.
    """
    check_name(name)
    rows = rows_of_folder(folder) if table is None else rows_of_table(table)
    entries, classes = entries_of(rows, folder, splitting)
    return Plan(
        name=name,
        title=name,
        entries=entries,
        classes=classes,
        layout=FRAMES if pictures else Layout("videos", str(folder.resolve())),
        pictures=pictures,
        metric=_metric(entries, None),
        made={"from": "folder" if table is None else "table"},
        **_mirror(flip or "free", classes),
    )


def plan_of_lists(
    name: str, folder: Path, lists: Sequence[Path], template: str, first: int, classes: Path, flip: str
) -> Plan:
    """Folders of frames with TSN's list files, taken over where they are.

    Args:
        folder: that the paths in the lists are below.
        lists: of training and validation.
        classes: text file with the name of a class in each line.

    Raises:
        UserError: for files that cannot be read, lists with wrong lines, or other classes than a known data set's.
    """
    known = KNOWN.get(name)
    if known is None:
        check_name(name)
    names = _class_names(classes)
    if known and len(names) != known.classes:
        raise UserError(f"{classes} has {len(names)} classes; {known.title} has {known.classes}.")
    entries = [
        Entry(folder / item.path, item.path, item.labels, split, item.frames)
        for split, path in zip(SPLITS, lists, strict=True)
        for item in parse_list(read_list(path), path, len(names))
    ]
    return Plan(
        name=name,
        title=known.title if known else name,
        entries=entries,
        classes=names,
        layout=_frames_of(folder, template, first),
        pictures=None,
        metric=_metric(entries, known),
        made={"from": "lists"},
        **_mirror(flip or (known.flip if known else "free"), names),
    )


def plan_of_known(
    name: str, folder: Path, media: Path, pictures: Pictures | None, template: str | None, first: int, flip: str
) -> Plan:
    """A known data set from its official annotation files.

    Args:
        folder: of the annotation files.
        media: folder of the videos, or of the folders of frames.
        pictures: how frames are extracted from videos; None leaves videos where they are.
        template: of frames that are there already, which stay where they are; None for what is published.
        flip: rule instead of the data set's own; "" for that.

    Raises:
        UserError: for an unknown name, or annotation files that are missing or of another form.
    """
    if name not in KNOWN:
        raise unknown("data set", name, KNOWN, "those with official annotations")
    known = KNOWN[name]
    found = read_annotations(known, folder)
    template = template or known.template
    if template:
        layout, pictures = _frames_of(media, template, first), None
    else:
        layout = FRAMES if pictures else Layout("videos", str(media.resolve()))
    finder = Finder(media, found.videos, folders=bool(template))
    entries = []
    for video in found.videos:
        source = finder.find(video)
        # Media that stay where they are are called by their places.
        path = video.name if pictures else source.relative_to(media).as_posix()
        entries.append(Entry(source, path, video.labels, video.split))
    return Plan(
        name=name,
        title=known.title,
        entries=entries,
        classes=found.classes,
        layout=layout,
        pictures=pictures,
        metric=known.metric,
        made={"from": "annotations", "files": dict(found.files)},
        **_mirror(flip or known.flip, found.classes),
    )


def _metric(entries: Sequence[Entry], known: Known | None) -> str:
    """mAP where a video has several labels, unless the data set says."""
    if known:
        return known.metric
    return "map" if any(len(entry.labels) > 1 for entry in entries) else "top1"


def _mirror(flip: str, classes: Sequence[str]) -> dict[str, Any]:
    """The flip rule of a plan; of "swap" the pairs that change places, by the words of their names."""
    if flip not in FLIPS:
        raise unknown("flip rule", flip, FLIPS, "--flip")
    pairs = swaps(tuple(classes)) if flip == "swap" else ()
    if flip == "swap" and not pairs:
        raise UserError("--flip is swap, but no two classes differ by left and right; expected free or never.")
    return {"flip": flip, "swaps": pairs}


def _frames_of(folder: Path, template: str, first: int) -> Layout:
    """The layout of folders of frames that stay where they are.

    Raises:
        UserError: for a template that names no JPEG file by its number.
    """
    layout = Layout("frames", str(folder.resolve()), template, first)
    try:
        fine = layout.numbers([layout.frame(0), layout.frame(1)]) == {0, 1} and template.lower().endswith(SUFFIXES)
    except (ValueError, IndexError, KeyError):
        fine = False
    if not fine:
        raise UserError(
            f"--template is {template!r} and --first {first}; expected the name of a JPEG file with a place for its "
            "number, for example {:05d}.jpg, and a number from 0."
        )
    return layout


def _class_names(path: Path) -> list[str]:
    """A line a class, in the order of the labels."""
    names = [line.strip() for line in read_list(path).rstrip().splitlines()]
    for number, name in enumerate(names, start=1):
        if not name or name in names[: number - 1]:
            raise UserError(f"{path}, line {number} is {name!r}; expected a class in each line, every one once.")
    return names
