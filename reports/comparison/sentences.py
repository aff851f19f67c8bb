"""What can and what cannot be concluded of a difference, in words."""

from __future__ import annotations

from collections.abc import Sequence

from reports.axes import Cost
from reports.comparison.answers import Measured
from reports.comparison.differences import Difference
from reports.comparison.frontiers import Point
from reports.comparison.halves import Halves
from reports.statistics import ALPHA

FEW_SEEDS = 3  # with fewer nobody knows how far trainings differ


def written_p(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def stands(difference: Difference, p: float) -> bool:
    """Whether both the test, as corrected, and the interval say so."""
    return p < ALPHA and not difference.low <= 0 <= difference.high


def conclusion(
    names: Sequence[str],
    fronts: Sequence[list[Point]],
    difference: Difference,
    p: float,
    measured: Measured,
    where: str,
    tested: str,
) -> str:
    """What can and what cannot be concluded; `p` is as corrected."""
    fewest = min(len(point.seeds) for front in fronts for point in front)
    trainings = len({each for front in fronts for point in front for each in point.trainings})
    scope = {1: "these points of one training", 2: "these two trainings"}.get(trainings, f"these {trainings} trainings")
    facts = f"95% interval {difference.low:+.2f} to {difference.high:+.2f}, {len(measured.video)} videos, {tested}"
    if stands(difference, p):
        lead, behind = names if difference.value > 0 else names[::-1]
        said = f"{lead} is ahead of {behind} by {abs(difference.value):.2f} points of {measured.metric}{where}"
        said = said if fewest > 1 else f"Of {scope}, {said}"
        said += f" (A - B: {facts}). Differences outside that interval are excluded at 95%."
    else:
        told = f"{names[0]} and {names[1]}"
        told = told if fewest > 1 else f"{scope[0].upper()}{scope[1:]}, {told},"
        points = f"{difference.value:+.2f} points of {measured.metric}"
        said = f"{told} cannot be told apart{where}: A - B is {points} ({facts})."
        said += f" That does not make them equal: {_excluded(difference)}."
    return f"{said} {_limits(names, fronts, trainings)}"


def _excluded(difference: Difference) -> str:
    if difference.high - difference.low >= 200:
        return "nothing is excluded"
    most = max(abs(difference.low), abs(difference.high))
    if not difference.low <= 0 <= difference.high:
        return (
            "the interval, which is not corrected, leaves out 0, but the test does not, so that no more is said than "
            f"that they are equal within ±{most:.2f} points"
        )
    return (
        f"only differences below {difference.low:+.2f} or above {difference.high:+.2f} points are excluded at 95%, "
        f"which is equal within ±{most:.2f} points"
    )


def _limits(names: Sequence[str], fronts: Sequence[list[Point]], trainings: int) -> str:
    """What the seeds allow."""
    fewest = [min(len(point.seeds) for point in front) for front in fronts]
    if trainings == 1:
        return "Nothing is said of another training of the method."
    if max(fewest) == 1:
        return "With one seed nothing is said of the methods: another training of either may come out otherwise."
    if min(fewest) == 1:
        single = names[fewest.index(1)]
        return (
            f"With one seed nothing is said of the method of {single}: another training of it may come out otherwise."
        )
    text = f"The interval covers videos and seeds (A {_seeds(fronts[0])}, B {_seeds(fronts[1])})"
    return (
        f"{text}; two seeds a side tell little of how far trainings differ: take {FEW_SEEDS} or more."
        if min(fewest) < FEW_SEEDS
        else f"{text}."
    )


def chosen(points: Sequence[Sequence[Point]], halves: Halves | None) -> str:
    """What choosing does to lines of only some of their sides' points; "" where both have as many to choose from.

    Args:
        halves: the difference without it, where that was looked at.
    """
    counts = [(sum(point.on_frontier for point in side), len(side)) for side in points]
    if halves is None and (all(on == of for on, of in counts) or len({of for _, of in counts}) == 1):
        return ""
    said = ", ".join(f"{name} {on} of {of}" for name, (on, of) in zip("AB", counts, strict=True))
    text = (
        f" Each line joins the points that no other of its side beats on these videos ({said}), which makes the side "
        "that has more to choose from look better than it is"
    )
    if halves is None:
        return f"{text}."
    return (
        f"{text}: chosen on one half of the videos and compared on the other, A - B is {halves.value:+.2f} "
        f"({halves.low:+.2f} to {halves.high:+.2f}, {written_p(halves.p)}), and p above is no smaller."
    )


def _seeds(front: list[Point]) -> str:
    counts = sorted({len(point.seeds) for point in front})
    return ("1 seed" if counts == [1] else f"{counts[0]} seeds") if len(counts) == 1 else f"1 to {counts[-1]} seeds"


def covers(names: Sequence[str], fronts: Sequence[list[Point]]) -> str:
    """What varies in an interval."""
    counts = [len(point.seeds) for front in fronts for point in front]
    if max(counts) == 1:
        return "videos alone: how far another training would differ is not in the interval"
    if min(counts) > 1:
        return "videos and seeds"
    said = ", ".join(f"{name} {_seeds(front)}" for name, front in zip(names, fronts, strict=True))
    return f"videos, and seeds where a point has several ({said})"


def no_overlap(names: Sequence[str], points: Sequence[list[Point]], axis: Cost) -> str:
    return (
        f"Nothing can be said of {names[0]} and {names[1]} at the same {axis.short}, and nothing is extrapolated: "
        f"{ranges(names, points, axis)}."
    )


def own_costs(fronts: Sequence[list[Point]]) -> str:
    a, b = (f"{front[0].gflops:.4g}" for front in fronts)
    return f" at {a} GFLOPs" if a == b else f", A at {a} and B at {b} GFLOPs"


def cost_words(axis: Cost, cost: float | None, overlap: tuple[float, float] | None) -> str:
    if cost is not None or overlap is None or overlap[0] == overlap[1]:
        return f" at {cost if cost is not None or overlap is None else overlap[0]:.4g} {axis.short}"
    return f", on average from {overlap[0]:.4g} to {overlap[1]:.4g} {axis.short}"


def ranges(names: Sequence[str], points: Sequence[list[Point]], axis: Cost) -> str:
    ends = [(getattr(side[0], axis.column), getattr(side[-1], axis.column)) for side in points]
    return " and ".join(f"{name} {_from_to(*pair)} {axis.short}" for name, pair in zip(names, ends, strict=True))


def _from_to(low: float, high: float) -> str:
    return f"is at {low:.4g}" if low == high else f"goes from {low:.4g} to {high:.4g}"


def listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
