"""The table of points as html, csv, md and tex; text from records is escaped in each."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.files import write_text


@dataclass(frozen=True)
class Column:
    """One column: where it comes from, its heading with unit, and how a value is written."""

    name: str
    heading: str
    decimals: int | None = None


COLUMNS = (
    Column("method", "Method"),
    Column("frames", "Frames"),
    Column("ratio", "Target ratio", 2),
    Column("keep", "Frames kept", 0),
    Column("patch", "Crop (pixels)", 0),
    Column("kept_ratio", "Kept ratio", 3),
    Column("map", "mAP (%)", 2),
    Column("top1", "Top-1 (%)", 2),
    Column("top1_low", "from (95%, videos)", 2),
    Column("top1_high", "to", 2),
    Column("gflops", "GFLOPs executed", 4),
    Column("gflops_dense", "GFLOPs dense", 4),
    Column("videos_per_second", "Videos/s offline", 1),
    Column("latency_p90_ms", "Latency p90 (ms)", 2),
    Column("joules_per_video", "Energy (J/video)", 2),
    Column("utilisation", "Utilisation of the roof", 2),
    Column("again", "A/A", 3),
    Column("saving_realised", "Saving realised", 2),
    Column("saving_low", "from (95%)", 2),
    Column("saving_high", "to", 2),
    Column("recall", "Recall of informative frames", 3),
    Column("recall_by_position", "by position alone", 3),
    Column("precision", "Precision", 3),
    Column("frames_looked_at", "Frames looked at", 2),
    Column("cell_ratio", "Cell ratio", 3),
    Column("region_recall", "Recall of the informative region", 3),
    Column("region_recall_by_chance", "by chance", 3),
    Column("region_recall_by_position", "by position alone", 3),
)
MISSING = "-"


def shown(table: pd.DataFrame) -> tuple[Column, ...]:
    """The columns in which a point at hand has a value."""
    return tuple(column for column in COLUMNS if column.name in table and table[column.name].notna().any())


def cells(row: dict[str, Any], columns: tuple[Column, ...] = COLUMNS) -> list[str]:
    """A row of the table as text; a value that does not apply is a dash."""
    return [_cell(row.get(column.name), column) for column in columns]


def _cell(value: Any, column: Column) -> str:
    if value is None or pd.isna(value):
        return MISSING
    return str(value) if column.decimals is None else f"{value:.{column.decimals}f}"


def as_html(columns: tuple[Column, ...], rows: list[list[str]], caption: str) -> str:
    head = "".join(f'<th scope="col">{html.escape(column.heading)}</th>' for column in columns)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f"<table>\n<caption>{html.escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n"
        "</tbody>\n</table>\n"
    )


def as_markdown(columns: tuple[Column, ...], rows: list[list[str]], caption: str) -> str:
    def line(values: list[str]) -> str:
        return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"

    rule = ["---" if column.decimals is None and column.name != "frames" else "---:" for column in columns]
    head = [column.heading for column in columns]
    return "\n".join([caption, "", line(head), line(rule), *(line(row) for row in rows)]) + "\n"


TEX_SPECIALS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def escape_tex(text: str) -> str:
    """Text as LaTeX would print it."""
    return "".join(TEX_SPECIALS.get(character, character) for character in text)


def as_tex(columns: tuple[Column, ...], rows: list[list[str]], caption: str) -> str:
    """A booktabs table."""

    def line(values: list[str]) -> str:
        return " & ".join(escape_tex(value) for value in values) + r" \\"

    alignment = "".join("l" if column.decimals is None and column.name != "frames" else "r" for column in columns)
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escape_tex(caption)}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            line([column.heading for column in columns]),
            r"\midrule",
            *(line(row) for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


Writer = Callable[[tuple[Column, ...], list[list[str]], str], str]
WRITERS: dict[str, Writer] = {"html": as_html, "md": as_markdown, "tex": as_tex}


def write_tables(table: pd.DataFrame, folder: Path, caption: str) -> str:
    """Write points.html, .csv, .md and .tex; returns the html. The csv keeps every column and full precision."""
    columns = shown(table)
    rows = [cells(row, columns) for row in table.to_dict("records")]
    for suffix, write in WRITERS.items():
        write_text(folder / f"points.{suffix}", write(columns, rows, caption))
    write_text(folder / "points.csv", table.to_csv(index=False))
    return as_html(columns, rows, caption)
