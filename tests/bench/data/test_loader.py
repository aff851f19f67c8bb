"""Batches: ImageNet's normalisation by hand, every field from its own clip, which clips when, videos that are bad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.data.batches import LEFT, Batch, assembled, finished, normalise
from bench.data.digits import Digits
from bench.data.loader import TrainingClips, ValidationClips
from bench.data.source import Sampling, Taken
from bench.errors import BadClip, UserError

CPU = torch.device("cpu")
# (value - mean) / std of red, green and blue, with ImageNet's means .485, .456, .406 and deviations .229, .224, .225 of
# values in 0..1, as torchvision's documentation of its weights gives them.
BY_HAND = {
    0: [-2.117904, -2.035714, -1.804444],
    51: [-1.244541, -1.142857, -0.915556],
    255: [2.248908, 2.428571, 2.640000],
}


@pytest.mark.parametrize("value", BY_HAND)
def test_a_grey_pixel_becomes_what_the_hand_finds(value: int) -> None:
    clips = np.full((1, 1, 1, 1, 3), value, np.uint8)
    assert normalise(torch.from_numpy(clips)).flatten().tolist() == pytest.approx(BY_HAND[value], abs=1e-5)


def test_every_pixel_keeps_its_place_and_channels_move_before_the_map() -> None:
    clips = np.arange(2 * 3 * 4 * 5 * 3).astype(np.uint8).reshape(2, 3, 4, 5, 3)
    pixels = normalise(torch.from_numpy(clips))
    assert pixels.shape == (2, 3, 3, 4, 5)
    for n, t, y, x in ((0, 0, 0, 0), (1, 2, 3, 4), (1, 0, 2, 3), (0, 1, 3, 1)):
        expected = [
            (clips[n, t, y, x, c] / 255 - mean) / deviation
            for c, (mean, deviation) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225)))
        ]
        assert pixels[n, t, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


def test_frames_are_laid_out_channels_last() -> None:
    frames = normalise(torch.zeros((2, 3, 4, 5, 3), dtype=torch.uint8)).flatten(0, 1)
    assert frames.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_pixels_have_the_type_asked_for(dtype: torch.dtype) -> None:
    assert normalise(torch.zeros((1, 1, 2, 2, 3), dtype=torch.uint8), dtype).dtype == dtype


def test_pixels_are_single_precision_unless_asked() -> None:
    assert normalise(torch.zeros((1, 1, 2, 2, 3), dtype=torch.uint8)).dtype == torch.float32


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_batch_holds_each_clip_at_its_own_times(split: str) -> None:
    digits, videos = Digits(), np.array([7, 0, 3])
    times = [np.array([1, 20, 40]), np.array([5, 6, 7]), np.array([0, 30, 47])]
    take = dict(zip(videos.tolist(), times, strict=True))

    def taken(video: int) -> list[Taken]:
        clip = digits.clip(split, video, take[video])
        return [Taken(take[video], clip.frames, (clip.label,), informative=clip.informative, boxes=clip.boxes)]

    batch = assembled(digits, split, videos, taken, on_bad="stop")
    assert len(batch) == 3
    assert batch.videos.tolist() == [7, 0, 3]
    assert batch.times.tolist() == [[1, 20, 40], [5, 6, 7], [0, 30, 47]]
    assert batch.labels.dtype == np.int64 and batch.informative.dtype == np.bool_
    for row, (video, when) in enumerate(zip(videos, times, strict=True)):
        clip = digits.clip(split, int(video), when)
        assert np.array_equal(batch.clips[row], clip.frames)
        assert batch.labels[row] == clip.label
        assert np.array_equal(batch.informative[row], clip.informative)
        assert np.array_equal(batch.boxes[row], clip.boxes)


# --- Which clips ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Numbered:
    """Clips that say which video they are of, which view, and what was drawn.

    Attributes:
        side: of the frames that are taken; other than the size they are to be resampled.
    """

    bad: frozenset[int] = frozenset()
    size: int = 4
    side: int = 4
    classes: int = 5
    multi_label: bool = False
    class_names: tuple[str, ...] = tuple("abcde")
    mirrored: bool = False

    def name(self, split: str, index: int) -> str:
        return f"{split} video {index}"

    def _taken(self, index: int, view: int, drawn: int, frames: int) -> Taken:
        if index in self.bad:
            raise BadClip(f"/data/{index}/00001.jpg", "is empty")
        pixels = np.empty((frames, self.side, self.side, 3), np.uint8)
        pixels[:] = (index, view, drawn)
        labels = (index % 5, (index + 2) % 5) if self.multi_label else (index % 5,)
        return Taken(np.arange(frames) + drawn, pixels, labels, self.mirrored)

    def training_clip(self, index: int, frames: int, rng: np.random.Generator) -> Taken:
        return self._taken(index, 0, int(rng.integers(256)), frames)

    def validation_clips(self, index: int, sampling: Sampling) -> list[Taken]:
        return [self._taken(index, view, 0, sampling.frames) for view in range(sampling.views)]


def training(clips: int = 22, batch: int = 4, part: int = 4, *, seed: int = 3, bad: int = -1) -> TrainingClips:
    return TrainingClips(Numbered(bad=frozenset({bad})), clips, 2, batch, part, seed)


def drawings(batches: list[Batch]) -> dict[int, int]:
    """What was drawn for each video."""
    return {int(clip[0, 0, 0, 0]): int(clip[0, 0, 0, 2]) for batch in batches for clip in batch.clips}


def alike(one: Batch, other: Batch) -> bool:
    return np.array_equal(one.videos, other.videos) and np.array_equal(one.clips, other.clips)


def test_an_epoch_sees_every_video_once_but_for_those_of_a_batch_that_is_not_full() -> None:
    clips = training()
    assert clips.steps_per_epoch == 5
    for epoch in range(2):
        videos = np.concatenate([clips.make((5 * epoch + step, 0)).videos for step in range(5)])
        assert len(set(videos.tolist())) == 20 and set(videos.tolist()) < set(range(22))


def test_each_epoch_has_an_order_of_its_own() -> None:
    videos = [batch.videos.tolist() for batch in training().stream(0, 10)]
    assert videos[:5] != videos[5:]


def test_the_same_seed_gives_the_same_batches_and_another_others() -> None:
    assert alike(training(seed=1).make((7, 0)), training(seed=1).make((7, 0)))
    assert not alike(training(seed=1).make((7, 0)), training(seed=2).make((7, 0)))


def test_a_clip_depends_on_seed_epoch_and_video_alone() -> None:
    """However large batches are, and whatever was made before."""
    small, large = training(20, batch=2, part=2), training(20, batch=10, part=10)
    one = drawings([small.make((step, 0)) for step in range(10)])
    assert one == drawings([large.make((1, 0)), large.make((0, 0))])
    later = drawings([large.make((2, 0)), large.make((3, 0))])
    assert one.keys() == later.keys() and sum(one[video] != later[video] for video in one) > 15


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_the_parts_of_a_step_make_the_step(parts: int) -> None:
    whole = training(24, batch=8, part=8).make((4, 0))
    shared = training(24, batch=8, part=8 // parts)
    made = [shared.make((4, part)) for part in range(parts)]
    assert np.concatenate([batch.videos for batch in made]).tolist() == whole.videos.tolist()
    assert np.array_equal(np.concatenate([batch.clips for batch in made]), whole.clips)
    assert np.concatenate([batch.labels for batch in made]).tolist() == whole.labels.tolist()


def test_a_training_that_is_taken_up_sees_what_it_would_have_seen() -> None:
    whole = list(training().stream(0, 12))
    rest = list(training().stream(7, 12))
    assert len(whole) == 12 and len(rest) == 5
    assert all(alike(one, other) for one, other in zip(whole[7:], rest, strict=True))


def test_a_process_gets_its_parts_step_by_step() -> None:
    clips = training(24, batch=8, part=2)
    streamed = list(clips.stream(1, 3, parts=(1, 3)))
    wanted = [clips.make((step, part)) for step in (1, 2) for part in (1, 3)]
    assert all(alike(one, other) for one, other in zip(streamed, wanted, strict=True))


def test_validation_sees_every_video_once_in_order() -> None:
    clips = ValidationClips(Numbered(), 11, Sampling(2), batch=4)
    batches = list(clips.stream())
    assert len(clips) == 3
    assert [batch.videos.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_some_batches_of_a_validation() -> None:
    batches = list(ValidationClips(Numbered(), 11, Sampling(2), batch=4).stream(range(1, 3)))
    assert [batch.videos.tolist() for batch in batches] == [[4, 5, 6, 7], [8, 9, 10]]


def test_the_views_of_a_video_come_one_after_the_other() -> None:
    batch = ValidationClips(Numbered(), 3, Sampling(2, clips=2, crops=3), batch=3).make(0)
    assert len(batch) == 3 and batch.views == 6 and len(batch.clips) == len(batch.times) == 18
    assert batch.clips[:, 0, 0, 0, :2].tolist() == [[video, view] for video in range(3) for view in range(6)]
    assert batch.labels.tolist() == [0, 1, 2]


def test_what_a_data_set_does_not_know_is_zero() -> None:
    batch = ValidationClips(Numbered(), 2, Sampling(3, crops=3), batch=2).make(0)
    assert batch.informative.shape == (6, 3) and not batch.informative.any()
    assert batch.boxes.shape == (6, 3, 4) and not batch.boxes.any()
    assert batch.targets is None


def test_several_labels_are_targets_and_the_first_is_the_label() -> None:
    batch = ValidationClips(Numbered(multi_label=True), 3, Sampling(2, crops=3), batch=3).make(0)
    assert batch.labels.tolist() == [0, 1, 2]
    assert batch.targets is not None
    assert [np.flatnonzero(row).tolist() for row in batch.targets] == [[0, 2], [1, 3], [2, 4]]


def test_what_is_not_of_the_networks_size_is_resampled_and_what_is_to_be_mirrored_is() -> None:
    assert TrainingClips(Numbered(side=9), 4, 2, 4, 4, 3).make((0, 0)).clips.shape == (4, 2, 4, 4, 3)
    left = np.zeros((2, 4, 4, 3), np.uint8)
    left[:, :, :2] = 200

    def taken(video: int) -> list[Taken]:
        return [Taken(np.arange(2), left, (0,), mirrored=video == 1)]

    straight, mirrored = assembled(Numbered(), "train", np.arange(2), taken, on_bad="stop").clips
    assert np.array_equal(straight, left) and np.array_equal(mirrored, left[:, :, ::-1])


def sized(video: int) -> NDArray[np.uint8]:
    """Frames as a crop may have: larger than the network's size of 16, smaller, very large, and its own."""
    height, width = ((20, 22), (9, 13), (70, 40), (16, 16))[video % 4]
    return np.random.default_rng(video).integers(0, 256, (2, height, width, 3), np.uint8)


def test_what_is_left_to_the_device_is_what_workers_do() -> None:
    """Several views, some mirrored; what is large is made small before it is moved."""

    def taken(video: int) -> list[Taken]:
        return [Taken(np.arange(2), sized(4 * video + view), (0,), mirrored=view % 2 == 1) for view in range(4)]

    source = Numbered(size=16)
    done = assembled(source, "train", np.arange(2), taken, on_bad="stop")
    left = assembled(source, "train", np.arange(2), taken, on_bad="stop", on_device=True)
    assert left.raw is not None
    assert left.raw.sizes[:4] == ((20, 22), (9, 13), (16, 16), (16, 16))
    assert left.clips.nbytes <= LEFT * done.clips.nbytes
    moved = finished(left, CPU)
    assert moved.shape == done.clips.shape
    apart = np.abs(moved.numpy().astype(int) - done.clips)
    assert apart.reshape(2, 4, -1)[:, :3].max() == 0
    assert apart.max() <= 1  # mirrored and made small, or the other way round


# --- Bad videos -------------------------------------------------------------------------------------------------------


def test_a_bad_video_stops_and_split_video_file_and_ways_out_are_named() -> None:
    source = Numbered(bad=frozenset({5}))
    words = (
        r"The {0} video '{0} video 5' cannot be used: /data/5/00001.jpg is empty\. .*data.settings.on_bad=skip.*"
        "`afbench data verify`"
    )
    with pytest.raises(UserError, match=words.format("val")):
        list(ValidationClips(source, 8, Sampling(2), batch=4).stream())
    with pytest.raises(UserError, match=words.format("train")):
        list(training(8, bad=5).stream(0, 2))


def test_a_bad_video_is_left_out_named_and_not_replaced() -> None:
    source = Numbered(bad=frozenset({1, 2, 6}))
    first, second = ValidationClips(source, 8, Sampling(2, crops=3), batch=4, on_bad="skip").stream()
    assert first.videos.tolist() == [0, 3] and second.videos.tolist() == [4, 5, 7]
    assert first.labels.tolist() == [0, 3] and len(first.clips) == len(first.times) == len(first.boxes) == 6
    assert first.clips[:, 0, 0, 0, 0].tolist() == [0, 0, 0, 3, 3, 3]
    assert first.bad == (
        ("val video 1", "/data/1/00001.jpg is empty"),
        ("val video 2", "/data/2/00001.jpg is empty"),
    )
    assert second.bad == (("val video 6", "/data/6/00001.jpg is empty"),)


def test_the_other_videos_of_a_training_do_not_change_when_one_is_left_out() -> None:
    whole = training(8)
    some = TrainingClips(Numbered(bad=frozenset({4})), 8, 2, 4, 4, 3, on_bad="skip")
    for step in range(4):
        every, left = whole.make((step, 0)), some.make((step, 0))
        kept = every.videos != 4
        assert left.videos.tolist() == every.videos[kept].tolist()
        assert np.array_equal(left.clips, every.clips[kept])


@pytest.mark.parametrize("on_device", [False, True])
def test_a_batch_of_which_nothing_is_left_is_empty(on_device: bool) -> None:
    source = Numbered(bad=frozenset({4, 5, 6, 7}), multi_label=True)
    clips = ValidationClips(source, 8, Sampling(2), batch=4, on_bad="skip", on_device=on_device)
    full, empty = clips.stream()
    assert (len(full), full.views, len(full.bad)) == (4, 1, 0)
    assert (len(empty), empty.views, len(empty.bad)) == (0, 0, 4)
    assert empty.targets is not None and empty.targets.shape == (0, 5)
    assert len(finished(empty, CPU)) == 0
