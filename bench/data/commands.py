"""`afbench data`: known data sets and their files. Imports no torch; what works is imported when it runs."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from bench.errors import UserError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.data.listing import Prepared
    from bench.data.prepare import Plan

FOUND = 1  # exit status of a verification that found something
CLIP = 8  # frames, unless a run is told otherwise
SHOWN = 10  # videos that were left out, on the terminal
MIRRORED = {"free": "yes, labels stay", "never": "never", "swap": "yes, left and right change places in labels"}
KEPT = " (found by an earlier verification; --quick decodes nothing)"


# What a data set can be made of, by the option that says so: the others that it needs, and those it may have.
PICTURES = ("short_side", "quality", "rate")
SOURCES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "from_folder": ((), ("table", "val_share", "split_by", "leave_out", "seed", "keep_videos", *PICTURES)),
    "annotations": (("media",), ("template", "first", "keep_videos", *PICTURES)),
    "lists": (("media", "classes"), ("template", "first")),
}
ALWAYS = ("name", "out", "flip", "workers", "on_bad")


@dataclass(frozen=True)
class DataList:
    """The data sets that are known, what they are, and which are prepared where on this machine."""

    name: tyro.conf.Positional[str] = ""
    """One of them in detail: what it is published as, where to ask for it, how to prepare it."""

    def __call__(self) -> None:
        from bench.data.catalogue import DIGITS
        from bench.data.known import KNOWN
        from bench.data.roots import known_roots, places

        roots = known_roots()
        if self.name:
            for heading, text in _details(self.name, roots.get(self.name), {DIGITS, *KNOWN, *roots}):
                print(f"{heading:<12} {text}")
            return
        rows = [
            ("name", "classes", "train", "val", "metric", "where"),
            (DIGITS, "16", "any", "any", "top1", "generated, nothing to prepare"),
            *((name, *_facts(name, roots.get(name))) for name in sorted({*KNOWN, *roots})),
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        for row in rows:
            # The last column as long as it is, so that a path can be copied.
            print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))
        print(f"Found by {places()}.")
        print("Where to ask for one, and how to prepare it: afbench data list NAME, and docs/datasets.md.")


def _facts(name: str, place: tuple[Path, str] | None) -> tuple[str, str, str, str, str]:
    """Of a data set as it is here, else as it is published."""
    from bench.data.known import KNOWN
    from bench.data.listing import read_prepared

    if place is None:
        known = KNOWN[name]
        return str(known.classes), str(known.videos["train"]), str(known.videos["val"]), known.metric, "not here"
    try:
        prepared = read_prepared(place[0])
    except UserError as error:
        return "?", "?", "?", "?", str(error)
    counts, where = prepared.counts, f"{place[0]} (by {place[1]})"
    return str(len(prepared.classes)), str(counts["train"]), str(counts["val"]), prepared.metric, where


def _details(name: str, place: tuple[Path, str] | None, names: set[str]) -> Iterator[tuple[str, str]]:
    """What is published of a data set, and what is here of it."""
    from bench.data.catalogue import DIGITS
    from bench.data.known import KNOWN
    from bench.data.listing import read_prepared

    if name not in names:
        raise unknown("data set", name, names)
    if name == DIGITS:
        yield "here", "generated, nothing to prepare"
        return
    if name in KNOWN:
        known = KNOWN[name]
        yield "title", known.title
        yield "published", f"{known.classes} classes, {_counted(known.videos)}"
        yield "metric", known.metric
        yield "mirrored", MIRRORED[known.flip]
        yield "annotations", known.annotations
        yield "media", known.media + (f", named {known.template}" if known.template else "")
        yield "ask at", known.address
        yield "prepare", f"afbench data prepare {name} --annotations DIR --media DIR"
    if place is None:
        yield "here", "not prepared"
        return
    prepared = read_prepared(place[0])
    yield "here", f"{place[0]} (by {place[1]})"
    left_out = len(prepared.made.get("left_out", ()))
    yield "", f"{len(prepared.classes)} classes, {_counted(prepared.counts)}; {left_out} left out"
    yield "", f"{prepared.layout.kind} in {prepared.media}"
    yield "", f"metric {prepared.metric}, mirrored: {MIRRORED[prepared.flip]}"


def _counted(videos: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in videos.items())


@dataclass(frozen=True)
class DataPrepare:
    """Make a data set ready for training: frames extracted in parallel, lists written, all of it resumable.

    Own videos: `prepare my-videos --from-folder DIR`, with a folder of videos for each class, or with --table a csv of
    path, label and if wanted group and split. A known data set: `prepare NAME --annotations DIR --media DIR`. Lists
    that exist: `prepare NAME --lists TRAIN VAL --classes FILE --media DIR --template ...`.
    """

    name: tyro.conf.Positional[str]
    """Of the data set: one of `afbench data list`, or a new one for own videos."""
    out: Path | None = None
    """Folder to make it in; NAME below $AFNET_BENCH_DATA, or below ./data."""
    from_folder: Path | None = None
    """Own videos: FOLDER/class/video.mp4, or FOLDER/train/class/... and FOLDER/val/class/..."""
    table: Path | None = None
    """csv with columns path (below --from-folder) and label, and if wanted group and split."""
    annotations: Path | None = None
    """Folder of the official annotation files."""
    media: Path | None = None
    """Folder of the official videos, or of folders of frames."""
    lists: tuple[Path, ...] = ()
    """TSN's list files of training and of validation, whose folders of frames lie below --media."""
    classes: Path | None = None
    """With --lists: text file with the name of a class in each line."""
    template: str | None = None
    """--media has folders of frames with such names, and they stay where they are; {:05d}.jpg for lists, and for data
    sets that are published as frames."""
    first: int = 1
    """Number of the first of these frames."""
    keep_videos: bool = False
    """Videos stay where they are and are decoded while training, instead of extracting frames."""
    short_side: int = 256
    """Pixels of the shorter side of extracted frames."""
    quality: int = 95
    """Of extracted JPEG frames."""
    rate: float = 0.0
    """Extracted frames a second; 0 takes all."""
    flip: Literal["", "free", "never", "swap"] = ""
    """Whether a mirrored video keeps its label (free), may not be (never), or changes left and right in it (swap); ""
    is the data set's own rule, and free for own videos."""
    val_share: float = 0.2
    """Of own videos, the share that validates, where nothing else says which."""
    split_by: Literal["class", "group"] = "class"
    """That share of each class, or of whole groups."""
    leave_out: tuple[str, ...] = ()
    """Groups that validate while all others train."""
    seed: int = 0
    """Of the draw of these."""
    workers: int = 0
    """Processes; 0 is one per core."""
    on_bad: Literal["stop", "skip"] = "stop"
    """A video that cannot be used ends the preparation, or is left out and named."""

    def __call__(self) -> None:
        from bench.data.listing import DESCRIPTION
        from bench.data.prepare import prepare
        from bench.data.roots import check_root, remember_root

        root, workers = self._root(), _processes(self.workers)
        check_root(self.name, root)
        plan = self._plan()
        with _bar(f"preparing {self.name}") as report:
            outcome = prepare(plan, root, workers=workers, on_bad=self.on_bad, report=report)
        for line in _left_out(outcome.bad, root / DESCRIPTION):
            print(f"left out: {line}", file=sys.stderr)
        counts = outcome.prepared.counts
        print(
            f"{self.name}: {len(outcome.prepared.classes)} classes, {counts['train']} training and {counts['val']} "
            f"validation videos in {root}; {len(outcome.bad)} left out"
        )
        for line in (*self._beware_share(outcome.prepared), *_beware(self.name, outcome.prepared)):
            print(f"beware: {line}", file=sys.stderr)
        remember_root(self.name, root)
        print(f"Train on it: afbench run tsm --dataset {self.name}, without a GPU with --backbone tiny")

    def _root(self) -> Path:
        from bench.data.roots import data_folder

        return self.out or (data_folder() or Path("data")) / self.name

    def _plan(self) -> Plan:
        from bench.data.own import Splitting
        from bench.data.plans import plan_of_known, plan_of_lists, plan_of_own
        from bench.data.prepare import Pictures

        self._check_options()
        pictures = None if self.keep_videos else Pictures(self.short_side, self.quality, self.rate)
        if self.from_folder is not None:
            splitting = Splitting(self.val_share, self.split_by, self.leave_out, self.seed)
            plan = plan_of_own(self.name, self.from_folder, self.table, splitting, pictures, self.flip)
            return replace(plan, source=str(self.from_folder.resolve()))
        assert self.media is not None
        if self.annotations is not None:
            plan = plan_of_known(
                self.name, self.annotations, self.media, pictures, self.template, self.first, self.flip
            )
            return replace(plan, source=str(self.media.resolve()))
        assert self.classes is not None
        template = self.template or "{:05d}.jpg"
        return plan_of_lists(self.name, self.media, self.lists, template, self.first, self.classes, self.flip)

    def _check_options(self) -> None:
        """UserError unless they say what the data set is made of, once, and nothing that has no use then."""
        from bench.data.listing import SPLITS
        from bench.data.prepare import option

        given = {field.name for field in fields(self) if getattr(self, field.name) != field.default} - {"name"}
        sources = [name for name in SOURCES if name in given]
        if len(sources) != 1:
            raise UserError(
                f"{self.name} is to be made of {' and '.join(map(option, sources)) or 'nothing'}; expected one of "
                "--from-folder DIR for own videos, --annotations DIR with --media DIR for a known data set, and "
                "--lists TRAIN VAL with --classes FILE and --media DIR for lists that exist."
            )
        (source,) = sources
        needed, used = SOURCES[source]
        useless = sorted(given - {source, *needed, *used, *ALWAYS})
        if missing := [name for name in needed if name not in given]:
            raise UserError(f"{option(source)} needs {' and '.join(map(option, missing))} too.")
        if useless:
            raise UserError(f"{', '.join(map(option, useless))} has no use with {option(source)}; expected none of it.")
        if self.lists and len(self.lists) != len(SPLITS):
            raise UserError(
                f"--lists has {' '.join(map(str, self.lists))}; expected two files, that of training and that of "
                "validation."
            )
        if self.keep_videos and (unused := sorted(given & set(PICTURES))):
            raise UserError(
                f"{', '.join(map(option, unused))} has no use with --keep-videos, which extracts nothing; expected one "
                "or the other."
            )

    def _beware_share(self, prepared: Prepared) -> Iterator[str]:
        """Where whole groups cannot give the share that was asked for."""
        validating, total = prepared.counts["val"], sum(prepared.counts.values())
        reached = validating / total
        if self.split_by == "group" and not self.leave_out and abs(reached - self.val_share) > self.val_share / 2:
            yield (
                f"{validating:,} of {total:,} videos validate, {reached:.0%} where --val-share is {self.val_share}, "
                "since groups stay whole; --leave-out says which of them validate"
            )


def _left_out(bad: Mapping[str, str], file: Path) -> Iterator[str]:
    """The first of these, and which file has all."""
    yield from (f"{path}: {problem}" for path, problem in list(bad.items())[:SHOWN])
    if len(bad) > SHOWN:
        yield f"and {len(bad) - SHOWN:,} more; all are in {file}, under left_out"


def _beware(name: str, prepared: Prepared) -> Iterator[str]:
    """What its user may not expect of a data set that was prepared."""
    from bench.data.known import KNOWN, swaps
    from bench.data.listing import SPLITS

    if name in KNOWN:
        for split, published in KNOWN[name].videos.items():
            if prepared.counts[split] != published:
                yield f"{prepared.counts[split]:,} {split} videos, of {published:,} that are published"
    short = [item.frames for split in SPLITS for item in prepared.items(split) if item.frames <= CLIP]
    if short:
        yield (
            f"{len(short):,} videos have no more than {CLIP} frames, the fewest {min(short)}: a clip of more frames, "
            "in validation of as many too, is the first one again and again, as in TSN's code; --frames of a run says "
            "how many it is to have"
        )
    labels = [item.labels for item in prepared.items("train")]
    trained, first = {label for of_video in labels for label in of_video}, {of_video[0] for of_video in labels}
    if len(trained) < len(prepared.classes):
        without = [name for label, name in enumerate(prepared.classes) if label not in trained]
        yield f"classes without a training video: {len(without)} of {len(prepared.classes)}, as {without[0]!r}"
    if never := sorted(trained - first):
        yield (
            f"a video is trained as the first of its labels, which {len(never)} of {len(prepared.classes)} classes "
            f"never are, as {prepared.classes[never[0]]!r}: --set data.settings.train_label=drawn trains it as any of "
            "them, drawn in each epoch"
        )
    pairs = swaps(tuple(prepared.classes)) if prepared.flip == "free" else ()
    if pairs:
        one, other = (prepared.classes[number] for number in pairs[0])
        yield (
            f"training clips are mirrored and keep their labels, but {one!r} and {other!r} seem to change places in a "
            "mirror: --flip swap exchanges such labels, --flip never mirrors nothing"
        )


@dataclass(frozen=True)
class DataVerify:
    """Look at every video of a prepared data set; what is missing, short, truncated or mislabelled goes into bad.csv.

    The exit status is 1 where something was found.
    """

    name: tyro.conf.Positional[str]
    """Of the data set."""
    quick: bool = False
    """Only whether the files are there, without decoding them; what a full verification found damaged is kept."""
    workers: int = 0
    """Processes; 0 is one per core."""

    def __call__(self) -> None:
        from bench.data.catalogue import DIGITS
        from bench.data.known import KNOWN
        from bench.data.listing import read_prepared
        from bench.data.roots import find_root
        from bench.data.verify import verify, write_problems

        if self.name == DIGITS:
            raise UserError(f"{DIGITS} is generated; expected the name of a data set on disk.")
        prepared = read_prepared(find_root(self.name, KNOWN))
        with _bar(f"verifying {self.name}") as report:
            problems = verify(prepared, workers=_processes(self.workers), quick=self.quick, report=report)
        for each in problems:
            print(f"{each.split}: {each.path}: {each.kind}: {each.text}{KEPT if each.before else ''}")
        path = write_problems(prepared, problems)
        total = sum(prepared.counts.values())
        print(f"{total} videos, {len(problems)} problems, listed in {path}", file=sys.stderr)
        if problems:
            sys.exit(FOUND)


def _processes(wanted: int) -> int:
    """UserError for a number below 0."""
    from bench.environment import available_cores

    if wanted < 0:
        raise UserError(f"--workers is {wanted}; expected a number of processes, or 0 for one per core.")
    return wanted or available_cores()


def _bar(text: str) -> AbstractContextManager[Callable[[int, int], None]]:
    from bench.progress import counting

    return counting(text)


Data = (
    Annotated[DataList, tyro.conf.subcommand("list")]
    | Annotated[DataPrepare, tyro.conf.subcommand("prepare")]
    | Annotated[DataVerify, tyro.conf.subcommand("verify")]
)
