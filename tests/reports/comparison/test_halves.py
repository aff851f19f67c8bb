"""Each half of the videos chooses for the other: lines by hand, leads that are none, and too few videos."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from reports.comparison.compare import compare
from reports.comparison.differences import Difference, Found
from reports.comparison.frontiers import AXES, Point
from reports.comparison.halves import Halves, guarded, halves_of, weights_of
from reports.load import load_records
from tests.reports.records import Writer, answers, point


def points(costs: list[float], axis: str) -> list[Point]:
    """Sorted by cost, as sides are."""
    found = []
    for number, cost in enumerate(sorted(costs)):
        gflops, speed = (cost, 1.0) if axis == "gflops" else (1.0, cost)
        found.append(Point(str(number), (0,), (str(number),), (str(number),), "f", 50.0, gflops, speed))
    return found


def level(costs: list[float], values: list[float], at: float, axis: str) -> float:
    """On the line through the points that none beats, which goes on level at its ends."""

    def beats(one: int, other: int) -> bool:
        cheaper = costs[one] <= costs[other] if axis == "gflops" else costs[one] >= costs[other]
        same = (costs[one], values[one]) == (costs[other], values[other])
        return cheaper and values[one] >= values[other] and (not same or one < other)

    every = range(len(costs))
    best = [each for each in every if not any(beats(other, each) for other in every if other != each)]
    line = sorted((costs[each], values[each]) for each in best)
    if at <= line[0][0] or at >= line[-1][0]:
        return line[0][1] if at <= line[0][0] else line[-1][1]
    ((low, a), (high, b)) = next(pair for pair in pairwise(line) if pair[0][0] <= at <= pair[1][0])
    return a + (b - a) * (at - low) / (high - low)


@pytest.mark.parametrize("axis", ["gflops", "throughput"])
def test_weights_are_those_of_the_line_by_hand(axis: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        costs = sorted(rng.integers(1, 12, rng.integers(1, 7)).astype(float).tolist())
        values = rng.integers(1, 9, len(costs)) / 10
        low, high = sorted(rng.uniform(costs[0], costs[-1], 2).tolist())
        weights = weights_of(points(costs, axis), values, AXES[axis], (low, high))
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
        fine = np.linspace(low, high, 4001)
        slow = np.mean([level(costs, values.tolist(), at, axis) for at in (fine[1:] + fine[:-1]) / 2])
        assert weights @ values == pytest.approx(slow, abs=2e-3), (costs, values)
        at = weights_of(points(costs, axis), values, AXES[axis], (low, low))
        assert at @ values == pytest.approx(level(costs, values.tolist(), low, axis))


def test_labels_are_in_both_halves_alike() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 101)
    half = halves_of(labels)
    for label in range(5):
        first, second = ((half == h)[labels == label].sum() for h in (0, 1))
        assert abs(int(first) - int(second)) <= 1


def test_a_lead_that_is_none_in_halves_has_no_small_p() -> None:
    main = Difference(None, 60.0, 50.0, 10.0, 5.0, 15.0, 0.001)
    found = Found([main], "a test", 100, np.zeros(3), {}, [])
    for halves, p in ((Halves(4.0, -1.0, 9.0, 0.2), 0.2), (Halves(-4.0, -9.0, -1.0, 0.002), 1.0)):
        changed = guarded(found, halves)
        assert changed.differences[0].p == p and changed.test != "a test"
    assert guarded(found, Halves(9.0, 7.0, 11.0, 0.0001)) is found and guarded(found, None) is found


@pytest.mark.parametrize("videos", [1, 2, 5, 6])
def test_few_videos_are_not_halved_in_vain(write: Writer, videos: int) -> None:
    for frames, right in product((4, 6, 8), (True,)):
        write(point("tsn", frames), np.full(videos, right) & (np.arange(videos) != frames), gmacs=frames)
    for frames in (4, 8):
        write(point("tsm", frames), answers(0.5, frames, videos) & False, gmacs=frames)
    found = compare(load_records([write.runs]), "tsn", "tsm")
    assert f"{videos} videos" in found.sentence
