"""The figures, drawn with seaborn, each as png, svg and pdf. The same records give the same bytes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.files import make_folder, replacing
from reports.axes import Cost, metric_of

FORMATS = ("png", "svg", "pdf")
WIDTH, HEIGHT = 6.4, 4.2  # inches: a column and a half of a two-column paper
# Markers and colours both tell the methods apart; the palette is safe for the colour blind.
PALETTE = sns.color_palette("colorblind")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">")


CROWD = 60  # points of a figure from which not all of them are named
MANY = 1000  # of one kind from which they are no longer shapes of their own in svg and pdf


def style() -> Any:
    """Settings of every figure; fixed salt and no dates, so that regenerating gives the same file."""
    return {"svg.hashsalt": "afnet-bench", "svg.fonttype": "none", "pdf.fonttype": 42, "font.size": 9}


def save(figure: Figure, folder: Path, name: str) -> dict[str, str]:
    """Write a figure in every format; returns the file name of each.

    Raises:
        UserError: where a file cannot be written.
    """
    make_folder(folder)
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "svg": {"Date": None},
        "pdf": {"CreationDate": None, "ModDate": None},
    }
    _rasterise(figure)
    with plt.rc_context(style()):
        for suffix in FORMATS:
            drawn = io.BytesIO()
            figure.savefig(drawn, format=suffix, dpi=160, bbox_inches="tight", metadata=metadata[suffix])
            with replacing(folder / f"{name}.{suffix}") as file:
                file.write(drawn.getbuffer())
    plt.close(figure)
    return {suffix: f"{name}.{suffix}" for suffix in FORMATS}


def _rasterise(figure: Figure) -> None:
    """Crowds become a picture inside of svg and pdf: thousands of overlapping shapes take a reader seconds to draw."""
    for crowd in figure.findobj(Collection):
        if max(len(np.asarray(crowd.get_offsets())), len(crowd.get_paths())) > MANY:
            crowd.set_rasterized(True)


@contextlib.contextmanager
def _canvas(x: str, y: str, fontsize: int = 8) -> Iterator[Axes]:
    """Axes to draw on, with their labels; the legend stands outside."""
    with sns.axes_style("whitegrid"), plt.rc_context(style()):
        figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT))
        yield axes
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=fontsize)
        sns.despine(figure)


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure


Looks = dict[str, tuple[Any, str]]
"""Colour and marker of each method."""


def frontier(table: pd.DataFrame, cost: Cost, ceiling: float | None = None, published: Any = None) -> Figure:
    """Accuracy against a cost: a line for each method through those of its points that no other of it beats.

    Args:
        table: points, as `reports.load.pool` gives them.
        ceiling: share of videos that a model blind to the order of frames can get right, drawn where there is one.
        published: rows with method, gflops and value, drawn hollow and grey.
    """
    table = table[table[cost.column].notna()]
    devices = f"\n({', '.join(sorted(table['device'].unique()))})" if cost.timed else ""
    with _canvas(cost.label + devices, metric_of(table)) as axes:
        if ceiling is not None:
            _draw_ceiling(axes, ceiling)
        for method, (colour, marker) in looks(table).items():
            rows = table[table["method"] == method].sort_values(cost.column)
            _draw_method(axes, rows, cost, colour, marker, crowded=len(table) > CROWD)
        if published is not None and len(published) and cost.column == "gflops":
            _draw_published(axes, published)
        axes.set_ylim(max(0.0, table["value"].min() - 8), 101.5)
        axes.margins(x=0.12)
    return _figure(axes)


def _draw_ceiling(axes: Axes, ceiling: float) -> None:
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


def _draw_published(axes: Axes, published: pd.DataFrame) -> None:
    axes.scatter(
        published["gflops"],
        published["value"],
        facecolors="none",
        edgecolors="0.55",
        s=30,
        linewidths=0.8,
        label="published",
        zorder=2,
    )


def saving(table: pd.DataFrame) -> Figure:
    """Time saved against multiply-adds saved; on the line a saving is perfect, at 0 it is on paper only."""
    rows = table[table["saving_realised"].notna()].assign(saved=lambda of: of["gflops_dense"] / of["gflops"] - 1)
    with _canvas("multiply-adds saved: dense / executed - 1", "time saved: dense / skipped - 1, offline") as axes:
        most = 1.15 * float(rows["saved"].max())
        axes.plot([0, most], [0, most], color="0.45", linewidth=1)
        axes.annotate("perfect", (most, most), xytext=(-4, -10), textcoords="offset points", ha="right", fontsize=7)
        axes.axhline(0, color="0.75", linewidth=0.8)
        for method, (colour, marker) in looks(table).items():
            own = rows[rows["method"] == method]
            if own.empty:
                continue
            value, *ends = (own["saved"] * own[f"saving_{end}"] for end in ("realised", "low", "high"))
            bars = [value - np.minimum(*ends), np.maximum(*ends) - value]
            axes.errorbar(own["saved"], value, yerr=bars, fmt="none", ecolor=colour, alpha=0.5)
            hollow = own["noisy"].astype(bool).to_numpy()
            faces = np.where(hollow[:, None], to_rgba("none"), to_rgba(colour))
            axes.scatter(own["saved"], value, facecolors=faces, edgecolors=[colour], marker=marker, s=46, label=method)
    return _figure(axes)


def curve(table: pd.DataFrame, x: str, label: str, style_of: Looks | None = None) -> Figure:
    """Accuracy over a knob, a line for each method; a faint dot for each seed, bars for the interval.

    Args:
        style_of: each method's looks, where they are to be those of another figure.
    """
    rows = table[table[x].notna()]
    with _canvas(label, metric_of(table)) as axes:
        for method, (colour, marker) in (style_of or looks(rows)).items():
            own = rows[rows["method"] == method].sort_values(x)
            if own.empty:
                continue
            _draw_bars(axes, own, x, colour)
            axes.plot(own[x], own["value"], color=colour, marker=marker, markersize=6, linewidth=1.2, label=method)
            for place, values in zip(own[x], own["spread"], strict=True):
                if len(values) > 1:
                    axes.scatter([place] * len(values), values, color=colour, s=9, alpha=0.35)
        if pd.api.types.is_integer_dtype(rows[x]):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _figure(axes)


def kept_per_block(ratios: dict[str, list[float]]) -> Figure:
    """Share of frames that each block computes in full, a line for each point, by its name."""
    places = {name: range(1, len(shares) + 1) for name, shares in ratios.items()}
    axes = _lines(places, ratios, "block, in network order", "kept ratio")
    axes.set_ylim(-0.03, 1.03)
    return _figure(axes)


def cost_per_video(deciles: dict[str, list[float]]) -> Figure:
    """What share of the videos costs no more than so many multiply-adds, a line for each point through its deciles."""
    costs = {name: np.array(macs) / 1e9 for name, macs in deciles.items()}
    shares = {name: np.linspace(0, 1, len(macs)) for name, macs in deciles.items()}
    label = "GFLOPs (multiply-adds executed, 1e9)"
    return _figure(_lines(costs, shares, label, "share of videos that cost no more", markersize=4))


def _lines(across: Mapping[str, Any], up: Mapping[str, Any], x: str, y: str, markersize: int = 5) -> Axes:
    """A line for each name."""
    with _canvas(x, y, fontsize=7) as axes:
        for number, name in enumerate(up):
            marker = MARKERS[number % len(MARKERS)]
            axes.plot(across[name], up[name], marker=marker, markersize=markersize, linewidth=1, label=name)
    return axes


def roofline(table: pd.DataFrame) -> Figure:
    """What was reached against arithmetic intensity, under the roof of each device and dtype."""
    across, up = "multiply-adds per byte that operators read and write", "1e9 multiply-adds per second, offline"
    with _canvas(across, up) as axes:
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
        for method, (colour, marker) in looks(table).items():
            rows = table[table["method"] == method].assign(reached=table["macs_per_second"] / 1e9)
            sns.scatterplot(
                data=rows, x="macs_per_byte", y="reached", color=colour, marker=marker, s=46, ax=axes, label=method
            )
        axes.set(xscale="log", yscale="log")
    return _figure(axes)


def looks(table: pd.DataFrame) -> Looks:
    """Colour and marker of each method of a table; no two share both."""
    methods = list(dict.fromkeys(table["method"]))
    # A step further in each round through the palette, so that no two methods share both.
    return {
        method: (PALETTE[number % len(PALETTE)], MARKERS[(number + number // len(PALETTE)) % len(MARKERS)])
        for number, method in enumerate(methods)
    }


def _draw_method(axes: Axes, rows: pd.DataFrame, cost: Cost, colour: Any, marker: str, crowded: bool) -> None:
    # A noisy time ranks nothing: hollow, and on no frontier. What another point beats is faded.
    x, ranked, best = cost.column, cost.ranked(rows), cost.unbeaten(rows)
    # Of many points, bars of those that others beat would hide the rest.
    _draw_bars(axes, rows[best] if crowded else rows, x, colour, times=cost.timed)
    if best.any():
        sns.lineplot(data=rows[best], x=x, y="value", color=colour, ax=axes, linewidth=1.2, errorbar=None)
    label = rows["method"].iloc[0]
    for chosen, opacity in ((best, 1.0), (ranked & ~best, 0.35)):
        if chosen.any():
            axes.scatter(
                rows.loc[chosen, x],
                rows.loc[chosen, "value"],
                color=colour,
                marker=marker,
                s=46,
                alpha=opacity,
                label=label,
                zorder=3,
            )
            label = None
    hollow = rows[~ranked]
    if len(hollow):
        axes.scatter(
            hollow[x], hollow["value"], facecolors="none", edgecolors=[colour], marker=marker, s=40, label=label
        )
    # Neighbours' labels go below and above in turn, so that close points stay readable; of many none but the best.
    sides = ((5, -11), (5, 5)) * len(rows)
    named = best if crowded else pd.Series(True, index=rows.index)
    for on_it, row, side in zip(best[named], rows[named].to_dict("records"), sides, strict=False):
        axes.annotate(
            row["point"],
            (row[x], row["value"]),
            xytext=side,
            textcoords="offset points",
            fontsize=7,
            color=colour,
            alpha=1 if on_it else 0.6,
        )


def _draw_bars(axes: Axes, rows: pd.DataFrame, x: str, colour: Any, times: bool = False) -> None:
    """Intervals of the accuracy, where it has any, and of a time."""
    known = rows[rows["value_low"].notna()]
    both = times and f"{x}_low" in rows
    if len(known):
        axes.errorbar(
            known[x],
            known["value"],
            yerr=_distances(known, "value"),
            xerr=_distances(known, x) if both else None,
            fmt="none",
            ecolor=colour,
            elinewidth=0.8,
            alpha=0.5,
        )


def _distances(rows: pd.DataFrame, name: str) -> list[Any]:
    """Distances from a value to the ends of its interval, for its bars."""
    return [rows[name] - rows[f"{name}_low"], rows[f"{name}_high"] - rows[name]]
