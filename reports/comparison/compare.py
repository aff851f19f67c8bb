"""Two methods or two points on the same videos: how far apart they are, and what may be said of it.

A side is one point, of one or more seeds, or several points, whose frontier is compared at matched costs. What every
number means is in docs/compare.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.data.catalogue import find_dataset
from bench.errors import UserError, unknown
from reports.axes import Cost
from reports.comparison.answers import Measured, measure
from reports.comparison.classes import ClassDifference, class_differences
from reports.comparison.differences import Difference, Draws, Found, find_differences
from reports.comparison.frontiers import AXES, Contrast, Point, contrasts_between, marked, overlap_of, points_of
from reports.comparison.halves import HalfDraws, Halves, by_halves, guarded, looks_luckier
from reports.comparison.sentences import (
    chosen,
    conclusion,
    cost_words,
    covers,
    listed,
    no_overlap,
    own_costs,
    ranges,
    written_p,
)
from reports.comparison.sides import (
    Entry,
    check_device,
    differing,
    entries_of_dataset,
    named,
    trials_among,
    without_noise,
)
from reports.load import Records


@dataclass(frozen=True)
class Comparison:
    """All of a comparison; the same records give the same one.

    Attributes:
        a: name of side A.
        b: likewise.
        dataset: its title.
        metric: "top-1" or "mAP".
        videos: that all points have.
        left_out: that some points lack, and so count for none.
        points_a: in the order of their costs.
        points_b: likewise.
        axis: unit of the costs that are matched; empty where two points are compared as they are.
        overlap: costs that the points of both cover; None where there are none, or two points are compared.
        difference: of the two points, at the cost asked for, or mean over the overlap; None without an overlap.
        matched: at the cost of every point within the overlap, or at the one asked for.
        test: where `difference.p` comes from.
        covers: what varies in the intervals.
        replicates: of the bootstrap.
        classes: by number.
        notes: what else a reader should know.
        sentence: what can and what cannot be concluded.
    """

    a: str
    b: str
    dataset: str
    metric: str
    videos: int
    left_out: int
    points_a: tuple[Point, ...]
    points_b: tuple[Point, ...]
    axis: str
    overlap: tuple[float, float] | None
    difference: Difference | None
    matched: tuple[Difference, ...]
    test: str
    covers: str
    replicates: int
    classes: tuple[ClassDifference, ...]
    notes: tuple[str, ...]
    sentence: str


def compare(records: Records, a: str, b: str, *, dataset: str = "", at: str = "") -> Comparison:
    """Compare two sides of these records.

    Args:
        a: a method by its name in the registry or its label in the report, or the beginning of an experiment id.
        b: likewise.
        dataset: name; empty where the records are of one.
        at: "gflops=25" or "throughput=120" (videos a second) matches frontiers there, either name alone over all costs
            that both cover; empty compares two points as they are, and more of them by GFLOPs.

    Raises:
        UserError: for what names nothing or several things, sides without common videos, a cost that not both cover.
    """
    entries = entries_of_dataset(records, dataset)
    axis, cost = _parsed(at)
    notes: list[str] = []
    sides = [named(name, entries, option, notes) for name, option in ((a, "A"), (b, "B"))]
    twice = sorted({each.id for each in sides[0]} & {each.id for each in sides[1]})
    if twice:
        raise UserError(
            f"A ({a}) and B ({b}) both hold experiment {twice[0]}; expected two sides without a common one."
        )
    if axis is AXES["throughput"]:
        sides = [without_noise(side, name, notes) for side, name in zip(sides, (a, b), strict=True)]
        check_device([*sides[0], *sides[1]])
    measured = measure([*sides[0], *sides[1]])
    if not len(measured.video):
        raise UserError(
            f"A ({a}) and B ({b}) have no videos in common; expected records of the same validation videos."
        )
    notes += differing(sides)
    points_a, points_b = (points_of(side, measured) for side in sides)
    if axis is None and len(points_a) == len(points_b) == 1:
        return _compared(sides, measured, (points_a, points_b), None, None, notes)
    axis = axis or AXES["gflops"]
    return _compared(sides, measured, (marked(points_a, axis), marked(points_b, axis)), axis, cost, notes)


def _parsed(at: str) -> tuple[Cost | None, float | None]:
    """What frontiers are matched by, and the one cost, where one is asked for."""
    if not at:
        return None, None
    name, given, text = at.partition("=")
    if name not in AXES:
        raise unknown("cost", name, AXES, "--at")
    try:
        cost = float(text) if given else None
    except ValueError:
        cost = math.nan
    if cost is not None and not (math.isfinite(cost) and cost > 0):
        raise UserError(f"--at has {at!r}; expected a number above 0, for example {name}=25.")
    return AXES[name], cost


def _compared(
    sides: Sequence[list[Entry]],
    measured: Measured,
    points: tuple[list[Point], list[Point]],
    axis: Cost | None,
    cost: float | None,
    notes: list[str],
) -> Comparison:
    names = side_names(sides, points)
    fronts = [[point for point in side if point.on_frontier] for side in points]
    overlap = None if axis is None else overlap_of(points, axis)
    contrasts = _asked(names, points, axis, cost, overlap)
    found = find_differences(Draws(measured, [*fronts[0], *fronts[1]]) if contrasts else None, fronts, contrasts)
    halves = _halves(measured, points, found, axis, cost, overlap)
    found = guarded(found, halves)
    if axis is not None and not contrasts:
        sentence = no_overlap(names, points, axis)
    else:
        main = found.differences[0]
        where = own_costs(fronts) if axis is None else cost_words(axis, cost, overlap)
        tested = f"{written_p(main.p)}, {found.test}; one comparison, not corrected"
        sentence = conclusion(names, fronts, main, main.p, measured, where, tested)
        sentence += chosen(points, halves)
    trials = trials_among([*sides[0], *sides[1]])
    return Comparison(
        *names,
        dataset=find_dataset(sides[0][0].row["dataset"]).title,
        metric=measured.metric,
        videos=len(measured.video),
        left_out=measured.left_out,
        points_a=tuple(points[0]),
        points_b=tuple(points[1]),
        axis="" if axis is None else axis.short,
        overlap=overlap,
        difference=found.differences[0] if contrasts else None,
        matched=tuple(each for each in found.differences if each.at is not None),
        test=found.test,
        covers=covers(names, fronts) if contrasts else "",
        replicates=found.replicates,
        classes=tuple(class_differences(measured, found.main, found.weights, sides[0][0].result.names["classes"])),
        notes=(*notes, *found.notes),
        sentence=f"{trials} {sentence}" if trials else sentence,
    )


def _halves(
    measured: Measured,
    points: tuple[list[Point], list[Point]],
    found: Found,
    axis: Cost | None,
    cost: float | None,
    overlap: tuple[float, float] | None,
) -> Halves | None:
    """What is found where each half of the videos chooses for the other; None where that need not be looked at."""
    if axis is None or overlap is None or not looks_luckier(measured, points, found.differences[0], axis, overlap):
        return None
    drawn = HalfDraws(measured, [*points[0], *points[1]])
    return by_halves(drawn, points, axis, overlap if cost is None else (cost, cost))


def _asked(
    names: Sequence[str],
    points: Sequence[list[Point]],
    axis: Cost | None,
    cost: float | None,
    overlap: tuple[float, float] | None,
) -> list[Contrast]:
    """What is compared, the main contrast first; nothing where the costs of both sides do not meet.

    Raises:
        UserError: where one cost is asked for that not both cover.
    """
    fronts = [[point for point in side if point.on_frontier] for side in points]
    if axis is None:
        return [(None, np.ones(1), np.ones(1))]
    if cost is None:
        return [] if overlap is None else contrasts_between(fronts, axis, *overlap)
    if overlap is None or not overlap[0] <= cost <= overlap[1]:
        raise UserError(
            f"--at asks for {cost:g} {axis.short}, but nothing is extrapolated: {ranges(names, points, axis)}. "
            "Expected a cost that both cover."
        )
    return contrasts_between(fronts, axis, cost, cost)[1:]


def side_names(sides: Sequence[list[Entry]], points: Sequence[list[Point]]) -> tuple[str, str]:
    """Of a side with one point its name, of others the method's; both with an id where they are the same."""
    a, b = (of[0].name if len(of) == 1 else side[0].method for side, of in zip(sides, points, strict=True))
    if a != b:
        return a, b
    seeds = [each.seeds for of in points for each in of]
    if len(seeds) == 2 and seeds[0] != seeds[1]:
        return f"{a} (seed {listed(seeds[0])})", f"{b} (seed {listed(seeds[1])})"
    return f"{a} ({points[0][0].experiments[0]})", f"{b} ({points[1][0].experiments[0]})"
