"""The page of all pairs: which points it reads, what may be concluded of all pairs together, and a row for each.

Reading samples and drawing replicates takes long where there are many: the page takes no more than SECONDS as they are
estimated from counts, never by a clock, so that the same records give the same page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bench.data.catalogue import find_dataset
from bench.errors import UserError
from bench.words import counted
from reports.axes import COSTS
from reports.comparison.all_pairs import Pair, all_pairs
from reports.labels import without_trained_frames
from reports.load import Records
from reports.statistics import ALPHA, FEWEST_REPLICATES, REPLICATES
from reports.trials import without_trials

SECONDS = 20.0  # of one core, for all data sets of a report
POINTS = (8, 4, 2)  # of a method: as many as can be afforded
MATRIX = 12  # methods that a matrix is drawn of, beyond which nobody reads it
# Seconds, measured on one slow core (2.4 GHz): of a file of samples, of each of its logits; of a video's 10,000
# replicates, and of each point in them; of a logit in a replicate, where mAP is ranked anew in each.
FILE, LOGIT, VIDEO, ANSWER, RANK = 3e-3, 3e-8, 8e-5, 4e-7, 4e-9
MISSING = "-"


@dataclass(frozen=True)
class Choice:
    """What of a data set is compared.

    Attributes:
        methods: their names, the most accurate first.
        points: of them, a row a point as `reports.load.pool` gives it.
        left: in words, what was left out to be quick, besides points that another one of their method beats; "" where
            nothing was.
        whole: whether points that others of their method beat are there too, so that choosing can be looked at.
    """

    methods: list[str]
    points: pd.DataFrame
    left: str = ""
    whole: bool = False


def choose(records: Records, dataset: str, seconds: float) -> Choice:
    """All points of a data set, or as many as take so many seconds.

    Where all take longer, first only those that no other of their method beats are taken, then fewer points of a
    method, then fewer methods: those with the most accurate points stay.
    """
    table = without_trials(records.pooled[records.pooled["dataset"] == dataset])
    methods = _methods(table)
    frontiers = {name: rows[COSTS[0].unbeaten(rows)] for name, rows in methods.items()}
    classes = {str(result.values["experiment_id"]): result.experiment.data.classes for result in records.results}
    most = most_methods(FEWEST_REPLICATES if table["metric"].iloc[0] == "mAP" else REPLICATES)
    if len(methods) <= most:
        if _seconds(_rows(methods), classes) + _halving(table) <= seconds:
            return Choice(list(methods), _rows(methods), whole=True)
        if _seconds(_rows(frontiers), classes) <= seconds:
            return Choice(list(methods), _rows(frontiers))
    for count, points in _sizes(min(len(methods), most)):
        chosen = {name: _spread(frontiers[name], points) for name in list(methods)[:count]}
        if _seconds(_rows(chosen), classes) <= seconds:
            return Choice(list(chosen), _rows(chosen), _left(len(methods), count, points))
    return Choice(list(methods), table.iloc[:0])


def most_methods(replicates: int) -> int:
    """Beyond which the smallest p of so many replicates does not stand once corrected for every two methods."""
    return max(count for count in range(2, replicates) if count * (count - 1) / (replicates + 1) < ALPHA)


def _methods(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """By method, its points, cheapest first; the method with the most accurate one first."""
    pairs = zip(table["method"], table["trained_frames"], strict=True)
    names = pd.Series([without_trained_frames(*pair) for pair in pairs], table.index, dtype=object)
    found = {str(name): rows.sort_values("gflops") for name, rows in table.groupby(names)}
    return dict(sorted(found.items(), key=lambda item: (-item[1]["value"].max(), item[0])))


def _rows(frontiers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frontiers.values())


def _sizes(methods: int) -> Iterator[tuple[int, int]]:
    """Numbers of methods and of points of each, in the order in which they are tried."""
    yield from ((methods, points) for points in POINTS)
    yield from ((fewer, POINTS[-1]) for fewer in range(methods - 1, 1, -1))


def _spread(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """So many, the cheapest and the dearest among them, evenly between."""
    if len(rows) <= count:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, count).round().astype(int)]


def _seconds(points: pd.DataFrame, classes: Mapping[str, int]) -> float:
    """That comparing all of these takes, estimated."""
    seconds = VIDEO * float(points["videos"].max())
    for row in points.to_dict("records"):
        logits = row["videos"] * classes[row["experiment_id"]]
        answers = FEWEST_REPLICATES * RANK * logits if row["metric"] == "mAP" else ANSWER * row["videos"]
        seconds += row["seeds"] * (FILE + LOGIT * logits + answers)
    return seconds


def _halving(points: pd.DataFrame) -> float:
    """Seconds that looking at both halves of the videos takes at most, which is done of top-1."""
    if points["metric"].iloc[0] == "mAP":
        return 0.0
    right = float((points["seeds"] * points["videos"]).sum())
    return 2 * VIDEO * float(points["videos"].max()) + 3 * ANSWER * right


def _left(of: int, methods: int, points: int) -> str:
    fewer = (
        f"Only the {methods} most accurate of {of} methods are compared here: more of them would take long, or be so "
        "many pairs that no difference could stand the correction. "
    )
    return (
        f"{fewer if methods < of else ''}To be quick, each is compared by at most {points} of its points that no other "
        "of it beats: the cheapest, the dearest and, of more, some evenly between. `afbench compare` takes any two "
        "methods with all of their points."
    )


def pairs_page(records: Records, links: Mapping[str, str]) -> list[dict[str, Any]]:
    """A part for each data set, as the template wants it.

    Args:
        links: the page of each method, by its label.
    """
    files: dict[str, str] = {}
    for row in records.pooled[["method", "trained_frames"]].to_dict("records"):
        files.setdefault(without_trained_frames(row["method"], row["trained_frames"]), links[row["method"]])
    names = sorted(records.pooled["dataset"].unique())
    return [_part(records, name, SECONDS / len(names), files) for name in names]


def _part(records: Records, dataset: str, seconds: float, files: Mapping[str, str]) -> dict[str, Any]:
    choice = choose(records, dataset, seconds)
    part: dict[str, Any] = {"name": dataset, "title": find_dataset(dataset).title, "left": choice.left, "how": ""}
    part |= {"matrix": [], "methods": [], "rows": [], "sentences": []}
    if len(choice.methods) == 1:
        points = without_trials(records.pooled[records.pooled["dataset"] == dataset])
        return part | {"lead": _alone(points, choice.methods[0])}
    if choice.points.empty:
        lead = (
            f"The {len(choice.methods)} methods are not compared here: any two of them take too long. "
            "`afbench compare` takes two of them, and the time."
        )
        return part | {"lead": lead}
    try:
        pairs = sorted(
            all_pairs(_only(records, choice.points), seconds / RANK), key=lambda pair: pair.difference is None
        )
    except UserError as error:
        return part | {"lead": f"The {len(choice.methods)} methods cannot be compared: {error}"}
    return part | {
        "lead": conclusion(pairs, len(choice.methods)),
        "how": how(pairs, choice.points["seeds"].tolist(), choice.whole and choice.points["metric"].iloc[0] != "mAP"),
        "methods": [{"name": name, "file": files[name]} for name in choice.methods],
        "matrix": _matrix(pairs, choice.methods) if len(choice.methods) <= MATRIX else [],
        "rows": [_row(pair, files) for pair in pairs],
        "sentences": [pair.sentence for pair in pairs],
    }


def _alone(points: pd.DataFrame, method: str) -> str:
    count = "one point" if len(points) == 1 else f"{len(points)} points"
    return f"There is one method here, {method}, with {count}: nothing to compare it with."


def _only(records: Records, points: pd.DataFrame) -> Records:
    """The records of these points; their labels stay what they are beside all others."""
    ids = {name for names in points["experiment_ids"] for name in names}
    keep = records.table["experiment_id"].isin(ids)
    results = [result for result, kept in zip(records.results, keep, strict=True) if kept]
    return replace(records, results=results, table=records.table[keep].reset_index(drop=True), pooled=points)


def conclusion(pairs: Sequence[Pair], methods: int) -> str:
    """What can and what cannot be concluded of all pairs of a data set's methods, which are so many."""
    told = [pair for pair in pairs if pair.difference is not None]
    differ = sum(pair.differs for pair in told)
    apart = sum(pair.videos == 0 for pair in pairs)
    first = f"Of {counted(len(pairs), 'pair')} of {methods} methods, {differ} differ{'s' * (differ == 1)}"
    parts = [f"{len(told) - differ} cannot be told apart, which does not make them equal"] if len(told) > differ else []
    no_cost = len(pairs) - len(told) - apart
    parts += [f"{no_cost} {_have(no_cost)} no GFLOPs in common"] if no_cost else []
    parts += [f"{apart} {_have(apart)} no videos in common"] if apart else []
    text = "; ".join([first, *parts]) + "."
    return f"{text} Nothing is said of those without anything in common." if no_cost or apart else text


def how(pairs: Sequence[Pair], seeds: Sequence[int], halves: bool) -> str:
    """At what costs and on what videos these are compared, what the correction is, and whether it is about methods.

    Args:
        seeds: of the points that were compared.
        halves: whether leads were looked at that choosing among more points may have made.
    """
    told = [pair for pair in pairs if pair.difference is not None]
    if not told:
        return ""
    videos = ", ".join(str(count) for count in sorted({pair.videos for pair in told}))
    corrected = (
        f"corrected for the {len(told)} pairs that could be compared (Holm), so that all that differ here do so "
        "together at 95%"
        if len(told) > 1
        else "which needs no correction of one pair"
    )
    return (
        f"Methods are compared at the same GFLOPs, on average over those that the points of both cover, on "
        f"the same {videos} videos, by a paired test, {corrected}. {_choosing(halves)} {_seeds(seeds)}"
    )


def _choosing(halves: bool) -> str:
    lines = "A method's best points are chosen on these videos, too, which makes one with many points look better"
    if halves:
        return (
            f"{lines}: where such a one is ahead, it has to be also when each half of the videos chooses for the other."
        )
    return f"{lines} than it is."


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _seeds(seeds: Sequence[int]) -> str:
    single = sum(count == 1 for count in seeds)
    if not single:
        return f"Every point has {min(seeds)} seeds or more, which the test covers."
    which = "All points are" if single == len(seeds) else f"{single} of {len(seeds)} points {_are(single)}"
    return f"{which} of one seed: what is said of them is of these trainings, and another one may come out otherwise."


def _matrix(pairs: Sequence[Pair], methods: Sequence[str]) -> list[list[dict[str, Any]]]:
    """By row and column, the accuracy of the row's method less that of the column's."""
    found = {(pair.a, pair.b): pair for pair in sorted(pairs, key=lambda pair: pair.videos)}  # of the most videos
    return [
        [
            _cell(found.get((row, column)), 1) if (row, column) in found else _cell(found.get((column, row)), -1)
            for column in methods
        ]
        for row in methods
    ]


def _cell(pair: Pair | None, sign: int) -> dict[str, Any]:
    """`sign` is -1 where the row's method is B."""
    if pair is None:
        return {"text": "", "bold": False}
    if pair.difference is None:
        return {"text": MISSING, "bold": False}
    return {"text": f"{round(sign * pair.difference.value, 1) + 0.0:+.1f}", "bold": pair.differs}


# Of the table, after the two methods.
HEADINGS = ("Verdict", "A - B (points)", "95%, alone", "p", "p corrected", "A (%)", "B (%)", "at GFLOPs", "Videos")


def _row(pair: Pair, files: Mapping[str, str]) -> dict[str, Any]:
    methods = [{"name": name, "file": files[name]} for name in (pair.a, pair.b)]
    return {"methods": methods, "bold": pair.differs, "cells": _cells(pair)}


def _cells(pair: Pair) -> list[str]:
    d, videos = pair.difference, str(pair.videos)
    if d is None or pair.p_holm is None or pair.overlap is None:
        verdict = "no GFLOPs in common" if pair.videos else "no videos in common"
        return [verdict, *[MISSING] * (len(HEADINGS) - 2), videos]
    low, high = (f"{cost:.4g}" for cost in pair.overlap)
    verdict = "cannot be told apart" if not pair.differs else "A is ahead" if d.value > 0 else "B is ahead"
    numbers = [f"{d.value:+.2f}", f"{d.low:+.2f} to {d.high:+.2f}", _p(d.p), _p(pair.p_holm)]
    costs = low if low == high else f"{low} to {high}"
    return [verdict, *numbers, f"{d.a:.2f}", f"{d.b:.2f}", costs, videos]


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"
