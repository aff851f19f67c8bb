"""Published figures as they are printed, read strictly from published.csv."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from bench.errors import UserError

FILE = "published.csv"
METRICS = {"top1": "top1", "mAP": "map"}  # as printed: as our records call them


@dataclass(frozen=True)
class Published:
    """One published figure, as it is printed.

    Attributes:
        frames: of a clip; "8+12" of a glance and of what follows it; "" where the source does not say, as elsewhere.
        resolution: pixels a side; "224+128 patch" with crops of them.
        metric: "top1" or "mAP".
        value: in per cent.
        gflops: 1e9 multiply-adds, of one view where `views` are printed, else as the source means it; None where it
            prints none.
        views: of a video, where the source prints their number beside its GFLOPs, else 1.
        throughput: videos a second on `hardware`, None where it prints none.
        source: document, and repository and file where it is to be found.
    """

    method: str
    backbone: str
    dataset: str
    frames: str
    resolution: str
    metric: str
    value: float
    gflops: float | None
    views: int
    throughput: float | None
    hardware: str
    source: str


COLUMNS = tuple(f.name for f in dataclasses.fields(Published) if f.name != "views")
GFLOPS = re.compile(r"(\d+(?:\.\d+)?)(?:x(\d+))?")


@cache
def published_figures() -> tuple[Published, ...]:
    """All of them, in the file's order."""
    return parse_published(resources.files("reports").joinpath(FILE).read_text(encoding="utf-8"), FILE)


def parse_published(text: str, name: str) -> tuple[Published, ...]:
    """Figures of a table with exactly the columns of COLUMNS.

    Args:
        name: of the file, for errors.

    Raises:
        UserError: naming the line, where a column is missing or unknown, a number is none or cannot be, or a name or
            source is empty.
    """
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        head = next(reader, [])
        if tuple(head) != COLUMNS:
            raise UserError(f"{name} has the columns {', '.join(head) or 'none'}; expected {', '.join(COLUMNS)}.")
        return tuple(_figure(row, f"{name}, line {reader.line_num}") for row in reader)
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}, is no line of a table ({error}).") from error


def _figure(row: list[str], place: str) -> Published:
    if len(row) != len(COLUMNS):
        raise UserError(f"{place} has {len(row)} cells; expected {len(COLUMNS)}.")
    values = dict(zip(COLUMNS, row, strict=True))
    for name in ("method", "dataset", "source"):
        if not values[name].strip():
            raise UserError(f"{place}: {name} is empty; expected text.")
    if values["metric"] not in METRICS:
        raise UserError(f"{place}: metric is {values['metric']!r}; expected one of {', '.join(METRICS)}.")
    value = _positive(values["value"], f"{place}: value")
    if value > 100:
        raise UserError(f"{place}: value is {value:g}; expected per cent.")
    cost = GFLOPS.fullmatch(values["gflops"])
    if values["gflops"] and cost is None:
        raise UserError(f"{place}: gflops is {values['gflops']!r}; expected a number, or one of a view as in 36x30.")
    throughput = values["throughput"]
    return Published(
        method=values["method"],
        backbone=values["backbone"],
        dataset=values["dataset"],
        frames=values["frames"],
        resolution=values["resolution"],
        metric=values["metric"],
        value=value,
        gflops=_positive(cost[1], f"{place}: gflops") if cost else None,
        views=int(cost[2] or 1) if cost else 1,
        throughput=_positive(throughput, f"{place}: throughput") if throughput else None,
        hardware=values["hardware"],
        source=values["source"],
    )


def _positive(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(f"{place} is {text!r}; expected a number above 0.")
    return value
