"""A table as html, csv, md and tex; text is escaped in each."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.files import write_text


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: of the frame's column that it shows.
        heading: with its unit.
        decimals: that are written; None for text.
        upto: of an interval, the frame's column with its upper end.
        best: "highest" or "lowest"; "" where no value is better than another.
        doubt: what is known of how far a value may be off by chance: "interval", the columns NAME_low and NAME_high;
            "videos", a mean of shares, one a video; "again", two runs of the same; "" where it is a count.
        timed: whether noise of the clock is in it.
    """

    name: str
    heading: str
    decimals: int | None = None
    upto: str = ""
    best: str = ""
    doubt: str = ""
    timed: bool = False


@dataclass(frozen=True)
class Cell:
    """What stands in a row and column, not yet escaped."""

    text: str
    bold: bool = False


def as_html(columns: Sequence[Column], rows: list[list[Cell]], caption: str) -> str:
    """A table element of its own."""

    def entry(cell: Cell) -> str:
        text = html.escape(cell.text)
        return f"<td><strong>{text}</strong></td>" if cell.bold else f"<td>{text}</td>"

    head = "".join(f'<th scope="col">{html.escape(column.heading)}</th>' for column in columns)
    body = "\n".join(f"<tr>{''.join(map(entry, row))}</tr>" for row in rows)
    return (
        f"<table>\n<caption>{html.escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n"
        "</tbody>\n</table>\n"
    )


def escape_markdown(text: str) -> str:
    """Text as GitHub's Markdown would print it in a cell, on one line."""
    # Between letters and digits an underscore marks nothing.
    return re.sub(r"[\\|*`<>&\[\]~$#]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(text.split()))


def as_markdown(columns: Sequence[Column], rows: list[list[Cell]], caption: str) -> str:
    """A table after its caption."""

    def line(values: list[str]) -> str:
        return f"| {' | '.join(values)} |"

    def entry(cell: Cell) -> str:
        text = escape_markdown(cell.text)
        return f"**{text}**" if cell.bold else text

    rule = ["---" if column.decimals is None else "---:" for column in columns]
    head = [escape_markdown(column.heading) for column in columns]
    body = [line([entry(cell) for cell in row]) for row in rows]
    return "\n".join([escape_markdown(caption), "", line(head), line(rule), *body]) + "\n"


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
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
_TEX = str.maketrans(TEX_SPECIALS)


def escape_tex(text: str) -> str:
    """Text as LaTeX would print it, on one line; what is not ASCII stays, as UTF-8, and what is no character goes."""
    plain = "".join(filter(str.isprintable, " ".join(text.split())))
    # Two hyphens in a row would be a dash.
    return re.sub("-(?=-)", "-{}", plain.translate(_TEX))


def as_tex(columns: Sequence[Column], rows: list[list[Cell]], caption: str) -> str:
    """A booktabs table."""

    def line(values: list[str]) -> str:
        return " & ".join(values) + r" \\"

    def entry(cell: Cell) -> str:
        text = escape_tex(cell.text)
        return rf"\textbf{{{text}}}" if cell.bold else text

    alignment = "".join("l" if column.decimals is None else "r" for column in columns)
    return "\n".join(
        [
            r"% UTF-8; needs \usepackage{booktabs}, \usepackage{graphicx} and \usepackage[T1]{fontenc}.",
            r"\begin{table*}",
            rf"\caption{{{escape_tex(caption)}}}",
            # No wider than the page, and no wider than it is.
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            line([escape_tex(column.heading) for column in columns]),
            r"\midrule",
            *(line([entry(cell) for cell in row]) for row in rows),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


Writer = Callable[[Sequence[Column], list[list[Cell]], str], str]
WRITERS: dict[str, Writer] = {"html": as_html, "md": as_markdown, "tex": as_tex}


def write_formats(
    folder: Path, name: str, columns: Sequence[Column], rows: list[list[Cell]], caption: str, frame: pd.DataFrame
) -> str:
    """Write NAME.html, .md, .tex and .csv, the frame with every column and digit; returns the html.

    Raises:
        UserError: naming the file that cannot be written.
    """
    texts = {suffix: write(columns, rows, caption) for suffix, write in WRITERS.items()} | {"csv": as_csv(frame)}
    for suffix, text in texts.items():
        write_text(folder / f"{name}.{suffix}", text)
    return texts["html"]


def as_csv(frame: pd.DataFrame) -> str:
    """Every column and digit; a text that a spreadsheet would compute begins with an apostrophe."""
    texts = frame.select_dtypes(exclude=["number", "bool"]).map(_as_text)
    return str(frame.assign(**texts).to_csv(index=False, lineterminator="\n"))


def _as_text(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
