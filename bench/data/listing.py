"""A prepared data set on disk: `dataset.json`, a list file per split, frames or videos. Imports no torch.

    ROOT/dataset.json     what it is: classes, metric, flip rule, where the media are, the lists with their digests
    ROOT/train.txt        a line an item: path, number of frames, label or labels with commas; the path may hold blanks
    ROOT/val.txt
    ROOT/frames/...       a folder of pictures an item; or a folder elsewhere of such folders, or of video files

List files are those of TSN and TSM, so lists that exist can be taken over.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.data.items import Item, Items, parse_list
from bench.errors import UserError, unknown
from bench.files import write_json, write_text

FORMAT = 1
BEGUN = "prepared.jsonl"  # what is done of a preparation
DESCRIPTION = "dataset.json"
SPLITS = ("train", "val")
KINDS = ("frames", "videos")
METRICS = ("top1", "map")
FLIPS = ("free", "never", "swap")
# What dataset.json holds, beside its format.
VALUES = {
    "name": str,
    "title": str,
    "kind": str,
    "media": str,
    "template": str,
    "first": int,
    "classes": list,
    "metric": str,
    "flip": str,
    "swaps": list,
    "splits": dict,
    "made": dict,
}


@dataclass(frozen=True)
class Layout:
    """Where the pictures of an item are, or that it is a video file.

    Attributes:
        kind: "frames" or "videos".
        media: folder of the items, below the root of the data set or absolute.
        template: name of a frame's file by its number, as "{:05d}.jpg"; unused for videos.
        first: number of the first frame.
    """

    kind: str
    media: str
    template: str = "{:05d}.jpg"
    first: int = 1

    def frame(self, number: int) -> str:
        """File name of a frame, counted from 0."""
        return self.template.format(number + self.first)

    def numbers(self, names: Iterable[str]) -> set[int]:
        """Of the frames among these file names, counted from 0; below 0 for those before the first."""
        pattern = _pattern(self.template)
        found = ((name, int(match[1]) - self.first) for name in names if (match := pattern.fullmatch(name)))
        # A name may be without the leading zeros that the template wants.
        return {number for name, number in found if self.frame(number) == name}


@lru_cache
def _pattern(template: str) -> re.Pattern[str]:
    """Of the names that a template makes, with the number as group 1."""
    parts = list(string.Formatter().parse(template))
    names = "".join(re.escape(text) + ("" if field is None else r"(\d+)") for text, field, _, _ in parts)
    return re.compile(names)


@dataclass(frozen=True)
class Prepared:
    """What `dataset.json` says.

    Attributes:
        classes: names, in the order of the labels.
        metric: "top1", or "map" where a video may have several labels.
        flip: "free" where a mirrored video keeps its label, "never", or "swap" where `swaps` says which it takes.
        counts: items of each split.
        digests: of each split's list, by which changed lists are found.
        fingerprint: of everything that a network could be given: part of an experiment's identity.
        made: how it was prepared.
    """

    root: Path
    name: str
    title: str
    layout: Layout
    classes: tuple[str, ...]
    metric: str
    flip: str
    swaps: tuple[tuple[int, int], ...]
    counts: Mapping[str, int]
    digests: Mapping[str, str]
    fingerprint: str
    made: Mapping[str, Any]

    @property
    def media(self) -> Path:
        """Folder of the items."""
        return self.root / self.layout.media

    def items(self, split: str) -> Items:
        """The items of a split.

        Raises:
            UserError: for a list that cannot be read, has changed since it was prepared, or holds a wrong line.
        """
        path = list_file(self.root, split)
        text = read_list(path)
        if digest(text) != self.digests[split]:
            raise UserError(self.changed(path))
        return parse_list(text, path, len(self.classes))

    def changed(self, path: Path) -> str:
        """What is said of a list whose digest is another."""
        return (
            f"{path} is not the list that {self.root / DESCRIPTION} was written for. Expected it unchanged; `afbench "
            "data prepare` with --lists and another --out makes a data set of changed lists."
        )


def list_file(root: Path, split: str) -> Path:
    """Of a split."""
    return root / f"{split}.txt"


def read_list(path: Path) -> str:
    """The text of a list file, or of another that comes with one.

    Raises:
        UserError: where it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows mark the beginning
    except FileNotFoundError:
        raise UserError(f"There is no {path}; expected a text file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); expected a text file of yours.") from error


def digest(text: str) -> str:
    """By which a changed list is found."""
    return hashlib.sha256(text.encode()).hexdigest()


def write_prepared(
    root: Path,
    *,
    name: str,
    title: str,
    layout: Layout,
    classes: Iterable[str],
    metric: str,
    flip: str,
    swaps: Iterable[tuple[int, int]],
    lists: Mapping[str, list[Item]],
    made: Mapping[str, Any],
) -> Prepared:
    """Write the lists, then the description that they are found by."""
    texts = {split: "".join(item.line() + "\n" for item in items) for split, items in lists.items()}
    values: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "title": title,
        "kind": layout.kind,
        "media": layout.media,
        "template": layout.template,
        "first": layout.first,
        "classes": list(classes),
        "metric": metric,
        "flip": flip,
        "swaps": [list(pair) for pair in swaps],
        "splits": {split: {"items": len(lists[split]), "digest": digest(text)} for split, text in texts.items()},
        "made": dict(made),
    }
    for split, text in texts.items():
        write_text(list_file(root, split), text)
    write_json(root / DESCRIPTION, values)
    return read_prepared(root)


def read_prepared(root: Path) -> Prepared:
    """What lies in this folder; its description is read again only where the file is another one.

    Raises:
        UserError: where nothing prepared does, or its description cannot be used.
    """
    path = root / DESCRIPTION
    try:
        state = path.stat()
        return _read_prepared(root, state.st_mtime_ns, state.st_size, state.st_ino)
    except FileNotFoundError:
        raise UserError(f"There is no {path}; expected what `afbench data prepare` writes there.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); expected a text file of yours.") from error


@lru_cache
def _read_prepared(root: Path, *state: int) -> Prepared:
    """What its description says; `state` of the file tells one reading from the next."""
    path = root / DESCRIPTION
    text = path.read_text(encoding="utf-8")
    try:
        values = json.loads(text)
        _check_values(values, path)
        splits = values["splits"]
        layout = Layout(values["kind"], values["media"], values["template"], values["first"])
        layout.frame(0)
        return Prepared(
            root=root,
            name=values["name"],
            title=values["title"],
            layout=layout,
            classes=tuple(values["classes"]),
            metric=values["metric"],
            flip=values["flip"],
            swaps=tuple((one, other) for one, other in values["swaps"]),
            counts={split: splits[split]["items"] for split in SPLITS},
            digests={split: splits[split]["digest"] for split in SPLITS},
            fingerprint=_fingerprint(values),
            made=values["made"],
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(
            f"{path} is not a description of a data set ({type(error).__name__}: {error}); expected what `afbench data "
            "prepare` writes there."
        ) from error


def _check_values(values: Any, path: Path) -> None:
    """UserError for another format, a value of another type or one that is no choice; KeyError where one is missing."""
    if values["format"] != FORMAT:
        raise UserError(f"{path} has format {values['format']!r}; this version reads {FORMAT}. Prepare it again.")
    for name, kind in VALUES.items():
        if type(values[name]) is not kind:
            raise UserError(f"{path} has {name} {values[name]!r:.200}; expected a value of type {kind.__name__}.")
    for name, valid in (("kind", KINDS), ("metric", METRICS), ("flip", FLIPS)):
        if values[name] not in valid:
            raise unknown(name, values[name], valid, str(path))


def _fingerprint(values: Mapping[str, Any]) -> str:
    """Of what decides which pixels and labels a network is given, not of where they lie."""
    parts = {name: values[name] for name in ("kind", "classes", "metric", "flip", "swaps", "splits")}
    parts["pictures"] = {name: values["made"].get(name) for name in ("short_side", "quality", "rate")}
    if values["kind"] == "frames":
        # Colours and optical flow may lie beside one another, told apart by the names of their files alone.
        parts["frames"] = {name: values[name] for name in ("template", "first")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
