"""Digits in motion: the same everywhere, blind to reversal, with a true answer key."""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from bench.data.digits import CLASSES, DIRECTIONS, VAL_DIGITS, Clip, Digits, load_glyphs

# Of clips 0..3 of each split with default settings; the bytes must be these on every machine.
GOLDEN = "984fd7d1221ec52dee25501c118709e7eac24a4783e527ffd1ec1abfdf055bb2"


def digest(_: int = 0) -> str:
    digits = Digits()
    clips = [digits.clip(split, index).frames for split in ("train", "val") for index in range(4)]
    return hashlib.sha256(np.stack(clips).tobytes()).hexdigest()


def test_bytes_are_the_same_on_every_machine() -> None:
    assert digest() == GOLDEN


def test_bytes_are_the_same_in_every_worker() -> None:
    with ProcessPoolExecutor(2) as pool:
        assert set(pool.map(digest, range(2))) == {GOLDEN}


def test_glyphs_are_scikit_learns_digits() -> None:
    images, labels = load_glyphs()
    source = load_digits()
    assert np.array_equal(images, source.images.astype(np.uint8))
    assert np.array_equal(labels, source.target)


def test_splits_share_no_digit_image() -> None:
    members = Digits()._members
    train, val = (set(np.concatenate(members[split]).tolist()) for split in ("train", "val"))
    assert train and val and not train & val
    assert min(val) >= len(load_glyphs()[0]) - VAL_DIGITS


def test_a_subset_of_frames_is_the_same_frames() -> None:
    digits = Digits()
    whole, part = digits.clip("val", 5), digits.clip("val", 5, np.array([40, 3, 17]))
    assert np.array_equal(part.frames, whole.frames[[40, 3, 17]])
    assert np.array_equal(part.boxes, whole.boxes[[40, 3, 17]])


def test_a_third_of_the_frames_is_informative_in_one_run() -> None:
    digits = Digits()
    for index in range(20):
        informative = digits.clip("train", index).informative
        assert informative.sum() == 16
        assert np.abs(np.diff(informative.astype(int))).sum() <= 2


@pytest.mark.parametrize(
    "knobs",
    [
        {"distractors": 8},
        {"distractors": 0, "noise": 0},
        {"noise": 128, "informative": 1.0},
        {"size": 608, "length": 4, "informative": 0.01},
        {"size": 16, "scale": 0.01},
        {"scale": 0.5},
    ],
)
def test_knobs_work_at_their_ends(knobs: dict[str, float]) -> None:
    digits = Digits(**knobs)  # type: ignore[arg-type]
    clip = digits.clip("train", 3)
    assert clip.frames.shape == (digits.length, digits.size, digits.size, 3)
    assert clip.informative.sum() == digits.present


def test_the_digit_keeps_its_colour_under_strong_noise() -> None:
    digits = Digits(noise=128)
    for index in range(10):
        clip = digits.clip("train", index)
        frame, box = clip.frames[clip.informative][0], clip.boxes[clip.informative][0]
        left, top, right, bottom = box
        assert frame[top:bottom, left:right].min(axis=2).max() >= 180


def test_the_digit_is_where_the_box_says_and_nowhere_else() -> None:
    digits = Digits()
    bright = 120  # between the brightest distractor's ink and the digit's
    for index in range(20):
        clip = digits.clip("train", index)
        for frame, box, present in zip(clip.frames, clip.boxes, clip.informative, strict=True):
            inked = (frame.min(axis=2) > bright).nonzero()
            if not present:
                assert not box.any()
                assert inked[0].size == 0
                continue
            left, top, right, bottom = box
            assert 0 <= left < right <= digits.size and 0 <= top < bottom <= digits.size
            assert right - left == bottom - top == digits.side
            if inked[0].size:
                assert top <= inked[0].min() and inked[0].max() < bottom
                assert left <= inked[1].min() and inked[1].max() < right


def test_the_digit_moves_the_way_its_label_says() -> None:
    digits, headings = Digits(), list(DIRECTIONS.values())
    seen = set()
    for index in range(60):
        clip = digits.clip("train", index)
        x, y = headings[clip.label % len(headings)]
        first, last = clip.boxes[clip.informative][[0, -1], :2]
        moved = (last - first) * np.array([x, y])
        assert (moved[np.array([x, y]) != 0] > digits.size // 5).all()
        seen.add(clip.label)
    assert len(seen) == len(CLASSES)


def test_backward_classes_are_forward_clips_reversed() -> None:
    """The proof of the ceiling: order apart, the two directions of a way have the same clips."""
    digits = Digits()

    class Forward(Digits):
        """Draws the same numbers but never reverses."""

        def clip(self, split: str, index: int, times: NDArray[np.int64] | None = None) -> Clip:
            times = np.arange(self.length) if times is None else times
            label = super().clip(split, index, np.array([0])).label
            return super().clip(split, index, self.length - 1 - times if label % 2 else times)

    backward = next(i for i in range(50) if digits.clip("train", i).label % 2)
    reversed_clip = digits.clip("train", backward).frames[::-1]
    assert np.array_equal(reversed_clip, Forward().clip("train", backward).frames)


def test_classes_are_equally_frequent() -> None:
    digits = Digits()
    counts = np.bincount([digits.clip("train", i, np.array([0])).label for i in range(3200)], minlength=len(CLASSES))
    # 200 expected of each; five standard deviations of a binomial.
    assert np.abs(counts - 200).max() < 5 * (200 * (1 - 1 / 16)) ** 0.5


@pytest.mark.parametrize(("split", "times"), [("test", None), ("val", [48]), ("val", [-1])])
def test_wrong_requests_are_refused(split: str, times: list[int] | None) -> None:
    with pytest.raises(ValueError, match=r"expected|leave the clip"):
        Digits().clip(split, 0, None if times is None else np.array(times))
