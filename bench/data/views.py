"""Which part of a frame a network is given: resized, cropped, mirrored, the same for every frame of a clip.

A part is a rectangle in shares of the frame, so it holds at whatever size the frame is decoded; that it is resampled
once, from the decoded frame to the network's input, gives the pixels of "resize, then crop" up to the resampling.
Imports no torch but in `resampled`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

# TSN's multi-scale crops, as TSM and AFNet draw them.
SCALES = (1.0, 0.875, 0.75, 0.66)
MOST_DISTORTED = 1  # steps in SCALES between a crop's height and width


@dataclass(frozen=True)
class Part:
    """A rectangle of a frame in shares of its sides, and whether it is mirrored."""

    top: float
    left: float
    height: float
    width: float
    mirrored: bool = False

    def pixels(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width in a frame of this size, whole pixels within it."""
        rows, columns = max(round(self.height * height), 1), max(round(self.width * width), 1)
        return (
            min(round(self.top * height), height - rows),
            min(round(self.left * width), width - columns),
            rows,
            columns,
        )

    def least(self, size: int) -> tuple[int, int]:
        """Height and width that the frame must be decoded at for the part to have `size` pixels a side."""
        return int(np.ceil(size / self.height)), int(np.ceil(size / self.width))


@dataclass(frozen=True)
class Resizing:
    """The picture that crops are taken of: `short_side` pixels, or `height` x `width` whatever the frame's shape."""

    short_side: int = 256
    height: int = 0
    width: int = 0

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a frame's picture."""
        if self.height:
            return self.height, self.width
        short = min(height, width)
        return max(round(height * self.short_side / short), 1), max(round(width * self.short_side / short), 1)


def _part(top: int, left: int, rows: int, columns: int, picture: tuple[int, int]) -> Part:
    height, width = picture
    return Part(top / height, left / width, rows / height, columns / width)


def centre(picture: tuple[int, int], size: int) -> Part:
    """The middle `size` pixels a side of a picture; all of a side that is shorter."""
    rows, columns = min(size, picture[0]), min(size, picture[1])
    return _part(round((picture[0] - rows) / 2), round((picture[1] - columns) / 2), rows, columns, picture)


def three(picture: tuple[int, int], size: int) -> list[Part]:
    """Crops of a picture at both ends of its longer side and in its middle."""
    height, width = picture
    rows, columns = min(size, height), min(size, width)
    ends = (0.0, 0.5, 1.0)
    if width >= height:
        top = round((height - rows) / 2)
        return [_part(top, round((width - columns) * end), rows, columns, picture) for end in ends]
    left = round((width - columns) / 2)
    return [_part(round((height - rows) * end), left, rows, columns, picture) for end in ends]


def multi_scale(picture: tuple[int, int], size: int, rng: np.random.Generator) -> Part:
    """A crop drawn as TSN does: its sides from SCALES of the shorter side, its place one of thirteen."""
    height, width = picture
    sides = [int(min(height, width) * scale) for scale in SCALES]
    sides = [size if abs(side - size) < 3 else side for side in sides]
    pairs = [
        (min(rows, height), min(columns, width))
        for i, rows in enumerate(sides)
        for j, columns in enumerate(sides)
        if abs(i - j) <= MOST_DISTORTED
    ]
    rows, columns = pairs[rng.integers(len(pairs))]
    down, across = (height - rows) // 4, (width - columns) // 4
    places = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)]
    row, column = places[rng.integers(len(places))]
    return _part(row * down, column * across, rows, columns, picture)


def cut(frames: np.ndarray, part: Part) -> np.ndarray:
    """Of decoded frames (T, H, W, 3), the pixels of a part, not yet resampled or mirrored; a view."""
    top, left, rows, columns = part.pixels(*frames.shape[1:3])
    return frames[:, top : top + rows, left : left + columns]


def resampled(frames: Tensor, size: int, mirrored: bool) -> Tensor:
    """(T, h, w, 3) uint8 on any device -> (T, size, size, 3) uint8: antialiased bilinear, as Pillow resizes.

    A processor computes on bytes; a GPU, which has no kernel for them, in floats that are rounded.
    """
    from torch.nn import functional

    if mirrored:
        frames = frames.flip(2)
    if tuple(frames.shape[1:3]) == (size, size):
        return frames.contiguous()
    planes = frames.permute(0, 3, 1, 2)  # (T, 3, h, w), channels-last
    planes = planes.float() if frames.is_cuda else planes
    planes = functional.interpolate(planes, (size, size), mode="bilinear", antialias=True, align_corners=False)
    planes = planes.round_().clamp_(0, 255).byte() if frames.is_cuda else planes
    return planes.permute(0, 2, 3, 1).contiguous()
