"""A comparison as text, Markdown or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from reports.comparison.compare import Comparison
from reports.comparison.frontiers import Point
from reports.comparison.sentences import listed
from reports.formats import MISSING, NOISY, escape_markdown

SHOWN = 5  # classes either way that do not stand


def as_json(comparison: Comparison) -> str:
    """All of it, by the names of the fields."""
    return json.dumps(asdict(comparison), indent=1, ensure_ascii=False)


def as_text(comparison: Comparison, markdown: bool = False) -> str:
    """For a reader: the conclusion first, then what it rests on. Names are printed as what they are."""
    c = comparison
    left = f", {c.left_out} left out that not all points have" if c.left_out else ""
    blocks: list[str | list[list[str]]] = [
        c.sentence,
        f"A is {c.a}, B is {c.b}. {c.dataset}, {c.videos} common videos{left}; {c.metric} in per cent.",
        _point_rows(c),
    ]
    if c.matched:
        heading = f"At matched {c.axis}, each interval alone, not corrected for their number:"
        blocks += [heading, _matched_rows(c)]
    if c.difference is not None:
        resampled = "bootstrap" if c.metric == "mAP" else "paired bootstrap"
        blocks.append(f"Intervals: 95%, {resampled}, {c.replicates} replicates; they cover {c.covers}.")
    blocks += _class_blocks(c)
    blocks += [f"Note: {note}" for note in c.notes]
    escape = escape_markdown if markdown else _printable
    written = [
        escape(block) if isinstance(block, str) else _table([[escape(cell) for cell in row] for row in block], markdown)
        for block in blocks
    ]
    return "\n\n".join(written) + "\n"


def _printable(text: str) -> str:
    """On one line, without what a terminal would take for a command."""
    return "".join(character if character.isprintable() else " " for character in text)


def _table(rows: list[list[str]], markdown: bool) -> str:
    """The first row is the heading, the first column text."""
    if markdown:
        lines = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([lines[0], "|---|" + "---:|" * (len(rows[0]) - 1), *lines[1:]])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _point_rows(c: Comparison) -> list[list[str]]:
    rows = [["point", "seeds", c.metric, "GFLOPs", "videos/s", *(["frontier"] if c.axis else [])]]
    for side, points in (("A", c.points_a), ("B", c.points_b)):
        for point in points:
            facts = [
                listed(point.seeds),
                f"{point.accuracy:.2f}",
                f"{point.gflops:.4g}",
                _speed(point),
            ]
            rows.append([f"{side}  {point.name}", *facts, *(["yes" if point.on_frontier else "no"] if c.axis else [])])
    return rows


def _speed(point: Point) -> str:
    if point.videos_per_second is None:
        return MISSING
    return f"{point.videos_per_second:.4g}" + f" {NOISY}" * point.noisy


def _matched_rows(c: Comparison) -> list[list[str]]:
    rows = [[c.axis, "A", "B", "A - B", "from", "to"]]
    means = [c.difference] if c.difference is not None and c.difference.at is None else []
    for each in (*c.matched, *means):
        cost = "mean" if each.at is None else f"{each.at:.4g}"
        differences = [f"{value:+.2f}" for value in (each.value, each.low, each.high)]
        rows.append([cost, f"{each.a:.2f}", f"{each.b:.2f}", *differences])
    return rows


def _class_blocks(c: Comparison) -> list[str | list[list[str]]]:
    """The classes whose difference stands, and the largest of the others."""
    stand = sorted((each for each in c.classes if each.stands), key=lambda each: -each.difference)
    others = sorted((each for each in c.classes if not each.stands), key=lambda each: -each.difference)
    largest = [each for each in others[:SHOWN] if each.difference > 0]
    largest += [each for each in others[-SHOWN:] if each.difference < 0]
    if not stand and not largest:
        return []
    rows = [["class", "videos", "A - B", "A better", "B better", "p", "corrected", "stands"]]
    for each in (*stand, *largest):
        counts = [str(each.videos), f"{each.difference:+.2f}", str(each.better), str(each.worse)]
        rows.append([each.name, *counts, f"{each.p:.2g}", f"{each.p_holm:.2g}", "yes" if each.stands else "no"])
    test = "jackknife over all videos" if c.metric == "mAP" else "exact sign test over the class's videos"
    heading = (
        f"Classes: {len(stand)} of {len(c.classes)} differences stand once corrected for all classes (Holm; {test}, of "
        f"these trainings). Of the others, which do not, up to {SHOWN} either way:"
    )
    return [heading, rows]
