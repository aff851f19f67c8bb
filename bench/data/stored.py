"""Clips of a prepared data set: frames sampled, read, and the part of them that a network is given. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.data import views
from bench.data.frames import Least, read_frames
from bench.data.listing import Item, Prepared
from bench.data.sampling import training_times, validation_times
from bench.data.source import Sampling, Taken
from bench.data.views import Part, Resizing

PartOf = Callable[[int, int], Part]
"""Of a frame's height and width, the part that is taken."""
MIRRORED = 0.5  # of the training clips, where the labels allow it


@dataclass(frozen=True)
class Stored:
    """A prepared data set, opened.

    Attributes:
        prepared: what it is.
        size: pixels a side.
        counts: items used of each split; fewer than there are, as drawn from `seed`.
        mode: of sampling.
        resizing: what crops are taken of.
        multi_scale: whether training crops are drawn in several scales, or are in the centre.
        flip: whether training clips are mirrored where labels allow it.
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
    decoder: str = "pyav"

    @property
    def classes(self) -> int:
        return len(self.prepared.classes)

    @property
    def multi_label(self) -> bool:
        return self.prepared.metric == "map"

    @cached_property
    def _items(self) -> dict[str, Sequence[Item]]:
        return {split: self._used(split) for split in self.counts}

    def _used(self, split: str) -> list[Item]:
        items, wanted = self.prepared.items(split), self.counts[split]
        if wanted >= len(items):
            return items
        chosen = np.sort(np.random.default_rng((self.seed, len(split))).permutation(len(items))[:wanted])
        return [items[number] for number in chosen]

    def name(self, split: str, index: int) -> str:
        return self._items[split][index].path

    def training_clip(self, index: int, frames: int, rng: np.random.Generator) -> Taken:
        item = self._items["train"][index]
        times = training_times(self.mode, item.frames, frames, rng)
        draw = int(rng.integers(2**63))  # the part is drawn once the frames' size is known
        mirrored = self.flip and self.prepared.flip != "never" and rng.random() < MIRRORED

        def part(height: int, width: int) -> Part:
            picture = self.resizing.size(height, width)
            if not self.multi_scale:
                return views.centre(picture, self.size)
            return views.multi_scale(picture, self.size, np.random.default_rng(draw))

        (frame_part,) = self._cut(item, times, [part])
        labels = self._mirrored_labels(item.labels) if mirrored else item.labels
        return Taken(times, frame_part, labels, mirrored)

    def validation_clips(self, index: int, sampling: Sampling) -> list[Taken]:
        item = self._items["val"][index]
        makers = [self._crop(number, sampling.crops) for number in range(sampling.crops)]
        return [
            Taken(times, frames, item.labels)
            for times in validation_times(self.mode, item.frames, sampling.frames, sampling.clips)
            for frames in self._cut(item, times, makers)
        ]

    def _crop(self, number: int, of: int) -> PartOf:
        def part(height: int, width: int) -> Part:
            picture = self.resizing.size(height, width)
            return views.centre(picture, self.size) if of == 1 else views.three(picture, self.size)[number]

        return part

    def _cut(self, item: Item, times: NDArray[np.int64], parts: Sequence[PartOf]) -> list[NDArray[np.uint8]]:
        """Parts of the frames at these times, decoded once, no larger than the largest of them needs."""

        chosen: list[Part] = []

        def least(height: int, width: int) -> tuple[int, int]:
            chosen[:] = [part(height, width) for part in parts]
            wanted = [part.least(self.size) for part in chosen]
            return max(rows for rows, _ in wanted), max(columns for _, columns in wanted)

        frames = self._read(item, times, least)
        return [views.cut(frames, part) for part in chosen]

    def _read(self, item: Item, times: NDArray[np.int64], least: Least) -> NDArray[np.uint8]:
        path = self.prepared.media / item.path
        if self.prepared.layout.kind == "frames":
            return read_frames(path, self.prepared.layout, times, least)
        from bench.data.video import read_video

        return read_video(path, times, least, self.decoder)

    def _mirrored_labels(self, labels: tuple[int, ...]) -> tuple[int, ...]:
        swaps = self._swaps
        return tuple(swaps.get(label, label) for label in labels)

    @cached_property
    def _swaps(self) -> dict[int, int]:
        return {one: other for pair in self.prepared.swaps for one, other in (pair, pair[::-1])}
