"""Frames from a folder of JPEG files: only those wanted, and decoded small where a small picture is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from bench.data.listing import Layout
from bench.errors import BadClip

Least = Callable[[int, int], tuple[int, int]]
"""Of a frame's height and width, the least height and width that it may be decoded at."""


def full_size(height: int, width: int) -> tuple[int, int]:
    """Frames as they are."""
    return height, width


def read_frames(folder: Path, layout: Layout, times: NDArray[np.int64], least: Least = full_size) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) at these times, counted from 0; one that is wanted twice is decoded once.

    Decoded at the smallest of JPEG's own scales (eighths of the full size) that is large enough.

    Raises:
        BadClip: for a file that is missing or damaged, or of another size than the others.
    """
    wanted, back = np.unique(times, return_inverse=True)
    decoded: list[NDArray[np.uint8]] = []
    for time in wanted.tolist():
        picture = read_picture(folder / layout.frame(time), least)
        if decoded and picture.shape != decoded[0].shape:
            raise BadClip(
                str(folder / layout.frame(time)),
                f"is {picture.shape[1]}x{picture.shape[0]} pixels, unlike the {decoded[0].shape[1]}x"
                f"{decoded[0].shape[0]} of the frames before",
            )
        decoded.append(picture)
    return np.stack(decoded)[back]


def read_picture(path: Path, least: Least = full_size) -> NDArray[np.uint8]:
    """One JPEG file as (H, W, 3).

    Raises:
        BadClip: where it is missing, or no whole JPEG.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadClip(str(path), f"cannot be read ({error.strerror})") from error
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        rows, columns = least(height, width)
        picture: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=min(rows, height), min_width=min(columns, width)
        )
    except ValueError as error:
        what = "is empty" if not data else f"is no whole JPEG ({error})"
        raise BadClip(str(path), what) from error
    return picture
