"""Every two methods of a data set at matched GFLOPs, corrected for the number of pairs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from reports.comparison.answers import Measured, measure
from reports.comparison.differences import Difference, Draws, Found, find_differences
from reports.comparison.frontiers import AXES, Point, contrasts_between, marked, overlap_of, points_of
from reports.comparison.halves import HalfDraws, Halves, by_halves, guarded, looks_luckier
from reports.comparison.sentences import chosen, conclusion, cost_words, no_overlap, stands, written_p
from reports.comparison.sides import Entry, entries_of
from reports.load import Records
from reports.statistics import RANKED, holm


@dataclass(frozen=True)
class Pair:
    """Two methods of a data set at matched GFLOPs, one of all pairs there.

    Attributes:
        a: label of the method.
        b: likewise.
        dataset: its name.
        videos: common to all methods of the data set that share their videos.
        overlap: GFLOPs that the points of both cover; None where there are none.
        difference: mean over the overlap; None without one.
        p_holm: its p as corrected for all pairs of the data set that have one.
        sentence: what can and what cannot be concluded.
    """

    a: str
    b: str
    dataset: str
    videos: int
    overlap: tuple[float, float] | None
    difference: Difference | None
    p_holm: float | None
    sentence: str

    @property
    def differs(self) -> bool:
        """Whether that says that one is ahead."""
        return self.difference is not None and self.p_holm is not None and stands(self.difference, self.p_holm)


def all_pairs(records: Records, ranked: float = RANKED) -> list[Pair]:
    """Every pair of methods of each data set, as their lines differ on average over the GFLOPs that both cover.

    Methods are told apart by their labels but for the seed; p is corrected (Holm) for all pairs of a data set. All are
    compared on the videos that all methods of the same validation list have.

    Args:
        ranked: videos x classes x points x replicates that a bootstrap of mAP may rank.

    Raises:
        UserError: for samples that are damaged or contradict one another.
    """
    names = sorted(records.table["dataset"].unique())
    return [pair for name in names for pair in _pairs(entries_of(records, name), name, ranked)]


@dataclass(frozen=True)
class _Meeting:
    """Two methods of one list of videos."""

    names: tuple[str, str]
    points: tuple[list[Point], list[Point]]
    fronts: tuple[list[Point], list[Point]]
    measured: Measured
    overlap: tuple[float, float] | None
    found: Found
    halves: Halves | None


def _pairs(entries: list[Entry], dataset: str, ranked: float) -> list[Pair]:
    lists: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        lists[entry.videos].append(entry)
    meetings: list[_Meeting] = []
    strangers: list[tuple[str, str]] = []
    for same in lists.values():
        measured = measure(same)
        if len(measured.video):
            meetings += _meetings(same, measured, ranked)
        else:
            strangers += combinations(sorted({entry.method for entry in same}), 2)
    for one, other in combinations(lists.values(), 2):
        strangers += [(a.method, b.method) for a in one for b in other if a.method != b.method]
    told = [each for each in meetings if each.found.differences]
    corrected = holm([each.found.differences[0].p for each in told])
    pairs = [_pair(each, p, len(told), dataset) for each, p in zip(told, corrected, strict=True)]
    pairs += [_unmatched(each, dataset) for each in meetings if not each.found.differences]
    met = {each.names for each in meetings}  # which may be of several lists
    for a, b in sorted({(min(pair), max(pair)) for pair in strangers} - met):
        pairs.append(Pair(a, b, dataset, 0, None, None, None, f"{a} and {b} have no videos in common."))
    return sorted(pairs, key=lambda pair: (pair.a, pair.b))


def _meetings(entries: list[Entry], measured: Measured, ranked: float) -> list[_Meeting]:
    """Every two methods, from one drawing of replicates for all."""
    axis = AXES["gflops"]
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.method].append(entry)
    points = {name: marked(points_of(group, measured), axis) for name, group in groups.items()}
    fronts = {name: [point for point in of if point.on_frontier] for name, of in points.items()}
    best = [point for front in fronts.values() for point in front]
    if len(fronts) == 1:
        return []
    draws, meetings = Draws(measured, best, ranked), []
    drawn: HalfDraws | None = None  # of all points, where some pair needs them
    for a, b in combinations(sorted(fronts), 2):
        sides, chosen_from = (fronts[a], fronts[b]), (points[a], points[b])
        overlap = overlap_of(chosen_from, axis)
        contrasts = [] if overlap is None else contrasts_between(sides, axis, *overlap)[:1]
        found, halves = find_differences(draws, sides, contrasts), None
        if overlap is not None and looks_luckier(measured, chosen_from, found.differences[0], axis, overlap):
            drawn = drawn or HalfDraws(measured, [point for of in points.values() for point in of])
            halves = by_halves(drawn, chosen_from, axis, overlap)
        meetings.append(_Meeting((a, b), chosen_from, sides, measured, overlap, guarded(found, halves), halves))
    return meetings


def _pair(meeting: _Meeting, p: float, pairs: int, dataset: str) -> Pair:
    difference = meeting.found.differences[0]
    where = cost_words(AXES["gflops"], None, meeting.overlap)
    tested = (
        f"{written_p(difference.p)}, {written_p(p)} as corrected for {pairs} {'pair' if pairs == 1 else 'pairs'} (Holm)"
    )
    sentence = conclusion(meeting.names, meeting.fronts, difference, p, meeting.measured, where, tested)
    sentence += chosen(meeting.points, meeting.halves)
    return Pair(
        *meeting.names, dataset, len(meeting.measured.video), meeting.overlap, difference, float(f"{p:.6g}"), sentence
    )


def _unmatched(meeting: _Meeting, dataset: str) -> Pair:
    sentence = no_overlap(meeting.names, meeting.points, AXES["gflops"])
    return Pair(*meeting.names, dataset, len(meeting.measured.video), None, None, None, sentence)
