"""What a user asks to have prepared, as a plan: own videos, lists there are, official annotations. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.data.annotations import Finder, read_annotations
from bench.data.catalogue import DIGITS, NAME
from bench.data.known import KNOWN, swaps
from bench.data.listing import FLIPS, SPLITS, Layout, parse_list
from bench.data.own import Splitting, entries_of, rows_of_folder, rows_of_table
from bench.data.prepare import FRAMES, Entry, Pictures, Plan
from bench.errors import UserError, unknown


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
    if pictures is None:
        # Called by their files.
        entries = [
            Entry(entry.source, row.path, entry.labels, entry.split) for entry, row in zip(entries, rows, strict=True)
        ]
    return Plan(
        name=name,
        title=name,
        entries=entries,
        classes=classes,
        layout=FRAMES if pictures else Layout("videos", str(folder.resolve())),
        pictures=pictures,
        metric="map" if any(len(row.labels) > 1 for row in rows) else "top1",
        made={"from": "folder" if table is None else "table"},
        **_mirror(flip, classes),
    )


def plan_of_lists(
    name: str, folder: Path, lists: Sequence[Path], template: str, first: int, classes: Path, flip: str
) -> Plan:
    """Folders of frames with TSN's list files, taken over where they are.

    Args:
        lists: of training and validation.
        classes: text file with the name of a class in each line.

    Raises:
        UserError: for files that cannot be read or lists with wrong lines.
    """
    known = KNOWN.get(name)
    if known is None:
        check_name(name)
    names = [line.strip() for line in _text(classes).splitlines() if line.strip()]
    entries = [
        Entry(folder / item.path, item.path, item.labels, split)
        for split, path in zip(SPLITS, lists, strict=True)
        for item in parse_list(_text(path), path, len(names))
    ]
    return Plan(
        name=name,
        title=known.title if known else name,
        entries=entries,
        classes=names,
        layout=_checked(Layout("frames", str(folder.resolve()), template, first)),
        pictures=None,
        metric=known.metric if known else "map" if any(len(entry.labels) > 1 for entry in entries) else "top1",
        made={"from": "lists"},
        **_mirror(flip or (known.flip if known else "free"), names),
    )


def plan_of_known(
    name: str, folder: Path, media: Path, pictures: Pictures | None, template: str | None, first: int, flip: str
) -> Plan:
    """A known data set from its official annotation files.

    Args:
        folder: of the annotation files.
        flip: rule instead of the data set's own; "" for that.
        media: folder of the videos, or of the folders of frames.
        pictures: how frames are extracted from videos; None takes media as they are.
        template: of frames that are there already; None for videos.

    Raises:
        UserError: for an unknown name, or annotation files that are missing or of another form.
    """
    if name not in KNOWN:
        raise unknown("data set", name, KNOWN, "the catalogue")
    known = KNOWN[name]
    found = read_annotations(known, folder)
    layout = FRAMES if pictures else Layout("videos", str(media.resolve()))
    if template is not None:
        layout, pictures = _checked(Layout("frames", str(media.resolve()), template, first)), None
    finder = Finder(media, folders=template is not None)
    entries = []
    for each in found.videos:
        source = finder.find(each.files)
        # Media that stay where they are are called by their places.
        path = each.name if pictures else source.relative_to(media).as_posix()
        entries.append(Entry(source, path, each.labels, each.split))
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


def _mirror(flip: str, classes: Sequence[str]) -> dict[str, Any]:
    """The flip rule of a plan; of "swap" the pairs that change places, by the words of their names."""
    flip = flip or "free"
    if flip not in FLIPS:
        raise unknown("flip rule", flip, FLIPS, "--flip")
    pairs = swaps(tuple(classes)) if flip == "swap" else ()
    if flip == "swap" and not pairs:
        raise UserError("--flip is swap, but no two classes differ by left and right; expected free or never.")
    return {"flip": flip, "swaps": pairs}


def _checked(layout: Layout) -> Layout:
    """UserError for a template that names no file."""
    try:
        if layout.frame(0) == layout.frame(1):
            raise ValueError("it has no number")
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(
            f"--template is {layout.template!r} ({error}); expected a name with a place for the number, for example "
            "{:05d}.jpg."
        ) from error
    return layout


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); expected a text file.") from error
