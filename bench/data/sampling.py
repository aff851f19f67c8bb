"""Which frames of a clip a model is given (TSN's segments, as TSM's code draws them)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def segment_centres(length: int, frames: int) -> NDArray[np.int64]:
    """Validation: the middle of each of `frames` equal segments of a clip of `length` frames.

    floor(tick / 2 + tick * i) with tick = length / frames; the first frame, repeated, when the clip is not longer
    than the sample.

    Raises:
        ValueError: unless both are at least 1.
    """
    _check(length, frames)
    if length <= frames:
        return np.zeros(frames, np.int64)
    # (2 i + 1) * length / (2 * frames) in integers: no rounding of floats decides a frame.
    return (2 * np.arange(frames) + 1) * length // (2 * frames)


def random_segments(length: int, frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
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


def _check(length: int, frames: int) -> None:
    if length < 1 or frames < 1:
        raise ValueError(f"cannot sample {frames} frames of a clip of {length}; expected both to be at least 1")
