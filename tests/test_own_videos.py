"""A folder of own videos, of every kind, all the way: prepared, verified, trained on, evaluated, checked, reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import afbench
from bench.data.listing import read_prepared
from bench.record import read_result, result_files
from bench.samples import read_samples
from tests.videos import KINDS, moving_digit, write_video

CLASSES = ("left", "right", "up", "down")
TINY = [
    *("--dataset", "my-digits", "--backbone", "tiny", "--frames", "4"),
    *("--set", "training.batch=6", "--set", "timing.batch=2", "--set", "timing.rounds=3", "--set", "timing.warmup=0"),
    *("--set", "runtime.threads=1"),
]


ONCE = ["--set", "training.epochs=1"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dozen videos of digits, in folders by the way they move."""
    folder, kinds = tmp_path_factory.mktemp("own") / "videos", list(KINDS.items())
    written = index = 0
    while written < 36:
        name, kind = kinds[written % len(kinds)]
        frames, label = moving_digit(index, kind, length=20)
        index += 1
        direction = label.split()[1]
        if direction in CLASSES:
            write_video(folder / direction / f"{name} {written}{kind.suffix}", frames, kind)
            written += 1
    (folder / "left" / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Data sets and their register below the test's own folder."""
    monkeypatch.setenv("AFNET_BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("AFNET_BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def prepare(videos: Path, *more: str) -> None:
    command = ["data", "prepare", "my-digits", "--from-folder", str(videos), "--on-bad", "skip", "--workers", "1"]
    afbench.main([*command, "--val-share", "0.4", "--flip", "swap", *more])


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--short-side", "80"], ["--keep-videos"]], ids=["frames", "videos"])
def test_from_a_folder_of_videos_to_a_report(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    prepare(videos, *options)
    said = capsys.readouterr()
    assert "left out: left/broken" in said.err and "4 classes" in said.out
    prepared = read_prepared(tmp_path / "data" / "my-digits")
    assert sum(prepared.counts.values()) == 36 and prepared.classes == tuple(sorted(CLASSES))
    assert prepared.swaps == ((1, 2),) and len(prepared.made["left_out"]) == 1

    afbench.main(["data", "verify", "my-digits", "--workers", "1"])

    views = ["--set", "evaluation.clips=2", "--set", "evaluation.crops=3", "--set", "runtime.workers=1"]
    afbench.main(["run", "tsm", *TINY, *ONCE, *views])
    afbench.main(["run", "afnet", *TINY, *ONCE, "--set", "training.validate=1", "--set", "evaluation.weights=best"])
    afbench.main(["check", "runs"])
    afbench.main(["report", "runs"])

    afnet, tsm = map(read_result, result_files(tmp_path / "runs"))
    assert tsm.values["macs"]["views"] == 6 and afnet.values["macs"]["views"] == 1
    many = read_samples(tsm.path.with_name("samples.parquet"))
    assert many.times.shape == (prepared.counts["val"], 6 * 4) and set(many.macs) == {6 * tsm.values["macs"]["dense"]}
    assert tsm.experiment.data.train_clips == prepared.counts["train"]
    assert tsm.experiment.data.fingerprint == prepared.fingerprint
    assert "informative_share" not in tsm.metrics
    assert (tmp_path / "report" / "index.html").is_file()
    lines = [json.loads(line) for line in (afnet.path.parents[2] / "progress.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if "top1" in line] == [1]


@pytest.mark.slow
def test_views_are_averaged(videos: Path, tmp_path: Path) -> None:
    """The logits of two clips are the mean of those of each; frames and decisions come one view after the other."""
    prepare(videos, "--short-side", "80")
    for clips in ("1", "2"):
        afbench.main(["run", "tsm", *TINY, *ONCE, "--set", f"evaluation.clips={clips}"])
    one, two = (
        read_samples(result.path.with_name("samples.parquet"))
        for clips in (1, 2)
        for result in map(read_result, result_files(tmp_path / "runs"))
        if result.experiment.evaluation.clips == clips
    )
    assert np.array_equal(two.times[:, :4], one.times) and (two.times[:, 4] == 0).all()
    assert not np.allclose(one.logits, two.logits)


@pytest.mark.slow
def test_several_labels_of_a_video_are_measured_by_map(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [path.relative_to(videos).as_posix() for path in sorted(videos.rglob("*.*")) if path.stem != "broken"]
    rows = [f"{file},{file.partition('/')[0]}|{'odd' if number % 2 else 'even'}" for number, file in enumerate(files)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    prepare(videos, "--short-side", "80", "--table", str(tmp_path / "labels.csv"))
    afbench.main(["run", "tsn", *TINY, *ONCE, "--set", "training.validate=1"])
    (result,) = map(read_result, result_files(tmp_path / "runs"))
    assert f"mAP {result.metrics['map']:.2f} %" in capsys.readouterr().out
    afbench.main(["report", "runs"])
    (table,) = (tmp_path / "report").rglob("points.csv")
    head, row = (line.split(",") for line in table.read_text().splitlines())
    assert float(row[head.index("map")]) == pytest.approx(result.metrics["map"], abs=0.01)


@pytest.mark.slow
def test_a_video_that_goes_bad_later_stops_the_run_or_is_counted(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(videos, "--short-side", "80")
    root = tmp_path / "data" / "my-digits"
    for split in ("train", "val"):
        item = read_prepared(root).items(split)[1]
        frame = sorted((root / "frames" / item.path).iterdir())
        for path in frame:
            path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SystemExit) as stop:
        afbench.main(["run", "tsm", *TINY, *ONCE])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "is no whole JPEG" in said and "data.settings.on_bad=skip" in said
    with pytest.raises(SystemExit) as stop:
        afbench.main(["data", "verify", "my-digits", "--workers", "1"])
    assert stop.value.code == 1 and len((root / "bad.csv").read_text().splitlines()) == 3

    afbench.main(["run", "tsm", *TINY, "--set", "data.settings.on_bad=skip", "--set", "training.epochs=4"])
    (result,) = map(read_result, result_files(tmp_path / "runs"))
    left_out = result.values["left_out"]
    assert len(left_out["train"]) == len(left_out["val"]) == 1
    samples = read_samples(result.path.with_name("samples.parquet"))
    assert 1 not in samples.video and len(samples.video) == read_prepared(root).counts["val"] - 1
    afbench.main(["check", "runs"])
