"""Names beside points, over no other name and no point; those without room are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.looks import ink

SIZE = 7  # points, of the letters
RADIUS = 4.0  # points, about a marker
# Points right and up of the point, and which end of the text stands there, in the order of preference.
PLACES = (
    (5, 4, "left", "bottom"),
    (5, -4, "left", "top"),
    (-5, 4, "right", "bottom"),
    (-5, -4, "right", "top"),
    (0, 6, "center", "bottom"),
    (0, -6, "center", "top"),
)


@dataclass(frozen=True)
class Name:
    """What stands beside a point, in the colour of its method, darkened to be read."""

    x: float
    y: float
    text: str
    colour: Any


def write_names(axes: Axes, names: list[Name], points: NDArray[np.float64]) -> None:
    """Write them, the first ones first; call it when the limits of the axes are final.

    Args:
        points: (N, 2) of all points that are drawn.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    canvas = FigureCanvasAgg(figure)
    pixels = figure.dpi / 72  # a point
    centres = axes.transData.transform(points)
    taken = np.concatenate([centres - RADIUS * pixels, centres + RADIUS * pixels], axis=1)
    inside = axes.get_window_extent()
    for name in names:
        for right, up, horizontal, vertical in PLACES:
            text = axes.annotate(
                name.text,
                (name.x, name.y),
                xytext=(right, up),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=SIZE,
                color=ink(name.colour),
            )
            box = text.get_window_extent(canvas.get_renderer())
            over = (taken[:, :2] < (box.x1, box.y1)).all(axis=1) & (taken[:, 2:] > (box.x0, box.y0)).all(axis=1)
            if not over.any() and box.y0 >= inside.y0 and box.y1 <= inside.y1 and box.x0 >= inside.x0:
                taken = np.concatenate([taken, [[box.x0, box.y0, box.x1, box.y1]]])
                break
            text.remove()
