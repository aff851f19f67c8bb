"""Figures: what is drawn is what the table says."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from reports.figures import accuracy_vs_gflops, accuracy_vs_throughput, roofline

TABLE = pd.DataFrame(
    {
        "method": ["AFNet", "AFNet"],
        "point": ["8f r.50", "8f r1"],
        "gflops": [1.0, 3.0],
        "top1": [60.0, 80.0],
        "top1_low": [55.0, 79.0],
        "top1_high": [63.0, 81.5],
        "videos_per_second": [40.0, 20.0],
        "videos_per_second_low": [30.0, 19.0],
        "videos_per_second_high": [44.0, 21.0],
        "device": ["a stopwatch", "a stopwatch"],
        "noisy": [False, False],
    }
)


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
    np.testing.assert_allclose(bars(accuracy_vs_gflops(TABLE, None)), expected)


def test_horizontal_bars_are_the_quartiles_of_the_timing() -> None:
    ends = bars(accuracy_vs_throughput(TABLE, None))
    horizontal = [end for end in ends if end[0][1] == end[1][1]]
    assert horizontal == [[[19.0, 80.0], [21.0, 80.0]], [[30.0, 60.0], [44.0, 60.0]]]
    assert len(ends) == 4


@pytest.mark.parametrize("ceiling", [None, 0.5])
def test_the_ceiling_is_drawn_where_there_is_one(ceiling: float | None) -> None:
    levels = [y for _, y in curves(accuracy_vs_gflops(TABLE, ceiling))]
    assert ([50.0, 50.0] in levels) == (ceiling is not None)


def test_the_line_joins_the_points_that_nothing_beats() -> None:
    beaten = pd.concat([TABLE, TABLE.iloc[[0]].assign(gflops=2.0, top1=50.0, top1_low=40.0)], ignore_index=True)
    assert curves(accuracy_vs_gflops(beaten, None)) == [([1.0, 3.0], [60.0, 80.0])]


def test_a_noisy_time_is_hollow_and_on_no_frontier() -> None:
    noisy = TABLE.iloc[[0]].assign(videos_per_second=99.0, videos_per_second_high=99.0, top1=99.0, noisy=True)
    rows = pd.concat([TABLE, noisy.assign(top1_high=99.5)], ignore_index=True)
    figure = accuracy_vs_throughput(rows, None)
    assert curves(figure) == [([20.0, 40.0], [80.0, 60.0])]
    quiet, hollow = [dots for dots in figure.axes[0].collections if isinstance(dots, PathCollection)]
    assert len(np.asarray(quiet.get_offsets())) == 2 and len(np.asarray(quiet.get_facecolor()))
    assert np.asarray(hollow.get_offsets()).tolist() == [[99.0, 99.0]] and not len(np.asarray(hollow.get_facecolor()))
    assert len(curves(accuracy_vs_gflops(rows, None))[0][0]) >= 1, "multiply-adds know no noise"


def test_a_method_with_nothing_but_noise_is_drawn_and_named() -> None:
    axes = accuracy_vs_throughput(TABLE.assign(noisy=True), None).axes[0]
    (hollow,) = [dots for dots in axes.collections if isinstance(dots, PathCollection)]
    assert len(np.asarray(hollow.get_offsets())) == 2
    legend = axes.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["AFNet"]


def test_no_two_methods_share_colour_and_marker() -> None:
    rows = pd.concat([TABLE.iloc[:1].assign(method=f"method {number}") for number in range(25)])
    figure = accuracy_vs_gflops(rows, None)
    drawn = [dots for dots in figure.axes[0].collections if isinstance(dots, PathCollection)]
    looks = {
        (np.asarray(dots.get_facecolor()).tobytes(), np.asarray(dots.get_paths()[0].vertices).tobytes())
        for dots in drawn
    }
    assert len(drawn) == len(looks) == 25


def test_points_lie_under_the_roof_of_their_device() -> None:
    rows = TABLE.assign(
        macs_per_byte=[2.0, 8.0], macs_per_second=[1e10, 3e10], roof_copy=1e10, roof_product=4e10, dtype="float32"
    )
    axes = roofline(rows).axes[0]
    (places, most), *_ = [np.asarray(line.get_data()) for line in axes.lines]
    np.testing.assert_allclose(most, np.minimum(10 * places, 40))
    (dots,) = [dots for dots in axes.collections if isinstance(dots, PathCollection)]
    np.testing.assert_allclose(np.asarray(dots.get_offsets()), [[2, 10], [8, 30]])
