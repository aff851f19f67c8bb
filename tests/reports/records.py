"""Records that were never run, for tests of what is said of records."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.catalogue import StoredSettings
from bench.experiment import Data, Evaluation, Experiment
from bench.record import point_folder
from bench.samples import Samples, write_samples
from tests.conftest import small

VIDEOS = 60


class Writer:
    """Records that were never run: a record of a run with other answers, costs and times."""

    def __init__(self, template: dict[str, Any], runs: Path) -> None:
        self.template, self.runs = template, runs

    def __call__(
        self,
        experiment: Experiment,
        right: NDArray[np.bool_],
        *,
        gmacs: float = 1.0,
        speed: float = 100.0,
        noisy: bool = False,
        video: NDArray[np.int64] | None = None,
        labels: NDArray[np.int64] | None = None,
        logits: NDArray[np.float32] | None = None,
        targets: NDArray[np.bool_] | None = None,
        **values: Any,
    ) -> Experiment:
        video = np.arange(len(right)) if video is None else video
        labels = video % 4 if labels is None else labels
        if logits is None:
            answers = np.where(right, labels, (labels + 1) % 4)
            logits = np.eye(4, dtype=np.float32)[answers]
        result = copy.deepcopy(self.template)
        result |= {
            "experiment": experiment.to_dict(),
            "training_id": experiment.training_id,
            "experiment_id": experiment.experiment_id,
            **values,
        }
        for timed in result["timing"]["scenarios"]["offline"].values():
            median = timed["batch"] / speed
            timed |= {"median": median, "quartiles": [0.98 * median, 1.02 * median], "noisy": noisy}
        folder = point_folder(self.runs, experiment)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result))
        none = np.zeros((len(video), 1), np.int64)
        macs = np.full(len(video), round(gmacs * 1e9))
        regions = np.zeros((len(video), 1, 4), np.float32)
        samples = Samples(video, labels, logits, macs, none, none.astype(bool), regions, targets=targets)
        write_samples(folder / "samples.parquet", samples)
        return experiment


def point(method: str = "tsn", frames: int = 4, seed: int = 0) -> Experiment:
    start = small(method)
    return replace(start, evaluation=Evaluation(frames=frames), training=replace(start.training, seed=seed))


def several(method: str, seed: int = 0) -> Experiment:
    """A point on videos of several labels; their data need not be here."""
    data = Data("charades", 64, 12, 50, 6, "f" * 12, settings=StoredSettings())
    start = small(method)
    return replace(start, data=data, training=replace(start.training, seed=seed))


def answers(share: float, seed: int = 0, videos: int = VIDEOS) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random(videos) < share
