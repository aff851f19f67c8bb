"""Published figures with their cost, for figures to draw beside ours."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.data.known import KNOWN
from reports.published.figures import METRICS, Published, published_figures
from reports.published.kinds import BY_VIEW, DATASETS, NAMES
from reports.seeds import JOINED


def published_points(dataset: str) -> pd.DataFrame:
    """Published figures of a data set with their cost, to be drawn beside ours.

    Args:
        dataset: our name of it.

    Returns:
        A row a figure, sorted, its sources joined where several print the same: method, backbone and frames as printed,
        gflops (1e9 multiply-adds of a video; of all views where their number is known), value (per cent), metric
        ("top1" or "map", the data set's own alone), source. Empty where none is known.
    """
    columns = ["method", "backbone", "frames", "gflops", "value", "metric", "source"]
    rows: dict[tuple[Any, ...], list[str]] = {}
    for figure in published_figures():
        metric, gflops = METRICS[figure.metric], _of_all_views(figure)
        if DATASETS.get(figure.dataset) == dataset and metric == KNOWN[dataset].metric and gflops is not None:
            key = (figure.method, figure.backbone, figure.frames, gflops, figure.value, metric)
            rows.setdefault(key, []).append(figure.source)
    return pd.DataFrame([(*key, JOINED.join(rows[key])) for key in sorted(rows)], columns=columns)


def _of_all_views(figure: Published) -> float | None:
    """None where it is printed of one view, and of how many the value is nobody knows."""
    printed = NAMES.get(figure.source, {}).get(figure.method)
    if figure.gflops is None or printed is None or printed.counts != BY_VIEW:
        return None if figure.gflops is None else figure.gflops * figure.views
    return None if printed.clips is None or printed.crops is None else figure.gflops * printed.clips * printed.crops
