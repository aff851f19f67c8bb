"""A prepared data set on disk: `dataset.json`, a list file per split, frames or videos. Imports no torch.

    ROOT/dataset.json     what it is: classes, metric, flip rule, where the media are, the lists with their digests
    ROOT/train.txt        a line an item: path, number of frames, label or labels with commas; the path may hold blanks
    ROOT/val.txt
    ROOT/frames/...       a folder of pictures an item; or ROOT/videos/..., a file an item; or a folder elsewhere

List files are those of TSN and TSM, so lists that exist can be taken over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError, unknown
from bench.files import write_json, write_text

FORMAT = 1
DESCRIPTION = "dataset.json"
SPLITS = ("train", "val")
KINDS = ("frames", "videos")
METRICS = ("top1", "map")
FLIPS = ("free", "never", "swap")


@dataclass(frozen=True)
class Item:
    """One video of a data set.

    Attributes:
        path: of its folder of frames, or its file, below the folder of the media.
        frames: how many it has.
        labels: indices of its classes, the first of which it is trained as.
    """

    path: str
    frames: int
    labels: tuple[int, ...]

    def line(self) -> str:
        """As it stands in a list file."""
        return f"{self.path} {self.frames} {','.join(map(str, self.labels))}"


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

    def items(self, split: str) -> list[Item]:
        """The items of a split.

        Raises:
            UserError: for a list that cannot be read, has changed since it was prepared, or holds a wrong line.
        """
        path = list_file(self.root, split)
        text = _read(path)
        if _digest(text) != self.digests.get(split):
            raise UserError(
                f"{path} is not the list that {self.root / DESCRIPTION} was written for. Expected it unchanged; "
                "`afbench data prepare` takes changed lists over."
            )
        return parse_list(text, path, len(self.classes))


def list_file(root: Path, split: str) -> Path:
    """Of a split."""
    return root / f"{split}.txt"


def parse_list(text: str, path: Path, classes: int) -> list[Item]:
    """The items of a list file.

    Raises:
        UserError: naming the file, the line and what was expected.
    """
    items = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        items.append(parse_line(line, f"{path}, line {number}", classes))
    if not items:
        raise UserError(f"{path} lists nothing; expected a line for each video.")
    return items


def parse_line(line: str, where: str, classes: int) -> Item:
    """The item of a line.

    Raises:
        UserError: naming where it is and what was expected.
    """
    columns = line.rsplit(maxsplit=2)
    try:
        name, frames, labels = columns[0].strip(), int(columns[1]), tuple(map(int, columns[2].split(",")))
    except (IndexError, ValueError):
        raise UserError(
            f"{where} is {line!r}; expected a path, a number of frames and a label, for example: clips/1 48 3"
        ) from None
    if frames < 1:
        raise UserError(f"{where} has {frames} frames; expected at least 1.")
    for label in labels:
        if not 0 <= label < classes:
            raise UserError(f"{where} has label {label}; expected 0 to {classes - 1}, since there are {classes}.")
    return Item(name, frames, labels)


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
        "splits": {split: {"items": len(lists[split]), "digest": _digest(text)} for split, text in texts.items()},
        "made": dict(made),
    }
    for split, text in texts.items():
        write_text(list_file(root, split), text)
    write_json(root / DESCRIPTION, values)
    return read_prepared(root)


def read_prepared(root: Path) -> Prepared:
    """What lies in this folder.

    Raises:
        UserError: where nothing prepared does, or its description cannot be used.
    """
    path = root / DESCRIPTION
    try:
        values = json.loads(_read(path))
        if values["format"] != FORMAT:
            raise UserError(f"{path} has format {values['format']!r}; this version reads {FORMAT}. Prepare it again.")
        layout = Layout(values["kind"], values["media"], values["template"], values["first"])
        layout.frame(0)
        splits = values["splits"]
        prepared = Prepared(
            root=root,
            name=values["name"],
            title=values["title"],
            layout=layout,
            classes=tuple(values["classes"]),
            metric=values["metric"],
            flip=values["flip"],
            swaps=tuple((one, other) for one, other in values["swaps"]),
            counts={split: splits[split]["items"] for split in SPLITS},
            digests={split: splits[split]["digest"] for split in splits},
            fingerprint=_fingerprint(values),
            made=values["made"],
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UserError(
            f"{path} is not a description of a data set ({type(error).__name__}: {error}); expected what `afbench data "
            "prepare` writes there."
        ) from error
    for what, value, valid in (
        ("kind", layout.kind, KINDS),
        ("metric", prepared.metric, METRICS),
        ("flip", prepared.flip, FLIPS),
    ):
        if value not in valid:
            raise unknown(what, value, valid, str(path))
    return prepared


def _fingerprint(values: Mapping[str, Any]) -> str:
    """Of what decides which pixels and labels a network is given, not of where they lie."""
    parts = {name: values[name] for name in ("kind", "classes", "flip", "swaps", "splits")}
    parts["pictures"] = {name: values["made"].get(name) for name in ("short_side", "quality")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise UserError(f"There is no {path}; expected what `afbench data prepare` writes there.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); expected a text file of yours.") from error
