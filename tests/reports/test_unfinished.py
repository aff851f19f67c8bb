"""What is not in a report: points that were begun, records that are damaged."""

from __future__ import annotations

import html
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.attempts import FILE
from bench.errors import UserError
from bench.record import result_files, write_heartbeat
from bench.samples import read_samples
from reports import unfinished
from reports.load import load_records
from reports.site import write_site
from reports.unfinished import find_unfinished, last_error, listed, summary
from sweeps.causes import Causes


@pytest.fixture
def begun(runs: Path, tmp_path: Path) -> Path:
    """A copy of which TSM's record was never written."""
    shutil.copytree(runs, tmp_path / "runs")
    record(tmp_path / "runs", "tsm").unlink()
    return tmp_path / "runs"


def record(runs: Path, method: str) -> Path:
    return next(path for path in result_files(runs) if f"/{method}/" in str(path))


def training_of(runs: Path, method: str) -> Path:
    (folder,) = (runs / "digits-in-motion" / method).iterdir()
    return folder


def ended(folder: Path, error: dict[str, str] | None, **job: Any) -> str:
    """Write the training's only attempt anew, as ended by this; returns the id of its point."""
    (point,) = folder.glob("points/*")
    began = {"number": 1, "began": 1.0, "host": "node1", "job": job or None, "source": {}, "points": [point.name]}
    values = [began] if error == {} else [began, {"number": 1, "ended": 2.0, "error": error}]
    (folder / FILE).write_text("".join(json.dumps(each) + "\n" for each in values))
    return point.name


def found_in(runs: Path, explain: unfinished.Explain = last_error) -> list[unfinished.Unfinished]:
    recorded = [result.values["experiment_id"] for result in load_records([runs]).results]
    return find_unfinished([runs], recorded, explain)


def test_runs_that_are_finished_have_nothing_to_say(runs: Path, tmp_path: Path) -> None:
    assert found_in(runs) == [] and summary([]) == ""
    page = write_site([runs], tmp_path).with_name("environment.html").read_text()
    assert "Everything that these folders hold is." in page


def test_a_point_without_a_record_is_named_with_how_far_it_got(begun: Path) -> None:
    folder = training_of(begun, "tsm")
    write_heartbeat(folder, "train", 2, 3)
    (each,) = found_in(begun)
    assert each.name == "TSM 4f, seed 0" and each.place == f"digits-in-motion/tsm/{folder.name}"
    assert each.text == (
        f"TSM 4f, seed 0 ({each.place}): 1 point without a record ({each.points[0]}); last seen training, step 2 of 3; "
        "no failure is known"
    )
    assert summary([each]) == "1 point of 1 training has no record"


def test_points_that_lack_only_their_times_are_counted(begun: Path) -> None:
    path = record(begun, "afnet")
    path.rename(path.with_name("evaluated.json"))
    found = found_in(begun)
    assert summary(found) == "2 points of 2 trainings have no record; 1 of them lacks only times"
    assert "; measured but for times; " in found[0].text and "measured" not in found[1].text


def test_what_failed_is_said_with_its_cause_and_escaped(begun: Path, tmp_path: Path) -> None:
    ended(training_of(begun, "tsm"), {"kind": "Diverged", "text": "The loss became nan at step 2 of <tsm>."})
    front = write_site([begun], tmp_path / "out", explain=Causes())
    page = front.with_name("environment.html").read_text()
    assert "failed, diverged: The loss became nan at step 2 of &lt;tsm&gt;. -&gt; a lower training.lr" in page
    assert "1 point of 1 training has no record; of 1 it is known what ended the work" in html.unescape(
        front.read_text()
    )
    (alone,) = found_in(begun)
    assert list(alone.causes.values()) == ["Diverged: The loss became nan at step 2 of <tsm>."]


def test_a_point_that_only_an_attempt_names_is_found(begun: Path) -> None:
    folder = training_of(begun, "tsm")
    name = ended(folder, {"kind": "Diverged", "text": "The loss became nan."})
    shutil.rmtree(folder / "points")
    (each,) = found_in(begun)
    assert each.points == (name,)


def test_a_record_in_another_folder_finishes_a_point(begun: Path, runs: Path) -> None:
    recorded = [result.values["experiment_id"] for result in load_records([runs]).results]
    assert find_unfinished([begun], recorded, last_error) == []


def test_the_log_of_a_job_that_was_killed_tells_why(begun: Path) -> None:
    log = begun / ".sweep" / "7_0_log.err"
    log.parent.mkdir()
    log.write_text("slurmstepd: error: Detected 1 oom-kill event(s) in step\n")
    ended(training_of(begun, "tsm"), {}, submission={"log": str(log)})
    (each,) = found_in(begun, Causes())
    assert "failed, out of memory: slurmstepd: error: Detected 1 oom-kill" in each.text


def test_no_file_outside_of_the_runs_is_read_for_its_log(begun: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("out of memory: password\n")
    for name in (str(secret), str(begun / ".." / "secret")):
        ended(training_of(begun, "tsm"), {}, submission={"log": name})
        (each,) = found_in(begun, Causes())
        assert "no end was noted: it was killed, or goes on elsewhere" in each.text and "password" not in each.text


def test_long_lists_and_causes_are_cut(begun: Path) -> None:
    ended(training_of(begun, "tsm"), {"kind": "UserError", "text": "x" * 1000})
    (each,) = found_in(begun)
    assert len(each.text) < 600 and each.text.endswith(" ...")
    texts = [str(number) for number in range(unfinished.LISTED + 2)]
    assert listed(texts, "training") == [*texts[:-2], "And 2 trainings more."]
    assert listed(texts[:-2], "training") == texts[:-2]


def test_damaged_records_are_named_with_the_reason(begun: Path, tmp_path: Path) -> None:
    bad = [record(begun, "tsn"), record(begun, "afnet")]
    for path in bad:
        path.write_text(path.read_text()[:50])
    front = write_site([begun], tmp_path / "out", on_bad="skip")
    page = html.unescape(front.with_name("environment.html").read_text())
    assert all(f"{path} is not a complete record" in page for path in bad)
    assert "2 damaged records were left out" in front.read_text() and "has no record" in page


@pytest.mark.timeout(60)
def test_pipes_in_the_place_of_files_are_not_waited_for(runs: Path, tmp_path: Path) -> None:
    """A stranger's folder may hold anything."""
    shutil.copytree(runs, tmp_path / "runs")
    point = result_files(tmp_path / "runs")[0].parent
    training = point.parents[1]
    for path in (training / "heartbeat.json", *training.parents[1].glob("names-*.json"), point / "clips.jpg"):
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    with pytest.raises(UserError, match=r"clips\.jpg is missing"):
        write_site([tmp_path / "runs"], tmp_path / "out")
    page = write_site([tmp_path / "runs"], tmp_path / "out", on_bad="skip")
    assert "clips.jpg is missing" in html.unescape((page.parent / "environment.html").read_text())
    (point / "samples.parquet").unlink()
    os.mkfifo(point / "samples.parquet")
    with pytest.raises(UserError, match=r"samples\.parquet .*it is not a file"):
        read_samples(point / "samples.parquet")
    unfinished = tmp_path / "more" / "digits-in-motion" / "tsn" / "0123456789ab"
    (unfinished / "points" / "ba9876543210").mkdir(parents=True)
    os.mkfifo(unfinished / "experiment.json")
    (found,) = find_unfinished([tmp_path / "more"], [], last_error)
    assert found.name == "tsn"
    os.mkfifo(unfinished / "attempts.jsonl")
    with pytest.raises(UserError, match=r"attempts\.jsonl cannot be read \(it is not a file\)"):
        find_unfinished([tmp_path / "more"], [], last_error)
