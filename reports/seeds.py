"""Several seeds of one point: their mean, how far it may be off, and what cannot be a mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from bench.settings import KNOBS
from reports.rows import rows_in


def is_missing(value: Any) -> bool:
    """Whether a cell of a frame has nothing in it."""
    # NaN alone differs from itself.
    return value is None or bool(value != value)


def wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95% interval of a share over n videos (Wilson, 1927).

    Unlike share +- z sqrt(share (1 - share) / n) it stays in [0, 1] and has a width at 0 and 1.
    """
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # Rounding must not put the share itself outside.
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


# Beside its label, what tells a point from others that differ in more than the seed of their training.
IDENTITY = ("dataset", "name", "backbone", "frames", "trained_frames", *KNOBS)
# 97.5% quantiles of Student's t with 1 to 10 degrees of freedom.
T975 = (12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814)
JOINED = "; "  # texts of several seeds
# Measured, each seed its own: their mean has an interval over seeds.
MEASURED = ("map", "top1", "gflops", "recall", "precision", "region_recall")
# By a clock: means over one device alone.
TIMED = ("videos_per_second", "latency_p90_ms", "joules_per_video", "utilisation", "saving_")


def t_quantile(freedom: int, z: float = 1.959964) -> float:
    """Of Student's t, at 97.5%, within 2e-5 (Abramowitz and Stegun, 26.7.5, beyond ten degrees of freedom)."""
    if freedom <= len(T975):
        return T975[freedom - 1]
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def seeds_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the mean of two values or more, one a seed (Student's t)."""
    half = t_quantile(len(values) - 1) * stdev(values) / len(values) ** 0.5
    return fmean(values) - half, fmean(values) + half


def merge_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """One row for points that differ in the seed of their training alone, in the order of the first of each.

    Numbers are means; `seeds` says of how many, `seed` which, and NAME_seeds_low and NAME_seeds_high hold the 95%
    interval over them (t). Ends of other intervals are the outermost; of top-1's, Wilson's of the mean, over the
    videos of one seed, which all seeds share. A number that a seed lacks is missing, as are times of several devices.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows_in(table):
        own = (None if is_missing(row.get(name)) else row[name] for name in IDENTITY)
        key = (row["point_id"],) if "point_id" in row else (_without_seed(row), *own)
        groups[key].append(row)
    merged = []
    for rows in groups.values():
        seeds = [row.get("seed") for row in rows]
        # The same seed twice: they differ in something that no label tells.
        merged += [_merged(rows)] if len(set(seeds)) == len(rows) else [{**row, "seeds": 1} for row in rows]
    return pd.DataFrame(merged)


def _without_seed(row: Mapping[str, Any]) -> str:
    parts = str(row["method"]).split(", ")
    return ", ".join(part for part in parts if part != f"training.seed {row.get('seed')}")


def _merged(rows: list[dict[str, Any]]) -> dict[str, Any]:
    label = _without_seed(rows[0])
    if len(rows) == 1:
        return {**rows[0], "method": label, "seeds": 1}
    row = {name: _together(name, [other[name] for other in rows]) for name in rows[0]}
    row |= {"method": label, "seed": " ".join(str(other["seed"]) for other in rows), "seeds": len(rows)}
    for name in MEASURED:
        values: list[Any] = [other.get(name) for other in rows]
        if not any(map(is_missing, values)):
            low, high = seeds_interval(values)
            accuracy = name in ("top1", "map")
            row[f"{name}_seeds_low"] = max(low, 0.0) if accuracy else low
            row[f"{name}_seeds_high"] = min(high, 100.0) if accuracy else high
    if not is_missing(row.get("top1_low")):
        row["top1_low"], row["top1_high"] = (100 * end for end in wilson(row["top1"] / 100, row["videos"]))
    if len({other.get("device") for other in rows}) > 1:
        row |= {name: None for name in row if name.startswith(TIMED)}
    return row


def _together(name: str, values: list[Any]) -> Any:
    """A field of several seeds as one."""
    present = [value for value in values if not is_missing(value)]
    if not present or (len(set(present)) == 1 and len(present) == len(values)):
        return values[0]
    if all(isinstance(value, str) for value in present):
        return JOINED.join(dict.fromkeys(present))
    if name == "noisy":
        return any(present)
    if len(present) < len(values):
        return None
    if name == "again":
        return max(values, key=lambda ratio: abs(ratio - 1))
    if name == "videos" or name.endswith("_low"):
        return min(values)
    return max(values) if name.endswith("_high") else fmean(values)
