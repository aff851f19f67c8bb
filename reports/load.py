"""Records to one table: a row a point, in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError, unknown
from bench.experiment import Experiment
from bench.metrics import METRICS, compute_metrics
from bench.record import Result, read_result, result_files
from bench.samples import read_samples
from bench.savings import saving_realised
from bench.settings import KNOBS
from reports.labels import knobs_of, title
from reports.rows import rows_in
from reports.seeds import merge_seeds, wilson
from reports.sharing import Shared
from reports.trials import is_trial, labels

POLICIES = ("stop", "skip")


@dataclass(frozen=True)
class Records:
    """What was found.

    Attributes:
        results: of the points, ordered as `table`; without the single times that a point's were computed from, which
            would take more room than all else, and with equal parts kept once.
        table: a row a record.
        pooled: a row a point: records that differ in the seed of their training alone are one.
        left_out: for each record that could not be read, its path and why.
    """

    results: list[Result]
    table: pd.DataFrame
    pooled: pd.DataFrame
    left_out: dict[str, str]


Read = Callable[[Path], Result]


def read_anew(path: Path) -> Result:
    """A record with this version's metrics of its samples, which it may have been written before.

    Raises:
        UserError: as read_result and read_samples.
    """
    result = read_result(path)
    metrics = compute_metrics(read_samples(path.with_name("samples.parquet")))
    return replace(result, values=result.values | {"metrics": metrics})


def load_records(folders: list[Path], on_bad: str = "stop", read: Read = read_result) -> Records:
    """Read every record below these folders.

    Args:
        folders: or single result.json files.
        on_bad: "stop" raises for a damaged record, "skip" leaves it out and says so.
        read: one of them; `read_anew` for this version's metrics.

    Raises:
        UserError: for a damaged record under "stop", two different records of one experiment, or no record at all.
    """
    if on_bad not in POLICIES:
        raise unknown("policy", on_bad, POLICIES, "--on-bad")
    left_out: dict[str, str] = {}
    records = _records(_read(folders, on_bad, read, left_out), left_out)
    if not records.results:
        left = f" All {len(left_out)} records there are damaged and were left out." if left_out else ""
        raise UserError(
            f"No readable record below {', '.join(map(str, folders))}; expected a folder that `afbench run` or "
            f"`afbench demo` wrote.{left}"
        )
    return records


def _read(folders: list[Path], on_bad: str, read: Read, left_out: dict[str, str]) -> Iterator[Result]:
    """Each record once, in the order of files; fills `left_out`."""
    found: dict[str, Path] = {}
    for path in [path for folder in folders for path in result_files(folder)]:
        try:
            result = read(path)
        except UserError as error:
            if on_bad == "stop":
                raise
            left_out[str(path)] = str(error)
            continue
        earlier = found.setdefault(result.values["experiment_id"], path)
        if earlier is path:
            yield result
        elif read(earlier).values != result.values:
            raise UserError(f"{earlier} and {path} hold different results of the same experiment; keep one of them.")


def without(records: Records, damaged: dict[Path, str], read: Read = read_result) -> Records:
    """The records without those whose files turned out to be damaged, by the path of their result and why."""
    left_out = records.left_out | {str(path): why for path, why in damaged.items()}
    kept = [result.path for result in records.results if result.path not in damaged]
    if not kept:
        raise UserError(f"None of the {len(records.results)} records can be used: {'; '.join(damaged.values())}")
    return _records(map(read, kept), left_out)


def _records(results: Iterable[Result], left_out: dict[str, str]) -> Records:
    shared, pairs = Shared(), []
    for result in results:
        row = _row(result)
        _drop_samples(result.values["timing"]["scenarios"])
        pairs.append((row, replace(result, values=shared.record(result.values))))
    for (row, _), label in zip(pairs, labels([result.experiment for _, result in pairs]), strict=True):
        row["method"] = label
    pairs.sort(key=_order)
    table = pd.DataFrame([row for row, _ in pairs])
    return Records([result for _, result in pairs], table, pool(table) if pairs else table, left_out)


def _drop_samples(scenarios: dict[str, dict[str, dict[str, Any]]]) -> None:
    for timed in (timed for executions in scenarios.values() for timed in executions.values()):
        for name in ("samples", "again_samples"):
            timed.pop(name, None)


def pool(table: pd.DataFrame) -> pd.DataFrame:
    """Records to points: one row for records that differ in the seed of their training alone.

    As `merge_seeds`, but for the ends of `value`, which are those of the seeds' mean (Student's t) where there are
    several and of the videos (Wilson) where not; `interval` says which. `spread` is the seeds' values, `experiment_ids`
    their records, of which experiment_id is the first.
    """
    by_point = table.groupby("point_id", sort=False).groups
    points = []
    for row in rows_in(merge_seeds(table)):
        ids, values = [row["experiment_id"]], [row["value"]]
        if row["seeds"] > 1:
            records = table.loc[by_point[row["point_id"]]]
            ids, values = records["experiment_id"].tolist(), records["value"].tolist()
            of = "map" if row["metric"] == "mAP" else "top1"
            row |= {f"value_{end}": row[f"{of}_seeds_{end}"] for end in ("low", "high")} | {"interval": "seeds"}
        points.append({**row, "experiment_id": ids[0], "spread": values, "experiment_ids": ids})
    return pd.DataFrame(points)


def _order(pair: tuple[dict[str, Any], Result]) -> tuple[Any, ...]:
    row = pair[0]
    return (row["dataset"], row["method"], row["frames"], -(row["ratio"] or 0), row["point"], row["experiment_id"])


def point_label(row: dict[str, Any]) -> str:
    """A point beside others of its method: "8f", "8f r.50", "2/16f", "16f 32px"."""
    ratio = "" if row["ratio"] is None else f" r{row['ratio']:.2f}".replace("r0.", "r.").replace("r1.00", "r1")
    keep = "" if row["keep"] is None else f"{row['keep']}/"
    patch = "" if row["patch"] is None else f" {row['patch']}px"
    return f"{keep}{row['frames']}f{ratio}{patch}"


def _row(result: Result) -> dict[str, Any]:
    """All of a record but what its method is called beside the others."""
    experiment, metrics = result.experiment, result.metrics
    videos = experiment.data.val_clips - len(result.values["left_out"]["val"])
    row: dict[str, Any] = {
        "dataset": experiment.data.dataset,
        "method": "",
        "name": experiment.model.method,
        "title": title(experiment),
        "backbone": experiment.model.backbone,
        "frames": experiment.evaluation.frames,
        "trained_frames": experiment.model.frames,
        **{name: knobs_of(experiment).get(name) for name in KNOBS},
        "seed": experiment.training.seed,
        "trial": is_trial(experiment),
        "execution": experiment.evaluation.execution,
        "videos": videos,
        "views": result.values["macs"]["views"],
        "point_id": _without_seed(experiment),
        "map": metrics.get("map"),
        "top1": metrics["top1"],
        **_value(metrics, videos),
        **_percent_interval("top1", metrics["top1"], videos),
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


def _without_seed(experiment: Experiment) -> str:
    """The id that the experiment would have with the first seed."""
    return replace(experiment, training=replace(experiment.training, seed=0)).experiment_id


def _value(metrics: dict[str, Any], videos: int) -> dict[str, Any]:
    """The data set's own metric; of mAP, which is no share of the videos, the interval takes a comparison."""
    if "map" in metrics:
        return {"metric": "mAP", "value": metrics["map"], "value_low": None, "value_high": None, "interval": ""}
    ends = _percent_interval("value", metrics["top1"], videos)
    return {"metric": "top-1", "value": metrics["top1"], **ends, "interval": "videos"}


def _percent_interval(name: str, top1: float, videos: int) -> dict[str, float]:
    low, high = wilson(top1 / 100, videos)
    return {f"{name}_low": 100 * low, f"{name}_high": 100 * high}


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
        "threads": result.values["timing"]["device"].get("threads"),
    }
