"""Batches of clips: pure functions of (seed, epoch, position), so that a resumed run sees what it would have seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afnet.contract import Answers, VideoModel
from bench.data.digits import Clip, Digits
from bench.data.sampling import random_segments, segment_centres

# ImageNet's statistics in 0..255, as every network of this field is given.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Batch:
    """Clips of one step.

    Attributes:
        videos: (N,) index of each clip in its split.
        times: (N, T) frame times that were sampled.
        clips: (N, T, H, W, 3) uint8.
        labels: (N,) int64.
        informative: (N, T) bool, the data set's answer key.
        boxes: (N, T, 4) int, where the digit is.
    """

    videos: NDArray[np.int64]
    times: NDArray[np.int64]
    clips: NDArray[np.uint8]
    labels: NDArray[np.int64]
    informative: NDArray[np.bool_]
    boxes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.videos)


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


def training_batches(
    digits: Digits, *, clips: int, frames: int, batch: int, seed: int, first_step: int, steps: int
) -> Iterator[Batch]:
    """Batches number first_step .. steps - 1 of a run: each epoch in a new order, frames drawn per clip and epoch."""
    per_epoch = clips // batch
    order: NDArray[np.int64] = np.empty(0, np.int64)
    for step in range(first_step, steps):
        epoch, position = divmod(step, per_epoch)
        if position == 0 or not order.size:
            order = np.random.default_rng((seed, epoch)).permutation(clips)
        videos = order[position * batch : (position + 1) * batch]
        times = [
            random_segments(digits.length, frames, np.random.default_rng((seed, epoch, int(video)))) for video in videos
        ]
        yield assemble(digits, "train", videos, times)


def validation_batches(digits: Digits, *, clips: int, frames: int, batch: int) -> Iterator[Batch]:
    """The validation clips in order, frames from the middle of each segment; the last batch may be smaller."""
    times = segment_centres(digits.length, frames)
    for start in range(0, clips, batch):
        videos = np.arange(start, min(start + batch, clips))
        yield assemble(digits, "val", videos, [times] * len(videos))


def assemble(digits: Digits, split: str, videos: NDArray[np.int64], times: list[NDArray[np.int64]]) -> Batch:
    """One batch from the clips of a split at these times."""
    clips: list[Clip] = [digits.clip(split, int(video), t) for video, t in zip(videos, times, strict=True)]
    return Batch(
        videos=videos,
        times=np.stack(times),
        clips=np.stack([clip.frames for clip in clips]),
        labels=np.array([clip.label for clip in clips]),
        informative=np.stack([clip.informative for clip in clips]),
        boxes=np.stack([clip.boxes for clip in clips]),
    )
