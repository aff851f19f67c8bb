"""Names beside points: never over one another, nor over a point."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reports.placing import Name, write_names


@pytest.fixture
def axes() -> Iterator[Axes]:
    figure, axes = plt.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 100))
    yield axes
    plt.close(figure)


def write(axes: Axes, places: list[tuple[float, float]]) -> list[str]:
    names = [Name(x, y, f"8f r.{number:02d}", "#0173b2") for number, (x, y) in enumerate(places)]
    write_names(axes, names, np.array(places, float))
    return [text.get_text() for text in axes.texts]


def test_points_with_room_are_all_named(axes: Axes) -> None:
    assert len(write(axes, [(1, 10), (5, 50), (9, 90)])) == 3


def test_in_a_crowd_no_name_covers_another_or_a_point(axes: Axes) -> None:
    rng = np.random.default_rng(0)
    places = [(5.0, 50.0), *rng.normal((5, 50), (0.5, 5), (60, 2)).tolist()]
    names = write(axes, places)
    assert 3 < len(names) < 40
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    points = axes.transData.transform(np.array(places))
    assert not any(box.contains(*point) for box in boxes for point in points)


def test_equal_points_have_one_name_or_two_that_can_be_read(axes: Axes) -> None:
    names = write(axes, [(5, 50)] * 20)
    assert names[0] == "8f r.00" and len(names) <= 6
