"""Batches: ImageNet's normalisation by hand, and every field from its own clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.data.digits import Digits
from bench.data.loader import assembled, normalise
from bench.data.source import Taken

CPU = torch.device("cpu")
# (value - mean) / std of red, green and blue, with ImageNet's means .485, .456, .406 and deviations .229, .224, .225 of
# values in 0..1, as torchvision's documentation of its weights gives them.
BY_HAND = {
    0: [-2.117904, -2.035714, -1.804444],
    51: [-1.244541, -1.142857, -0.915556],
    255: [2.248908, 2.428571, 2.640000],
}


@pytest.mark.parametrize("value", BY_HAND)
def test_a_grey_pixel_becomes_what_the_hand_finds(value: int) -> None:
    clips = np.full((1, 1, 1, 1, 3), value, np.uint8)
    assert normalise(clips, CPU).flatten().tolist() == pytest.approx(BY_HAND[value], abs=1e-5)


def test_every_pixel_keeps_its_place_and_channels_move_before_the_map() -> None:
    clips = np.arange(2 * 3 * 4 * 5 * 3).astype(np.uint8).reshape(2, 3, 4, 5, 3)
    pixels = normalise(clips, CPU)
    assert pixels.shape == (2, 3, 3, 4, 5)
    for n, t, y, x in ((0, 0, 0, 0), (1, 2, 3, 4), (1, 0, 2, 3), (0, 1, 3, 1)):
        expected = [
            (clips[n, t, y, x, c] / 255 - mean) / deviation
            for c, (mean, deviation) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225)))
        ]
        assert pixels[n, t, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


def test_frames_are_laid_out_channels_last() -> None:
    frames = normalise(np.zeros((2, 3, 4, 5, 3), np.uint8), CPU).flatten(0, 1)
    assert frames.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_pixels_have_the_type_asked_for(dtype: torch.dtype) -> None:
    assert normalise(np.zeros((1, 1, 2, 2, 3), np.uint8), CPU, dtype).dtype == dtype


def test_pixels_are_single_precision_unless_asked() -> None:
    assert normalise(np.zeros((1, 1, 2, 2, 3), np.uint8), CPU).dtype == torch.float32


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_batch_holds_each_clip_at_its_own_times(split: str) -> None:
    digits, videos = Digits(), np.array([7, 0, 3])
    times = [np.array([1, 20, 40]), np.array([5, 6, 7]), np.array([0, 30, 47])]
    take = dict(zip(videos.tolist(), times, strict=True))

    def taken(video: int) -> list[Taken]:
        clip = digits.clip(split, video, take[video])
        return [Taken(take[video], clip.frames, (clip.label,), informative=clip.informative, boxes=clip.boxes)]

    batch = assembled(digits, split, videos, taken, "stop")
    assert len(batch) == 3
    assert batch.videos.tolist() == [7, 0, 3]
    assert batch.times.tolist() == [[1, 20, 40], [5, 6, 7], [0, 30, 47]]
    assert batch.labels.dtype == np.int64 and batch.informative.dtype == np.bool_
    for row, (video, when) in enumerate(zip(videos, times, strict=True)):
        clip = digits.clip(split, int(video), when)
        assert np.array_equal(batch.clips[row], clip.frames)
        assert batch.labels[row] == clip.label
        assert np.array_equal(batch.informative[row], clip.informative)
        assert np.array_equal(batch.boxes[row], clip.boxes)
