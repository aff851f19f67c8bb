"""Statistics against numbers found by hand, loops and other implementations."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from bench.metrics import average_precision, mean_average_precision
from reports.statistics import (
    Ranking,
    bootstrap_p,
    degrees_of_freedom,
    holm,
    interpolation,
    jackknife_p,
    largest_share,
    mean_interpolation,
    means_without,
    precisions_without,
    replicate_maps,
    replicate_means,
    resamples,
    sign_test,
    training_variance,
)
from tests.reports.records import answers


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [
        (0, 0, 1.0),
        (5, 0, 2 / 32),
        (0, 6, 2 / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (5, 5, 1.0),
        (121, 59, 4.4344e-06),  # scipy.stats.binomtest(121, 180).pvalue
    ],
)
def test_mcnemar_is_the_binomial_tail(wins: int, losses: int, p: float) -> None:
    assert sign_test(wins, losses) == pytest.approx(p, rel=1e-4)
    assert sign_test(wins, losses) == sign_test(losses, wins)


def test_mcnemar_holds_for_many_videos() -> None:
    scipy = pytest.importorskip("scipy.stats")
    for wins, losses in ((3000, 3100), (9000, 11000), (1, 2000)):
        assert sign_test(wins, losses) == pytest.approx(scipy.binomtest(wins, wins + losses).pvalue, rel=1e-6)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_the_largest_share_is_clopper_and_pearsons() -> None:
    assert largest_share(0, 100) == pytest.approx(1 - 0.025 ** (1 / 100))
    assert largest_share(1, 10) == pytest.approx(0.4450, abs=1e-4)
    assert largest_share(10, 10) == 1


def test_the_bootstrap_is_the_loop_over_drawn_videos() -> None:
    right = np.stack([answers(0.7, 1, 37), answers(0.6, 2, 37), answers(0.1, 3, 37)], axis=1)
    slow = [
        [sum(bool(right[video, point]) for video in row) / 37 for point in range(3)]
        for drawn in resamples(37, 150, 7)
        for row in drawn.tolist()
    ]
    fast = replicate_means(right, 150, 7)
    assert fast.shape == (150, 3)
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-15)


@pytest.mark.parametrize("rounded", [False, True])
def test_the_bootstrap_of_map_ranks_the_drawn_rows_anew(rounded: bool) -> None:
    rng = np.random.default_rng(0)
    targets, logits = rng.random((31, 5)) < 0.15, [rng.normal(size=(31, 5)).astype(np.float32) for _ in range(2)]
    if rounded:
        logits = [np.round(each) for each in logits]  # ties
    targets[0, :] = [True, False, False, False, False]
    targets[1:, 0] = False  # a class of one video, that some replicates lack
    rows = [row for drawn in resamples(31, 80, 3) for row in drawn]
    slow = [[mean_average_precision(targets[row], each[row]) / 100 for each in logits] for row in rows]
    np.testing.assert_allclose(replicate_maps(targets, logits, 80, 3), slow, rtol=0, atol=1e-6)


def test_precisions_average_to_the_average_precision() -> None:
    rng = np.random.default_rng(1)
    has, scores = rng.random(40) < 0.3, np.round(rng.random(40), 1)
    ranking = Ranking(has, scores)
    whole = mean_average_precision(has[:, None], np.stack([scores], axis=1)) / 100  # one class: all tie
    assert Ranking(has, np.zeros(40)).precisions().mean() == pytest.approx(whole) == pytest.approx(has.mean())
    slow = [has[scores >= scores[video]].mean() for video in ranking.positive]
    assert ranking.precisions().tolist() == pytest.approx(slow)


def test_average_precision_without_a_video_is_that_of_the_others() -> None:
    rng = np.random.default_rng(2)
    for videos, digits in product((2, 5, 40), (0, 1, 6)):
        has, scores = rng.random(videos) < 0.3, np.round(rng.normal(size=videos), digits)
        has[0] = True
        others = [np.delete(np.arange(videos), video) for video in range(videos)]
        slow = [average_precision(has[rest], scores[rest]) if has[rest].any() else math.nan for rest in others]
        np.testing.assert_allclose(precisions_without(has, scores), slow, rtol=0, atol=1e-12)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    scipy = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(3).normal(size=50) + 0.3
    error = values.std(ddof=1) / math.sqrt(50)
    found = jackknife_p(float(values.mean()), means_without(values))
    assert found == pytest.approx(2 * scipy.norm.sf(values.mean() / error), rel=1e-9)
    assert jackknife_p(0.0, np.zeros(5)) == 1 and jackknife_p(1.0, means_without(np.ones(1))) == 1


def test_trainings_that_videos_explain_add_nothing_and_others_their_spread() -> None:
    rng = np.random.default_rng(0)
    found = np.array([0.5, 0.6, 0.7, 0.6]) / 4
    own = found - found.mean()
    together = own + np.zeros((1000, 4))  # the same videos move all trainings alike, and their mean with them
    assert training_variance(own, together) == pytest.approx((4 * found).var(ddof=1) / 4)
    apart = own + rng.normal(size=(1000, 4)) * found.std(ddof=1) * 1.1
    assert training_variance(own, apart) == 0


def test_degrees_of_freedom_are_welchs() -> None:
    scipy = pytest.importorskip("scipy.stats")
    a, b = np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.25, 0.21, 0.3, 0.24])
    variances = [of.var(ddof=1) / len(of) for of in (a, b)]
    welch = scipy.ttest_ind(a, b, equal_var=False).df
    assert degrees_of_freedom(variances, [2, 4]) == pytest.approx(welch)
    assert degrees_of_freedom([0.3, 0.0], [2, 4]) == pytest.approx(2)


def test_a_bootstrap_p_is_never_zero_and_two_sided() -> None:
    assert bootstrap_p(np.ones(999)) == 0.002
    assert bootstrap_p(np.zeros(999)) == 1
    assert bootstrap_p(np.array([-1.0] * 9 + [1.0] * 990)) == pytest.approx(0.02)


def test_interpolation_is_the_line_between_neighbours() -> None:
    costs = [1.0, 2.0, 4.0]
    assert interpolation(costs, 3.0).tolist() == [0, 0.5, 0.5]
    assert interpolation(costs, 4.0).tolist() == [0, 0, 1] and interpolation([2.0], 2.0).tolist() == [1]
    heights = np.array([1.0, 5.0, 7.0])
    places = np.linspace(1.5, 3.5, 200_001)
    assert mean_interpolation(costs, 1.5, 3.5) @ heights == pytest.approx(np.interp(places, costs, heights).mean())
