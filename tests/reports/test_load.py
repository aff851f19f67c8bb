"""Records to a table: merged from anywhere, in a fixed order, its errors and intervals by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.errors import UserError
from bench.experiment import Evaluation, Experiment, from_dict
from bench.record import read_result, result_files, training_folder
from bench.savings import saving_realised
from reports.load import Records, load_records, point_label, read_anew
from reports.seeds import wilson

Edit = Callable[[dict[str, Any]], None]


def edited(runs: Path, folder: Path, method: str, *edits: Edit) -> dict[str, Any]:
    """The table's row of a finished point whose record was changed; ids follow the experiment."""
    source = next(path for path in result_files(runs) if read_result(path).experiment.model.method == method)
    values = json.loads(source.read_text())
    for edit in edits:
        edit(values)
    path = folder / "points" / "edited" / "result.json"
    shutil.copytree(source.parent, path.parent)
    path.write_text(json.dumps(values))
    (row,) = load_records([folder]).table.to_dict("records")
    return dict(row)


def describing(change: Callable[[Experiment], Experiment]) -> Edit:
    """An edit that makes the record one of another experiment."""

    def edit(values: dict[str, Any]) -> None:
        experiment = change(from_dict(values["experiment"], "test"))
        values["experiment"] = experiment.to_dict()
        values["training_id"], values["experiment_id"] = experiment.training_id, experiment.experiment_id

    return edit


def top1(value: float) -> Edit:
    return lambda values: values["metrics"].update(top1=value)


def same(one: Records, other: Records) -> bool:
    return one.table.equals(other.table) and [r.values for r in one.results] == [r.values for r in other.results]


# Merging --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def halves(runs: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The records of three trainings copied into two folders, the second training's into both."""
    first, second, third = sorted({training_folder(runs, read_result(path).experiment) for path in result_files(runs)})
    for name, folders in (("one", (first, second)), ("other", (second, third))):
        for folder in folders:
            shutil.copytree(folder, tmp_path / name / folder.relative_to(runs))
    return tmp_path / "one", tmp_path / "other"


def test_copies_read_together_are_the_whole(runs: Path, halves: tuple[Path, Path]) -> None:
    whole = load_records([runs])
    assert len(whole.results) == 4 and all(len(load_records([half]).results) < 4 for half in halves)
    assert same(load_records(list(halves)), whole) and same(load_records(list(reversed(halves))), whole)


def test_copies_in_one_folder_are_the_whole(runs: Path, halves: tuple[Path, Path], tmp_path: Path) -> None:
    for half in halves:
        shutil.copytree(half, tmp_path / "merged", dirs_exist_ok=True)
    assert same(load_records([tmp_path / "merged"]), load_records([runs]))


def test_points_stand_by_method_and_number_of_frames(runs: Path) -> None:
    table = load_records([runs]).table
    assert list(zip(table["method"], table["frames"], strict=True)) == [
        ("AFNet", 4),
        ("TSM", 4),
        ("TSN", 4),
        ("TSN", 8),
    ]


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "n"), [(0.5, 100), (0.2, 400), (0.9, 900), (0.0, 10), (1.0, 10), (478 / 480, 480)])
def test_the_interval_holds_the_shares_that_would_not_be_surprised(share: float, n: int) -> None:
    """Wilson's definition: its ends lie 1.96 of *their own* standard deviations from what was seen."""
    low, high = wilson(share, n)
    assert 0 <= low <= share <= high <= 1
    for end in {low, high} - {0.0, 1.0}:
        assert abs(end - share) == pytest.approx(1.959964 * (end * (1 - end) / n) ** 0.5, rel=1e-6)
    assert high - low > 0


def test_the_interval_of_top1_is_in_percent_over_the_validation_videos(runs: Path, tmp_path: Path) -> None:
    row = edited(runs, tmp_path, "tsn", top1(50.0))
    assert row["videos"] == 6
    assert (row["top1_low"] / 100, row["top1_high"] / 100) == pytest.approx(wilson(0.5, 6))


def timed(seconds: dict[str, float]) -> Edit:
    """Timings by hand: offline 4 clips in so many seconds, quartiles 4/5 and 2 times that; single stream a tenth."""

    def edit(values: dict[str, Any]) -> None:
        def summary(batch: int, median: float) -> dict[str, Any]:
            quartiles = [0.8 * median, 2 * median]
            return {"batch": batch, "median": median, "quartiles": quartiles, "p90": 3 * median, "noisy": median > 5,
                    "stable": None, "samples": [median] * 3}  # fmt: skip

        values["timing"]["scenarios"] = {
            "offline": {execution: summary(4, median) for execution, median in seconds.items()},
            "single_stream": {execution: summary(1, median / 10) for execution, median in seconds.items()},
        }

    return edit


ALL = timed({"dense": 8.0, "masked": 10.0, "skipped": 2.0})


@pytest.mark.parametrize(
    ("execution", "median", "noisy"), [("dense", 8, True), ("masked", 10, True), ("skipped", 2, False)]
)
def test_throughput_and_latency_are_those_of_the_executed_path(
    runs: Path, tmp_path: Path, execution: str, median: float, noisy: bool
) -> None:
    chosen = describing(lambda experiment: replace(experiment, evaluation=Evaluation(execution=execution)))
    row = edited(runs, tmp_path, "afnet", ALL, chosen)
    assert row["videos_per_second"] == pytest.approx(4 / median)
    assert row["videos_per_second_low"] == pytest.approx(4 / median / 2)
    assert row["videos_per_second_high"] == pytest.approx(4 / median / 0.8)
    assert row["latency_p90_ms"] == pytest.approx(1e3 * 3 * median / 10)
    assert row["noisy"] is noisy


def test_a_method_that_skips_nothing_is_shown_dense(runs: Path, tmp_path: Path) -> None:
    row = edited(runs, tmp_path, "tsn", timed({"dense": 8.0}))
    assert row["videos_per_second"] == 0.5
    assert row["saving_realised"] is None


def test_the_saving_is_of_the_clips_that_were_timed(runs: Path, tmp_path: Path) -> None:
    def costs(values: dict[str, Any]) -> None:
        values["macs"]["dense"], values["metrics"]["macs"], values["timing"]["macs_per_video"] = 4e9, 3e9, 2e9

    row = edited(runs, tmp_path, "afnet", ALL, costs)
    assert (row["gflops_dense"], row["gflops"]) == (4.0, 3.0)
    # Four times as fast for half the multiply-adds.
    assert [row[name] for name in ("saving_realised", "saving_low", "saving_high")] == [3.0, 3.0, 3.0]


def test_the_device_is_the_one_that_was_timed(runs: Path, tmp_path: Path) -> None:
    row = edited(runs, tmp_path, "tsn", lambda values: values["timing"]["device"].update(name="a stopwatch"))
    assert row["device"] == "a stopwatch"


def test_the_interval_of_the_saving_is_that_of_the_median_over_rounds() -> None:
    """Ratios 1, 2, 3: of the medians of three draws, 7 in 27 are the least and 7 in 27 the greatest."""
    times = {"dense": {"samples": [2.0, 8.0, 3.0]}, "skipped": {"samples": [2.0, 4.0, 1.0]}}
    assert saving_realised(times, 2.0, 1.0) == {"saving_realised": 1.0, "saving_low": 0.0, "saving_high": 2.0}
    assert saving_realised(times, 1.5, 1.0) == {"saving_realised": 2.0, "saving_low": 0.0, "saving_high": 4.0}


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "label"),
    [
        ({}, "8f"),
        ({"ratio": 0.5}, "8f r.50"),
        ({"ratio": 0.25}, "8f r.25"),
        ({"ratio": 1.0}, "8f r1"),
        ({"keep": 2}, "2/8f"),
        ({"patch": 32}, "8f 32px"),
        ({"keep": 2, "patch": 32}, "2/8f 32px"),
    ],
)
def test_a_point_is_named_by_frames_and_how_much_it_computes(knobs: dict[str, float], label: str) -> None:
    assert point_label({"frames": 8, "ratio": None, "keep": None, "patch": None, **knobs}) == label


def test_a_network_without_shift_is_another_method(runs: Path, tmp_path: Path) -> None:
    def without(experiment: Experiment) -> Experiment:
        settings = replace(experiment.model.settings, shift=False)  # type: ignore[call-arg]
        return replace(experiment, model=replace(experiment.model, settings=settings))

    assert edited(runs, tmp_path, "afnet", describing(without))["method"] == "AFNet, no shift"


def test_a_value_that_does_not_apply_is_empty(runs: Path) -> None:
    table = load_records([runs]).table.set_index("method")
    assert pd.isna(table.loc["TSM", ["ratio", "kept_ratio", "recall", "precision", "saving_realised"]]).all()
    assert not pd.isna(table.loc["AFNet", ["ratio", "kept_ratio"]]).any()


def test_records_that_differ_in_single_times_alone_are_refused(runs: Path, tmp_path: Path) -> None:
    source = result_files(runs)[0]
    for number in range(2):
        values = json.loads(source.read_text())
        values["timing"]["scenarios"]["offline"]["dense"]["samples"][0] += number
        path = tmp_path / str(number) / "points" / source.parent.name / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="different results of the same experiment"):
        load_records([tmp_path])


def test_a_metric_that_is_newer_than_a_record_needs_no_run(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    for path in result_files(tmp_path / "runs"):
        values = json.loads(path.read_text())
        for name in ("macs_deciles", "recall_by_position"):
            values["metrics"].pop(name, None)
        path.write_text(json.dumps(values))
    old, new = (load_records([tmp_path / "runs"], read=read) for read in (read_result, read_anew))
    assert old.table["recall_by_position"].isna().all() and not any("macs_deciles" in r.metrics for r in old.results)
    assert same(new, load_records([runs]))


def test_a_record_without_samples_cannot_be_computed_anew(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    next((tmp_path / "runs").rglob("samples.parquet")).unlink()
    with pytest.raises(UserError, match=r"samples.parquet"):
        load_records([tmp_path / "runs"], read=read_anew)
    assert len(load_records([tmp_path / "runs"], "skip", read_anew).left_out) == 1
