"""Frames from a folder of JPEG files: only those wanted, and decoded small where a small picture is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from bench.data.listing import Layout
from bench.errors import BadClip

Least = Callable[[int, int], tuple[int, int]]
"""Of a frame's height and width, the least height and width that it may be decoded at."""

# Of the eighths that JPEG decodes at these alone have fast code: three quarters take longer than all of it.
SHRINKS = (8, 4, 2)


# Pixels of a picture: a damaged header may say anything.
LARGEST = 2**28


def full_size(height: int, width: int) -> tuple[int, int]:
    """Frames as they are."""
    return height, width


def read_frames(folder: Path, layout: Layout, times: NDArray[np.int64], least: Least = full_size) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) at these times, counted from 0; one that is wanted twice is decoded once.

    Decoded at the whole size, its half, quarter or eighth, whichever is the smallest that is large enough.

    Raises:
        BadClip: for a file that is missing or damaged, or of another size than the others.
    """
    asked = times.tolist()
    wanted = sorted(set(asked))
    first = _open(f"{folder}/{layout.frame(wanted[0])}")
    frames = np.empty((len(wanted), *first.decoded_size(least), 3), np.uint8)
    first.decode_into(frames[0])
    for frame, time in zip(frames[1:], wanted[1:], strict=True):
        file = _open(f"{folder}/{layout.frame(time)}")
        if (file.height, file.width) != (first.height, first.width):
            other = layout.frame(wanted[0])
            raise BadClip(
                file.path, f"is {file.width}x{file.height} pixels, unlike the {first.width}x{first.height} of {other}"
            )
        file.decode_into(frame)
    return frames if wanted == asked else frames[np.searchsorted(wanted, asked)]


def read_picture(path: Path, least: Least = full_size) -> NDArray[np.uint8]:
    """One JPEG file as (H, W, 3), as small as read_frames makes it.

    Raises:
        BadClip: where it is missing, or no whole JPEG.
    """
    file = _open(str(path))
    picture = np.empty((*file.decoded_size(least), 3), np.uint8)
    file.decode_into(picture)
    return picture


@dataclass(frozen=True)
class _Jpeg:
    """A file that was read, and the size of its picture."""

    path: str
    data: bytes
    height: int
    width: int

    def decoded_size(self, least: Least) -> tuple[int, int]:
        """Height and width that the picture is decoded at."""
        rows, columns = least(self.height, self.width)
        for shrink in SHRINKS:
            small = -(-self.height // shrink), -(-self.width // shrink)  # JPEG rounds up
            if small[0] >= rows and small[1] >= columns:
                return small
        return self.height, self.width

    def decode_into(self, picture: NDArray[np.uint8]) -> None:
        """Fill (H, W, 3), which has the decoded size.

        Raises:
            BadClip: for what is no whole JPEG.
        """
        height, width, _ = picture.shape
        small = (height, width) != (self.height, self.width)
        least = {"min_height": height, "min_width": width} if small else {}
        try:
            simplejpeg.decode_jpeg(self.data, "RGB", **least, buffer=picture)
        except ValueError as error:
            raise _damaged(self.path, error) from error


def _open(path: str) -> _Jpeg:
    """Raises BadClip, as read_picture."""
    try:
        # With a Path and a buffer, opening takes twice as long: of small files a tenth of what decoding them does.
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except OSError as error:
        raise BadClip(path, f"cannot be read ({error.strerror})") from error
    if not data:
        raise BadClip(path, "is empty")
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise _damaged(path, error) from error
    if height * width > LARGEST:
        raise BadClip(path, f"says it has {width}x{height} pixels; expected {LARGEST} at most")
    return _Jpeg(path, data, height, width)


def _damaged(path: str, error: ValueError) -> BadClip:
    return BadClip(path, f"is no whole JPEG ({error})")
