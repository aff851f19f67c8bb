"""Frame sampling stays in bounds and in its segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.sampling import random_segments, segment_centres

lengths, counts = st.integers(1, 400), st.integers(1, 64)


@given(lengths, counts)
def test_centres_are_in_bounds_in_order_and_as_published(length: int, frames: int) -> None:
    times = segment_centres(length, frames)
    assert len(times) == frames and times.min() >= 0 and times.max() < length
    assert (np.diff(times) >= 0).all()
    tick = length / frames
    published = [int(tick / 2 + tick * i) for i in range(frames)] if length > frames else [0] * frames
    # Float rounding may put the published formula one frame off where the exact value is whole.
    assert np.abs(times - published).max() <= 1


@given(lengths, counts, st.integers(0, 2**32))
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
