"""The table of a data set's points: its columns, what is bold in them, its caption.

Points that differ in the seed of their training alone are one row. Bold is the best value of a column, and every one
that cannot be told from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.experiment import Experiment
from bench.files import write_text
from bench.methods import METHODS
from reports.formats import MISSING, NOISY, Cell, Column, as_csv, write_formats
from reports.rows import rows_in
from reports.seeds import is_missing, merge_seeds, wilson


def _share(name: str, heading: str) -> Column:
    return Column(name, heading, 3, best="highest", doubt="videos")


COLUMNS = (
    Column("method", "Method", paper="Method"),
    Column("device", "Timed on", paper="Timed on"),
    Column("frames", "Frames", 0, paper="Frames"),
    Column("ratio", "Target ratio", 2, paper="Target"),
    Column("keep", "Frames kept", 0, paper="Seen"),
    Column("patch", "Crop (pixels)", 0, paper="Crop"),
    Column("kept_ratio", "Kept ratio", 3, paper="Kept"),
    Column("map", "mAP (%)", 2, best="highest", doubt="interval", paper="mAP (%)"),
    Column("map_low", "95% over videos", 2, upto="map_high"),
    Column("map_seeds_low", "95% over seeds (t)", 2, upto="map_seeds_high"),
    Column("top1", "Top-1 (%)", 2, best="highest", doubt="interval", paper="Top-1 (%)"),
    Column("top1_low", "95% over videos (Wilson)", 2, upto="top1_high"),
    Column("top1_seeds_low", "95% over seeds (t)", 2, upto="top1_seeds_high"),
    Column("videos", "Videos", 0),
    Column("seeds", "Seeds", 0, paper="Seeds"),
    Column("gflops", "GFLOPs executed", 4, best="lowest", paper="GFLOPs"),
    Column("gflops_dense", "GFLOPs dense", 4),
    Column("videos_per_second", "Videos/s offline", 1, best="highest", doubt="interval", timed=True, paper="Videos/s"),
    Column("latency_p90_ms", "Latency p90 (ms)", 2, best="lowest", doubt="again", timed=True, paper="p90 (ms)"),
    Column("joules_per_video", "Energy (J/video)", 2, best="lowest", doubt="again", timed=True, paper="J/video"),
    Column("utilisation", "Utilisation of the roof", 2, timed=True),
    Column("again", "A/A", 3),
    Column("saving_realised", "Saving realised", 2, best="highest", doubt="interval", timed=True, paper="Saving"),
    Column("saving_low", "95% over rounds", 2, upto="saving_high", timed=True),
    _share("recall", "Recall of informative frames"),
    Column("recall_by_position", "Recall by position alone", 3),
    _share("precision", "Precision"),
    Column("frames_looked_at", "Frames looked at", 2),
    Column("cell_ratio", "Cell ratio", 3, paper="Cells"),
    _share("region_recall", "Recall of the informative region"),
    Column("region_recall_by_chance", "Region recall by chance", 3),
    Column("region_recall_by_position", "Region recall by position alone", 3),
)
# Where the ends of an interval are not called as its value is.
ENDS = {"saving_realised": "saving"}


def _is_noisy(row: Mapping[str, Any]) -> bool:
    return not is_missing(row.get("noisy")) and bool(row["noisy"])


# Bold -----------------------------------------------------------------------------------------------------------------


def best_of(points: Sequence[Mapping[str, Any]], column: Column) -> set[int]:
    """Positions of the rows whose value is the best of a column, or cannot be told from it.

    It cannot where their spans overlap: the 95% interval where one is known, over videos and over seeds, whichever
    reaches further; of throughput, the quartiles; of other times, what two runs of the same were apart; of a recall or
    precision, Wilson's interval of as many videos, which is no narrower than that of a mean of shares. Equal when
    written, they cannot either. Times are compared within a device and dtype; noisy ones, and what was told the
    answer, rank nothing, nor do tiny trials; nor does a value without another to stand against.
    """
    rivals: dict[tuple[Any, ...], list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    for position, row in enumerate(points):
        if column.best and not is_missing(row.get(column.name)) and _ranks(row, column):
            rivals[(row.get("device"), row.get("dtype")) if column.timed else ()].append((position, row))
    return {position for rows in rivals.values() if len(rows) > 1 for position in _untold(rows, column)}


def _ranks(row: Mapping[str, Any], column: Column) -> bool:
    told = row.get("name") in METHODS and METHODS[row["name"]].answers
    return not told and not row.get("trial", False) and not (column.timed and _is_noisy(row))


def _untold(rows: list[tuple[int, Mapping[str, Any]]], column: Column) -> list[int]:
    choose = max if column.best == "highest" else min
    _, best = choose(rows, key=lambda pair: pair[1][column.name])
    low, high = _span(best, column)
    spans = [(position, row, _span(row, column)) for position, row in rows]
    written = _number(best[column.name], column)
    return [
        position
        for position, row, (start, end) in spans
        if (start <= high and end >= low) or _number(row[column.name], column) == written
    ]


def _span(row: Mapping[str, Any], column: Column) -> tuple[float, float]:
    """Between which numbers the value may lie."""
    value, ends = row[column.name], ENDS.get(column.name, column.name)
    spans = [(value, value), (row.get(f"{column.name}_seeds_low"), row.get(f"{column.name}_seeds_high"))]
    if column.doubt == "interval":
        spans.append((row.get(f"{ends}_low"), row.get(f"{ends}_high")))
    if column.doubt == "videos" and not is_missing(row.get("videos")):
        spans.append(wilson(min(max(value, 0.0), 1.0), row["videos"]))
    if column.doubt == "again" and not is_missing(row.get("again")):
        apart = abs(row["again"] - 1)
        spans.append((value * (1 - apart), value * (1 + apart)))
    known = [span for span in spans if not any(map(is_missing, span))]
    return min(low for low, _ in known), max(high for _, high in known)


# Cells ----------------------------------------------------------------------------------------------------------------


def shown(table: pd.DataFrame) -> tuple[Column, ...]:
    """The columns in which a point at hand has a value; of accuracy the data set's own metric, mAP where it has one."""
    known = [column for column in COLUMNS if column.name in table and table[column.name].notna().any()]
    names = {column.name for column in known}
    devices = table["device"].nunique() if "device" in table else 0
    return tuple(
        column
        for column in known
        if not ("map" in names and column.name.startswith("top1")) and (column.name != "device" or devices > 1)
    )


def cells(row: Mapping[str, Any], columns: Sequence[Column] = COLUMNS, best: Sequence[str] = ()) -> list[Cell]:
    """A row of the table; a value that does not apply is a dash.

    Args:
        best: names of the columns in which the row is bold.
    """
    return [Cell(text_of(row, column), column.name in best) for column in columns]


def rows_of(points: pd.DataFrame, columns: Sequence[Column]) -> list[list[Cell]]:
    """All of them, with what is best in each column."""
    rows = rows_in(points)
    winners = {column.name: best_of(rows, column) for column in columns}
    return [
        cells(row, columns, [name for name, positions in winners.items() if position in positions])
        for position, row in enumerate(rows)
    ]


def text_of(row: Mapping[str, Any], column: Column) -> str:
    value, end = row.get(column.name), row.get(column.upto)
    if is_missing(value) or (column.upto and is_missing(end)):
        return MISSING
    text = _number(value, column) + (f" to {_number(end, column)}" if column.upto else "")
    return f"{text} {NOISY}" if column.timed and _is_noisy(row) else text


def _number(value: Any, column: Column) -> str:
    return str(value) if column.decimals is None else f"{value:.{column.decimals}f}"


# The table ------------------------------------------------------------------------------------------------------------


def describe(points: pd.DataFrame, rows: list[list[Cell]], title: str, experiments: Sequence[Experiment]) -> str:
    """The caption: what was counted, looked at and timed, over which seeds, and what bold means."""
    metric = metric_in(points)
    sentences = [
        f"{title}, {_listed(points['videos'])} validation videos.",
        _intervals(points, metric),
        _seeds(points),
        f"GFLOPs are 1e9 multiply-adds of a video, executed, in all its views{_views(experiments)}.",
        f"Timed on {_listed(points['device'])}." if "device" in points else "",
    ]
    if any(cell.bold for row in rows for cell in row):
        sentences.append(
            "Bold: the best of a column, and what cannot be told from it: 95% intervals overlap, of videos/s quartiles "
            "do, other times are no further apart than two runs of the same (A/A)."
        )
    told = rows_in(points.filter(["name", "noisy"]))
    if any(map(_is_noisy, told)):
        sentences.append("Noisy times rank nothing.")
    if any(row.get("name") in METHODS and METHODS[row["name"]].answers for row in told):
        sentences.append("Neither do oracles, which are told the answer.")
    return " ".join(sentence for sentence in sentences if sentence)


def _intervals(points: pd.DataFrame, metric: str) -> str:
    name = "mAP" if metric == "map" else "Top-1"
    if f"{metric}_low" in points and points[f"{metric}_low"].notna().any():
        return f"{name} with its 95% interval over these videos{'' if metric == 'map' else ' (Wilson)'}."
    return f"{name}; no interval over videos is known."


def _seeds(points: pd.DataFrame) -> str:
    if points["seeds"].max() == 1:
        seeds = points["seed"].unique() if "seed" in points else []
        return f"One seed of training each ({_listed(seeds)})." if len(seeds) else ""
    return "Rows of several seeds of training are means over them, with the 95% interval over seeds (Student's t)."


def _views(experiments: Sequence[Experiment]) -> str:
    """Clips, crops and pixels."""
    kinds = {(point.evaluation.clips, point.evaluation.crops, point.data.size) for point in experiments}
    texts = [
        f"{clips} {'clip' if clips == 1 else 'clips'} x {crops} {'crop' if crops == 1 else 'crops'} of {size} x {size} "
        "pixels"
        for clips, crops, size in sorted(kinds)
    ]
    return f" ({', '.join(texts)})"


def _listed(values: Any) -> str:
    return ", ".join(map(str, sorted({value for value in values if not is_missing(value)})))


def metric_in(points: pd.DataFrame) -> str:
    """The column of the data set's own metric."""
    return "map" if "map" in points and points["map"].notna().any() else "top1"


def by_accuracy(values: pd.Series) -> list[int]:
    """Places of the rows, the most accurate first."""
    return [int(place) for place in np.argsort(-values.to_numpy(float), kind="stable")]


def write_tables(table: pd.DataFrame, folder: Path, title: str, experiments: Mapping[str, Experiment]) -> str:
    """Write points.html, .md, .tex and .csv, a row a point, and records.csv, a row a record; returns the html.

    Args:
        table: of one data set's records, as load_records gives it.
        title: of the data set.
        experiments: by experiment_id, those of these records among them.

    Raises:
        UserError: naming the file that cannot be written.
    """
    points = merge_seeds(table)
    columns = shown(points)
    rows = rows_of(points, columns)
    write_text(folder / "records.csv", as_csv(table))
    caption = describe(points, rows, title, [experiments[name] for name in table["experiment_id"]])
    return write_formats(folder, "points", columns, rows, caption, points, by_accuracy(points[metric_in(points)]))
