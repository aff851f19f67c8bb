"""Frames out of folders of JPEG files: those wanted and no others, small where that is enough; and what is no frame."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bench.data.digits import Digits
from bench.data.frames import read_frames, read_picture
from bench.data.listing import Layout
from bench.errors import BadClip

LAYOUT = Layout("frames", "frames")
sides = st.integers(1, 300)


def pictures(height: int, width: int, count: int) -> NDArray[np.uint8]:
    """A moving digit, smooth as photographs are, each frame another."""
    clip = Digits(size=64, noise=0, informative=1.0).clip("train", 3, np.linspace(0, 47, count).astype(np.int64))
    return np.stack(
        [np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)) for frame in clip.frames]
    )


def write_frames(folder: Path, frames: NDArray[np.uint8], layout: Layout = LAYOUT, only: Sequence[int] = ()) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        if not only or number in only:
            (folder / layout.frame(number)).write_bytes(simplejpeg.encode_jpeg(frame, 95, "RGB", "420"))


def at(*times: int) -> NDArray[np.int64]:
    return np.array(times, np.int64)


# --- What is read -----------------------------------------------------------------------------------------------------


def test_frames_are_the_files_as_pillow_decodes_them(tmp_path: Path) -> None:
    write_frames(tmp_path, pictures(48, 70, 5))
    found = read_frames(tmp_path, LAYOUT, at(0, 2, 4))
    assert found.shape == (3, 48, 70, 3) and found.dtype == np.uint8
    for frame, name in zip(found, ("00001.jpg", "00003.jpg", "00005.jpg"), strict=True):
        assert np.abs(frame - np.asarray(Image.open(tmp_path / name), int)).max() <= 1


def test_only_wanted_files_are_opened(tmp_path: Path) -> None:
    write_frames(tmp_path, pictures(32, 32, 9), only=(2, 7))
    assert len(read_frames(tmp_path, LAYOUT, at(2, 7))) == 2


def test_times_may_repeat_and_come_in_any_order(tmp_path: Path) -> None:
    write_frames(tmp_path, pictures(32, 40, 6))
    every = read_frames(tmp_path, LAYOUT, np.arange(6))
    assert np.array_equal(read_frames(tmp_path, LAYOUT, at(5, 1, 1, 3, 5)), every[[5, 1, 1, 3, 5]])
    assert np.array_equal(read_frames(tmp_path, LAYOUT, at(4, 0, 2)), every[[4, 0, 2]])
    assert np.array_equal(read_frames(tmp_path, LAYOUT, at(2, 2)), every[[2, 2]])


def test_names_and_the_first_number_are_the_layouts(tmp_path: Path) -> None:
    frames, layout = pictures(32, 32, 3), Layout("frames", "frames", "img_{:03d}.jpeg", first=0)
    write_frames(tmp_path, frames, layout)
    assert (tmp_path / "img_000.jpeg").exists()
    (found,) = read_frames(tmp_path, layout, at(2))
    assert np.array_equal(found, read_picture(tmp_path / "img_002.jpeg"))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_picture_without_red_green_and_blue_gets_them(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "other.jpg"
    Image.fromarray(pictures(40, 40, 1)[0]).convert(mode).save(path, quality=95)
    wanted = np.asarray(Image.open(path).convert("RGB"), int)
    assert np.abs(read_picture(path) - wanted).max() <= 2


# --- Small pictures ---------------------------------------------------------------------------------------------------


@given(sides, sides, sides, sides)
def test_a_picture_is_decoded_as_small_as_is_large_enough(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, rows: int, columns: int
) -> None:
    """Large enough, or whole; half of it would be too small, unless it is an eighth already."""
    path = tmp_path_factory.getbasetemp() / "one.jpg"
    path.write_bytes(simplejpeg.encode_jpeg(np.full((height, width, 3), 99, np.uint8), 90, "RGB", "420"))
    found = read_picture(path, lambda *_: (rows, columns)).shape[:2]
    sizes = [(-(-height // n), -(-width // n)) for n in (1, 2, 4, 8)]
    enough = [size for size in sizes if size[0] >= rows and size[1] >= columns]
    assert found == (enough[-1] if enough else (height, width))


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_a_small_picture_is_the_whole_one_resized(tmp_path: Path, shrink: int) -> None:
    """To two grey levels in the mean: JPEG leaves out high frequencies where Pillow averages."""
    height, width = 240, 328
    write_frames(tmp_path, pictures(height, width, 2))
    size = height // shrink, width // shrink
    small = read_frames(tmp_path, LAYOUT, at(0, 1), lambda *_: size)
    assert small.shape[1:3] == size
    for frame, whole in zip(small, read_frames(tmp_path, LAYOUT, at(0, 1)), strict=True):
        wanted = np.asarray(Image.fromarray(whole).resize(size[::-1], Image.Resampling.BILINEAR), int)
        assert np.abs(frame - wanted).mean() < 2


def test_least_is_asked_with_the_files_own_size(tmp_path: Path) -> None:
    write_frames(tmp_path, pictures(100, 60, 1))
    asked = []

    def least(height: int, width: int) -> tuple[int, int]:
        asked.append((height, width))
        return 10, 10

    assert read_frames(tmp_path, LAYOUT, at(0), least).shape[1:3] == (25, 15)
    assert asked == [(100, 60)]


# --- What is no frame -------------------------------------------------------------------------------------------------


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    return file.getvalue()


WHOLE = simplejpeg.encode_jpeg(pictures(64, 64, 1)[0], 95, "RGB", "420")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (WHOLE[: len(WHOLE) // 2], r"is no whole JPEG \(Premature end of JPEG file\)"),
        (WHOLE[:-2], "is no whole JPEG"),
        (WHOLE[:80], "is no whole JPEG"),
        (WHOLE[: len(WHOLE) // 2] + b"\xff" * 20 + WHOLE[len(WHOLE) // 2 + 20 :], "is no whole JPEG"),
        (png(), "is no whole JPEG"),
        (b"not a picture at all", "is no whole JPEG"),
    ],
    ids=["empty", "truncated", "without its end", "a piece of its head", "garbled", "png", "text"],
)
@pytest.mark.parametrize("place", [0, 2])
def test_a_file_that_is_no_whole_jpeg_is_named(tmp_path: Path, data: bytes, words: str, place: int) -> None:
    write_frames(tmp_path, pictures(64, 64, 4))
    path = tmp_path / LAYOUT.frame(place)
    path.write_bytes(data)
    with pytest.raises(BadClip, match=words) as caught:
        read_frames(tmp_path, LAYOUT, np.arange(4))
    assert caught.value.file == str(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_frames(tmp_path, pictures(32, 32, 3))
    with pytest.raises(BadClip, match=r"00004.jpg cannot be read \(No such file or directory\)"):
        read_frames(tmp_path, LAYOUT, at(0, 3))


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "00001.jpg").mkdir()
    with pytest.raises(BadClip, match=r"00001.jpg cannot be read \(Is a directory\)"):
        read_frames(tmp_path, LAYOUT, at(0))


def test_a_frame_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    write_frames(tmp_path, pictures(48, 64, 4))
    (tmp_path / "00003.jpg").write_bytes(simplejpeg.encode_jpeg(pictures(40, 64, 1)[0], 95, "RGB", "420"))
    with pytest.raises(BadClip, match=r"00003.jpg is 64x40 pixels, unlike the 64x48 of 00001.jpg"):
        read_frames(tmp_path, LAYOUT, np.arange(4))


def test_frames_of_two_sizes_are_told_even_where_they_are_decoded_alike(tmp_path: Path) -> None:
    """A half of 64x48 and a half of 63x47 are both 32x24."""
    write_frames(tmp_path, pictures(48, 64, 2))
    (tmp_path / "00002.jpg").write_bytes(simplejpeg.encode_jpeg(pictures(47, 63, 1)[0], 95, "RGB", "420"))
    with pytest.raises(BadClip, match=r"00002.jpg is 63x47 pixels"):
        read_frames(tmp_path, LAYOUT, at(0, 1), lambda *_: (24, 32))


def test_a_header_that_promises_a_picture_of_gigabytes_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "00001.jpg"
    Image.new("RGB", (64, 48)).save(path)
    data = path.read_bytes()
    place = data.index(b"\xff\xc0") + 5  # height and width of the frame header
    path.write_bytes(data[:place] + (40_000).to_bytes(2, "big") + (60_000).to_bytes(2, "big") + data[place + 4 :])
    with pytest.raises(BadClip, match=r"says it has 60000x40000 pixels; expected 268435456 at most"):
        read_picture(path)
