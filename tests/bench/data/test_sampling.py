"""Frame sampling: in bounds, in its segments, and where the published code takes its frames."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.sampling import MODES, random_segments, segment_centres, training_times, validation_times
from bench.errors import UserError

lengths, counts = st.integers(1, 400), st.integers(1, 64)
modes, seeds = st.sampled_from(MODES), st.integers(0, 2**32)


@given(lengths, counts)
def test_centres_are_in_bounds_in_order_and_as_published(length: int, frames: int) -> None:
    times = segment_centres(length, frames)
    assert len(times) == frames and times.min() >= 0 and times.max() < length
    assert (np.diff(times) >= 0).all()
    tick = length / frames
    published = [int(tick / 2 + tick * i) for i in range(frames)] if length > frames else [0] * frames
    # Float rounding may put the published formula one frame off where the exact value is whole.
    assert np.abs(times - published).max() <= 1


@given(lengths, counts, seeds)
def test_random_frames_stay_in_their_segments(length: int, frames: int, seed: int) -> None:
    times = random_segments(length, frames, np.random.default_rng(seed))
    segment = length // frames
    assert len(times) == frames and times.min() >= 0 and times.max() < length
    if segment:
        assert (times // segment == np.arange(frames)).all()
    else:
        assert not times.any()


def test_eight_of_fortyeight() -> None:
    assert segment_centres(48, 8).tolist() == [3, 9, 15, 21, 27, 33, 39, 45]


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0), (-1, 1)])
def test_nothing_to_sample_is_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        segment_centres(*sizes)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", [(0, 4, 1), (4, 0, 1), (4, 4, 0)])
def test_no_mode_samples_nothing(mode: str, sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        validation_times(mode, *sizes)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sizes", [(0, 4), (4, 0)])
def test_no_mode_draws_nothing(mode: str, sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        training_times(mode, *sizes, np.random.default_rng(0))


def test_an_unknown_mode_is_named_with_the_valid_ones() -> None:
    words = r"'dens'.*Did you mean 'dense'.*dense, linspace, segments"
    with pytest.raises(UserError, match=words):
        validation_times("dens", 40, 8, 1)
    with pytest.raises(UserError, match=words):
        training_times("dens", 40, 8, np.random.default_rng(0))


# --- Validation -------------------------------------------------------------------------------------------------------


@given(modes, lengths, counts, st.integers(1, 12))
def test_every_clip_lies_within_the_video(mode: str, length: int, frames: int, clips: int) -> None:
    times = validation_times(mode, length, frames, clips)
    assert len(times) == clips
    assert all(each.shape == (frames,) and each.dtype == np.int64 for each in times)
    assert min(each.min() for each in times) >= 0 and max(each.max() for each in times) < length


@given(st.sampled_from(["segments", "linspace"]), lengths, counts, st.integers(1, 12))
def test_frames_ascend(mode: str, length: int, frames: int, clips: int) -> None:
    assert all((np.diff(times) >= 0).all() for times in validation_times(mode, length, frames, clips))


@given(modes, st.integers(1, 12))
def test_of_a_video_of_one_frame_that_frame_is_repeated(mode: str, clips: int) -> None:
    assert [times.tolist() for times in validation_times(mode, 1, 8, clips)] == [[0] * 8] * clips


@given(lengths, counts)
def test_a_single_clip_has_the_centres(length: int, frames: int) -> None:
    (times,) = validation_times("segments", length, frames, 1)
    assert np.array_equal(times, segment_centres(length, frames))


@given(lengths, counts)
def test_two_clips_are_tsms_twice(length: int, frames: int) -> None:
    """TSM's code: int(tick / 2 + tick * i), then int(tick * i)."""
    if length <= frames:
        return
    tick = Fraction(length, frames)
    middles, beginnings = validation_times("segments", length, frames, 2)
    assert middles.tolist() == [math.floor(tick / 2 + tick * i) for i in range(frames)]
    assert beginnings.tolist() == [math.floor(tick * i) for i in range(frames)]


def test_more_clips_are_as_far_apart() -> None:
    """Of segments of 12 frames, three clips take frames 6, 2 and 10."""
    assert [times.tolist() for times in validation_times("segments", 24, 2, 3)] == [[6, 18], [2, 14], [10, 22]]


@given(lengths, counts)
def test_ten_dense_clips_are_tsms(length: int, frames: int) -> None:
    """TSM's code, word for word but for its counting from 1."""
    sample_pos = max(1, 1 + length - 64)
    t_stride = max(64 // frames, 1)
    start_list = np.linspace(0, sample_pos - 1, num=10, dtype=int)
    offsets = [[(idx * t_stride + start) % length for idx in range(frames)] for start in start_list.tolist()]
    assert [times.tolist() for times in validation_times("dense", length, frames, 10)] == offsets


def test_a_single_dense_clip_begins_at_the_middle_start() -> None:
    """Of 164 frames starts are 0 to 100."""
    assert validation_times("dense", 164, 8, 1)[0].tolist() == [50, 58, 66, 74, 82, 90, 98, 106]


def test_a_dense_clip_begins_anew_at_the_end() -> None:
    assert validation_times("dense", 20, 8, 1)[0].tolist() == [0, 8, 16, 4, 12, 0, 8, 16]


@given(lengths, st.integers(2, 64))
def test_linspace_goes_evenly_from_the_first_frame_to_the_last(length: int, frames: int) -> None:
    (times,) = validation_times("linspace", length, frames, 1)
    assert times.tolist() == [math.floor(Fraction(i * (length - 1), frames - 1)) for i in range(frames)]
    assert times[0] == 0 and times[-1] == length - 1


def test_linspace_of_one_frame_takes_the_middle() -> None:
    assert validation_times("linspace", 41, 1, 1)[0].tolist() == [20]


def test_more_linspace_clips_are_later_by_shares_of_a_step() -> None:
    """Steps of 30 frames: clips begin at 0, 10 and 20, and the last frame is the last one there is."""
    assert [times.tolist() for times in validation_times("linspace", 91, 4, 3)] == [
        [0, 30, 60, 90],
        [10, 40, 70, 90],
        [20, 50, 80, 90],
    ]


# --- Training ---------------------------------------------------------------------------------------------------------


@given(modes, lengths, counts, seeds)
def test_what_is_drawn_lies_within_the_video(mode: str, length: int, frames: int, seed: int) -> None:
    times = training_times(mode, length, frames, np.random.default_rng(seed))
    assert times.shape == (frames,) and times.dtype == np.int64
    assert times.min() >= 0 and times.max() < length


@pytest.mark.parametrize("mode", ["segments", "linspace"])
def test_training_draws_in_segments(mode: str) -> None:
    drawn = training_times(mode, 50, 8, np.random.default_rng(3))
    assert np.array_equal(drawn, random_segments(50, 8, np.random.default_rng(3)))


@given(st.integers(1, 400), counts, seeds)
def test_dense_training_keeps_its_stride(length: int, frames: int, seed: int) -> None:
    times = training_times("dense", length, frames, np.random.default_rng(seed))
    start = times[0]
    assert start <= max(length - 64, 0)
    assert times.tolist() == [(start + i * max(64 // frames, 1)) % length for i in range(frames)]


def test_dense_training_begins_wherever_64_frames_fit() -> None:
    starts = {int(training_times("dense", 70, 8, np.random.default_rng(seed))[0]) for seed in range(100)}
    assert starts == set(range(7))


def test_every_frame_of_a_segment_is_drawn() -> None:
    drawn = np.stack([random_segments(12, 3, np.random.default_rng(seed)) for seed in range(100)])
    assert [set(column) for column in drawn.T.tolist()] == [{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}]
