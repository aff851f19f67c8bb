"""Small real videos for tests: rendered digits in several codecs, frame rates, sizes and oddities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from bench.data.digits import CLASSES, Digits


@dataclass(frozen=True)
class Kind:
    """How a video is written.

    Attributes:
        gop: frames between keyframes.
        b_frames: between two others.
        rotation: degrees counterclockwise by which players are to turn it.
        ticks: frames between two, taken in turn: not all 1 for a variable frame rate.
        x264: more of that encoder's parameters.
    """

    codec: str = "libx264"
    suffix: str = ".mp4"
    rate: int = 12
    size: tuple[int, int] = (64, 80)  # height, width
    gop: int = 12
    b_frames: int = 0
    rotation: int = 0
    ticks: Sequence[int] = (1,)
    x264: str = ""


KINDS = {
    "h264": Kind(),
    "b-frames": Kind(b_frames=2, rate=25),
    "vp9": Kind("libvpx-vp9", ".webm", rate=30),
    "mpeg4": Kind("mpeg4", ".avi", rate=15),
    "odd-size": Kind(size=(70, 98)),
    "tall": Kind(size=(96, 64), rate=24),
    "rotated": Kind(rotation=90),
    "variable": Kind("libvpx-vp9", ".webm", ticks=(1, 3, 2)),
    "long-gop": Kind(gop=250),
    "mjpeg": Kind("mjpeg", ".mov"),
}


def write_video(path: Path, frames: NDArray[np.uint8], kind: Kind = KINDS["h264"]) -> None:
    """Encode frames (T, H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(kind.codec, rate=kind.rate)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p" if kind.codec == "mjpeg" else "yuv420p"
        stream.gop_size = kind.gop
        stream.max_b_frames = kind.b_frames
        stream.time_base = stream.codec_context.time_base = Fraction(1, kind.rate)
        stream.codec_context.thread_count = 1
        if kind.codec == "libx264":
            preset = "fast" if kind.b_frames else "ultrafast"  # which has no B-frames
            stream.options = {"crf": "10", "preset": preset, "x264-params": f"keyint={kind.gop}:scenecut=0{kind.x264}"}
        elif kind.codec.startswith("libvpx"):
            stream.options = {"crf": "8", "b:v": "0", "deadline": "realtime", "cpu-used": "8"}
        else:
            stream.bit_rate = 4_000_000
        if kind.rotation:
            stream.set_display_rotation(kind.rotation)
        at = 0
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, kind.rate)
            at += kind.ticks[number % len(kind.ticks)]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def moving_digit(index: int, kind: Kind, length: int = 36) -> tuple[NDArray[np.uint8], str]:
    """A clip of digits in motion fitted to a video's size, each frame as tall or wide as it is, and its class."""
    height, width = kind.size
    digits = Digits(size=max(height, width), length=length, noise=0, informative=1.0)
    clip = digits.clip("train", index)
    return np.ascontiguousarray(clip.frames[:, :height, :width]), CLASSES[clip.label]


def numbered(length: int, kind: Kind) -> NDArray[np.uint8]:
    """Frames that tell their number: a grey that rises with it, of a frame whose left half is darker by 40."""
    height, width = kind.size
    greys = 60 + np.arange(length) * 180 // max(length - 1, 1)
    frames = np.repeat(greys, height * width * 3).reshape(length, height, width, 3).astype(np.uint8)
    frames[:, :, : width // 2] -= 40
    return frames
