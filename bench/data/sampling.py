"""Which frames of a clip a model is given (TSN's segments and the others, as TSM's code draws them)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.errors import unknown

MODES = ("segments", "dense", "linspace")
# Frames that a dense sample spans.
SPAN = 64

Times = NDArray[np.int64]


def training_times(mode: str, length: int, frames: int, rng: np.random.Generator) -> Times:
    """Frame times (T,) drawn for training.

    Args:
        mode: "segments" one of each segment; "dense" at a fixed stride from a random start; "linspace" draws as
            segments do.

    Raises:
        ValueError: unless length and frames are at least 1.
        UserError: for an unknown mode.
    """
    if mode == "dense":
        _check(length, frames)
        return _strided(length, frames, int(rng.integers(max(1, 1 + length - SPAN))))
    if mode not in MODES:
        raise unknown("sampling", mode, MODES)
    return random_segments(length, frames, rng)


def validation_times(mode: str, length: int, frames: int, clips: int) -> list[Times]:
    """Frame times (T,) of each of `clips` clips of a video.

    Args:
        mode: "segments" the middle of each segment, of a second clip its beginning ("twice"), of more clips as far
            apart; "dense" at a fixed stride from evenly spaced starts, of a single clip from the middle one; "linspace"
            evenly from the first frame to the last, of more clips that much later as fits.

    Raises:
        ValueError: unless all are at least 1.
        UserError: for an unknown mode.
    """
    _check(length, frames)
    if clips < 1:
        raise ValueError(f"cannot sample {clips} clips of a video; expected at least 1")
    if mode == "dense":
        last = max(1, 1 + length - SPAN) - 1
        starts = [last // 2] if clips == 1 else np.linspace(0, last, clips).astype(np.int64).tolist()
        return [_strided(length, frames, start) for start in starts]
    if mode == "linspace":
        return [_evenly(length, frames, number, clips) for number in range(clips)]
    if mode not in MODES:
        raise unknown("sampling", mode, MODES)
    # The first clip has the middles, whatever their number: one more adds to what is there.
    return [_segments(length, frames, (clips - 2 * number) % (2 * clips), 2 * clips) for number in range(clips)]


def segment_centres(length: int, frames: int) -> Times:
    """Validation: the middle of each of `frames` equal segments of a clip of `length` frames.

    floor(tick / 2 + tick * i) with tick = length / frames; the first frame, repeated, when the clip is not longer
    than the sample.

    Raises:
        ValueError: unless both are at least 1.
    """
    _check(length, frames)
    return _segments(length, frames, 1, 2)


def _segments(length: int, frames: int, part: int, of: int) -> Times:
    """floor(tick * (i + part / of)), in integers: no rounding of floats decides a frame."""
    if length <= frames:
        return np.zeros(frames, np.int64)
    return (of * np.arange(frames) + part) * length // (of * frames)


def random_segments(length: int, frames: int, rng: np.random.Generator) -> Times:
    """Training: one frame drawn in each of `frames` segments.

    A segment has length // frames frames; where that is zero, the first frame, repeated.

    Raises:
        ValueError: unless both are at least 1.
    """
    _check(length, frames)
    segment = length // frames
    if segment == 0:
        return np.zeros(frames, np.int64)
    return np.arange(frames) * segment + rng.integers(segment, size=frames)


def _strided(length: int, frames: int, start: int) -> Times:
    """A frame every SPAN // frames, beginning anew at the end of the clip."""
    return (start + np.arange(frames) * max(SPAN // frames, 1)) % length


def _evenly(length: int, frames: int, number: int, clips: int) -> Times:
    """From the first frame to the last; clip `number` of several that share of a step later, within the clip."""
    if frames == 1:
        return np.array([(2 * number + 1) * length // (2 * clips)], np.int64)
    times = (np.arange(frames) * clips + number) * (length - 1) // ((frames - 1) * clips)
    return np.minimum(times, length - 1)


def _check(length: int, frames: int) -> None:
    if length < 1 or frames < 1:
        raise ValueError(f"cannot sample {frames} frames of a clip of {length}; expected both to be at least 1")
