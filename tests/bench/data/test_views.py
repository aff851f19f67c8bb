"""Crops against numbers found by hand and against the published code; pixels against Pillow's."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bench.data.views import (
    PAIRS,
    PLACES,
    Draw,
    Part,
    Resizing,
    _interpolated,
    centre,
    cut,
    drawn,
    multi_scale,
    resampled,
    three,
)

DRAWS = [Draw(pair, place) for pair in range(len(PAIRS)) for place in range(len(PLACES))]
sides = st.integers(1, 700)


def box(part: Part) -> tuple[int, int, int, int]:
    return part.top, part.left, part.height, part.width


# --- Sizes and places -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "picture"),
    [((240, 323), (256, 344)), ((323, 240), (344, 256)), ((256, 340), (256, 340)), ((100, 100), (256, 256))],
)
def test_the_shorter_side_is_resized_and_the_shape_kept(frame: tuple[int, int], picture: tuple[int, int]) -> None:
    """As torchvision's Resize(256): int(256 * long / short)."""
    assert Resizing(256).size(*frame) == picture


def test_a_fixed_picture_has_its_size_whatever_the_frame() -> None:
    assert Resizing(256, 240, 320).size(1080, 1920) == Resizing(256, 240, 320).size(70, 50) == (240, 320)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ((240, 320), (8, 48, 224, 224)),
        ((256, 340), (16, 58, 224, 224)),
        ((340, 256), (58, 16, 224, 224)),
        ((224, 224), (0, 0, 224, 224)),
        ((255, 341), (16, 58, 224, 224)),  # 15.5 and 58.5: torchvision's CenterCrop rounds to the even number too
    ],
)
def test_the_centre(picture: tuple[int, int], expected: tuple[int, int, int, int]) -> None:
    assert box(centre(picture, 224)) == expected


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ((240, 320), [(8, 0), (8, 48), (8, 96)]),
        ((320, 240), [(0, 8), (48, 8), (96, 8)]),
        ((256, 341), [(16, 0), (16, 58), (16, 117)]),
        ((224, 224), [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_three_crops_lie_along_the_longer_side(picture: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    parts = three(picture, 224)
    assert [(part.top, part.left) for part in parts] == expected
    assert all((part.height, part.width) == (224, 224) for part in parts)


def test_of_a_picture_smaller_than_the_crop_the_largest_square_is_taken() -> None:
    """So that its shape is kept."""
    assert box(centre((200, 340), 224)) == (0, 70, 200, 200)
    assert [box(part) for part in three((340, 200), 224)] == [(0, 0, 200, 200), (70, 0, 200, 200), (140, 0, 200, 200)]


def published_crops(image_w: int, image_h: int, size: int) -> set[tuple[int, int, int, int]]:
    """All that GroupMultiScaleCrop of TSN's and TSM's code may draw, as (top, left, height, width)."""
    found = set()
    crop_sizes = [int(min(image_w, image_h) * x) for x in [1, 0.875, 0.75, 0.66]]
    crop_sizes = [size if abs(x - size) < 3 else x for x in crop_sizes]
    for i, h in enumerate(crop_sizes):
        for j, w in enumerate(crop_sizes):
            if abs(i - j) <= 1:
                w_step, h_step = (image_w - w) // 4, (image_h - h) // 4
                offsets = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0)]
                offsets += [(1, 1), (3, 1), (1, 3), (3, 3)]
                found |= {(y * h_step, x * w_step, h, w) for x, y in offsets}
    return found


@pytest.mark.parametrize("picture", [(240, 320), (256, 340), (340, 256), (73, 97), (100, 176), (227, 300), (226, 300)])
def test_multi_scale_crops_are_those_of_the_published_code(picture: tuple[int, int]) -> None:
    for size in (224, 64):
        found = {box(multi_scale(picture, size, draw)) for draw in DRAWS}
        assert found == published_crops(picture[1], picture[0], size)


def test_multi_scale_crops_of_240x320_by_hand() -> None:
    """Sides are 240, 210, 180 and 158; two of them at most one step apart."""
    parts = [multi_scale((240, 320), 224, draw) for draw in DRAWS]
    shapes = {(part.height, part.width) for part in parts}
    assert shapes == {
        *((240, 240), (210, 210), (180, 180), (158, 158)),
        *((240, 210), (210, 240), (210, 180), (180, 210), (180, 158), (158, 180)),
    }
    # Quarters of the room: 15 rows and 35 columns.
    assert {(part.top, part.left) for part in parts if part.height == part.width == 180} == {
        *((0, 0), (0, 70), (0, 140), (30, 0), (30, 70), (30, 140), (60, 0), (60, 70), (60, 140)),
        *((15, 35), (15, 105), (45, 35), (45, 105)),
    }


def test_a_side_that_nearly_is_the_inputs_becomes_it_where_it_fits() -> None:
    """Of 226 and of 222 pixels two lack two to 224; 222 rows cannot become 224."""
    assert {multi_scale((226, 300), 224, draw).height for draw in DRAWS} == {224, 197, 169, 149}
    whole = next(part for part in (multi_scale((222, 300), 224, draw) for draw in DRAWS) if part.height == 222)
    assert whole.width in (224, 194)


def test_every_pair_and_place_is_drawn_as_often() -> None:
    rng = np.random.default_rng(0)
    drawings = Counter(drawn(rng) for _ in range(13_000))
    assert set(drawings) == set(DRAWS)
    # 100 expected of each; five standard deviations of a binomial.
    assert max(abs(count - 100) for count in drawings.values()) < 50


# --- In the decoded frame ---------------------------------------------------------------------------------------------

parts = st.one_of(
    st.builds(centre, st.tuples(sides, sides), st.integers(1, 300)),
    st.builds(three, st.tuples(sides, sides), sides).flatmap(st.sampled_from),
    st.builds(multi_scale, st.tuples(st.integers(8, 700), st.integers(8, 700)), sides, st.sampled_from(DRAWS)),
)


@given(parts)
def test_in_a_frame_of_the_pictures_size_a_part_is_what_it_says(part: Part) -> None:
    assert part.pixels(*part.picture) == box(part)


@given(parts, sides, sides)
def test_a_part_lies_within_a_frame_of_any_size(part: Part, height: int, width: int) -> None:
    top, left, rows, columns = part.pixels(height, width)
    assert rows >= 1 and columns >= 1
    assert top >= 0 and top + rows <= height
    assert left >= 0 and left + columns <= width


@given(parts, sides, sides)
def test_edges_are_at_most_half_a_pixel_off(part: Part, height: int, width: int) -> None:
    assume(part.height * height >= part.picture[0] and part.width * width >= part.picture[1])
    down, across = Fraction(height, part.picture[0]), Fraction(width, part.picture[1])
    exact = (part.top * down, part.left * across, part.height * down, part.width * across)
    assert max(abs(found - wanted) for found, wanted in zip(part.pixels(height, width), exact, strict=True)) <= 0.5


@given(parts, st.integers(1, 300))
def test_a_frame_of_the_least_size_has_the_pixels_needed_and_a_smaller_one_has_not(part: Part, size: int) -> None:
    rows, columns = part.least(size)
    assert min(part.pixels(rows, columns)[2:]) >= size
    assert part.height * (rows - 1) < size * part.picture[0] and part.width * (columns - 1) < size * part.picture[1]


def test_the_least_size_is_exact() -> None:
    """As shares of the sides, 224 of 341 columns would take 342."""
    assert Part(0, 0, 224, 224, (256, 341)).least(224) == (256, 341)


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise of several scales."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (max(height // n, 1), max(width // n, 1), 3), np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            np.float64,
        )
        for n in (1, 4, 16)
    ]
    return np.clip(layers[0] * 0.3 + layers[1] * 0.3 + layers[2] * 0.4, 0, 255).astype(np.uint8)


def test_a_crop_of_the_very_size_is_the_pixels_themselves() -> None:
    frames = np.stack([picture(256, 340, seed) for seed in range(2)])
    seen = cut(frames, centre((256, 340), 224))
    assert np.array_equal(seen, frames[:, 16:240, 58:282])
    assert np.array_equal(resampled(seen, (224, 224)), seen)


def test_all_frames_are_cut_alike() -> None:
    frames = np.repeat(picture(48, 64)[None], 3, axis=0)
    seen = cut(frames, multi_scale((48, 64), 32, Draw(5, 7)))
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[0], seen[2])


def test_cutting_copies_nothing() -> None:
    frames = np.zeros((2, 48, 64, 3), np.uint8)
    assert np.shares_memory(cut(frames, centre((48, 64), 32)), frames)


# --- Pixels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(256, 256), (300, 280), (480, 480), (168, 192), (158, 240), (1, 5)])
@pytest.mark.parametrize("size", [(224, 224), (64, 85)])
def test_resampling_is_pillows(shape: tuple[int, int], size: tuple[int, int]) -> None:
    """Smaller, larger, and both at once."""
    frames = np.stack([picture(*shape, seed) for seed in range(2)])
    found = resampled(frames, size)
    assert found.shape == (2, *size, 3) and found.dtype == np.uint8
    for one, frame in zip(found, frames, strict=True):
        wanted = np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR), int)
        assert np.abs(one - wanted).max() <= 1


@pytest.mark.parametrize("shape", [(256, 256), (300, 280), (158, 240)])
def test_in_floating_point_no_pixel_differs_by_more_than_one(shape: tuple[int, int]) -> None:
    """As devices compute that have no kernel for whole numbers."""
    planes = torch.from_numpy(picture(*shape)[None]).permute(0, 3, 1, 2)
    whole, real = (_interpolated(planes, (224, 224), in_integers) for in_integers in (True, False))
    assert real.dtype == torch.uint8
    assert (whole.int() - real.int()).abs().max() <= 1


def test_a_part_of_a_frame_is_resampled_as_pillow_does_a_box() -> None:
    """Pillow's filter looks beyond the box's edges, ours does not."""
    frame = picture(480, 640)
    part = Part(30, 40, 200, 180, (240, 320))
    (found,) = resampled(cut(frame[None], part), (112, 112))
    at = (80, 60, 80 + 360, 60 + 400)
    wanted = np.asarray(Image.fromarray(frame).resize((112, 112), Image.Resampling.BILINEAR, box=at), int)
    assert np.abs(found - wanted)[1:-1, 1:-1].max() <= 1


@pytest.mark.parametrize("shape", [(224, 224), (300, 280), (158, 240)])
def test_mirrored_is_the_mirror_image(shape: tuple[int, int]) -> None:
    frames = picture(*shape)[None]
    straight, mirrored = resampled(frames, (224, 224)), resampled(frames, (224, 224), mirrored=True)
    assert np.abs(mirrored[:, :, ::-1].astype(int) - straight).max() <= 1
    assert np.abs(mirrored.astype(int) - straight).max() > 50
