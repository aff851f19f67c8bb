"""The figures, drawn with seaborn, each as png, svg and pdf. The same records give the same bytes."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from bench.files import make_folder, replacing
from reports.axes import Cost, metric_of
from reports.looks import Looks, look, looks
from reports.placing import Name, write_names

FORMATS = ("png", "svg", "pdf")
WIDTH, HEIGHT = 6.4, 4.2  # inches: a column and a half of a two-column paper
DPI = 160  # of png, and of crowds in svg and pdf
CROWD = 60  # points of a figure from which not all of them are named
MANY = 1000  # of one kind from which they are no longer shapes of their own in svg and pdf
TALL = 24  # names of a legend's column, and lines of a curve at most
WIDE = 20  # of the dearest and the cheapest point, from which costs are drawn on a logarithmic axis
GREY = "0.45"  # of what is no measurement
BINS = 60  # of a histogram
DASHES = ("-", "--", ":", "-.")


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
        # Once for all formats: each would draw everything a second time to find its own, a hair off the others.
        figure.set_dpi(DPI)
        figure.draw_without_rendering()
        box = figure.get_tightbbox().padded(plt.rcParams["savefig.pad_inches"])
        for suffix in FORMATS:
            drawn = io.BytesIO()
            figure.savefig(drawn, format=suffix, dpi=DPI, bbox_inches=box, metadata=metadata[suffix])
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
def _canvas(x: str, y: str, fontsize: int = 8, handles: Sequence[Line2D] = ()) -> Iterator[Axes]:
    """Axes to draw on, with their labels; the legend stands outside, these handles before those of what is drawn."""
    with sns.axes_style("whitegrid"), plt.rc_context(style()):
        figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT))
        yield axes
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        own, drawn = axes.get_legend_handles_labels()
        axes.legend(
            [*handles, *own],
            [*(str(handle.get_label()) for handle in handles), *drawn],
            loc="upper left",
            bbox_to_anchor=(1.01, 1),
            frameon=False,
            fontsize=fontsize,
            ncols=1 + (len(handles) + len(drawn)) // TALL,
        )
        sns.despine(figure)


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure


def frontier(table: pd.DataFrame, cost: Cost, ceiling: float | None = None, published: Any = None) -> Figure:
    """Accuracy against a cost: a line for each method through those of its points that no other of it beats.

    Args:
        table: points, as `reports.load.pool` gives them.
        ceiling: share of videos that a model blind to the order of frames can get right, drawn where there is one.
        published: rows with method, gflops and value, drawn hollow and grey.
    """
    known = table[table[cost.column].notna()]
    kinds, table = looks(table, known), known
    if published is None or cost.column != "gflops":
        published = pd.DataFrame(columns=["gflops", "value"])
    devices = f"\n({', '.join(sorted(table['device'].unique()))})" if cost.timed else ""
    with _canvas(cost.label + devices, metric_of(table), handles=_handles(kinds)) as axes:
        if ceiling is not None:
            label = "ceiling of a model blind\nto the order of frames"
            axes.axhline(100 * ceiling, color=GREY, linestyle=":", linewidth=1, label=label)
        for method, (colour, marker) in kinds.items():
            rows = table[table["method"] == method].sort_values(cost.column)
            _draw_method(axes, rows, cost, colour, marker, crowded=len(table) > CROWD)
        if len(published):
            _draw_published(axes, published)
        costs = pd.concat([table[cost.column], published["gflops"]]).astype(float)
        if costs.max() > WIDE * costs.min():
            _set_logarithmic(axes, "x")
        _set_limits(axes, table, [100 * ceiling] if ceiling is not None else [], published["value"])
        others = [Name(row["gflops"], row["value"], row["method"], GREY) for row in published.to_dict("records")]
        names = _names(table, cost, kinds) + (others if len(others) <= CROWD else [])
        across, up = ([*table[one], *published[other]] for one, other in ((cost.column, "gflops"), ("value", "value")))
        write_names(axes, names, np.array([across, up], float).T)
    return _figure(axes)


def _handles(of: Looks) -> list[Line2D]:
    """What a legend shows of each method: its marker as it is where nothing else is to be said of a point."""
    return [
        Line2D([], [], color=colour, marker=marker, linestyle="none", markersize=6, label=method)
        for method, (colour, marker) in of.items()
    ]


def _set_limits(axes: Axes, table: pd.DataFrame, *others: Any) -> None:
    """All values with their intervals and these others, and little more; no cost and no share is below 0."""
    ends = pd.concat(
        [table[name] for name in ("value", "value_low", "value_high")] + [pd.Series(list(of)) for of in others]
    )
    low, high = ends.astype(float).min(), ends.astype(float).max()
    room = max(0.07 * (high - low), 1.0)
    axes.set_ylim(max(0.0, low - room), min(101.5, high + room))
    axes.margins(x=0.12)
    if axes.get_xscale() == "linear":
        axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))


def _names(table: pd.DataFrame, cost: Cost, kinds: Looks) -> list[Name]:
    """Of the points that no other one of their method beats, then of the others; of a crowd none but the first."""
    names: list[list[Name]] = [[], []]
    for method, (colour, _) in kinds.items():
        rows = table[table["method"] == method]
        places = (rows[column].tolist() for column in (cost.column, "value", "point"))
        for best, x, y, point in zip(cost.unbeaten(rows), *places, strict=True):
            names[not best].append(Name(x, y, point, colour))
    return names[0][: 2 * CROWD] if len(table) > CROWD else names[0] + names[1]


def _draw_published(axes: Axes, published: pd.DataFrame) -> None:
    axes.scatter(
        published["gflops"],
        published["value"],
        facecolors="none",
        edgecolors="0.5",
        s=30,
        linewidths=0.8,
        label="published",
        zorder=2,
    )


def saving(table: pd.DataFrame) -> Figure:
    """Time saved against multiply-adds saved; on the line a saving is perfect, at 0 it is on paper only."""
    rows = table[table["saving_realised"].notna()].assign(saved=lambda of: of["gflops_dense"] / of["gflops"] - 1)
    rows = rows.assign(**{end: rows["saved"] * rows[f"saving_{end}"] for end in ("realised", "low", "high")})
    kinds = looks(table, rows)
    across, up = "multiply-adds saved: dense / executed - 1", "time saved: dense / skipped - 1, offline"
    with _canvas(across, up, handles=_handles(kinds)) as axes:
        most = 1.15 * float(rows["saved"].max())
        axes.plot([0, most], [0, most], color=GREY, linewidth=1, label="perfect saving")
        axes.axhline(0, color="0.75", linewidth=0.8)
        names = []
        for method, (colour, marker) in kinds.items():
            own = rows[rows["method"] == method]
            value, *ends = (own[name] for name in ("realised", "low", "high"))
            # Over rounds, which need not hold what the medians of all of them say.
            bars = [(value - np.minimum(*ends)).clip(lower=0), (np.maximum(*ends) - value).clip(lower=0)]
            axes.errorbar(own["saved"], value, yerr=bars, fmt="none", ecolor=colour, alpha=0.5)
            axes.scatter(own["saved"], value, facecolors=_faces(own, colour), edgecolors=[colour], marker=marker, s=46)
            names += [Name(row["saved"], row["realised"], row["point"], colour) for row in own.to_dict("records")]
        write_names(axes, names[:CROWD], rows[["saved", "realised"]].to_numpy(float))
    return _figure(axes)


def curve(table: pd.DataFrame, x: str, label: str, lines: pd.Series | None = None, of: Looks | None = None) -> Figure:
    """Accuracy over a knob; a faint dot for each seed, bars for the interval.

    Args:
        lines: of each point the name of the line that it is on; the method's where none are given.
        of: each method's looks, where they are to be those of another figure.
    """
    rows = table.assign(line=table["method"] if lines is None else lines)
    rows = rows[rows[x].notna()]
    of, drawn = of or looks(table), Counter[str]()
    with _canvas(label, metric_of(table)) as axes:
        for line in first_lines(rows["line"], rows["method"]):
            own = rows[rows["line"] == line].sort_values(x, kind="stable")
            method = own["method"].iloc[0]
            colour, marker = of[method]
            # Lines of one method share its looks.
            dashes, drawn[method] = DASHES[drawn[method] % len(DASHES)], drawn[method] + 1
            _draw_bars(axes, own, x, colour)
            kind: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dashes, "label": line}
            axes.plot(own[x], own["value"], markersize=6, linewidth=1.2, **kind)
            for place, values in zip(own[x], own["spread"], strict=True):
                if len(values) > 1:
                    axes.scatter([place] * len(values), values, color=colour, s=9, alpha=0.35)
        if pd.api.types.is_integer_dtype(rows[x]):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _figure(axes)


def first_lines(lines: pd.Series, methods: pd.Series) -> list[str]:
    """TALL of them at most, in their order: the first ones of each method."""
    method_of = dict(zip(lines, methods, strict=True))
    before, place = Counter[str](), dict[str, int]()
    for line, method in method_of.items():
        place[line], before[method] = before[method], before[method] + 1
    kept = set(sorted(place, key=lambda line: place[line])[:TALL])
    return [line for line in method_of if line in kept]


def kept_per_block(ratios: dict[str, list[float]]) -> Figure:
    """Share of frames that each block computes in full, a line for each point, by its name."""
    with _canvas("block, in network order", "kept ratio", fontsize=7) as axes:
        for number, (name, shares) in enumerate(ratios.items()):
            colour, marker = look(number)
            kind: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "label": name}
            axes.plot(range(1, len(shares) + 1), shares, linewidth=1, **kind)
    axes.set_ylim(-0.03, 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _figure(axes)


def cost_per_video(macs: Mapping[str, NDArray[np.int64]]) -> Figure:
    """How many videos cost how much: a histogram for each point, one below the other, all of the same bins.

    Args:
        macs: by the name of a point, (V,) executed multiply-adds of each video.
    """
    costs = {name: of / 1e9 for name, of in macs.items()}
    least, most = (choose(choose(of) for of in costs.values()) for choose in (min, max))
    wide = most > WIDE * least > 0
    edges = (np.geomspace if wide else np.linspace)(least, most, BINS + 1)
    with sns.axes_style("white"), plt.rc_context(style()):
        figure, rows = plt.subplots(
            len(costs), sharex=True, squeeze=False, figsize=(WIDTH, 0.7 + 0.55 * len(costs)), layout="constrained"
        )
        for number, (axes, (name, of)) in enumerate(zip(rows[:, 0], costs.items(), strict=True)):
            colour, _ = look(number)
            counts, _ = np.histogram(of, edges)
            sns.histplot(x=of, bins=edges.tolist(), stat="percent", color=colour, alpha=1, linewidth=0, ax=axes)
            axes.axvline(of.mean(), color="black", linewidth=1)
            axes.set(ylabel="", yticks=[round(100 * counts.max() / len(of))])
            axes.set_title(name, loc="left", fontsize=7, pad=2, parse_math=False)
        if wide:
            _set_logarithmic(rows[-1, 0], "x")
        rows[-1, 0].set_xlabel("GFLOPs of a video (multiply-adds executed, 1e9); black: their mean")
        figure.supylabel("% of videos", fontsize=9)
        sns.despine(figure)
    return figure


def roofline(table: pd.DataFrame) -> Figure:
    """What was reached against arithmetic intensity, under the roof of each device, number of threads and dtype.

    A roof that was measured several times, as on each of a cluster's nodes, is the highest of these.
    """
    across, up = "multiply-adds per byte that operators read and write", "1e9 multiply-adds per second, offline"
    known = table[table["utilisation"].notna()]
    kinds, table = looks(table, known), known
    with _canvas(across, up, handles=_handles(kinds)) as axes:
        places = np.geomspace(table["macs_per_byte"].min() / 4, table["macs_per_byte"].max() * 4, 200)
        roofs = table.groupby(["device", "dtype", "threads"], dropna=False)[["roof_copy", "roof_product"]].max()
        for (device, dtype, threads), copy, product in roofs.itertuples():
            axes.plot(places, np.minimum(places * copy, product) / 1e9, color=GREY, linewidth=1)
            axes.annotate(
                f"{device}, {dtype}" + ("" if pd.isna(threads) else f", threads: {threads:g}"),
                (places[-1], product / 1e9),
                xytext=(0, 4),
                textcoords="offset points",
                ha="right",
                fontsize=7,
                color="0.35",
            )
        for method, (colour, marker) in kinds.items():
            rows = table[table["method"] == method]
            faces = _faces(rows, colour)
            reached = rows["macs_per_second"] / 1e9
            axes.scatter(rows["macs_per_byte"], reached, facecolors=faces, edgecolors=[colour], marker=marker, s=46)
        _set_logarithmic(axes, "x", "y")
    return _figure(axes)


def _faces(rows: pd.DataFrame, colour: Any) -> NDArray[np.float64]:
    """The insides of markers: none of what was timed with noise."""
    return np.where(rows["noisy"].astype(bool).to_numpy()[:, None], to_rgba("none"), to_rgba(colour))


def _set_logarithmic(axes: Axes, *names: str) -> None:
    """With ticks that are written out, at 1, 2 and 5."""
    for name in names:
        axes.set(**{f"{name}scale": "log"})
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _draw_method(axes: Axes, rows: pd.DataFrame, cost: Cost, colour: Any, marker: str, crowded: bool) -> None:
    # A noisy time ranks nothing: hollow, and on no frontier. What another point beats is faded.
    x, ranked, best = cost.column, cost.ranked(rows), cost.unbeaten(rows)
    # Of many points, bars of those that others beat would hide the rest.
    _draw_bars(axes, rows[best] if crowded else rows, x, colour, times=cost.timed)
    if best.any():
        sns.lineplot(data=rows[best], x=x, y="value", color=colour, ax=axes, linewidth=1.2, errorbar=None)
    for chosen, opacity in ((best, 1.0), (ranked & ~best, 0.35)):
        if chosen.any():
            own = rows[chosen]
            axes.scatter(own[x], own["value"], color=colour, marker=marker, s=46, alpha=opacity, zorder=3)
    hollow = rows[~ranked]
    if len(hollow):
        axes.scatter(hollow[x], hollow["value"], facecolors="none", edgecolors=[colour], marker=marker, s=40)


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
