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
GAP = 3.0  # pixels, between two names
# Points right and up of the point, and which end of the text stands there, in the order of preference.
PLACES = (
    (5, 4, "left", "bottom"),
    (5, -4, "left", "top"),
    (-5, 4, "right", "bottom"),
    (-5, -4, "right", "top"),
    (0, 6, "center", "bottom"),
    (0, -6, "center", "top"),
)
# Of a text's width or height, what is left of or below the end that stands at its place.
SHARES = {"left": 0.0, "center": 0.5, "right": 1.0, "bottom": 0.0, "top": 1.0}


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
    renderer = FigureCanvasAgg(figure).get_renderer()
    pixels = figure.dpi / 72  # a point
    centres = axes.transData.transform(points)
    taken = np.concatenate([centres - RADIUS * pixels, centres + RADIUS * pixels], axis=1)
    inside = axes.get_window_extent()
    for name in names:
        text = axes.annotate(
            name.text, (name.x, name.y), (0, 0), textcoords="offset points", fontsize=SIZE, color=ink(name.colour)
        )
        size = text.get_window_extent(renderer)
        place = axes.transData.transform((name.x, name.y))
        for right, up, horizontal, vertical in PLACES:
            left = place[0] + right * pixels - SHARES[horizontal] * size.width
            bottom = place[1] + up * pixels - SHARES[vertical] * size.height
            box = (left, bottom, left + size.width, bottom + size.height)
            over = (taken[:, :2] < box[2:]).all(axis=1) & (taken[:, 2:] > box[:2]).all(axis=1)
            if not over.any() and inside.x0 <= left and inside.y0 <= bottom and box[3] <= inside.y1:
                taken = np.concatenate([taken, [(left - GAP, bottom, box[2] + GAP, box[3])]])
                text.set(position=(right, up), ha=horizontal, va=vertical)
                break
        else:
            text.remove()
