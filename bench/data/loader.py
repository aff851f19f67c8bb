"""Which clips a batch is made of: pure functions of (seed, epoch, position), so that a resumed run sees what it would
have seen, in whatever order workers finish, however many there are, and on however many ranks a training runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import NDArray

from bench.data.batches import LEFT, Batch, assembled
from bench.data.source import Sampling, Source, Taken
from bench.data.workers import stream


@dataclass(frozen=True)
class TrainingClips:
    """The batches of a training, by their number; each epoch in a new order, frames drawn per video and epoch.

    Attributes:
        clips: videos of an epoch; those of a last batch that is not full are left out.
        frames: of a clip, T.
        batch: clips of a step.
        part: clips that a network is given at once; divides `batch`.
        on_bad: "stop" or "skip".
        on_device: whether resizing is left to the device that the network runs on.
    """

    source: Source
    clips: int
    frames: int
    batch: int
    part: int
    seed: int
    on_bad: str = "stop"
    on_device: bool = False

    @property
    def steps_per_epoch(self) -> int:
        """A last batch that is not full is left out."""
        return self.clips // self.batch

    def make(self, key: tuple[int, int]) -> Batch:
        """Part number `key[1]` of step number `key[0]`.

        Raises:
            UserError: for a video that cannot be used, under "stop".
        """
        step, part = key
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self.batch + part * self.part
        videos = self._order(epoch)[start : start + self.part]

        def taken(video: int) -> list[Taken]:
            rng = np.random.default_rng((self.seed, epoch, video))
            return [self.source.training_clip(video, self.frames, rng)]

        return assembled(self.source, "train", videos, taken, on_bad=self.on_bad, on_device=self.on_device)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return _permutation(self.seed, epoch, self.clips)

    def stream(self, first_step: int, steps: int, parts: Sequence[int] = (0,), workers: int = 0) -> Iterator[Batch]:
        """These parts of steps first_step .. steps - 1, one after the other."""
        keys = _Parts(range(first_step, steps), parts)
        return stream(self.make, keys, workers, _bytes(self.part, self.frames, self.source.size, self.on_device))


@dataclass(frozen=True)
class _Parts(Sequence[tuple[int, int]]):
    """Every step with each of these parts; not a list of them, which every worker would have a copy of."""

    steps: range
    parts: Sequence[int]

    def __len__(self) -> int:
        return len(self.steps) * len(self.parts)

    @overload
    def __getitem__(self, place: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, int]]: ...
    def __getitem__(self, place: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        step, part = divmod(range(len(self))[place], len(self.parts))
        return self.steps[step], self.parts[part]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, clips: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(clips)


@dataclass(frozen=True)
class ValidationClips:
    """The validation videos in order, in batches; the last one may be smaller.

    Attributes:
        clips: videos.
        batch: videos of a batch.
        on_bad: "stop" or "skip".
        on_device: whether resizing is left to the device that the network runs on.
    """

    source: Source
    clips: int
    sampling: Sampling
    batch: int
    on_bad: str = "stop"
    on_device: bool = False

    def __len__(self) -> int:
        return -(-self.clips // self.batch)

    def make(self, number: int) -> Batch:
        """Batch number `number`.

        Raises:
            UserError: for a video that cannot be used, under "stop".
        """
        return self.of(np.arange(number * self.batch, min((number + 1) * self.batch, self.clips)))

    def of(self, videos: NDArray[np.int64]) -> Batch:
        """These videos in one batch.

        Raises:
            UserError: as make.
        """

        def taken(video: int) -> list[Taken]:
            return self.source.validation_clips(video, self.sampling)

        return assembled(self.source, "val", videos, taken, on_bad=self.on_bad, on_device=self.on_device)

    def stream(self, numbers: Sequence[int] | None = None, workers: int = 0) -> Iterator[Batch]:
        """These batches, or all of them."""
        largest = _bytes(self.batch * self.sampling.views, self.sampling.frames, self.source.size, self.on_device)
        return stream(self.make, range(len(self)) if numbers is None else numbers, workers, largest)


def _bytes(clips: int, frames: int, size: int, on_device: bool) -> int:
    """Of so many clips, at most."""
    return clips * frames * size**2 * 3 * (LEFT if on_device else 1)
