"""A table as html, csv, md and tex; text is escaped in each."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
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
        paper: heading in the tex table, which has to fit a page; "" where it is left out, an interval beside its value.
        wide: whether it is prose, of which lines are broken there.
    """

    name: str
    heading: str
    decimals: int | None = None
    upto: str = ""
    best: str = ""
    doubt: str = ""
    timed: bool = False
    paper: str = ""
    wide: bool = False


MISSING, NOISY = "-", "(noisy)"


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
    "[": "{[}",  # which at the beginning of a row would be the last one's height
}
_TEX = str.maketrans(TEX_SPECIALS)


def escape_tex(text: str) -> str:
    """Text as LaTeX would print it, on one line; what is not ASCII stays, as UTF-8, and what is no character goes."""
    plain = "".join(filter(str.isprintable, " ".join(text.split())))
    # Two hyphens in a row would be a dash.
    return re.sub("-(?=-)", "-{}", plain.translate(_TEX))


def as_tex(columns: Sequence[Column], rows: list[list[Cell]], caption: str) -> str:
    """A booktabs table of the columns that a paper has room for; an interval is small, beside the value before it."""

    def line(values: list[str]) -> str:
        return " & ".join(values) + r" \\"

    kept = [number for number, column in enumerate(columns) if column.paper]
    intervals = {number: _intervals_of(columns, number) for number in kept}
    lines = [line([_tex_entry(columns[k], row[k], [row[i] for i in intervals[k]]) for k in kept]) for row in rows]
    noisy = rf" \textsuperscript{{n}}: {NOISY[1:-1]}." * any(NOISY_MARK in text for text in lines)
    return "\n".join(
        [
            r"% UTF-8; needs \usepackage{array,booktabs,graphicx} and \usepackage[T1]{fontenc}.",
            r"\begin{table*}",
            rf"\caption{{{escape_tex(f'{caption}{_shortened(columns)}')}{noisy}}}",
            r"\small\setlength{\tabcolsep}{4pt}",
            # No wider than the page, and no wider than it is.
            r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{''.join(_alignment(columns[k]) for k in kept)}}}",
            r"\toprule",
            line([escape_tex(columns[k].paper) for k in kept]),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


NOISY_MARK = r"\textsuperscript{n}"


def _intervals_of(columns: Sequence[Column], value: int) -> list[int]:
    """The columns right behind a value that have its intervals."""
    return [number for number, _ in takewhile(lambda pair: pair[1].upto, enumerate(columns[value + 1 :], value + 1))]


def _tex_entry(column: Column, cell: Cell, intervals: Sequence[Cell]) -> str:
    noisy = column.timed and cell.text.endswith(f" {NOISY}")
    text, noise = escape_tex(cell.text.removesuffix(f" {NOISY}") if noisy else cell.text), NOISY_MARK * noisy
    # Over videos, then over seeds, which is the one of a mean over seeds.
    known = [each.text.removesuffix(f" {NOISY}") for each in intervals if each.text != MISSING]
    small = rf" {{\scriptsize {escape_tex(known[-1])}}}" if known else ""
    return (rf"\textbf{{{text}}}" if cell.bold else text) + noise + small


def _alignment(column: Column) -> str:
    if column.wide:
        return r">{\scriptsize\raggedright\arraybackslash}p{42mm}"
    return "l" if column.decimals is None else "r"


def _shortened(columns: Sequence[Column]) -> str:
    """What headings of the tex table stand for, and what is small in it."""
    said = [f"{each.paper}: {_within(each.heading)}" for each in columns if each.paper not in ("", each.heading)]
    for number, column in enumerate(columns):
        small = [columns[place].heading for place in _intervals_of(columns, number)]
        said += [f"{column.paper}, small: {', else '.join(reversed(small))}"] if column.paper and small else []
    return f" {'; '.join(said)}." if said else ""


def _within(heading: str) -> str:
    """As it is written in a sentence."""
    return heading[:1].lower() + heading[1:] if heading[1:2].islower() else heading


Writer = Callable[[Sequence[Column], list[list[Cell]], str], str]
WRITERS: dict[str, Writer] = {"html": as_html, "md": as_markdown, "tex": as_tex}


# Rows of a page that opens at once, and of a table that fits a sheet of paper.
MOST = {"html": 2000, "tex": 40}


def write_formats(
    folder: Path,
    name: str,
    columns: Sequence[Column],
    rows: list[list[Cell]],
    caption: str,
    frame: pd.DataFrame,
    order: Sequence[int],
) -> str:
    """Write NAME.html, .md, .tex and .csv, the frame with every column and digit; returns the html.

    Args:
        order: places of the rows, the first ones of which stay where not all have room.

    Raises:
        UserError: naming the file that cannot be written.
    """
    texts = {"csv": as_csv(frame)}
    for suffix, write in WRITERS.items():
        kept, said = rows, caption
        if len(rows) > MOST.get(suffix, len(rows)):
            kept = [rows[place] for place in sorted(order[: MOST[suffix]])]
            said = f"{caption} The {len(kept)} most accurate of {len(rows)} rows, all of which are in {name}.csv."
        texts[suffix] = write(columns, kept, said)
    for suffix, text in texts.items():
        write_text(folder / f"{name}.{suffix}", text)
    return texts["html"]


def as_csv(frame: pd.DataFrame) -> str:
    """Every column and digit; a text that a spreadsheet would compute begins with an apostrophe."""
    texts = frame.select_dtypes(exclude=["number", "bool"]).map(_as_text)
    return str(frame.assign(**texts).to_csv(index=False, lineterminator="\n"))


def _as_text(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
