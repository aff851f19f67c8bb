"""How long points will take, from what others took that are on disk. Imports no torch.

Seconds of a training grow with clips x frames x pixels, those of an evaluation too, both at a pace of the method on its
network; a timing takes what timings of the network took. Where the method has no record its network's other methods
stand in; where the network has none, nothing is said. Paces are medians, weighted by how much each record measured, so
that tiny trials, which take the time to begin, do not tell of long trainings; of the device that most records are from.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.experiment import Experiment, from_dict
from bench.record import read_heartbeat, training_folder
from sweeps.plan import Point

# Of each method on each data set, that are read.
RECORDS = 25
PARTS = ("training", "evaluation", "timing")


@dataclass(frozen=True)
class Past:
    """What records say.

    Attributes:
        device: that they are from.
        records: how many there are.
        paces: seconds of a unit of each of PARTS, by method and network, and by "" and network.
    """

    device: str = ""
    records: int = 0
    paces: dict[tuple[str, str, str], float] | None = None

    def seconds(self, part: str, experiment: Experiment) -> float | None:
        """Of a part of one point, all processes together; None where nothing is known."""
        network = experiment.model.backbone
        paces = self.paces or {}
        pace = paces.get((part, experiment.model.method, network), paces.get((part, "", network)))
        return None if pace is None else pace * _units(part, experiment)


@dataclass(frozen=True)
class Estimate:
    """What is left of a sweep.

    Attributes:
        seconds: of each point that is not done, by its experiment id, all processes together; a training's are those of
            the first of its points. None where nothing is known.
        past: what it goes by.
    """

    seconds: dict[str, float | None]
    past: Past

    @property
    def total(self) -> float:
        """Seconds, without those of which nothing is known."""
        return sum(seconds or 0.0 for seconds in self.seconds.values())

    @property
    def unknown(self) -> int:
        """Points of which nothing is known."""
        return sum(seconds is None for seconds in self.seconds.values())

    def of(self, point: Point) -> float | None:
        """Seconds of one point."""
        return self.seconds.get(point.experiment.experiment_id)


def estimate(points: Sequence[Point], runs: Path) -> Estimate:
    """What the points that are not done will take, less what running trainings have behind them."""
    left = [point for point in points if point.state != "done"]
    past = read_past({point.experiment.data.dataset for point in left}, runs)
    trained = {point.experiment.training_id for point in points if point.state == "done" or point.evaluated}
    seconds: dict[str, float | None] = {}
    for point in left:
        seconds[point.experiment.experiment_id] = _seconds(point, past, runs, trained)
        trained.add(point.experiment.training_id)
    return Estimate(seconds, past)


def _seconds(point: Point, past: Past, runs: Path, trained: Collection[str]) -> float | None:
    experiment = point.experiment
    parts = [past.seconds("timing", experiment)]
    if not point.evaluated:
        parts.append(past.seconds("evaluation", experiment))
        if experiment.training_id not in trained:
            training = past.seconds("training", experiment)
            parts.append(training and training * (1 - _share_done(point, runs)))
    return None if None in parts else sum(part for part in parts if part is not None)


def _share_done(point: Point, runs: Path) -> float:
    """Of its training."""
    heartbeat = read_heartbeat(training_folder(runs, point.experiment)) if point.state == "running" else None
    if heartbeat is None or not heartbeat.steps:
        return 0.0
    return (
        min(heartbeat.step / heartbeat.steps, 1.0) if heartbeat.stage == "train" else float(heartbeat.stage != "start")
    )


def read_past(datasets: Collection[str], runs: Path) -> Past:
    """Of data sets; some records of each method."""
    records = [record for dataset in sorted(datasets) for record in _records(runs / dataset)]
    if not records:
        return Past()
    device = Counter(stages["device"] for _, stages in records).most_common(1)[0][0]
    records = [(experiment, stages) for experiment, stages in records if stages["device"] == device]
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for experiment, stages in records:
        for part in PARTS:
            seconds = float(stages[part]) * (1 if part == "timing" else stages["processes"])
            for method in (experiment.model.method, ""):
                if seconds:
                    units = _units(part, experiment)
                    found[part, method, experiment.model.backbone].append((seconds / units, units))
    return Past(device, len(records), {key: _median(values) for key, values in found.items()})


def _median(paces: Sequence[tuple[float, float]]) -> float:
    """Of paces with their weights: half of the weight is below it, half above."""
    ordered = sorted(paces)
    behind = list(accumulate(weight for _, weight in ordered))
    low, high = bisect_left(behind, behind[-1] / 2), bisect_right(behind, behind[-1] / 2)
    return (ordered[low][0] + ordered[min(high, len(ordered) - 1)][0]) / 2


def _units(part: str, experiment: Experiment) -> float:
    """Of what a part's seconds grow with."""
    clips = {
        "training": experiment.steps * experiment.training.batch * experiment.model.frames,
        "evaluation": experiment.data.val_clips
        * experiment.evaluation.clips
        * experiment.evaluation.crops
        * experiment.evaluation.frames,
        "timing": 1,
    }
    return clips[part] * (1 if part == "timing" else experiment.data.size**2)


def _records(dataset: Path) -> Iterator[tuple[Experiment, dict[str, Any]]]:
    for folder in sorted(dataset.glob("*")):
        # Not sorted: what of thousands of folders comes first is as good as any.
        for path in islice(folder.glob("*/points/*/result.json"), RECORDS):
            try:
                values = json.loads(path.read_text())
                experiment = from_dict(values["experiment"], "its experiment")
                stages = {"device": "an unknown device", "processes": 1, **values["stages"]}
                if all(float(stages[part]) >= 0 for part in (*PARTS, "processes")):
                    yield experiment, stages
            except (OSError, ValueError, KeyError, TypeError, UserError):
                continue  # `afbench check` says what is wrong with it; a guess does without


def in_words(seconds: float) -> str:
    """Hours, or minutes, or seconds."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
