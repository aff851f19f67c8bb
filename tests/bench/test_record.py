"""The record: whole or absent, checked when read."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.data.digits import CLASSES
from bench.errors import UserError
from bench.experiment import SCHEMA
from bench.record import find_result, point_folder, read_heartbeat, read_result, result_files, write_heartbeat
from bench.samples import Samples, read_samples, write_samples
from tests.conftest import small


@st.composite
def samples(draw: st.DrawFn) -> Samples:
    videos, classes, frames, blocks = (draw(st.integers(1, n)) for n in (5, 6, 4, 3))
    floats = st.floats(-1e6, 1e6, width=32)
    kept = draw(st.none() | hnp.arrays(np.bool_, (videos, blocks, frames)))
    grid, chosen = draw(st.integers(1, 7)), draw(st.integers(1, blocks))
    cells = None if kept is None else draw(st.none() | hnp.arrays(np.bool_, (videos, chosen, frames, grid, grid)))
    shares = hnp.arrays(np.float32, (videos, frames, 4), elements=st.floats(0, 1, width=32))
    return Samples(
        video=np.arange(videos),
        label=draw(hnp.arrays(np.int64, videos, elements=st.integers(0, classes - 1))),
        logits=draw(hnp.arrays(np.float32, (videos, classes), elements=floats)),
        macs=draw(hnp.arrays(np.int64, videos, elements=st.integers(0, 2**50))),
        times=draw(hnp.arrays(np.int64, (videos, frames), elements=st.integers(0, 47))),
        informative=draw(hnp.arrays(np.bool_, (videos, frames))),
        regions=draw(shares),
        kept=kept,
        cell_maps=() if cells is None else tuple((block, 8, 9) for block in range(chosen)),
        cells=cells,
        # No side of a crop is beyond the one opposite.
        crops=draw(st.none() | shares.map(lambda of: np.sort(of.reshape(-1, 2, 2), axis=1).reshape(of.shape))),
        resolutions=draw(st.none() | hnp.arrays(np.int64, (videos, frames), elements=st.integers(0, 224))),
        exit_step=draw(st.none() | hnp.arrays(np.int64, videos, elements=st.integers(1, frames))),
    )


@given(samples())
@settings(max_examples=30, deadline=None)
def test_samples_come_back_as_they_were_written(written: Samples) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.parquet"
        write_samples(path, written)
        read = read_samples(path)
    for name, value in vars(written).items():
        found = getattr(read, name)
        assert (value is None) == (found is None), name
        if name == "cell_maps":
            assert value == found
        elif value is not None:
            assert np.array_equal(value, found) and value.dtype == found.dtype, name


def test_a_finished_record_reads_back(runs: Path) -> None:
    found = [read_result(path) for path in result_files(runs)]
    assert len(found) == 4
    assert {result.experiment.model.method for result in found} == {"tsn", "tsm", "afnet"}


def changed(text: str, value: object, *path: str) -> str:
    """The JSON with another value at a path."""
    values = json.loads(text)
    target = values
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "not a complete record"),
        (lambda text: "", "not a complete record"),
        (lambda text: "[1]", "expected a record"),
        (lambda text: text.replace(f'"schema": {SCHEMA}', '"schema": 99'), "schema 99"),
        (lambda text: text.replace('"metrics"', '"metric"'), "metrics is missing"),
        (lambda text: text.replace('"lr": 0.05', '"lr": 0.06'), "says training_id"),
        (lambda text: text.replace('"momentum"', '"momentun"'), "momentun"),
        (lambda text: changed(text, {}, "metrics"), "metrics.top1 is missing"),
        (lambda text: changed(text, "high", "metrics", "top1"), "metrics.top1 is 'high', expected a number"),
        (lambda text: changed(text, math.nan, "metrics", "top1"), "metrics.top1 is nan"),
        (lambda text: changed(text, 0, "macs", "dense"), "macs.dense is 0, expected a number above 0"),
        (lambda text: changed(text, 10**400, "metrics", "macs"), "metrics.macs is 1000"),
        (lambda text: changed(text, {}, "timing", "scenarios", "offline"), "offline.dense is missing"),
        (
            lambda text: changed(text, [1], "timing", "scenarios", "offline", "dense", "quartiles"),
            "dense.quartiles is [1], expected two numbers",
        ),
        (
            lambda text: changed(text, 1e9, "timing", "scenarios", "offline", "dense", "median"),
            "timing.scenarios.offline.dense has its median outside of its quartiles",
        ),
        (lambda text: changed(text, {}, "environment", "source"), "environment.source.commit is missing"),
        (lambda text: changed(text, [], "experiment", "data", "dataset"), "Unknown data set []"),
        (lambda text: changed(text, {}, "experiment", "model", "method"), "Unknown method {}"),
        (lambda text: "[" * 100_000, "not a complete record"),
        # Whatever a report shows of a stranger's record.
        (lambda text: changed(text, "x", "metrics", "recall"), "metrics.recall is 'x'"),
        (lambda text: changed(text, math.nan, "metrics", "new"), "metrics.new is nan, expected a number or a list"),
        (lambda text: changed(text, [None], "metrics", "macs_deciles"), "metrics.macs_deciles is [None]"),
        (lambda text: changed(text, 5, "macs", "operators"), "macs.operators is 5, expected an object"),
        (lambda text: changed(text, "x", "parameters"), "parameters is 'x', expected a number"),
        (lambda text: changed(text, ["x"], "attempts"), "attempts is ['x'], expected a list of attempts"),
        (lambda text: changed(text, [{"job": "x"}], "attempts"), "expected a list of attempts"),
        (lambda text: changed(text, [-1], "preview", "videos"), "preview.videos is [-1], expected a list of whole"),
        (lambda text: changed(text, {}, "timing", "device"), "timing.device.name is missing"),
        (lambda text: changed(text, 5, "environment", "packages", "torch"), "packages.torch is 5, expected text"),
        (lambda text: changed(text, "\ud800", "timing", "device", "name"), "not a complete record"),
    ],
)
def test_a_damaged_record_is_named_and_left_alone(
    runs: Path, tmp_path: Path, damage: Callable[[str], str], words: str
) -> None:
    path = tmp_path / "result.json"
    path.write_text(damage(result_files(runs)[0].read_text()))
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        read_result(path)
    assert words in str(caught.value) and str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_pipe_or_a_flood_in_a_results_place_is_not_read(tmp_path: Path) -> None:
    pipe, flood = tmp_path / "pipe", tmp_path / "flood"
    os.mkfifo(pipe)
    with open(flood, "wb") as file:
        file.truncate(2**40)
    for path, words in ((pipe, "it is not a file"), (flood, "it has 1099511627776 bytes")):
        with pytest.raises(UserError, match=words):
            read_result(path)


def test_what_is_no_file_in_a_results_place_is_named(tmp_path: Path) -> None:
    experiment = small("tsn")
    path = point_folder(tmp_path / "runs", experiment) / "result.json"
    path.mkdir(parents=True)
    with pytest.raises(UserError, match=r"result\.json cannot be read \(Is a directory\)"):
        find_result(tmp_path / "runs", experiment)
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match=r"file/.*cannot be read \(Not a directory\)"):
        find_result(tmp_path / "file", experiment)
    assert (tmp_path / "file").read_text() == "kept" and path.is_dir()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"pid": 1, "time": 1.0, "stage": "train", "step": null, "steps": 2}', "\xff", "[" * 100_000],
)
def test_a_heartbeat_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "heartbeat.json").write_bytes(text.encode("latin-1"))
    assert read_heartbeat(tmp_path) is None


def test_a_heartbeat_comes_back(tmp_path: Path) -> None:
    assert read_heartbeat(tmp_path / "nowhere") is None
    write_heartbeat(tmp_path, "train", 3, 8)
    heartbeat = read_heartbeat(tmp_path)
    assert heartbeat is not None and (heartbeat.stage, heartbeat.step, heartbeat.steps) == ("train", 3, 8)


def test_damaged_samples_are_named(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    source = result_files(runs)[0].with_name("samples.parquet")
    path.write_bytes(source.read_bytes()[:100])
    with pytest.raises(UserError, match="not a readable file of samples"):
        read_samples(path)


def test_points_on_the_same_videos_share_a_file_of_names(runs: Path, tmp_path: Path) -> None:
    """And go without where it was left behind."""
    results = [read_result(path) for path in result_files(runs)]
    (path,) = (runs / "digits-in-motion").glob("names-*.json")
    assert {result.values["names"] for result in results} == {path.name}
    names = results[0].names
    assert names["classes"][0] == CLASSES[0] and names["videos"] == [f"val/{number}" for number in range(6)]
    shutil.copytree(results[0].path.parent, tmp_path / "a" / "b" / "c" / "d" / "points" / "e")
    assert read_result(tmp_path / "a" / "b" / "c" / "d" / "points" / "e" / "result.json").names["videos"] == []
