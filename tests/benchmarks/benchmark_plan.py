"""Seconds that a plan of ten thousand points takes, without torch: `nox -s benchmarks`. No time makes anything fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.experiment import Evaluation, Experiment, Model
from sweeps.describe import distinguishing
from sweeps.plan import plan
from sweeps.recipes import Recipe
from sweeps.recipes.bases import base

POINTS = 10_000


def many(tiny: bool) -> list[Experiment]:
    """A hundred seeds of a hundred ratios."""
    start = base("afnet")
    settings = [replace(start.model.settings, ratio=number / 100) for number in range(1, 101)]  # type: ignore[call-arg]
    return [
        replace(
            start,
            model=Model("afnet", "tiny", 8, chosen),
            training=replace(start.training, seed=seed),
            evaluation=Evaluation(),
        )
        for chosen in settings
        for seed in range(POINTS // 100)
    ]


@pytest.mark.parametrize("stage", ["ids", "overridden", "states", "descriptions"])
def test_a_large_plan(benchmark: Any, stage: str, tmp_path: Path) -> None:
    recipe = Recipe("many", many)
    points = recipe.points(False)
    work = {
        "ids": lambda: [(point.training_id, point.experiment_id) for point in recipe.points(False)],
        "overridden": lambda: recipe.points(False, assignments={"training.lr": "0.02"}),
        "states": lambda: plan(points, tmp_path),
        "descriptions": lambda: distinguishing(points),
    }[stage]
    assert len(benchmark.pedantic(work, rounds=3)) == POINTS
