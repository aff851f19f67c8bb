"""The items of list files, a line each: `path frames labels`, as TSN's and TSM's lists have them. Imports no torch.

Those of AR-Net and its descendants for ActivityNet and FCVID, which have commas between the columns, are read too.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from bench.errors import UserError

# With commas: path, frames, labels. The path ends where two or more numbers are left.
COMMAS = re.compile(r"(.+?),\s*(\d+),\s*(\d+(?:,\s*\d+)*)\s*")


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


class Items(Sequence[Item]):
    """Items that are kept as their lines, and made when they are asked for.

    Every worker has all items of a split. As objects those of Kinetics-400 take 83 MB, as text 15.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._text, self._ends = bytearray(), array("q", [0])
        for item in items:
            self._text += item.line().encode()
            self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | list[Item]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        number = range(len(self))[place]
        line = self._text[self._ends[number] : self._ends[number + 1]].decode()
        return parse_line(line, line)


def parse_list(text: str, path: Path, classes: int) -> Items:
    """The items of a list file.

    Raises:
        UserError: naming the file, the line and what was expected.
    """

    def checked() -> Iterator[Item]:
        for where, line in lines_of(text, path):
            item = parse_line(line, where)
            check_labels(item, where, classes)
            yield item

    items = Items(checked())
    if not items:
        raise UserError(f"{path} lists nothing; expected a line for each video.")
    return items


def lines_of(text: str, path: Path) -> Iterator[tuple[str, str]]:
    """Where it is and what it says, for each line that is not blank."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{path}, line {number}", line


def parse_line(line: str, where: str) -> Item:
    """The item of a line.

    Raises:
        UserError: naming where it is and what was expected.
    """
    columns: list[str] = line.rsplit(maxsplit=2)
    try:
        item = _item(columns)
    except (IndexError, ValueError):
        match = COMMAS.fullmatch(line)
        if match is None:
            raise UserError(
                f"{where} is {line!r}; expected a path, a number of frames and a label, for example: clips/1 48 3"
            ) from None
        item = _item(match.groups())
    if item.frames < 1:
        raise UserError(f"{where} has {item.frames} frames; expected at least 1. {_as_read(item)}")
    return item


def _item(columns: Sequence[str]) -> Item:
    return Item(columns[0].strip(), int(columns[1]), tuple(map(int, columns[2].split(","))))


def check_labels(item: Item, where: str, classes: int) -> None:
    """UserError for a label that is no class."""
    for label in item.labels:
        if not 0 <= label < classes:
            raise UserError(
                f"{where} has label {label}; expected 0 to {classes - 1}, since there are {classes}. {_as_read(item)}"
            )


def _as_read(item: Item) -> str:
    """What a line was taken for, which shows where its columns are others."""
    return f"The line is read as `path frames label`: {item.path!r}, {item.frames}, {','.join(map(str, item.labels))}."


def check_path(path: str) -> None:
    """UserError for a path that a list file cannot hold."""
    line = Item(path, 1, (0,)).line()
    try:
        line.encode()
        fits = line.splitlines() == [line] and parse_line(line, path).path == path
    except (UnicodeEncodeError, UserError):
        fits = False
    if not fits:
        raise UserError(
            f"The path {path!r} cannot stand in a list file; expected UTF-8 without line breaks and without a blank at "
            "either end. Rename it."
        )
