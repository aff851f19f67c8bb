"""How often what is said would be wrong, of simulated answers without a difference; seeds are fixed."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from reports.comparison import answers as comparison_answers
from reports.comparison.answers import Measured
from reports.comparison.classes import class_differences
from reports.comparison.differences import Difference, Draws, Found, find_differences
from reports.comparison.frontiers import AXES, Point, contrasts_between, marked, overlap_of
from reports.comparison.halves import HalfDraws, by_halves, guarded, looks_luckier

ACCURACY = 0.7


def trained(rng: np.random.Generator, hard: NDArray[np.float64], spread: float) -> NDArray[np.bool_]:
    """Which videos a training answers; `spread` is that between trainings, whose mean accuracy is always the same."""
    level = NormalDist().inv_cdf(ACCURACY) * math.sqrt(1 + 0.25 + spread**2)
    return np.asarray(level + hard + spread * rng.normal() + 0.5 * rng.normal(size=len(hard)) > 0)


def differences(
    count: int, seeds: tuple[int, int], spreads: tuple[float, float], videos: int = 300
) -> list[Difference]:
    """Comparisons of two points between which there is none."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        hard, answers, fronts = rng.normal(size=videos), dict[str, NDArray[np.bool_]](), []
        for side, number, spread in zip("AB", seeds, spreads, strict=True):
            ids = tuple(f"{side}{seed}" for seed in range(number))
            answers |= {each: trained(rng, hard, spread) for each in ids}
            accuracy = 100 * float(np.mean([answers[each].mean() for each in ids]))
            fronts.append([Point(side, tuple(range(number)), ids, ids, side, accuracy, 1.0, 1.0)])
        measured = Measured(np.arange(videos), 0, np.zeros(videos, np.int64), None, answers, {})
        draws = Draws(measured, [*fronts[0], *fronts[1]])
        found += find_differences(draws, fronts, [(None, np.ones(1), np.ones(1))]).differences
    return found


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_answers, "REPLICATES", 1000)


@pytest.mark.parametrize(
    ("seeds", "spreads"),
    [
        ((1, 1), (0.0, 0.0)),
        ((2, 2), (0.2, 0.2)),
        ((3, 3), (0.0, 0.0)),
        ((3, 3), (0.2, 0.2)),
        ((3, 3), (0.2, 0.0)),
        ((5, 5), (0.2, 0.2)),
    ],
)
def test_intervals_hold_the_truth_nineteen_times_in_twenty(
    seeds: tuple[int, int], spreads: tuple[float, float]
) -> None:
    found = differences(400, seeds, spreads)
    assert 0.92 <= np.mean([each.low <= 0 <= each.high for each in found]) <= 0.99


@pytest.mark.parametrize("seeds", [3, 5])
def test_small_p_of_several_seeds_are_as_rare_as_they_say(seeds: int) -> None:
    """A correction for many comparisons rests on p far below 0.05."""
    found = differences(500, (seeds, seeds), (0.2, 0.2))
    assert np.mean([each.p < 0.01 for each in found]) <= 0.02


def luckier(counts: tuple[int, int], videos: int = 300) -> list[tuple[float, float]]:
    """Of comparisons of so many points with so many, all as good: p as it is, and as halves have it."""
    rng, found, axis = np.random.default_rng(0), [], AXES["gflops"]
    for _ in range(200):
        hard, answers, sides = rng.normal(size=videos), dict[str, NDArray[np.bool_]](), []
        for side, number in zip("AB", counts, strict=True):
            ids = [f"{side}{place}" for place in range(number)]
            answers |= {each: trained(rng, hard, 0.0) for each in ids}
            costs = np.linspace(1, 10, number)
            sides.append(
                marked(
                    [
                        Point(each, (0,), (each,), (each,), each, 100 * float(answers[each].mean()), cost, 1.0)
                        for each, cost in zip(ids, costs.tolist(), strict=True)
                    ],
                    axis,
                )
            )
        measured = Measured(np.arange(videos), 0, np.zeros(videos, np.int64), None, answers, {})
        fronts = [[point for point in side if point.on_frontier] for side in sides]
        overlap = overlap_of(sides, axis)
        if overlap is not None:
            contrast = contrasts_between(fronts, axis, *overlap)[:1]
            (main,) = find_differences(Draws(measured, [*fronts[0], *fronts[1]]), fronts, contrast).differences
            halves = None
            if looks_luckier(measured, sides, main, axis, overlap):
                halves = by_halves(HalfDraws(measured, [*sides[0], *sides[1]]), sides, axis, overlap)
            (guard,) = guarded(Found([main], "", 0, np.zeros(0), {}, []), halves).differences
            found.append((main.p, guard.p))
    return found


def test_more_points_to_choose_from_are_no_lead() -> None:
    before, after = np.array(luckier((30, 3))).T
    assert np.mean(before < 0.05) > 0.1, "which is why each half of the videos chooses for the other"
    assert np.mean(after < 0.05) <= 0.06


def of_classes(shares: NDArray[np.float64], trainings: int) -> Measured:
    ids = [str(number) for number in range(trainings)]
    return Measured(np.arange(len(shares)), 0, np.zeros(len(shares), np.int64), None, dict.fromkeys(ids, shares), {})


def test_classes_of_average_precision_differ_as_rarely() -> None:
    """A sign test over a class's videos finds one time in four: what ranks one too high lowers all that follow."""
    rng, found = np.random.default_rng(0), []
    has = np.arange(200) < 40
    targets = np.stack([has, ~has], axis=1)
    for _ in range(300):
        common = rng.normal(size=200)
        scores = [1.5 * has + common + 0.7 * rng.normal(size=200) for _ in "AB"]
        logits = {name: np.stack([of, np.zeros(200)], axis=1) for name, of in zip("AB", scores, strict=True)}
        measured = Measured(np.arange(200), 0, targets.argmax(axis=1), targets, logits, {})
        shares = measured.parts("A") - measured.parts("B")
        found.append(class_differences(measured, shares, {"A": 1.0, "B": -1.0}, [])[0])
    assert 0.01 <= np.mean([each.p < 0.05 for each in found]) <= 0.07


def test_more_videos_on_one_side_are_no_higher_mean() -> None:
    """Three seeds a side: a third better on 75 videos, all the worse on 25."""
    shares = np.where(np.arange(100) < 75, 1 / 3, -1.0)
    measured = of_classes(shares, 6)
    (found,) = class_differences(measured, shares, dict.fromkeys(measured.answers, 1.0), [])
    assert (found.better, found.worse, found.difference, found.p) == (75, 25, 0, 1) and not found.stands
