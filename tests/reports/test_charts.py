"""The script that charts are drawn from is light, whatever the number of points."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from reports.charts import source_of
from reports.load import load_records

POINTS = 10_000


def test_ten_thousand_points_take_less_than_2_mb(runs: Path) -> None:
    records = load_records([runs])
    table = pd.concat([records.pooled] * (POINTS // len(records.pooled)), ignore_index=True)
    draws = np.random.default_rng(0)
    for column in table.select_dtypes("float"):
        table[column] *= draws.uniform(0.5, 1, len(table))
    table["experiment_id"] = [f"{number:012x}" for number in range(len(table))]
    results = {}
    for place, name in enumerate(table["experiment_id"]):
        result = records.results[place % len(records.results)]
        values = copy.copy(result.values)
        training = {**values["experiment"]["training"], "lr": 0.01 + place / 1e6, "seed": place % 5}
        values["experiment"] = {**values["experiment"], "training": training}
        results[name] = replace(result, values=values)
    assert len(table) == POINTS
    assert len(source_of("digits-in-motion", table, results)) < 2e6
