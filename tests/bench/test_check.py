"""A folder of records is believed where every rule holds; each thing that does not is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afbench
from bench.check import Finding, check
from bench.errors import UserError
from bench.samples import read_samples, write_samples
from bench.statistics import summarise

Values = dict[str, Any]


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """One record of AFNet, as nothing would be wrong with it."""
    (source,) = runs.glob("*/afnet/*")
    target = tmp_path / "runs" / "digits-in-motion" / "afnet" / source.name
    shutil.copytree(source, target)
    change(result_of(tmp_path / "runs"), well)
    return tmp_path / "runs"


def result_of(folder: Path) -> Path:
    (path,) = folder.glob("**/result.json")
    return path


def change(path: Path, edit: Callable[[Values], object]) -> None:
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def well(values: Values) -> None:
    """A quiet machine and a clean checkout, which tests do not have."""
    for executions in values["timing"]["scenarios"].values():
        for timed in executions.values():
            timed.update(summarise([1.0, 1.01, 1.02]), stable=True)
            if "again" in timed:
                timed.update(again=1.0, again_samples=timed["samples"])
    values["timing"]["same_answers"] = 1.0
    values["environment"]["source"] = {"commit": "0" * 40, "dirty": False}
    values["attempts"] = []


def found(folder: Path) -> list[tuple[str, str]]:
    return [(finding.rule, finding.text) for finding in check(folder)[1]]


def test_a_record_with_nothing_wrong_gives_no_line(folder: Path) -> None:
    assert check(folder) == (1, [])


def test_a_record_says_what_decides_the_pixels_of_videos(folder: Path) -> None:
    packages = json.loads(result_of(folder).read_text())["environment"]["packages"]
    assert all(packages[name] for name in ("av", "pillow", "simplejpeg"))


def attempt_of(commit: str, patch: str | None = None, submitted: str = "") -> Values:
    """As a record keeps it, of a job where something was submitted."""
    source = {"commit": commit * 40, "dirty": bool(patch), "patch": patch}
    submission = {"source": {"commit": submitted * 40, "dirty": False, "patch": None}}
    return {"number": 1, "source": source, "job": {"submission": submission} if submitted else None}


def offline(values: Values) -> Values:
    scenario: Values = values["timing"]["scenarios"]["offline"]["skipped"]
    return scenario


@pytest.mark.parametrize(
    ("edit", "rule", "words"),
    [
        (lambda v: v["metrics"].update(top1=99.0), "metrics", ["says top1 99.0", "its samples give"]),
        (lambda v: v["metrics"].pop("recall"), "metrics", []),
        (lambda v: v["metrics"].update(charm=1.0), "metrics", ["says charm 1.0", "give None"]),
        (lambda v: v["metrics"]["kept_ratio_per_block"].pop(), "metrics", ["kept_ratio_per_block"]),
        (lambda v: v["macs"].update(static=v["macs"]["static"] + 1), "multiply-adds", ["of video 0 are not those"]),
        (
            lambda v: v["macs"]["witnesses"]["fvcore"].update(apart=0.02),
            "multiply-adds",
            ["fvcore counts", "2.00% beside torch"],
        ),
        (
            lambda v: v["macs"]["witnesses"]["ptflops"].update(missing="ImportError: no", total=None, apart=None),
            "multiply-adds",
            ["ptflops did not count: ImportError: no"],
        ),
        (lambda v: offline(v).update(noisy=True), "noise", ["offline, skipped: noisy, quartiles"]),
        (lambda v: offline(v).update(stable=False), "noise", ["had not settled"]),
        (
            lambda v: offline(v).update(again=0.9, again_samples=[0.9, 0.909, 0.918]),
            "noise",
            ["run twice", "differ by 10.0%"],
        ),
        (lambda v: offline(v).update(again=1.2), "timing", ["says again 1.2", "give 1.0"]),
        (lambda v: offline(v)["again_samples"].pop(), "timing", ["3 samples and 2 of its second run"]),
        (lambda v: offline(v).update(p90=0.5), "timing", ["says p90 0.5", "samples give 1.0"]),
        (lambda v: offline(v).update(stable=None), "noise", []),
        (lambda v: v["timing"].update(same_answers=0.75), "timing", ["answers 25.0% of the clips otherwise"]),
        (
            lambda v: v["timing"].update(same_answers=0.75, dtype="bfloat16"),
            "noise",
            ["in bfloat16, answers 25.0% of the clips otherwise"],
        ),
        (
            lambda v: v["timing"].update(
                throttled=None, device={"kind": "cuda", "name": "x"}, state={"after": {"missing": "no NVML"}}
            ),
            "noise",
            ["nobody knows whether the device throttled: no NVML"],
        ),
        (lambda v: v["macs"]["witnesses"]["torch"].update(total=None, apart=None), "record", ["neither numbers"]),
        (lambda v: v["macs"]["per_unit"].pop(), "record", ["differ in their lengths"]),
        (lambda v: offline(v).pop("samples"), "record", ["samples is missing"]),
        (lambda v: v["timing"]["roofline"].pop("roof"), "record", ["neither whole nor missing"]),
        (lambda v: v["timing"].update(throttled=True), "noise", ["throttled"]),
        (lambda v: v["timing"].update(requested_batch=64), "noise", ["batches of 2 clips, not 64"]),
        (lambda v: v["environment"]["source"].update(commit=None), "source", ["no commit"]),
        (
            lambda v: v["left_out"].update(train={f"{name}.mp4": "is empty" for name in "abcd"}),
            "left out",
            ["train videos that could not be used: 4, a.mp4, b.mp4, c.mp4, ..."],
        ),
        (lambda v: v.update(attempts=[attempt_of("0"), attempt_of("0", submitted="0"), {}, None]), "source", []),
        (
            lambda v: v.update(attempts=[attempt_of("0"), attempt_of("1"), attempt_of("1")]),
            "source",
            ["several versions of the code: commit 000000000000, commit 111111111111"],
        ),
        (
            lambda v: v.update(attempts=[attempt_of("0"), attempt_of("0", patch="abc")]),
            "source",
            ["several versions of the code: commit 000000000000, commit 000000000000 with changes abc"],
        ),
        (
            lambda v: v.update(attempts=[attempt_of("1", submitted="0"), attempt_of("1", submitted="0")]),
            "source",
            ["was submitted from commit 000000000000, but a job ran commit 111111111111"],
        ),
        (
            lambda v: v["environment"]["source"].update(dirty=True),
            "source",
            ["changed files", "commit 000000000000"],
        ),
        (lambda v: v["environment"]["packages"].update(torch=None), "environment", ["version of torch"]),
        (lambda v: v["environment"].update(host=""), "environment", ["does not say its host"]),
        (lambda v: v.update(schema=1), "record", ["schema 1"]),
        (lambda v: v["experiment"]["training"].update(lr=9.0), "record", ["training_id"]),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, edit: Callable[[Values], object], rule: str, words: list[str]) -> None:
    change(result_of(folder), edit)
    texts = [text for broken, text in found(folder) if broken == rule]
    assert len(texts) == bool(words) and all(word in text for word in words for text in texts), found(folder)


def test_a_folder_may_be_named_from_within(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (training,) = folder.glob("*/afnet/*")
    monkeypatch.chdir(training)
    assert check(Path()) == (1, [])


def test_samples_that_were_changed_are_found(folder: Path) -> None:
    path = result_of(folder).parent / "samples.parquet"
    samples = read_samples(path)
    write_samples(path, replace(samples, macs=samples.macs + np.eye(1, len(samples.macs), 2, dtype=np.int64)[0]))
    rules = found(folder)
    assert ("multiply-adds", "the multiply-adds of video 2 are not those of its decisions") in rules
    assert any(rule == "metrics" and text.startswith("says macs ") for rule, text in rules)


def test_files_and_folders_out_of_place_are_found(folder: Path) -> None:
    (training,) = folder.glob("*/afnet/*")
    (training / "checkpoint.pt").unlink()
    training.rename(training.with_name("elsewhere"))
    texts = [text for rule, text in found(folder) if rule == "place"]
    assert "its training has no checkpoint.pt" in texts
    assert any(text.startswith("lies in a folder elsewhere, but its training_id is ") for text in texts)


def test_samples_that_cannot_be_read_are_one_line_and_other_records_go_on(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    broken = next((tmp_path / "runs").glob("*/tsm/**/samples.parquet"))
    broken.write_bytes(b"PAR1")
    records, findings = check(tmp_path / "runs")
    assert records == 4 and [tmp_path / "runs" / f.path.parent for f in findings if f.rule == "record"] == [
        broken.parent
    ]


def test_two_results_of_one_experiment_are_found(folder: Path) -> None:
    shutil.copytree(folder, folder / "copy")
    assert found(folder) == []
    change(next(folder.glob("copy/**/result.json")), lambda v: v["stages"].update(training=1.0))
    assert [rule for rule, _ in found(folder)] == ["twice"]


def test_a_folder_without_records_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No record below"):
        check(tmp_path)
    with pytest.raises(UserError, match="There is no folder"):
        check(tmp_path / "none")


def test_a_finding_is_a_line_that_says_how_bad_it_is() -> None:
    assert str(Finding(Path("a/result.json"), "timing", "no")) == "wrong: a/result.json: timing: no"
    assert str(Finding(Path("a/result.json"), "noise", "no")) == "beware: a/result.json: noise: no"


@pytest.mark.parametrize(
    ("edit", "arguments", "status"),
    [
        (lambda v: None, ["--strict"], 0),
        (lambda v: offline(v).update(noisy=True), [], 0),
        (lambda v: offline(v).update(noisy=True), ["--strict"], 1),
        (lambda v: offline(v).update(median=0.5), [], 1),
    ],
)
def test_the_exit_status_tells_what_is_wrong_from_what_to_beware_of(
    folder: Path, edit: Callable[[Values], object], arguments: list[str], status: int
) -> None:
    change(result_of(folder), edit)
    try:
        afbench.main(["check", str(folder), *arguments])
    except SystemExit as stop:
        assert stop.code == status == 1
    else:
        assert status == 0
