"""Frames by number out of every kind of video, whatever its keyframes, frame rate, rotation; and what is no video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from bench.data.video import all_frames, check_whole, count_frames, read_video
from bench.errors import BadClip
from tests.videos import KINDS, Kind, numbered, write_video

LENGTH = 36


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, kind in KINDS.items():
        write_video(folder / (name + kind.suffix), numbered(LENGTH, kind), kind)
    return folder


def path_of(folder: Path, name: str) -> Path:
    return folder / (name + KINDS[name].suffix)


@pytest.mark.parametrize("name", KINDS)
def test_a_frame_is_found_by_its_number(folder: Path, name: str) -> None:
    path, greys = path_of(folder, name), numbered(LENGTH, KINDS[name])[:, 0, -1, 0].astype(int)
    assert count_frames(path) == LENGTH
    times = np.array([0, 1, 11, 12, 13, 23, 30, 35])
    frames = read_video(path, times)
    brighter = np.percentile(frames.reshape(len(times), -1), 80, axis=1)
    assert np.abs(brighter - greys[times]).max() <= 2.5  # two frames are 5 apart


@pytest.mark.parametrize("name", KINDS)
def test_reading_some_frames_equals_reading_all(folder: Path, name: str) -> None:
    path = path_of(folder, name)
    every = np.stack(list(all_frames(path)))
    times = np.array([3, 3, 14, 15, 35])
    assert len(every) == LENGTH and np.array_equal(read_video(path, times), every[times])


def test_frames_come_in_the_order_asked_for(folder: Path) -> None:
    path = path_of(folder, "b-frames")
    forwards = read_video(path, np.array([2, 20, 30]))
    assert np.array_equal(read_video(path, np.array([30, 2, 20, 2])), forwards[[2, 0, 1, 0]])


def test_a_rotated_video_is_turned_as_players_turn_it(folder: Path) -> None:
    """Turned by 90 degrees counterclockwise the darker left half lies at the bottom."""
    (frame,) = read_video(path_of(folder, "rotated"), np.array([20]))
    height, width = KINDS["rotated"].size
    assert frame.shape == (width, height, 3)
    assert frame[-10:].mean() < frame[:10].mean() - 30


@pytest.mark.parametrize("name", ["h264", "tall", "rotated", "odd-size"])
def test_frames_are_made_small_where_a_small_picture_is_wanted(folder: Path, name: str) -> None:
    path = path_of(folder, name)
    full = read_video(path, np.array([20]))
    small = read_video(path, np.array([20]), lambda height, width: (height // 3, width // 4))
    assert small.shape[1] == round(
        full.shape[1] * max(full.shape[1] // 3 / full.shape[1], full.shape[2] // 4 / full.shape[2])
    )
    assert small.shape[2] < full.shape[2] and abs(small.mean() - full.mean()) < 2


def test_a_rate_takes_the_first_frame_of_each_interval(folder: Path) -> None:
    """Of frames 0, 1, 4, 6, 7, 10, ... twelfths of a second, six intervals a second of two twelfths each."""
    path, kind = path_of(folder, "variable"), KINDS["variable"]
    every = list(all_frames(path))
    ticks = np.cumsum([0, *(kind.ticks[number % 3] for number in range(LENGTH - 1))])
    _, first = np.unique(ticks // 2, return_index=True)
    chosen = list(all_frames(path, rate=6))
    assert len(chosen) == len(first) and all(
        np.array_equal(one, every[at]) for one, at in zip(chosen, first, strict=True)
    )


@pytest.mark.parametrize("kind", [Kind("libvpx-vp9", ".webm"), Kind(suffix=".mkv"), Kind(), Kind("mpeg4", ".avi")])
@pytest.mark.parametrize("fps", [7, 12, 30])
def test_the_rate_of_the_video_itself_takes_every_frame_and_half_of_it_every_other(
    tmp_path: Path, kind: Kind, fps: int
) -> None:
    """Matroska rounds times to milliseconds."""
    path = tmp_path / f"a{kind.suffix}"
    write_video(path, numbered(LENGTH, kind), replace(kind, rate=fps))
    whole = list(all_frames(path))
    assert len(whole) == sum(1 for _ in all_frames(path, rate=fps)) == LENGTH
    half = list(all_frames(path, rate=fps / 2))
    assert all(np.array_equal(one, other) for one, other in zip(half, whole[::2], strict=True))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_pictures_that_are_refreshed_bit_by_bit_are_found_too(tmp_path: Path, suffix: str) -> None:
    """As cameras send them: the decoder withholds frames until all of the picture was refreshed."""
    kind = Kind(suffix=suffix, gop=10, x264=":intra-refresh=1")
    path = tmp_path / f"a{suffix}"
    write_video(path, numbered(LENGTH, kind), kind)
    whole = list(all_frames(path))
    assert len(whole) == LENGTH
    for number in range(LENGTH):
        assert np.array_equal(read_video(path, np.array([number]))[0], whole[number]), number
    assert np.array_equal(read_video(path, np.array([5, 6, 23])), np.stack([whole[number] for number in (5, 6, 23)]))


def test_a_piece_of_a_stream_begins_with_its_first_keyframe(tmp_path: Path) -> None:
    """Counted, decoded in order and searched alike."""
    kind = Kind(suffix=".ts", gop=9, b_frames=2, rate=25)
    write_video(tmp_path / "a.ts", numbered(LENGTH, kind), kind)
    data, counts = (tmp_path / "a.ts").read_bytes(), set()
    piece = tmp_path / "piece.ts"
    for packet in range(0, len(data) // 188, 3):
        piece.write_bytes(data[188 * packet :])
        try:
            count = count_frames(piece)
        except BadClip:
            continue  # no keyframe is left
        whole = list(all_frames(piece))
        assert len(whole) == count
        assert np.array_equal(read_video(piece, np.array([0, count - 1])), np.stack([whole[0], whole[-1]]))
        counts.add(count)
    assert {LENGTH, 18, 9} <= counts


def test_damaged_bytes_do_not_pass_for_pictures(tmp_path: Path) -> None:
    """As far as the codec can tell: of H.264 two thirds, what its entropy coding takes for other pictures are not."""
    rng, path = np.random.default_rng(0), tmp_path / "a.mp4"
    noise = rng.integers(0, 256, (LENGTH, 64, 80, 3), dtype=np.uint8) // 4
    write_video(path, numbered(LENGTH, Kind()) // 2 + noise, Kind())
    data, whole, passed = path.read_bytes(), list(all_frames(path)), 0
    begin = data.index(b"mdat") + 8
    for _ in range(40):
        place = int(rng.integers(begin, begin + (len(data) - begin) // 2))
        path.write_bytes(data[:place] + rng.bytes(16) + data[place + 16 :])
        try:
            found = list(all_frames(path))
        except BadClip:
            continue
        passed += len(found) != len(whole) or any(
            not np.array_equal(one, other) for one, other in zip(found, whole, strict=True)
        )
    assert passed <= 13


def test_a_frame_that_refers_to_a_damaged_one_is_damaged(tmp_path: Path) -> None:
    """The decoder marks the one, not what follows it up to the next keyframe."""
    path, frames = tmp_path / "a.mp4", numbered(LENGTH, Kind())
    write_video(path, frames, Kind())
    clean = read_video(path, np.arange(LENGTH))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        spans = [(packet.pos, packet.size, packet.is_keyframe) for packet in packets if packet.pos is not None]
    keys = [number for number, (*_, key) in enumerate(spans) if key]
    assert keys[:2] == [0, 12]
    place, size, _ = spans[3]
    data = bytearray(path.read_bytes())
    data[place + size // 3 : place + size] = bytes(size - size // 3)
    path.write_bytes(data)
    for after in (4, 11):
        with pytest.raises(BadClip, match=f"frame {after}"):
            read_video(path, np.array([after]))
    assert np.array_equal(read_video(path, np.array([2, 12, 30])), clean[[2, 12, 30]])


def test_a_codec_that_nothing_decodes_is_named(folder: Path, tmp_path: Path) -> None:
    data = path_of(folder, "mpeg4").read_bytes()
    path = tmp_path / "a.avi"
    path.write_bytes(data.replace(b"FMP4", b"zzzz"))
    for read in (count_frames, check_whole, lambda path: list(all_frames(path))):
        with pytest.raises(BadClip, match="is of a codec that nothing here decodes"):
            read(path)


def test_no_frames_beyond_the_end(folder: Path) -> None:
    with pytest.raises(BadClip, match=r"h264.mp4 has 36 frames, fewer than the 37 expected"):
        read_video(path_of(folder, "h264"), np.array([0, 36]))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "cannot be"),
        (lambda data: b"not a video" * 100, "cannot be"),
        (lambda data: data[: len(data) // 2], "cannot be|ends early"),
    ],
)
def test_what_is_no_whole_video_is_named(folder: Path, tmp_path: Path, damage: object, words: str) -> None:
    path = tmp_path / "bad.webm"
    path.write_bytes(damage(path_of(folder, "vp9").read_bytes()))  # type: ignore[operator]
    with pytest.raises(BadClip, match=f"bad.webm .*({words}|fewer)"):
        read_video(path, np.array([0, 35]))


def longer(kind: Kind, path: Path) -> bytes:
    """A video of four seconds."""
    write_video(path, numbered(4 * kind.rate, kind), kind)
    return path.read_bytes()


@pytest.mark.parametrize("name", [*KINDS, "matroska", "transport"])
def test_whole_videos_are_whole(tmp_path: Path, name: str) -> None:
    kind = {**KINDS, "matroska": Kind(suffix=".mkv"), "transport": Kind(suffix=".ts")}[name]
    path = tmp_path / f"whole{kind.suffix}"
    longer(kind, path)
    check_whole(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Kind("libvpx-vp9", ".webm"), r"is cut short: it ends after [12]\.\d of the 4.0 s that its header says"),
        (Kind(suffix=".mkv"), r"is cut short: it ends after [12]\.\d of the 4.0 s that its header says"),
        (Kind("mpeg4", ".avi"), r"is cut short: it has \d+ of the 48 frames that its header says"),
    ],
)
def test_videos_cut_short_are_not_taken_for_shorter_ones(tmp_path: Path, kind: Kind, words: str) -> None:
    path = tmp_path / f"cut{kind.suffix}"
    data = longer(kind, path)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadClip, match=words):
        check_whole(path)


def test_sound_that_ends_before_the_pictures_or_after_them_cuts_nothing_short(tmp_path: Path) -> None:
    for seconds in (1, 6):
        path = tmp_path / f"{seconds}.mkv"
        with av.open(str(path), "w") as container:
            video, audio = container.add_stream("libx264", rate=12), container.add_stream("aac", rate=8000)
            assert isinstance(video, av.VideoStream) and isinstance(audio, av.AudioStream)
            video.height, video.width, video.pix_fmt = 64, 80, "yuv420p"
            for number in range(36):
                frame = av.VideoFrame.from_ndarray(np.full((64, 80, 3), 5 * number, np.uint8), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode())
            for _ in range(seconds * 8):
                sound = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
                sound.sample_rate = 8000
                container.mux(audio.encode(sound))
            container.mux(audio.encode())
        check_whole(path)
        assert count_frames(path) == 36


def test_a_missing_file_and_one_without_pictures_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadClip, match=r"none.mp4 cannot be"):
        read_video(tmp_path / "none.mp4", np.array([0]))
    with pytest.raises(BadClip, match=r"none.mp4 cannot be"):
        count_frames(tmp_path / "none.mp4")


@pytest.mark.parametrize("name", KINDS)
def test_torchcodec_gives_the_same_pictures(folder: Path, name: str) -> None:
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError):
        pytest.skip("torchcodec or FFmpeg's libraries are not installed")
    times = np.array([0, 11, 12, 35])
    one = read_video(path_of(folder, name), times)
    other = read_video(path_of(folder, name), times, decoder="torchcodec")
    assert one.shape == other.shape and np.abs(one.astype(int) - other).max() <= 2  # the same, but for FFmpeg's version
