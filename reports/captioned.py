"""The figures of a data set's points, each with the caption that says how to read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.record import Result
from reports import figures
from reports.axes import Cost
from reports.charts import costs_of

LINES = 12  # points of a figure that has a line or a row for each
# Figures of times: file, the column that a point needs, caption.
TIMED = (
    (
        "saving",
        "saving_realised",
        "Time saved against multiply-adds saved, each beside the dense network of the same weights. On the line a "
        "saving is perfect; at 0 it is on paper only. Vertical bars: 95% intervals over rounds. Hollow points were "
        "timed with noise.",
        figures.saving,
    ),
    (
        "roofline",
        "utilisation",
        "Multiply-adds a second of the executed path against multiply-adds per byte. Lines: the most that the device "
        "allows, by copying on the left and by matrix products on the right, both measured on it. Hollow points were "
        "timed with noise.",
        figures.roofline,
    ),
)
T = TypeVar("T", bound=Sized)


@dataclass(frozen=True)
class Captioned:
    """A figure to draw.

    Attributes:
        name: of its files.
    """

    name: str
    caption: str
    draw: Callable[[], Figure]


def captioned_figures(
    table: pd.DataFrame,
    published: pd.DataFrame,
    ceiling: float | None,
    results: Mapping[str, Result],
    macs: Mapping[str, NDArray[np.int64]],
) -> Iterator[Captioned]:
    """Those that these points have the numbers for; accuracy against GFLOPs first.

    Args:
        table: points of a data set, as `reports.load.pool` gives them.
        published: as `figures.frontier` takes it, as is ceiling.
        results: by experiment id.
        macs: by experiment id, of some, the executed multiply-adds of each video.
    """
    for cost in costs_of(table):
        draw = partial(figures.frontier, table, cost, ceiling, published)
        yield Captioned(cost.file, _of_frontier(table, cost, len(published) > 0), draw)
    for name, column, caption, figure in TIMED:
        if table[column].notna().any():
            yield Captioned(name, caption, partial(figure, table))
    ratios, first = _of_points(table, lambda name: results[name].metrics.get("kept_ratio_per_block"))
    if ratios:
        caption = f"Share of frames that each block computes.{first}"
        yield Captioned("kept-per-block", caption, partial(figures.kept_per_block, ratios))
    costs, first = _of_points(table, macs.get)
    if costs:
        caption = (
            "How many videos cost how many multiply-adds, of points whose videos do not all cost the same. Black: "
            f"their mean.{first}"
        )
        yield Captioned("cost-per-video", caption, partial(figures.cost_per_video, costs))


def _of_frontier(table: pd.DataFrame, cost: Cost, published: bool) -> str:
    caption = (
        f"{table['metric'].iloc[0]} against {cost.label}; a line joins the points of a method that no other point of "
        "it beats, which are not faded. Vertical bars: 95% interval over videos, or over seeds where there are several."
    )
    crowded = table[cost.column].notna().sum() > figures.CROWD
    caption += f" Of more than {figures.CROWD} points those on lines alone." if crowded else ""
    caption += " Hollow points were timed with noise and rank nothing." if cost.timed else ""
    return caption + " Hollow and grey: published figures, as printed." * (published and cost.column == "gflops")


def _of_points(table: pd.DataFrame, find: Callable[[str], T | None]) -> tuple[dict[str, T], str]:
    """What is found of the first LINES points of which something is, by their names; what a caption says of others."""
    found: dict[str, T] = {}
    for name, method, point in table[["experiment_id", "method", "point"]].itertuples(index=False):
        of = find(name)
        if of is not None and len(of):
            if len(found) == LINES:
                return found, f" The first {LINES} points."
            found[f"{method} {point}"] = of
    return found, ""
