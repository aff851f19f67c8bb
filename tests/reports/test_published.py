"""Published figures: read strictly, matched never loosely, and why ours may differ from them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.data.known import KNOWN
from bench.errors import UserError
from bench.experiment import Data, Evaluation, Experiment, Model, Training
from bench.methods import METHODS, find_method
from reports.published.beside import beside_published, reasons, write_published
from reports.published.figures import COLUMNS, Published, parse_published, published_figures
from reports.published.kinds import BACKBONES, BY_VIEW, DATASETS, NAMES, kind_of, kind_of_published
from reports.published.points import published_points
from reports.seeds import wilson

HEAD = ",".join(COLUMNS)
LINE = "TSM,ResNet50,Jester,8,224,top1,96.0,32.7,162.7,a GPU,somewhere"


# The file -------------------------------------------------------------------------------------------------------------


def test_a_line_is_read_as_it_stands() -> None:
    (figure,) = parse_published(f"{HEAD}\n{LINE}\n", "x.csv")
    assert figure == Published(
        "TSM", "ResNet50", "Jester", "8", "224", "top1", 96.0, 32.7, 1, 162.7, "a GPU", "somewhere"
    )


def test_a_cost_of_a_view_is_read_with_the_number_of_views() -> None:
    (figure,) = parse_published(f"{HEAD}\n{LINE.replace('32.7', '36x30')}\n", "x.csv")
    assert (figure.gflops, figure.views) == (36.0, 30)


def test_what_is_not_printed_is_none() -> None:
    (figure,) = parse_published(f"{HEAD}\nTSM,,Jester,,,top1,96.0,,,,somewhere\n", "x.csv")
    assert figure.gflops is None and figure.throughput is None and figure.frames == figure.resolution == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x\.csv has the columns none; expected method, backbone"),
        (f"{HEAD},more\n", r"x\.csv has the columns .*more; expected"),
        (f"{HEAD}\n{LINE},\n", "line 2 has 12 cells; expected 11"),
        (f"{HEAD}\n{LINE}\n\n", "line 3 has 0 cells"),
        (f"{HEAD}\n{LINE.replace('96.0', 'high')}\n", "line 2: value is 'high'; expected a number above 0"),
        (f"{HEAD}\n{LINE.replace('96.0', 'nan')}\n", "value is 'nan'"),
        (f"{HEAD}\n{LINE.replace('96.0', '960')}\n", "value is 960; expected per cent"),
        (f"{HEAD}\n{LINE.replace('32.7', '~33')}\n", "gflops is '~33'"),
        (f"{HEAD}\n{LINE.replace('32.7', '0')}\n", "gflops is '0'; expected a number above 0"),
        (f"{HEAD}\n{LINE.replace('162.7', 'fast')}\n", "throughput is 'fast'"),
        (f"{HEAD}\n{LINE.replace('top1', 'top-1')}\n", "metric is 'top-1'; expected one of top1, mAP"),
        (f"{HEAD}\n{LINE.replace('somewhere', ' ')}\n", "source is empty"),
        (f'{HEAD}\n"TSM"x,\n', r"line 2, is no line of a table"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_published(text, "x.csv")


def test_the_packages_file_is_read_whole() -> None:
    text = resources.files("reports").joinpath("published.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(published_figures()) == len(rows) > 400
    assert [figure.source for figure in published_figures()] == [row["source"] for row in rows]


# Names ----------------------------------------------------------------------------------------------------------------


def test_every_name_that_is_mapped_is_printed_and_some_figure_of_it_can_match() -> None:
    printed = {(figure.source, figure.method) for figure in published_figures()}
    known = {(figure.source, figure.method) for figure in published_figures() if kind_of_published(figure)}
    mapped = {(source, name) for source, names in NAMES.items() for name in names}
    assert mapped <= printed and mapped == known


def test_names_stand_for_what_there_is() -> None:
    figures = published_figures()
    assert set(DATASETS) <= {figure.dataset for figure in figures} and set(DATASETS.values()) <= set(KNOWN)
    assert set(BACKBONES) <= {figure.backbone for figure in figures}
    for name in (name for names in NAMES.values() for name in names.values()):
        assert name.method in METHODS and find_method(name.method).settings(**name.settings)


def test_a_figure_is_the_point_that_it_says() -> None:
    found = {}
    for figure in published_figures():
        kind = kind_of_published(figure)
        if kind is not None:
            found[figure.method, figure.dataset, figure.frames, figure.resolution, figure.backbone] = kind
    kind = found["AdaFocusV2-TSM", "Jester", "8+12", "224+176 patch", "MobileNetV2+ResNet50"]
    assert (kind.method, kind.backbone, kind.frames, kind.size) == ("adafocus-v2", "resnet50", 12, 224)
    wanted = {"glance": "mobilenetv2", "glance_frames": 8, "glance_size": 224, "patch": 176, "per": "video"}
    assert wanted.items() <= dict(kind.settings).items()
    kind = found["TSM (train 16f, test other)", "Kinetics-400", "4", "224", "ResNet50"]
    assert (kind.method, kind.dataset, kind.frames, kind.trained_frames) == ("tsm", "kinetics-400", 4, 16)
    kind = found["AFNet RT=0.25", "Something-Something V1", "8", "224", "AF-ResNet50"]
    assert dict(kind.settings)["ratio"] == 0.25 and dict(kind.settings)["shift"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"source": "another README"},
        {"method": "TSM+"},
        {"backbone": "R50"},
        {"backbone": "MobileNetV2+ResNet50"},
        {"dataset": "HVU"},
        {"frames": ""},
        {"frames": "8+8"},
        {"resolution": ""},
        {"resolution": "224+128 patch"},
    ],
)
def test_a_figure_of_which_anything_is_not_known_matches_nothing(change: dict[str, str]) -> None:
    figure = replace(TSM, source="mit-han-lab/temporal-shift-module:README.md", method="TSM uniform, 1-crop")
    assert kind_of_published(figure) is not None
    assert kind_of_published(replace(figure, **change)) is None  # type: ignore[arg-type]


# Matching -------------------------------------------------------------------------------------------------------------

README = "BeSpontaneous/AFNet-pytorch:README.md"
TSM = Published("TSM", "ResNet50", "Something-Something V1", "8", "224", "top1", 45.6, 32.7, 1, None, "", README)
VIDEOS = KNOWN["something-something-v1"].videos


def experiment(
    method: str = "tsm",
    *,
    frames: int = 8,
    size: int = 224,
    epochs: int = 50,
    weights: str = "abc",
    videos: int = VIDEOS["val"],
    classes: int = 174,
    dataset: str = "something-something-v1",
    backbone: str = "resnet50",
    validate: int = 0,
    evaluation: Evaluation | None = None,
    **settings: Any,
) -> Experiment:
    data = Data(dataset, size, VIDEOS["train"], videos, classes, "0" * 12)
    model = Model(method, backbone, frames, find_method(method).settings(**settings))
    training = Training(epochs=epochs, weights=weights, validate=validate)
    return Experiment(data=data, model=model, training=training, evaluation=evaluation or Evaluation())  # fmt: skip


def row(point: Experiment, top1: float = 44.0, **values: Any) -> dict[str, Any]:
    low, high = wilson(top1 / 100, point.data.val_clips)
    found: dict[str, Any] = {"dataset": point.data.dataset, "method": "TSM", "name": point.model.method, "point": "8f"}
    found |= {"frames": point.evaluation.frames, "trained_frames": point.model.frames, "seed": point.training.seed}
    found |= {"top1": top1, "top1_low": 100 * low, "top1_high": 100 * high, "gflops": 32.704, "map": None}
    return found | {"videos": point.data.val_clips, "experiment_id": point.experiment_id, **values}


def beside(*points: Experiment, figures: list[Published] | None = None, **values: Any) -> pd.DataFrame:
    table = pd.DataFrame([row(point, **values) for point in points])
    return beside_published(table, {point.experiment_id: point for point in points}, figures)


def test_ours_stands_beside_every_figure_of_its_kind() -> None:
    found = beside(experiment())
    assert found["published_as"].tolist() == ["TSM", "TSM separate training", "TSM (center crop x 1 clip)"]
    assert found["published"].tolist() == [45.6, 45.63, 45.6] and found["ours"].unique().tolist() == [44.0]
    assert found["difference"].tolist() == pytest.approx([-1.6, -1.63, -1.6])
    assert found["published_gflops"][0] == 32.7 and pd.isna(found["published_gflops"][1])
    assert found["source"][0] == README


@pytest.mark.parametrize(
    "point",
    [
        experiment(frames=16, evaluation=Evaluation(frames=8)),
        experiment(frames=4),
        experiment(size=256),
        experiment(backbone="resnet18"),
        experiment(classes=100),
        experiment("tsn"),
        experiment("uniform", frames=8),
        experiment("afnet", ratio=0.5),
        experiment("afnet", ratio=0.5, shift=False, navigation="random"),
        experiment("afnet", ratio=0.5, shift=False, evaluation=Evaluation(execution="dense")),
        experiment("afnet", ratio=0.5, shift=False, evaluation=Evaluation(budget=4)),
    ],
)
def test_another_kind_stands_beside_nothing(point: Experiment) -> None:
    others = [figure for figure in published_figures() if figure.method in ("TSM", "AFNet RT=0.50")]
    assert len(others) > 2 and beside(point, figures=others).empty


def test_metrics_are_never_mixed() -> None:
    figure = replace(TSM, metric="mAP")
    assert beside(experiment(), figures=[figure]).empty
    found = beside(experiment(), figures=[figure], map=50.0)
    assert (found["ours"][0], found["metric"][0]) == (50.0, "mAP")


def test_the_ratio_and_the_shift_choose_the_figure() -> None:
    for ratio, shift, frames, values in ((0.5, False, 8, [26.8]), (0.25, False, 8, [27.7]), (0.4, True, 12, [49.0])):
        found = beside(experiment("afnet", ratio=ratio, shift=shift, frames=frames))
        assert found["published"].tolist() == values


def test_a_budget_counts_as_the_frames_that_are_kept() -> None:
    data = {"dataset": "activitynet", "classes": 200, "frames": 16, "shift": False}
    kept = experiment("scsampler", keep=4, evaluation=Evaluation(budget=10), **data)  # type: ignore[arg-type]
    assert kind_of(kept) == kind_of(experiment("scsampler", keep=10, **data))  # type: ignore[arg-type]
    assert beside(kept, map=70.0)["published"].tolist() == [72.937]


def test_data_that_nobody_published_stands_beside_nothing() -> None:
    assert kind_of(Experiment()) is None


# Why ours may differ --------------------------------------------------------------------------------------------------


def why(point: Experiment, figure: Published = TSM, **values: Any) -> list[str]:
    return reasons(row(point, seeds=3) | values, point, figure)


SAME = "trained from weights abc, theirs from ImageNet"
CENTRE = replace(TSM, method="TSM (center crop x 1 clip)", source="mit-han-lab/temporal-shift-module:README.md")


def test_what_is_the_same_is_no_reason() -> None:
    assert why(experiment(epochs=45), CENTRE) == [SAME]


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (experiment(epochs=45, weights=""), "trained from random weights, theirs from ImageNet"),
        (experiment(epochs=5), "5 epochs instead of 45"),
        (experiment(epochs=45, evaluation=Evaluation(clips=2, crops=3)), "clips x crops 2 x 3, theirs 1 x 1"),
        (experiment(epochs=45, videos=480), "480 of 11522 validation videos"),
        (experiment(epochs=45, validate=1, evaluation=Evaluation(weights="best")), "weights of the best validation"),
        (experiment(epochs=45, dropout=0.2), "trained with dropout 0.2"),
    ],
)
def test_each_fact_that_differs_is_said(point: Experiment, reason: str) -> None:
    assert [text for text in why(point, CENTRE) if text != SAME] == [reason]


def test_a_single_seed_is_said() -> None:
    assert why(experiment(epochs=45), CENTRE, seeds=1) == [SAME, "a single seed"]


def test_what_the_source_does_not_say_is_said() -> None:
    assert why(experiment(epochs=45)) == [SAME, "45 epochs, theirs unknown"]
    source = "open-mmlab/mmaction2:configs/recognition/tsm/README.md (commit 4d6c9347)"
    figure = replace(TSM, method="TSM (mmaction2, x3 crop)", source=source)
    assert "clips x crops 1 x 1, theirs unknown x 3" in why(experiment(), figure)
    assert f"their multiply-adds are {BY_VIEW}" in why(experiment(), figure)
    assert not any("multiply-adds" in text for text in why(experiment(), replace(figure, gflops=None)))


def test_decisions_that_the_released_code_draws_are_said() -> None:
    figure = replace(TSM, method="AFNet RT=0.50", backbone="AF-ResNet50")
    point = experiment("afnet", ratio=0.5, shift=False, epochs=55)
    drawn = replace(point, evaluation=Evaluation(decisions="noisy"))
    assert "decisions are the likeliest, theirs are drawn" in why(point, figure)
    assert not any("decisions" in text for text in why(drawn, figure))


def test_seeds_are_one_row() -> None:
    points = [replace(experiment(), training=replace(experiment().training, seed=seed)) for seed in (0, 1)]
    table = pd.DataFrame(
        [
            row(point, top1, method=f"TSM, training.seed {n}")
            for n, (point, top1) in enumerate(zip(points, (44.0, 46.0), strict=True))
        ]
    )
    found = beside_published(table, {point.experiment_id: point for point in points}, [TSM])
    assert found["ours"].tolist() == [45.0] and found["seeds"].tolist() == [2]
    assert "a single seed" not in found["why"][0]


# Files ----------------------------------------------------------------------------------------------------------------


def test_the_table_is_written_in_every_format(tmp_path: Path) -> None:
    point = experiment(epochs=5, weights="")
    found = write_published(pd.DataFrame([row(point)]), tmp_path, "Something & co", {point.experiment_id: point})
    files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(files) == {f"published.{suffix}" for suffix in ("html", "md", "tex", "csv")}
    assert files["published.html"] == found and "<caption>Something &amp; co, ours beside" in found
    first = files["published.md"].splitlines()[4]
    assert first == (
        "| TSM | 8f | TSM | ResNet50 | 8 | 224 | top1 | 44.00 | 43.10 to 44.91 | 1 | 45.60 | -1.60 | 32.70 | 32.70 | "
        "trained from random weights, theirs from ImageNet; 5 epochs, theirs unknown; a single seed | "
        "BeSpontaneous/AFNet-pytorch:README.md |"
    )
    assert pd.read_csv(io.StringIO(files["published.csv"]))["gflops"].tolist() == [32.704] * 3
    assert r"Something \& co" in files["published.tex"]


def test_where_nothing_matches_there_is_no_table(tmp_path: Path) -> None:
    point = Experiment()
    assert write_published(pd.DataFrame([row(point)]), tmp_path, "Digits", {point.experiment_id: point}) == ""
    assert list(tmp_path.iterdir()) == []


# For figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", DATASETS.values())
def test_points_for_figures_have_a_cost_and_the_data_sets_own_metric(dataset: str) -> None:
    found = published_points(dataset)
    assert list(found) == ["method", "backbone", "frames", "gflops", "value", "metric", "source"]
    assert len(found) and found["gflops"].gt(0).all() and set(found["metric"]) == {KNOWN[dataset].metric}
    assert not found.duplicated().any() and found["source"].ne("").all()


def test_points_of_data_that_nobody_published_are_none() -> None:
    assert published_points("digits-in-motion").empty and published_points("my-own").empty


def test_a_cost_is_of_all_views_or_left_out() -> None:
    found = published_points("kinetics-400")
    costs = Counter(zip(found["method"], found["gflops"], strict=True))
    assert costs["SlowFast", 36.0 * 30] == 1
    assert costs["TSN (mmaction2, train 3 seg, 25 clips x 10 crop)", 1027.0] == 1
    assert not any("TSM (mmaction2" in method for method in found["method"])


def test_sources_that_print_the_same_are_one_point() -> None:
    found = published_points("something-something-v1")
    (sources,) = found[(found["method"] == "TSM") & (found["value"] == 45.6) & (found["gflops"] == 32.7)]["source"]
    assert sources.startswith(f"{README}; AFNet paper")
