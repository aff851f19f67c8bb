"""How much of the multiply-adds saved was time saved. Imports no torch."""

from __future__ import annotations

from typing import Any

import numpy as np


def saving_realised(offline: dict[str, Any], dense_macs: float, macs: float) -> dict[str, float | None]:
    """(time dense / time skipped - 1) / (MACs dense / MACs skipped - 1), with a 95% interval.

    The ratio of times is the median over rounds, within which the executions took turns; the interval is a bootstrap
    over rounds, with a fixed seed. All None where less than 1% is saved.
    """
    if "skipped" not in offline or dense_macs / macs < 1.01:
        return {"saving_realised": None, "saving_low": None, "saving_high": None}
    ratios = np.array(offline["dense"]["samples"]) / np.array(offline["skipped"]["samples"])
    draws = np.random.default_rng(0).choice(ratios, size=(2000, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    value, low, high = ((ratio - 1) / (dense_macs / macs - 1) for ratio in (np.median(ratios), low, high))
    return {"saving_realised": float(value), "saving_low": float(low), "saving_high": float(high)}
