"""Batches of clips: pure functions of (seed, epoch, position), so that a resumed run sees what it would have seen.

A batch is made whole by one process, so the order in which workers finish, how many there are, and on how many ranks a
training runs change nothing in it.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

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
        keys = [(step, part) for step in range(first_step, steps) for part in parts]
        return stream(self.make, keys, workers, _bytes(self.part, self.frames, self.source))


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
            UserError: for a video that cannot be used, under "stop", or when none of the batch's can.
        """
        videos = np.arange(number * self.batch, min((number + 1) * self.batch, self.clips))

        def taken(video: int) -> list[Taken]:
            return self.source.validation_clips(video, self.sampling)

        return assembled(self.source, "val", videos, taken, self.on_bad)

    def stream(self, numbers: Sequence[int] | None = None, workers: int = 0) -> Iterator[Batch]:
        """These batches, or all of them."""
        largest = _bytes(self.batch * self.sampling.views, self.sampling.frames, self.source)
        return stream(self.make, range(len(self)) if numbers is None else numbers, workers, largest)


def assembled(
    source: Source, split: str, videos: NDArray[np.int64], take: Callable[[int], list[Taken]], on_bad: str
) -> Batch:
    """One batch of what is taken of these videos.

    Raises:
        UserError: as ValidationClips.make; naming split, video, file and what to do.
    """
    used: list[int] = []
    views: list[Taken] = []
    bad: list[tuple[str, str]] = []
    clips = np.empty(0, np.uint8)
    for video in videos.tolist():
        try:
            taken = take(video)
        except BadClip as error:
            if on_bad == "stop":
                raise _unusable(source, split, video, error) from error
            bad.append((source.name(split, video), f"{error.file} {error.reason}"))
            continue
        if not used:
            shape = (len(videos) * len(taken), len(taken[0].times), source.size, source.size, 3)
            clips = np.empty(shape, np.uint8)
        for view in taken:
            # At once, so that the frames that it was cut from need not be kept.
            clips[len(views)] = resampled(view.frames, (source.size, source.size), view.mirrored)
            views.append(replace(view, frames=np.empty(0, np.uint8)))
        used.append(video)
    if not used:
        raise UserError(
            f"None of {len(videos)} {split} videos of a batch can be used; the first: {bad[0][1]}. Expected at least "
            "one in every batch, with larger batches where there are few; `afbench data verify` lists what is wrong."
        )
    each = len(views) // len(used)  # views of a video
    labels = [view.labels for view in views[::each]]
    frames = len(views[0].times)
    return Batch(
        videos=np.array(used, np.int64),
        times=np.stack([view.times for view in views]),
        clips=clips[: len(views)],
        labels=np.array([of_video[0] for of_video in labels], np.int64),
        informative=np.stack([_known(view.informative, (frames,), np.bool_) for view in views]),
        boxes=np.stack([_known(view.boxes, (frames, 4), np.int64) for view in views]),
        targets=_targets(labels, source.classes) if source.multi_label else None,
        bad=tuple(bad),
    )


def _unusable(source: Source, split: str, video: int, error: BadClip) -> UserError:
    return UserError(
        f"The {split} video {source.name(split, video)!r} cannot be used: {error} Mend the file, or go on without such "
        "videos, which the record then counts: data.settings.on_bad=skip. `afbench data verify` lists all of them."
    )


def _known(values: NDArray[Any] | None, shape: tuple[int, ...], kind: type[Any]) -> NDArray[Any]:
    return np.zeros(shape, kind) if values is None else values


def _targets(labels: Sequence[tuple[int, ...]], classes: int) -> NDArray[np.bool_]:
    """(N, K)."""
    targets = np.zeros((len(labels), classes), np.bool_)
    for row, of_video in enumerate(labels):
        targets[row, list(of_video)] = True
    return targets


# --- Workers ----------------------------------------------------------------------------------------------------------


AHEAD = 2  # batches that each worker makes before they are asked for


class _Memory(Sampler[tuple[int, int]]):
    """Shared memory for the clips of batches, a piece for each that is being made or in use.

    A piece is used again once no one has the clips that lay in it: fresh memory would cost a worker a fifth of its
    time. As DataLoader's sampler it says which piece a batch is for, in the moment in which that batch is ordered.
    """

    def __init__(self, batches: int, workers: int, size: int) -> None:
        # Those being made, the one that is handed out, the one before it, and one to order the next batch for.
        count = min(batches, AHEAD * workers + 3)
        self._batches, self._free = batches, list(range(count))
        try:
            self.pieces = torch.empty((count, size), dtype=torch.uint8).share_memory_()
        except RuntimeError as error:
            raise UserError(
                f"There is no room for {count} batches of {size / 1e6:,.0f} MB in shared memory ({error}). Expected a "
                "larger /dev/shm (docker run --shm-size), smaller batches or fewer workers: runtime.workers."
            ) from error

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The position of each batch and its piece."""
        for position in range(self._batches):
            yield position, self._free.pop()

    def handed_out(self, piece: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The clips in a piece, which is free when the last view of them is gone."""
        clips = _in_piece(self.pieces, piece, shape)
        if self._free:
            weakref.finalize(clips, self._free.append, piece)
            return clips
        # Whoever uses them keeps many batches.
        self._free.append(piece)
        return clips.copy()


def _in_piece(pieces: Tensor, piece: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    clips: NDArray[np.uint8] = pieces[piece, : math.prod(shape)].view(shape).numpy()
    return clips


@dataclass(frozen=True)
class _Made(Dataset[Any], Generic[Key]):
    """What DataLoader asks for, by position and piece of memory."""

    make: Callable[[Key], Batch]
    keys: Sequence[Key]
    pieces: Tensor

    def __getitem__(self, order: tuple[int, int]) -> tuple[int, tuple[int, ...], Batch | str]:
        """The piece, the shape of the clips in it, and the batch without them; or what a user's mistake is."""
        position, piece = order
        try:
            batch = self.make(self.keys[position])
        except UserError as error:
            return piece, (), str(error)
        _in_piece(self.pieces, piece, batch.clips.shape)[:] = batch.clips
        return piece, batch.clips.shape, replace(batch, clips=np.empty(0, np.uint8))


def _bytes(clips: int, frames: int, source: Source) -> int:
    """Of so many clips as a network is given them."""
    return clips * frames * source.size**2 * 3


def stream(
    make: Callable[[Key], Batch], keys: Sequence[Key], workers: int = 0, largest: int | None = None
) -> Iterator[Batch]:
    """The batch of each key, in this order, made ahead by `workers` processes; by this one where there are none.

    Args:
        largest: bytes of the clips of the largest batch; as many as the first one has unless said.

    Raises:
        UserError: as `make`, when a worker dies, or without room for the batches.
    """
    if not workers or not keys:
        for key in keys:
            yield make(key)
        return
    memory = _Memory(len(keys), workers, make(keys[0]).clips.nbytes if largest is None else largest)
    before = multiprocessing.active_children()
    ordered = iter(_loader(_Made(make, keys, memory.pieces), memory, workers))
    processes = [process for process in multiprocessing.active_children() if process not in before]
    death = ""
    try:
        for piece, shape, made in ordered:
            if isinstance(made, str):
                raise UserError(made)
            yield replace(made, clips=memory.handed_out(piece, shape))
    except Exception as error:
        if not str(error).startswith(DEAD):
            # It has the worker's own trace in words; DataLoader's would keep the workers alive.
            raise error.with_traceback(None)  # noqa: B904
        death = ", ".join(filter(None, map(_ending, processes))) or str(error)
    finally:
        del ordered  # ends the workers
    if death:
        raise UserError(
            f"A worker that makes clips died ({death}). Most often memory or a scheduler's limit ran out; expected "
            "room for them, or fewer: runtime.workers."
        )


def _loader(made: _Made[Any], memory: _Memory, workers: int) -> DataLoader[Any]:
    # Not forked from this process: a fork of a process with threads may hang. The server that they are forked from
    # imports once what all of them need.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return DataLoader(
        made,
        batch_size=None,
        sampler=memory,
        num_workers=workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        multiprocessing_context=context,
        generator=torch.Generator(),  # not torch's own, whose state is the caller's
    )


# As DataLoader begins to say that a worker is no more; an error of the worker's own code it tells otherwise.
DEAD = "DataLoader worker (pid"


def _ending(process: BaseProcess) -> str:
    """How a process ended; nothing of one that goes on or ended well."""
    code = process.exitcode
    if not code:
        return ""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _as_it_is(made: Any) -> Any:
    return made
