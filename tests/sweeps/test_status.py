"""What runs and what hangs, by the file system's clock; what is said of it, for people and for programs."""

from __future__ import annotations

import io
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from afbench import main
from bench.errors import UserError
from bench.experiment import Experiment
from bench.files import locked
from bench.record import training_folder, write_heartbeat
from sweeps.ledger import Submission
from sweeps.plan import Place, Point
from sweeps.queue import Job
from sweeps.show import status_view
from sweeps.status import look
from sweeps.triage import KINDS, Cause
from tests.conftest import small


def seeds(count: int, method: str = "tsn") -> list[Experiment]:
    start = small(method)
    return [replace(start, training=replace(start.training, seed=seed)) for seed in range(count)]


def beat(runs: Path, experiment: Experiment, ago: float = 0.0, off: float = 0.0, **values: Any) -> None:
    """A heartbeat stamped so many seconds ago, by a host whose clock is off."""
    folder = training_folder(runs, experiment)
    folder.mkdir(parents=True, exist_ok=True)
    write_heartbeat(folder, str(values.get("stage", "train")), int(values.get("step", 5)), 10)
    path = folder / "heartbeat.json"
    said = json.loads(path.read_text())
    now = time.time()
    said |= {"pace": values.get("pace", 0.5), "time": now - ago + off, "host": "node1"}
    path.write_text(json.dumps(said))
    os.utime(path, (now - ago, now - ago))


def verdict(runs: Path, ago: float, off: float = 0.0, **values: Any) -> str:
    point = seeds(1)[0]
    beat(runs, point, ago, off, **values)
    return look([Point(point, "running")], runs).working[0].verdict


@pytest.mark.parametrize(
    ("values", "patience"),
    [
        ({"pace": 0.5}, 180),
        ({"pace": 20.0}, 400),  # a line of progress each step
        ({"pace": 0.0}, 900),
        ({"stage": "time", "pace": 0.0}, 3600),
        ({"stage": "evaluate", "pace": 30.0}, 600),
    ],
)
def test_a_training_hangs_when_its_next_sign_is_overdue(tmp_path: Path, values: dict[str, Any], patience: int) -> None:
    """By how long the ones before took: slow steps are waited for."""
    assert verdict(tmp_path, patience - 20, **values) == ""
    assert verdict(tmp_path, patience + 20, **values) == "hangs"


def test_a_node_whose_clock_is_off_does_not_hang_and_is_named(tmp_path: Path) -> None:
    for off in (-7200.0, 7200.0):
        point = seeds(1)[0]
        beat(tmp_path, point, ago=10, off=off)
        status = look([Point(point, "running")], tmp_path)
        assert status.working[0].verdict == "" and status.clocks == {"node1": pytest.approx(off, abs=1)}
    assert verdict(tmp_path, 400, off=390.0) == "hangs", "a clock that is ahead hides nothing"


def test_a_training_at_a_third_of_the_others_pace_is_slow(tmp_path: Path) -> None:
    points = seeds(5)
    for number, point in enumerate(points):
        beat(tmp_path, point, pace=1.7 if number == 2 else 0.5)
    running = [Point(point, "running") for point in points]
    assert [each.verdict for each in look(running, tmp_path).working] == ["", "", "slow", "", ""]
    assert [each.verdict for each in look(running[:3], tmp_path).working] == ["", "", ""], "too few to say"
    assert look(running, tmp_path).working[0].left == pytest.approx(2.5)


def at(job: str, elapsed: str, *tasks: tuple[str, ...]) -> dict[str, Any]:
    """A place in the queue."""
    submission = Submission("afbench-1", 0.0, "slurm", "mine", False, tasks, job)
    return {"place": Place(submission, 0), "job": Job(job, "RUNNING", "", "node1", "afbench-1", elapsed)}


def test_what_an_earlier_job_left_is_no_sign_of_this_one(tmp_path: Path) -> None:
    """A job that was just requeued has an old heartbeat, and does not hang for that."""
    point = seeds(1)[0]
    beat(tmp_path, point, ago=5000)
    young, old = ({"state": "running", **at("7", elapsed, ("a",))} for elapsed in ("0:30", "20:00"))
    (working,) = look([Point(point, **young)], tmp_path).working
    assert (working.heartbeat, working.verdict) == (None, "")
    (working,) = look([Point(point, **old)], tmp_path).working
    assert (working.heartbeat, working.verdict) == (None, "hangs")
    shared = at("7", "20:00", ("a", "b"))
    (working,) = look([Point(point, "running", **shared)], tmp_path).working
    assert (working.verdict, working.doing) == ("", "waits in its job"), "others of its job come first"
    ending = replace(shared["job"], state="COMPLETING")
    (working,) = look([Point(point, "running", place=shared["place"], job=ending)], tmp_path).working
    assert working.doing == "ending"
    beat(tmp_path, point, ago=80)
    (working,) = look([Point(point, **young)], tmp_path).working
    assert working.heartbeat is None, "when times begin, the training's last sign is a minute old"


def said(points: list[Point], runs: Path, rows: int = 20) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(status_view(look(points, runs), rows))
    return console.export_text()


def test_what_is_said(tmp_path: Path) -> None:
    points = seeds(8)
    beat(tmp_path, points[0], ago=500)
    beat(tmp_path, points[1])
    (nan,) = (Cause(kind, ("it ran away",)) for kind in KINDS if kind.name == "diverged")
    (cancelled,) = (Cause(kind) for kind in KINDS if kind.name == "cancelled")
    waits = Job("9_1", "PENDING", "Priority")
    found = [
        Point(points[0], "running", **at("7", "12:00", ("a",))),
        Point(points[1], "running"),
        Point(points[2], "queued", job=waits),
        Point(points[3], "failed", cause=nan),
        Point(points[4], "missing"),
        Point(points[5], "done"),
        Point(points[6], "missing", cause=cancelled),
        Point(points[7], "queued", job=Job("9_2", "PENDING", "PartitionTimeLimit")),
    ]
    text = said(found, tmp_path)
    assert "8 points: 1 done, 2 running, 2 queued, 1 failed, 2 missing" in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert any(line.startswith("TSN, 4 frames, seed 0 7 node1 training 5/10 0.5") and "hangs" in line for line in lines)
    assert any(line.startswith("TSN, 4 frames, seed 1 here node1 training 5/10") for line in lines)
    assert "waiting: 1 for Priority, 1 for PartitionTimeLimit" in text
    assert "will not begin by itself: 1 for PartitionTimeLimit -> " in text
    assert (
        "of the missing: 1 cancelled -> submit again" in text
        and "failed, diverged: TSN, 4 frames, seed 3 -> a lower" in text
    )
    assert "and 1 more (--rows)" in said(found, tmp_path, rows=1)


def test_programs_get_all_of_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(training_folder(runs, small("tsn"))):
        main(["sweep", "status", "demo", "--tiny", "--runs", str(runs), "--json"])
    values = json.loads(capsys.readouterr().out)
    assert sum(values["counts"].values()) == len(values["points"]) == 12
    assert values["seconds_left"] is None or values["seconds_left"] > 0
    assert {"name", "experiment_id", "training_id", "state", "job", "reason", "nodes"} <= set(values["points"][0])


def test_a_watch_ends_when_nothing_runs_or_waits(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sweep", "status", "demo", "--tiny", "--runs", str(runs), "--watch"])
    assert "12 points: 12 missing" in capsys.readouterr().out


def test_impossible_looks_are_refused(runs: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["sweep", "status", "demo", "--runs", str(runs), "--every", "0"])
    assert caught.value.code == 2


def test_a_folder_of_somebody_else_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> float:
        raise UserError("not yours")

    monkeypatch.setattr("sweeps.status.clock_of", refuse)
    assert verdict(tmp_path, 10) == ""
