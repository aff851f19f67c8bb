"""Ours beside published figures of the same kind, and why they may differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.data.known import KNOWN
from bench.experiment import Experiment
from bench.methods import find_method
from reports.formats import Column, write_formats
from reports.published.figures import METRICS, Published, published_figures
from reports.published.kinds import NAMES, OF_TRAINING, Kind, Printed, kind_of, kind_of_published
from reports.rows import rows_in
from reports.seeds import JOINED, merge_seeds
from reports.tables import by_accuracy, cells

TABLE = (
    Column("method", "Method", paper="Method"),
    Column("point", "Point", paper="Point"),
    Column("published_as", "Published as", paper="Published as"),
    Column("backbone", "Network", paper="Network"),
    Column("frames", "Frames", 0),
    Column("size", "Size (pixels)", 0),
    Column("metric", "Metric"),
    Column("ours", "Ours (%)", 2, paper="Ours (%)"),
    Column("ours_low", "95% over videos", 2, upto="ours_high"),
    Column("seeds", "Seeds", 0, paper="Seeds"),
    Column("published", "Published (%)", 2, paper="Published"),
    Column("difference", "Difference (points)", 2, paper="Difference"),
    Column("gflops", "GFLOPs, ours", 2, paper="GFLOPs"),
    Column("published_gflops", "GFLOPs, published", 2, paper="theirs"),
    Column("why", "Why it may differ", paper="Why it may differ", wide=True),
    Column("source", "Source", paper="Source", wide=True),
)


def beside_published(
    table: pd.DataFrame, experiments: Mapping[str, Experiment], figures: Iterable[Published] | None = None
) -> pd.DataFrame:
    """A row for each pair of a point of ours and a published figure of the same kind; empty where there is none.

    Args:
        table: of one data set's records, as load_records gives it.
        experiments: by experiment_id, those of these records among them.
        figures: those of the package where None.
    """
    known: dict[tuple[Kind, str], list[Published]] = {}
    for figure in published_figures() if figures is None else figures:
        kind = kind_of_published(figure)
        if kind is not None:
            known.setdefault((kind, METRICS[figure.metric]), []).append(figure)
    kinds = {name: kind for name in table["experiment_id"] if (kind := kind_of(experiments[name]))}
    rows = []
    for row in rows_in(merge_seeds(table[table["experiment_id"].isin(list(kinds))])):
        # Of a row of several seeds the first stands for all: they differ in nothing else.
        name = row["experiment_id"].split(JOINED)[0]
        for metric in ("map", "top1"):
            if pd.notna(row.get(metric)):
                alike = known.get((kinds[name], metric), [])
                rows += [_pair(row, experiments[name], figure, metric) for figure in alike]
    return pd.DataFrame(rows, columns=[name for column in TABLE for name in (column.name, column.upto) if name])


def _pair(row: Mapping[str, Any], experiment: Experiment, figure: Published, metric: str) -> dict[str, Any]:
    return {
        "method": row["method"],
        "point": row["point"],
        "published_as": figure.method,
        "backbone": figure.backbone,
        "frames": experiment.evaluation.frames,
        "size": experiment.data.size,
        "metric": figure.metric,
        "ours": row[metric],
        "ours_low": row.get(f"{metric}_low"),
        "ours_high": row.get(f"{metric}_high"),
        "seeds": row["seeds"],
        "published": figure.value,
        "difference": row[metric] - figure.value,
        "gflops": row["gflops"],
        "published_gflops": None if figure.gflops is None else figure.gflops * figure.views,
        "why": "; ".join(reasons(row, experiment, figure)) or "nothing that is known of both",
        "source": figure.source,
    }


def reasons(row: Mapping[str, Any], experiment: Experiment, figure: Published) -> list[str]:
    """What is known to differ between a point and a published figure of its kind, ours first."""
    printed = NAMES[figure.source][figure.method]
    found = [
        _weights(experiment, printed),
        _epochs(experiment, printed),
        _views(experiment, printed),
        *_videos(row, experiment),
        _decisions(experiment, printed),
        _settings(experiment, printed),
        "weights of the best validation" if experiment.evaluation.weights == "best" else "",
        f"their multiply-adds are {printed.counts}" if printed.counts and figure.gflops is not None else "",
        "a single seed" if row["seeds"] == 1 else "",
    ]
    return [reason for reason in found if reason]


def _weights(experiment: Experiment, printed: Printed) -> str:
    digest = experiment.training.weights
    if not digest:
        return f"trained from random weights, theirs from {printed.weights}"
    return f"trained from weights {digest}, theirs from {printed.weights}"


def _epochs(experiment: Experiment, printed: Printed) -> str:
    own, theirs = experiment.training.epochs, printed.epochs
    if theirs is None:
        return f"{own} epochs, theirs unknown"
    return "" if own == theirs else f"{own} epochs instead of {theirs}"


def _views(experiment: Experiment, printed: Printed) -> str:
    own = (experiment.evaluation.clips, experiment.evaluation.crops)
    if own == (printed.clips, printed.crops):
        return ""
    clips, crops = ("unknown" if count is None else str(count) for count in (printed.clips, printed.crops))
    return f"clips x crops {own[0]} x {own[1]}, theirs {clips} x {crops}"


def _videos(row: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """Where they are not as many as the data set was published with."""
    whole = KNOWN[experiment.data.dataset].videos
    counts = {"validation": (row["videos"], whole["val"]), "training": (experiment.data.train_clips, whole["train"])}
    return [f"{own} of {all_} {split} videos" for split, (own, all_) in counts.items() if own != all_]


def _decisions(experiment: Experiment, printed: Printed) -> str:
    drawn = experiment.evaluation.decisions == "noisy"
    if drawn == printed.drawn:
        return ""
    return "decisions are drawn, theirs are not" if drawn else "decisions are the likeliest, theirs are drawn"


def _settings(experiment: Experiment, printed: Printed) -> str:
    """Of the training, where they are not the method's own."""
    theirs = dataclasses.asdict(find_method(printed.method).settings(**printed.settings))
    own = dataclasses.asdict(experiment.model.settings)
    other = [f"{name} {own[name]}" for name in own if name in OF_TRAINING and own[name] != theirs[name]]
    return f"trained with {', '.join(other)}" if other else ""


def write_published(table: pd.DataFrame, folder: Path, title: str, experiments: Mapping[str, Experiment]) -> str:
    """Write published.html, .md, .tex and .csv; returns the html. Where nothing matches, writes nothing: "".

    Args:
        table: of one data set's records, as load_records gives it.
        title: of the data set.
        experiments: by experiment_id, those of these records among them.

    Raises:
        UserError: naming the file that cannot be written.
    """
    pairs = beside_published(table, experiments)
    if pairs.empty:
        return ""
    caption = (
        f"{title}, ours beside published figures of the same method, network, frames, size and metric. Difference: "
        "ours less published. Our GFLOPs are 1e9 multiply-adds executed, in all views; published ones are as printed."
    )
    columns = [column for column in TABLE if pairs[column.name].notna().any()]
    rows = [cells(row, columns) for row in pairs.to_dict("records")]
    return write_formats(folder, "published", columns, rows, caption, pairs, by_accuracy(pairs["ours"]))
