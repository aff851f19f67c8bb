"""Colours and markers of methods: told apart on white paper and on a dark page, also by the colour blind."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.colors import to_rgb

# Wong's colours that are safe for the colour blind (Nature Methods 8, 2011) and others, each darkened or lightened to
# stand out 3:1 from both grounds (WCAG 2.2, 1.4.11); markers tell methods apart without any.
PALETTE = ("#0173b2", "#c98200", "#029e73", "#d55e00", "#c76fb5", "#4a9cca", "#8c6239", "#808080", "#8a8417", "#7f5fc9")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">")
READABLE = 4.5  # contrast of small text with its ground (WCAG 2.2, 1.4.3)

Looks = dict[str, tuple[str, str]]
"""Colour and marker of each method."""


def look(number: int) -> tuple[str, str]:
    """Of the number-th method or line of a figure; of the first hundred no two share both."""
    # A step further in each round through the palette.
    return PALETTE[number % len(PALETTE)], MARKERS[(number + number // len(PALETTE)) % len(MARKERS)]


def looks(table: pd.DataFrame, among: pd.DataFrame | None = None) -> Looks:
    """Of each method of a table, in its order.

    Args:
        among: some of its rows, whose methods alone are wanted; they look as they do in figures of all of them.
    """
    present = set((table if among is None else among)["method"])
    found = {method: look(number) for number, method in enumerate(dict.fromkeys(table["method"]))}
    return {method: of for method, of in found.items() if method in present}


def luminance(colour: Any) -> float:
    """Relative luminance, in [0, 1] (WCAG 2.2)."""
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Any, other: Any) -> float:
    """Of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink(colour: Any) -> tuple[float, ...]:
    """The colour, as dark as small text on white needs it."""
    shares = to_rgb(colour)
    while contrast(shares, "white") < READABLE:
        shares = tuple(0.97 * share for share in shares)  # type: ignore[assignment]
    return shares
