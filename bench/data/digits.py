"""Digits in motion: the embedded data set, generated from a seed, with its answer key.

A real handwritten digit (8x8, scikit-learn's `load_digits`, from the UCI set of E. Alpaydin and C. Kaynak, CC BY 4.0)
crosses a textured, noisy scene during a part of the clip; scrambled digits drift through all of it. The label is
what crosses and where to: (group of the digit) x (direction), 2 x 8 = 16 classes.

**The ceiling of an order-blind model is 1/2.** A clip that moves left or up *is* a clip that moves right or down played
backwards: `Digits.clip` draws a forward clip and reverses it. Both are equally frequent, so the set of a clip's
frames says nothing of the sign of the direction, and no function of that set can be right on more than half of the
clips, whatever it is. (The frames a model is given are a sample; the samplers of bench.data.sampling are symmetric in
time to within one frame.)

**The answer key.** `informative` says in which frames the digit is present (a third of them by default, one run that
begins at a random time), `boxes` where. One frame alone cannot tell the direction, two informative ones can. A run that
fits into the clip covers its middle more often than its ends, so a rule that knows positions alone finds more than a
random one: the metric `recall_by_position` is what it finds.

**Determinism.** Every number comes from the raw 64-bit output of a Philox counter keyed by (seed, split, index), whose
stream NumPy guarantees, through integer arithmetic: the bytes are the same on every machine and in every worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from bench.data.sampling import random_segments, segment_centres
from bench.data.source import Sampling, Taken

GROUPS = {"ones": (1,), "zeros": (0,)}
# Unit steps (x, y); each direction is followed by the same way backwards.
DIRECTIONS = {
    "right": (1, 0),
    "left": (-1, 0),
    "down": (0, 1),
    "up": (0, -1),
    "right-down": (1, 1),
    "left-up": (-1, -1),
    "right-up": (1, -1),
    "left-down": (-1, 1),
}
CLASSES = tuple(f"{group} {direction}" for group in GROUPS for direction in DIRECTIONS)
SPLITS = ("train", "val")

GLYPH = 8  # pixels a side of a source digit
INK = 16  # its largest value
VAL_DIGITS = 360  # of the 1,797, the last ones: no digit image is in both splits
FIXED = 256  # positions and blends are fixed-point numbers with this denominator
NOISE_POOL = 1 << 20

Bytes = NDArray[np.uint8]


@lru_cache(maxsize=1)
def load_glyphs() -> tuple[Bytes, Bytes]:
    """The 1,797 digits, (1797, 8, 8) uint8 in 0..16, and what each is, (1797,) uint8."""
    with resources.files("bench.data").joinpath("digits.npz").open("rb") as file, np.load(file) as archive:
        return archive["images"], archive["labels"]


def enlarge(size: int, source: int = GLYPH) -> NDArray[np.int64]:
    """Bilinear weights (size, source) from `source` to `size` pixels, integers whose rows sum to 2 * size."""
    rows = np.zeros((size, source), np.int64)
    for i in range(size):
        # Centre of pixel i in source pixels, times 2 * size: (i + 1/2) * source / size - 1/2.
        position = min(max((2 * i + 1) * source - size, 0), (source - 1) * 2 * size)
        left, part = divmod(position, 2 * size)
        rows[i, left] += 2 * size - part
        if part:
            rows[i, left + 1] += part
    return rows


@dataclass(frozen=True)
class Clip:
    """A clip and its answer key.

    Attributes:
        frames: (T, size, size, 3) uint8.
        label: index into CLASSES.
        informative: (T,) bool, whether the digit is in the frame.
        boxes: (T, 4) int, (left, top, right, bottom) of the digit in pixels; zeros where it is absent.
    """

    frames: Bytes
    label: int
    informative: NDArray[np.bool_]
    boxes: NDArray[np.int64]


@dataclass(frozen=True)
class _Path:
    """A straight way through the scene, reflected at its walls: start + t * step in 1/FIXED pixels, (x, y)."""

    start: tuple[int, int]
    step: tuple[int, int]

    def corners(self, times: NDArray[np.int64], room: int) -> NDArray[np.int64]:
        """Top left corners (n, 2) at these times, whole pixels in [0, room]."""
        line = (np.array(self.start) + times[:, None] * np.array(self.step)) // FIXED
        folded = line % (2 * room)
        return np.minimum(folded, 2 * room - folded)


class _Draws:
    """Uniform integers from the raw output of a counter-based generator."""

    def __init__(self, *key: int) -> None:
        self._source = np.random.Philox(key=np.array(key, np.uint64))
        self._raw: Iterator[int] = iter(())

    def _next(self) -> int:
        for value in self._raw:
            return value
        self._raw = iter(self._source.random_raw(64).tolist())
        return next(self._raw)

    def below(self, n: int) -> int:
        """An integer in [0, n); the bias of the modulo is under n / 2**64."""
        return self._next() % n

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return low + self.below(high - low + 1)

    def colour(self, low: int, high: int) -> NDArray[np.int16]:
        """Red, green and blue, each in [low, high]."""
        return np.array([self.between(low, high) for _ in range(3)], np.int16)


@dataclass(frozen=True)
class Digits:
    """The data set.

    Attributes:
        seed: of everything.
        length: frames of a clip.
        size: pixels a side.
        informative: share of the frames in which the digit is present, in (0, 1].
        scale: digit's side as a share of the picture's.
        distractors: largest number of scrambled digits in a clip.
        noise: largest amplitude of the pixel noise, in grey levels; each clip has between a quarter of it and all.
    """

    seed: int = 0
    length: int = 48
    size: int = 64
    informative: float = 1 / 3
    scale: float = 0.34
    distractors: int = 2
    noise: int = 16

    @property
    def classes(self) -> int:
        """K."""
        return len(CLASSES)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        return CLASSES

    @property
    def multi_label(self) -> bool:
        """A clip has one label."""
        return False

    @property
    def side(self) -> int:
        """Pixels a side of the digit."""
        return max(round(self.size * self.scale), GLYPH)

    @property
    def present(self) -> int:
        """Number of informative frames of a clip, at least 2: one frame has no direction."""
        return max(round(self.length * self.informative), 2)

    @cached_property
    def _sprites(self) -> Bytes:
        """(1797, side, side) opacity of the digits, 0..255."""
        images, _ = load_glyphs()
        return self._enlarged(images)

    @cached_property
    def _scrambled(self) -> Bytes:
        """(1797, side, side) opacity of the digits with their sixteen 2x2 tiles rearranged: same ink, no digit."""
        images, _ = load_glyphs()
        tiles = images.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 2, 2)
        tiles = tiles[:, [5, 10, 15, 0, 11, 4, 1, 14, 7, 8, 13, 2, 9, 6, 3, 12]]
        mixed = tiles.reshape(-1, 4, 4, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, GLYPH, GLYPH)
        return self._enlarged(mixed)

    def _enlarged(self, glyphs: Bytes) -> Bytes:
        weights = enlarge(self.side)
        full = INK * (2 * self.side) ** 2
        return (weights @ glyphs.astype(np.int64) @ weights.T * 255 // full).astype(np.uint8)

    @cached_property
    def _texture_weights(self) -> NDArray[np.int64]:
        """Bilinear weights (size, 3) that stretch a 3x3 grid of colours over the picture; rows sum to 2 * size."""
        return enlarge(self.size, 3)

    @cached_property
    def _members(self) -> dict[str, list[NDArray[np.int64]]]:
        """Per split, per group: indices of its digit images."""
        _, labels = load_glyphs()
        edge = len(labels) - VAL_DIGITS
        index = np.arange(len(labels))
        return {
            split: [np.flatnonzero(np.isin(labels, group) & part) for group in GROUPS.values()]
            for split, part in (("train", index < edge), ("val", index >= edge))
        }

    @cached_property
    def _noise(self) -> NDArray[np.int16]:
        """A pool of noise in [-128, 127] that frames take windows of, repeated so that every window is whole."""
        raw = np.random.Philox(key=np.array([self.seed, 2**32], np.uint64)).random_raw(NOISE_POOL // 8)
        pool = raw.astype("<u8").view(np.uint8).astype(np.int16) - 128
        return np.resize(pool, NOISE_POOL + self.size * self.size * 3)

    def clip(self, split: str, index: int, times: NDArray[np.int64] | None = None) -> Clip:
        """Clip number `index` of a split at these frame times (all of them by default), in the order given.

        Raises:
            ValueError: for an unknown split, or a time outside [0, length).
        """
        if split not in SPLITS:
            raise ValueError(f"digits in motion has no split {split!r}; expected one of {', '.join(SPLITS)}")
        times = np.arange(self.length) if times is None else np.asarray(times, np.int64)
        if times.size and not (times.min() >= 0 and times.max() < self.length):
            raise ValueError(f"frame times {times.min()}..{times.max()} leave the clip of {self.length} frames")
        draws = _Draws(self.seed, SPLITS.index(split) << 32 | index)
        label = draws.below(len(CLASSES))
        group, direction = divmod(label, len(DIRECTIONS))
        if direction % 2:
            times = self.length - 1 - times
        phase = times - draws.below(self.length - self.present + 1)
        informative = (phase >= 0) & (phase < self.present)
        frames = self._scene(draws, times)
        for _ in range(draws.below(self.distractors + 1)):
            sprite = self._scrambled[draws.below(len(self._scrambled))]
            corners = self._drift(draws).corners(times, self._room)
            _paste(frames, corners, sprite, draws.colour(40, 90))
        members = self._members[split][group]
        sprite = self._sprites[members[draws.below(len(members))]]
        corners = self._crossing(draws, tuple(DIRECTIONS.values())[direction // 2 * 2]).corners(
            phase[informative], self._room
        )
        visible = frames[informative]
        _paste(visible, corners, sprite, draws.colour(190, 255))
        frames[informative] = visible
        boxes = np.zeros((len(times), 4), np.int64)
        boxes[informative] = np.concatenate([corners, corners + self.side], axis=1)
        return Clip(np.clip(frames, 0, 255).astype(np.uint8), label, informative, boxes)

    def training_clip(self, index: int, frames: int, rng: np.random.Generator) -> Taken:
        """A clip for training, a frame drawn in each segment; see bench.data.source."""
        return self._taken("train", index, random_segments(self.length, frames, rng))

    def validation_clips(self, index: int, sampling: Sampling) -> list[Taken]:
        """The one view there is, frames from the middle of each segment."""
        return [self._taken("val", index, segment_centres(self.length, sampling.frames))]

    def _taken(self, split: str, index: int, times: NDArray[np.int64]) -> Taken:
        clip = self.clip(split, index, times)
        return Taken(times, clip.frames, (clip.label,), informative=clip.informative, boxes=clip.boxes)

    def name(self, split: str, index: int) -> str:
        """What an error calls a clip."""
        return f"{split}/{index}"

    @property
    def _room(self) -> int:
        """Pixels a sprite's corner may move."""
        return self.size - self.side

    def _crossing(self, draws: _Draws, heading: tuple[int, int]) -> _Path:
        """The digit's way: over half to three quarters of the room along its heading, a slight drift across."""
        room, last = self._room * FIXED, self.present - 1
        travel = draws.between(room // 2, room * 3 // 4)
        start, step = [], []
        for sign in heading:
            low = draws.between(0, room - travel)
            drift = draws.between(-room // 8, room // 8)
            start.append((draws.between(room // 8, room * 7 // 8), low, low + travel)[sign])
            step.append((drift // last, travel // last, -(travel // last))[sign])
        return _Path((start[0], start[1]), (step[0], step[1]))

    def _drift(self, draws: _Draws) -> _Path:
        """A distractor's way: any direction, up to the digit's speed."""
        room = self._room * FIXED
        fastest = room * 3 // 4 // (self.present - 1)
        return _Path(
            (draws.between(0, room), draws.between(0, room)),
            (draws.between(-fastest, fastest), draws.between(-fastest, fastest)),
        )

    def _scene(self, draws: _Draws, times: NDArray[np.int64]) -> NDArray[np.int16]:
        """Background and noise, (T, size, size, 3): a smooth texture, a flicker of the light, noise on every pixel."""
        grid = np.array([draws.below(FIXED) for _ in range(3 * 9)], np.int64).reshape(3, 3, 3)
        weights = self._texture_weights
        texture = weights @ grid @ weights.T * 24 // (FIXED * 2 * self.size * 2 * self.size)  # (3, size, size)
        amplitude = draws.between(self.noise // 4, self.noise)
        seat, stride = draws.below(NOISE_POOL), 2 * draws.below(NOISE_POOL) + 1
        window = self.size * self.size * 3
        offsets = (seat + times * stride) % NOISE_POOL
        noise = np.stack([self._noise[o : o + window] for o in offsets.tolist()]) * np.int16(amplitude) >> 7
        frames = noise.reshape(-1, self.size, self.size, 3)
        frames += np.ascontiguousarray(texture.astype(np.int16).transpose(1, 2, 0))  # added row by row, not by channel
        frames += (offsets % 17).astype(np.int16)[:, None, None, None]
        return frames


def _paste(frames: NDArray[np.int16], corners: NDArray[np.int64], sprite: Bytes, colour: NDArray[np.int16]) -> None:
    """Blend a sprite (side, side) of opacities into frames (T, H, W, 3), at corners (T, 2) as (left, top)."""
    opacity = sprite.astype(np.int32)[:, :, None].repeat(3, axis=2)
    opacity += opacity >> 7  # 0..256: full ink covers; products need more than 16 bits
    side = len(sprite)
    for frame, (left, top) in zip(frames, corners.tolist(), strict=True):
        patch = frame[top : top + side, left : left + side]
        patch += ((colour - patch) * opacity >> 8).astype(np.int16)
