"""Clips of a prepared data set: frames sampled, read, and the part of them that a network is given.

Imports no torch before frames are resized.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data import views
from bench.data.frames import Least, read_frames
from bench.data.items import Item, Items
from bench.data.listing import SPLITS, Prepared
from bench.data.sampling import Times, training_times, validation_times
from bench.data.source import Sampling, Taken
from bench.data.views import Part, Resizing, Size
from bench.errors import BadClip, UserError

MIRRORED = 0.5  # of the training clips, where the labels allow it
TRAIN_LABELS = ("first", "drawn")


@dataclass(frozen=True)
class Stored:
    """A prepared data set, opened.

    Attributes:
        prepared: what it is.
        size: pixels a side.
        counts: items used of each split; where there are more, as drawn from `seed`: a larger count adds to them.
        mode: of sampling.
        resizing: what crops are taken of.
        multi_scale: whether training crops are drawn in several scales, or are in the centre.
        flip: whether training clips are mirrored where labels allow it.
        train_label: of several labels the one that a training clip comes first with, one of TRAIN_LABELS.
        decoder: of video files.
    """

    prepared: Prepared
    size: int
    counts: dict[str, int]
    seed: int = 0
    mode: str = "segments"
    resizing: Resizing = field(default_factory=Resizing)
    multi_scale: bool = True
    flip: bool = True
    train_label: str = "first"
    decoder: str = "pyav"

    @property
    def classes(self) -> int:
        return len(self.prepared.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.prepared.classes

    @property
    def multi_label(self) -> bool:
        return self.prepared.metric == "map"

    def name(self, split: str, index: int) -> str:
        return self._items(split)[index].path

    def training_clip(self, index: int, frames: int, rng: np.random.Generator) -> Taken:
        item = self._training[index]
        times = training_times(self.mode, item.frames, frames, rng)
        draw = views.drawn(rng)
        mirrored = self.flip and self.prepared.flip != "never" and rng.random() < MIRRORED

        def part(picture: Size) -> list[Part]:
            crop = views.multi_scale(picture, self.size, draw) if self.multi_scale else views.centre(picture, self.size)
            return [crop]

        (seen,) = self._parts(item, times, part)
        labels = tuple(self._swaps.get(label, label) for label in item.labels) if mirrored else item.labels
        if self.train_label == "drawn":
            first = int(rng.integers(len(labels)))
            labels = (*labels[first:], *labels[:first])
        return Taken(times, seen, labels, mirrored)

    def validation_clips(self, index: int, sampling: Sampling) -> list[Taken]:
        item = self._validation[index]

        def crops(picture: Size) -> list[Part]:
            return [views.centre(picture, self.size)] if sampling.crops == 1 else views.three(picture, self.size)

        clips = validation_times(self.mode, item.frames, sampling.frames, sampling.clips)
        # All clips at once: frames that several of them have are decoded once.
        seen = self._parts(item, np.concatenate(clips), crops)
        by_clip = [np.split(frames, len(clips)) for frames in seen]  # for each crop, each clip's (T, h, w, 3)
        return [Taken(times, of_crop[number], item.labels) for number, times in enumerate(clips) for of_crop in by_clip]

    def _parts(self, item: Item, times: Times, choose: Callable[[Size], list[Part]]) -> list[NDArray[np.uint8]]:
        """The chosen parts of the picture (T, h, w, 3) at these times, decoded once, no larger than they need."""
        picture: Size = (0, 0)
        parts: list[Part] = []

        def least(height: int, width: int) -> Size:
            # Reading is what finds out how large the frames are.
            nonlocal picture, parts
            picture = self.resizing.size(height, width)
            parts = choose(picture)
            needed = [part.least(self.size) for part in parts]
            return max(rows for rows, _ in needed), max(columns for _, columns in needed)

        frames = self._read(item, times, least)
        if all((part.height, part.width) == (self.size, self.size) for part in parts):
            frames = views.resampled(frames, picture)
        return [views.cut(frames, part) for part in parts]

    def _read(self, item: Item, times: Times, least: Least) -> NDArray[np.uint8]:
        path = self.prepared.media / item.path
        try:
            if self.prepared.layout.kind == "frames":
                return read_frames(path, self.prepared.layout, times, least)
            from bench.data.video import read_video

            return read_video(path, times, least, self.decoder)
        except BadClip as error:
            if self.prepared.media.is_dir():
                raise
            raise UserError(
                f"The folder {self.prepared.media}, where all of {self.prepared.title} is, is gone. Expected it where "
                "`afbench data prepare` found it; where it was moved, the same command with its new place says so."
            ) from error

    def _items(self, split: str) -> Items:
        return self._training if split == "train" else self._validation

    @cached_property
    def _training(self) -> Items:
        return self._used("train")

    @cached_property
    def _validation(self) -> Items:
        return self._used("val")

    def _used(self, split: str) -> Items:
        items, wanted = self.prepared.items(split), self.counts[split]
        if wanted >= len(items):
            return items
        order = np.random.default_rng((self.seed, SPLITS.index(split))).permutation(len(items))
        return Items(items[number] for number in np.sort(order[:wanted]).tolist())

    @cached_property
    def _swaps(self) -> dict[int, int]:
        return {one: other for pair in self.prepared.swaps for one, other in (pair, pair[::-1])}

    def __getstate__(self) -> dict[str, Any]:
        # Workers read the lists themselves: faster than being sent a hundred thousand items, one after the other.
        return {each.name: getattr(self, each.name) for each in fields(self)}
