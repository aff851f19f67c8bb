"""From videos and labels to a prepared data set: frames extracted in parallel, resumable, each item whole or absent.

What is done of a preparation is a line in ROOT/prepared.jsonl, written after the item is in its place; the same
command goes on from there. Lists and description are written last, so a data set that is described is complete.
Imports no torch.
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.data.listing import SPLITS, Item, Layout, Prepared, write_prepared
from bench.errors import BadClip, UserError
from bench.files import append_line, locked, make_folder, read_lines, write_text

DONE = "prepared.jsonl"
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
    """

    source: Path
    path: str
    labels: tuple[int, ...]
    split: str


@dataclass(frozen=True)
class Pictures:
    """How frames are extracted.

    Attributes:
        short_side: pixels of the shorter side; frames that are smaller stay as they are.
        quality: of the JPEG files, 1 to 100.
        rate: frames a second at most, 0 for all there are.
    """

    short_side: int = 256
    quality: int = 95
    rate: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What a preparation makes.

    Attributes:
        layout: of the result: FRAMES, or media that stay where they are.
        pictures: how frames are extracted; None where media stay as they are.
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
    made: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a preparation.

    Attributes:
        bad: what is wrong with each entry that was left out, by its path.
    """

    prepared: Prepared
    bad: dict[str, str]


def prepare(plan: Plan, root: Path, *, workers: int, on_bad: str, report: Report) -> Outcome:
    """Make or go on making a data set.

    Raises:
        UserError: for a root in use by another preparation or made otherwise before, an entry that cannot be used under
            "stop", a full disk, or splits in which nothing is left.
    """
    make_folder(root)
    busy = f"Another process is preparing {root}. Expected one at a time; wait for it, or prepare into another folder."
    with locked(root, otherwise=busy):
        done = _done(plan, root)
        _clear(root)
        todo = [entry for entry in plan.entries if entry.path not in done]
        bad: dict[str, str] = {}
        report(len(plan.entries) - len(todo), len(plan.entries))
        for number, (entry, frames, problem) in enumerate(_each(plan, root, todo, workers), start=1):
            if problem and on_bad == "stop":
                raise UserError(
                    f"{entry.split} video {entry.path!r} cannot be used: {problem}. Mend or remove it and run the same "
                    "command again, which goes on from here; or leave such videos out: --on-bad skip."
                )
            if problem:
                bad[entry.path] = problem
            else:
                done[entry.path] = frames
                append_line(root / DONE, json.dumps({"path": entry.path, "frames": frames}))
            report(len(plan.entries) - len(todo) + number, len(plan.entries))
        _clear(root)
        return Outcome(_described(plan, root, done, bad), bad)


def _described(plan: Plan, root: Path, done: dict[str, int], bad: dict[str, str]) -> Prepared:
    lists = {
        split: [
            Item(entry.path, done[entry.path], entry.labels)
            for entry in plan.entries
            if entry.split == split and entry.path in done
        ]
        for split in SPLITS
    }
    for split, items in lists.items():
        if not items:
            raise UserError(
                f"No {split} video of {plan.name} is left ({len(bad)} cannot be used); expected at least one in train "
                "and one in val."
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


def _done(plan: Plan, root: Path) -> dict[str, int]:
    """Frames of each item that an earlier run finished.

    Raises:
        UserError: where that run was asked for something else.
    """
    path = root / DONE
    wanted = {"name": plan.name, "layout": asdict(plan.layout), "pictures": plan.pictures and asdict(plan.pictures)}
    lines = [_parsed(line) for line in read_lines(path)]
    if not lines:
        write_text(path, json.dumps(wanted) + "\n")
        return {}
    if lines[0] != wanted:
        raise UserError(
            f"{root} holds a preparation made with {json.dumps(lines[0])}, but this one wants {json.dumps(wanted)}. "
            "Expected the same options to go on with it, or another folder: --out."
        )
    found = {line["path"]: line["frames"] for line in lines[1:] if line}  # a kill may cut the last line short
    here = {entry.path for entry in plan.entries}
    kept = plan.pictures is None
    return {
        name: frames for name, frames in found.items() if name in here and (kept or (root / "frames" / name).is_dir())
    }


def _parsed(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _clear(root: Path) -> None:
    """Remove what killed workers left half made."""
    shutil.rmtree(root / "frames.partial", ignore_errors=True)


# --- Workers ----------------------------------------------------------------------------------------------------------

Made = tuple[Entry, int, str]
"""An entry, its number of frames, and what is wrong with it where something is."""


def _each(plan: Plan, root: Path, entries: Sequence[Entry], workers: int) -> Iterator[Made]:
    """Prepare entries in parallel, as they get ready; one that kills its worker is found and named.

    Raises:
        UserError: when something cannot be written.
    """
    lost = yield from _in_pool(plan, root, entries, workers)
    for entry in lost:
        if (yield from _in_pool(plan, root, [entry], 1)):
            yield entry, 0, f"{entry.source} kills the process that reads it"


def _in_pool(plan: Plan, root: Path, entries: Sequence[Entry], workers: int) -> Generator[Made, None, list[Entry]]:
    """Returns the entries that were not finished when a worker died."""
    # Not forked: a fork of a process with threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        rest = deque(entries)
        running: dict[Future[tuple[int, str]], Entry] = {}
        try:
            while rest or running:
                # A few ahead: a hundred thousand futures would cost memory and make an end slow.
                while rest and len(running) < 4 * workers:
                    running[pool.submit(make, plan.layout, plan.pictures, root, rest[0])] = rest[0]
                    rest.popleft()
                ready, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    frames, problem = future.result()
                    yield running.pop(future), frames, problem
        except BrokenProcessPool:
            return [*running.values(), *rest]
        else:
            return []
        finally:
            pool.shutdown(cancel_futures=True)


def make(layout: Layout, pictures: Pictures | None, root: Path, entry: Entry) -> tuple[int, str]:
    """Prepare one entry.

    Returns:
        Its number of frames, and what is wrong with it: nothing where it is fine.

    Raises:
        UserError: when something cannot be written.
    """
    try:
        if pictures is not None:
            return extract(entry.source, root, entry.path, pictures), ""
        if layout.kind == "frames":
            return counted(entry.source, layout), ""
        from bench.data.video import count_frames

        return count_frames(entry.source), ""
    except BadClip as error:
        return 0, f"{error.file} {error.reason}"


def extract(video: Path, root: Path, name: str, pictures: Pictures) -> int:
    """Write all frames of a video into ROOT/frames/NAME, which appears when it is complete.

    Raises:
        BadClip: for a video that cannot be decoded to its end.
        UserError: when something cannot be written.
    """
    import simplejpeg

    from bench.data.video import all_frames

    target, partial = root / "frames" / name, root / "frames.partial" / name
    count = 0

    def small(height: int, width: int) -> tuple[int, int]:
        scale = min(pictures.short_side / min(height, width), 1.0)
        return round(height * scale), round(width * scale)

    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for frame in all_frames(video, small, pictures.rate):
            data = simplejpeg.encode_jpeg(frame, pictures.quality, "RGB", "420")
            (partial / FRAMES.frame(count)).write_bytes(data)
            count += 1
        if not count:
            raise BadClip(str(video), "holds no frames")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except OSError as error:
        full = " The disk is full." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise UserError(
            f"{target} cannot be written ({error.strerror or error}).{full} What is done was kept; with room for the "
            "rest, the same command goes on from here."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return count


def counted(folder: Path, layout: Layout) -> int:
    """Number of frames in a folder.

    Raises:
        BadClip: where there is none, or one is missing among them.
    """
    if not folder.is_dir():
        raise BadClip(str(folder), "is no folder of frames")
    names = {path.name for path in folder.iterdir()}
    count = 0
    while layout.frame(count) in names:
        count += 1
    suffix = Path(layout.template).suffix
    others = sum(name.endswith(suffix) for name in names) - count
    if not count:
        raise BadClip(str(folder), f"has no {layout.frame(0)}")
    if others:
        raise BadClip(str(folder), f"has {others} pictures after {layout.frame(count)}, which is missing")
    return count
