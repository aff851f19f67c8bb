"""Statistics of measurements. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# Largest share by which two counts of the same multiply-adds may differ.
AGREEMENT = 1e-3
# A point whose middle half spreads wider than this share of its median is marked noisy.
NOISY = 0.05


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


def summarise(samples: Sequence[float]) -> dict[str, Any]:
    """Quantiles of seconds with 95% intervals, and the samples they come from.

    A quantile's interval is by order statistics, with no assumption about the distribution; null where the samples are
    too few to bound it.
    """
    low, median, high, p90, p99 = np.percentile(samples, [25, 50, 75, 90, 99]).tolist()
    return {
        "median": median,
        "median_interval": quantile_interval(samples, 0.5),
        "quartiles": [low, high],
        "p90": p90,
        "p90_interval": quantile_interval(samples, 0.9),
        "p99": p99,
        "p99_interval": quantile_interval(samples, 0.99),
        "noisy": spread(samples) > NOISY,
        "samples": [round(sample, 9) for sample in samples],
    }


def ratios(times: Sequence[float], others: Sequence[float]) -> list[float]:
    """Of times that were taken in the same rounds, round by round."""
    return [one / other for one, other in zip(times, others, strict=True)]


def spread(samples: Sequence[float]) -> float:
    """Distance of the quartiles as a share of the median."""
    low, median, high = np.percentile(samples, [25, 50, 75]).tolist()
    return float((high - low) / median)
