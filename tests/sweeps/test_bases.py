"""Where recipes start: digits from nothing, real videos as published, any network on either."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.catalogue import DIGITS
from bench.errors import UserError
from bench.methods import METHODS
from bench.profile import profile_all
from bench.settings import BACKBONES
from sweeps.recipes import RECIPES, find_recipe
from sweeps.recipes.bases import SMALL, base, measured, shortened, suited, trained
from sweeps.recipes.selection_ratio import SHARES
from sweeps.recipes.start import starting_point
from tests.sweeps.conftest import prepare


@pytest.mark.parametrize("backbone", ["tiny", "resnet50", "mobilenetv3"])
@pytest.mark.parametrize("dataset", [DIGITS, "something-something-v1", "kinetics-400", "activitynet", "mine"])
def test_every_method_has_a_base_on_every_data_set_it_suits(data: Path, dataset: str, backbone: str) -> None:
    for method in suited(METHODS, dataset, backbone):
        point = base(method, dataset, backbone)
        assert (point.model.method, point.model.backbone, point.data.dataset) == (method, backbone, dataset)
        assert point.data.size == (64 if backbone in SMALL else 224) and point.steps
        tiny = shortened(point)
        assert tiny.steps == 2 and tiny.timing.device == "cpu" and tiny.data.val_clips <= 32


def test_networks_that_nobody_names_suit_the_data(data: Path) -> None:
    assert base("tsn").model.backbone == "tiny" and base("tsn", "jester").model.backbone == "resnet50"


@pytest.mark.parametrize(
    ("dataset", "steps", "facts"),
    [
        ("something-something-v1", 55 * (64 // 32), (0.01, 5e-4, "25/55+45/55", "segments", 1)),
        ("kinetics-400", 50 * (256 // 128), (0.02, 1e-4, "20/50+40/50", "dense", 10)),
        ("activitynet", 50 * (64 // 32), (0.002, 1e-4, "25/55+45/55", "segments", 1)),
    ],
)
def test_real_videos_follow_the_published_recipes(
    data: Path, dataset: str, steps: int, facts: tuple[float, float, str, str, int]
) -> None:
    prepare(data / dataset, dataset, train=256 if dataset == "kinetics-400" else 64)
    point = base("afnet", dataset)
    recipe = point.training
    sampling = point.data.settings.sampling  # type: ignore[attr-defined]
    assert (recipe.lr, recipe.weight_decay, recipe.milestones, sampling, point.evaluation.clips) == facts
    assert point.steps == steps and recipe.multipliers == "published" and not recipe.warmup
    assert point.model.settings == METHODS["afnet"].settings(), "the paper's settings"
    assert point.timing.device == "cuda"


def test_all_methods_of_a_data_set_are_trained_by_one_recipe(data: Path) -> None:
    for dataset in (DIGITS, "jester"):
        assert len({base(method, dataset).training for method in suited(METHODS, dataset, "")}) == 1


def test_a_data_set_smaller_than_a_batch_makes_steps_all_the_same(data: Path) -> None:
    prepare(data / "few", "few", train=5)
    assert base("tsm", "few").training.batch == 5 and base("tsm", "few").steps == 55


def test_methods_that_need_an_answer_key_or_another_network_are_left_out(data: Path) -> None:
    assert suited(("tsn", "oracle-frames"), "jester", "") == ["tsn"]
    assert suited(("tsn", "afnet"), DIGITS, "resnet18") == ["tsn"]
    with pytest.raises(UserError, match="None of afnet is built on resnet18"):
        suited(("afnet",), DIGITS, "resnet18")
    with pytest.raises(UserError, match="Unknown backbone 'vgg'"):
        base("tsn", backbone="vgg")
    with pytest.raises(UserError, match="does not know"):
        base("oracle-frames", "jester")


def test_a_point_is_changed_in_what_is_said_alone() -> None:
    start = base("afnet")
    changed = trained(start, frames=4, ratio=0.25)
    assert (changed.model.frames, changed.evaluation.frames) == (4, 4)
    assert (changed.model.settings.ratio, changed.model.settings.shift) == (0.25, True)  # type: ignore[attr-defined]
    assert (changed.data, changed.training, changed.timing) == (start.data, start.training, start.timing)
    assert measured(start, budget=2).training_id == start.training_id
    assert trained(start) == start


def test_runs_start_where_the_demo_and_the_samplers_have_a_point(data: Path) -> None:
    demo, samplers = ({p.training_id for p in find_recipe(name).points(False)} for name in ("demo", "samplers"))
    for method in METHODS:
        assert starting_point(method).training_id in (demo if method in ("tsn", "tsm", "afnet") else samplers)
    assert starting_point("scsampler", "jester").model.backbone == "resnet50"


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "demo"])
@pytest.mark.parametrize("dataset", ["jester", "mine"])
@pytest.mark.parametrize("backbone", ["", "tiny", "resnet101"])
def test_recipes_are_made_for_any_data_set_and_network(data: Path, name: str, dataset: str, backbone: str) -> None:
    for tiny in (False, True):
        points = find_recipe(name).points(tiny, dataset=dataset, backbone=backbone)
        assert {point.data.dataset for point in points} == {dataset}
        assert {point.model.backbone for point in points} == {backbone or "resnet50"}
        assert not any(METHODS[point.model.method].answers for point in points)
        assert not tiny or {point.timing.device for point in points} == {"cpu"}


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "demo"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_recipe_is_made_on_a_network_or_says_why_not(name: str, backbone: str) -> None:
    try:
        points = find_recipe(name).points(False, backbone=backbone)
    except UserError as error:
        assert "backbone" in str(error)
        assert backbone not in METHODS["afnet"].backbones or (name, backbone) == ("spatial", "mobilenetv3")
    else:
        assert points


def test_a_data_set_that_is_not_here_is_named(data: Path) -> None:
    with pytest.raises(UserError, match=r"fcvid.*not prepared on this machine"):
        find_recipe("frames").points(False, dataset="fcvid")


@pytest.mark.parametrize("backbone", SHARES)
def test_the_costs_by_which_tsm_is_matched_are_those_counted(backbone: str) -> None:
    """Nothing but the shares of AFNet's multiply-adds in TSM's is written down."""
    size = 64 if backbone in SMALL else 224
    tsm, none, half, full = (
        row.gmacs
        for method, ratios in (("tsm", (1.0,)), ("afnet", (0.0, 0.5, 1.0)))
        for row in profile_all(
            [method], frames=(8,), sizes=(size,), ratios=ratios, backbone=backbone, classes=174, assignments={}
        )
    )
    every, by_ratio = SHARES[backbone]
    assert every == pytest.approx(none / tsm, abs=5e-3) and by_ratio == pytest.approx((full - none) / tsm, abs=5e-3)
    assert every + by_ratio / 2 == pytest.approx(half / tsm, abs=5e-3)
