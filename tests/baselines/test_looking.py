"""Operations of samplers against slow versions of themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from baselines.frameexit import PUBLISHED_ORDER, bisecting
from baselines.looking import (
    as_indices,
    as_mask,
    best_frames,
    boxes_at,
    crop,
    others,
    random_frames,
    resized,
    spread_frames,
    take_frames,
)


def slow_crop(frame: Tensor, box: list[float], size: int) -> Tensor:
    """Bilinear samples at the middles of size x size equal parts of the box; outside, the nearest pixel."""
    channels, height, width = frame.shape
    left, top, right, bottom = box
    out = torch.zeros(channels, size, size, dtype=frame.dtype)
    for i in range(size):
        for j in range(size):
            y = min(max(top + (bottom - top) * (i + 0.5) / size - 0.5, 0), height - 1)
            x = min(max(left + (right - left) * (j + 0.5) / size - 0.5, 0), width - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            a, b = y - y0, x - x0
            out[:, i, j] = (
                frame[:, y0, x0] * (1 - a) * (1 - b)
                + frame[:, y0, x1] * (1 - a) * b
                + frame[:, y1, x0] * a * (1 - b)
                + frame[:, y1, x1] * a * b
            )
    return out


@given(
    left=st.floats(-1, 6), top=st.floats(-1, 5), width=st.floats(1, 9), height=st.floats(1, 8), size=st.integers(1, 6)
)
@settings(max_examples=30, deadline=None)
def test_a_crop_is_sampled_bilinearly(left: float, top: float, width: float, height: float, size: int) -> None:
    frame = torch.randn(2, 9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    box = [left, top, left + width, top + height]
    found = crop(frame[None], torch.tensor([box], dtype=torch.float64), size)[0]
    torch.testing.assert_close(found, slow_crop(frame, box, size), atol=1e-9, rtol=0)


def test_a_crop_at_whole_pixels_is_a_copy() -> None:
    frames = torch.randn(3, 3, 20, 24)
    boxes = torch.tensor([[0.0, 0, 8, 8], [16, 12, 24, 20], [5, 7, 13, 15]])
    found = crop(frames, boxes, 8)
    for frame, (left, top, right, bottom), part in zip(frames, boxes.int().tolist(), found, strict=True):
        torch.testing.assert_close(part, frame[:, top:bottom, left:right], atol=1e-5, rtol=0)


def test_moving_a_crop_towards_what_is_bright_makes_it_brighter() -> None:
    frame = torch.arange(16.0).expand(1, 1, 16, 16).clone()  # brighter to the right
    box = torch.tensor([[4.0, 4, 8, 8]], requires_grad=True)
    crop(frame, box, 4).mean().backward()
    assert box.grad is not None
    left, top, right, bottom = box.grad[0].tolist()
    assert left + right == pytest.approx(1, abs=1e-4) and top + bottom == pytest.approx(0, abs=1e-4)


def test_corners_place_squares_within_the_frame() -> None:
    boxes = boxes_at(torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.0]]), 32, 64, 96)
    assert boxes.tolist() == [[0, 0, 32, 32], [64, 32, 96, 64], [32, 0, 64, 32]]


@given(frames=st.integers(1, 30), data=st.data())
@settings(max_examples=40, deadline=None)
def test_frames_are_spread_and_drawn_one_from_each_segment(frames: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, frames))
    drawn = random_frames(7, frames, wanted, torch.device("cpu"))
    edges = [i * frames // wanted for i in range(wanted + 1)]
    for position in range(wanted):
        column = drawn[:, position]
        assert ((column >= edges[position]) & (column < edges[position + 1])).all()
    spread = spread_frames(frames, wanted).tolist()
    assert spread == sorted(set(spread)) and len(spread) == wanted
    assert all(abs(frame + 0.5 - (i + 0.5) * frames / wanted) <= 0.5 for i, frame in enumerate(spread))


def test_masks_indices_and_the_rest_go_together() -> None:
    chosen = torch.tensor([[0, 3], [1, 2]])
    mask = as_mask(chosen, 5)
    assert mask.tolist() == [[True, False, False, True, False], [False, True, True, False, False]]
    assert torch.equal(as_indices(mask), chosen)
    assert others(chosen, 5).tolist() == [[1, 2, 4], [0, 3, 4]]
    with pytest.raises(ValueError, match=r"keep \[1, 2\] frames"):
        as_indices(torch.tensor([[True, True], [True, False]]))


def test_of_equal_scores_the_earlier_frames_are_best() -> None:
    assert best_frames(torch.tensor([[1.0, 3, 3, 3, 0]]), 2).tolist() == [[1, 2]]


def test_taking_frames_is_indexing() -> None:
    clips, chosen = torch.randn(3, 5, 2, 4, 4), torch.tensor([[0, 4], [2, 3], [1, 2]])
    expected = torch.stack([clip[rows] for clip, rows in zip(clips, chosen, strict=True)]).flatten(0, 1)
    assert torch.equal(take_frames(clips, chosen), expected)


def test_a_frame_of_the_size_asked_for_is_left_alone_and_a_constant_stays_one() -> None:
    frames = torch.randn(2, 3, 32, 32)
    assert resized(frames, 32) is frames
    assert np.allclose(resized(torch.full((1, 3, 64, 48), 2.0), 32), 2.0)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7, 8, 16, 31])
def test_frames_are_looked_at_once_each_in_bisecting_order(frames: int) -> None:
    order = bisecting(frames)
    assert sorted(order) == list(range(frames)) and order[0] == frames // 2


def test_ten_frames_are_looked_at_in_the_published_order() -> None:
    assert bisecting(10) == PUBLISHED_ORDER == [5, 0, 9, 2, 7, 4, 6, 3, 8, 1]
