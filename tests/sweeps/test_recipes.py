"""Recipes: what the demo promises, and what a user's own file may get wrong."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.experiment import Timing
from sweeps.describe import describe, distinguishing
from sweeps.plan import plan
from sweeps.recipes import RECIPES, Recipe, find_recipe
from tests.conftest import small


@pytest.mark.parametrize("tiny", [False, True])
def test_the_demo_has_the_points_it_promises(tiny: bool) -> None:
    points = find_recipe("demo").points(tiny)
    described = {describe(point) for point in points}
    assert {point.evaluation.frames for point in points if point.model.method == "tsn"} == {4, 8, 16}
    assert "TSM, 8 frames" in described
    for frames, ratios in ((8, ("1", "0.5", "0.25")), (16, ("0.5", "0.25"))):
        assert {f"AFNet, {frames} frames, ratio {ratio}" for ratio in ratios} <= described
    assert "AFNet, 8 frames, ratio 0.5, no shift" in described
    assert len(points) >= 9


def test_the_samplers_are_all_there_with_their_controls_at_matched_multiply_adds() -> None:
    points = find_recipe("samplers").points(False)
    methods = {point.model.method for point in points}
    assert {"uniform", "random", "centre-crop", "random-crop", "oracle-frames", "oracle-crop"} <= methods
    assert {"scsampler", "ocsampler", "adafocus", "adafocus-v2"} <= methods
    assert len({(point.data, point.training) for point in points}) == 1, "one recipe for all"


# Of digits in motion: points, trainings, and a digest of all ids. A change of these leaves users' records behind.
GOLDEN = {
    "demo": (12, 10, "e52ba028"),
    "frames": (15, 10, "0393a0d3"),
    "selection-ratio": (20, 16, "52d5e7c1"),
    "spatial": (15, 15, "dfae64f6"),
    "samplers": (22, 22, "6f5500ee"),
    "ablations": (27, 27, "6b8ee69e"),
    "throughput": (25, 5, "89fca0df"),
}
# With networks for 224 pixels, where they differ.
LARGE = {"throughput": (48, 5)}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_golden(name: str) -> None:
    points = find_recipe(name).points(False)
    ids = "".join(point.experiment_id for point in points)
    found = (len(points), len({point.training_id for point in points}), hashlib.sha256(ids.encode()).hexdigest()[:8])
    assert found == GOLDEN[name]
    tiny = find_recipe(name).points(True)
    assert (len(tiny), len({point.training_id for point in tiny})) == found[:2]


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "demo"])
def test_large_networks_take_as_many_points(name: str) -> None:
    points = find_recipe(name).points(False, backbone="resnet50")
    counts = (len(points), len({point.training_id for point in points}))
    assert counts == LARGE.get(name, GOLDEN[name][:2])


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("backbone", ["", "resnet50"])
def test_throughput_trains_nothing_of_its_own(backbone: str, tiny: bool) -> None:
    others = {
        point.training_id
        for name in ("frames", "selection-ratio")
        for point in find_recipe(name).points(tiny, backbone=backbone)
    }
    points = find_recipe("throughput").points(tiny, backbone=backbone)
    assert {point.training_id for point in points} <= others
    for id in {point.training_id for point in points}:
        same = [point for point in points if point.training_id == id]
        without_timing = {(point.evaluation, point.data, point.model) for point in same}
        assert len({point.timing for point in same}) == (9 if backbone and not tiny else 5)
        assert len(without_timing) <= 2, "nothing but the timing, and the budget of a graph"


def test_recipes_share_their_trainings() -> None:
    """What the demo has trained is not trained again, nor what two recipes have in common."""
    trainings = {name: {point.training_id for point in find_recipe(name).points(False)} for name in RECIPES}
    for name, shared in (("frames", 4), ("selection-ratio", 4), ("ablations", 3), ("throughput", 5), ("spatial", 2)):
        assert len(trainings["demo"] & trainings[name]) == shared, name
    assert len(trainings["ablations"] & trainings["selection-ratio"]) == 3


def test_every_recipe_answers_a_question_and_says_its_command() -> None:
    for name, recipe in RECIPES.items():
        assert name == "demo" or recipe.summary.endswith("?")
        assert f"`afbench {'demo' if name == 'demo' else f'sweep submit {name}'}`" in (recipe.make.__doc__ or "")


def test_the_page_of_the_recipes_has_their_questions_and_numbers(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (\d+)[^|]* \| (\d+)[^|]* \|$", page, re.MULTILINE)
    assert [(name, int(points), int(trainings)) for name, _, points, trainings in rows] == [
        (name, *GOLDEN[name][:2]) for name in RECIPES
    ]
    ((name, text),) = re.findall(r"```python\n# (.*?)\n(.*?)```", page, re.DOTALL)
    (tmp_path / name).write_text(text)
    recipe = find_recipe(str(tmp_path / name))
    assert len(recipe.points(False)) == len(recipe.points(True, backbone="resnet50")) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("frames", "FFN, 8 frames"),
        ("selection-ratio", "budget 3"),
        ("selection-ratio", "navigation random"),
        ("spatial", "spatial 1-3, cell ratio 0.25"),
        ("samplers", "Uni-AdaFocus"),
        ("ablations", "fusion ample"),
        ("ablations", "shift off, hard off"),
        ("throughput", "dtype bfloat16"),
    ],
)
def test_a_tiny_point_of_each_family_runs(recipe: str, words: str, tmp_path: Path) -> None:
    from bench.run import run_experiment

    points = find_recipe(recipe).points(True)
    point = next(p for p, name in zip(points, distinguishing(points), strict=True) if words in name)
    point = replace(point, runtime=replace(point.runtime, threads=1))
    assert run_experiment(point, tmp_path).metrics["macs"] > 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_tiny_and_full_points_never_share_a_record(recipe: str) -> None:
    ids = [{point.training_id for point in find_recipe(recipe).points(tiny)} for tiny in (False, True)]
    assert not ids[0] & ids[1]


HEAD = "from bench.experiment import Experiment, Model, Data\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def recipe(tiny)\n    return []\n", ["SyntaxError", "line 1"]),
        ("x = 1 / 0\n", ["line 1", "ZeroDivisionError"]),
        ("def other(tiny): return []\n", ["no function recipe"]),
        ("def recipe(tiny): return []\n", ["no experiment"]),
        ("def recipe(tiny): return 3\n", ["returned int"]),
        (HEAD + "def recipe(tiny): return [Experiment(), Experiment()]\n", ["twice", "points 1 and 2"]),
        (HEAD + "MODEL = Model('afnet', frames=0)\n", ["line 2", "model.frames is 0"]),
        ("\ndef recipe(tiny):\n    return 1 / 0\n", ["line 3", "ZeroDivisionError"]),
        ("import json\ndef recipe(tiny):\n    return json.loads('{')\n", ["line 3", "JSONDecodeError"]),
        ("import json\njson.loads('{')\n", ["line 2", "JSONDecodeError"]),
        ("def recipe(): return []\n", ["TypeError", "argument"]),
        ("import sys\nsys.exit(3)\n", ["line 2", "SystemExit", "3"]),
        ("import sys\ndef recipe(tiny): sys.exit()\n", ["line 2", "SystemExit"]),
        ("def recipe(tiny):\n    assert tiny is None\n", ["line 2 with AssertionError;"]),
        (HEAD + "def recipe(tiny): return (Experiment(),)\n", ["returned tuple", "list of experiments"]),
        (HEAD + "def recipe(tiny): return [Experiment(), 'tsn']\n", ["item 2", "str"]),
        ("import no_such_package\n", ["line 1", "ModuleNotFoundError"]),
        ("x = '\0'\n", ["SyntaxError"]),
    ],
)
def test_mistakes_in_a_recipe_file_are_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        find_recipe(str(path)).points(True)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_recipe_may_define_dataclasses_and_a_failed_one_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + HEAD
    path.write_text(head + "@dataclass\nclass Size:\n    n: int = 0\ndef recipe(tiny): return [Experiment()]\n")
    assert find_recipe(str(path)).points(True)
    path = tmp_path / "fails.py"
    path.write_text("raise KeyError('x')\n")
    with pytest.raises(UserError, match="KeyError"):
        find_recipe(str(path))
    assert not [name for name in sys.modules if "fails" in name]


VARIED = HEAD + "def recipe(tiny): return [Experiment(data=Data(seed=s)) for s in range(3)]\n"
TAKES = HEAD + "def recipe(tiny, dataset='mine', backbone='tiny'): return [Experiment(model=Model('tsn', backbone))]\n"


@pytest.fixture
def mine(tmp_path: Path) -> Callable[[str], Recipe]:
    """A recipe of a file with this text."""

    def written(text: str) -> Recipe:
        (tmp_path / "mine.py").write_text(text)
        return find_recipe(str(tmp_path / "mine.py"))

    return written


def test_each_seed_has_every_point_once(mine: Callable[[str], Recipe]) -> None:
    points = mine(VARIED).points(False, seeds=(3, 1))
    assert [(point.training.seed, point.data.seed) for point in points] == [(s, d) for s in (3, 1) for d in range(3)]
    assert [point.training.seed for point in mine(VARIED).points(False)] == [0, 0, 0]


def test_assignments_change_every_point(mine: Callable[[str], Recipe]) -> None:
    points = mine(VARIED).points(False, seeds=(0, 1), assignments={"timing.batch": "2", "model.frames": "4"})
    assert {(p.timing.batch, p.model.frames, p.evaluation.frames) for p in points} == {(2, 4, 4)} and len(points) == 6


def test_a_recipe_that_takes_data_sets_and_networks_is_given_them(mine: Callable[[str], Recipe]) -> None:
    (point,) = mine(TAKES).points(False, dataset="jester", backbone="resnet18")
    assert point.model.backbone == "resnet18"
    (point,) = mine(
        HEAD + "def recipe(tiny, **more): return [Experiment(model=Model('tsn', more['backbone']))]\n"
    ).points(False, backbone="resnet18")
    assert point.model.backbone == "resnet18"


def test_methods_are_picked_before_anything_is_changed() -> None:
    points = find_recipe("frames").points(False, only=("afnet", "tsn"), assignments={"model.settings.dropout": "0.1"})
    assert [point.model.method for point in points] == ["tsn"] * 4 + ["afnet"] * 4
    assert find_recipe("frames").points(False, only=("afnet",), assignments={"model.settings.ratio": "0.3"})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset": "jester"}, ["--dataset is jester", "recipe mine", "takes `dataset`"]),
        ({"backbone": "tiny"}, ["--backbone is tiny", "recipe mine", "takes `backbone`"]),
        ({"seeds": (0, 1, 0)}, ["--seeds are 0 1 0", "each once"]),
        ({"seeds": (-1,)}, ["training.seed is -1", "at least 0"]),
        ({"assignments": {"data.sed": "1"}}, ["Point 1 of recipe mine, afnet", "data.sed", "data.seed"]),
        ({"assignments": {"data.seed": "x"}}, ["Point 1 of recipe mine", "data.seed is 'x'"]),
        (
            {"assignments": {"timing.batch": "2", "data.seed": "1"}},
            ["--set data.seed makes points 1 and 2 of recipe mine the same"],
        ),
        (
            {"seeds": (0, 1), "assignments": {"training.seed": "3"}},
            ["--set training.seed makes points 1 and 4 of recipe mine the same"],
        ),
        ({"only": ("tsm",)}, ["Unknown method 'tsm' in recipe mine", "afnet"]),
    ],
)
def test_mistakes_in_options_are_named(
    mine: Callable[[str], Recipe], options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        mine(VARIED).points(False, **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_recipe_over_seeds_takes_no_others(mine: Callable[[str], Recipe]) -> None:
    text = "from bench.experiment import Training\n" + HEAD
    text += "def recipe(tiny): return [Experiment(training=Training(seed=s)) for s in range(2)]\n"
    with pytest.raises(UserError, match=r"--seeds makes points 1 and 2 of recipe mine the same.*training\.seed alone"):
        mine(text).points(False, seeds=(0,))


@pytest.mark.parametrize("backbone", ["", "resnet50"])
@pytest.mark.parametrize("name", [name for name in RECIPES if name != "demo"])
def test_no_two_points_of_a_recipe_are_described_alike(name: str, backbone: str) -> None:
    for seeds in ((), (0, 1)):
        described = distinguishing(find_recipe(name).points(False, backbone=backbone, seeds=seeds))
        assert len(set(described)) == len(described)


def test_descriptions_say_what_differs_and_nothing_else() -> None:
    tsn = small("tsn")
    assert distinguishing([tsn, small("tsm")]) == ["TSN, 4 frames", "TSM, 4 frames"]
    point = small("afnet")
    several = [
        point,
        small("afnet", ratio=0.25),
        small("afnet", shift=False),
        replace(point, evaluation=replace(point.evaluation, budget=2)),
        replace(point, timing=Timing(batch=2, rounds=5)),
        replace(tsn, evaluation=replace(tsn.evaluation, frames=8)),
    ]
    assert distinguishing(several) == [
        "AFNet, 4 frames, ratio 0.5",
        "AFNet, 4 frames, ratio 0.25",
        "AFNet, 4 frames, ratio 0.5, shift off",
        "AFNet, 4 frames, ratio 0.5, budget 2",
        "AFNet, 4 frames, ratio 0.5, rounds 5",
        "TSN, 8 frames, trained at 4",
    ]


def test_fields_of_one_name_are_told_apart_and_what_has_no_majority_is_said() -> None:
    point = small("tsn")
    seeds = [(0, 0), (0, 1), (1, 0), (1, 1)]
    points = [
        replace(point, training=replace(point.training, seed=one), data=replace(point.data, seed=other))
        for one, other in seeds
    ]
    assert distinguishing(points) == [f"TSN, 4 frames, training.seed {one}, data.seed {other}" for one, other in seeds]
    assert distinguishing(points[::2]) == ["TSN, 4 frames, seed 0", "TSN, 4 frames, seed 1"]


def test_a_users_recipe_runs(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + "def recipe(tiny): return [Experiment(data=Data(seed=s)) for s in range(2)]\n")
    assert len(find_recipe(str(path)).points(False)) == 2


@pytest.mark.parametrize("name", ["demos", "missing.py"])
def test_unknown_recipes_are_named(name: str) -> None:
    with pytest.raises(UserError, match=r"demo|missing\.py"):
        find_recipe(name)


def test_plan_tells_done_from_missing(runs: Path) -> None:
    states = [point.state for point in plan([small("tsn"), small("tsn", frames=2)], runs)]
    assert states == ["done", "missing"]
