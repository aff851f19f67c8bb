"""Comparisons: right numbers, honest sentences, and a way out of every mistake."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afbench import main
from bench.data.catalogue import StoredSettings
from bench.errors import UserError
from bench.experiment import Data, Evaluation, Experiment
from bench.metrics import mean_average_precision
from reports.comparison.all_pairs import all_pairs
from reports.comparison.compare import Comparison, compare
from reports.comparison.printed import as_json, as_text
from reports.load import load_records
from reports.statistics import (
    Ranking,
    bootstrap_p,
    holm,
    interpolation,
    interval,
    largest_share,
    mean_interpolation,
    replicate_maps,
    replicate_means,
    replicate_seeds,
    resamples,
    seed_weights,
    sign_test,
    student,
)
from tests.conftest import small
from tests.reports.records import VIDEOS, Writer, answers, point


def compared(write: Writer, a: str = "tsn", b: str = "tsm", **options: str) -> Comparison:
    return compare(load_records([write.runs]), a, b, **options)


# --- Statistics against numbers found by hand ---


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


def coverage(pairs: int, videos: int, seeds: int, spread: float) -> float:
    """Share of simulated comparisons without a difference whose interval holds 0; `spread` is that between seeds."""
    rng = np.random.default_rng(0)
    held = 0
    for number in range(pairs):
        hard = rng.normal(size=(videos, 1)) + 1
        right = [hard + rng.normal(size=(1, seeds)) * spread + rng.normal(size=(videos, seeds)) > 0 for _ in "AB"]
        means = replicate_means(np.concatenate(right, axis=1), 1000, number)
        weights = [seed_weights(seeds, 1000, rng) for _ in "AB"]
        sides = [slice(0, seeds), slice(seeds, 2 * seeds)]
        found = np.concatenate(right, axis=1).mean(axis=0)
        a, b = (replicate_seeds(means[:, at], found[at], of) for at, of in zip(sides, weights, strict=True))
        low, high = interval(a - b)
        held += low <= 0 <= high
    return held / pairs


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.0), (3, 0.1), (5, 0.2)])
def test_intervals_hold_the_truth_nineteen_times_in_twenty(seeds: int, spread: float) -> None:
    assert 0.90 <= coverage(200, 300, seeds, spread) <= 0.99


def test_seeds_are_drawn_so_that_the_variance_of_their_mean_is_unbiased() -> None:
    values = np.array([0.1, 0.5, 0.9, 0.4])
    drawn = seed_weights(4, 200_000, np.random.default_rng(0)) @ values
    assert drawn.var() == pytest.approx(values.var(ddof=1) / 4, rel=0.02)
    assert seed_weights(1, 3, np.random.default_rng(0)).tolist() == [[1], [1], [1]]


def test_seeds_that_videos_explain_add_nothing_and_others_their_spread() -> None:
    rng = np.random.default_rng(0)
    found = np.array([0.5, 0.6, 0.7, 0.6])
    weights = seed_weights(4, 100_000, rng)
    noise = rng.normal(size=(100_000, 1)) * 0.01  # the same videos move all trainings alike
    moved = replicate_seeds(found + noise, found, weights)
    wide = student(6) / 1.959964
    assert moved.var() == pytest.approx(0.01**2 + wide**2 * found.var(ddof=1) / 4, rel=0.02)
    apart = found + rng.normal(size=(100_000, 4)) * found.std(ddof=1) * 1.1  # each on its own, and as far apart
    assert replicate_seeds(apart, found, weights) == pytest.approx(apart.mean(axis=1))
    assert replicate_seeds(apart[:, :1], found[:1], weights[:, :1]) == pytest.approx(apart[:, 0])


def test_students_quantiles_are_the_tables() -> None:
    assert [student(degrees) for degrees in (2, 4, 8, 18)] == pytest.approx([4.3027, 2.7764, 2.3060, 2.1009], abs=1e-4)


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


# --- Comparisons of records ---


def test_two_trainings_get_mcnemar_and_say_that_they_are_two(write: Writer) -> None:
    b = answers(0.5)
    a = b.copy()
    a[np.flatnonzero(~b)[:14]] = True
    a[np.flatnonzero(b)[:2]] = False
    write(point("tsn"), a)
    write(point("tsm"), b)
    found = compared(write)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(100 * 12 / VIDEOS, abs=1e-3)
    assert found.difference.p == pytest.approx(sign_test(14, 2), rel=1e-5)
    assert "McNemar" in found.test and "14 videos, B alone in 2" in found.test
    assert found.difference.low > 0
    assert found.sentence.startswith("Of these two trainings, TSN 4f is ahead of TSM 4f by 20.00 points of top-1")
    assert "points of top-1 at 1 GFLOPs (A - B: " in found.sentence
    assert "nothing is said of the methods" in found.sentence and "not corrected" in found.sentence
    assert found.covers.startswith("videos alone")


def test_a_difference_that_is_not_significant_is_not_called_equal(write: Writer) -> None:
    write(point("tsn"), answers(0.6, 1))
    write(point("tsm"), answers(0.6, 2), gmacs=3)
    found = compared(write)
    assert found.difference is not None
    low, high = found.difference.low, found.difference.high
    assert low < 0 < high
    assert "These two trainings, TSN 4f and TSM 4f, cannot be told apart, A at 1 and B at 3 GFLOPs: " in found.sentence
    assert "does not make them equal" in found.sentence
    assert f"below {low:+.2f} or above {high:+.2f} points are excluded" in found.sentence
    assert f"within ±{max(-low, high):.2f}" in found.sentence


def test_sides_swapped_give_the_same_mirrored(write: Writer) -> None:
    for frames, method in product((4, 8), ("tsn", "tsm")):
        write(point(method, frames), answers(0.4 + frames / 20, frames + len(method)), gmacs=frames)
    one, other = compared(write).difference, compared(write, "tsm", "tsn").difference
    assert one is not None and other is not None
    assert (one.value, one.low, one.high, one.p) == pytest.approx((-other.value, -other.high, -other.low, other.p))


def test_the_same_answers_exclude_no_more_than_so_many_videos_can(write: Writer) -> None:
    for method in ("tsn", "tsm"):
        write(point(method), answers(0.6))
    found = compared(write)
    assert found.difference is not None and found.difference.p == 1
    assert found.difference.high == pytest.approx(100 * (1 - 0.025 ** (1 / VIDEOS)), abs=1e-3) == -found.difference.low
    assert any("Fewer than 6 videos" in note for note in found.notes)


def test_seeds_are_drawn_too_and_the_methods_spoken_of(write: Writer) -> None:
    for seed in range(5):
        write(point("tsn", seed=seed), answers(0.9, seed, 200))
        write(point("tsm", seed=seed), answers(0.5, 10 + seed, 200))
    found = compared(write)
    assert found.points_a[0].seeds == (0, 1, 2, 3, 4) and len(found.points_b) == 1
    assert found.covers == "videos and seeds" and found.test == "two-sided, by bootstrap"
    assert found.sentence.startswith("TSN 4f is ahead of TSM 4f") and "trainings" not in found.sentence
    one = compared(write, point("tsn", seed=0).experiment_id, point("tsm", seed=1).experiment_id)
    assert "these two trainings" in one.sentence


def test_one_seed_on_one_side_withholds_its_method(write: Writer) -> None:
    for seed in range(3):
        write(point("tsn", seed=seed), answers(0.9, seed, 200))
    write(point("tsm"), answers(0.5, 10, 200))
    found = compared(write)
    assert found.covers == "videos, and seeds where a point has several (TSN 4f 3 seeds, TSM 4f 1 seed)"
    assert "nothing is said of the method of TSM 4f" in found.sentence


def test_points_of_the_same_trainings_share_the_seeds_drawn(write: Writer) -> None:
    """Both of a seed's points are as good as the seed; the difference does not vary with it."""
    for seed, execution in product(range(4), ("skipped", "dense")):
        right = answers(0.2 + 0.2 * seed, 1, 400) ^ answers(0.02, len(execution), 400)
        write(replace(point("tsn", seed=seed), evaluation=Evaluation(4, execution)), right)
    labels = [f"TSN, evaluation.execution {execution}" for execution in ("skipped", "dense")]
    found = compared(write, *labels)
    assert found.covers == "videos and seeds" and found.difference is not None
    assert found.difference.high - found.difference.low < 8
    assert [len(each) for each in (found.points_a, found.points_b, found.points_a[0].seeds)] == [1, 1, 4]
    both = (replace(point("tsn", seed=2), evaluation=Evaluation(4, execution)) for execution in ("skipped", "dense"))
    one = compared(write, *(each.experiment_id for each in both))
    assert one.sentence.startswith("These points of one training") and "another training" in one.sentence


def test_frontiers_are_matched_where_both_are(write: Writer) -> None:
    shares = {("tsn", 4): 0.5, ("tsn", 8): 0.7, ("tsn", 6): 0.2, ("tsm", 4): 0.55, ("tsm", 8): 0.9}
    for number, ((method, frames), share) in enumerate(shares.items()):
        cost = frames + (2 if method == "tsm" else 0)
        write(point(method, frames), answers(share, number, 400), gmacs=cost)
    found = compared(write)
    assert found.overlap == (6, 8) and found.axis == "GFLOPs"
    assert [each.on_frontier for each in found.points_a] == [True, False, True]
    accuracy = {p.name: p.accuracy for p in (*found.points_a, *found.points_b)}
    half = (accuracy["TSN 4f"] + accuracy["TSN 8f"]) / 2
    assert [each.at for each in found.matched] == [6, 8]
    assert found.matched[0].value == pytest.approx(half - accuracy["TSM 4f"], abs=1e-3)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(np.mean([each.value for each in found.matched]), abs=1e-3)
    assert "on average from 6 to 8 GFLOPs" in found.sentence and "these 4 trainings" not in found.sentence
    one = compared(write, at="gflops=6")
    assert one.matched == (one.difference,) and one.difference == found.matched[0]
    with pytest.raises(UserError, match=r"TSN goes from 4 to 8 GFLOPs and TSM goes from 6 to 10"):
        compared(write, at="gflops=9")


def test_the_interpolated_interval_is_the_loop(write: Writer) -> None:
    right = {}
    for number, (method, frames) in enumerate(product(("tsn", "tsm"), (4, 8))):
        right[method, frames] = answers(0.3 + frames / 20, number, 50)
        write(point(method, frames), right[method, frames], gmacs=frames)
    found = compared(write, at="gflops=5").difference
    assert found is not None
    ids = sorted(point(method, frames).experiment_id for method, frames in right)
    seed = int(hashlib.sha256(",".join(ids).encode()).hexdigest()[:16], 16)
    slow = []
    for drawn in resamples(50, 10_000, seed):
        a, b = (0.75 * right[m, 4][drawn].mean(axis=1) + 0.25 * right[m, 8][drawn].mean(axis=1) for m in ("tsn", "tsm"))
        slow += (100 * (a - b)).tolist()
    assert (found.low, found.high) == pytest.approx(interval(np.array(slow)), abs=1e-4)


def test_frontiers_that_do_not_meet_are_not_extrapolated(write: Writer) -> None:
    for method, frames in product(("tsn", "tsm"), (4, 8)):
        write(point(method, frames), answers(frames / 10, frames), gmacs=frames + (10 if method == "tsm" else 0))
    found = compared(write)
    assert found.difference is None and found.overlap is None and not found.matched and not found.classes
    assert "TSN goes from 4 to 8 GFLOPs and TSM goes from 14 to 18 GFLOPs" in found.sentence
    assert "Nothing can be said" in as_text(found)
    assert json.loads(as_json(found))["difference"] is None


def test_throughput_leaves_out_what_was_timed_with_noise_and_names_it(write: Writer) -> None:
    for method, frames in product(("tsn", "tsm"), (4, 8, 16)):
        right = answers(0.3 + frames / 30, frames, 400)
        write(point(method, frames), right, speed=400 / frames, noisy=(method, frames) == ("tsn", 16))
    found = compared(write, at="throughput")
    assert found.axis == "videos/s" and found.overlap == pytest.approx((50, 100))
    (note,) = (note for note in found.notes if "noise" in note)
    assert "TSN 16f" in note and point("tsn", 16).experiment_id in note
    assert compared(write, at="throughput=75").difference is not None
    with pytest.raises(UserError, match="Expected a cost that both cover"):
        compared(write, at="throughput=25")


def test_points_timed_on_two_devices_have_no_common_throughput(write: Writer) -> None:
    write(point("tsn"), answers(0.5))
    other = copy.deepcopy(write.template["timing"])
    other["device"]["name"] = "another"
    write(point("tsm"), answers(0.5), timing=other)
    with pytest.raises(UserError, match="expected one device"):
        compared(write, at="throughput")
    assert any("device when timed" in note for note in compared(write).notes)


def test_videos_that_one_lacks_count_for_neither(write: Writer) -> None:
    a, b = answers(0.7, 1), answers(0.5, 2)
    write(point("tsn"), a[10:], video=np.arange(10, VIDEOS))
    write(point("tsm"), b[:-5][::-1], video=np.arange(VIDEOS - 5)[::-1].copy())
    found = compared(write)
    assert (found.videos, found.left_out) == (VIDEOS - 15, 15) and found.difference is not None
    assert found.difference.value == pytest.approx(100 * (a[10:-5].mean() - b[10:-5].mean()), abs=1e-3)
    assert "45 common videos, 15 left out" in as_text(found)


def test_classes_are_corrected_for_their_number_and_called_by_name(write: Writer) -> None:
    b = answers(0.5, 3, 400)
    a = b.copy()
    a[::4] = True  # class 0
    write(point("tsn"), a)
    write(point("tsm"), b)
    names = write.runs / "digits-in-motion" / write.template["names"]
    names.write_text(json.dumps({"classes": ["zero", "one", "two", "three"], "videos": []}))
    found = compared(write)
    first, *others = found.classes
    assert first.name == "zero" and first.stands and first.videos == 100
    assert first.better == int((~b[::4]).sum()) and first.worse == 0
    assert first.p == pytest.approx(2 / 2.0**first.better, rel=1e-4)
    assert first.p_holm == pytest.approx(4 * first.p, rel=1e-4)
    assert [each.p_holm for each in others] == [1, 1, 1] and not any(each.stands for each in others)
    names.unlink()
    assert [each.name for each in compared(write).classes] == ["0", "1", "2", "3"]


def several(method: str, seed: int = 0) -> Experiment:
    """A point on videos of several labels; their data need not be here."""
    data = Data("charades", 64, 12, 50, 6, "f" * 12, settings=StoredSettings())
    start = small(method)
    return replace(start, data=data, training=replace(start.training, seed=seed))


def test_several_labels_are_compared_by_map(write: Writer) -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((50, 6)) < 0.3
    targets[:, 0] |= ~targets.any(axis=1)
    labels = targets.argmax(axis=1)
    logits = {
        method: (rng.normal(size=(50, 6)) + strength * targets).astype(np.float32)
        for method, strength in (("tsn", 3.0), ("tsm", 0.5))
    }
    for method, each in logits.items():
        write(several(method), np.zeros(50, bool), labels=labels, logits=each, targets=targets)
    found = compared(write)
    assert found.metric == "mAP" and found.test == "two-sided, by bootstrap" and found.difference is not None
    a, b = (mean_average_precision(targets, logits[method]) for method in ("tsn", "tsm"))
    assert found.difference.value == pytest.approx(a - b, abs=1e-3) and found.difference.low > 0
    whole = sum(each.difference for each in found.classes) / len(found.classes)
    assert whole == pytest.approx(a - b, abs=1e-3)
    assert "points of mAP" in found.sentence


def test_every_pair_is_corrected_for_all_of_them(write: Writer) -> None:
    for method, share in (("tsn", 0.4), ("tsm", 0.6), ("afnet", 0.9)):
        for frames in (4, 8):
            right = answers(share + frames / 100, frames + len(method), 300)
            write(small(method, frames=frames), right, gmacs=frames)
    start = point("afnet")
    settings = replace(start.model.settings, shift=False)  # type: ignore[call-arg]
    write(replace(start, model=replace(start.model, settings=settings)), answers(0.5, 0, 300), gmacs=100)
    pairs = all_pairs(load_records([write.runs]))
    assert [(each.a, each.b) for each in pairs] == [
        ("AFNet", "AFNet, no shift"), ("AFNet", "TSM"), ("AFNet", "TSN"),
        ("AFNet, no shift", "TSM"), ("AFNet, no shift", "TSN"), ("TSM", "TSN"),
    ]  # fmt: skip
    told = [each for each in pairs if each.difference is not None]
    assert len(told) == 3
    corrected = [each.p_holm for each in told]
    assert corrected == pytest.approx(holm([each.difference.p for each in told if each.difference]), rel=1e-4)
    assert all("corrected for 3 pairs" in each.sentence for each in told)
    assert all("Nothing can be said" in each.sentence for each in pairs if each.difference is None)


def test_what_stands_only_before_correction_is_not_concluded(write: Writer) -> None:
    start = answers(0.5, 0, 300)
    for number, method in enumerate(("tsn", "tsm", "afnet")):
        right = start.copy()
        right[np.flatnonzero(~start)[: 7 * number // 2]] = True  # 0, 3 and 7 videos more
        write(small(method), right)
    pairs = {(each.a, each.b): each for each in all_pairs(load_records([write.runs]))}
    pair = pairs["AFNet", "TSN"]
    assert pair.difference is not None and pair.p_holm is not None
    assert pair.difference.p == pytest.approx(2 / 2**7) and pair.p_holm == pytest.approx(3 * 2 / 2**7)
    assert pair.p_holm < 0.05 and "AFNet is ahead of TSN" in pair.sentence
    for name in ("uniform", "random"):
        write(small(name), start)
    pair = {(each.a, each.b): each for each in all_pairs(load_records([write.runs]))}["AFNet", "TSN"]
    assert pair.difference is not None and pair.difference.low > 0 and pair.p_holm == pytest.approx(10 * 2 / 2**7)
    assert "cannot be told apart" in pair.sentence and "leaves out 0, but the test does not" in pair.sentence


def test_pairs_on_other_videos_are_named(write: Writer) -> None:
    write(point("tsn"), answers(0.5))
    write(replace(point("tsm"), data=Data(train_clips=12, val_clips=6, seed=1)), answers(0.5))
    (pair,) = all_pairs(load_records([write.runs]))
    assert pair.difference is None and "no videos in common" in pair.sentence


# --- Mistakes ---


def test_what_names_nothing_or_several_things_is_refused(write: Writer) -> None:
    for seed, method in product(range(3), ("tsn", "tsm")):
        write(point(method, seed=seed), answers(0.5, seed))
    for name, words in (
        ("tsnn", "Unknown method or experiment id 'tsnn' in A of these records. Did you mean 'tsn'"),
        ("", "Unknown method or experiment id ''"),
        ("tsm", "both hold experiment"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            compared(write, name, "tsm")
    ids = [point("tsn", seed=seed).experiment_id for seed in range(3)]
    assert compared(write, ids[0][:8], ids[1][:8]).a == "TSN 4f (seed 0)"
    with pytest.raises(UserError, match=r"Unknown cost 'gflop' in --at.*gflops"):
        compared(write, at="gflop=3")
    for at in ("gflops=x", "gflops=-1", "gflops=nan", "gflops="):
        with pytest.raises(UserError, match="expected a number above 0"):
            compared(write, at=at)
    with pytest.raises(UserError, match="Unknown data set 'jester'"):
        compared(write, dataset="jester")


def test_a_beginning_of_several_ids_is_refused(write: Writer) -> None:
    found: dict[str, Experiment] = {}
    for seed in range(40):
        one = point("tsn", seed=seed)
        if one.experiment_id[0] in found and one.experiment_id[0].isdigit():
            break
        found[one.experiment_id[0]] = one
    for each in (one, found[one.experiment_id[0]]):
        write(each, answers(0.5))
    write(point("tsm"), answers(0.4))
    with pytest.raises(UserError, match="with which 2 experiment ids begin"):
        compared(write, one.experiment_id[0])


def test_variants_of_a_method_are_not_mixed(write: Writer) -> None:
    write(point("tsm"), answers(0.5))
    start = point("afnet")
    for shift in (True, False):
        settings = replace(start.model.settings, shift=shift)  # type: ignore[call-arg]
        write(replace(start, model=replace(start.model, settings=settings)), answers(0.6, int(shift)))
    found = compared(write, "afnet", "tsm")
    assert found.a == "AFNet 4f r.50" or found.a.startswith("AFNet 4f")
    assert any("not in it: AFNet, no shift" in note for note in found.notes)
    write(replace(point("tsm"), data=Data(train_clips=24, val_clips=6)), answers(0.5))
    with pytest.raises(UserError, match=r"2 variants; .*: TSM, data.train_clips 12; TSM, data.train_clips 24"):
        compared(write, "tsm", "AFNet, no shift, data.train_clips 12")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"video": np.arange(VIDEOS, 2 * VIDEOS), "labels": np.arange(VIDEOS) % 4}, "no videos in common"),
        ({"labels": np.arange(1, VIDEOS + 1) % 4}, "give the same videos other labels"),
        ({"names": "names-other.json"}, "not measured on the same list of videos"),
        ({"video": np.zeros(VIDEOS, np.int64)}, "several samples of one video"),
        ({"logits": np.full((VIDEOS, 4), math.nan, np.float32)}, "60 videos whose logits are not all finite"),
    ],
)
def test_what_cannot_be_paired_is_refused(write: Writer, values: dict[str, Any], words: str) -> None:
    write(point("tsn"), answers(0.5))
    write(point("tsm"), answers(0.5), **values)
    with pytest.raises(UserError, match=words):
        compared(write)


def test_views_may_differ_and_that_is_said(write: Writer) -> None:
    write(point("tsn"), answers(0.5))
    write(point("tsm"), answers(0.5), macs=write.template["macs"] | {"views": 3})
    assert "The sides differ in views of a video: A 1, B 3." in compared(write).notes


def test_records_of_two_data_sets_need_one_to_be_chosen(write: Writer) -> None:
    for method in ("tsn", "tsm"):
        write(point(method), answers(0.5))
        write(several(method), answers(0.5, videos=50))
    with pytest.raises(UserError, match=r"2 data sets: charades, digits-in-motion.*--dataset"):
        compared(write)
    assert compared(write, dataset="digits-in-motion").videos == VIDEOS


# --- The command ---


def test_comparing_imports_no_torch() -> None:
    command = "import sys, reports.comparison.printed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], timeout=120, check=False).returncode == 0


@pytest.mark.parametrize("form", ["text", "json", "md"])
def test_the_same_records_print_the_same_bytes(runs: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    said = []
    for folders in ([str(runs)], [str(runs), str(runs)]):  # a record found twice is one
        main(["compare", *folders, "tsn", "tsm", "--format", form])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and "TSN" in said[0]
    if form == "json":
        assert {"sentence", "difference", "classes", "points_a"} <= set(json.loads(said[0]))
    if form == "md":
        assert "| point | seeds |" in said[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["tsn", "tsm"], "expected folders of records and two sides"), (["nowhere", "tsn", "tsm"], "no folder nowhere")],
)
def test_a_mistake_is_one_paragraph(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *arguments])
    assert ended.value.code == 2 and words in capsys.readouterr().err


def test_a_record_of_another_schema_is_refused(write: Writer) -> None:
    write(point("tsn"), answers(0.5))
    write(point("tsm"), answers(0.5), schema=3)
    with pytest.raises(UserError, match="has schema 3"):
        compared(write)
