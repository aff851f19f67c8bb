"""The suite's questions, each with the points that answer it, a curve, and an answer computed from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from reports.findings import RIVALRIES, samplers, told_apart

CLAUSES = 6  # of an answer


@dataclass(frozen=True)
class Question:
    """A page of the report.

    Attributes:
        slug: its file.
        rows: the points of a data set that answer it; none where they do not.
        answer: one sentence computed from those.
        x: the column that the curve is drawn over; "" for none, where accuracy against GFLOPs is the picture.
        label: of that axis.
        lines: of each point the name of the line that it is on, which joins what differs in the question alone.
    """

    slug: str
    title: str
    text: str
    rows: Callable[[pd.DataFrame], pd.DataFrame]
    answer: Callable[[pd.DataFrame], str]
    x: str = ""
    label: str = ""
    lines: Callable[[pd.DataFrame], pd.Series] = lambda rows: rows["method"]


def _varying(table: pd.DataFrame, column: str, among: list[str]) -> pd.DataFrame:
    """Points whose method has several values of a column while these others are the same."""
    known = table[table[column].notna()]
    keys = known[["method", *among]].astype(object).where(known[["method", *among]].notna(), None)
    several = known.groupby([keys[name].map(repr) for name in keys])[column].transform("nunique")
    return known[several > 1]


def _lines(rows: pd.DataFrame, names: pd.Series, texts: dict[str, str]) -> pd.Series:
    """A name for each point: its method's, and where points of that name vary in one of these columns, its value."""
    found = names.astype(str)
    for column, text in texts.items():
        several = rows.groupby(names)[column].transform("nunique", dropna=False) > 1
        said = rows[column].map(lambda value, text=text: "" if pd.isna(value) else text.format(value))
        found = found.where(~several, found + said)
    return found


FRAMES, RATIO, KEEP, PATCH = ", {:.0f} frames", ", ratio {:g}", ", {:.0f} kept", ", {:.0f} pixels"


def _frames(table: pd.DataFrame) -> pd.DataFrame:
    return _varying(table, "frames", ["ratio", "keep", "patch"])


def _lines_over_frames(rows: pd.DataFrame) -> pd.Series:
    return _lines(rows, rows["method"], {"ratio": RATIO, "keep": KEEP, "patch": PATCH})


def _ends(rows: pd.DataFrame, by: str) -> tuple[pd.Series, pd.Series]:
    """The points with the least and the most."""
    ordered = rows.sort_values(by, kind="stable")
    return ordered.iloc[0], ordered.iloc[-1]


def _change(before: pd.Series, after: pd.Series) -> str:
    """What the second point has over the first one, and whether their intervals tell them apart."""
    doubt = " (their intervals overlap)" if told_apart(before, after) is False else ""
    change = after["value"] - before["value"]
    return f"{'gains' if change >= 0 else 'loses'} {abs(change):.1f} points of {after['metric']}{doubt}"


def _answer_frames(rows: pd.DataFrame) -> str:
    parts = []
    for line, own in islice(rows.groupby(_lines_over_frames(rows), sort=False), CLAUSES + 1):
        few, many = _ends(own, "frames")
        parts.append(
            f"from {few['frames']} to {many['frames']} frames {line} {_change(few, many)}, for "
            f"{many['gflops'] / few['gflops']:.1f} times the multiply-adds"
        )
    return _sentence(parts)


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts[:CLAUSES]) + ("; and more below" if len(parts) > CLAUSES else "")
    return f"{text[:1].upper()}{text[1:]}."


def _ratios(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[table["kept_ratio"].notna()]
    return rows[rows.groupby("method")["kept_ratio"].transform("nunique") > 1]


def _trained_ratio(rows: pd.DataFrame) -> pd.Series:
    """The ratio that was aimed at, of points that keep a number of frames whatever it was."""
    return rows["ratio"].where(rows["keep"].notna())


def _lines_over_ratios(rows: pd.DataFrame) -> pd.Series:
    texts = {"frames": FRAMES, "patch": PATCH, "trained": RATIO}
    return _lines(rows.assign(trained=_trained_ratio(rows)), rows["method"], texts)


def _answer_ratios(rows: pd.DataFrame) -> str:
    parts = []
    keys = [rows["method"], rows["frames"], rows["patch"], _trained_ratio(rows)]
    for (method, frames, *_), own in rows.groupby(keys, sort=False, dropna=False):
        least, most = _ends(own, "kept_ratio")
        if len(own) > 1:
            parts.append(
                f"keeping {least['kept_ratio']:.2f} instead of {most['kept_ratio']:.2f} of its {frames} frames "
                f"{method} {_change(most, least)} and executes {1 - least['gflops'] / most['gflops']:.0%} fewer "
                "multiply-adds"
            )
    return _sentence(parts) if parts else "No method has points at two ratios of the same number of frames."


def _spatial(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["cell_ratio"].notna()] if "cell_ratio" in table else table.iloc[:0]


def _lines_over_cells(rows: pd.DataFrame) -> pd.Series:
    """The share of cells that was aimed at is a setting, which labels say."""
    names = rows["method"].str.replace(r", cell_ratio [^,]+", "", regex=True)
    return _lines(rows, names, {"frames": FRAMES, "ratio": RATIO, "keep": KEEP})


def _answer_spatial(rows: pd.DataFrame) -> str:
    parts = []
    for row in rows.sort_values("gflops").to_dict("records"):
        text = f"{row['method']} {row['point']} computes {row['cell_ratio']:.2f} of the cells for {row['value']:.1f}%"
        if row.get("region_recall") is not None and not pd.isna(row["region_recall"]):
            text += (
                f", {row['region_recall']:.2f} of the informative region ({row['region_recall_by_position']:.2f} by "
                "position alone)"
            )
        parts.append(text)
    return _sentence(parts)


def _samplers(table: pd.DataFrame) -> pd.DataFrame:
    names = {name for pair in RIVALRIES for side in pair for name in side}
    return table[table["name"].isin(names)]


def _ablations(table: pd.DataFrame) -> pd.DataFrame:
    """AFNet's points at one number of frames and one ratio that differ in other settings: the commonest such group."""
    rows = table[(table["name"] == "afnet") & table["keep"].isna()]
    if rows.empty:
        return rows
    groups = rows.groupby(["frames", "ratio", "backbone"], dropna=False)
    settings = groups["method"].nunique()
    return rows[groups.ngroup() == settings.argmax()] if settings.max() > 1 else rows.iloc[:0]


def _answer_ablations(rows: pd.DataFrame) -> str:
    best, worst = rows.loc[rows["value"].idxmax()], rows.loc[rows["value"].idxmin()]
    told = [told_apart(best, row) for _, row in rows.iterrows()]
    fewer = sum(apart is True for apart in told)
    return (
        f"Of {len(rows)} settings at the same frames and ratio {best['method']} is best with {best['value']:.1f}% and "
        f"{worst['method']} worst with {worst['value']:.1f}%; {fewer} can be told from the best by their intervals."
    )


QUESTIONS = (
    Question(
        "frames",
        "Frames",
        "What do more frames buy, and at what cost?",
        _frames,
        _answer_frames,
        "frames",
        "frames of a clip",
        _lines_over_frames,
    ),
    Question(
        "ratios",
        "Ratios",
        "How much can be left out before accuracy falls?",
        _ratios,
        _answer_ratios,
        "kept_ratio",
        "share of (block, frame) pairs computed in full, measured",
        _lines_over_ratios,
    ),
    Question(
        "spatial",
        "Space",
        "What does it save, and cost, to compute only a part of the picture?",
        _spatial,
        _answer_spatial,
        "cell_ratio",
        "share of the cells of kept frames computed, measured",
        _lines_over_cells,
    ),
    Question(
        "samplers",
        "Samplers",
        "Which sampler looks at the right frames and places, and does it beat its controls?",
        _samplers,
        samplers,
    ),
    Question("ablations", "Ablations", "Which of AFNet's parts and settings matter?", _ablations, _answer_ablations),
)


def answered(table: pd.DataFrame) -> list[tuple[Question, pd.DataFrame]]:
    """The questions that a data set's points answer, with those points."""
    found = [(question, question.rows(table)) for question in QUESTIONS]
    return [(question, rows) for question, rows in found if len(rows) > 1 and np.isfinite(rows["value"]).all()]
