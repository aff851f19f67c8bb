"""Clips of prepared data sets: against "resize, then crop" written plainly with Pillow; labels, lists, rules."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bench.data import video
from bench.data.items import Item
from bench.data.listing import Layout, Prepared, write_prepared
from bench.data.loader import TrainingClips, ValidationClips
from bench.data.sampling import segment_centres, validation_times
from bench.data.source import Sampling, Taken
from bench.data.stored import Stored
from bench.data.video import all_frames, count_frames, read_video
from bench.data.views import PAIRS, PLACES, Draw, Part, Resizing, centre, multi_scale, resampled, three
from bench.errors import BadClip, UserError
from tests.bench.data.test_frames import pictures, write_frames
from tests.videos import KINDS, Kind, numbered, write_video

SIZE = 56  # of the network's input; pictures have 64
LENGTH = 12
CLASSES = ("turn left", "turn right", "wave")
Shape = tuple[int, int]


def prepared_frames(
    root: Path,
    shape: Shape = (66, 90),
    lengths: Sequence[int] = (LENGTH,) * 4,
    labels: Sequence[tuple[int, ...]] = ((0,), (1,), (2,), (0,)),
    flip: str = "free",
    metric: str = "top1",
    layout: Layout = Layout("frames", "frames"),  # noqa: B008
) -> Prepared:
    """A data set whose two splits are the same items."""
    suffix = "" if layout.kind == "frames" else ".mp4"
    items = [
        Item(f"clip {number}{suffix}", length, label)
        for number, (length, label) in enumerate(zip(lengths, labels, strict=True))
    ]
    for number, item in enumerate(items):
        frames = np.roll(pictures(*shape, item.frames), 9 * number, axis=2)
        if layout.kind == "frames":
            write_frames(root / layout.media / item.path, frames, layout)
        else:
            write_video(root / layout.media / item.path, frames, Kind(size=shape))
    return described(root, layout, items, flip, metric)


def described(root: Path, layout: Layout, items: list[Item], flip: str = "free", metric: str = "top1") -> Prepared:
    made: Mapping[str, Any] = {"short_side": 0}
    return write_prepared(
        root,
        name="gestures",
        title="Gestures",
        layout=layout,
        classes=CLASSES,
        metric=metric,
        flip=flip,
        swaps=[(0, 1)] if flip == "swap" else [],
        lists={"train": items, "val": items},
        made=made,
    )


def opened(prepared: Prepared, **settings: Any) -> Stored:
    counts = {split: len(prepared.items(split)) for split in ("train", "val")}
    return Stored(prepared, **{"size": SIZE, "counts": counts, "resizing": Resizing(64), **settings})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared_frames(tmp_path_factory.mktemp("plain"))


def key(number: int) -> np.random.Generator:
    return np.random.default_rng((5, number))


def seen(clip: Taken) -> NDArray[np.uint8]:
    """As the network is given it."""
    return resampled(clip.frames, (SIZE, SIZE), clip.mirrored)


# --- Against the plain way --------------------------------------------------------------------------------------------


def resized(prepared: Prepared, item: int, time: int, size: Shape) -> Image.Image:
    """The whole frame, then Pillow to the picture's size."""
    path = prepared.media / f"clip {item}" / prepared.layout.frame(time)
    return Image.open(path).convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)


def cropped(image: Image.Image, part: Part, mirrored: bool = False) -> NDArray[np.int64]:
    """The part of a picture, then Pillow to the network's size."""
    crop = image.crop((part.left, part.top, part.left + part.width, part.top + part.height))
    crop = crop.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else crop, np.int64)


def apart(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float(np.abs(found.astype(int) - wanted).mean())


# Mean grey levels: between one rounding and another; where JPEG decodes small and Pillow averages; between resampling
# once and twice. A part that is off by one pixel differs by 2 to 5.
EXACT, SMALL, ONCE = 0.05, 1.5, 3.0
# Frame, resizing, the picture's size by hand, and how near.
SHAPES: dict[str, tuple[Shape, Resizing, Shape, float]] = {
    "as stored": ((64, 85), Resizing(64), (64, 85), EXACT),
    "smaller": ((96, 128), Resizing(64), (64, 85), EXACT),
    "larger": ((48, 64), Resizing(64), (64, 85), EXACT),
    "tall": ((120, 90), Resizing(64), (85, 64), EXACT),
    "odd": ((71, 99), Resizing(64), (64, 89), EXACT),
    "decoded small": ((272, 360), Resizing(64), (64, 84), SMALL),
    "fixed": ((66, 90), Resizing(256, 60, 80), (60, 80), EXACT),
    "fixed and decoded small": ((240, 426), Resizing(256, 60, 80), (60, 80), SMALL),
}
Shaped = tuple[Stored, Shape, float]


@pytest.fixture(scope="module", params=SHAPES)
def shaped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shaped:
    shape, resizing, picture, near = SHAPES[request.param]
    prepared = prepared_frames(tmp_path_factory.mktemp("shaped"), shape, (LENGTH,), ((0,),))
    return opened(prepared, resizing=resizing), picture, near


def test_the_centre_is_resize_then_crop(shaped: Shaped) -> None:
    stored, picture, near = shaped
    (clip,) = stored.validation_clips(0, Sampling(4))
    for frame, time in zip(seen(clip), clip.times.tolist(), strict=True):
        image = resized(stored.prepared, 0, time, picture)
        assert apart(frame, cropped(image, centre(picture, SIZE))) < near


def test_three_crops_are_resize_then_crop(shaped: Shaped) -> None:
    stored, picture, near = shaped
    clips = stored.validation_clips(0, Sampling(2, crops=3))
    for clip, part in zip(clips, three(picture, SIZE), strict=True):
        image = resized(stored.prepared, 0, int(clip.times[0]), picture)
        assert apart(seen(clip)[0], cropped(image, part)) < near


def in_frame(part: Part, shape: Shape) -> Part:
    """A part of another size than the network's, on the nearest pixels of the frame itself; others are exact."""
    if part.height == part.width == SIZE:
        return part
    scales = [Fraction(new, old) for new, old in zip(shape, part.picture, strict=True)]
    (rows, columns), (top, left) = (
        [math.floor(side * scale + Fraction(1, 2)) for side, scale in zip(sides, scales, strict=True)]
        for sides in ((part.height, part.width), (part.top, part.left))
    )
    return Part(min(top, shape[0] - rows), min(left, shape[1] - columns), rows, columns, shape)


def test_a_training_clip_is_one_of_the_published_crops(shaped: Shaped, request: pytest.FixtureRequest) -> None:
    """Of all 130 it is the same one for every frame."""
    stored, picture, near = shaped
    shape = SHAPES[request.node.callspec.params["shaped"]][0]
    draws = itertools.product(range(len(PAIRS)), range(len(PLACES)))
    parts = {in_frame(multi_scale(picture, SIZE, Draw(*draw)), shape) for draw in draws}
    for number in range(4):
        clip = stored.training_clip(0, 4, key(number))
        nearest = []
        for frame, time in zip(seen(clip), clip.times.tolist(), strict=True):
            images = {size: resized(stored.prepared, 0, time, size) for size in (shape, picture)}
            differences = {part: apart(frame, cropped(images[part.picture], part, clip.mirrored)) for part in parts}
            nearest.append(min(differences, key=lambda part: differences[part]))
            assert differences[nearest[-1]] < near
        assert len(set(nearest)) == 1


def test_frames_of_the_pictures_size_are_cut_to_the_pixel(tmp_path: Path) -> None:
    stored = opened(prepared_frames(tmp_path, (64, 85)), multi_scale=False, flip=False)
    (clip,) = stored.validation_clips(1, Sampling(4))
    whole = np.stack([np.asarray(resized(stored.prepared, 1, time, (64, 85))) for time in clip.times.tolist()])
    assert np.abs(seen(clip).astype(int) - whole[:, 4:60, 14:70]).max() <= 1


def test_a_picture_smaller_than_the_crop_is_enlarged_and_keeps_its_shape(tmp_path: Path) -> None:
    stored = opened(prepared_frames(tmp_path, (48, 80)), resizing=Resizing(40))
    (clip,) = stored.validation_clips(0, Sampling(2))
    image = resized(stored.prepared, 0, int(clip.times[0]), (40, 66))
    assert apart(seen(clip)[0], cropped(image, Part(0, 13, 40, 40, (40, 66)))) < ONCE
    assert seen(stored.training_clip(0, 2, key(0))).shape == (2, SIZE, SIZE, 3)


def test_without_several_scales_training_sees_the_centre(plain: Prepared) -> None:
    stored = opened(plain, multi_scale=False, flip=False)
    clip = stored.training_clip(0, 4, key(1))
    image = resized(plain, 0, int(clip.times[2]), (64, 87))
    assert apart(seen(clip)[2], cropped(image, centre((64, 87), SIZE))) < EXACT


# --- Chance -----------------------------------------------------------------------------------------------------------


def test_a_training_clip_is_what_its_random_numbers_say(plain: Prepared) -> None:
    one, again = (opened(plain).training_clip(2, 4, key(7)) for _ in range(2))
    assert np.array_equal(one.times, again.times) and np.array_equal(one.frames, again.frames)
    assert (one.mirrored, one.labels) == (again.mirrored, again.labels)


def test_other_random_numbers_give_other_clips(plain: Prepared) -> None:
    clips = [opened(plain).training_clip(2, 4, key(number)) for number in range(20)]
    assert len({seen(clip).tobytes() for clip in clips}) == 20
    assert len({clip.frames.shape for clip in clips}) > 4 and len({clip.times.tobytes() for clip in clips}) > 10


def test_what_is_mirrored_does_not_depend_on_the_size_of_the_frames(tmp_path: Path, plain: Prepared) -> None:
    """Nor times: all is drawn before anything is read."""
    other = opened(prepared_frames(tmp_path, (120, 90)))
    for number in range(10):
        one, same = (stored.training_clip(0, 4, key(number)) for stored in (opened(plain), other))
        assert one.mirrored == same.mirrored and np.array_equal(one.times, same.times)


# --- Mirrors and labels -----------------------------------------------------------------------------------------------


def drawn(prepared: Prepared, item: int = 0, **settings: Any) -> list[Taken]:
    stored = opened(prepared, **settings)
    return [stored.training_clip(item, 2, key(number)) for number in range(40)]


def test_where_labels_allow_it_half_of_the_clips_are_mirrored(plain: Prepared) -> None:
    clips = drawn(plain)
    assert 10 < sum(clip.mirrored for clip in clips) < 30
    assert {clip.labels for clip in clips} == {(0,)}


def test_where_labels_forbid_it_no_clip_is_mirrored(plain: Prepared) -> None:
    assert not any(clip.mirrored for clip in drawn(replace(plain, flip="never")))


def test_mirroring_can_be_switched_off(plain: Prepared) -> None:
    assert not any(clip.mirrored for clip in drawn(plain, flip=False))


@pytest.mark.parametrize(("item", "straight", "mirrored"), [(0, 0, 1), (1, 1, 0), (2, 2, 2)])
def test_a_mirrored_clip_takes_the_label_of_its_mirror_image(
    plain: Prepared, item: int, straight: int, mirrored: int
) -> None:
    clips = drawn(replace(plain, flip="swap", swaps=((0, 1),)), item)
    assert {clip.labels for clip in clips if not clip.mirrored} == {(straight,)}
    assert {clip.labels for clip in clips if clip.mirrored} == {(mirrored,)}


def test_validation_never_mirrors(plain: Prepared) -> None:
    stored = opened(replace(plain, flip="swap", swaps=((0, 1),)))
    clips = stored.validation_clips(0, Sampling(2, clips=2, crops=3))
    assert not any(clip.mirrored for clip in clips) and {clip.labels for clip in clips} == {(0,)}


def test_of_several_labels_all_are_swapped_and_become_targets(tmp_path: Path) -> None:
    labels = ((2, 0), (1,), (0, 1), (2,))
    stored = opened(prepared_frames(tmp_path, labels=labels, flip="swap", metric="map"), multi_scale=False)
    assert stored.multi_label and stored.classes == 3
    assert {clip.labels for clip in drawn(stored.prepared) if clip.mirrored} == {(2, 1)}
    batch = ValidationClips(stored, 4, Sampling(2), batch=4).make(0)
    assert batch.labels.tolist() == [2, 1, 0, 2]
    assert batch.targets is not None and batch.targets.dtype == np.bool_
    assert [np.flatnonzero(row).tolist() for row in batch.targets] == [[0, 2], [1], [0, 1], [2]]


@pytest.mark.parametrize("flip", ["never", "swap"])
def test_a_video_of_several_labels_is_trained_as_the_first_or_as_each_in_turn(tmp_path: Path, flip: str) -> None:
    """With the same pixels, and all labels as targets."""
    prepared = prepared_frames(tmp_path, labels=((2, 0), (1,), (0, 1), (2,)), flip=flip, metric="map")
    first, drawn_ones = drawn(prepared), drawn(prepared, train_label="drawn")
    straight = [clip.labels for clip in drawn_ones if not clip.mirrored]
    assert 5 < straight.count((0, 2)) < len(straight) - 5 and set(straight) == {(2, 0), (0, 2)}
    assert {clip.labels for clip in drawn_ones if clip.mirrored} == ({(2, 1), (1, 2)} if flip == "swap" else set())
    for one, other in zip(first, drawn_ones, strict=True):
        assert np.array_equal(seen(one), seen(other)) and one.labels in (other.labels, other.labels[::-1])
    stored = opened(prepared, train_label="drawn")
    assert ValidationClips(stored, 4, Sampling(2), batch=4).make(0).labels.tolist() == [2, 1, 0, 2]


def test_of_single_labels_there_are_no_targets(plain: Prepared) -> None:
    batch = TrainingClips(opened(plain), clips=4, frames=2, batch=4, part=4, seed=0).make((0, 0))
    assert batch.targets is None and not opened(plain).multi_label
    assert [(0, 1, 2, 0)[video] for video in batch.videos] == batch.labels.tolist()


# --- Views ------------------------------------------------------------------------------------------------------------


def test_views_come_clip_by_clip_with_the_crops_of_each_together(plain: Prepared) -> None:
    stored = opened(plain)
    views = stored.validation_clips(0, Sampling(4, clips=2, crops=3))
    middles, beginnings = validation_times("segments", LENGTH, 4, 2)
    assert [view.times.tolist() for view in views] == [middles.tolist()] * 3 + [beginnings.tolist()] * 3
    for number, part in enumerate(three((64, 87), SIZE) * 2):
        for frame, time in zip(seen(views[number]), views[number].times.tolist(), strict=True):
            assert apart(frame, cropped(resized(plain, 0, time, (64, 87)), part)) < EXACT


def test_several_clips_hold_what_each_holds_alone(plain: Prepared) -> None:
    """Dense clips of a short video have frames in common, in another order."""
    stored = opened(plain, mode="dense")
    views = stored.validation_clips(1, Sampling(8, clips=3))
    for view in views:
        for frame, time in zip(view.frames, view.times.tolist(), strict=True):
            whole = opened(plain, mode="linspace").validation_clips(1, Sampling(LENGTH))[0]
            assert np.array_equal(frame, whole.frames[time])


def test_a_clip_does_not_change_with_the_number_of_views(plain: Prepared) -> None:
    stored = opened(plain)
    (alone,) = stored.validation_clips(2, Sampling(4))
    first = stored.validation_clips(2, Sampling(4, clips=2))[0]
    middle = stored.validation_clips(2, Sampling(4, crops=3))[1]
    assert np.array_equal(alone.frames, first.frames) and np.array_equal(alone.frames, middle.frames)


def test_the_mode_decides_which_frames(plain: Prepared) -> None:
    for mode in ("segments", "dense", "linspace"):
        (clip,) = opened(plain, mode=mode).validation_clips(0, Sampling(3))
        assert clip.times.tolist() == validation_times(mode, LENGTH, 3, 1)[0].tolist()


@pytest.mark.parametrize("mode", ["segments", "dense", "linspace"])
def test_a_video_of_one_frame_gives_it_as_often_as_asked(tmp_path: Path, mode: str) -> None:
    stored = opened(prepared_frames(tmp_path, lengths=(1,), labels=((2,),)), mode=mode)
    views = stored.validation_clips(0, Sampling(4, clips=2, crops=3))
    assert len(views) == 6 and all(view.times.tolist() == [0] * 4 for view in views)
    trained = seen(stored.training_clip(0, 4, key(0)))
    assert all(np.array_equal(frame, trained[0]) for frame in trained)


# --- Lists ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Twenty items, of which none is ever read."""
    items = [Item(f"clip {number}", 9, (number % 3,)) for number in range(20)]
    return described(tmp_path_factory.mktemp("many"), Layout("frames", "frames"), items)


def names(prepared: Prepared, count: int, seed: int = 0, split: str = "train") -> list[str]:
    stored = opened(prepared, counts={"train": count, "val": count}, seed=seed)
    return [stored.name(split, index) for index in range(count)]


def test_all_items_are_used_in_their_order(many: Prepared) -> None:
    assert names(many, 20) == [f"clip {number}" for number in range(20)]


def test_fewer_are_drawn_by_the_seed_and_keep_their_order(many: Prepared) -> None:
    chosen = names(many, 8, seed=1)
    assert len(set(chosen)) == 8 and chosen == sorted(chosen, key=lambda name: int(name.split()[1]))
    assert chosen == names(many, 8, seed=1) != names(many, 8, seed=2)


def test_more_items_add_to_those_of_fewer(many: Prepared) -> None:
    assert set(names(many, 5)) < set(names(many, 9))


def test_each_split_has_a_draw_of_its_own(many: Prepared) -> None:
    assert names(many, 8) != names(many, 8, split="val")


def test_workers_read_the_lists_themselves(many: Prepared) -> None:
    stored = opened(many)
    unread = len(pickle.dumps(stored))
    assert stored.name("train", 3) == stored.name("val", 3) == "clip 3"
    assert len(pickle.dumps(stored)) == unread
    assert pickle.loads(pickle.dumps(stored)).name("train", 3) == "clip 3"


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_frame_that_is_not_there_is_named(tmp_path: Path) -> None:
    stored = opened(prepared_frames(tmp_path, lengths=(LENGTH,), labels=((0,),)))
    missing = stored.prepared.media / "clip 0" / "00002.jpg"
    missing.unlink()
    with pytest.raises(BadClip) as caught:
        stored.validation_clips(0, Sampling(6))
    assert caught.value.file == str(missing)


def test_a_list_that_changed_is_not_used(tmp_path: Path) -> None:
    stored = opened(prepared_frames(tmp_path))
    with (tmp_path / "train.txt").open("a") as file:
        file.write("clip 9 12 0\n")
    with pytest.raises(UserError, match=r"train.txt is not the list"):
        stored.training_clip(0, 2, key(0))
    assert stored.name("val", 0) == "clip 0"


# --- Videos -----------------------------------------------------------------------------------------------------------


def test_videos_give_what_their_frames_give(tmp_path: Path) -> None:
    """To the codec's losses, for training and validation alike."""
    by_frames = opened(prepared_frames(tmp_path / "frames", (96, 128)))
    by_video = opened(prepared_frames(tmp_path / "video", (96, 128), layout=Layout("videos", "videos")))
    sampling = Sampling(4, clips=2, crops=3)
    for one, other in zip(by_frames.validation_clips(1, sampling), by_video.validation_clips(1, sampling), strict=True):
        assert np.array_equal(one.times, other.times) and apart(seen(one), seen(other)) < 3
    one, other = (stored.training_clip(1, 4, key(0)) for stored in (by_frames, by_video))
    assert one.mirrored == other.mirrored and apart(seen(one), seen(other)) < 3


def test_a_video_shorter_than_its_line_says_is_named(tmp_path: Path) -> None:
    stored = opened(prepared_frames(tmp_path, layout=Layout("videos", "videos"), lengths=(9,), labels=((0,),)))
    longer = described(tmp_path, stored.prepared.layout, [Item("clip 0.mp4", 90, (0,))])
    with pytest.raises(BadClip, match=r"clip 0.mp4 has 9 frames, fewer than the 85 expected"):
        opened(longer).validation_clips(0, Sampling(8))


FORMATS = {
    "ts": Kind(suffix=".ts", b_frames=2, rate=25),
    "mpeg-ps": Kind("mpeg2video", ".mpg", b_frames=2, rate=25),
    "wmv": Kind("wmv2", ".wmv", rate=25),
    "avi without times": Kind(suffix=".avi", b_frames=2, rate=25),
    "mkv": Kind(suffix=".mkv", b_frames=2, rate=25),
}


@pytest.mark.parametrize("name", FORMATS)
def test_frames_are_found_in_formats_that_cannot_be_searched(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    path = tmp_path / ("video" + kind.suffix)
    write_video(path, numbered(60, kind), kind)
    every = np.stack(list(all_frames(path)))
    assert len(every) == count_frames(path) == 60
    for times in (segment_centres(60, 8), np.array([59]), np.array([13, 14, 40]), np.arange(60)):
        assert np.array_equal(read_video(path, times), every[times])


@pytest.mark.parametrize(("name", "wanted"), [("ts", 0), ("mkv", 0), ("mpeg-ps", 1), ("wmv", 1)])
def test_a_file_that_cannot_be_searched_is_decoded_from_its_beginning_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, wanted: int
) -> None:
    kind = FORMATS[name]
    path = tmp_path / ("video" + kind.suffix)
    write_video(path, numbered(60, kind), kind)
    begun = []

    def from_start(*arguments: Any) -> Any:
        begun.append(arguments)
        return original(*arguments)

    original = video._from_start
    monkeypatch.setattr(video, "_from_start", from_start)
    read_video(path, segment_centres(60, 8))
    assert len(begun) == wanted


def test_a_video_whose_frames_change_their_size_is_named(tmp_path: Path) -> None:
    path = tmp_path / "two.mov"
    kind = KINDS["mjpeg"]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=12)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt, stream.height, stream.width = "yuvj420p", 64, 80
        for number, shape in enumerate([(64, 80), (64, 80), (48, 60), (48, 60)]):
            codec = av.CodecContext.create("mjpeg", "w")
            assert isinstance(codec, av.VideoCodecContext)
            codec.pix_fmt, codec.height, codec.width, codec.time_base = "yuvj420p", *shape, Fraction(1, kind.rate)
            frame = av.VideoFrame.from_ndarray(pictures(*shape, 1)[0], format="rgb24")
            for packet in codec.encode(frame):
                packet.pts = packet.dts = number
                packet.time_base, packet.stream = Fraction(1, kind.rate), stream
                container.mux(packet)
    assert len(read_video(path, np.array([0, 1]))) == 2
    with pytest.raises(BadClip, match=r"two.mov changes from 80x64 to 60x48 pixels"):
        read_video(path, np.array([0, 3]))
