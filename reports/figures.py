"""The figures, drawn with seaborn, each as png, svg and pdf. The same records give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
WIDTH, HEIGHT = 6.4, 4.2  # inches: a column and a half of a two-column paper
# Markers and colours both tell the methods apart; the palette is safe for the colour blind.
PALETTE = sns.color_palette("colorblind")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">")


def style() -> Any:
    """Settings of every figure; fixed salt and no dates, so that regenerating gives the same file."""
    return {"svg.hashsalt": "afnet-bench", "svg.fonttype": "none", "pdf.fonttype": 42, "font.size": 9}


def save(figure: Figure, folder: Path, name: str) -> dict[str, str]:
    """Write a figure in every format; returns the file name of each."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None},
        "pdf": {"CreationDate": None, "ModDate": None},
    }
    with plt.rc_context(style()):
        for suffix in FORMATS:
            figure.savefig(folder / f"{name}.{suffix}", dpi=160, bbox_inches="tight", metadata=metadata[suffix])
    plt.close(figure)
    return {suffix: f"{name}.{suffix}" for suffix in FORMATS}


def pareto(costs: list[float], values: list[float]) -> list[bool]:
    """Which points no other one beats: cheaper or equal, and better or equal, and not the same."""
    pairs = list(zip(costs, values, strict=True))
    return [not any((c <= cost and v >= value) and (c, v) != (cost, value) for c, v in pairs) for cost, value in pairs]


def accuracy_vs_gflops(table: pd.DataFrame, ceiling: float | None) -> Figure:
    """Top-1 against executed GFLOPs, a frontier line per method."""
    return _frontier(table, "gflops", "GFLOPs per video (multiply-adds executed, 1e9)", ceiling, cheaper_is_less=True)


def accuracy_vs_throughput(table: pd.DataFrame, ceiling: float | None) -> Figure:
    """Top-1 against videos a second of the executed path, quartiles of the timing as bars."""
    label = f"videos per second, offline, model only\n({', '.join(sorted(table['device'].unique()))})"
    return _frontier(table, "videos_per_second", label, ceiling, cheaper_is_less=False)


def roofline(table: pd.DataFrame) -> Figure:
    """What was reached against arithmetic intensity, under the roof of each device and dtype."""
    with sns.axes_style("whitegrid"), plt.rc_context(style()):
        figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT))
        places = np.geomspace(table["macs_per_byte"].min() / 4, table["macs_per_byte"].max() * 4, 200)
        for (copy, product), rows in table.groupby(["roof_copy", "roof_product"]):
            axes.plot(places, np.minimum(places * copy, product) / 1e9, color="0.45", linewidth=1)
            axes.annotate(
                f"{rows['device'].iloc[0]}, {rows['dtype'].iloc[0]}",
                (places[-1], product / 1e9),
                xytext=(0, 4),
                textcoords="offset points",
                ha="right",
                fontsize=7,
                color="0.35",
            )
        for method, (colour, marker) in _looks(table).items():
            rows = table[table["method"] == method].assign(reached=table["macs_per_second"] / 1e9)
            sns.scatterplot(
                data=rows, x="macs_per_byte", y="reached", color=colour, marker=marker, s=46, ax=axes, label=method
            )
        axes.set(xscale="log", yscale="log")
        axes.set_xlabel("multiply-adds per byte that operators read and write")
        axes.set_ylabel("1e9 multiply-adds per second, offline")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
        sns.despine(figure)
    return figure


def _looks(table: pd.DataFrame) -> dict[str, tuple[Any, str]]:
    """Colour and marker of each method, both its own."""
    methods = list(dict.fromkeys(table["method"]))
    # A step further in each round through the palette, so that no two methods share both.
    return {
        method: (PALETTE[number % len(PALETTE)], MARKERS[(number + number // len(PALETTE)) % len(MARKERS)])
        for number, method in enumerate(methods)
    }


def _frontier(table: pd.DataFrame, x: str, label: str, ceiling: float | None, *, cheaper_is_less: bool) -> Figure:
    with sns.axes_style("whitegrid"), plt.rc_context(style()):
        figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT))
        if ceiling is not None:
            axes.axhline(100 * ceiling, color="0.45", linestyle=":", linewidth=1)
            axes.annotate(
                "ceiling of a model blind to the order of frames",
                (1, 100 * ceiling),
                xycoords=("axes fraction", "data"),
                xytext=(-4, 3),
                textcoords="offset points",
                ha="right",
                fontsize=7,
                color="0.35",
            )
        for method, (colour, marker) in _looks(table).items():
            rows = table[table["method"] == method].sort_values(x)
            _draw_method(axes, rows, x, colour, marker, cheaper_is_less)
        axes.set_xlabel(label)
        axes.set_ylabel("top-1 accuracy (%)")
        axes.set_ylim(max(0.0, table["top1"].min() - 8), 101.5)
        axes.margins(x=0.12)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)
        sns.despine(figure)
    return figure


def _draw_method(axes: Axes, rows: pd.DataFrame, x: str, colour: Any, marker: str, cheaper_is_less: bool) -> None:
    # A noisy time ranks nothing: hollow, and on no frontier.
    timed = x == "videos_per_second"
    quiet = ~rows["noisy"].astype(bool) if timed else pd.Series(True, index=rows.index)
    costs = rows[x] if cheaper_is_less else -rows[x]
    unbeaten = iter(pareto(costs[quiet].tolist(), rows["top1"][quiet].tolist()))
    best = pd.Series([of and next(unbeaten) for of in quiet], index=rows.index, dtype=bool)
    axes.errorbar(
        rows[x],
        rows["top1"],
        yerr=_distances(rows, "top1"),
        xerr=_distances(rows, x) if timed else None,
        fmt="none",
        ecolor=colour,
        elinewidth=0.8,
        alpha=0.5,
    )
    if best.any():
        sns.lineplot(data=rows[best], x=x, y="top1", color=colour, ax=axes, linewidth=1.2, errorbar=None)
    label = rows["method"].iloc[0]
    if quiet.any():
        sns.scatterplot(
            data=rows[quiet], x=x, y="top1", color=colour, marker=marker, s=46, ax=axes, label=label, zorder=3
        )
    hollow = rows[~quiet]
    if len(hollow):
        own = None if quiet.any() else label
        axes.scatter(hollow[x], hollow["top1"], facecolors="none", edgecolors=[colour], marker=marker, s=40, label=own)
    # Neighbours' labels go below and above in turn, so that close points stay readable.
    sides = ((5, -11), (5, 5)) * len(rows)
    for dominated, row, side in zip([not b for b in best], rows.to_dict("records"), sides, strict=False):
        axes.annotate(
            row["point"],
            (row[x], row["top1"]),
            xytext=side,
            textcoords="offset points",
            fontsize=7,
            color=colour,
            alpha=0.6 if dominated else 1,
        )


def _distances(rows: pd.DataFrame, name: str) -> list[Any]:
    """Distances from a value to the ends of its interval, for its bars."""
    return [rows[name] - rows[f"{name}_low"], rows[f"{name}_high"] - rows[name]]
