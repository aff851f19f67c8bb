"""Batches made by other processes: the same bytes in the same order, mistakes in the same words, deaths told."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.batches import Batch, finished
from bench.data.digits import Digits
from bench.data.loader import TrainingClips, ValidationClips, _Parts
from bench.data.source import Sampling, Taken
from bench.data.workers import _fitting, stream
from bench.errors import BadClip, UserError
from tests.bench.data.test_stored import opened, prepared_frames

SMALL = Digits(size=16, length=8)


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    """However a test's batches end."""
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) == before


def training(source: Digits, on_bad: str = "stop") -> TrainingClips:
    return TrainingClips(source, clips=24, frames=2, batch=4, part=4, seed=1, on_bad=on_bad)


def alike(one: Batch, other: Batch) -> bool:
    """To the byte."""
    return (
        one.clips.tobytes() == other.clips.tobytes()
        and one.clips.shape == other.clips.shape
        and one.times.tolist() == other.times.tolist()
        and one.videos.tolist() == other.videos.tolist()
        and one.labels.tolist() == other.labels.tolist()
        and np.array_equal(one.boxes, other.boxes)
        and np.array_equal(one.informative, other.informative)
        and np.array_equal(one.targets, other.targets)  # type: ignore[arg-type]
        and one.bad == other.bad
    )


# --- The same batches -------------------------------------------------------------------------------------------------


def test_workers_make_the_same_batches_in_the_same_order() -> None:
    """More of them than there are pieces of memory, each looked at before the next is asked for."""
    clips = training(SMALL)
    made = clips.stream(0, 30, workers=2)
    assert all(alike(one, other) for one, other in zip(made, clips.stream(0, 30), strict=True))


def test_batches_that_are_kept_stay_what_they_were() -> None:
    """Though memory is used again."""
    clips = training(SMALL)
    kept = list(clips.stream(0, 30, workers=2))
    assert all(alike(one, other) for one, other in zip(kept, clips.stream(0, 30), strict=True))


def test_views_of_batches_that_are_kept_stay_what_they_were() -> None:
    clips = training(SMALL)
    arrays, tensors = [], []
    for number, batch in enumerate(clips.stream(0, 30, workers=1)):
        if number % 3 == 0:
            arrays.append((number, batch.clips[1:][:1, 0]))
        if number % 3 == 1:
            tensors.append((number, torch.from_numpy(batch.clips)[2]))
        del batch
    assert all(np.array_equal(part, clips.make((number, 0)).clips[1:2, 0]) for number, part in arrays)
    assert all(np.array_equal(part.numpy(), clips.make((number, 0)).clips[2]) for number, part in tensors)


def test_files_are_read_alike_by_workers(tmp_path: Path) -> None:
    """Training's parts, and a validation's views with a last batch that is smaller."""
    source = opened(prepared_frames(tmp_path, lengths=(9,) * 5, labels=((0,), (1, 2), (2,), (0,), (1,)), metric="map"))
    trained = TrainingClips(source, clips=5, frames=2, batch=4, part=2, seed=1)
    validated = ValidationClips(source, 5, Sampling(2, clips=2, crops=3), batch=2)
    for made, wanted in (
        (trained.stream(2, 5, (0, 1), workers=2), trained.stream(2, 5, (0, 1))),
        (validated.stream(workers=2), validated.stream()),
    ):
        assert all(alike(one, other) for one, other in zip(made, wanted, strict=True))


def test_workers_leave_resizing_to_the_device(tmp_path: Path) -> None:
    source = opened(prepared_frames(tmp_path, lengths=(4,) * 5, labels=((0,),) * 5))
    clips = TrainingClips(source, clips=5, frames=2, batch=2, part=2, seed=1)
    made = replace(clips, on_device=True).stream(0, 8, workers=2)
    for one, other in zip(made, clips.stream(0, 8), strict=True):
        assert one.raw is not None and one.clips.ndim == 1
        assert torch.equal(finished(one, torch.device("cpu")), torch.from_numpy(other.clips))


def test_a_training_that_is_taken_up_sees_what_it_would_have_seen() -> None:
    clips = training(SMALL)
    rest = clips.stream(9, 13, workers=2)
    assert all(alike(one, clips.make((step, 0))) for step, one in zip(range(9, 13), rest, strict=True))


def test_torchs_random_numbers_stay_the_callers() -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    list(training(SMALL).stream(0, 2, workers=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_end_when_no_more_batches_are_wanted() -> None:
    before = set(multiprocessing.active_children())
    batches = training(SMALL).stream(0, 30, workers=2)
    next(batches)
    assert len(set(multiprocessing.active_children()) - before) == 2
    del batches
    assert set(multiprocessing.active_children()) == before


# --- Mistakes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spoilt(Digits):
    """Digits of which one training video cannot be used, and perhaps does worse.

    Attributes:
        does: "bad", "breaks" or "exits".
    """

    video: int = 7
    does: str = "bad"

    def training_clip(self, index: int, frames: int, rng: np.random.Generator) -> Taken:
        if index != self.video:
            return super().training_clip(index, frames, rng)
        if self.does == "exits":
            os._exit(3)
        if self.does == "breaks":
            raise RuntimeError("a worker bee in the code")
        raise BadClip("/data/7/00001.jpg", "is empty")


SPOILT = Spoilt(size=16, length=8)


def test_a_mistake_in_a_worker_is_told_in_the_same_words() -> None:
    with pytest.raises(UserError) as here:
        list(training(SPOILT).stream(0, 6))
    with pytest.raises(UserError) as there:
        list(training(SPOILT).stream(0, 6, workers=2))
    assert "'train/7' cannot be used: /data/7/00001.jpg is empty." in str(there.value)
    assert str(there.value) == str(here.value)
    assert "Traceback" not in str(there.value) and "File " not in str(there.value)


def test_what_comes_before_a_mistake_is_handed_out() -> None:
    good = training(SMALL)
    batches = training(replace(SPOILT, video=int(good.make((3, 0)).videos[1]))).stream(0, 6, workers=2)
    assert all(alike(next(batches), good.make((step, 0))) for step in range(3))
    with pytest.raises(UserError, match="is empty"):
        next(batches)


def test_workers_leave_bad_videos_out_and_name_them() -> None:
    clips = training(SPOILT, on_bad="skip")
    made = list(clips.stream(0, 6, workers=2))
    assert all(alike(one, other) for one, other in zip(made, clips.stream(0, 6), strict=True))
    assert sum(len(batch) for batch in made) == 23
    assert [bad for batch in made for bad in batch.bad] == [("train/7", "/data/7/00001.jpg is empty")]


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
def test_a_file_that_vanishes_meanwhile_is_a_bad_video(tmp_path: Path, on_bad: str) -> None:
    """Of eleven batches up to four are made ahead when the first one is handed out."""
    source = opened(prepared_frames(tmp_path, lengths=(4,) * 11, labels=((0,),) * 11))
    clips = TrainingClips(source, clips=11, frames=2, batch=1, part=1, seed=1, on_bad=on_bad)
    last = int(clips.make((10, 0)).videos[0])
    batches = clips.stream(0, 11, workers=2)
    next(batches)
    for path in (source.prepared.media / source.name("train", last)).iterdir():
        path.unlink()
    words = rf"clip {last}/0000\d.jpg cannot be read \(No such file or directory\)"
    if on_bad == "stop":
        with pytest.raises(UserError, match=f"'clip {last}' cannot be used: .*{words}"):
            list(batches)
    else:
        *others, batch = batches
        assert len(batch) == 0 and re.search(words, batch.bad[0][1])
        assert all(len(other) == 1 and not other.bad for other in others)


def test_a_fault_of_the_program_is_not_taken_for_a_death() -> None:
    with pytest.raises(RuntimeError, match="a worker bee in the code"):
        list(training(replace(SPOILT, does="breaks")).stream(0, 6, workers=1))


def test_a_worker_that_ends_by_itself_is_told_with_its_status() -> None:
    with pytest.raises(UserError, match=r"A worker that makes clips died \(exit status 3\)"):
        list(training(replace(SPOILT, does="exits")).stream(0, 6, workers=1))


def test_a_worker_that_is_killed_is_told_to_who_waits_for_it() -> None:
    """And disturbs nothing before, as a training step in which it is killed."""
    before = set(multiprocessing.active_children())
    batches = training(SMALL).stream(0, 30, workers=1)
    next(batches)
    (process,) = set(multiprocessing.active_children()) - before
    process.kill()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        sum(range(1000))
    with pytest.raises(UserError, match=r"A worker that makes clips died \(killed by SIGKILL\).*runtime.workers"):
        list(batches)


LEFT_ALONE = """
import sys, time
from bench.data.digits import Digits
from bench.data.loader import TrainingClips
if __name__ == "__main__":
    clips = TrainingClips(Digits(size=16, length=8), clips=24, frames=2, batch=4, part=4, seed=1)
    batches = clips.stream(0, 1000, workers=2)
    next(batches)
    print("begun", flush=True)
    time.sleep(600)
"""


def test_workers_end_with_the_process_that_made_them_however_it_ends() -> None:
    """Nothing of it is left, which its output's end tells: all of its processes hold that."""
    with subprocess.Popen([sys.executable, "-c", LEFT_ALONE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.kill()
        ended, _, _ = select.select([process.stdout], [], [], 30)
        assert ended and process.stdout.read() == ""


def test_memory_is_as_large_as_the_first_batch_unless_said() -> None:
    clips = training(SMALL)
    made = stream(clips.make, [(step, 0) for step in range(6)], workers=1)
    assert all(alike(one, other) for one, other in zip(made, clips.stream(0, 6), strict=True))


def test_batches_that_shared_memory_has_no_room_for_are_told() -> None:
    clips = training(SMALL)
    with pytest.raises(UserError, match=r"no room for 5 batches of 1,125,899,907 MB in shared memory.*runtime.workers"):
        next(stream(clips.make, [(step, 0) for step in range(6)], workers=1, largest=2**50))


def test_no_more_workers_than_shared_memory_has_room_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Their batches stay within half of what is free, and within this process's share of it."""
    usage = shutil.disk_usage("/")._replace(free=4_000)
    monkeypatch.setattr("bench.data.workers.shutil.disk_usage", lambda path: usage)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert _fitting(8, 100) == 8 and not caplog.text  # 8 * 2 + 3 batches
    assert _fitting(9, 100) == 8 and "8 of 9 workers make clips" in caplog.text
    assert _fitting(9, 10_000) == 1, "one there is always"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert _fitting(9, 100) == 3


def test_the_keys_of_a_long_training_are_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = _Parts(range(3, 7), (1, 3))
    assert list(parts) == [(step, part) for step in range(3, 7) for part in (1, 3)]
    assert parts[-1] == (6, 3) and parts[1:3] == [(3, 3), (4, 1)] and len(parts) == 8
    with pytest.raises(IndexError):
        parts[8]
    assert len(pickle.dumps(_Parts(range(10**6), (0,)))) < 1000
