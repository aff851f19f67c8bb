"""Recipes: what the demo promises, and what a user's own file may get wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.errors import UserError
from sweeps.plan import describe, plan
from sweeps.recipes import RECIPES, find_recipe
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
