"""`afbench data`: known data sets and their files. Imports no torch; what works is imported when it runs."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from bench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.data.prepare import Plan

FOUND = 1  # exit status of a verification that found something


@dataclass(frozen=True)
class DataList:
    """The data sets that are known, what they are, and which are prepared where on this machine."""

    def __call__(self) -> None:
        from rich.console import Console
        from rich.table import Table

        from bench.data.catalogue import DIGITS
        from bench.data.known import KNOWN
        from bench.data.roots import VARIABLE, config_file, known_roots

        roots = known_roots()
        table = Table("name", "classes", "train", "val", "metric", "where", box=None, pad_edge=False)
        table.add_row(DIGITS, "16", "any", "any", "top1", "generated, nothing to prepare")
        for name in sorted({*KNOWN, *roots}):
            table.add_row(name, *_facts(name))
        console = Console()
        console.print(table)
        console.print(f"Found by ${VARIABLE} and {config_file()}.", highlight=False, markup=False)
        console.print("Where to ask for the others, and how to prepare them: docs/datasets.md.", highlight=False)


def _facts(name: str) -> tuple[str, str, str, str, str]:
    """Of a data set as it is here, else as it is published."""
    from bench.data.known import KNOWN
    from bench.data.listing import read_prepared
    from bench.data.roots import known_roots

    place = known_roots().get(name)
    if place is None:
        known = KNOWN[name]
        counts = known.videos
        return str(known.classes), str(counts["train"]), str(counts["val"]), known.metric, "not here"
    try:
        prepared = read_prepared(place[0])
    except UserError as error:
        return "?", "?", "?", "?", str(error)
    counts = prepared.counts
    where = f"{place[0]} (by {place[1]})"
    return str(len(prepared.classes)), str(counts["train"]), str(counts["val"]), prepared.metric, where


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
    lists: tuple[Path, Path] | None = None
    """TSN's list files of training and validation, whose folders of frames lie below --media."""
    classes: Path | None = None
    """With --lists: text file with the name of a class in each line."""
    template: str | None = None
    """--media has folders of frames with such names, for example {:05d}.jpg, and they stay where they are."""
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
        from bench.data.prepare import prepare
        from bench.data.roots import remember_root
        from bench.environment import available_cores

        plan, root = self._plan(), self._root()
        with _bar(f"preparing {self.name}") as report:
            outcome = prepare(plan, root, workers=self.workers or available_cores(), on_bad=self.on_bad, report=report)
        remember_root(self.name, root)
        for path, problem in outcome.bad.items():
            print(f"left out: {path}: {problem}", file=sys.stderr)
        counts = outcome.prepared.counts
        print(
            f"{self.name}: {len(outcome.prepared.classes)} classes, {counts['train']} training and {counts['val']} "
            f"validation videos in {root}"
        )
        print(f"Train on it: afbench run tsm --set data.dataset={self.name} --set data.size=224 --backbone resnet50")

    def _root(self) -> Path:
        import os

        from bench.data.roots import VARIABLE

        return self.out or Path(os.environ.get(VARIABLE) or "data") / self.name

    def _plan(self) -> Plan:
        from bench.data.own import Splitting
        from bench.data.plans import plan_of_known, plan_of_lists, plan_of_own
        from bench.data.prepare import Pictures

        pictures = None if self.keep_videos else Pictures(self.short_side, self.quality, self.rate)
        if self.from_folder is not None:
            splitting = Splitting(self.val_share, self.split_by, self.leave_out, self.seed)
            return plan_of_own(self.name, self.from_folder, self.table, splitting, pictures, self.flip)
        if self.lists is not None and self.media is not None and self.classes is not None:
            template = self.template or "{:05d}.jpg"
            return plan_of_lists(self.name, self.media, self.lists, template, self.first, self.classes, self.flip)
        if self.annotations is not None and self.media is not None:
            return plan_of_known(
                self.name, self.annotations, self.media, pictures, self.template, self.first, self.flip
            )
        raise UserError(
            f"What is {self.name} to be made of? Expected --from-folder DIR for own videos, --annotations DIR and "
            "--media DIR for a known data set, or --lists TRAIN VAL, --classes FILE and --media DIR for lists that "
            "exist."
        )


@dataclass(frozen=True)
class DataVerify:
    """Look at every video of a prepared data set; what is missing, short, truncated or mislabelled goes into bad.csv.

    The exit status is 1 where something was found.
    """

    name: tyro.conf.Positional[str]
    """Of the data set."""
    quick: bool = False
    """Only whether the files are there, without decoding them."""
    workers: int = 0
    """Processes; 0 is one per core."""

    def __call__(self) -> None:
        from bench.data.listing import read_prepared
        from bench.data.roots import find_root
        from bench.data.verify import verify, write_problems
        from bench.environment import available_cores

        prepared = read_prepared(find_root(self.name))
        with _bar(f"verifying {self.name}") as report:
            problems = verify(prepared, workers=self.workers or available_cores(), quick=self.quick, report=report)
        for each in problems:
            print(f"{each.split}: {each.path}: {each.kind}: {each.text}")
        path = write_problems(prepared, problems)
        total = sum(prepared.counts.values())
        print(f"{total} videos, {len(problems)} problems, listed in {path}", file=sys.stderr)
        if problems:
            sys.exit(FOUND)


def _bar(text: str) -> AbstractContextManager[Callable[[int, int], None]]:
    from bench.progress import counting

    return counting(text)


Data = (
    Annotated[DataList, tyro.conf.subcommand("list")]
    | Annotated[DataPrepare, tyro.conf.subcommand("prepare")]
    | Annotated[DataVerify, tyro.conf.subcommand("verify")]
)
