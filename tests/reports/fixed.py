"""Seven records whose every number is made up, and the tables that a report makes of them.

python -m tests.reports.fixed      writes the tables of this version into tests/reports/golden, to be read over
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.experiment import Experiment
from bench.metrics import compute_metrics
from bench.record import Result, point_folder
from bench.run import run_experiment
from bench.samples import Samples, write_samples
from reports.site import write_site
from tests.conftest import small

GOLDEN = Path(__file__).parent / "golden"
VIDEOS, CLASSES, BLOCKS = 40, 16, 2
DENSE = 30_000_000  # multiply-adds of a video
# Method, seed, settings, videos answered rightly, share of the multiply-adds, milliseconds of the dense forward and of
# the skipped one, and whether times are noisy.
RECORDS: tuple[tuple[str, int, dict[str, Any], int, float, float, float, bool], ...] = (
    ("tsn", 0, {}, 20, 1.0, 8.0, 8.0, False),
    ("tsn", 1, {}, 24, 1.0, 8.0, 8.0, False),
    ("tsm", 0, {}, 36, 1.0, 8.4, 8.4, False),
    ("tsm", 1, {}, 37, 1.0, 8.5, 8.5, False),
    ("tsm", 2, {}, 38, 1.0, 8.6, 8.6, False),
    ("afnet", 0, {"ratio": 0.5}, 37, 0.75, 10.0, 9.0, False),
    ("afnet", 0, {"ratio": 0.25}, 33, 0.5, 10.0, 7.5, True),
)


def fixed_records(template: Result, folder: Path) -> Path:
    """A runs folder; of the template nothing but its structure is left in what reports show."""
    for number, (method, seed, settings, right, share, *times, noisy) in enumerate(RECORDS):
        point = small(method, **settings)
        point = replace(point, data=replace(point.data, val_clips=VIDEOS), training=replace(point.training, seed=seed))
        place = point_folder(folder, point)
        place.mkdir(parents=True)
        samples = _samples(number, right, share, method == "afnet")
        write_samples(place / "samples.parquet", samples)
        frames = samples.times.shape[1]
        Image.new("RGB", (8 * frames, 16), (10 * number, 40, 90)).save(place / "clips.jpg")
        values = _values(template, point, samples, times, noisy)
        (place / "result.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    return folder


def _samples(number: int, right: int, share: float, skips: bool) -> Samples:
    """The first videos are answered rightly, but that each record begins to count elsewhere."""
    video, frames = np.arange(VIDEOS), 4
    label, wrong = video % CLASSES, (video + number) % VIDEOS >= right
    logits = np.zeros((VIDEOS, CLASSES), np.float32)
    logits[video, (label + wrong) % CLASSES] = 2
    logits[video, (label + 3) % CLASSES] = 1
    informative = np.zeros((VIDEOS, frames), np.bool_)
    informative[video, video % frames] = True
    kept = np.ones((VIDEOS, BLOCKS, frames), np.bool_)
    kept[:, 1] = informative if share == 0.5 else informative | np.roll(informative, 1, axis=1)
    return Samples(
        video=video,
        label=label,
        logits=logits,
        macs=np.full(VIDEOS, int(share * DENSE), np.int64),
        times=np.tile(np.arange(frames) * 12 + 6, (VIDEOS, 1)),
        informative=informative,
        regions=np.zeros((VIDEOS, frames, 4), np.float32),
        kept=kept if skips else None,
    )


def _values(template: Result, point: Experiment, samples: Samples, times: list[float], noisy: bool) -> dict[str, Any]:
    metrics, device = compute_metrics(samples), {"kind": "cuda", "name": "A made-up card", "threads": 1}
    values: dict[str, Any] = {
        **json.loads(json.dumps(template.values)),
        "experiment": point.to_dict(),
        "experiment_id": point.experiment_id,
        "training_id": point.training_id,
        "metrics": metrics,
        "warnings": [],
        "left_out": {"train": {}, "val": {}},
        "preview": {"file": "clips.jpg", "videos": [0, 1]},
    }
    values["macs"] |= {"dense": DENSE, "views": 1, "policy": 0}
    values["environment"] |= {"device": device}
    timing = values["timing"]
    timing |= {"device": device, "macs_per_video": metrics["macs"], "throttled": None, "dtype": "float32"}
    timing |= {"energy": {"joules_per_video": times[1] / 10}}
    timing["roofline"] |= {
        "utilisation": 0.5,
        "macs_per_byte": 16.0,
        "macs_per_second": 4e9,
        "roof": {"copy": 1e9, "product": 8e9},
    }
    scenarios = timing["scenarios"]
    executions = ("dense", "masked", "skipped") if samples.kept is not None else ("dense",)
    for name, batch in (("offline", 8), ("single_stream", 1)):
        like = scenarios[name]["dense"]
        scenarios[name] = {
            each: _clocked(like, times[each == "skipped"], batch, noisy, again=each == executions[-1])
            for each in executions
        }
    return values


def _clocked(like: dict[str, Any], milliseconds: float, batch: int, noisy: bool, *, again: bool) -> dict[str, Any]:
    """Eleven samples around a median, a thousandth of it apart."""
    seconds = milliseconds * batch / 8e3
    samples = [round(seconds * (1 + (number - 5) / 1000), 9) for number in range(11)]
    found = {**like, "batch": batch, "median": seconds, "noisy": noisy, "samples": samples}
    found |= {"p90": samples[9], "p99": samples[10], "quartiles": [samples[2], samples[8]]}
    found |= {f"{name}_interval": [samples[1], samples[9]] for name in ("median", "p90", "p99")}
    found = {key: value for key, value in found.items() if not key.startswith("again")}
    return found | ({"again": 1.001, "again_samples": samples} if again else {})


def tables(site: Path) -> dict[str, str]:
    """Every table that a report writes, by its place in the site."""
    found = (path for suffix in ("csv", "md", "tex") for path in site.rglob(f"*.{suffix}"))
    return {str(path.relative_to(site)): path.read_text() for path in sorted(found)}


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        site = folder / "site"
        write_site([fixed_records(run_experiment(small("tsn"), folder / "one"), folder / "runs")], site)
        shutil.rmtree(GOLDEN, ignore_errors=True)
        for name, text in tables(site).items():
            place = GOLDEN / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
