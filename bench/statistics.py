"""Statistics of measurements. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Largest share by which two counts of the same multiply-adds may differ.
AGREEMENT = 1e-3


def quantile_interval(samples: Sequence[float], quantile: float, level: float = 0.95) -> list[float | None]:
    """Bounds of a quantile of what the samples were drawn from, by order statistics.

    The number of samples below the quantile is binomial, whatever the distribution; each bound is the outermost sample
    that leaves at most half of 1 - level beyond it, None where there is none.
    """
    ordered, count, tail = sorted(samples), len(samples), (1 - level) / 2
    below = [math.comb(count, k) * quantile**k * (1 - quantile) ** (count - k) for k in range(count + 1)]
    low = high = None
    total = 0.0
    for k in range(count):  # P(at most k samples lie below the quantile)
        total += below[k]
        if total > tail:
            low = ordered[k - 1] if k else None
            break
    total = 0.0
    for k in range(count, 0, -1):  # P(at least k lie below)
        total += below[k]
        if total > tail:
            high = ordered[k] if k < count else None
            break
    return [low, high]
