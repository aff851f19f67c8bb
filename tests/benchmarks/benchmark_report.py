"""Seconds and memory of a whole report: `nox -s benchmarks`.

Wanted on 2 cores: 100 records in 10 s, 10,000 in 60 s and 1 GB. No time makes anything fail.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.record import point_folder
from bench.run import run_points
from tests.conftest import small

# The command, then what it held at most: what the system counts for a child has its parent's memory in it.
MEASURED = """
import sys
from pathlib import Path
from afbench import main
main(sys.argv[1:])
assert "torch" not in sys.modules, "the report imports no torch"
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
"""


def many(folder: Path, count: int) -> Path:
    """So many records, of AFNet at four numbers of frames and many ratios, each with times of its own.

    Samples and clips are one's.
    """
    start = small("afnet", keep_bias=1.2, zero_init=False)
    (result,) = run_points([start], folder / "one")
    runs, source = folder / "runs", result.path.parent
    for number in range(count):
        settings = replace(start.model.settings, ratio=(1 + number // 4) / (1 + count // 4))  # type: ignore[call-arg]
        frames = 4 + number % 4
        model = replace(start.model, settings=settings, frames=frames)
        point = replace(start, model=model, evaluation=replace(start.evaluation, frames=frames))
        place = point_folder(runs, point)
        place.mkdir(parents=True)
        values = result.values | {
            "experiment": point.to_dict(),
            "experiment_id": point.experiment_id,
            "training_id": point.training_id,
            "metrics": result.metrics
            | {"top1": 40 + number % 37, "macs": result.metrics["macs"] * (1 - number % 91 / 300)},
            "timing": _scaled(result.values["timing"], 1 + number / 1e5),
        }
        (place / "result.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
        for name in ("samples.parquet", "clips.jpg"):
            os.link(source / name, place / name)
    return runs


def _scaled(value: Any, factor: float) -> Any:
    """Every number of parsed JSON that is no count, times a factor; shares stay below 1."""
    if isinstance(value, dict):
        return {name: of if name == "same_answers" else _scaled(of, factor) for name, of in value.items()}
    if isinstance(value, list):
        return [_scaled(of, factor) for of in value]
    return value * factor if isinstance(value, float) else value


@pytest.mark.parametrize("count", [100, 10_000])
def test_a_report(benchmark: Any, tmp_path: Path, count: int) -> None:
    runs, memory = many(tmp_path, count), []

    def run() -> None:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        words = [sys.executable, "-c", MEASURED, "report", str(runs), "--out", str(tmp_path / "out")]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        memory.append(int(done.stderr.split()[-1]))

    benchmark.pedantic(run, rounds=1)
    assert len(list((tmp_path / "out" / "points").iterdir())) == count
    pages = (tmp_path / "out").rglob("*.html")
    heaviest = max(path.stat().st_size for path in pages)
    script = max(path.stat().st_size for path in (tmp_path / "out" / "assets").glob("points-*.js"))
    benchmark.extra_info |= {
        "memory_mb": round(max(memory) / 1e3),
        "heaviest_page_kb": round(heaviest / 1e3),
        "points_of_its_chart_kb": round(script / 1e3),
    }
