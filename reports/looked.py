"""What the samples of records tell beyond their numbers: what points looked at, and what each video cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import UserError
from bench.samples import read_samples
from reports.charts import costs_of
from reports.filmstrip import Filmstrip, draw_filmstrip
from reports.load import Records

# Points whose samples are read: those that nothing beats first.
DETAILED = 200
SAMPLES = "samples.parquet"


@dataclass(frozen=True)
class Looked:
    """What samples tell of points, by experiment id.

    Attributes:
        strips: what they looked at; None of those that choose nothing.
        macs: (V,) executed multiply-adds of each video, where these differ.
    """

    strips: dict[str, Filmstrip | None] = field(default_factory=dict)
    macs: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def looked_at(records: Records, on_bad: str) -> tuple[Looked, dict[Path, str]]:
    """Also which records have damaged files; before anything is written."""
    unbeaten = pd.concat(
        [cost.unbeaten(rows) for _, rows in records.table.groupby("dataset") for cost in costs_of(rows)], axis=1
    ).any(axis=1)
    drawn = set(unbeaten.sort_values(ascending=False, kind="stable").index[:DETAILED])
    looked, damaged = Looked(), {}
    for place, result in enumerate(records.results):
        try:
            _check_files(result.path)
            if place in drawn:
                samples, name = read_samples(result.path.with_name(SAMPLES)), str(result.values["experiment_id"])
                looked.strips[name] = draw_filmstrip(result, samples)
                if samples.macs.min() < samples.macs.max():
                    looked.macs[name] = samples.macs
        except UserError as error:
            if on_bad == "stop":
                raise
            damaged[result.path] = str(error)
    return looked, damaged


def _check_files(path: Path) -> None:
    """UserError unless a record's other files are there; those that are shown are read, and checked, when they are."""
    for name in (SAMPLES, "clips.jpg"):
        if not path.with_name(name).is_file():
            raise UserError(f"{path.with_name(name)} is missing; expected it beside the record it is part of.")
