"""Clips of several videos together, as a worker leaves them and as a network is given them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afnet.contract import Answers, VideoModel
from bench.data.source import Source, Taken
from bench.data.views import resampled, resized
from bench.errors import BadClip, UserError

# ImageNet's statistics in 0..255, as every network of this field is given.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
# A part of a frame is left to the network's device where it has at most so many times the pixels that it is to have:
# whole frames of large videos would cost more to move than to make small.
LEFT = 2


@dataclass(frozen=True)
class Raw:
    """What is still to be done to a batch's clips, which lie flat in it, one after the other.

    Attributes:
        sizes: height and width of the frames of each clip (T, h, w, 3).
        mirrored: for each, whether it is to be.
        size: pixels a side that all are to have.
    """

    sizes: tuple[tuple[int, int], ...]
    mirrored: tuple[bool, ...]
    size: int


@dataclass(frozen=True)
class Batch:
    """Clips of one step: V views of each of N videos, those of a video one after the other.

    Attributes:
        videos: (N,) index of each video in its split.
        times: (N*V, T) frame times that were sampled.
        clips: (N*V, T, H, W, 3) uint8; flat, as `raw` says, where that is there.
        labels: (N,) int64; of several, the first.
        targets: (N, K) bool, all of them; None where a video has one.
        informative: (N*V, T) bool, the data set's answer key; all False where it has none.
        boxes: (N*V, T, 4) int, where what carries the label is; zeros likewise.
        bad: what is wrong with each video that was left out, by its name. With nothing but such videos N is 0.
        raw: what is left to `finished`; None where nothing is.
    """

    videos: NDArray[np.int64]
    times: NDArray[np.int64]
    clips: NDArray[np.uint8]
    labels: NDArray[np.int64]
    informative: NDArray[np.bool_]
    boxes: NDArray[np.int64]
    targets: NDArray[np.bool_] | None = None
    bad: tuple[tuple[str, str], ...] = ()
    raw: Raw | None = None

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def views(self) -> int:
        """Clips of a video."""
        return len(self.times) // max(len(self), 1)


def finished(batch: Batch, device: torch.device) -> Tensor:
    """The clips (N*V, T, H, W, 3) uint8 on a device, what workers left of resizing and mirroring done there."""
    clips = torch.from_numpy(batch.clips).to(device)
    if batch.raw is None:
        return clips
    side, frames = batch.raw.size, batch.times.shape[1]
    whole = clips.new_empty((len(batch.times), frames, side, side, 3))
    flat = clips.split([frames * height * width * 3 for height, width in batch.raw.sizes])
    for clip, part, size, mirrored in zip(whole, flat, batch.raw.sizes, batch.raw.mirrored, strict=True):
        clip.copy_(resized(part.view(frames, *size, 3), (side, side), mirrored))
    return whole


def normalise(clips: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """(N, T, H, W, 3) uint8 -> (N, T, 3, H, W) normalised, each frame laid out channels-last."""
    count, frames, height, width, _ = clips.shape
    # Whole rows at a time: broadcast over three channels alone, arithmetic is several times slower.
    mean, std = (torch.tensor(values, device=clips.device, dtype=dtype).repeat(width) for values in (MEAN, STD))
    rows = clips.to(dtype).view(count, frames, height, width * 3)
    return rows.sub_(mean).div_(std).view(clips.shape).permute(0, 1, 4, 2, 3)


def present(model: VideoModel, batch: Batch, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """The clips as the model takes them; one that wants the answer key gets it."""
    if model.wants_answers:
        model.answers = Answers(
            torch.from_numpy(batch.informative).to(device), torch.from_numpy(batch.boxes).to(device, dtype)
        )
    return normalise(finished(batch, device), dtype)


# --- Made of videos ---------------------------------------------------------------------------------------------------


def assembled(
    source: Source,
    split: str,
    videos: NDArray[np.int64],
    take: Callable[[int], list[Taken]],
    *,
    on_bad: str,
    on_device: bool = False,
) -> Batch:
    """One batch of what is taken of these videos.

    Args:
        on_bad: "stop", or "skip", which leaves out videos that cannot be used; there may be none left then.
        on_device: whether resizing and mirroring are left to `finished`.

    Raises:
        UserError: for a video that cannot be used, under "stop"; naming split, video, file and what to do.
    """
    used: list[int] = []
    views: list[Taken] = []
    bad: list[tuple[str, str]] = []
    clips = _Finished(source.size, len(videos)) if not on_device else _Left(source.size)
    for video in videos.tolist():
        try:
            taken = take(video)
        except BadClip as error:
            if on_bad == "stop":
                raise _unusable(source, split, video, error) from error
            bad.append((source.name(split, video), f"{error.file} {error.reason}"))
            continue
        for view in taken:
            # At once, so that the frames that it was cut from need not be kept.
            clips.add(view, len(taken))
            views.append(replace(view, frames=NOTHING))
        used.append(video)
    each = len(views) // max(len(used), 1)  # views of a video
    labels = [view.labels for view in views[:: max(each, 1)]]
    frames = len(views[0].times) if views else 0
    return Batch(
        videos=np.array(used, np.int64),
        times=_together([view.times for view in views], (frames,), np.int64),
        labels=np.array([of_video[0] for of_video in labels], np.int64),
        informative=_together([view.informative for view in views], (frames,), np.bool_),
        boxes=_together([view.boxes for view in views], (frames, 4), np.int64),
        targets=_targets(labels, source.classes) if source.multi_label else None,
        bad=tuple(bad),
        clips=clips.pixels(),
        raw=clips.raw(),
    )


NOTHING = np.empty(0, np.uint8)
_memory: ContextVar[NDArray[np.uint8]] = ContextVar("memory for clips", default=NOTHING)


@contextlib.contextmanager
def clips_in(memory: NDArray[np.uint8]) -> Iterator[None]:
    """Clips that are made within it lie at the beginning of this flat memory, where they have room in it.

    Fresh memory for each batch, and a copy from there to where it is to be, would cost a tenth of the time.
    """
    token = _memory.set(memory)
    try:
        yield
    finally:
        _memory.reset(token)


def _room(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    memory, size = _memory.get(), math.prod(shape)
    return memory[:size].reshape(shape) if size <= len(memory) else np.empty(shape, np.uint8)


class _Finished:
    """Clips of the network's size in one array, made with the first of them."""

    def __init__(self, size: int, videos: int) -> None:
        self._size, self._videos, self._count = size, videos, 0
        self._clips = np.empty((0, 0, size, size, 3), np.uint8)

    def add(self, view: Taken, views: int) -> None:
        if not self._count:
            self._clips = _room((self._videos * views, len(view.times), self._size, self._size, 3))
        self._clips[self._count] = resampled(view.frames, (self._size, self._size), view.mirrored)
        self._count += 1

    def pixels(self) -> NDArray[np.uint8]:
        return self._clips[: self._count]

    def raw(self) -> None:
        return None


class _Left:
    """Clips as they were cut, those that would be much to move made small."""

    def __init__(self, size: int) -> None:
        self._size, self._parts, self._mirrored = size, list[NDArray[np.uint8]](), list[bool]()

    def add(self, view: Taken, _: int) -> None:
        height, width = view.frames.shape[1:3]
        large = height * width > LEFT * self._size**2
        self._parts.append(resampled(view.frames, (self._size, self._size)) if large else view.frames)
        self._mirrored.append(view.mirrored)

    def pixels(self) -> NDArray[np.uint8]:
        return np.concatenate([part.reshape(-1) for part in self._parts]) if self._parts else NOTHING

    def raw(self) -> Raw:
        sizes = tuple((part.shape[1], part.shape[2]) for part in self._parts)
        return Raw(sizes, tuple(self._mirrored), self._size)


def _unusable(source: Source, split: str, video: int, error: BadClip) -> UserError:
    return UserError(
        f"The {split} video {source.name(split, video)!r} cannot be used: {error} Mend the file, and the same "
        "command goes on; or leave such videos out, which is another experiment, trained anew, whose record counts "
        "them: data.settings.on_bad=skip. `afbench data verify` lists all of them."
    )


def _together(values: Sequence[NDArray[Any] | None], shape: tuple[int, ...], kind: type[Any]) -> NDArray[Any]:
    """(N*V, *shape), zeros where nothing is known."""
    known = [np.zeros(shape, kind) if value is None else value for value in values]
    return np.stack(known) if known else np.zeros((0, *shape), kind)


def _targets(labels: Sequence[tuple[int, ...]], classes: int) -> NDArray[np.bool_]:
    """(N, K)."""
    targets = np.zeros((len(labels), classes), np.bool_)
    for row, of_video in enumerate(labels):
        targets[row, list(of_video)] = True
    return targets
