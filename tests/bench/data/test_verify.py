"""What verification finds of everything that can be wrong with a prepared data set, and where it writes that."""

from __future__ import annotations

import contextlib
import csv
import os
import signal
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from bench.data import verify as module
from bench.data.items import Item
from bench.data.listing import Layout, Prepared, write_prepared
from bench.data.pool import each
from bench.data.verify import Problem, look, verify, write_problems
from bench.errors import UserError
from tests.videos import KINDS, numbered, write_video

LENGTH = 6


def picture(height: int = 16) -> bytes:
    return simplejpeg.encode_jpeg(np.full((height, 24, 3), 90, np.uint8), 90, "RGB", "420")


def described(root: Path, kind: str, train: list[Item], val: list[Item], **made: Any) -> Prepared:
    return write_prepared(
        root,
        name="mine",
        title="Mine",
        layout=Layout(kind, "media"),
        classes=["run", "walk", "sit"],
        metric="top1",
        flip="free",
        swaps=[],
        lists={"train": train, "val": val},
        made=made,
    )


@pytest.fixture
def frames(tmp_path: Path) -> Prepared:
    """Three folders of six frames."""
    for name in ("run/a", "walk/b c", "d"):
        (tmp_path / "media" / name).mkdir(parents=True)
        for number in range(1, LENGTH + 1):
            (tmp_path / "media" / name / f"{number:05d}.jpg").write_bytes(picture())
    train = [Item("run/a", LENGTH, (0,)), Item("walk/b c", LENGTH, (1,))]
    return described(tmp_path, "frames", train, [Item("d", LENGTH, (0,))])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "a.webm"
    write_video(path, numbered(LENGTH, KINDS["vp9"]), KINDS["vp9"])
    return path.read_bytes()


@pytest.fixture
def videos(tmp_path: Path, video: bytes) -> Prepared:
    """Two video files of six frames."""
    (tmp_path / "media").mkdir()
    for name in ("a.webm", "b.webm"):
        (tmp_path / "media" / name).write_bytes(video)
    return described(tmp_path, "videos", [Item("a.webm", LENGTH, (0,))], [Item("b.webm", LENGTH, (1,))])


def here(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int
) -> contextlib.closing[Generator[Any, None, None]]:
    """`each` without processes."""
    return contextlib.closing((item, function(item)) for item in list(items))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in the process of the test."""
    monkeypatch.setattr(module, "each", here)


def found(prepared: Prepared, quick: bool = False) -> list[Problem]:
    return verify(prepared, workers=1, quick=quick, report=lambda done, of: None)


def only(prepared: Prepared, quick: bool = False) -> tuple[str, str, str, str]:
    """Of the one problem."""
    (problem,) = found(prepared, quick)
    return problem.split, problem.path, problem.kind, problem.text


@pytest.mark.parametrize("quick", [False, True])
def test_nothing_is_wrong_with_whole_folders_of_frames(frames: Prepared, quick: bool) -> None:
    assert found(frames, quick) == []


@pytest.mark.parametrize("quick", [False, True])
def test_nothing_is_wrong_with_whole_videos(videos: Prepared, quick: bool) -> None:
    assert found(videos, quick) == []


@pytest.mark.parametrize("quick", [False, True])
def test_a_missing_folder_of_frames(frames: Prepared, tmp_path: Path, quick: bool) -> None:
    (tmp_path / "media" / "d").rename(tmp_path / "away")
    assert only(frames, quick) == ("val", "d", "missing", f"there is no {tmp_path}/media/d")


def test_a_missing_video(videos: Prepared, tmp_path: Path) -> None:
    (tmp_path / "media" / "b.webm").unlink()
    assert only(videos) == ("val", "b.webm", "missing", f"there is no {tmp_path}/media/b.webm")


@pytest.mark.parametrize("quick", [False, True])
def test_a_folder_with_fewer_frames(frames: Prepared, tmp_path: Path, quick: bool) -> None:
    for number in (2, 5):
        (tmp_path / "media" / "d" / f"{number:05d}.jpg").unlink()
    text = f"{tmp_path}/media/d lacks 2 of 6 frames, the first 00002.jpg"
    assert only(frames, quick) == ("val", "d", "short", text)


@pytest.mark.parametrize("quick", [False, True])
def test_a_folder_with_more_frames(frames: Prepared, tmp_path: Path, quick: bool) -> None:
    (tmp_path / "media" / "d" / "00008.jpg").write_bytes(picture())
    text = f"{tmp_path}/media/d has 00008.jpg, the list says 6 frames"
    assert only(frames, quick) == ("val", "d", "long", text)


@pytest.mark.parametrize("quick", [False, True])
def test_a_list_that_was_taken_over_may_use_fewer_frames_than_there_are(
    frames: Prepared, tmp_path: Path, quick: bool
) -> None:
    train, val = [Item("run/a", LENGTH - 1, (0,))], [Item("d", LENGTH, (0,))]
    assert found(described(tmp_path, "frames", train, val, **{"from": "lists"}), quick) == []
    assert [problem.kind for problem in found(described(tmp_path, "frames", train, val), quick)] == ["long"]


@pytest.mark.parametrize(("frames_there", "kind"), [(LENGTH + 1, "short"), (LENGTH - 1, "long")])
@pytest.mark.parametrize("quick", [False, True])
def test_a_video_with_another_number_of_frames(
    videos: Prepared, tmp_path: Path, frames_there: int, kind: str, quick: bool
) -> None:
    prepared = described(tmp_path, "videos", [Item("a.webm", LENGTH, (0,))], [Item("b.webm", frames_there, (1,))])
    text = f"{tmp_path}/media/b.webm has 6 frames, the list says {frames_there}"
    assert only(prepared, quick) == ("val", "b.webm", kind, text)


def test_a_truncated_video(videos: Prepared, tmp_path: Path, video: bytes) -> None:
    (tmp_path / "media" / "b.webm").write_bytes(video[: len(video) // 2])
    assert only(videos)[:3] == ("val", "b.webm", "short")


@pytest.mark.parametrize("quick", [False, True])
def test_what_is_no_video(videos: Prepared, tmp_path: Path, quick: bool) -> None:
    (tmp_path / "media" / "b.webm").write_bytes(b"no video")
    split, path, kind, text = only(videos, quick)
    assert (split, path, kind) == ("val", "b.webm", "damaged") and f"{tmp_path}/media/b.webm cannot be" in text


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "is empty"), (picture()[:200], "is no whole JPEG"), (b"x" * 99, "is no whole JPEG")]
)
def test_a_damaged_frame(frames: Prepared, tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "media" / "d" / "00003.jpg").write_bytes(data)
    split, path, kind, text = only(frames)
    assert (split, path, kind) == ("val", "d", "damaged") and f"{tmp_path}/media/d/00003.jpg {words}" in text
    assert found(frames, quick=True) == []


def test_frames_of_several_sizes(frames: Prepared, tmp_path: Path) -> None:
    (tmp_path / "media" / "d" / "00003.jpg").write_bytes(picture(height=32))
    assert only(frames) == ("val", "d", "damaged", f"{tmp_path}/media/d has frames of 2 sizes")


def test_a_file_in_the_place_of_a_folder(frames: Prepared, tmp_path: Path) -> None:
    (tmp_path / "media" / "d").rename(tmp_path / "away")
    (tmp_path / "media" / "d").touch()
    assert only(frames) == ("val", "d", "damaged", f"{tmp_path}/media/d cannot be read (Not a directory)")


def test_a_label_that_is_not_that_of_the_folder(frames: Prepared, tmp_path: Path) -> None:
    train = [Item("run/a", LENGTH, (2, 1)), Item("walk/b c", LENGTH, (0, 1))]
    prepared = described(tmp_path, "frames", train, [Item("d", LENGTH, (0,))])
    assert only(prepared) == ("train", "run/a", "label", "lies in 'run' but is labelled 'sit', 'walk'")


def test_a_label_that_is_no_class(frames: Prepared, tmp_path: Path) -> None:
    prepared = described(tmp_path, "frames", [Item("run/a", LENGTH, (0,))], [Item("d", LENGTH, (3,))])
    split, path, kind, text = only(prepared)
    assert (split, path, kind) == ("val", "d", "label")
    assert text.startswith("d in val has label 3; expected 0 to 2, since there are 3.")


def test_a_video_in_both_lists(frames: Prepared, tmp_path: Path) -> None:
    prepared = described(tmp_path, "frames", [Item("d", LENGTH, (0,))], [Item("d", LENGTH, (0,))])
    assert only(prepared) == ("val", "d", "twice", "is listed in train already")


def test_a_changed_list(frames: Prepared, tmp_path: Path) -> None:
    with open(tmp_path / "val.txt", "a") as file:
        file.write("\nwalk/b c\n")
    texts = [problem.text for problem in found(frames)]
    assert {(problem.split, problem.path, problem.kind) for problem in found(frames)} == {("val", "val.txt", "list")}
    assert (
        len(texts) == 2 and "is not the list that" in texts[0] and "line 3 is 'walk/b c'; expected a path" in texts[1]
    )


def test_a_missing_list_is_an_error(frames: Prepared, tmp_path: Path) -> None:
    (tmp_path / "val.txt").unlink()
    with pytest.raises(UserError, match=r"There is no .*val\.txt"):
        found(frames)


def test_problems_come_in_the_order_of_the_lists(
    frames: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("run/a", "walk/b c", "d"):
        (tmp_path / "media" / name / "00001.jpg").unlink()
    monkeypatch.setattr(module, "each", lambda function, items, workers: here(function, reversed(items), workers))
    assert [problem.path for problem in found(frames)] == ["run/a", "walk/b c", "d"]


def test_progress_is_reported_by_videos(frames: Prepared) -> None:
    said: list[tuple[int, int]] = []
    verify(frames, workers=1, quick=True, report=lambda *counts: said.append(counts))
    assert said == [(1, 3), (2, 3), (3, 3)]


def test_a_video_that_kills_its_process_is_damaged(
    frames: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "each", each)
    monkeypatch.setattr(module, "look", look_or_die)
    text = f"{tmp_path}/media/d kills the process that reads it"
    assert only(frames) == ("val", "d", "damaged", text)


def look_or_die(media: Path, layout: Layout, quick: bool, whole: bool, item: Item) -> tuple[str, str] | None:
    """Of a module, so that processes find it."""
    if item.path == "d":
        os.kill(os.getpid(), signal.SIGKILL)
    return look(media, layout, quick, whole, item)


def test_a_video_on_which_a_decoder_stumbles_is_damaged(
    videos: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(path: Path) -> None:
        if path.name == "b.webm":
            raise AttributeError("no such\nthing")

    monkeypatch.setattr("bench.data.video.check_whole", stumble)
    text = f"{tmp_path}/media/b.webm is damaged: AttributeError: no such thing"
    assert only(videos) == ("val", "b.webm", "damaged", text)


def test_a_mistake_of_the_user_is_no_damage_of_a_video(videos: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise UserError("not here")

    monkeypatch.setattr("bench.data.video.check_whole", refuse)
    with pytest.raises(UserError, match="not here"):
        found(videos)


def test_problems_are_written_as_a_table(frames: Prepared, tmp_path: Path) -> None:
    problem = Problem("val", "a, b", "short", 'has "4" frames')
    assert write_problems(frames, [problem, replace(problem, kind="long")]) == tmp_path / "bad.csv"
    with open(tmp_path / "bad.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["split", "path", "kind", "text"],
            ["val", "a, b", "short", 'has "4" frames'],
            ["val", "a, b", "long", 'has "4" frames'],
        ]


def test_a_quick_verification_keeps_what_shows_in_decoding_alone(frames: Prepared, tmp_path: Path) -> None:
    """What it can judge itself it judges anew; items that are no longer listed are dropped."""
    damaged = tmp_path / "media" / "d" / "00003.jpg"
    damaged.write_bytes(b"")
    gone = Problem("val", "e", "damaged", "was in another list")
    mended = Problem("train", "run/a", "short", "lacks 1 of 6 frames")
    write_problems(frames, [mended, *found(frames), gone])
    for _ in range(2):
        (kept,) = found(frames, quick=True)
        assert (kept.path, kept.kind, kept.before) == ("d", "damaged", True) and "00003.jpg is empty" in kept.text
        write_problems(frames, [kept])
    damaged.unlink()
    (seen,) = found(frames, quick=True)
    assert (seen.kind, seen.before) == ("short", False)
    damaged.write_bytes(picture())
    assert found(frames) == []


def test_a_quick_verification_keeps_how_many_frames_of_a_video_can_be_decoded(videos: Prepared) -> None:
    """A quick one counts packets."""
    write_problems(videos, [Problem("train", "a.webm", "short", "has 4 frames, the list says 6")])
    (kept,) = found(videos, quick=True)
    assert (kept.path, kept.kind, kept.before) == ("a.webm", "short", True)


def test_a_table_of_other_columns_is_no_earlier_verification(frames: Prepared, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("path,kind\nd,damaged\n")
    assert found(frames, quick=True) == []


def test_nothing_wrong_is_written_as_an_empty_table(frames: Prepared, tmp_path: Path) -> None:
    write_problems(frames, [])
    assert (tmp_path / "bad.csv").read_text() == "split,path,kind,text\n"
