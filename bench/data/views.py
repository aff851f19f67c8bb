"""Which part of a frame a network is given: resized, cropped, mirrored, the same for every frame of a clip.

Parts are chosen in a picture, the frame resized. One of the network's size is cut from the resized frame, exact to the
pixel. One of another size is cut from the frame as it was decoded and resampled once: "resize, then crop" but for one
resampling less and edges on the decoded frame's whole pixels. Imports no torch before one is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int]
"""Height and width in pixels."""

# TSN's multi-scale crops, as TSM and AFNet draw them: sides as shares of the shorter side, by their numbers in SCALES,
# at most one step apart; and places, quarters of the room that is left below and to the right.
SCALES = (1.0, 0.875, 0.75, 0.66)
PAIRS = tuple((one, other) for one in range(4) for other in range(4) if abs(one - other) <= 1)
PLACES = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (2, 0), (2, 4), (4, 2), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3))
# A side that misses the network's input by less is the input's, and needs no resampling.
NEARLY = 3


@dataclass(frozen=True)
class Part:
    """A rectangle of a picture of this size, in its pixels; it can be cut from the frame at any other size too."""

    top: int
    left: int
    height: int
    width: int
    picture: Size

    def pixels(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width in the frame decoded at this size, whole pixels within it."""
        top, rows = _scaled(self.top, self.height, self.picture[0], height)
        left, columns = _scaled(self.left, self.width, self.picture[1], width)
        return top, left, rows, columns

    def least(self, size: int) -> Size:
        """Height and width that the frame must be decoded at for the part to have `size` pixels a side."""
        return -(-size * self.picture[0] // self.height), -(-size * self.picture[1] // self.width)


def _scaled(start: int, length: int, old: int, new: int) -> tuple[int, int]:
    """A stretch of a side of `old` pixels on the same side of `new` pixels, rounded, at least one pixel, within it."""
    pixels = max((2 * length * new + old) // (2 * old), 1)
    return min((2 * start * new + old) // (2 * old), new - pixels), pixels


@dataclass(frozen=True)
class Resizing:
    """The picture that crops are taken of: `short_side` pixels, or `height` x `width` whatever the frame's shape."""

    short_side: int = 256
    height: int = 0
    width: int = 0

    def size(self, height: int, width: int) -> Size:
        """Height and width of a frame's picture; the longer side is rounded down, as torchvision does."""
        if self.height:
            return self.height, self.width
        short = min(height, width)
        return height * self.short_side // short, width * self.short_side // short


def centre(picture: Size, size: int) -> Part:
    """The middle `size` pixels a side of a picture; of one that is smaller, the largest square."""
    side = min(size, *picture)
    return Part(round((picture[0] - side) / 2), round((picture[1] - side) / 2), side, side, picture)


def three(picture: Size, size: int) -> list[Part]:
    """Squares of `size` pixels a side at both ends of a picture's longer side and in its middle, in their order."""
    side = min(size, *picture)
    down, across = picture[0] - side, picture[1] - side
    if across >= down:
        return [Part(round(down / 2), round(across * end), side, side, picture) for end in (0.0, 0.5, 1.0)]
    return [Part(round(down * end), round(across / 2), side, side, picture) for end in (0.0, 0.5, 1.0)]


@dataclass(frozen=True)
class Draw:
    """A multi-scale crop as it is drawn, before the size of the picture is known: which of PAIRS, which of PLACES."""

    pair: int
    place: int


def drawn(rng: np.random.Generator) -> Draw:
    """Each pair and each place with the same chance."""
    return Draw(int(rng.integers(len(PAIRS))), int(rng.integers(len(PLACES))))


def multi_scale(picture: Size, size: int, draw: Draw) -> Part:
    """The drawn crop of a picture."""
    height, width = picture
    sides = [int(min(height, width) * scale) for scale in SCALES]
    sides = [size if abs(side - size) < NEARLY else side for side in sides]
    of_height, of_width = PAIRS[draw.pair]
    rows, columns = min(sides[of_height], height), min(sides[of_width], width)
    down, across = PLACES[draw.place]
    return Part(down * ((height - rows) // 4), across * ((width - columns) // 4), rows, columns, picture)


def cut(frames: NDArray[np.uint8], part: Part) -> NDArray[np.uint8]:
    """Of frames (T, H, W, 3) of any size, the pixels of a part (T, h, w, 3); a view."""
    top, left, rows, columns = part.pixels(*frames.shape[1:3])
    return frames[:, top : top + rows, left : left + columns]


def resampled(frames: NDArray[np.uint8], size: Size, mirrored: bool = False) -> NDArray[np.uint8]:
    """Frames (T, h, w, 3) as `resized` makes them; themselves where there is nothing to do."""
    if frames.shape[1:3] == size and not mirrored:
        return frames
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine several wait for each other longer than so little work takes
    try:
        found: NDArray[np.uint8] = resized(torch.from_numpy(np.ascontiguousarray(frames)), size, mirrored).numpy()
    finally:
        torch.set_num_threads(threads)
    return found


def resized(frames: Tensor, size: Size, mirrored: bool = False) -> Tensor:
    """Frames (T, h, w, 3) uint8 at another size, antialiased bilinear as Pillow resizes.

    On a processor in whole numbers; elsewhere, where torch has no such kernel, in single precision: no pixel differs by
    more than 1.
    """
    planes = frames.permute(0, 3, 1, 2)  # (T, 3, h, w), channels-last
    if planes.shape[2:] != size:
        planes = _interpolated(planes, size, in_integers=planes.device.type == "cpu")
    if mirrored:
        planes = planes.flip(3)
    return planes.permute(0, 2, 3, 1)


def _interpolated(planes: Tensor, size: Size, in_integers: bool) -> Tensor:
    """(T, 3, h, w) uint8 at another size."""
    from torch.nn import functional

    values = planes if in_integers else planes.float()
    found = functional.interpolate(values, size, mode="bilinear", antialias=True, align_corners=False)
    return found if in_integers else found.round_().clamp_(0, 255).to(planes.dtype)
