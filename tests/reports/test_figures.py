"""Figures: what is drawn is what the table says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.axes import COSTS, pareto
from reports.figures import CROWD, DPI, MANY, cost_per_video, curve, frontier, kept_per_block, roofline, save, saving

TABLE = pd.DataFrame(
    {
        "method": ["AFNet", "AFNet"],
        "point": ["8f r.50", "8f r1"],
        "gflops": [1.0, 3.0],
        "metric": ["top-1", "top-1"],
        "value": [60.0, 80.0],
        "value_low": [55.0, 79.0],
        "value_high": [63.0, 81.5],
        "spread": [[60.0], [79.0, 81.0]],
        "videos_per_second": [40.0, 20.0],
        "videos_per_second_low": [30.0, 19.0],
        "videos_per_second_high": [44.0, 21.0],
        "device": ["a stopwatch", "a stopwatch"],
        "noisy": [False, False],
    }
)


GFLOPS, THROUGHPUT = COSTS[:2]


def by_gflops(table: pd.DataFrame, ceiling: float | None) -> Figure:
    return frontier(table, GFLOPS, ceiling)


def by_throughput(table: pd.DataFrame, ceiling: float | None) -> Figure:
    return frontier(table, THROUGHPUT, ceiling)


def bars(figure: Figure) -> list[list[list[float]]]:
    """Ends (x, y) of the error bars."""
    drawn = [lines for lines in figure.axes[0].collections if isinstance(lines, LineCollection)]
    return [np.asarray(ends).tolist() for lines in drawn for ends in lines.get_segments()]


def curves(figure: Figure) -> list[tuple[list[float], list[float]]]:
    """x and y of the lines that are not empty."""
    lines = [
        (np.asarray(x).tolist(), np.asarray(y).tolist()) for x, y in (line.get_data() for line in figure.axes[0].lines)
    ]
    return [(x, y) for x, y in lines if x]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_vertical_bars_are_95_percent_intervals_of_top1() -> None:
    expected = [[[1.0, 55.0], [1.0, 63.0]], [[3.0, 79.0], [3.0, 81.5]]]
    np.testing.assert_allclose(bars(by_gflops(TABLE, None)), expected)


def test_horizontal_bars_are_the_quartiles_of_the_timing() -> None:
    ends = bars(by_throughput(TABLE, None))
    horizontal = [end for end in ends if end[0][1] == end[1][1]]
    assert horizontal == [[[19.0, 80.0], [21.0, 80.0]], [[30.0, 60.0], [44.0, 60.0]]]
    assert len(ends) == 4


@pytest.mark.parametrize("ceiling", [None, 0.5])
def test_the_ceiling_is_drawn_where_there_is_one(ceiling: float | None) -> None:
    levels = [y for _, y in curves(by_gflops(TABLE, ceiling))]
    assert ([50.0, 50.0] in levels) == (ceiling is not None)


def test_the_line_joins_the_points_that_nothing_beats() -> None:
    beaten = pd.concat([TABLE, TABLE.iloc[[0]].assign(gflops=2.0, value=50.0, value_low=40.0)], ignore_index=True)
    assert curves(by_gflops(beaten, None)) == [([1.0, 3.0], [60.0, 80.0])]


def test_a_noisy_time_is_hollow_and_on_no_frontier() -> None:
    noisy = TABLE.iloc[[0]].assign(videos_per_second=99.0, videos_per_second_high=99.0, value=99.0, noisy=True)
    rows = pd.concat([TABLE, noisy.assign(value_high=99.5)], ignore_index=True)
    figure = by_throughput(rows, None)
    assert curves(figure) == [([20.0, 40.0], [80.0, 60.0])]
    quiet, hollow = [dots for dots in figure.axes[0].collections if isinstance(dots, PathCollection)]
    assert len(np.asarray(quiet.get_offsets())) == 2 and len(np.asarray(quiet.get_facecolor()))
    assert np.asarray(hollow.get_offsets()).tolist() == [[99.0, 99.0]] and not len(np.asarray(hollow.get_facecolor()))
    assert len(curves(by_gflops(rows, None))[0][0]) >= 1, "multiply-adds know no noise"


def test_a_method_with_nothing_but_noise_is_drawn_and_named() -> None:
    axes = by_throughput(TABLE.assign(noisy=True), None).axes[0]
    (hollow,) = [dots for dots in axes.collections if isinstance(dots, PathCollection)]
    assert len(np.asarray(hollow.get_offsets())) == 2
    legend = axes.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["AFNet"]


def test_no_two_methods_share_colour_and_marker() -> None:
    rows = pd.concat([TABLE.iloc[:1].assign(method=f"method {number}") for number in range(25)])
    figure = by_gflops(rows, None)
    drawn = [dots for dots in figure.axes[0].collections if isinstance(dots, PathCollection)]
    looks = {
        (np.asarray(dots.get_facecolor()).tobytes(), np.asarray(dots.get_paths()[0].vertices).tobytes())
        for dots in drawn
    }
    assert len(drawn) == len(looks) == 25


MEASURED = {"dtype": "float32", "threads": 2, "utilisation": 0.5}


def test_points_lie_under_the_roof_of_their_device() -> None:
    rows = TABLE.assign(
        macs_per_byte=[2.0, 8.0], macs_per_second=[1e10, 3e10], roof_copy=1e10, roof_product=4e10, **MEASURED
    )
    axes = roofline(rows).axes[0]
    (places, most), *_ = [np.asarray(line.get_data()) for line in axes.lines]
    np.testing.assert_allclose(most, np.minimum(10 * places, 40))
    (dots,) = [dots for dots in axes.collections if isinstance(dots, PathCollection)]
    np.testing.assert_allclose(np.asarray(dots.get_offsets()), [[2, 10], [8, 30]])


def test_of_a_roof_that_was_measured_again_the_highest_is_drawn() -> None:
    measured = {"roof_copy": [1e10, 1.1e10], "roof_product": [4e10, 3.9e10]}
    rows = TABLE.assign(macs_per_byte=2.0, macs_per_second=1e10, **MEASURED, **measured)
    (line,) = roofline(rows).axes[0].lines
    places, most = np.asarray(line.get_data())
    np.testing.assert_allclose(most, np.minimum(11 * places, 40))
    assert len(roofline(rows.assign(threads=[1, 2])).axes[0].lines) == 2, "of other numbers of threads, another roof"


def test_what_another_point_beats_is_faded() -> None:
    beaten = pd.concat([TABLE, TABLE.iloc[[0]].assign(gflops=2.0, value=50.0, value_low=40.0)], ignore_index=True)
    drawn = [dots for dots in by_gflops(beaten, None).axes[0].collections if isinstance(dots, PathCollection)]
    strong, faded = drawn
    assert np.asarray(strong.get_offsets()).tolist() == [[1.0, 60.0], [3.0, 80.0]]
    assert np.asarray(faded.get_offsets()).tolist() == [[2.0, 50.0]] and float(faded.get_alpha() or 1) < float(
        strong.get_alpha() or 0
    )


def test_a_metric_without_an_interval_has_no_bars_and_its_name_on_the_axis() -> None:
    rows = TABLE.assign(metric="mAP", value_low=None, value_high=None)
    figure = by_gflops(rows, None)
    assert bars(figure) == [] and figure.axes[0].get_ylabel() == "mAP (%)"


def test_time_saved_stands_beside_the_line_of_perfect_saving() -> None:
    rows = TABLE.assign(
        gflops_dense=[2.0, 3.0],
        saving_realised=[0.5, None],
        saving_low=[0.4, None],
        saving_high=[0.8, None],
    )
    axes = saving(rows).axes[0]
    (perfect, *_) = [np.asarray(line.get_data()) for line in axes.lines]
    assert (perfect[0] == perfect[1]).all()
    (dots,) = [dots for dots in axes.collections if isinstance(dots, PathCollection)]
    assert np.asarray(dots.get_offsets()).tolist() == [[1.0, 0.5]]


def test_a_curve_has_a_dot_for_each_seed() -> None:
    axes = curve(TABLE.assign(frames=[4, 8]), "frames", "frames").axes[0]
    (dots,) = [dots for dots in axes.collections if isinstance(dots, PathCollection)]
    assert np.asarray(dots.get_offsets()).tolist() == [[8.0, 79.0], [8.0, 81.0]]
    assert ([4.0, 8.0], [60.0, 80.0]) in curves(axes.figure)  # type: ignore[arg-type]


def test_a_curve_joins_what_its_lines_say() -> None:
    rows = pd.concat([TABLE.assign(frames=[4, 8], ratio=ratio) for ratio in (1.0, 0.5)], ignore_index=True)
    lines = pd.Series(["AFNet, ratio 1"] * 2 + ["AFNet, ratio 0.5"] * 2)
    axes = curve(rows, "frames", "frames", lines).axes[0]
    drawn = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 2 and line.get_marker() != "None"]
    assert [line.get_label() for line in drawn] == ["AFNet, ratio 1", "AFNet, ratio 0.5"]
    assert drawn[0].get_color() == drawn[1].get_color() and drawn[0].get_linestyle() != drawn[1].get_linestyle()


def test_of_many_lines_the_first_of_each_method_are_drawn() -> None:
    names = [("AFNet", f"AFNet, ratio {number}") for number in range(90)] + [("TSM", "TSM")]
    methods, lines = (pd.Series(part) for part in zip(*names, strict=True))
    rows = pd.concat([TABLE.iloc[:1]] * 91, ignore_index=True).assign(frames=4, method=methods)
    drawn = [str(line.get_label()) for line in curve(rows, "frames", "frames", lines).axes[0].lines]
    named = [label for label in drawn if not label.startswith("_")]
    assert len(named) == 24 and named[0] == "AFNet, ratio 0" and named[-1] == "TSM"


def test_all_of_the_intervals_and_of_what_is_published_is_seen() -> None:
    published = pd.DataFrame({"method": ["TSM"], "gflops": [65.0], "value": [30.0]})
    rows = TABLE.assign(value_low=[20.0, 79.0])
    low, high = frontier(rows, GFLOPS, None, published).axes[0].get_ylim()
    assert low < 20 and 81.5 < high < 90, "and no empty room above"


def test_costs_far_apart_are_on_a_logarithmic_axis_with_plain_numbers() -> None:
    assert by_gflops(TABLE, None).axes[0].get_xscale() == "linear"
    figure = by_gflops(TABLE.assign(gflops=[0.01, 3.0]), None)
    figure.canvas.draw()
    axes = figure.axes[0]
    texts = {text.get_text() for text in axes.get_xticklabels()}
    assert axes.get_xscale() == "log" and {"0.01", "0.1", "1"} <= texts and not any("$" in text for text in texts)


def test_blocks_are_whole_numbers() -> None:
    figure = kept_per_block({"a": [1.0, 0.5]})
    figure.canvas.draw()
    assert {text.get_text() for text in figure.axes[0].get_xticklabels() if text.get_visible()} <= {"0", "1", "2", "3"}


def test_lines_of_points_are_told_apart() -> None:
    lines = kept_per_block({str(number): [1.0, 0.5] for number in range(12)}).axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 12


@pytest.mark.parametrize("count", [1, 2, 30])
def test_pareto_is_what_comparing_all_pairs_gives(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(50):
        pairs = rng.integers(0, 6, (count, 2)).astype(float).tolist()
        slow = [
            not any((c <= cost and v >= value) and (c, v) != (cost, value) for c, v in pairs) for cost, value in pairs
        ]
        assert pareto([cost for cost, _ in pairs], [value for _, value in pairs]) == slow


def test_of_many_points_the_best_alone_are_named() -> None:
    many = pd.concat([TABLE.iloc[:1].assign(gflops=1.0 + number, value=61.0 - number / 90) for number in range(80)])
    axes = by_gflops(many.reset_index(drop=True), None).axes[0]
    assert [text.get_text() for text in axes.texts] == ["8f r.50"]
    assert len(by_gflops(TABLE, None).axes[0].texts) == 2


def many(count: int) -> pd.DataFrame:
    """Points of which the one that costs most beats nothing, and all others are beaten by the first."""
    rows = pd.concat([TABLE.head(1)] * count, ignore_index=True)
    return rows.assign(gflops=[1.0 + number for number in range(count)], value=60.0)


@pytest.mark.parametrize(("count", "drawn"), [(CROWD, CROWD), (CROWD + 1, 1)])
def test_of_many_points_those_on_a_line_alone_have_bars(count: int, drawn: int) -> None:
    assert len(bars(by_gflops(many(count), None))) == drawn


@pytest.mark.parametrize(("count", "pictures"), [(20, 0), (MANY + 2, 1)])
def test_a_crowd_is_one_picture_in_svg(tmp_path: Path, count: int, pictures: int) -> None:
    save(by_gflops(many(count), None), tmp_path, "figure")
    text = (tmp_path / "figure.svg").read_text()
    assert text.count("<image") == pictures
    assert "GFLOPs per video" in text


def test_every_format_shows_the_same_part_of_the_figure(tmp_path: Path) -> None:
    save(by_gflops(TABLE, 0.5), tmp_path, "figure")
    height, width = plt.imread(tmp_path / "figure.png").shape[:2]
    svg = re.search(r'viewBox="0 0 (\S+) (\S+)"', (tmp_path / "figure.svg").read_text())
    pdf = re.search(rb"/MediaBox \[ 0 0 (\S+) (\S+) \]", (tmp_path / "figure.pdf").read_bytes())
    assert svg and pdf
    points = [float(side) for side in svg.groups()]
    # A point is 1/72 inch; pixels are whole.
    assert points == pytest.approx([72 / DPI * width, 72 / DPI * height], abs=72 / DPI)
    assert [float(side) for side in pdf.groups()] == pytest.approx(points, abs=1e-5)


def test_histograms_count_every_video_and_mark_the_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    macs = {
        "AFNet 8f": rng.integers(10**9, 2 * 10**9, 100),
        "FrameExit $8_f$": rng.choice([10**9, 3 * 10**9], 50),
        "one": np.array([10**9, 10**9 + 1]),
    }
    figure = cost_per_video(macs)
    for axes, (name, of) in zip(figure.axes, macs.items(), strict=True):
        assert axes.get_title(loc="left") == name
        bars = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_height()]
        assert sum(bar.get_height() for bar in bars) == pytest.approx(100)
        (line,) = axes.lines
        assert np.asarray(line.get_xdata())[0] == pytest.approx(of.mean() / 1e9)
        assert bars[0].get_x() <= of.min() / 1e9 <= bars[0].get_x() + bars[0].get_width()
    assert figure.axes[0].get_xscale() == "linear"
    assert set(save(figure, tmp_path, "cost")) == {"png", "svg", "pdf"}


def test_histograms_of_costs_far_apart_are_on_a_logarithmic_axis() -> None:
    figure = cost_per_video({"a": np.array([10**9, 2 * 10**9]), "b": np.array([10**11, 2 * 10**11])})
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "log"]
    bars = [[patch for patch in axes.patches if isinstance(patch, Rectangle)] for axes in figure.axes]
    heights = [sum(bar.get_height() for bar in of) for of in bars]
    assert heights == pytest.approx([100, 100])
