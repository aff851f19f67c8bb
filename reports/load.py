"""Records to one table: a row a point, in a fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError, unknown
from bench.metrics import METRICS
from bench.record import Result, read_result, result_files
from bench.savings import saving_realised
from bench.settings import KNOBS
from reports.filmstrip import Filmstrip, draw_filmstrip
from reports.labels import knobs_of, method_labels, title

POLICIES = ("stop", "skip")


@dataclass(frozen=True)
class Records:
    """What was found, all of it: nothing is read after this.

    Attributes:
        results: of the points, ordered as `table`.
        table: a row a point.
        filmstrips: by experiment_id, of the points that decide about frames.
        left_out: for each record that could not be read, its path and why.
    """

    results: list[Result]
    table: pd.DataFrame
    filmstrips: dict[str, Filmstrip]
    left_out: dict[str, str]


def load_records(folders: list[Path], on_bad: str = "stop") -> Records:
    """Read every record below these folders, its samples and its sheet of clips too.

    Args:
        folders: or single result.json files.
        on_bad: "stop" raises for a damaged record, "skip" leaves it out and says so.

    Raises:
        UserError: for a damaged record under "stop", two different records of one experiment, or no record at all.
    """
    if on_bad not in POLICIES:
        raise unknown("policy", on_bad, POLICIES, "--on-bad")
    found: dict[str, Result] = {}
    filmstrips: dict[str, Filmstrip] = {}
    left_out: dict[str, str] = {}
    for path in [path for folder in folders for path in result_files(folder)]:
        try:
            result = read_result(path)
            filmstrip = draw_filmstrip(result)
        except UserError as error:
            if on_bad == "stop":
                raise
            left_out[str(path)] = str(error)
            continue
        if filmstrip is not None:
            filmstrips[result.values["experiment_id"]] = filmstrip
        earlier = found.setdefault(result.values["experiment_id"], result)
        if earlier.values != result.values:
            raise UserError(
                f"{earlier.path} and {path} hold different results of the same experiment; keep one of them."
            )
    if not found:
        left = f" All {len(left_out)} records there are damaged and were left out." if left_out else ""
        raise UserError(
            f"No readable record below {', '.join(map(str, folders))}; expected a folder that `afbench run` or "
            f"`afbench demo` wrote.{left}"
        )
    labels = method_labels([result.experiment for result in found.values()])
    pairs = [(_row(result, label), result) for result, label in zip(found.values(), labels, strict=True)]
    pairs.sort(key=_order)
    return Records([result for _, result in pairs], pd.DataFrame([row for row, _ in pairs]), filmstrips, left_out)


def _order(pair: tuple[dict[str, Any], Result]) -> tuple[Any, ...]:
    row = pair[0]
    return (row["dataset"], row["method"], row["frames"], -(row["ratio"] or 0), row["point"], row["experiment_id"])


def point_label(row: dict[str, Any]) -> str:
    """A point beside others of its method: "8f", "8f r.50", "2/16f", "16f 32px"."""
    ratio = "" if row["ratio"] is None else f" r{row['ratio']:.2f}".replace("r0.", "r.").replace("r1.00", "r1")
    keep = "" if row["keep"] is None else f"{row['keep']}/"
    patch = "" if row["patch"] is None else f" {row['patch']}px"
    return f"{keep}{row['frames']}f{ratio}{patch}"


def _row(result: Result, label: str) -> dict[str, Any]:
    experiment, metrics = result.experiment, result.metrics
    videos = experiment.data.val_clips - len(result.values["left_out"]["val"])
    row: dict[str, Any] = {
        "dataset": experiment.data.dataset,
        "method": label,
        "name": experiment.model.method,
        "title": title(experiment),
        "backbone": experiment.model.backbone,
        "frames": experiment.evaluation.frames,
        "trained_frames": experiment.model.frames,
        **{name: knobs_of(experiment).get(name) for name in KNOBS},
        "seed": experiment.training.seed,
        "execution": experiment.evaluation.execution,
        "videos": videos,
        "views": result.values["macs"]["views"],
        "map": metrics.get("map"),
        "top1": metrics["top1"],
        **_percent_interval(metrics["top1"], videos),
        "top5": metrics["top5"],
        "gflops": metrics["macs"] / 1e9,
        "gflops_dense": result.values["macs"]["dense"] / 1e9,
        "kept_ratio": metrics.get("kept_ratio"),
        "recall": metrics.get("recall"),
        "recall_by_position": metrics.get("recall_by_position"),
        "precision": metrics.get("precision"),
        "frames_looked_at": metrics.get("frames_looked_at"),
        **{name: metrics.get(name) for name in METRICS if name == "cell_ratio" or name.startswith("region_recall")},
        "warnings": " ".join(result.values["warnings"]),
        "training_id": result.values["training_id"],
        "experiment_id": result.values["experiment_id"],
    }
    row["point"] = point_label(row)
    return {**row, **_timing(result, row)}


def _percent_interval(top1: float, videos: int) -> dict[str, float]:
    low, high = wilson(top1 / 100, videos)
    return {"top1_low": 100 * low, "top1_high": 100 * high}


def wilson(share: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95% interval of a share over n videos (Wilson, 1927).

    Unlike share +- z sqrt(share (1 - share) / n) it stays in [0, 1] and has a width at 0 and 1.
    """
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # Rounding must not put the share itself outside.
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def _roofline(timing: dict[str, Any]) -> dict[str, Any]:
    facts = timing["roofline"]
    if "missing" in facts:
        return {"utilisation": None, "dtype": timing["dtype"]}
    return {
        "utilisation": facts["utilisation"],
        "macs_per_byte": facts["macs_per_byte"],
        "macs_per_second": facts["macs_per_second"],
        "roof_copy": facts["roof"]["copy"],
        "roof_product": facts["roof"]["product"],
        "dtype": timing["dtype"],
    }


def _timing(result: Result, row: dict[str, Any]) -> dict[str, Any]:
    """Throughput of the executed path, latency, and how much of the multiply-adds saved was time saved.

    A forward takes one view of each video; a video costs as many as it has.
    """
    views, energy = row["views"], result.values["timing"]["energy"].get("joules_per_video")
    scenarios = result.values["timing"]["scenarios"]
    offline, single = scenarios["offline"], scenarios["single_stream"]
    used = row["execution"] if row["execution"] in offline else "dense"
    timed = offline[used]
    low, high = timed["quartiles"]
    return {
        "videos_per_second": timed["batch"] / timed["median"] / views,
        "videos_per_second_low": timed["batch"] / high / views,
        "videos_per_second_high": timed["batch"] / low / views,
        "latency_p90_ms": single[used]["p90"] * 1e3 * views,
        "noisy": timed["noisy"] or bool(result.values["timing"]["throttled"]),
        "again": timed.get("again"),
        "joules_per_video": None if energy is None else energy * views,
        **_roofline(result.values["timing"]),
        **saving_realised(
            offline if used == "skipped" else {}, row["gflops_dense"], result.values["timing"]["macs_per_video"] / 1e9
        ),
        "device": result.values["timing"]["device"]["name"],
    }
