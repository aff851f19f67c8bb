"""Batches of clips: pure functions of (seed, epoch, position), so that a resumed run sees what it would have seen.

A batch is made whole by one process, so the order in which workers finish, how many there are, and on how many ranks a
training runs change nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from afnet.contract import Answers, VideoModel
from bench.data.source import Sampling, Source, Taken
from bench.data.views import resampled
from bench.errors import BadClip, UserError

# ImageNet's statistics in 0..255, as every network of this field is given.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

Key = TypeVar("Key")


@dataclass(frozen=True)
class Batch:
    """Clips of one step: V views of each of N videos, those of a video one after the other.

    Attributes:
        videos: (N,) index of each video in its split.
        times: (N*V, T) frame times that were sampled.
        clips: (N*V, T, H, W, 3) uint8.
        labels: (N,) int64; of several, the first.
        targets: (N, K) bool, all of them; None where a video has one.
        informative: (N*V, T) bool, the data set's answer key; all False where it has none.
        boxes: (N*V, T, 4) int, where what carries the label is; zeros likewise.
        bad: what is wrong with each video that was left out, by its name.
    """

    videos: NDArray[np.int64]
    times: NDArray[np.int64]
    clips: NDArray[np.uint8]
    labels: NDArray[np.int64]
    informative: NDArray[np.bool_]
    boxes: NDArray[np.int64]
    targets: NDArray[np.bool_] | None = None
    bad: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def views(self) -> int:
        """Clips of a video."""
        return len(self.clips) // max(len(self), 1)


def normalise(clips: NDArray[np.uint8], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """(N, T, H, W, 3) uint8 -> (N, T, 3, H, W) normalised, each frame laid out channels-last."""
    count, frames, height, width, _ = clips.shape
    # Whole rows at a time: broadcast over three channels alone, arithmetic is several times slower.
    mean, std = (torch.tensor(values, device=device, dtype=dtype).repeat(width) for values in (MEAN, STD))
    rows = torch.from_numpy(clips).to(device).to(dtype).view(count, frames, height, width * 3)
    return rows.sub_(mean).div_(std).view(clips.shape).permute(0, 1, 4, 2, 3)


def present(model: VideoModel, batch: Batch, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """The clips as the model takes them; one that wants the answer key gets it."""
    if model.wants_answers:
        model.answers = Answers(
            torch.from_numpy(batch.informative).to(device), torch.from_numpy(batch.boxes).to(device, dtype)
        )
    return normalise(batch.clips, device, dtype)


@dataclass(frozen=True)
class TrainingClips:
    """The batches of a training, by their number; each epoch in a new order, frames drawn per video and epoch.

    Attributes:
        clips: videos of an epoch; those of a last batch that is not full are left out.
        frames: of a clip, T.
        batch: clips of a step.
        part: clips that a network is given at once; divides `batch`.
        on_bad: "stop" or "skip".
    """

    source: Source
    clips: int
    frames: int
    batch: int
    part: int
    seed: int
    on_bad: str = "stop"

    @property
    def steps_per_epoch(self) -> int:
        """A last batch that is not full is left out."""
        return self.clips // self.batch

    def make(self, key: tuple[int, int]) -> Batch:
        """Part number `key[1]` of step number `key[0]`.

        Raises:
            UserError: for a video that cannot be used, under "stop", or when none of the part's can.
        """
        step, part = key
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self.batch + part * self.part
        videos = self._order(epoch)[start : start + self.part]

        def taken(video: int) -> list[Taken]:
            rng = np.random.default_rng((self.seed, epoch, video))
            return [self.source.training_clip(video, self.frames, rng)]

        return assembled(self.source, "train", videos, taken, self.on_bad)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return _permutation(self.seed, epoch, self.clips)

    def stream(self, first_step: int, steps: int, parts: Sequence[int] = (0,), workers: int = 0) -> Iterator[Batch]:
        """These parts of steps first_step .. steps - 1, one after the other."""
        return stream(self.make, [(step, part) for step in range(first_step, steps) for part in parts], workers)


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
    """

    source: Source
    clips: int
    sampling: Sampling
    batch: int
    on_bad: str = "stop"

    def __len__(self) -> int:
        return -(-self.clips // self.batch)

    def make(self, number: int) -> Batch:
        """Batch number `number`.

        Raises:
            UserError: for a video that cannot be used, under "stop".
        """
        videos = np.arange(number * self.batch, min((number + 1) * self.batch, self.clips))
        return assembled(
            self.source, "val", videos, lambda video: self.source.validation_clips(video, self.sampling), self.on_bad
        )

    def stream(self, numbers: Sequence[int] | None = None, workers: int = 0) -> Iterator[Batch]:
        """These batches, or all of them."""
        return stream(self.make, range(len(self)) if numbers is None else numbers, workers)


def assembled(
    source: Source, split: str, videos: NDArray[np.int64], take: Callable[[int], list[Taken]], on_bad: str
) -> Batch:
    """One batch of what is taken of these videos.

    Raises:
        UserError: as ValidationClips.make; naming split, video, file and what to do.
    """
    used, views, bad = [], [], []
    for video in videos.tolist():
        try:
            views.append(take(video))
            used.append(video)
        except BadClip as error:
            if on_bad == "stop":
                raise UserError(
                    f"The {split} video {source.name(split, video)!r} cannot be used: {error} Mend the file, or go on "
                    "without such videos, which the record then counts: data.settings.on_bad=skip. `afbench data "
                    "verify` lists all of them."
                ) from error
            bad.append((source.name(split, video), f"{error.file} {error.reason}"))
    if not used:
        raise UserError(
            f"None of {len(videos)} {split} videos of a batch can be used; the first: {bad[0][1]}. Expected clips to "
            "compute with; `afbench data verify` lists what is wrong."
        )
    clips = [view for of_video in views for view in of_video]
    frames = len(clips[0].times)
    return Batch(
        videos=np.array(used, np.int64),
        times=np.stack([clip.times for clip in clips]),
        clips=np.stack([finished(clip, source.size) for clip in clips]),
        labels=np.array([of_video[0].labels[0] for of_video in views], np.int64),
        informative=np.stack([_known(clip.informative, (frames,), np.bool_) for clip in clips]),
        boxes=np.stack([_known(clip.boxes, (frames, 4), np.int64) for clip in clips]),
        targets=_targets(views, source.classes) if source.multi_label else None,
        bad=tuple(bad),
    )


def finished(clip: Taken, size: int) -> NDArray[np.uint8]:
    """(T, size, size, 3): the part that was taken, mirrored and resampled where need be."""
    if clip.frames.shape[1:3] == (size, size) and not clip.mirrored:
        return clip.frames
    return resampled(torch.from_numpy(np.ascontiguousarray(clip.frames)), size, clip.mirrored).numpy()


def _known(values: NDArray[Any] | None, shape: tuple[int, ...], kind: type[Any]) -> NDArray[Any]:
    return np.zeros(shape, kind) if values is None else values


def _targets(views: list[list[Taken]], classes: int) -> NDArray[np.bool_]:
    targets = np.zeros((len(views), classes), np.bool_)
    for row, of_video in enumerate(views):
        targets[row, list(of_video[0].labels)] = True
    return targets


# --- Workers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Made(Dataset[Any], Generic[Key]):
    """What DataLoader asks for by position; a user's mistake comes back as a value, its words whole."""

    make: Callable[[Key], Batch]
    keys: Sequence[Key]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, position: int) -> tuple[Batch | UserError, Tensor]:
        try:
            batch = self.make(self.keys[position])
        except UserError as error:
            return error, torch.empty(0)
        # Through shared memory, which only tensors travel by.
        return replace(batch, clips=np.empty(0, np.uint8)), torch.from_numpy(batch.clips)


def stream(make: Callable[[Key], Batch], keys: Sequence[Key], workers: int = 0) -> Iterator[Batch]:
    """The batch of each key, in this order, made ahead by `workers` processes; by this one where there are none.

    Raises:
        UserError: as `make`, or when a worker dies.
    """
    if not workers:
        for key in keys:
            yield make(key)
        return
    loader = DataLoader(_Made(make, keys), batch_size=None, shuffle=False, num_workers=workers, collate_fn=_as_it_is)
    try:
        for made, clips in loader:
            if isinstance(made, UserError):
                raise made
            yield replace(made, clips=clips.numpy())
    except RuntimeError as error:
        if "worker" not in str(error):
            raise
        raise UserError(
            f"A worker that makes clips died ({str(error).splitlines()[0]}). Most often memory, shared memory "
            "(/dev/shm) or a scheduler's limit ran out; expected room for them, or fewer: runtime.workers."
        ) from error


def _as_it_is(made: Any) -> Any:
    return made
