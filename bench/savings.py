"""How much of the multiply-adds saved was time saved. Imports no torch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=8)
def _draws(n: int) -> NDArray[np.int64]:
    """2000 draws of n out of n, with replacement, the same for all records of as many rounds."""
    return np.random.default_rng(0).integers(n, size=(2000, n))


def saving_realised(offline: dict[str, Any], dense_macs: float, macs: float) -> dict[str, float | None]:
    """(time dense / time skipped - 1) / (MACs dense / MACs skipped - 1), with a 95% interval.

    The ratio of times is the median over rounds, within which the executions took turns; the interval is a bootstrap
    over rounds, with a fixed seed. All None where less than 1% is saved.
    """
    if "skipped" not in offline or dense_macs / macs < 1.01:
        return {"saving_realised": None, "saving_low": None, "saving_high": None}
    ratios = np.array(offline["dense"]["samples"]) / np.array(offline["skipped"]["samples"])
    low, high = np.percentile(np.median(ratios[_draws(len(ratios))], axis=1), [2.5, 97.5])
    value, low, high = ((ratio - 1) / (dense_macs / macs - 1) for ratio in (np.median(ratios), low, high))
    return {"saving_realised": float(value), "saving_low": float(low), "saving_high": float(high)}
