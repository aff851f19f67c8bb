"""Every video of a prepared data set looked at: missing, short, truncated, mislabelled. Imports no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.data.frames import read_picture
from bench.data.items import Item, check_labels, lines_of, parse_line
from bench.data.listing import SPLITS, Layout, Prepared, digest, list_file, read_list
from bench.data.pool import Died, each
from bench.data.prepare import BAD, COLUMNS, damaged, read_bad
from bench.errors import BadClip, UserError
from bench.files import replacing

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one item, or with a list.

    Attributes:
        path: of the item, or the name of the list.
        kind: "missing", "short", "long", "damaged", "label", "twice", or of a list "list".
        text: what was found.
        before: whether an earlier verification found it, and this one did not look.
    """

    split: str
    path: str
    kind: str
    text: str
    before: bool = False


def verify(prepared: Prepared, *, workers: int, quick: bool, report: Report) -> list[Problem]:
    """Look at every item; what is wrong, in the order of the lists.

    Args:
        quick: whether files are found there, without decoding them; what is listed in ROOT/bad.csv and shows in
            decoding alone is taken over from there.

    Raises:
        UserError: for a list that cannot be read.
    """
    items, problems = [], []
    for split in SPLITS:
        listed, wrong = _listed(prepared, split)
        items += [(split, item) for item in listed]
        problems += wrong
    problems += _misplaced(prepared, items)
    todo = list(dict.fromkeys(item for _, item in items))
    found: dict[Item, tuple[str, str] | Died | None] = {}
    # Lists that were taken over may use the first frames of a longer folder.
    whole = prepared.made.get("from") != "lists"
    with each(partial(look, prepared.media, prepared.layout, quick, whole), todo, workers) as results:
        for number, (item, what) in enumerate(results, start=1):
            found[item] = what
            report(number, len(todo))
    before = _found_by_decoding(prepared) if quick else {}
    for split, item in items:
        what = found[item]
        if isinstance(what, Died):
            what = ("damaged", f"{prepared.media / item.path} kills the process that reads it")
        if what is not None:
            problems.append(Problem(split, item.path, *what))
        elif (split, item.path) in before:
            problems.append(before[split, item.path])
    return problems


def _found_by_decoding(prepared: Prepared) -> dict[tuple[str, str], Problem]:
    """What the last verification listed that a quick one neither sees nor denies, by split and path."""
    kinds = {"damaged"} if prepared.layout.kind == "frames" else {"damaged", "short", "long"}
    found = [Problem(**row, before=True) for row in read_bad(prepared.root) if row["kind"] in kinds]
    return {(problem.split, problem.path): problem for problem in found}


def write_problems(prepared: Prepared, problems: list[Problem]) -> Path:
    """The list of them, ROOT/bad.csv, empty but for its heading where there are none."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((each.split, each.path, each.kind, each.text) for each in problems)
    path = prepared.root / BAD
    with replacing(path) as file:
        file.write(text.getvalue().encode())
    return path


def _listed(prepared: Prepared, split: str) -> tuple[list[Item], list[Problem]]:
    """The items of a list that can be read, and what is wrong with the list itself."""
    path = list_file(prepared.root, split)
    text = read_list(path)
    items, problems = [], []
    if digest(text) != prepared.digests[split]:
        problems.append(Problem(split, path.name, "list", prepared.changed(path)))
    for where, line in lines_of(text, path):
        try:
            items.append(parse_line(line, where))
        except UserError as error:
            problems.append(Problem(split, path.name, "list", str(error)))
    return items, problems


def _misplaced(prepared: Prepared, items: list[tuple[str, Item]]) -> Iterator[Problem]:
    """Labels that are no class or not that of the folder, and items that are listed more than once."""
    seen: dict[str, str] = {}
    classes = prepared.classes
    for split, item in items:
        if item.path in seen:
            yield Problem(split, item.path, "twice", f"is listed in {seen[item.path]} already")
        seen[item.path] = split
        try:
            check_labels(item, f"{item.path} in {split}", len(classes))
        except UserError as error:
            yield Problem(split, item.path, "label", str(error))
            continue
        folder, own = Path(item.path).parent.name, [classes[label] for label in item.labels]
        if folder in classes and folder not in own:
            yield Problem(split, item.path, "label", f"lies in {folder!r} but is labelled {', '.join(map(repr, own))}")


def look(media: Path, layout: Layout, quick: bool, whole: bool, item: Item) -> tuple[str, str] | None:
    """Kind and text of what is wrong with an item; None where nothing is. In another process.

    Args:
        whole: whether a list has all frames of a folder, so that more of them are a fault.
    """
    path = media / item.path
    try:
        path.stat()
        if layout.kind == "frames":
            return _look_at_frames(path, layout, quick, whole, item)
        return _look_at_video(path, quick, item)
    except FileNotFoundError:
        return "missing", f"there is no {path}"
    except OSError as error:
        return "damaged", f"{path} cannot be read ({error.strerror})"
    except BadClip as error:
        return "damaged", f"{error.file} {error.reason}"
    except UserError:
        raise
    except Exception as error:  # whatever a decoder makes of a foreign file
        return "damaged", damaged(path, error)


def _look_at_video(path: Path, quick: bool, item: Item) -> tuple[str, str] | None:
    from bench.data.video import all_frames, check_whole, count_frames

    check_whole(path)
    count = count_frames(path) if quick else sum(1 for _ in all_frames(path))
    if count != item.frames:
        return ("short" if count < item.frames else "long"), f"{path} has {count} frames, the list says {item.frames}"
    return None


def _look_at_frames(path: Path, layout: Layout, quick: bool, whole: bool, item: Item) -> tuple[str, str] | None:
    numbers = layout.numbers(inside.name for inside in path.iterdir())
    absent = sorted(set(range(item.frames)) - numbers)
    if absent:
        return "short", f"{path} lacks {len(absent)} of {item.frames} frames, the first {layout.frame(absent[0])}"
    if whole and max(numbers) >= item.frames:
        return "long", f"{path} has {layout.frame(max(numbers))}, the list says {item.frames} frames"
    if quick:
        return None
    sizes = {read_picture(path / layout.frame(number)).shape for number in range(item.frames)}
    if len(sizes) > 1:
        return "damaged", f"{path} has frames of {len(sizes)} sizes"
    return None
