"""Published figures, and ours beside those of the same method, network, data set, frames and size.

Where they come from and how they are matched: docs/published.md.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from bench.data.known import KNOWN
from bench.errors import UserError
from bench.experiment import Experiment
from bench.methods import find_method
from reports.labels import knobs_of
from reports.seeds import JOINED, merge_seeds
from reports.tables import Column, cells, write_formats

FILE = "published.csv"
METRICS = {"top1": "top1", "mAP": "map"}  # as printed: as our records call them


@dataclass(frozen=True)
class Published:
    """One published figure, as it is printed.

    Attributes:
        frames: of a clip; "8+12" of a glance and of what follows it; "" where the source does not say, as elsewhere.
        resolution: pixels a side; "224+128 patch" with crops of them.
        metric: "top1" or "mAP".
        value: in per cent.
        gflops: 1e9 multiply-adds, of one view where `views` are printed, else as the source means it; None where it
            prints none.
        views: of a video, where the source prints their number beside its GFLOPs, else 1.
        throughput: videos a second on `hardware`, None where it prints none.
        source: document, and repository and file where it is to be found.
    """

    method: str
    backbone: str
    dataset: str
    frames: str
    resolution: str
    metric: str
    value: float
    gflops: float | None
    views: int
    throughput: float | None
    hardware: str
    source: str


COLUMNS = tuple(f.name for f in dataclasses.fields(Published) if f.name != "views")
GFLOPS = re.compile(r"(\d+(?:\.\d+)?)(?:x(\d+))?")


@cache
def published_figures() -> tuple[Published, ...]:
    """All of them, in the file's order."""
    return parse_published(resources.files("reports").joinpath(FILE).read_text(encoding="utf-8"), FILE)


def parse_published(text: str, name: str) -> tuple[Published, ...]:
    """Figures of a table with exactly the columns of COLUMNS.

    Args:
        name: of the file, for errors.

    Raises:
        UserError: naming the line, where a column is missing or unknown, a number is none or cannot be, or a name or
            source is empty.
    """
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        head = next(reader, [])
        if tuple(head) != COLUMNS:
            raise UserError(f"{name} has the columns {', '.join(head) or 'none'}; expected {', '.join(COLUMNS)}.")
        return tuple(_figure(row, f"{name}, line {reader.line_num}") for row in reader)
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}, is no line of a table ({error}).") from error


def _figure(row: list[str], place: str) -> Published:
    if len(row) != len(COLUMNS):
        raise UserError(f"{place} has {len(row)} cells; expected {len(COLUMNS)}.")
    values = dict(zip(COLUMNS, row, strict=True))
    for name in ("method", "dataset", "source"):
        if not values[name].strip():
            raise UserError(f"{place}: {name} is empty; expected text.")
    if values["metric"] not in METRICS:
        raise UserError(f"{place}: metric is {values['metric']!r}; expected one of {', '.join(METRICS)}.")
    value = _positive(values["value"], f"{place}: value")
    if value > 100:
        raise UserError(f"{place}: value is {value:g}; expected per cent.")
    cost = GFLOPS.fullmatch(values["gflops"])
    if values["gflops"] and cost is None:
        raise UserError(f"{place}: gflops is {values['gflops']!r}; expected a number, or one of a view as in 36x30.")
    throughput = values["throughput"]
    return Published(
        method=values["method"],
        backbone=values["backbone"],
        dataset=values["dataset"],
        frames=values["frames"],
        resolution=values["resolution"],
        metric=values["metric"],
        value=value,
        gflops=_positive(cost[1], f"{place}: gflops") if cost else None,
        views=int(cost[2] or 1) if cost else 1,
        throughput=_positive(throughput, f"{place}: throughput") if throughput else None,
        hardware=values["hardware"],
        source=values["source"],
    )


def _positive(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(f"{place} is {text!r}; expected a number above 0.")
    return value


# What printed names stand for -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Printed:
    """What a source means by the name of a method.

    Attributes:
        method: in our registry.
        settings: of it, where they are not our defaults; the crop is taken from the resolution.
        frames: ours, for what is printed otherwise than as a number.
        trained_frames: where the network was trained with others than it is tested with; 0 is the same.
        clips: of a video; None where the source does not say, as for what follows.
        crops: of a clip.
        epochs: of training on the data set.
        weights: that training started from.
        drawn: whether the evaluation draws decisions with the noise of training.
        counts: what its multiply-adds are, where not those of convolutions and linear layers of all views.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, int] = field(default_factory=dict)
    trained_frames: int = 0
    clips: int | None = 1
    crops: int | None = 1
    epochs: int | None = None
    weights: str = "ImageNet"
    drawn: bool = False
    counts: str = ""


def _afnet(ratio: float, shift: bool) -> Printed:
    """The released code: 55 epochs, decisions drawn when it evaluates too, and a formula for multiply-adds."""
    counts = "a formula of the kept ratio, with pooling"
    return Printed("afnet", {"ratio": ratio, "shift": shift}, epochs=55, drawn=True, counts=counts)


def _adafocus_v2_tsm() -> Printed:
    """docs/rivals.md has the settings, by which our multiply-adds are those printed."""
    settings = {"per": "video", "head": "average", "glance_frames": 8, "hidden": 1024}
    return Printed("adafocus-v2", settings, frames={"8+12": 12}, epochs=50)


SCSAMPLER = {"keep": 10, "shift": False}
UNI = {"glance_frames": 16, "keep": 16, "hidden": 128, "shift": False}
BY_VIEW = "those of one view, with batch-norm (fvcore)"

# By source, then by name. A name that is not here matches nothing. Epochs are of the sources themselves: commands and
# names of checkpoints (TSM's e45 and e50; TSN's segment5) in their READMEs, of AFNet and FFN docs/afnet.md and
# docs/rivals.md.
NAMES: dict[str, dict[str, Printed]] = {
    "BeSpontaneous/AFNet-pytorch:README.md": {
        "TSN (AFNet authors)": Printed("tsn"),
        "TSM": Printed("tsm"),
        "AFNet RT=0.50": _afnet(0.5, False),
        "AFNet RT=0.25": _afnet(0.25, False),
        "AFNet-TSM RT=0.4": _afnet(0.4, True),
        "AFNet-TSM RT=0.8": _afnet(0.8, True),
        "AFNet-TSM RT=0.4 [README typo; paper Table 2 says RT=0.8]": _afnet(0.8, True),
    },
    "mit-han-lab/temporal-shift-module:README.md": {
        "TSM (center crop x 1 clip)": Printed("tsm", epochs=45),
        "TSM (full res x 2 clip)": Printed("tsm", clips=2, crops=3, epochs=45),
        "TSM uniform, 1-crop": Printed("tsm", epochs=50),
        "TSM uniform, 10-crop": Printed("tsm", crops=10, epochs=50),
        "TSN uniform, 1-crop": Printed("tsn", trained_frames=5, epochs=50),
        "TSN uniform, 10-crop": Printed("tsn", trained_frames=5, crops=10, epochs=50),
    },
    "BeSpontaneous/FFN-pytorch:README.md (4/8/16 frames; SlowFast 16/32/64)": {
        "TSM separate training": Printed("tsm", epochs=50),
        "TSM (train 16f, test other)": Printed("tsm", trained_frames=16, epochs=50),
        "TSM-FFN": Printed("ffn", trained_frames=16, epochs=50),
    },
    "open-mmlab/mmaction2:configs/recognition/tsm/README.md (commit 4d6c9347)": {
        "TSM (mmaction2, x3 crop)": Printed("tsm", clips=None, crops=3, counts=BY_VIEW),
        "TSM (mmaction2, x10 crop)": Printed("tsm", clips=None, crops=10, counts=BY_VIEW),
    },
    "open-mmlab/mmaction2:configs/recognition/tsn/README.md (commit 4d6c9347)": {
        f"TSN (mmaction2, train {count} seg, 25 clips x 10 crop)": Printed(
            "tsn", trained_frames=count, crops=10, counts=BY_VIEW
        )
        for count in (3, 5, 8, 16)
    },
    "LeapLabTHU/AdaFocusV2:Experiments on ActivityNet, FCVID and Mini-Kinetics/README.md": {
        "AdaFocusV2": Printed("adafocus-v2", {"shift": False}, epochs=50),
    },
    "LeapLabTHU/AdaFocusV2:Experiments on Sth-Sth and Jester/README.md": {"AdaFocusV2-TSM": _adafocus_v2_tsm()},
    (
        "AdaFocusV2 paper Table 2, LeapLabTHU/AdaFocusV2:figure/vsv1.png (train wall-time on 4x RTX 3090 in hardware "
        "col)"
    ): {f"AdaFocusV1-MN2/RN ({side}^2)": Printed("adafocus", {"shift": False}) for side in (96, 128, 160)},
    "LeapLabTHU/Uni-AdaFocus:Uni-AdaFocus with Experiments on ActivityNet, FCVID and Mini-Kinetics/README.md": {
        "Uni-AdaFocus w/o sample-wise dynamic": Printed("uni-adafocus", UNI, frames={"16+16": 48}, epochs=50),
    },
    "mengyuest/AR-Net:full_test.sh": {
        "SCSampler (AR-Net reimpl., top-10 of 16)": Printed("scsampler", SCSAMPLER),
        "TSN uniform baseline": Printed("tsn"),
        "TSN uniform, new training": Printed("tsn"),
        "AR-Net(ResNet)": Printed("arnet"),
        "AR-Net(ResNet), new training": Printed("arnet"),
    },
}
# Printed data set: ours. What is called Mini-Kinetics has 121 thousand training videos in all of these papers.
DATASETS = {
    "Something-Something V1": "something-something-v1",
    "Something-Something V2": "something-something-v2",
    "Jester": "jester",
    "ActivityNet-v1.3": "activitynet",
    "FCVID": "fcvid",
    "Mini-Kinetics": "mini-kinetics",
    "Kinetics-400": "kinetics-400",
}
# Printed network: ours, and the glance's.
BACKBONES = {
    "ResNet50": ("resnet50", ""),
    "ResNet101": ("resnet101", ""),
    "MobileNetV2": ("mobilenetv2", ""),
    "AF-ResNet50": ("resnet50", ""),
    "AF-ResNet101": ("resnet101", ""),
    "AF-MobileNetV3": ("mobilenetv3", ""),
    "MobileNetV2+ResNet50": ("resnet50", "mobilenetv2"),
    "MobileNetV2@84+R50@224": ("resnet50", "mobilenetv2"),
    "MobileNetV2@84+R50@224/R34@168/R18@112": ("resnet50", "mobilenetv2"),
    "MobileNetV2@84+R50/34/18": ("resnet50", "mobilenetv2"),
}
# Of the input, and of the crops, in pixels. AR-Net's smaller sides are our defaults.
RESOLUTION = re.compile(r"(\d+)(?:\+(\d+) patch|/168/112/84)?")
# Settings of a training, which leave what the trained network is, decides and computes as it is. Those of cells do
# nothing in a network without them, and `spatial` says whether it has any.
OF_TRAINING = {
    "dropout",
    *("ratio_weight", "ratio_schedule", "warm_start", "warm_end", "keep_bias", "alike_start", "zero_init"),
    *("temperature_schedule", "start_temperature", "end_temperature", "draws"),
    *("grid", "cell_ratio", "cell_weight", "cell_warm_start", "cell_warm_end"),
    *("explore", "policy_from", "classifier_from"),
}


@dataclass(frozen=True)
class Kind:
    """What must be the same for two figures to stand side by side."""

    method: str
    backbone: str
    dataset: str
    frames: int
    trained_frames: int
    size: int
    settings: tuple[tuple[str, Any], ...]


def _fixed(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, value) for name, value in settings.items() if name not in OF_TRAINING))


def kind_of_published(figure: Published) -> Kind | None:
    """None where a name, network, data set, number of frames or size is not known, or not printed."""
    printed = NAMES.get(figure.source, {}).get(figure.method)
    backbone, glance = BACKBONES.get(figure.backbone, ("", ""))
    sides = RESOLUTION.fullmatch(figure.resolution)
    if printed is None or not backbone or sides is None or figure.dataset not in DATASETS:
        return None
    frames = int(figure.frames) if figure.frames.isdecimal() else printed.frames.get(figure.frames, 0)
    settings = dataclasses.asdict(find_method(printed.method).settings(**printed.settings))
    if not frames or (sides[2] is not None) != ("patch" in settings) or (glance != "") != ("glance" in settings):
        return None
    # Without a glance or crops there is nothing to overwrite.
    settings |= {"glance": glance} if glance else {}
    settings |= {"patch": int(sides[2])} if sides[2] else {}
    trained = printed.trained_frames or frames
    dataset = DATASETS[figure.dataset]
    return Kind(printed.method, backbone, dataset, frames, trained, int(sides[1]), _fixed(settings))


def kind_of(experiment: Experiment) -> Kind | None:
    """None where the point is of no published kind: its decisions ignored, overruled, or other classes."""
    method, dataset = find_method(experiment.model.method), experiment.data.dataset
    settings = dataclasses.asdict(experiment.model.settings) | knobs_of(experiment)
    overruled = experiment.evaluation.budget and "keep" not in settings
    ignored = method.skips and experiment.evaluation.execution == "dense"
    if overruled or ignored or dataset not in KNOWN or experiment.data.classes != KNOWN[dataset].classes:
        return None
    return Kind(
        experiment.model.method,
        experiment.model.backbone,
        dataset,
        experiment.evaluation.frames,
        experiment.model.frames,
        experiment.data.size,
        _fixed(settings),
    )


# Ours beside published ------------------------------------------------------------------------------------------------

TABLE = (
    Column("method", "Method"),
    Column("point", "Point"),
    Column("published_as", "Published as"),
    Column("backbone", "Network"),
    Column("frames", "Frames", 0),
    Column("size", "Size (pixels)", 0),
    Column("metric", "Metric"),
    Column("ours", "Ours (%)", 2),
    Column("ours_low", "95% over videos", 2, upto="ours_high"),
    Column("seeds", "Seeds", 0),
    Column("published", "Published (%)", 2),
    Column("difference", "Difference (points)", 2),
    Column("gflops", "GFLOPs, ours", 2),
    Column("published_gflops", "GFLOPs, published", 2),
    Column("why", "Why it may differ"),
    Column("source", "Source"),
)


def beside_published(
    table: pd.DataFrame, experiments: Mapping[str, Experiment], figures: Iterable[Published] | None = None
) -> pd.DataFrame:
    """A row for each pair of a point of ours and a published figure of the same kind; empty where there is none.

    Args:
        table: of one data set's records, as load_records gives it.
        experiments: by experiment_id, those of these records among them.
        figures: those of the package where None.
    """
    known: dict[tuple[Kind, str], list[Published]] = {}
    for figure in published_figures() if figures is None else figures:
        kind = kind_of_published(figure)
        if kind is not None:
            known.setdefault((kind, METRICS[figure.metric]), []).append(figure)
    rows = []
    for row in merge_seeds(table).to_dict("records"):
        # Of a row of several seeds the first stands for all: they differ in nothing else.
        experiment = experiments[row["experiment_id"].split(JOINED)[0]]
        kind = kind_of(experiment)
        for metric in ("map", "top1") if kind is not None else ():
            if pd.notna(row.get(metric)):
                rows += [_pair(row, experiment, figure, metric) for figure in known.get((kind, metric), [])]  # type: ignore[arg-type]
    return pd.DataFrame(rows, columns=[name for column in TABLE for name in (column.name, column.upto) if name])


def _pair(row: Mapping[str, Any], experiment: Experiment, figure: Published, metric: str) -> dict[str, Any]:
    return {
        "method": row["method"],
        "point": row["point"],
        "published_as": figure.method,
        "backbone": figure.backbone,
        "frames": experiment.evaluation.frames,
        "size": experiment.data.size,
        "metric": figure.metric,
        "ours": row[metric],
        "ours_low": row.get(f"{metric}_low"),
        "ours_high": row.get(f"{metric}_high"),
        "seeds": row["seeds"],
        "published": figure.value,
        "difference": row[metric] - figure.value,
        "gflops": row["gflops"],
        "published_gflops": None if figure.gflops is None else figure.gflops * figure.views,
        "why": "; ".join(reasons(row, experiment, figure)) or "nothing that is known of both",
        "source": figure.source,
    }


def reasons(row: Mapping[str, Any], experiment: Experiment, figure: Published) -> list[str]:
    """What is known to differ between a point and a published figure of its kind, ours first."""
    printed = NAMES[figure.source][figure.method]
    found = [
        _weights(experiment, printed),
        _epochs(experiment, printed),
        _views(experiment, printed),
        *_videos(row, experiment),
        _decisions(experiment, printed),
        _settings(experiment, printed),
        "weights of the best validation" if experiment.evaluation.weights == "best" else "",
        f"their multiply-adds are {printed.counts}" if printed.counts and figure.gflops is not None else "",
        "a single seed" if row["seeds"] == 1 else "",
    ]
    return [reason for reason in found if reason]


def _weights(experiment: Experiment, printed: Printed) -> str:
    digest = experiment.training.weights
    if not digest:
        return f"trained from random weights, theirs from {printed.weights}"
    return f"trained from weights {digest}, theirs from {printed.weights}"


def _epochs(experiment: Experiment, printed: Printed) -> str:
    own, theirs = experiment.training.epochs, printed.epochs
    if theirs is None:
        return f"{own} epochs, theirs unknown"
    return "" if own == theirs else f"{own} epochs instead of {theirs}"


def _views(experiment: Experiment, printed: Printed) -> str:
    own = (experiment.evaluation.clips, experiment.evaluation.crops)
    if own == (printed.clips, printed.crops):
        return ""
    clips, crops = ("unknown" if count is None else str(count) for count in (printed.clips, printed.crops))
    return f"clips x crops {own[0]} x {own[1]}, theirs {clips} x {crops}"


def _videos(row: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """Where they are not as many as the data set was published with."""
    whole = KNOWN[experiment.data.dataset].videos
    counts = {"validation": (row["videos"], whole["val"]), "training": (experiment.data.train_clips, whole["train"])}
    return [f"{own} of {all_} {split} videos" for split, (own, all_) in counts.items() if own != all_]


def _decisions(experiment: Experiment, printed: Printed) -> str:
    drawn = experiment.evaluation.decisions == "noisy"
    if drawn == printed.drawn:
        return ""
    return "decisions are drawn, theirs are not" if drawn else "decisions are the likeliest, theirs are drawn"


def _settings(experiment: Experiment, printed: Printed) -> str:
    """Of the training, where they are not the method's own."""
    theirs = dataclasses.asdict(find_method(printed.method).settings(**printed.settings))
    own = dataclasses.asdict(experiment.model.settings)
    other = [f"{name} {own[name]}" for name in own if name in OF_TRAINING and own[name] != theirs[name]]
    return f"trained with {', '.join(other)}" if other else ""


def write_published(table: pd.DataFrame, folder: Path, title: str, experiments: Mapping[str, Experiment]) -> str:
    """Write published.html, .md, .tex and .csv; returns the html. Where nothing matches, writes nothing: "".

    Args:
        table: of one data set's records, as load_records gives it.
        title: of the data set.
        experiments: by experiment_id, those of these records among them.

    Raises:
        UserError: naming the file that cannot be written.
    """
    pairs = beside_published(table, experiments)
    if pairs.empty:
        return ""
    caption = (
        f"{title}, ours beside published figures of the same method, network, frames, size and metric. Difference: "
        "ours less published. Our GFLOPs are 1e9 multiply-adds executed, in all views; published ones are as printed."
    )
    columns = [column for column in TABLE if pairs[column.name].notna().any()]
    rows = [cells(row, columns) for row in pairs.to_dict("records")]
    return write_formats(folder, "published", columns, rows, caption, pairs)


# For figures ----------------------------------------------------------------------------------------------------------


def published_points(dataset: str) -> pd.DataFrame:
    """Published figures of a data set with their cost, to be drawn beside ours.

    Args:
        dataset: our name of it.

    Returns:
        A row a figure, sorted, its sources joined where several print the same: method, backbone and frames as printed,
        gflops (1e9 multiply-adds of a video; of all views where their number is known), value (per cent), metric
        ("top1" or "map", the data set's own alone), source. Empty where none is known.
    """
    columns = ["method", "backbone", "frames", "gflops", "value", "metric", "source"]
    rows: dict[tuple[Any, ...], list[str]] = {}
    for figure in published_figures():
        metric, gflops = METRICS[figure.metric], _of_all_views(figure)
        if DATASETS.get(figure.dataset) == dataset and metric == KNOWN[dataset].metric and gflops is not None:
            key = (figure.method, figure.backbone, figure.frames, gflops, figure.value, metric)
            rows.setdefault(key, []).append(figure.source)
    return pd.DataFrame([(*key, JOINED.join(rows[key])) for key in sorted(rows)], columns=columns)


def _of_all_views(figure: Published) -> float | None:
    """None where it is printed of one view, and of how many the value is nobody knows."""
    printed = NAMES.get(figure.source, {}).get(figure.method)
    if figure.gflops is None or printed is None or printed.counts != BY_VIEW:
        return None if figure.gflops is None else figure.gflops * figure.views
    return None if printed.clips is None or printed.crops is None else figure.gflops * printed.clips * printed.crops
