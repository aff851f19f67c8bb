"""Labels: short where the records hold one variant of a method, telling where they hold several."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from bench.data.catalogue import DigitsSettings
from bench.experiment import Data, Evaluation, Experiment, Model, Timing
from bench.settings import AFNet, FrameAverage
from reports.labels import knobs_of, method_labels
from sweeps.recipes import find_recipe
from tests.conftest import small


def test_the_demo_has_the_methods_own_names() -> None:
    labels = method_labels(find_recipe("demo").points(False))
    assert set(labels) == {"TSN", "TSM", "AFNet", "AFNet, no shift", "Uniform frames", "SCSampler"}


@pytest.mark.parametrize(
    ("other", "label"),
    [
        (lambda point: replace(point, data=replace(point.data, train_clips=8)), "TSN, data.train_clips 8"),
        (
            lambda point: replace(point, model=Model("tsn", "resnet50", 4, point.model.settings)),
            "TSN, backbone resnet50",
        ),
        (lambda point: replace(point, timing=Timing(batch=2, rounds=5)), "TSN, timing.rounds 5"),
        (lambda point: replace(point, evaluation=Evaluation(execution="dense")), "TSN, evaluation.execution dense"),
        (lambda point: replace(point, model=replace(point.model, frames=8)), "TSN, trained at 8 frames"),
        (
            lambda point: replace(point, model=Model("tsn", "tiny", 4, FrameAverage(dropout=0.5))),
            "TSN, dropout 0.5",
        ),
        (
            lambda point: replace(point, data=replace(point.data, settings=DigitsSettings(noise=0))),
            "TSN, data.settings.noise 0",
        ),
    ],
)
def test_what_differs_is_in_the_label(other, label: str) -> None:  # type: ignore[no-untyped-def]
    point = replace(small("tsn"), evaluation=Evaluation(frames=4))
    first, second = method_labels([point, other(point)])
    assert second == label and first != second and first.startswith("TSN, ")


def test_a_budget_stands_for_the_frames_that_are_kept() -> None:
    start = small("uniform", keep=4)
    points = [replace(start, evaluation=replace(start.evaluation, budget=budget)) for budget in (0, 1, 2)]
    assert method_labels(points) == ["Uniform frames"] * 3
    assert [knobs_of(point) for point in points] == [{"keep": 4}, {"keep": 1}, {"keep": 2}]


def test_what_was_trained_to_keep_other_numbers_is_told_apart_at_one_budget() -> None:
    start = small("scsampler")
    points = [
        replace(
            start,
            model=replace(start.model, settings=replace(start.model.settings, keep=keep)),  # type: ignore[call-arg]
            evaluation=replace(start.evaluation, budget=budget),
        )
        for keep, budget in ((1, 0), (2, 0), (1, 3), (2, 3))
    ]
    assert method_labels(points) == ["SCSampler"] * 2 + [f"SCSampler, trained to keep {keep}" for keep in (1, 2)]


def test_budgets_of_a_method_that_decides_itself_are_a_variant_of_it() -> None:
    start = small("afnet", ratio=0.5)
    points = [replace(start, evaluation=replace(start.evaluation, budget=budget)) for budget in (0, 1, 2)]
    assert method_labels(points) == ["AFNet", "AFNet, by budget", "AFNet, by budget"]
    assert [knobs_of(point) for point in points] == [{"ratio": 0.5}, *({"ratio": 0.5, "keep": keep} for keep in (1, 2))]


def test_a_setting_is_compared_within_its_method_and_data_across_methods() -> None:
    tsn, afnet = small("tsn"), small("afnet", keep_bias=1.2)
    assert method_labels([tsn, afnet]) == ["TSN", "AFNet"]
    other = replace(afnet, data=Data(train_clips=24, val_clips=6))
    assert method_labels([tsn, other]) == ["TSN, data.train_clips 12", "AFNet, data.train_clips 24"]


def test_points_of_one_label_frames_and_ratio_differ_in_their_seed_at_most() -> None:
    points: list[Experiment] = []
    for frames, context, ratio, seed, budget, shift in product(
        (4, 8), ("shared", "temporal"), (0.5, 1.0), (0, 1), (0, 2), (True, False)
    ):
        settings = AFNet(dropout=0.0, context=context, ratio=ratio, shift=shift)
        base = replace(small("afnet"), model=Model("afnet", "tiny", frames, settings))
        training = replace(base.training, seed=seed)
        points += [replace(base, training=training, evaluation=Evaluation(frames=f, budget=budget)) for f in (4, 8)]
    labels = method_labels(points)
    told = {
        (label, point.evaluation.frames, point.model.settings.ratio, point.training.seed)  # type: ignore[attr-defined]
        for label, point in zip(labels, points, strict=True)
    }
    assert len(told) == len(points) == len({point.experiment_id for point in points})


def test_of_settings_varied_one_at_a_time_each_says_its_own_alone() -> None:
    labels = method_labels(find_recipe("ablations").points(False))
    assert labels[0] == "AFNet" and {"AFNet, fusion sum", "AFNet, no shift", "AFNet, navigation random"} <= set(labels)
    assert max(label.count(", ") for label in labels) == 2, "no shift, hard false"


def test_settings_of_cells_are_not_told_where_there_are_none() -> None:
    labels = method_labels(find_recipe("spatial").points(False))
    assert labels[0] == "AFNet, spatial none"
    assert {"AFNet, spatial 1, cell_ratio 0.5", "AFNet, spatial 1-2, cell_ratio 0.25"} <= set(labels)
    plain, other = small("afnet"), small("afnet", grid=4)
    told = method_labels([plain, other])
    assert told == ["AFNet, grid 7", "AFNet, grid 4"], "unless nothing else tells two records apart"


def test_other_data_is_said_of_all() -> None:
    points = [small("tsn"), small("tsm"), replace(small("tsm"), data=Data(train_clips=24, val_clips=6))]
    labels = ["TSN, data.train_clips 12", "TSM, data.train_clips 12", "TSM, data.train_clips 24"]
    assert method_labels(points) == labels


def test_seeds_of_a_training_are_not_told_apart() -> None:
    points = [replace(small("tsn"), training=replace(small("tsn").training, seed=seed)) for seed in (0, 1)]
    assert method_labels(points) == ["TSN", "TSN"]
