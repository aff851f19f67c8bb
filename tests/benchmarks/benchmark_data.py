"""What clips cost: `nox -s benchmarks`. Ratios within one run, in extra_info; no time makes anything fail.

Floor of a frame folder: decoding its JPEG files. Floor of a video: decoding from the keyframes that are
before the frames wanted.
"""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.data.batches import Batch
from bench.data.frames import read_frames
from bench.data.items import Item
from bench.data.listing import Layout, write_prepared
from bench.data.loader import TrainingClips
from bench.data.stored import Stored
from bench.data.video import all_frames, read_video
from bench.data.views import Resizing
from bench.data.workers import AHEAD, SPARE, stream
from bench.throughput import take_turns
from tests.videos import Kind, write_video

CPU = torch.device("cpu")
FRAMES, SIZE, LENGTH, VIDEOS, BATCH = 8, 224, 40, 16, 8
HEIGHT, WIDTH = 256, 340
ROUNDS = 9


def scene(length: int, height: int, width: int) -> NDArray[np.uint8]:
    """Something with detail that moves: a frame of 256 x 340 pixels is a JPEG file of 30 kB in quality 95."""
    rng = np.random.default_rng(0)
    coarse, fine = (rng.normal(0, 1, (height // step, width // step, 3)) for step in (16, 4))
    picture = 128 + 45 * _stretched(coarse, height, width) + 12 * _stretched(fine, height, width)
    still = np.clip(picture, 0, 255).astype(np.uint8)
    return np.stack([np.roll(still, 3 * time, axis=1) for time in range(length)])


def _stretched(grid: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    planes = [
        Image.fromarray(grid[..., c].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        for c in range(3)
    ]
    return np.stack([np.asarray(plane, np.float64) for plane in planes], axis=-1)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Sixteen folders of forty frames."""
    root = tmp_path_factory.mktemp("stored")
    layout = Layout("frames", "frames")
    for video in range(VIDEOS):
        folder = root / "frames" / str(video)
        folder.mkdir(parents=True)
        for time, frame in enumerate(scene(LENGTH, HEIGHT, WIDTH)):
            data = simplejpeg.encode_jpeg(np.ascontiguousarray(frame), 95, "RGB", "420")
            (folder / layout.frame(time)).write_bytes(data)
    items = [Item(str(video), LENGTH, (0,)) for video in range(VIDEOS)]
    prepared = write_prepared(
        root,
        name="scenes",
        title="Scenes",
        layout=layout,
        classes=["a"],
        metric="top1",
        flip="free",
        swaps=(),
        lists={"train": items, "val": items},
        made={},
    )
    return Stored(prepared, size=SIZE, counts={"train": VIDEOS, "val": VIDEOS}, resizing=Resizing(256))


class Pillow:
    """The loader that repositories of this field have: frames opened, cropped, resized and mirrored one by one."""

    def __init__(self, source: Stored) -> None:
        self.source = source

    def make(self, step: int) -> Batch:
        media, layout = self.source.prepared.media, self.source.prepared.layout
        clips = []
        for video in range(BATCH):
            rng = np.random.default_rng((step, video))
            times = np.arange(FRAMES) * 5 + rng.integers(5, size=FRAMES)
            left, top = int(rng.integers(WIDTH - SIZE)), int(rng.integers(HEIGHT - SIZE))
            clip = []
            for time in times.tolist():
                picture = Image.open(media / str(video) / layout.frame(time)).convert("RGB")
                side = int((1, 0.875, 0.75, 0.66)[step % 4] * HEIGHT)
                part = picture.crop((left, top, min(left + side, WIDTH), min(top + side, HEIGHT)))
                part = part.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
                clip.append(np.asarray(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if video % 2 else part))
            clips.append(np.stack(clip))
        unknown = np.zeros((BATCH, FRAMES), np.int64)
        return Batch(unknown[:, 0], unknown, np.stack(clips), unknown[:, 0], unknown.astype(np.bool_), unknown)


@pytest.mark.parametrize("workers", [0, 2])
def test_frame_folders(benchmark: Any, stored: Stored, workers: int) -> None:
    """Training batches of eight clips of eight frames; extra_info has how many times Pillow's loader takes as long.

    Once the workers are under way: their start, half a second of both loaders, is no part of frames per second.
    """
    ours = TrainingClips(stored, VIDEOS, FRAMES, BATCH, BATCH, seed=0)
    pillow, batches = Pillow(stored), 20 * max(workers, 1)
    ahead = AHEAD * workers + SPARE

    def fast() -> float:
        return _each(stream(ours.make, [(step, 0) for step in range(ahead + batches)], workers), ahead, batches)

    def slow() -> float:
        return _each(stream(pillow.make, range(ahead + batches), workers), ahead, batches)

    own, other = (float(np.median(samples)) for samples in zip(*((fast(), slow()) for _ in range(5)), strict=True))
    benchmark.extra_info["times_as_fast_as_pillow"] = round(other / own, 2)
    benchmark.extra_info["frames_per_second"] = round(BATCH * FRAMES / own)
    benchmark.pedantic(fast, rounds=1)


def _each(made: Iterator[Batch], ahead: int, batches: int) -> float:
    """Seconds that each of so many batches takes after those that were made ahead."""
    assert sum(1 for _ in islice(made, ahead)) == ahead
    start = perf_counter()
    assert sum(1 for _ in islice(made, batches)) == batches
    return (perf_counter() - start) / batches


def test_frame_folder_floor(benchmark: Any, stored: Stored) -> None:
    """Decoding alone of the same 64 files; the loader's time as a share of it in extra_info."""
    ours = TrainingClips(stored, VIDEOS, FRAMES, BATCH, BATCH, seed=0)
    media, layout = stored.prepared.media, stored.prepared.layout
    paths = [media / str(video) / layout.frame(5 * time) for video in range(BATCH) for time in range(FRAMES)]
    files = [path.read_bytes() for path in paths]

    def decode(_: int = 0) -> None:
        for data in files:
            simplejpeg.decode_jpeg(data)

    turns = take_turns({"floor": decode, "ours": lambda step: ours.make((step, 0))}, CPU, rounds=ROUNDS, warmup=0)
    floor, own = (float(np.median(turns.samples[name])) for name in ("floor", "ours"))
    benchmark.extra_info["share_of_floor"] = round(own / floor, 2)
    benchmark(decode)


@pytest.mark.parametrize("keyframes", [12, 50, 300])
def test_video(benchmark: Any, tmp_path: Path, keyframes: int) -> None:
    """Eight frames of 300; extra_info has the share of the time that decoding all of them takes."""
    path = tmp_path / "clip.mp4"
    write_video(path, scene(300, 256, 340), Kind(rate=25, size=(256, 340), gop=keyframes))
    times = np.arange(FRAMES) * 37 + 18

    def every(_: int) -> None:
        for _frame in all_frames(path):
            pass

    turns = take_turns({"some": lambda _: read_video(path, times), "all": every}, CPU, rounds=5, warmup=0)
    some, whole = (float(np.median(turns.samples[name])) for name in ("some", "all"))
    benchmark.extra_info["share_of_all"] = round(some / whole, 3)
    benchmark.pedantic(read_video, args=(path, times), rounds=5)


@pytest.mark.parametrize("kind", ["frames", "video"])
def test_memory_over_ten_thousand_clips(benchmark: Any, tmp_path: Path, kind: str) -> None:
    """Resident memory in MiB after the first thousand clips and after ten thousand, of a process of its own."""
    frames = scene(20, 64, 80)
    write_video(tmp_path / "clip.mp4", frames, Kind())
    layout = Layout("frames", "frames")
    (tmp_path / "frames").mkdir()
    for time, frame in enumerate(frames):
        (tmp_path / "frames" / layout.frame(time)).write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(frame)))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        early, late = benchmark.pedantic(pool.apply, args=(_memory, (tmp_path, kind)), rounds=1)
    benchmark.extra_info.update(after_1000_clips=early, after_10000_clips=late)


def _memory(folder: Path, kind: str) -> tuple[float, float]:
    times = np.arange(FRAMES) * 2
    marks = []
    for number in range(1, 10_001):
        if kind == "video":
            read_video(folder / "clip.mp4", times)
        else:
            read_frames(folder / "frames", Layout("frames", "frames"), times)
        if number in (1000, 10_000):
            marks.append(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20)
    return marks[0], marks[1]
