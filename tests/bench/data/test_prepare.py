"""From videos to a prepared data set: frames as they are read, nothing half made, and going on after any end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from bench.data import prepare as module
from bench.data.frames import read_picture
from bench.data.listing import BEGUN, Layout, read_prepared
from bench.data.pool import Died, each
from bench.data.prepare import FRAMES, Entry, Outcome, Pictures, Plan, counted, extract, prepare
from bench.data.verify import Problem, verify, write_problems
from bench.data.video import all_frames
from bench.errors import BadClip, UserError
from bench.files import locked
from tests.videos import KINDS, numbered, write_video

LENGTH = 8
SMALL = Pictures(short_side=32, quality=90)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of eight frames, an empty file and one that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("a", "b", "c", "d"):
        write_video(folder / "run" / f"{name}.mp4", numbered(LENGTH, KINDS["h264"]))
    for name in ("odd-size", "rotated", "b-frames"):
        write_video(folder / f"{name}.mp4", numbered(LENGTH, KINDS[name]), KINDS[name])
    write_video(folder / "one-second.mp4", numbered(24, KINDS["tall"]), KINDS["tall"])
    (folder / "run" / "empty.mp4").touch()
    (folder / "run" / "text.mp4").write_text("no video" * 100)
    return folder


def plan_of(folder: Path, *names: str, **changes: Any) -> Plan:
    """Videos of the folder run, the last of which validates."""
    entries = [
        Entry(folder / "run" / f"{name}.mp4", f"run/{name}.mp4", (number % 2,), "train")
        for number, name in enumerate(names)
    ]
    entries[-1] = replace(entries[-1], split="val")
    return replace(Plan("mine", "Mine", entries, ["run", "walk"], FRAMES, SMALL), **changes)


def here(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int
) -> contextlib.closing[Generator[Any, None, None]]:
    """`each` without processes."""
    return contextlib.closing((item, function(item)) for item in list(items))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in the process of the test."""
    monkeypatch.setattr(module, "each", here)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, alone: None) -> list[str]:
    """The entries that were made, in the process of the test."""
    names: list[str] = []
    make = module.make

    def recorded(layout: Layout, pictures: Pictures | None, root: Path, entry: Entry) -> int | str:
        names.append(entry.source.stem)
        return make(layout, pictures, root, entry)

    monkeypatch.setattr(module, "make", recorded)
    return names


def run(plan: Plan, root: Path, on_bad: str = "stop", workers: int = 1) -> Outcome:
    return prepare(plan, root, workers=workers, on_bad=on_bad, report=lambda done, of: None)


def refused(plan: Plan, root: Path, on_bad: str = "stop") -> str:
    """What the error says."""
    with pytest.raises(UserError) as error:
        run(plan, root, on_bad)
    return str(error.value)


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# --- Extraction -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("video", "size"),
    [("run/a", (32, 40)), ("odd-size", (32, 45)), ("rotated", (40, 32)), ("b-frames", (32, 40))],
)
def test_extracted_frames_are_those_of_the_video_made_small(
    videos: Path, tmp_path: Path, video: str, size: tuple[int, int]
) -> None:
    path = videos / f"{video}.mp4"
    assert extract(path, tmp_path, "x", SMALL) == LENGTH
    assert files(tmp_path) == [f"frames/x/{number:05d}.jpg" for number in range(1, LENGTH + 1)]
    for number, frame in enumerate(all_frames(path, lambda height, width: size), start=1):
        assert frame.shape == (*size, 3)
        data = simplejpeg.encode_jpeg(frame, 90, "RGB", "420")
        assert (tmp_path / "frames" / "x" / f"{number:05d}.jpg").read_bytes() == data


def test_frames_that_are_smaller_stay_as_they_are(videos: Path, tmp_path: Path) -> None:
    extract(videos / "run" / "a.mp4", tmp_path, "x", Pictures(short_side=256))
    assert read_picture(tmp_path / "frames" / "x" / "00001.jpg").shape == (64, 80, 3)


def test_a_higher_quality_is_nearer_to_the_video(videos: Path, tmp_path: Path) -> None:
    path = videos / "run" / "a.mp4"
    (first, *_) = all_frames(path)
    errors = []
    for quality in (5, 50, 100):
        extract(path, tmp_path, str(quality), Pictures(quality=quality))
        picture = read_picture(tmp_path / "frames" / str(quality) / "00001.jpg")
        errors.append(np.abs(picture.astype(int) - first).mean())
    assert errors[0] > errors[1] > errors[2]


def test_a_rate_takes_so_many_frames_a_second(videos: Path, tmp_path: Path) -> None:
    """Of the 24 frames of one second."""
    assert extract(videos / "one-second.mp4", tmp_path, "x", Pictures(rate=6)) == 6
    every = list(all_frames(videos / "one-second.mp4"))
    second = read_picture(tmp_path / "frames" / "x" / "00002.jpg")
    assert np.abs(second.astype(int) - every[4]).mean() < 2 < np.abs(second.astype(int) - every[3]).mean()


def test_an_extraction_replaces_what_is_there_whole(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "frames" / "x").mkdir(parents=True)
    (tmp_path / "frames" / "x" / "00009.jpg").touch()
    extract(videos / "run" / "a.mp4", tmp_path, "x", SMALL)
    assert len(files(tmp_path)) == LENGTH


@pytest.mark.parametrize("name", ["empty", "text"])
def test_a_file_that_is_no_video_leaves_nothing(videos: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadClip, match=rf"{name}\.mp4 cannot be decoded"):
        extract(videos / "run" / f"{name}.mp4", tmp_path, "x", SMALL)
    assert not files(tmp_path) and not (tmp_path / "frames").exists()


def test_a_video_that_changes_its_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [np.zeros((32, width, 3), np.uint8) for width in (40, 40, 48)]
    monkeypatch.setattr("bench.data.video.all_frames", lambda path, least, rate: iter(frames))
    with pytest.raises(BadClip, match=r"a\.mp4 changes the size of its frames at number 3"):
        extract(Path("a.mp4"), tmp_path, "x", SMALL)
    assert not files(tmp_path)


def test_a_full_disk_is_named_and_leaves_nothing_half_made(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def fill(path: Path, data: bytes) -> int:
        if path.name == "00004.jpg":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(
        UserError, match=r"frames/x cannot be written \(No space left on device\)\. What is done was kept"
    ):
        extract(videos / "run" / "a.mp4", tmp_path, "x", SMALL)
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"quality": 0}, "--quality is 0; expected a number at least 1 and at most 100"),
        ({"quality": 101}, "--quality is 101; expected a number at least 1 and at most 100"),
        ({"short_side": 0}, "--short-side is 0; expected a number at least 8"),
        ({"rate": -1.0}, r"--rate is -1\.0; expected a number at least 0"),
        ({"rate": float("inf")}, "--rate is inf; expected a finite number"),
    ],
)
def test_options_out_of_range_are_named_as_on_the_command_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Pictures(**values)


# --- Frames that are there --------------------------------------------------------------------------------------------


def frames(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


IMAGES = Layout("frames", "frames", "img_{:02d}.jpg", first=1)


def test_frames_are_counted_among_other_files(tmp_path: Path) -> None:
    folder = frames(tmp_path / "x", "img_01.jpg", "img_02.jpg", "img_03.jpg", "flow_01.jpg", "thumb.jpg")
    assert counted(folder, IMAGES) == 3


def test_as_many_frames_are_taken_as_a_list_says(tmp_path: Path) -> None:
    folder = frames(tmp_path / "x", "img_01.jpg", "img_02.jpg", "img_03.jpg", "img_05.jpg")
    assert counted(folder, IMAGES, wanted=2) == 2
    with pytest.raises(BadClip, match=r"lacks 1 of 4 frames, the first img_04\.jpg"):
        counted(folder, IMAGES, wanted=4)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), r"x has no img_01\.jpg, but nothing"),
        (("00001.jpg", "00002.jpg"), r"x has no img_01\.jpg, but 2 other files, as 00001\.jpg"),
        (("img_01.jpg", "img_04.jpg"), r"x lacks 2 of 4 frames, the first img_02\.jpg"),
        (("img_00.jpg", "img_01.jpg"), r"x has img_00\.jpg before the first frame img_01\.jpg \(--first\)"),
    ],
)
def test_a_folder_of_other_frames_is_named(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadClip, match=words):
        counted(frames(tmp_path / "x", *names), IMAGES)


def test_what_is_no_folder_of_frames_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "nothing"):
        with pytest.raises(BadClip, match=f"{name} is no folder of frames"):
            counted(tmp_path / name, IMAGES)


# --- A preparation ----------------------------------------------------------------------------------------------------


def test_a_preparation_in_processes(videos: Path, tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    plan = plan_of(videos, "a", "b", "text", "c", made={"from": "folder"})
    outcome = prepare(plan, tmp_path / "root", workers=2, on_bad="skip", report=lambda *counts: said.append(counts))
    assert said == [(number, 4) for number in range(5)]
    assert list(outcome.bad) == ["run/text.mp4"] and "text.mp4 cannot be read" in outcome.bad["run/text.mp4"]
    prepared = read_prepared(tmp_path / "root")
    assert prepared == outcome.prepared
    assert [item.line() for split in ("train", "val") for item in prepared.items(split)] == [
        "run/a.mp4 8 0",
        "run/b.mp4 8 1",
        "run/c.mp4 8 1",
    ]
    assert prepared.made == {"from": "folder", "short_side": 32, "quality": 90, "rate": 0.0, "left_out": outcome.bad}
    assert len(files(tmp_path / "root" / "frames")) == 3 * LENGTH
    assert {path.name for path in (tmp_path / "root").iterdir()} == {
        *("dataset.json", "train.txt", "val.txt", "frames", "prepared.jsonl", ".lock")
    }


def test_videos_may_stay_where_they_are(videos: Path, tmp_path: Path, alone: None) -> None:
    plan = plan_of(videos, "a", "b", layout=Layout("videos", str(videos)), pictures=None)
    prepared = run(plan, tmp_path).prepared
    assert [item.line() for item in prepared.items("train")] == ["run/a.mp4 8 0"]
    assert prepared.media == videos and not (tmp_path / "frames").exists()


def test_a_video_that_stays_is_looked_at(videos: Path, tmp_path: Path, alone: None) -> None:
    plan = plan_of(videos, "a", "text", layout=Layout("videos", str(videos)), pictures=None)
    assert "val video 'run/text.mp4' cannot be used" in refused(plan, tmp_path)


def test_a_list_that_is_taken_over_keeps_its_numbers_of_frames(videos: Path, tmp_path: Path, alone: None) -> None:
    for name in ("1", "2"):
        extract(videos / "run" / "a.mp4", tmp_path, name, SMALL)
    layout = Layout("frames", str(tmp_path / "frames"), "{:05d}.jpg", 1)
    entries = [
        Entry(tmp_path / "frames" / "1", "1", (0,), "train", 6),
        Entry(tmp_path / "frames" / "2", "2", (1, 0), "val", 8),
    ]
    plan = Plan("mine", "Mine", entries, ["run", "walk"], layout, None)
    run(plan, tmp_path / "root")
    assert (tmp_path / "root" / "train.txt").read_text() == "1 6 0\n"
    assert (tmp_path / "root" / "val.txt").read_text() == "2 8 1,0\n"
    longer = replace(plan, entries=[entries[0], replace(entries[1], frames=9)])
    assert "lacks 1 of 9 frames, the first 00009.jpg" in refused(longer, tmp_path / "root")


def test_lists_may_take_fewer_frames_than_there_are(videos: Path, tmp_path: Path, alone: None) -> None:
    layout = Layout("frames", str(tmp_path / "frames"), "{:05d}.jpg", 1)
    entries = []
    for name, split, length in (("1", "train", 6), ("2", "val", 8)):
        extract(videos / "run" / "a.mp4", tmp_path, name, SMALL)
        entries.append(Entry(tmp_path / "frames" / name, name, (0,), split, length))
    prepared = run(Plan("mine", "Mine", entries, ["run", "walk"], layout, None), tmp_path / "root").prepared
    assert [prepared.items(split)[0].frames for split in ("train", "val")] == [6, 8]


def test_what_is_trained_on_validates_nothing(videos: Path, tmp_path: Path, alone: None) -> None:
    extract(videos / "run" / "a.mp4", tmp_path, "1", SMALL)
    layout = Layout("frames", str(tmp_path / "frames"), "{:05d}.jpg", 1)
    entries = [Entry(tmp_path / "frames" / "1", "1", (0,), split) for split in ("train", "val")]
    said = refused(Plan("mine", "Mine", entries, ["run", "walk"], layout, None), tmp_path / "root")
    assert "Videos of mine are in train and in val (1, the first '1')" in said


def test_another_video_of_the_same_name_is_extracted_anew(videos: Path, tmp_path: Path, made: list[str]) -> None:
    """And so is one that was replaced; what stayed is not."""
    first, other = tmp_path / "first", tmp_path / "other"
    for folder in (first, other):
        shutil.copytree(videos / "run", folder / "run", copy_function=shutil.copy2)
    run(plan_of(first, "a", "b"), tmp_path / "root")
    made.clear()
    write_video(first / "run" / "a.mp4", numbered(LENGTH + 5, KINDS["h264"]))
    prepared = run(plan_of(first, "a", "b"), tmp_path / "root").prepared
    assert made == ["a"] and prepared.items("train")[0].frames == LENGTH + 5
    prepared = run(plan_of(other, "a", "b"), tmp_path / "root").prepared
    assert made == ["a", "a", "b"] and prepared.items("train")[0].frames == LENGTH


def test_what_a_verification_found_damaged_is_extracted_anew(videos: Path, tmp_path: Path, made: list[str]) -> None:
    plan = plan_of(videos, "a", "b", "c")
    prepared = run(plan, tmp_path).prepared
    (tmp_path / "frames" / "run/b.mp4" / "00002.jpg").write_bytes(b"")
    (tmp_path / "frames" / "run/c.mp4" / "00003.jpg").unlink()
    problems = verify(prepared, workers=1, quick=False, report=lambda *_: None)
    write_problems(prepared, problems)
    assert [problem.path for problem in problems if problem.kind != "label"] == ["run/b.mp4", "run/c.mp4"]
    made.clear()
    prepared = run(plan, tmp_path).prepared
    assert made == ["b", "c"] and not (tmp_path / "bad.csv").exists()
    assert {problem.kind for problem in verify(prepared, workers=1, quick=False, report=lambda *_: None)} <= {"label"}


def test_what_was_found_damaged_of_videos_that_stay_is_not_forgotten(videos: Path, tmp_path: Path, alone: None) -> None:
    """A preparation makes nothing of them anew."""
    plan = plan_of(videos, "a", "b", layout=Layout("videos", str(videos)), pictures=None)
    prepared = run(plan, tmp_path).prepared
    write_problems(prepared, [Problem("train", "run/a.mp4", "damaged", "is damaged in frame 3")])
    prepared = run(plan, tmp_path).prepared
    kept = [each for each in verify(prepared, workers=1, quick=True, report=lambda *_: None) if each.kind != "label"]
    assert [(each.path, each.before) for each in kept] == [("run/a.mp4", True)]


def test_videos_of_which_none_is_where_they_should_be(videos: Path, tmp_path: Path, alone: None) -> None:
    plan = plan_of(videos, "x", "y", source=str(videos), made={"from": "annotations"})
    for on_bad in ("stop", "skip"):
        said = refused(plan, tmp_path / "root", on_bad)
        assert "x.mp4 was not found" in said and f"None could be used so far: --media is {videos}; expected" in said
    plan = plan_of(videos, "a", "y", source=str(videos), made={"from": "annotations"})
    assert "None could be used" not in refused(plan, tmp_path / "root")


def test_a_video_that_is_nowhere_is_said_to_be(videos: Path, tmp_path: Path, alone: None) -> None:
    assert "nowhere.mp4 was not found" in refused(plan_of(videos, "a", "nowhere", "b"), tmp_path)


@pytest.mark.parametrize("name", ["empty", "text"])
def test_a_video_that_cannot_be_used_stops_a_preparation(videos: Path, tmp_path: Path, alone: None, name: str) -> None:
    said = refused(plan_of(videos, "a", name, "b"), tmp_path)
    assert f"The train video 'run/{name}.mp4' cannot be used: {videos}/run/{name}.mp4 cannot be read" in said
    assert "--on-bad skip" in said and not (tmp_path / "dataset.json").exists()


def test_a_preparation_goes_on_where_it_stopped(videos: Path, tmp_path: Path, made: list[str]) -> None:
    folder = tmp_path / "videos"
    (folder / "run").mkdir(parents=True)
    for name in ("a", "c"):
        (folder / "run" / f"{name}.mp4").symlink_to(videos / "run" / f"{name}.mp4")
    plan = plan_of(folder, "a", "b", "c")
    assert "'run/b.mp4' cannot be used" in refused(plan, tmp_path / "root")
    (folder / "run" / "b.mp4").symlink_to(videos / "run" / "b.mp4")
    assert run(plan, tmp_path / "root").prepared.counts == {"train": 2, "val": 1}
    assert made == ["a", "b", "b", "c"]
    run(plan, tmp_path / "root")
    assert made == ["a", "b", "b", "c"]


def test_what_was_left_out_is_tried_again(videos: Path, tmp_path: Path, made: list[str]) -> None:
    plan = plan_of(videos, "a", "text", "b")
    for _ in range(2):
        assert list(run(plan, tmp_path, "skip").bad) == ["run/text.mp4"]
    assert made == ["a", "text", "b", "text"]


@pytest.mark.parametrize(("cut", "again"), [(1, ["d"]), (2, ["c", "d"]), (25, ["c", "d"])])
def test_a_line_cut_short_by_a_kill_is_at_most_one_item_to_do_again(
    videos: Path, tmp_path: Path, made: list[str], cut: int, again: list[str]
) -> None:
    plan, root = plan_of(videos, "a", "b", "c", "d"), tmp_path
    run(plan, root)
    whole = (root / BEGUN).read_text()
    (root / BEGUN).write_text("".join(whole.splitlines(keepends=True)[:4])[:-cut])
    made.clear()
    run(plan, root)
    assert made == again
    assert (root / BEGUN).read_text() == whole


def test_frames_that_are_gone_are_extracted_again(videos: Path, tmp_path: Path, made: list[str]) -> None:
    plan = plan_of(videos, "a", "b", "c")
    run(plan, tmp_path)
    (tmp_path / "frames" / "run" / "b.mp4").rename(tmp_path / "away")
    made.clear()
    run(plan, tmp_path)
    assert made == ["b"]


def test_half_made_frames_of_a_killed_process_are_removed(videos: Path, tmp_path: Path, alone: None) -> None:
    frames(tmp_path / "frames.partial" / "4711", "00001.jpg")
    run(plan_of(videos, "a", "b"), tmp_path)
    assert not (tmp_path / "frames.partial").exists()


def test_what_another_plan_prepared_here_is_kept(videos: Path, tmp_path: Path, made: list[str]) -> None:
    whole, part = plan_of(videos, "a", "b", "c"), plan_of(videos, "a", "b")
    for plan in (whole, part, whole):
        assert sum(run(plan, tmp_path).prepared.counts.values()) == len(plan.entries)
    assert made == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pictures": replace(SMALL, quality=80)}, "a preparation with quality 90, but this one wants quality 80"),
        ({"pictures": replace(SMALL, rate=5.0)}, "a preparation with rate 0.0, but this one wants rate 5.0"),
        ({"name": "yours"}, "a preparation with name 'mine', but this one wants name 'yours'"),
        ({"pictures": None, "layout": Layout("videos", "/x")}, "kind 'frames', media 'frames', quality 90"),
        ({"source": "/"}, "a preparation with source '/usr', but this one wants source '/'"),
    ],
)
def test_other_options_are_refused(
    videos: Path, tmp_path: Path, alone: None, changes: dict[str, Any], words: str
) -> None:
    plan = plan_of(videos, "a", "b", source="/usr")
    run(plan, tmp_path)
    before = files(tmp_path)
    said = refused(replace(plan, **changes), tmp_path)
    assert words in said and f"another folder: --out; or remove {tmp_path}." in said
    assert files(tmp_path) == before
    (tmp_path / "dataset.json").unlink()
    assert f"or remove {tmp_path}, which is not finished." in refused(replace(plan, **changes), tmp_path)


@pytest.mark.parametrize("kept", [False, True])
def test_videos_that_moved_are_taken_from_their_new_place(
    videos: Path, tmp_path: Path, alone: None, kept: bool
) -> None:
    def plan(folder: Path) -> Plan:
        changes = {"layout": Layout("videos", str(folder)), "pictures": None} if kept else {"source": str(folder)}
        return plan_of(folder, "a", "b", **changes)

    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(videos / "run", old / "run")
    before = run(plan(old), tmp_path / "root").prepared
    shutil.copytree(old, new)
    said = refused(plan(new), tmp_path / "root")
    assert f"but this one wants {'media' if kept else 'source'} '{new}'" in said
    assert f"Videos that moved are taken from their new place once {old} is gone." in said
    shutil.rmtree(old)
    after = run(plan(new), tmp_path / "root").prepared
    assert after.fingerprint == before.fingerprint and (after.media == new) == kept
    begun = json.loads((tmp_path / "root" / BEGUN).read_text().splitlines()[0])
    assert begun["media" if kept else "source"] == str(new)


def test_a_preparation_that_does_not_say_its_source_goes_on(videos: Path, tmp_path: Path, made: list[str]) -> None:
    run(plan_of(videos, "a", "b"), tmp_path)
    (tmp_path / BEGUN).write_text((tmp_path / BEGUN).read_text().replace(', "source": ""}', "}", 1))
    run(plan_of(videos, "a", "b", source="/usr"), tmp_path)
    assert made == ["a", "b"] and "'/usr', but" in refused(plan_of(videos, "a", "b", source="/"), tmp_path)


@pytest.mark.parametrize("name", ["train.txt", "val.txt", "dataset.json", "frames"])
def test_what_no_preparation_made_is_not_written_over(videos: Path, tmp_path: Path, alone: None, name: str) -> None:
    (tmp_path / name).mkdir() if name == "frames" else (tmp_path / name).write_text("kept")
    assert f"{tmp_path} holds {name}, which no preparation" in refused(plan_of(videos, "a", "b"), tmp_path)
    assert name == "frames" or (tmp_path / name).read_text() == "kept"


def test_a_second_preparation_at_once_is_refused(videos: Path, tmp_path: Path, alone: None) -> None:
    with locked(tmp_path):
        assert f"Another process is preparing {tmp_path}" in refused(plan_of(videos, "a", "b"), tmp_path)


def test_nothing_left_in_a_split_is_an_error(videos: Path, tmp_path: Path, alone: None) -> None:
    said = refused(plan_of(videos, "a", "text"), tmp_path, "skip")
    assert f"No val video of mine is left (1 cannot be used). The first: {videos}/run/text.mp4 cannot be read" in said
    assert "--template" not in said


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
def test_options_that_fit_no_frames_are_named(videos: Path, tmp_path: Path, alone: None, on_bad: str) -> None:
    for name in "ab":
        extract(videos / "run" / "a.mp4", tmp_path, name, SMALL)
    entries = [Entry(tmp_path / "frames" / name, name, (0,), split) for name, split in (("a", "train"), ("b", "val"))]
    layout = Layout("frames", str(tmp_path / "frames"), "{:05d}.jpg", first=0)
    plan = Plan("mine", "Mine", entries, ["run", "walk"], layout, None)
    options = f"--media is {tmp_path}/frames, --template {{:05d}}.jpg and --first 0; expected folders with a 00000.jpg"
    said = refused(plan, tmp_path / "root", on_bad)
    assert "a lacks 1 of 9 frames, the first 00000.jpg" in said and options in said
    (tmp_path / "frames" / "a" / "00000.jpg").touch()
    assert "--template" not in refused(plan, tmp_path / "root", on_bad)


def test_what_is_left_out_comes_in_the_order_of_the_plan(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "each", lambda function, items, workers: here(function, reversed(items), workers))
    outcome = run(plan_of(videos, "a", "text", "empty", "nowhere", "b"), tmp_path, "skip")
    assert list(outcome.bad) == ["run/text.mp4", "run/empty.mp4", "run/nowhere.mp4"]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("a", "b", "a"), "Two videos of mine are called 'a'"),
        (("a", "b", "a/c"), "The frames of 'a/c' would lie among those of 'a'"),
        (("a/b/c", "d", "a"), "The frames of 'a/b/c' would lie among those of 'a'"),
        (("a", "../b", "c"), "The video '../b' of mine leaves its folder"),
        (("a", "/b", "c"), "The video '/b' of mine leaves its folder"),
        (("a", " b", "c"), "The path ' b' cannot stand in a list file"),
    ],
)
def test_videos_whose_frames_would_be_in_each_others_way_are_refused(
    videos: Path, tmp_path: Path, paths: tuple[str, ...], words: str
) -> None:
    plan = plan_of(videos, "a", "b", "c")
    entries = [replace(entry, path=path) for entry, path in zip(plan.entries, paths, strict=True)]
    assert words in refused(replace(plan, entries=entries), tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_split_without_a_video_is_refused_before_any_work(videos: Path, tmp_path: Path) -> None:
    plan = plan_of(videos, "a", "b")
    entries = [replace(entry, split="train") for entry in plan.entries]
    assert "mine has no val video" in refused(replace(plan, entries=entries), tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_video_that_kills_its_process_is_left_out_or_stops(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "make", make_or_die)
    plan = plan_of(videos, "a", "b", "c", "d")
    outcome = run(plan, tmp_path / "skip", "skip", workers=2)
    assert outcome.bad == {"run/b.mp4": f"{videos}/run/b.mp4 kills the process that reads it"}
    assert outcome.prepared.counts == {"train": 2, "val": 1}


def test_a_video_on_which_a_decoder_stumbles_is_left_out_or_stops(
    videos: Path, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(path: Path) -> None:
        if path.stem == "b":
            raise AttributeError("'NoneType' object has no attribute 'x'")

    monkeypatch.setattr("bench.data.video.check_whole", stumble)
    plan = plan_of(videos, "a", "b", "c")
    problem = f"{videos}/run/b.mp4 is damaged: AttributeError: 'NoneType' object has no attribute 'x'"
    assert f"'run/b.mp4' cannot be used: {problem}. Mend or remove it" in refused(plan, tmp_path)
    assert run(plan, tmp_path, "skip").bad == {"run/b.mp4": problem}


def make_or_die(layout: Layout, pictures: Pictures | None, root: Path, entry: Entry) -> int | str:
    """Of a module, so that processes find it."""
    if entry.source.stem == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return extract(entry.source, root, entry.path, SMALL)


# --- Processes --------------------------------------------------------------------------------------------------------


def squared_or_dead(number: int) -> int:
    if number == 3:
        os._exit(1)
    if number < 0:
        raise UserError(f"{number} is negative")
    return number * number


def test_an_item_that_kills_its_process_costs_no_others() -> None:
    with each(squared_or_dead, range(8), workers=1) as results:
        found = dict(results)
    assert found == {number: Died() if number == 3 else number * number for number in range(8)}


def test_an_error_of_the_function_ends_the_processes() -> None:
    with pytest.raises(UserError, match="-1 is negative"), each(squared_or_dead, [1, -1, 2], workers=1) as results:
        list(results)


def test_nothing_to_do_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.pool.ProcessPoolExecutor", None)
    nothing: list[int] = []
    with each(squared_or_dead, nothing, workers=2) as results:
        assert list(results) == []


SCRIPT = """
import os, sys, time
from pathlib import Path
from bench.data.pool import each

def work(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    with each(work, sys.argv[1:], 2) as results:
        list(results)
"""


def test_processes_end_with_the_one_that_is_killed(tmp_path: Path) -> None:
    script, marks = tmp_path / "script.py", [tmp_path / "one", tmp_path / "two"]
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, str(script), *map(str, marks)])
    try:
        wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    finally:
        parent.kill()
        parent.wait()
    children = [int(mark.read_text()) for mark in marks]
    wait_until(lambda: not any(alive(child) for child in children))


def wait_until(happened: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def alive(process: int) -> bool:
    """A process that has ended but was not waited for is a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_record_of_what_is_done_says_what_was_asked_for(videos: Path, tmp_path: Path, alone: None) -> None:
    run(plan_of(videos, "a", "b"), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / BEGUN).read_text().splitlines()]
    assert lines[0]["name"] == "mine" and lines[0]["quality"] == 90 and lines[0]["kind"] == "frames"
    for line, name in zip(lines[1:], "ab", strict=True):
        path = videos / "run" / f"{name}.mp4"
        source = f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}"
        assert line == {"path": f"run/{name}.mp4", "frames": 8, "source": source}
