"""What a data set gives: clips by number, drawn for training or as validation sees them. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Taken:
    """A clip as a network is given it.

    Attributes:
        times: (T,) numbers of its frames in the video.
        frames: (T, h, w, 3) uint8; of the network's size, or to be resampled to it.
        labels: indices of its classes, the first of which it is trained as.
        mirrored: whether it is still to be.
        informative: (T,) bool, which frames carry the label; None where the data set does not know.
        boxes: (T, 4) int pixels left, top, right, bottom of what carries it; None likewise.
    """

    times: NDArray[np.int64]
    frames: NDArray[np.uint8]
    labels: tuple[int, ...]
    mirrored: bool = False
    informative: NDArray[np.bool_] | None = None
    boxes: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Sampling:
    """How much of a video is looked at, in validation.

    Attributes:
        frames: of a clip, T.
        clips: of a video.
        crops: of a clip's frames, 1 or 3.
    """

    frames: int
    clips: int = 1
    crops: int = 1

    @property
    def views(self) -> int:
        """Clips that a network is given of a video."""
        return self.clips * self.crops


class Source(Protocol):
    """An opened data set."""

    @property
    def size(self) -> int:
        """Pixels a side of what networks are given."""
        ...

    @property
    def classes(self) -> int:
        """K."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        ...

    @property
    def multi_label(self) -> bool:
        """Whether a video may have several labels."""
        ...

    def training_clip(self, index: int, frames: int, rng: np.random.Generator) -> Taken:
        """A clip of training video number `index`, everything random in it drawn from `rng`.

        Raises:
            BadClip: where the video cannot be used.
        """
        ...

    def validation_clips(self, index: int, sampling: Sampling) -> list[Taken]:
        """The views of validation video number `index`, clip by clip, the crops of a clip together.

        Raises:
            BadClip: where the video cannot be used.
        """
        ...

    def name(self, split: str, index: int) -> str:
        """What people call this video."""
        ...
