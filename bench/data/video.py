"""Frames from a video file by PyAV: only those wanted, from the nearest keyframes before them.

A frame's number is its place in the order in which frames are shown, whatever the file's frame rate does; it is found
by reading the packets' times, which decodes nothing. Frames are turned as the file says they are to be shown.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from bench.data.frames import Least, full_size
from bench.errors import BadClip, UserError

# Container, packet and decoder errors of PyAV, and what it makes of a damaged file's numbers.
DAMAGE = (av.FFmpegError, OSError, ValueError, IndexError, OverflowError)


@dataclass(frozen=True)
class Index:
    """When frames are shown, in the stream's ticks.

    Attributes:
        times: of every frame, ascending.
        keys: of those that decoding can begin with.
    """

    times: tuple[int, ...]
    keys: tuple[int, ...]


def read_video(
    path: Path, times: NDArray[np.int64], least: Least = full_size, decoder: str = "pyav"
) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) by their numbers, counted from 0.

    Args:
        least: frames that may be smaller are made so, in one go with the change of colours.
        decoder: "pyav", or "torchcodec", whose pixels differ by the rounding of colours.

    Raises:
        BadClip: for a file that is missing, no video, damaged, or has fewer frames.
        UserError: for torchcodec where it is not installed.
    """
    wanted, back = np.unique(times, return_inverse=True)
    if decoder == "torchcodec":
        return _by_torchcodec(path, wanted, least)[back]
    try:
        with av.open(str(path)) as container:
            stream = _stream(path, container)
            index = read_index(container, stream)
            if wanted[-1] >= len(index.times):
                raise BadClip(str(path), f"has {len(index.times)} frames, fewer than the {wanted[-1] + 1} expected")
            found = list(_decoded(container, stream, index, [index.times[number] for number in wanted]))
    except DAMAGE as error:
        raise BadClip(str(path), f"cannot be decoded ({_reason(error)})") from error
    if len(found) < len(wanted):
        raise BadClip(str(path), f"ends early: {len(wanted) - len(found)} of {len(wanted)} frames cannot be decoded")
    pictures = [_picture(frame, least) for frame in found]
    return np.stack(pictures)[back]


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
        BadClip: as read_video, in the midst of it too.
    """
    try:
        with av.open(str(path)) as container:
            stream = _stream(path, container)
            last = None
            for frame in container.decode(stream):
                if rate and frame.time is not None:
                    interval = math.floor(frame.time * rate + 1e-6)
                    if interval == last:
                        continue
                    last = interval
                yield _picture(frame, least)
    except DAMAGE as error:
        raise BadClip(str(path), f"cannot be decoded ({_reason(error)})") from error


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


def _stream(path: Path, container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise BadClip(str(path), "holds no video")
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # workers are as many as the cores already
    return stream


def read_index(container: InputContainer, stream: VideoStream) -> Index:
    """The times of all frames, from the packets; the container is at its end afterwards.

    A packet without a time, as old formats have, takes that at which it is decoded.
    """
    times, keys = [], []
    for packet in container.demux(stream):
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or packet.is_discard:  # the last one only says that there are no more
            continue
        times.append(time)
        if packet.is_keyframe:
            keys.append(time)
    return Index(tuple(sorted(times)), tuple(sorted(keys)))


def _decoded(container: InputContainer, stream: VideoStream, index: Index, wanted: list[int]) -> Iterator[VideoFrame]:
    """The frames at these times, ascending; seeks where a keyframe lies between one and the next."""
    source: Iterator[VideoFrame] = iter(())
    at, group = None, -1
    for time in wanted:
        key = bisect_right(index.keys, time) - 1  # the last keyframe that is not after it
        if at is None or key > group:
            container.seek(index.keys[key] if key >= 0 else index.times[0], stream=stream, backward=True)
            source = container.decode(stream)
        group = max(key, group)
        for frame in source:
            at = frame.pts if frame.pts is not None else frame.dts
            if at is not None and at >= time:
                if at == time:
                    yield frame
                break


def _picture(frame: VideoFrame, least: Least) -> NDArray[np.uint8]:
    turns = round(frame.rotation / 90) % 4  # counterclockwise
    height, width = (frame.height, frame.width) if turns % 2 == 0 else (frame.width, frame.height)
    rows, columns = _smaller(height, width, least)
    if turns % 2:
        rows, columns = columns, rows
    shrinks = (rows, columns) != (frame.height, frame.width)
    small = frame.reformat(columns, rows, "rgb24", interpolation="AREA" if shrinks else "BILINEAR")
    return np.ascontiguousarray(np.rot90(np.asarray(small.to_ndarray(), np.uint8), turns))


def _smaller(height: int, width: int, least: Least) -> tuple[int, int]:
    """The size to decode at: no larger than the frame, of its shape."""
    rows, columns = least(height, width)
    scale = min(max(rows / height, columns / width), 1.0)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
