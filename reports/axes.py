"""What accuracy is drawn against: what a point costs, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Cost:
    """A column of the table of points that accuracy is drawn against.

    Attributes:
        column: with its interval, where it has one, in <column>_low and <column>_high.
        file: name of the figure.
        short: what a switch between costs says.
        label: of the axis, with its unit.
        less_is_better: otherwise more is.
        timed: whether it was taken by a clock: noisy points are hollow then and rank nothing, and the device is said.
    """

    column: str
    file: str
    short: str
    label: str
    less_is_better: bool = True
    timed: bool = False

    def present(self, table: pd.DataFrame) -> bool:
        """Whether any point has it."""
        return self.column in table and bool(table[self.column].notna().any())

    def ranked(self, table: pd.DataFrame) -> pd.Series:
        """Which points may rank: those that have it, and not by a noisy clock."""
        known = table[self.column].notna()
        return known & ~table["noisy"].astype(bool) if self.timed else known

    def unbeaten(self, table: pd.DataFrame) -> pd.Series:
        """Which points no other one of the table beats, of those that may rank."""
        ranked = self.ranked(table)
        costs = table.loc[ranked, self.column] * (1 if self.less_is_better else -1)
        found = pareto(costs.tolist(), table.loc[ranked, "value"].tolist())
        return pd.Series(found, index=costs.index, dtype=bool).reindex(table.index, fill_value=False)


COSTS = (
    Cost("gflops", "accuracy-vs-gflops", "GFLOPs", "GFLOPs per video (multiply-adds executed, 1e9)"),
    Cost(
        "videos_per_second",
        "accuracy-vs-throughput",
        "videos/s",
        "videos per second, offline, model only",
        less_is_better=False,
        timed=True,
    ),
    Cost("latency_p90_ms", "accuracy-vs-latency", "latency", "latency p90 of one video (ms), model only", timed=True),
    Cost("joules_per_video", "accuracy-vs-energy", "energy", "joules per video, offline, model only", timed=True),
)


def pareto(costs: list[float], values: list[float]) -> list[bool]:
    """Which points no other one beats: cheaper or equal, and better or equal, and not the same.

    Equal points stand together.
    """
    order = sorted(range(len(costs)), key=lambda number: (costs[number], -values[number]))
    unbeaten, best, last = [False] * len(costs), float("-inf"), (float("nan"), float("nan"))
    for number in order:
        point = (costs[number], values[number])
        if point == last or point[1] > best:
            unbeaten[number], best, last = True, point[1], point
    return unbeaten


def metric_of(table: pd.DataFrame) -> str:
    """The metric of a data set's points, as its axis says it: of all of them, since a data set has one."""
    return f"{table['metric'].iloc[0]} (%)"
