"""Frames from a video file by PyAV: only those wanted, from the nearest keyframes before them.

A frame's number is its place in the order in which frames are shown, whatever the file's frame rate does; it is found
by reading the packets' times, which decodes nothing. Frames are turned as the file says they are to be shown.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from bench.data.frames import Least, full_size
from bench.errors import BadClip, UserError

Packets: TypeAlias = "Iterator[Packet[VideoStream]]"

MILLISECOND = 1e-3
# Container, packet and decoder errors of PyAV, and what it makes of a damaged file's numbers.
DAMAGE = (av.FFmpegError, OSError, ValueError, IndexError, OverflowError)


@dataclass(frozen=True)
class Index:
    """When frames are shown, in the stream's ticks.

    Attributes:
        times: of every frame, ascending.
        keys: of those that decoding can begin with.
        decoded: when each of these is decoded, which some formats search by; as `keys` where the file does not say.
        reliable: whether decoded frames have these times; otherwise frames are told by counting them.
    """

    times: tuple[int, ...]
    keys: tuple[int, ...]
    decoded: tuple[int, ...]
    reliable: bool


def read_video(
    path: Path, times: NDArray[np.int64], least: Least = full_size, decoder: str = "pyav"
) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) by their numbers, counted from 0.

    Args:
        least: frames that may be smaller are made so, in one go with the change of colours.
        decoder: "pyav", or "torchcodec", which shows damaged frames as if they were whole.

    Raises:
        BadClip: for a file that is missing, no video, damaged, or has fewer frames, or frames of several sizes.
        UserError: for torchcodec where it is not installed.
    """
    wanted, back = np.unique(times, return_inverse=True)
    if decoder == "torchcodec":
        return _by_torchcodec(path, wanted, least)[back]
    pictures: list[NDArray[np.uint8]] = []
    for frame in _frames(path, wanted.tolist()):
        picture = _picture(path, frame, least)
        if pictures and picture.shape != pictures[0].shape:
            (height, width, _), (rows, columns, _) = pictures[0].shape, picture.shape
            raise BadClip(str(path), f"changes from {width}x{height} to {columns}x{rows} pixels; expected one size")
        pictures.append(picture)
    frames = np.stack(pictures)
    return frames if len(wanted) == len(times) and np.array_equal(wanted, times) else frames[back]


def _by_torchcodec(path: Path, wanted: NDArray[np.int64], least: Least) -> NDArray[np.uint8]:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(
            f"data.settings.decoder is 'torchcodec', which cannot be loaded here ({_reason(error)}). Expected pip "
            "install torchcodec and FFmpeg's libraries, or the decoder pyav."
        ) from error
    from torch.nn import functional

    try:
        reader = VideoDecoder(path, dimension_order="NCHW", num_ffmpeg_threads=1)
        count = len(reader)
        if wanted[-1] >= count:
            raise BadClip(str(path), f"has {count} frames, fewer than the {wanted[-1] + 1} expected")
        planes = reader.get_frames_at(wanted.tolist()).data
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        raise BadClip(str(path), f"cannot be decoded ({_reason(error)})") from error
    size = _smaller(planes.shape[2], planes.shape[3], least)
    if size != tuple(planes.shape[2:]):
        planes = functional.interpolate(planes, size, mode="bilinear", antialias=True, align_corners=False)
    return np.asarray(planes.permute(0, 2, 3, 1).numpy(), np.uint8)


def all_frames(path: Path, least: Least = full_size, rate: float = 0.0) -> Iterator[NDArray[np.uint8]]:
    """The frames (H, W, 3) in the order shown.

    Args:
        rate: the first frame of every interval of 1 / rate seconds; 0 gives all.

    Raises:
        BadClip: as read_video, in the midst of it too, but for frames of several sizes.
    """
    last = None
    for frame in _frames(path):
        if rate and frame.time is not None:
            # Matroska rounds times to its ticks, a millisecond: .083 s is the twelfth of a second.
            tick = min(float(frame.time_base or 0), MILLISECOND)
            interval = math.floor((frame.time + tick) * rate + 1e-6)
            if interval == last:
                continue
            last = interval
        yield _picture(path, frame, least)


def count_frames(path: Path) -> int:
    """Number of frames of a video, by its packets.

    Raises:
        BadClip: as read_video, or where there is none.
    """
    try:
        with av.open(str(path)) as container:
            count = len(read_index(container, _stream(path, container)).times)
    except DAMAGE as error:
        raise BadClip(str(path), f"cannot be read ({_reason(error)})") from error
    if not count:
        raise BadClip(str(path), "holds no frames")
    return count


# A file may lack so much of what its header promises: headers are rounded, and a last frame may have no duration.
PROMISED = 0.95
SECONDS = 1.0


def check_whole(path: Path) -> None:
    """Look whether a video is as long as its header says, by its packets; a header that says nothing proves nothing.

    Without an index in their end, as WebM, Matroska, AVI and FLV are, files that were cut short play as shorter ones.

    Raises:
        BadClip: where it is not, or as count_frames.
    """
    try:
        with av.open(str(path)) as container:
            stream = _stream(path, container)
            frames, end = 0, 0.0
            for packet in container.demux():
                if packet.dts is None and packet.pts is None:
                    continue
                frames += packet.stream is stream
                # Sound may go on after the pictures: the file ends where its last stream does.
                shown = max(time for time in (packet.pts, packet.dts) if time is not None)
                end = max(end, float((shown + (packet.duration or 0)) * (packet.time_base or 0)))
            begin = max(container.start_time or 0, 0) / av.time_base
            length = (container.duration or 0) / av.time_base
    except DAMAGE as error:
        raise BadClip(str(path), f"cannot be read ({_reason(error)})") from error
    if stream.frames and frames < PROMISED * stream.frames:
        raise BadClip(str(path), f"is cut short: it has {frames} of the {stream.frames} frames that its header says")
    if length - (end - begin) > max(SECONDS, (1 - PROMISED) * length):
        raise BadClip(str(path), f"is cut short: it ends after {end:.1f} of the {length:.1f} s that its header says")


def _stream(path: Path, container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise BadClip(str(path), "holds no video")
    stream = container.streams.video[0]
    if stream.codec_context is None:  # whatever PyAV's types say
        raise BadClip(str(path), "is of a codec that nothing here decodes")
    stream.codec_context.thread_count = 1  # workers are as many as the cores already
    return stream


def read_index(container: InputContainer, stream: VideoStream) -> Index:
    """The times of all frames, from the packets; the container is at its end afterwards.

    A packet without a time, as old formats have, takes that at which it is decoded.
    """
    times, keys = [], []
    for packet in container.demux(stream):
        time = _time(packet)
        if time is None:  # the last one only says that there are no more
            continue
        if packet.is_keyframe:
            keys.append((time, time if packet.dts is None else packet.dts))
        if not packet.is_discard:  # as what lies before the beginning that an edit list says
            times.append(time)
    # AVI has no times of being shown: those of a codec that shows frames in another order than it stores them are
    # guessed, unless the codec's own headers gave them away.
    guessed = "avi" in container.format.name and stream.codec_context.has_b_frames and times == sorted(times)
    keys.sort()
    if keys and not guessed:
        # What is shown before the first keyframe, as in a piece cut out of a stream, refers to what is not there.
        times = [time for time in times if time >= keys[0][0]]
    return Index(tuple(sorted(times)), tuple(time for time, _ in keys), tuple(at for _, at in keys), not guessed)


def _frames(path: Path, numbers: Sequence[int] | None = None) -> Iterator[VideoFrame]:
    """The frames with these numbers, which ascend, or all of them.

    Raises:
        BadClip: as read_video; for a frame that the decoder could only guess a part of.
    """
    try:
        with av.open(str(path)) as container:
            stream = _stream(path, container)
            index = read_index(container, stream)
            count = len(index.times)
            wanted = range(count) if numbers is None else numbers
            if wanted and wanted[-1] >= count:
                raise BadClip(str(path), f"has {count} frames, fewer than the {wanted[-1] + 1} expected")
            if numbers is None:
                found = _all(path, index)
            else:
                found = (_searched if index.reliable else _counted)(container, stream, index, numbers)
            done = 0
            for frame in found:
                if frame.is_corrupt:
                    raise BadClip(str(path), f"is damaged in frame {wanted[done] if done < count else done}")
                yield frame
                done += 1
    except DAMAGE as error:
        raise BadClip(str(path), f"cannot be decoded ({_reason(error)})") from error
    if numbers is not None and done < len(numbers):
        raise BadClip(str(path), f"cannot be decoded at frame {numbers[done]}, counted from 0")


def _all(path: Path, index: Index) -> Iterator[VideoFrame]:
    """Every frame that the index counts; the file is opened anew, since not all of them can be searched."""
    first = index.times[0] if index.times and index.reliable else None
    with av.open(str(path)) as container:
        for frame in container.decode(_stream(path, container)):
            if first is None or (_time(frame) or 0) >= first:
                yield frame


def _counted(
    container: InputContainer, stream: VideoStream, index: Index, numbers: Sequence[int]
) -> Iterator[VideoFrame]:
    """The frames with these numbers, up to the first that is missing, by decoding all that come before."""
    every = enumerate(_decoded(_from_start(container, stream, index)))
    for wanted in numbers:
        frame = next((frame for number, frame in every if number == wanted), None)
        if frame is None:
            return
        yield frame


def _searched(
    container: InputContainer, stream: VideoStream, index: Index, numbers: Sequence[int]
) -> Iterator[VideoFrame]:
    """The frames with these numbers, up to the first that is missing, from the last keyframes before them."""
    frames: Iterator[VideoFrame] = iter(())
    group, searchable = -2, True
    for time in (index.times[number] for number in numbers):
        key = bisect_right(index.keys, time) - 1  # the last keyframe that is not after it
        if key > group and searchable:
            packets = _from_key(container, stream, index, key) if key >= 0 else None
            if packets is None:
                # Formats such as MPEG-PS have no index: all is decoded from the beginning, once.
                packets, searchable = _from_start(container, stream, index), False
            frames, group = _decoded(packets), key
        since = index.keys[key] if key >= 0 else time
        frame = _reached(frames, time, since)
        if frame is None and searchable:
            # It needs more than the keyframe, as where pictures are refreshed bit by bit.
            frames, searchable = _decoded(_from_start(container, stream, index)), False
            frame = _reached(frames, time, since)
        if frame is None:
            return
        yield frame


def _reached(frames: Iterator[VideoFrame], time: int, since: int) -> VideoFrame | None:
    """The next frame that is shown at this time; None where it, or one since its keyframe, is missing or damaged.

    What refers to a damaged frame shows the damage, but is not marked by the decoder.
    """
    for frame in frames:
        at = _time(frame) or 0
        if frame.is_corrupt and at >= since:
            return None
        if at >= time:
            return frame if at == time else None
    return None


def _from_key(container: InputContainer, stream: VideoStream, index: Index, key: int) -> Packets | None:
    """Packets from a keyframe on; None where searching the file for it finds another place."""
    for at in (index.keys[key], index.decoded[key]):
        container.seek(at, stream=stream, backward=True)
        packets = container.demux(stream)
        first = next(packets)
        if first.is_keyframe and _time(first) == index.keys[key]:
            return itertools.chain([first], packets)
    return None


def _from_start(container: InputContainer, stream: VideoStream, index: Index) -> Packets:
    container.seek(min([*index.times[:1], *index.decoded[:1], 0]), stream=stream, backward=True)
    return container.demux(stream)


def _decoded(packets: Packets) -> Iterator[VideoFrame]:
    for packet in packets:
        yield from packet.decode()


def _time(what: Packet[VideoStream] | VideoFrame) -> int | None:
    """When it is shown; where the file does not say, when it is decoded."""
    return what.pts if what.pts is not None else what.dts


def _picture(path: Path, frame: VideoFrame, least: Least) -> NDArray[np.uint8]:
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    height, width = (frame.height, frame.width) if turns % 2 == 0 else (frame.width, frame.height)
    rows, columns = _smaller(height, width, least)
    if turns % 2:
        rows, columns = columns, rows
    try:
        # Of the scaler's filters the nearest to Pillow's antialiased bilinear.
        small = frame.reformat(columns, rows, "rgb24", interpolation="BILINEAR")
    except av.FFmpegError as error:
        raise BadClip(str(path), f"has a frame that is no picture ({_reason(error)})") from error
    return np.ascontiguousarray(np.rot90(np.asarray(small.to_ndarray(), np.uint8), turns))


def _smaller(height: int, width: int, least: Least) -> tuple[int, int]:
    """The size to decode at: no larger than the frame, of its shape, which may be rounded down to what is least."""
    rows, columns = least(height, width)
    scale = min(max(rows / height, columns / width), 1.0)
    if height * scale - rows < 1 and width * scale - columns < 1:
        return min(rows, height), min(columns, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
