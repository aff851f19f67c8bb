"""From videos and labels to a prepared data set: frames extracted in parallel, resumable, each item whole or absent.

What is done of a preparation is a line in ROOT/prepared.jsonl, written after the item is in its place; the same
command goes on from there. Its first line is what was asked for. Lists and description are written last, so a data set
that is described is complete. Imports no torch.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.data.items import Item, check_path
from bench.data.listing import BEGUN, DESCRIPTION, SPLITS, Layout, Prepared, list_file, write_prepared
from bench.data.pool import Died, each
from bench.errors import BadClip, UserError
from bench.fields import Checked, number
from bench.files import append_line, locked, make_folder, read_lines, write_text

BAD = "bad.csv"  # of a verification
COLUMNS = ("split", "path", "kind", "text")  # of that
MENDABLE = ("missing", "short", "long", "damaged")
PARTIAL = "frames.partial"
FRAMES = Layout("frames", "frames", "{:05d}.jpg", first=1)
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Entry:
    """A video that is to be part of a data set.

    Attributes:
        source: its file, or its folder of frames.
        path: what it is called below the folder of the media.
        labels: indices of its classes.
        split: "train" or "val".
        frames: that are used of its folder; 0 for all there are.
    """

    source: Path
    path: str
    labels: tuple[int, ...]
    split: str
    frames: int = 0


def option(name: str) -> str:
    """How the command line calls a field."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Options(Checked):
    """Fields that are options of `afbench data prepare`, and called so in errors."""

    def _label(self, name: str) -> str:
        return option(name)


@dataclass(frozen=True)
class Pictures(Options):
    """How frames are extracted; those with a smaller short side stay as they are."""

    short_side: int = number(256, "pixels of the shorter side", at_least=8)
    quality: int = number(95, "of the JPEG files", at_least=1, at_most=100)
    rate: float = number(0.0, "frames a second, 0 for all there are", at_least=0)


@dataclass(frozen=True)
class Plan:
    """What a preparation makes.

    Attributes:
        layout: of the result: FRAMES, or media that stay where they are.
        pictures: how frames are extracted; None where media stay as they are.
        source: folder that frames are extracted from; "" where nothing is said.
        made: what else the description keeps of where all this comes from.
    """

    name: str
    title: str
    entries: Sequence[Entry]
    classes: Sequence[str]
    layout: Layout
    pictures: Pictures | None
    metric: str = "top1"
    flip: str = "free"
    swaps: tuple[tuple[int, int], ...] = ()
    source: str = ""
    made: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a preparation.

    Attributes:
        bad: what is wrong with each entry that was left out, by its path, in the order of the plan.
    """

    prepared: Prepared
    bad: dict[str, str]


def prepare(plan: Plan, root: Path, *, workers: int, on_bad: str, report: Report) -> Outcome:
    """Make or go on making a data set.

    Raises:
        UserError: for a plan that cannot be carried out, a root in use by another preparation, made otherwise before or
            with other things in it, an entry that cannot be used under "stop", a full disk, or splits in which nothing
            is left.
    """
    _check(plan)
    make_folder(root)
    busy = f"Another process is preparing {root}. Expected one at a time; wait for it, or prepare into another folder."
    with locked(root, otherwise=busy):
        done = _begun(plan, root)
        _clear(root)
        todo = [entry for entry in plan.entries if entry.path not in done]
        bad: dict[str, str] = {}
        report(len(plan.entries) - len(todo), len(plan.entries))
        with each(partial(make, plan.layout, plan.pictures, root), todo, workers) as results:
            for count, (entry, made) in enumerate(results, start=len(plan.entries) - len(todo) + 1):
                if isinstance(made, int):
                    done[entry.path] = made
                    append_line(root / BEGUN, json.dumps(_line(entry, made)))
                else:
                    bad[entry.path] = _problem(entry, made, on_bad, "" if done else _none_so_far(plan))
                report(count, len(plan.entries))
        _clear(root)
        bad = {entry.path: bad[entry.path] for entry in plan.entries if entry.path in bad}
        outcome = Outcome(_described(plan, root, done, bad), bad)
        if plan.pictures:  # what stays where it is was not made anew
            (root / BAD).unlink(missing_ok=True)
        return outcome


def _problem(entry: Entry, made: str | Died, on_bad: str, hint: str) -> str:
    """What is wrong with an entry, which is an error under "stop"; a hint is for that."""
    problem = f"{entry.source} kills the process that reads it" if isinstance(made, Died) else made
    if on_bad == "stop":
        raise UserError(
            f"The {entry.split} video {entry.path!r} cannot be used: {problem}. Mend or remove it and run the same "
            f"command again, which goes on from here; or leave such videos out: --on-bad skip.{hint}"
        )
    return problem


def _none_so_far(plan: Plan) -> str:
    """What is said where no video could be used, which an option may be the cause of."""
    layout = plan.layout
    if plan.pictures is None and layout.kind == "frames":
        return (
            f" None could be used so far: --media is {layout.media}, --template {layout.template} and --first "
            f"{layout.first}; expected folders with a {layout.frame(0)} each."
        )
    if plan.made.get("from") == "annotations":
        return (
            f" None could be used so far: --media is {plan.source}; expected video files of such names in it, in "
            "whatever folders, unpacked."
        )
    return ""


def _check(plan: Plan) -> None:
    """UserError for what would be found only when all is extracted, or would lose what is."""
    for split in SPLITS:
        if not any(entry.split == split for entry in plan.entries):
            raise UserError(f"{plan.name} has no {split} video; expected at least one in train and one in val.")
    paths = [entry.path for entry in plan.entries]
    for path in paths:
        check_path(path)
    if plan.pictures is None:
        _check_splits(plan)
        return
    # Each is a folder that is removed and made anew, so none may be another, hold another, or lie elsewhere.
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise UserError(f"Two videos of {plan.name} are called {path!r}; expected a path of its own for each.")
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise UserError(f"The video {path!r} of {plan.name} leaves its folder; expected paths below it.")
        seen.add(path)
    for path in paths:
        above = [str(folder) for folder in Path(path).parents if str(folder) in seen]
        if above:
            raise UserError(
                f"The frames of {path!r} would lie among those of {above[0]!r}; expected a folder for each."
            )


def _check_splits(plan: Plan) -> None:
    """UserError unless every video is in one of them."""
    train, val = ({entry.path for entry in plan.entries if entry.split == split} for split in SPLITS)
    both = sorted(train & val)
    if both:
        raise UserError(
            f"Videos of {plan.name} are in train and in val ({len(both)}, the first {both[0]!r}); expected each in one "
            "of them, since what was trained on validates nothing."
        )


def _described(plan: Plan, root: Path, done: dict[str, int], bad: dict[str, str]) -> Prepared:
    lists = {
        split: [
            Item(entry.path, entry.frames or done[entry.path], entry.labels)
            for entry in plan.entries
            if entry.split == split and entry.path in done
        ]
        for split in SPLITS
    }
    for split, items in lists.items():
        if not items:
            first = next(bad[entry.path] for entry in plan.entries if entry.split == split)
            raise UserError(
                f"No {split} video of {plan.name} is left ({len(bad)} cannot be used). The first: {first}. Expected at "
                f"least one in train and one in val.{'' if done else _none_so_far(plan)}"
            )
    pictures = asdict(plan.pictures) if plan.pictures else {}
    return write_prepared(
        root,
        name=plan.name,
        title=plan.title,
        layout=plan.layout,
        classes=plan.classes,
        metric=plan.metric,
        flip=plan.flip,
        swaps=plan.swaps,
        lists=lists,
        made={**plan.made, **pictures, "left_out": bad},
    )


def _begun(plan: Plan, root: Path) -> dict[str, int]:
    """Frames of each item that an earlier run finished; what it was asked for is written where there was none.

    Raises:
        UserError: where that run was asked for something else, or the folder holds what no preparation made.
    """
    path = root / BEGUN
    wanted = {"name": plan.name, **asdict(plan.layout)}
    if plan.pictures:
        wanted |= {**asdict(plan.pictures), "source": plan.source}
    lines = [_parsed(line) for line in read_lines(path)]
    if not lines:
        _check_empty(plan, root)
    else:
        _check_same(root, lines[0], wanted)
    found = {line["path"]: line for line in lines[1:] if line.keys() == {"path", "frames", "source"}}
    # A kill may have cut the last line short, and the next one would be added to it.
    write_text(path, "".join(json.dumps(record) + "\n" for record in [wanted, *found.values()]))
    mend = _found_bad(root)
    return {
        entry.path: found[entry.path]["frames"]
        for entry in plan.entries
        if entry.path in found
        and entry.path not in mend
        # Another video of that name is made anew.
        and found[entry.path] == _line(entry, found[entry.path]["frames"])
        and entry.frames in (0, found[entry.path]["frames"])
        and (plan.pictures is None or (root / FRAMES.media / entry.path).is_dir())
    }


def _check_same(root: Path, before: dict[str, Any], wanted: dict[str, Any]) -> None:
    """UserError where an earlier run was asked for something else; videos that moved are the same ones."""
    differ = sorted(name for name in {*before, *wanted} if before.get(name) != wanted.get(name))
    if "source" in differ and not (before.get("source") and wanted.get("source")):
        differ.remove("source")  # which one of the two does not say
    if not differ:
        return
    moved, old = differ in (["source"], ["media"]), str(before.get(differ[0], ""))
    if moved and _is_gone(old):
        return
    unfinished = "" if (root / DESCRIPTION).exists() else ", which is not finished"
    raise UserError(
        f"{root} holds a preparation with {_words(before, differ)}, but this one wants {_words(wanted, differ)}. "
        f"Expected the same options to go on with it, or another folder: --out; or remove {root}{unfinished}."
        + (f" Videos that moved are taken from their new place once {old} is gone." if moved else "")
    )


def _is_gone(folder: str) -> bool:
    """Where nobody may look it may be there."""
    try:
        return not Path(folder).exists()
    except OSError:
        return False


def _line(entry: Entry, frames: int) -> dict[str, Any]:
    """What is kept of an item that is done: its frames, and which file it was made of."""
    try:
        state = entry.source.stat()
        source = f"{entry.source.absolute()} {state.st_size} {state.st_mtime_ns}"
    except OSError:
        source = ""
    return {"path": entry.path, "frames": frames, "source": source}


def _found_bad(root: Path) -> set[str]:
    """Items that a verification found to be damaged on disk, which are made anew."""
    return {row["path"] for row in read_bad(root) if row["kind"] in MENDABLE}


def read_bad(root: Path) -> list[dict[str, str]]:
    """The rows that the last verification left, by COLUMNS; none where there was none, and none of other columns."""
    rows = csv.DictReader(read_lines(root / BAD))
    return [row for row in rows if row.keys() == set(COLUMNS) and all(row.values())]


def _check_empty(plan: Plan, root: Path) -> None:
    """UserError where a preparation would write over what is not its own."""
    names = [DESCRIPTION, *(list_file(root, split).name for split in SPLITS)]
    for name in [*names, FRAMES.media] if plan.pictures else names:
        if (root / name).exists():
            raise UserError(
                f"{root} holds {name}, which no preparation that can be gone on with left there. Expected a folder "
                "without it: move it away, or choose another folder with --out."
            )


def _words(values: dict[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {values.get(name)!r}" for name in names)


def _parsed(line: str) -> dict[str, Any]:
    """A line of BEGUN; nothing where it is cut short."""
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _clear(root: Path) -> None:
    """Remove what killed processes left half made; what cannot be removed is in nobody's way."""
    shutil.rmtree(root / PARTIAL, ignore_errors=True)


# --- In another process -----------------------------------------------------------------------------------------------


def make(layout: Layout, pictures: Pictures | None, root: Path, entry: Entry) -> int | str:
    """Prepare one entry.

    Returns:
        Its number of frames, or what is wrong with it.

    Raises:
        UserError: when something cannot be written.
    """
    try:
        if not entry.source.exists():
            return f"{entry.source} was not found"
        if pictures is None and layout.kind == "frames":
            return counted(entry.source, layout, entry.frames)
        from bench.data.video import check_whole, count_frames

        check_whole(entry.source)
        if pictures is not None:
            return extract(entry.source, root, entry.path, pictures)
        return count_frames(entry.source)
    except BadClip as error:
        return f"{error.file} {error.reason}"
    except UserError:
        raise
    except Exception as error:  # whatever a decoder makes of a foreign file
        return damaged(entry.source, error)


def damaged(path: Path, error: Exception) -> str:
    """What is said of a file whose reading failed as nobody foresaw."""
    return f"{path} is damaged: {type(error).__name__}: {' '.join(str(error).split())}"


def extract(video: Path, root: Path, name: str, pictures: Pictures) -> int:
    """Write all frames of a video into ROOT/frames/NAME, which appears when it is complete.

    Raises:
        BadClip: for a video that cannot be decoded as far as it goes, or whose frames change their size.
        UserError: when something cannot be written.
    """
    import simplejpeg

    from bench.data.video import all_frames

    # A process extracts one video at a time.
    target, part = root / FRAMES.media / name, root / PARTIAL / str(os.getpid())
    count, sizes = 0, set()

    def small(height: int, width: int) -> tuple[int, int]:
        scale = pictures.short_side / min(height, width)  # above 1 the frame stays as it is
        return round(height * scale), round(width * scale)

    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for frame in all_frames(video, small, pictures.rate):
            sizes.add(frame.shape)
            if len(sizes) > 1:
                raise BadClip(str(video), f"changes the size of its frames at number {count + 1}")
            data = simplejpeg.encode_jpeg(frame, pictures.quality, "RGB", "420")
            (part / FRAMES.frame(count)).write_bytes(data)
            count += 1
        if not count:
            raise BadClip(str(video), "holds no frames")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error.strerror or error}). What is done was kept; with that mended, as room "
            "made on a full disk, the same command goes on from here."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def counted(folder: Path, layout: Layout, wanted: int = 0) -> int:
    """Number of frames in a folder.

    Args:
        wanted: as many as must be there, and are taken; 0 for all.

    Raises:
        BadClip: where there is none, one is missing among them, or one comes before the first.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadClip(str(folder), "is no folder of frames") from error
    except OSError as error:
        raise BadClip(str(folder), f"cannot be read ({error.strerror})") from error
    numbers = layout.numbers(names)
    if not numbers:
        others = f"{len(names)} other files, as {names[0]}" if names else "nothing"
        raise BadClip(str(folder), f"has no {layout.frame(0)}, but {others}")
    count = wanted or max(numbers) + 1
    missing = sorted(set(range(count)) - numbers)
    if missing:
        raise BadClip(str(folder), f"lacks {len(missing)} of {count} frames, the first {layout.frame(missing[0])}")
    if min(numbers) < 0:
        raise BadClip(
            str(folder), f"has {layout.frame(min(numbers))} before the first frame {layout.frame(0)} (--first)"
        )
    return count
