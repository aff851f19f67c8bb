"""How long the rest takes: paces of records, per network and method, each training once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.experiment import Evaluation, Experiment, Training
from bench.record import EVALUATED, point_folder, training_folder, write_heartbeat
from sweeps.estimate import estimate, in_words
from sweeps.plan import Point, plan
from tests.conftest import small


def record(runs: Path, experiment: Experiment, **stages: Any) -> None:
    """As much of one as an estimate reads."""
    folder = point_folder(runs, experiment)
    folder.mkdir(parents=True)
    values = {
        "experiment": experiment.to_dict(),
        "experiment_id": experiment.experiment_id,
        "stages": {"device": "a card", "processes": 1, "training": 100.0, "evaluation": 10.0, "timing": 5.0, **stages},
    }
    (folder / "result.json").write_text(json.dumps(values, indent=1) + "\n")


def longer(experiment: Experiment, times: int, **training: Any) -> Experiment:
    epochs = experiment.training.epochs * times
    return replace(experiment, training=replace(experiment.training, epochs=epochs, **training))


def test_a_training_of_twice_the_clips_takes_twice_the_seconds(tmp_path: Path) -> None:
    record(tmp_path, small("tsn"))
    found = estimate(plan([small("tsn"), longer(small("tsn"), 2, seed=1)], tmp_path), tmp_path)
    assert found.total == pytest.approx(200 + 10 + 5) and found.unknown == 0
    assert (found.past.device, found.past.records) == ("a card", 1)


def test_points_of_a_training_train_once_and_evaluate_their_frames(tmp_path: Path) -> None:
    record(tmp_path, small("tsn"))
    several = [longer(small("tsn"), 1, seed=1)]
    several.append(replace(several[0], evaluation=Evaluation(frames=8)))
    found = estimate(plan(several, tmp_path), tmp_path)
    assert list(found.seconds.values()) == pytest.approx([100 + 10 + 5, 20 + 5])


def test_processes_that_train_together_count_each(tmp_path: Path) -> None:
    record(tmp_path, small("tsn"), processes=4)
    found = estimate(plan([longer(small("tsn"), 1, seed=1)], tmp_path), tmp_path)
    assert found.total == pytest.approx(4 * 110 + 5)


def test_what_is_evaluated_is_timed_only_and_what_runs_is_partly_done(tmp_path: Path) -> None:
    record(tmp_path, small("tsn"))
    point = longer(small("tsn"), 1, seed=1)
    folder = training_folder(tmp_path, point)
    folder.mkdir(parents=True)
    write_heartbeat(folder, "train", 3, 4)
    running = Point(point, "running")
    assert estimate([running], tmp_path).total == pytest.approx(25 + 10 + 5)
    path = point_folder(tmp_path, point) / EVALUATED
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert estimate(plan([point], tmp_path), tmp_path).total == pytest.approx(5)


def test_a_method_without_records_goes_by_others_on_its_network_and_none_by_none(tmp_path: Path) -> None:
    record(tmp_path, small("tsn"))
    record(tmp_path, small("tsm"), training=300.0)
    assert estimate(plan([small("afnet")], tmp_path), tmp_path).total == pytest.approx(200 + 10 + 5)
    big = replace(small("tsn"), model=replace(small("tsn").model, backbone="resnet50"))
    found = estimate(plan([big], tmp_path), tmp_path)
    assert (found.total, found.unknown) == (0, 1)


def test_records_of_the_device_that_has_most_count_and_bad_ones_do_not(tmp_path: Path) -> None:
    record(tmp_path, small("tsn"), device="a slow one", training=9000.0)
    for seed in (1, 2):
        record(tmp_path, replace(small("tsn"), training=Training(batch=4, seed=seed)))
    bad = point_folder(tmp_path, longer(small("tsn"), 1, seed=7)) / "result.json"
    bad.parent.mkdir(parents=True)
    bad.write_text('{"experiment": 3}')
    found = estimate(plan([longer(small("tsn"), 1, seed=8)], tmp_path), tmp_path)
    assert (found.past.device, found.past.records) == ("a card", 2) and found.total == pytest.approx(115)


def test_tiny_trials_do_not_tell_of_long_trainings(tmp_path: Path) -> None:
    """They take the time to begin, whatever they have to do."""
    for seed in range(5):
        record(tmp_path, longer(small("tsn"), 1, seed=seed))
    record(tmp_path, longer(small("tsn"), 100, seed=9), training=1000.0)
    found = estimate(plan([longer(small("tsn"), 50, seed=10)], tmp_path), tmp_path)
    assert found.total == pytest.approx(500 + 10 + 5)


def test_seconds_are_said_as_a_reader_would() -> None:
    assert [in_words(seconds) for seconds in (3, 100, 7200)] == ["3 seconds", "2 minutes", "2.0 hours"]
