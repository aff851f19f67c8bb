"""Tiny trials are told from the record, marked, and conclude nothing beside others."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.experiment import Experiment
from bench.record import point_folder, result_files
from reports.load import load_records
from reports.pairs import choose
from reports.questions import answered
from reports.site import write_site
from reports.tables import COLUMNS, best_of
from reports.trials import is_trial, note, without_trials
from sweeps.recipes import RECIPES
from sweeps.recipes.bases import shortened

DATA = "digits-in-motion"


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_what_a_recipe_shortens_is_a_trial_and_nothing_else(name: str) -> None:
    assert all(is_trial(point) for point in RECIPES[name].points(True))
    assert not any(is_trial(point) for point in RECIPES[name].points(False))


@pytest.mark.parametrize("clips", [1, 4, 5, 31, 32, 100])
def test_trials_of_few_videos_are_told_too(clips: int) -> None:
    start = RECIPES["demo"].points(False)[0]
    data = replace(start.data, train_clips=clips, val_clips=clips)
    point = shortened(replace(start, data=data, training=replace(start.training, batch=1)))
    assert is_trial(point) and point.steps <= 3
    assert not is_trial(replace(point, training=replace(point.training, epochs=2)))
    assert not is_trial(replace(point, data=replace(point.data, val_clips=33)))


def add(runs: Path, like: Path, point: Experiment, **metrics: Any) -> None:
    """A copy of a record as if it were of another experiment."""
    values = json.loads(like.read_text())
    values |= {
        "experiment": point.to_dict(),
        "training_id": point.training_id,
        "experiment_id": point.experiment_id,
        "metrics": values["metrics"] | metrics,
    }
    folder = point_folder(runs, point)
    shutil.copytree(like.parent, folder)
    (folder / "result.json").write_text(json.dumps(values))


@pytest.fixture
def mixed(runs: Path, tmp_path: Path) -> Path:
    """Finished runs, and a tiny trial of each that is right in every video."""
    shutil.copytree(runs, tmp_path / "runs")
    for path in result_files(runs):
        (result,) = load_records([path]).results
        add(tmp_path / "runs", path, shortened(result.experiment), top1=100.0)
    return tmp_path / "runs"


@pytest.fixture
def trials(mixed: Path, runs: Path) -> Path:
    for path in result_files(runs):
        shutil.rmtree(mixed / path.relative_to(runs).parent)
    return mixed


def test_trials_are_told_apart_and_others_keep_their_labels(mixed: Path, runs: Path) -> None:
    records = load_records([mixed])
    table = records.pooled
    alone = load_records([runs]).pooled
    told = without_trials(table)
    assert told["method"].tolist() == alone["method"].tolist() and told["value"].tolist() == alone["value"].tolist()
    of_trials = table[table["trial"].astype(bool)]
    assert set(of_trials["method"]) == {f"{name}, tiny trial" for name in alone["method"]}
    assert note(records.table) == (
        "4 of 8 records of Digits in motion are tiny trials (--tiny: two steps of training, at most 32 videos): their "
        "accuracy means nothing. No sentence, pair or published figure makes use of them."
    )
    assert note(load_records([runs]).table) == ""
    one = records.table[records.table["trial"]].iloc[:1]
    assert note(one).startswith("The only record of Digits in motion is a tiny trial")


def test_trials_neither_answer_nor_rank_nor_pair(mixed: Path, runs: Path) -> None:
    records, alone = load_records([mixed]), load_records([runs])
    both = [answered(without_trials(each.pooled)) for each in (records, alone)]
    answers = [[question.answer(rows) for question, rows in each] for each in both]
    assert answers[0] == answers[1] != []
    assert choose(records, DATA, 10).methods == choose(alone, DATA, 10).methods
    (accuracy,) = (column for column in COLUMNS if column.name == "top1")
    best = best_of(records.pooled.to_dict("records"), accuracy)
    assert best and not records.pooled.iloc[sorted(best)]["trial"].any()


def test_the_pages_say_so(mixed: Path, runs: Path, tmp_path: Path) -> None:
    front = write_site([mixed], tmp_path / "out")
    alone = write_site([runs], tmp_path / "alone")
    for file in ("index.html", f"data-{DATA}.html"):
        assert "4 of 8 records of Digits in motion are tiny trials" in front.with_name(file).read_text()
        assert "tiny trial" not in alone.with_name(file).read_text()

    def sentences(page: Path) -> str:
        return page.read_text().partition("What the points say")[2]

    assert sentences(front) == sentences(alone) != ""


def test_a_folder_of_trials_alone_is_reported_with_a_warning(trials: Path, tmp_path: Path) -> None:
    records = load_records([trials])
    assert len(records.table) == 4 and len(without_trials(records.pooled)) == 4
    assert not any("tiny trial" in name for name in records.pooled["method"])
    page = write_site([trials], tmp_path / "out").read_text()
    assert "All 4 records of Digits in motion are tiny trials" in page and "What the points say" in page
