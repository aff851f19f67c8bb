"""Every video of a prepared data set looked at: missing, short, truncated, mislabelled. Imports no torch."""

from __future__ import annotations

import csv
import io
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.frames import read_picture
from bench.data.listing import Item, Prepared, list_file, parse_line
from bench.errors import BadClip, UserError
from bench.files import replacing

Report = Callable[[int, int], None]
BAD = "bad.csv"


@dataclass(frozen=True)
class Problem:
    """What is wrong with one item.

    Attributes:
        kind: "missing", "short", "long", "damaged", "label" or "twice".
        text: what was found.
    """

    split: str
    path: str
    kind: str
    text: str


def verify(prepared: Prepared, *, workers: int, quick: bool, report: Report) -> list[Problem]:
    """Look at every item.

    Args:
        quick: whether files are found there, without decoding them.

    Raises:
        UserError: for a list that cannot be read.
    """
    items, problems = _listed(prepared)
    looked: Iterator[tuple[str, str] | None]
    # Not forked: a fork of a process with threads may hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        arguments = ([prepared] * len(items), [item for _, item in items], [quick] * len(items))
        looked = pool.map(look, *arguments, chunksize=8)
        for number, ((split, item), found) in enumerate(zip(items, looked, strict=True), start=1):
            if found is not None:
                problems.append(Problem(split, item.path, *found))
            report(number, len(items))
    return problems


def write_problems(prepared: Prepared, problems: list[Problem]) -> Path:
    """The list of them, ROOT/bad.csv, empty but for its heading where there are none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("split", "path", "kind", "text"))
    writer.writerows((each.split, each.path, each.kind, each.text) for each in problems)
    path = prepared.root / BAD
    with replacing(path) as file:
        file.write(text.getvalue().encode())
    return path


def _listed(prepared: Prepared) -> tuple[list[tuple[str, Item]], list[Problem]]:
    """Every item of every list, and what is wrong with the lists themselves."""
    items: list[tuple[str, Item]] = []
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for split in prepared.digests:
        path = list_file(prepared.root, split)
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            try:
                item = parse_line(line, f"{path}, line {number}", len(prepared.classes))
            except UserError as error:
                problems.append(Problem(split, line, "label", str(error)))
                continue
            if item.path in seen:
                problems.append(Problem(split, item.path, "twice", f"is in {seen[item.path]} too"))
            folder, own = Path(item.path).parent.name, prepared.classes[item.labels[0]]
            if folder in prepared.classes and folder not in (prepared.classes[label] for label in item.labels):
                problems.append(Problem(split, item.path, "label", f"lies in {folder!r} but is labelled {own!r}"))
            seen[item.path] = split
            items.append((split, item))
    return items, problems


def look(prepared: Prepared, item: Item, quick: bool) -> tuple[str, str] | None:
    """Kind and text of what is wrong with an item; None where nothing is."""
    path = prepared.media / item.path
    if not path.exists():
        return "missing", f"there is no {path}"
    try:
        if prepared.layout.kind == "frames":
            return _look_at_frames(prepared, path, item, quick)
        from bench.data.video import all_frames, count_frames

        count = count_frames(path) if quick else sum(1 for _ in all_frames(path))
    except BadClip as error:
        return "damaged", f"{error.file} {error.reason}"
    if count != item.frames:
        return ("short" if count < item.frames else "long"), f"{path} has {count} frames, the list says {item.frames}"
    return None


def _look_at_frames(prepared: Prepared, path: Path, item: Item, quick: bool) -> tuple[str, str] | None:
    names = {inside.name for inside in path.iterdir()}
    absent = [name for name in map(prepared.layout.frame, range(item.frames)) if name not in names]
    if absent:
        return "short", f"{path} lacks {len(absent)} of {item.frames} frames, the first {absent[0]}"
    if prepared.layout.frame(item.frames) in names:
        return "long", f"{path} has more than the {item.frames} frames of the list"
    sizes: set[tuple[int, ...]] = set()
    for time in np.arange(0 if quick else item.frames).tolist():
        sizes.add(read_picture(path / prepared.layout.frame(time)).shape)
    if len(sizes) > 1:
        return "damaged", f"{path} has frames of {len(sizes)} sizes"
    return None
