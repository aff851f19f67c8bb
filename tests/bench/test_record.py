"""The record: whole or absent, checked when read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.errors import UserError
from bench.experiment import SCHEMA
from bench.metrics import Samples
from bench.record import locked, make_folder, read_result, replacing, result_files, write_json
from bench.samples import read_samples, write_samples


@st.composite
def samples(draw: st.DrawFn) -> Samples:
    videos, classes, frames, blocks = (draw(st.integers(1, n)) for n in (5, 6, 4, 3))
    floats = st.floats(-1e6, 1e6, width=32)
    return Samples(
        video=np.arange(videos),
        label=draw(hnp.arrays(np.int64, videos, elements=st.integers(0, classes - 1))),
        logits=draw(hnp.arrays(np.float32, (videos, classes), elements=floats)),
        macs=draw(hnp.arrays(np.int64, videos, elements=st.integers(0, 2**50))),
        times=draw(hnp.arrays(np.int64, (videos, frames), elements=st.integers(0, 47))),
        kept=draw(st.none() | hnp.arrays(np.bool_, (videos, blocks, frames))),
        informative=draw(hnp.arrays(np.bool_, (videos, frames))),
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
        if value is not None:
            assert np.array_equal(value, found) and value.dtype == found.dtype, name


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["value.json"]


def test_a_finished_record_reads_back(runs: Path) -> None:
    found = [read_result(path) for path in result_files(runs)]
    assert len(found) == 4
    assert {result.experiment.model.method for result in found} == {"tsn", "tsm", "afnet"}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "not a complete record"),
        (lambda text: "", "not a complete record"),
        (lambda text: "[1]", "expected a record"),
        (lambda text: text.replace(f'"schema": {SCHEMA}', '"schema": 7'), "schema 7"),
        (lambda text: text.replace('"metrics"', '"metric"'), "lacks metrics"),
        (lambda text: text.replace('"lr": 0.05', '"lr": 0.06'), "says training_id"),
        (lambda text: text.replace('"momentum"', '"momentun"'), "momentun"),
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


def test_damaged_samples_are_named(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    source = result_files(runs)[0].with_name("samples.parquet")
    path.write_bytes(source.read_bytes()[:100])
    with pytest.raises(UserError, match="not a readable file of samples"):
        read_samples(path)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        make_folder(tmp_path / "runs")


def test_the_lock_keeps_a_second_writer_waiting_and_dies_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import time\nfrom pathlib import Path\nfrom bench.record import locked\n"
        f"with locked(Path({str(tmp_path)!r})):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    waiter = subprocess.Popen(
        [sys.executable, "-c", code.replace("time.sleep(60)", "pass")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiter.stderr is not None and "waiting" in waiter.stderr.readline()
    assert waiter.poll() is None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    out, _ = waiter.communicate(timeout=30)
    assert out == "held\n" and waiter.returncode == 0


def test_taking_the_lock_clears_what_a_killed_writer_left(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.pt.x.partial").write_text("half")
    with locked(tmp_path):
        assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*.partial"))
