"""Two methods or two points on the same videos: how far apart they are, and what may be said of it.

A side is one point, of one or more seeds, or several points, whose frontier is compared at matched costs. What every
number means is in docs/compare.md.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.catalogue import find_dataset
from bench.errors import UserError, unknown
from bench.experiment import Experiment
from bench.methods import METHODS
from bench.metrics import mean_average_precision
from bench.record import Result
from bench.samples import read_samples
from reports.axes import COSTS, Cost, pareto
from reports.labels import without_trained_frames
from reports.load import Records
from reports.statistics import (
    FEWEST_TELLING,
    LEVEL,
    RANKED,
    REPLICATES,
    Floats,
    Ranking,
    bootstrap_p,
    holm,
    interpolation,
    interval,
    largest_share,
    map_replicates,
    mean_interpolation,
    probabilities,
    replicate_maps,
    replicate_means,
    replicate_seeds,
    seed_weights,
    sign_test,
)

ALPHA = 1 - LEVEL
SHOWN = 5  # classes either way that do not stand
FEW_SEEDS = 3  # with fewer, intervals are too narrow where trainings differ much
LISTED = 6  # variants that an error names
MOST_LABELS = 30  # that it names beside the registry's, since they may be long
ROUNDING = 1e-9  # below which a difference of interpolated answers is none


# What two frontiers are matched by.
AXES = {"gflops": COSTS[0], "throughput": COSTS[1]}


@dataclass(frozen=True)
class Point:
    """One point of a side.

    Attributes:
        name: label and number of frames, ratio and so on.
        seeds: of its trainings.
        experiments: their ids, in the order of the seeds.
        trainings: the ids of these, in the same order.
        family: id of the training but for its seed.
        accuracy: per cent on the common videos, mean over seeds.
        gflops: 1e9 executed multiply-adds of a common video, mean over videos and seeds.
        videos_per_second: of the executed path, mean over seeds.
        on_frontier: whether no other point of the side is cheaper and better, as this comparison counts costs.
    """

    name: str
    seeds: tuple[int, ...]
    experiments: tuple[str, ...]
    trainings: tuple[str, ...]
    family: str
    accuracy: float
    gflops: float
    videos_per_second: float
    on_frontier: bool = True


@dataclass(frozen=True)
class Difference:
    """A - B, in points of per cent.

    Attributes:
        at: the cost it is at; None of two points or of a mean over costs.
        a: accuracy in per cent.
        b: likewise.
        value: a - b.
        low: of the 95% interval.
        high: likewise.
        p: two-sided, of no difference; not corrected.
    """

    at: float | None
    a: float
    b: float
    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class ClassDifference:
    """A - B within one class.

    Attributes:
        name: of the class, or its number.
        videos: that have it.
        difference: in points of its accuracy, or of its average precision.
        better: videos on which A does better.
        worse: videos on which B does.
        p: of the exact sign test over these; with one seed each, of right answers, McNemar's.
        p_holm: as corrected for the number of classes.
        stands: whether that is below 0.05.
    """

    name: str
    videos: int
    difference: float
    better: int
    worse: int
    p: float
    p_holm: float
    stands: bool


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
        overlap: costs that both frontiers cover; None where there are none, or two points are compared.
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


@dataclass(frozen=True)
class Pair:
    """Two methods of a data set at matched GFLOPs, one of all pairs there.

    Attributes:
        a: label of the method.
        b: likewise.
        dataset: its name.
        videos: common to all methods of the data set that share their videos.
        overlap: GFLOPs that both frontiers cover; None where there are none.
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
        return self.difference is not None and self.p_holm is not None and _stands(self.difference, self.p_holm)


@dataclass(frozen=True)
class Trial:
    """One record, and what it is called here.

    Attributes:
        row: of the table of all records.
        method: the report's label but for trained frames.
        variant: the label.
        unseeded: the experiment with seed 0, whatever it has.
    """

    row: dict[str, Any]
    result: Result
    method: str
    variant: str
    unseeded: Experiment

    @property
    def id(self) -> str:
        return self.result.experiment.experiment_id

    @property
    def name(self) -> str:
        return f"{self.method} {self.row['point']}"

    @cached_property
    def videos(self) -> tuple[Any, ...]:
        """What fixes which videos its numbers mean."""
        data, names = self.result.experiment.data, str(self.result.values.get("names", ""))
        if find_dataset(data.dataset).generated:  # names are numbers there, whatever is made
            return (names, data.seed, data.size, data.settings.canonical)
        return (names,) if names else ("", data.val_clips, data.seed, data.fingerprint)


@dataclass(frozen=True)
class Measured:
    """What trials answered on the videos that they all have: V videos, K classes.

    Attributes:
        video: (V,) index in the validation split.
        left_out: videos that only some of them have.
        label: (V,).
        targets: (V, K) bool, all labels of each; None where a video has one.
        answers: by experiment id, (V,) bool whether right, or (V, K) logits where a video has several labels.
        macs: by experiment id, mean over the videos.
    """

    video: NDArray[np.int64]
    left_out: int
    label: NDArray[np.int64]
    targets: NDArray[np.bool_] | None
    answers: dict[str, NDArray[Any]]
    macs: dict[str, float]

    @property
    def metric(self) -> str:
        return "top-1" if self.targets is None else "mAP"

    def accuracy(self, of: str) -> float:
        """Of an experiment, in [0, 1]."""
        if self.targets is None:
            return float(self.answers[of].mean())
        return mean_average_precision(self.targets, self.answers[of]) / 100

    def replicates(self, ids: Sequence[str], seed: int, ranked: float) -> Floats:
        """(replicates, ids) accuracies in [0, 1], of the same drawn videos for each."""
        answers = [self.answers[each] for each in ids]
        if self.targets is None:
            return replicate_means(np.stack(answers, axis=1), REPLICATES, seed)
        count = map_replicates(len(self.video), self.targets.shape[1], len(ids), ranked)
        return replicate_maps(self.targets, answers, count, seed)

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """(F,) the class of each right answer that could be given: of each video, or of each label of each video."""
        return self.label if self.targets is None else np.nonzero(self.targets.T)[0]

    def parts(self, of: str) -> Floats:
        """(F,) what an experiment has of these: 1 or 0, or the precision among videos that rank at least as high.

        Their mean within a class is its accuracy or its average precision.
        """
        if self.targets is None:
            return self.answers[of].astype(np.float64)
        scores, values = probabilities(self.answers[of]), np.zeros(self.targets.shape)
        for k in np.unique(self.classes):
            ranking = Ranking(self.targets[:, k], scores[:, k])
            values[ranking.positive, k] = ranking.precisions()
        return np.asarray(values.T[self.targets.T])


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
    trials = _trials(records, dataset)
    axis, cost = _parsed(at)
    notes: list[str] = []
    sides = [_named(name, trials, option, notes) for name, option in ((a, "A"), (b, "B"))]
    twice = sorted({each.id for each in sides[0]} & {each.id for each in sides[1]})
    if twice:
        raise UserError(
            f"A ({a}) and B ({b}) both hold experiment {twice[0]}; expected two sides without a common one."
        )
    if axis is AXES["throughput"]:
        sides = [_quiet(side, name, notes) for side, name in zip(sides, (a, b), strict=True)]
        _check_device([*sides[0], *sides[1]])
    measured = measure([*sides[0], *sides[1]])
    if not len(measured.video):
        raise UserError(
            f"A ({a}) and B ({b}) have no videos in common; expected records of the same validation videos."
        )
    notes += _notes(sides)
    points_a, points_b = (_points(side, measured) for side in sides)
    if axis is None and len(points_a) == len(points_b) == 1:
        return _compared(sides, measured, (points_a, points_b), None, None, notes)
    axis = axis or AXES["gflops"]
    return _compared(sides, measured, (_marked(points_a, axis), _marked(points_b, axis)), axis, cost, notes)


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


def _trials(records: Records, dataset: str) -> list[Trial]:
    """The records of the data set asked for, or of the only one, in the order of their ids."""
    names = sorted(records.table["dataset"].unique())
    if dataset and dataset not in names:
        raise unknown("data set", dataset, names, "these records")
    if not dataset and len(names) > 1:
        raise UserError(f"These records are of {len(names)} data sets: {', '.join(names)}. Say which with --dataset.")
    return sorted(_of(records, dataset or names[0]), key=lambda trial: trial.id)


def _of(records: Records, dataset: str) -> list[Trial]:
    pairs = zip(records.table.to_dict("records"), records.results, strict=True)
    return [_trial(row, result) for row, result in pairs if row["dataset"] == dataset]


def _trial(row: dict[str, Any], result: Result) -> Trial:
    variant, experiment = row["method"], result.experiment  # labels are blind to seeds
    unseeded = replace(experiment, training=replace(experiment.training, seed=0))
    return Trial(row, result, without_trained_frames(variant, experiment.model.frames), variant, unseeded)


def _named(name: str, trials: list[Trial], option: str, notes: list[str]) -> list[Trial]:
    """The trials of a side.

    Raises:
        UserError: where that names nothing, several variants of a method, or several experiments.
    """
    for label in (lambda t: t.method, lambda t: t.variant, lambda t: t.row["method"]):
        found = [trial for trial in trials if label(trial) == name]
        if found:
            return found
    found = [trial for trial in trials if trial.row["name"] == name]
    if found:
        return _plain_variant(name, found, option, notes)
    found = [trial for trial in trials if name and trial.id.startswith(name)]
    if len(found) > 1:
        raise UserError(
            f"{option} is {name!r}, with which {len(found)} experiment ids begin; expected more of its digits."
        )
    if not found:
        labels, names = {trial.method for trial in trials}, {trial.row["name"] for trial in trials}
        choices = names | labels if len(labels) <= MOST_LABELS else names
        raise unknown("method or experiment id", name, choices, f"{option} of these records")
    return found


def _plain_variant(name: str, found: list[Trial], option: str, notes: list[str]) -> list[Trial]:
    """Of a method's variants the one that bears its title alone, or the only one: mixed, they would be no method."""
    variants = sorted({trial.method for trial in found})
    if len(variants) == 1:
        return found
    title = METHODS[name].title
    if title not in variants:
        more = f"; and {len(variants) - LISTED} more, as the table of the report has them" * (len(variants) > LISTED)
        raise UserError(
            f"{option} is {name!r}, of which there are {len(variants)} variants; expected one, or the beginning "
            f"of an experiment id: {'; '.join(variants[:LISTED])}{more}."
        )
    others = "; ".join(variant for variant in variants if variant != title)
    notes.append(f"{name} is taken as {title}; not in it: {others}.")
    return [trial for trial in found if trial.method == title]


def _quiet(side: list[Trial], name: str, notes: list[str]) -> list[Trial]:
    """Those that were timed without noise."""
    noisy = [trial for trial in side if trial.row["noisy"]]
    if noisy:
        said = ", ".join(f"{trial.name} seed {trial.row['seed']} ({trial.id})" for trial in noisy)
        notes.append(f"Timed with noise, and so not matched by throughput: {said}.")
    if len(noisy) == len(side):
        raise UserError(
            f"All {len(side)} points of {name} were timed with noise; expected one that was not: time again."
        )
    return [trial for trial in side if not trial.row["noisy"]]


def _check_device(trials: list[Trial]) -> None:
    devices = sorted({f"{trial.row['device']} ({trial.row['dtype']})" for trial in trials})
    if len({trial.row["device"] for trial in trials}) > 1:
        raise UserError(f"These points were timed on {', '.join(devices)}; expected one device to match by throughput.")


def _notes(sides: Sequence[list[Trial]]) -> list[str]:
    """What differs between the sides and is allowed to."""
    notes = []
    for column, text in (
        ("views", "views of a video"),
        ("dtype", "data type when timed"),
        ("device", "device when timed"),
    ):
        found = [sorted({trial.row[column] for trial in side}) for side in sides]
        if found[0] != found[1]:
            said = (", ".join(map(str, each)) for each in found)
            notes.append(f"The sides differ in {text}: A {next(said)}, B {next(said)}.")
    if len({trial.result.experiment.data.fingerprint for side in sides for trial in side}) > 1:
        notes.append(
            "Videos and names are the same, but not all of the data's fingerprint: other training or pictures."
        )
    return notes


def measure(trials: list[Trial]) -> Measured:
    """Read what these trials answered, on the videos that all of them have.

    Raises:
        UserError: where they are of other videos, disagree on a label, or an answer is no number.
    """
    first = trials[0]
    other = next((trial for trial in trials if trial.videos != first.videos), None)
    if other is not None:
        raise UserError(
            f"{first.name} ({first.id}) and {other.name} ({other.id}) were not measured on the same list of videos "
            f"({first.videos[0] or 'no names'} and {other.videos[0] or 'no names'}, or other data); no video of one is "
            "known to be in the other. Expected the same data set, val_clips and, where data are drawn, data.seed."
        )
    read = {trial.id: _read(trial) for trial in trials}
    sets = [set(each.video.tolist()) for each in read.values()]
    common = np.array(sorted(set.intersection(*sets)), np.int64)
    parts = {name: each.on(common) for name, each in read.items()}
    start = parts[first.id]
    for trial in trials:
        mine = parts[trial.id]
        if not np.array_equal(mine.label, start.label) or not _same(mine.targets, start.targets):
            raise UserError(
                f"{first.name} ({first.id}) and {trial.name} ({trial.id}) give the same videos other labels; expected "
                "records of one preparation of the data set."
            )
    return Measured(
        common,
        len(set.union(*sets)) - len(common),
        start.label,
        start.targets,
        {name: part.answers for name, part in parts.items()},
        {name: float(part.macs.mean()) if len(common) else math.nan for name, part in parts.items()},
    )


@dataclass(frozen=True)
class _Part:
    video: NDArray[np.int64]
    label: NDArray[np.int64]
    macs: NDArray[np.int64]
    answers: NDArray[Any]
    targets: NDArray[np.bool_] | None

    def on(self, videos: NDArray[np.int64]) -> _Part:
        """Of these videos, in this order."""
        order = np.argsort(self.video)
        rows = order[np.searchsorted(self.video, videos, sorter=order)]
        targets = None if self.targets is None else self.targets[rows]
        return _Part(videos, self.label[rows], self.macs[rows], self.answers[rows], targets)


def _read(trial: Trial) -> _Part:
    path = trial.result.path.with_name("samples.parquet")
    samples = read_samples(path)
    bad = int((~np.isfinite(samples.logits).all(axis=1)).sum())
    if bad:
        raise UserError(f"{path} has {bad} videos whose logits are not all finite numbers; move its record away.")
    if len(np.unique(samples.video)) < len(samples.video):
        raise UserError(f"{path} has several samples of one video; expected one each. Move its record away.")
    # As samples.correct(), of equal logits the first, without ranking all of them.
    answers = samples.logits.argmax(axis=1) == samples.label if samples.targets is None else samples.logits
    return _Part(samples.video, samples.label, samples.macs, answers, samples.targets)


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def _points(trials: list[Trial], measured: Measured) -> list[Point]:
    """Trials that differ only in the seed are one point; cheapest first."""
    groups: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[trial.unseeded.experiment_id].append(trial)
    points = []
    for group in groups.values():
        group.sort(key=lambda trial: trial.result.experiment.training.seed)
        points.append(
            Point(
                name=group[0].name,
                seeds=tuple(trial.result.experiment.training.seed for trial in group),
                experiments=tuple(trial.id for trial in group),
                trainings=tuple(trial.result.experiment.training_id for trial in group),
                family=group[0].unseeded.training_id,
                accuracy=100 * float(np.mean([measured.accuracy(trial.id) for trial in group])),
                gflops=float(np.mean([measured.macs[trial.id] for trial in group])) / 1e9,
                videos_per_second=float(np.mean([trial.row["videos_per_second"] for trial in group])),
            )
        )
    return sorted(points, key=lambda point: (point.gflops, point.experiments))


def _marked(points: list[Point], axis: Cost) -> list[Point]:
    """In the order of their costs, with what is on the frontier; of equals the first."""
    points = sorted(points, key=lambda point: (getattr(point, axis.column), point.experiments))
    costs = [getattr(point, axis.column) * (1 if axis.less_is_better else -1) for point in points]
    best = pareto(costs, [point.accuracy for point in points])
    seen: set[float] = set()
    marked = []
    for point, cost, on in zip(points, costs, best, strict=True):
        marked.append(replace(point, on_frontier=on and cost not in seen))
        seen |= {cost} if on else set()
    return marked


Contrast = tuple[float | None, Floats, Floats]
"""A cost, and the weights of each side's frontier points in its value there."""


def _overlap(fronts: Sequence[list[Point]], axis: Cost) -> tuple[float, float] | None:
    """Costs that both frontiers cover."""
    low = max(getattr(front[0], axis.column) for front in fronts)
    high = min(getattr(front[-1], axis.column) for front in fronts)
    return (low, high) if low <= high else None


def _contrasts(fronts: Sequence[list[Point]], axis: Cost, low: float, high: float) -> list[Contrast]:
    """The mean over these costs, then the value at each point's cost among them."""
    a, b = ([getattr(point, axis.column) for point in front] for front in fronts)
    knots = sorted({cost for cost in (*a, *b) if low <= cost <= high} | {low, high})
    mean: Contrast = (None, mean_interpolation(a, low, high), mean_interpolation(b, low, high))
    return [mean, *((cost, interpolation(a, cost), interpolation(b, cost)) for cost in knots)]


def _ranges(names: Sequence[str], fronts: Sequence[list[Point]], axis: Cost) -> str:
    ends = [(getattr(front[0], axis.column), getattr(front[-1], axis.column)) for front in fronts]
    return " and ".join(f"{name} {_from_to(*pair)} {axis.short}" for name, pair in zip(names, ends, strict=True))


def _from_to(low: float, high: float) -> str:
    return f"is at {low:.4g}" if low == high else f"goes from {low:.4g} to {high:.4g}"


def _side_names(sides: Sequence[list[Trial]], points: Sequence[list[Point]]) -> tuple[str, str]:
    """Of a side with one point its name, of others the method's; both with an id where they are the same."""
    a, b = (of[0].name if len(of) == 1 else side[0].method for side, of in zip(sides, points, strict=True))
    if a != b:
        return a, b
    seeds = [each.seeds for of in points for each in of]
    if len(seeds) == 2 and seeds[0] != seeds[1]:
        return f"{a} (seed {_listed(seeds[0])})", f"{b} (seed {_listed(seeds[1])})"
    return f"{a} ({points[0][0].experiments[0]})", f"{b} ({points[1][0].experiments[0]})"


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _compared(
    sides: Sequence[list[Trial]],
    measured: Measured,
    points: tuple[list[Point], list[Point]],
    axis: Cost | None,
    cost: float | None,
    notes: list[str],
) -> Comparison:
    names = _side_names(sides, points)
    fronts = [[point for point in side if point.on_frontier] for side in points]
    overlap = None if axis is None else _overlap(fronts, axis)
    contrasts = _asked(names, fronts, axis, cost, overlap)
    found = _differences(_Draws(measured, [*fronts[0], *fronts[1]]) if contrasts else None, fronts, contrasts)
    if axis is not None and not contrasts:
        sentence = _no_overlap(names, fronts, axis)
    else:
        main = found.differences[0]
        where = _own_costs(fronts) if axis is None else _where(axis, cost, overlap)
        tested = f"{_p(main.p)}, {found.test}; one comparison, not corrected"
        sentence = _conclusion(names, fronts, main, main.p, measured, where, tested)
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
        covers=_covers(names, fronts) if contrasts else "",
        replicates=found.replicates,
        classes=tuple(_class_differences(measured, found.main, sides[0][0].result.names["classes"])),
        notes=(*notes, *found.notes),
        sentence=sentence,
    )


def _asked(
    names: Sequence[str],
    fronts: Sequence[list[Point]],
    axis: Cost | None,
    cost: float | None,
    overlap: tuple[float, float] | None,
) -> list[Contrast]:
    """What is compared, the main contrast first; nothing where frontiers do not meet.

    Raises:
        UserError: where one cost is asked for that not both cover.
    """
    if axis is None:
        return [(None, np.ones(1), np.ones(1))]
    if cost is None:
        return [] if overlap is None else _contrasts(fronts, axis, *overlap)
    if overlap is None or not overlap[0] <= cost <= overlap[1]:
        raise UserError(
            f"--at asks for {cost:g} {axis.short}, but nothing is extrapolated: the frontier of points of "
            f"{_ranges(names, fronts, axis)}. Expected a cost that both cover."
        )
    return _contrasts(fronts, axis, cost, cost)[1:]


def _no_overlap(names: Sequence[str], fronts: Sequence[list[Point]], axis: Cost) -> str:
    return (
        f"Nothing can be said of {names[0]} and {names[1]} at the same {axis.short}, and nothing is extrapolated: the "
        f"frontier of points of {_ranges(names, fronts, axis)}."
    )


def _own_costs(fronts: Sequence[list[Point]]) -> str:
    a, b = (f"{front[0].gflops:.4g}" for front in fronts)
    return f" at {a} GFLOPs" if a == b else f", A at {a} and B at {b} GFLOPs"


def _where(axis: Cost, cost: float | None, overlap: tuple[float, float] | None) -> str:
    if cost is not None or overlap is None or overlap[0] == overlap[1]:
        return f" at {cost if cost is not None or overlap is None else overlap[0]:.4g} {axis.short}"
    return f", on average from {overlap[0]:.4g} to {overlap[1]:.4g} {axis.short}"


@dataclass(frozen=True)
class _Found:
    """Differences, and how they were found.

    Attributes:
        main: (F,) the first difference, by right answers that could be given.
    """

    differences: list[Difference]
    test: str
    replicates: int
    main: Floats
    notes: list[str]


class _Draws:
    """Accuracies of points in replicates that all of them share.

    Attributes:
        accuracy: by a point's experiments, (replicates,) in [0, 1].
        parts: likewise, (F,) as `Measured.parts`, mean over seeds.
    """

    def __init__(self, measured: Measured, points: Sequence[Point], ranked: float = RANKED) -> None:
        self.measured = measured
        ids = sorted({each for point in points for each in point.experiments})
        seed = int(hashlib.sha256(",".join(ids).encode()).hexdigest()[:16], 16)
        values = measured.replicates(ids, seed, ranked)
        self.replicates = len(values)
        column = {each: number for number, each in enumerate(ids)}
        rng = np.random.default_rng([seed, 1])
        # Points of the same trainings, at several budgets say, share what is drawn of them.
        families = sorted({(point.family, point.seeds) for point in points})
        weights = {family: seed_weights(len(family[1]), len(values), rng) for family in families}
        found = np.array([measured.accuracy(each) for each in ids])
        self.accuracy = {}
        for point in points:
            own = [column[each] for each in point.experiments]
            drawn = weights[point.family, point.seeds]
            self.accuracy[point.experiments] = replicate_seeds(values[:, own], found[own], drawn)
        self.parts = {
            point.experiments: np.mean([measured.parts(each) for each in point.experiments], axis=0) for point in points
        }


def _differences(draws: _Draws | None, fronts: Sequence[list[Point]], contrasts: list[Contrast]) -> _Found:
    """Each contrast with its interval and p, all of them from the same replicates."""
    if not contrasts or draws is None:
        return _Found([], "", 0, np.zeros(0), [])
    points, measured = [*fronts[0], *fronts[1]], draws.measured
    exact = len(points) == 2 and measured.targets is None and all(len(point.seeds) == 1 for point in points)
    differences, shares, few = [], [], False
    for at, a, b in contrasts:
        weights = np.concatenate([a, -b]).tolist()
        # Added one by one: the rounding of a matrix product depends on the number of threads.
        share, values = (
            sum((weight * of[point.experiments] for weight, point in zip(weights, points, strict=True)), np.zeros(1))
            for of in (draws.parts, draws.accuracy)
        )
        shares.append(share)
        wins, losses = _told(share)
        low, high = interval(values)
        p = sign_test(wins, losses) if exact else bootstrap_p(values)
        if wins + losses < FEWEST_TELLING:
            few, p = True, max(p, sign_test(wins, losses))
            low, high = _widened(low, high, wins, losses, measured)
        accuracies = ([point.accuracy for point in front] for front in fronts)
        value_a, value_b = (float(of @ each) for of, each in zip((a, b), accuracies, strict=True))
        differences.append(_difference(at, value_a, value_b, 100 * low, 100 * high, p))
    test = "two-sided, by bootstrap"
    if exact:
        wins, losses = _told(shares[0])
        test = f"McNemar's exact test: A alone is right in {wins} videos, B alone in {losses}"
    return _Found(differences, test, draws.replicates, shares[0], [_FEW] if few else [])


_FEW = (
    f"Fewer than {FEWEST_TELLING} videos tell the sides apart, with which no test can find a difference and a "
    "bootstrap is too sure: intervals reach as far as exact bounds of these counts do, and no p is below 0.05."
)


def _told(shares: Floats) -> tuple[int, int]:
    """On how many A does better, and B."""
    return int((shares > ROUNDING).sum()), int((shares < -ROUNDING).sum())


def _widened(low: float, high: float, wins: int, losses: int, measured: Measured) -> tuple[float, float]:
    """Also what these counts allow: a difference is at most the share of videos on which A does better."""
    if measured.targets is not None:
        return -1.0, 1.0  # ranks depend on all videos: nothing is excluded
    videos = len(measured.video)
    return min(low, -largest_share(losses, videos)), max(high, largest_share(wins, videos))


def _difference(at: float | None, a: float, b: float, low: float, high: float, p: float) -> Difference:
    a, b, value, low, high = (round(number, 4) + 0.0 for number in (a, b, a - b, low, high))
    return Difference(at, a, b, value, low, high, float(f"{p:.6g}"))


def _class_differences(measured: Measured, shares: Floats, names: list[str]) -> list[ClassDifference]:
    """The difference within each class that a video has."""
    if not len(shares):
        return []
    numbers = np.unique(measured.classes)
    groups = [shares[measured.classes == k] for k in numbers]
    told = [_told(group) for group in groups]
    p = [sign_test(*each) for each in told]
    return [
        ClassDifference(
            name=names[k] if k < len(names) else str(k),
            videos=len(group),
            difference=round(100 * float(group.mean()), 4) + 0.0,
            better=each[0],
            worse=each[1],
            p=float(f"{one:.6g}"),
            p_holm=float(f"{corrected:.6g}"),
            stands=corrected < ALPHA,
        )
        for k, group, each, one, corrected in zip(numbers.tolist(), groups, told, p, holm(p), strict=True)
    ]


def _seeds(front: list[Point]) -> str:
    counts = sorted({len(point.seeds) for point in front})
    return ("1 seed" if counts == [1] else f"{counts[0]} seeds") if len(counts) == 1 else f"1 to {counts[-1]} seeds"


def _covers(names: Sequence[str], fronts: Sequence[list[Point]]) -> str:
    """What varies in an interval."""
    counts = [len(point.seeds) for front in fronts for point in front]
    if max(counts) == 1:
        return "videos alone: how far another training would differ is not in the interval"
    if min(counts) > 1:
        return "videos and seeds"
    said = ", ".join(f"{name} {_seeds(front)}" for name, front in zip(names, fronts, strict=True))
    return f"videos, and seeds where a point has several ({said})"


def _p(p: float) -> str:
    return f"p = {p:.2g}" if p >= 1e-4 else "p < 0.0001"


def _stands(difference: Difference, p: float) -> bool:
    """Whether both the test, as corrected, and the interval say so."""
    return p < ALPHA and not difference.low <= 0 <= difference.high


def _conclusion(
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
    if _stands(difference, p):
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
        f"{text}; with fewer than {FEW_SEEDS} a side it is too narrow where trainings differ much."
        if min(fewest) < FEW_SEEDS
        else f"{text}."
    )


def all_pairs(records: Records, ranked: float = RANKED) -> list[Pair]:
    """Every pair of methods of each data set, as their frontiers differ on average over the GFLOPs that both cover.

    Methods are told apart by their labels but for the seed; p is corrected (Holm) for all pairs of a data set. All are
    compared on the videos that all methods of the same validation list have.

    Args:
        ranked: videos x classes x points x replicates that a bootstrap of mAP may rank.

    Raises:
        UserError: for samples that are damaged or contradict one another.
    """
    names = sorted(records.table["dataset"].unique())
    return [pair for name in names for pair in _pairs(_of(records, name), name, ranked)]


@dataclass(frozen=True)
class _Meeting:
    """Two methods of one list of videos."""

    names: tuple[str, str]
    fronts: tuple[list[Point], list[Point]]
    measured: Measured
    overlap: tuple[float, float] | None
    found: _Found


def _pairs(trials: list[Trial], dataset: str, ranked: float) -> list[Pair]:
    lists: dict[tuple[Any, ...], list[Trial]] = defaultdict(list)
    for trial in trials:
        lists[trial.videos].append(trial)
    meetings: list[_Meeting] = []
    strangers: list[tuple[str, str]] = []
    for same in lists.values():
        measured = measure(same)
        if len(measured.video):
            meetings += _meetings(same, measured, ranked)
        else:
            strangers += combinations(sorted({trial.method for trial in same}), 2)
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


def _meetings(trials: list[Trial], measured: Measured, ranked: float) -> list[_Meeting]:
    """Every two methods, from one drawing of replicates for all."""
    axis = AXES["gflops"]
    groups: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[trial.method].append(trial)
    fronts = {
        name: [point for point in _marked(_points(group, measured), axis) if point.on_frontier]
        for name, group in groups.items()
    }
    points = [point for front in fronts.values() for point in front]
    draws = _Draws(measured, points, ranked) if len(fronts) > 1 else None
    meetings = []
    for a, b in combinations(sorted(fronts), 2):
        sides = (fronts[a], fronts[b])
        overlap = _overlap(sides, axis)
        contrasts = [] if overlap is None else _contrasts(sides, axis, *overlap)[:1]
        assert draws is not None
        meetings.append(_Meeting((a, b), sides, measured, overlap, _differences(draws, sides, contrasts)))
    return meetings


def _pair(meeting: _Meeting, p: float, pairs: int, dataset: str) -> Pair:
    difference = meeting.found.differences[0]
    where = _where(AXES["gflops"], None, meeting.overlap)
    tested = f"{_p(difference.p)}, {_p(p)} as corrected for {pairs} {'pair' if pairs == 1 else 'pairs'} (Holm)"
    sentence = _conclusion(meeting.names, meeting.fronts, difference, p, meeting.measured, where, tested)
    return Pair(
        *meeting.names, dataset, len(meeting.measured.video), meeting.overlap, difference, float(f"{p:.6g}"), sentence
    )


def _unmatched(meeting: _Meeting, dataset: str) -> Pair:
    sentence = _no_overlap(meeting.names, meeting.fronts, AXES["gflops"])
    return Pair(*meeting.names, dataset, len(meeting.measured.video), None, None, None, sentence)


def as_json(comparison: Comparison) -> str:
    """All of it, by the names of the fields."""
    return json.dumps(asdict(comparison), indent=1, ensure_ascii=False)


def as_text(comparison: Comparison, markdown: bool = False) -> str:
    """For a reader: the conclusion first, then what it rests on."""
    c = comparison
    left = f", {c.left_out} left out that not all points have" if c.left_out else ""
    blocks = [
        c.sentence,
        f"A is {c.a}, B is {c.b}. {c.dataset}, {c.videos} common videos{left}; {c.metric} in per cent.",
        _table(_point_rows(c), markdown),
    ]
    if c.matched:
        heading = f"At matched {c.axis}, each interval alone, not corrected for their number:"
        blocks += [heading, _table(_matched_rows(c), markdown)]
    if c.difference is not None:
        resampled = "bootstrap" if c.metric == "mAP" else "paired bootstrap"
        blocks.append(f"Intervals: 95%, {resampled}, {c.replicates} replicates; they cover {c.covers}.")
    blocks += _class_blocks(c, markdown)
    blocks += [f"Note: {note}" for note in c.notes]
    return "\n\n".join(blocks) + "\n"


def _table(rows: list[list[str]], markdown: bool) -> str:
    """The first row is the heading, the first column text."""
    if markdown:
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
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
                _listed(point.seeds),
                f"{point.accuracy:.2f}",
                f"{point.gflops:.4g}",
                f"{point.videos_per_second:.4g}",
            ]
            rows.append([f"{side}  {point.name}", *facts, *(["yes" if point.on_frontier else "no"] if c.axis else [])])
    return rows


def _matched_rows(c: Comparison) -> list[list[str]]:
    rows = [[c.axis, "A", "B", "A - B", "from", "to"]]
    means = [c.difference] if c.difference is not None and c.difference.at is None else []
    for each in (*c.matched, *means):
        cost = "mean" if each.at is None else f"{each.at:.4g}"
        differences = [f"{value:+.2f}" for value in (each.value, each.low, each.high)]
        rows.append([cost, f"{each.a:.2f}", f"{each.b:.2f}", *differences])
    return rows


def _class_blocks(c: Comparison, markdown: bool) -> list[str]:
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
    heading = (
        f"Classes: {len(stand)} of {len(c.classes)} differences stand once corrected for all classes (Holm; exact sign "
        f"test over the class's videos, of these trainings). Of the others, which do not, up to {SHOWN} either way:"
    )
    return [heading, _table(rows, markdown)]
