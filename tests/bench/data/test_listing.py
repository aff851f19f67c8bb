"""List files and the description of a prepared data set: read as written, and what is wrong in them named."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data.items import Item, Items, check_path, parse_line, parse_list
from bench.data.listing import Layout, Prepared, read_list, read_prepared, write_prepared
from bench.errors import UserError

LISTS = {"train": [Item("run/a b", 48, (0,)), Item("walk/c", 3, (2, 1))], "val": [Item("d.mp4", 7, (1,))]}


def written(root: Path, **changes: Any) -> Prepared:
    """A description on disk, of two training videos and one for validation."""
    values: dict[str, Any] = {
        "name": "mine",
        "title": "Mine",
        "layout": Layout("frames", "frames"),
        "classes": ["run left", "run right", "stand"],
        "metric": "top1",
        "flip": "swap",
        "swaps": [(0, 1)],
        "lists": LISTS,
        "made": {"short_side": 256, "quality": 95, "rate": 0.0},
    }
    root.mkdir(exist_ok=True)
    return write_prepared(root, **{**values, **changes})


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("clips/1 48 3", Item("clips/1", 48, (3,))),
        ("a folder/with  blanks.mp4 48 3", Item("a folder/with  blanks.mp4", 48, (3,))),
        ("clips/1\t48\t3,0,12", Item("clips/1", 48, (3, 0, 12))),
        ("an 8 and a 9 48 3", Item("an 8 and a 9", 48, (3,))),
        ("v_x,250,3", Item("v_x", 250, (3,))),
        ("multiple/v x,250,3, 7,1", Item("multiple/v x", 250, (3, 7, 1))),
        ("a,b 48 3,4", Item("a,b", 48, (3, 4))),
    ],
)
def test_a_line_is_a_path_a_number_of_frames_and_labels(line: str, item: Item) -> None:
    assert parse_line(line, "here") == item


@pytest.mark.parametrize(
    "line", ["clips/1", "clips/1 48", "48 3", "clips/1 many 3", "clips/1 48 run", "a,48", "a 48 3,"]
)
def test_a_line_of_other_columns_is_named(line: str) -> None:
    with pytest.raises(UserError, match=r"^list.txt, line 2 is .* expected a path, a number of frames and a label"):
        parse_list(f"clips/0 5 1\n{line}\n", Path("list.txt"), 20)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_named(label: int) -> None:
    with pytest.raises(UserError, match=rf"list.txt, line 3 has label {label}; expected 0 to 2, since there are 3"):
        parse_list(f"a 5 0\n\nb 5 2,{label}\n", Path("list.txt"), 3)


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(UserError, match="line 1 has 0 frames; expected at least 1"):
        parse_list("a 0 1\n", Path("list.txt"), 3)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a b 5 3 7", "line 2 has label 7; .* read as `path frames label`: 'a b 5', 3, 7"),
        ("a 2 48", "line 2 has label 48; .* read as `path frames label`: 'a', 2, 48"),
        ("a 0 48", "line 2 has 0 frames; .* read as `path frames label`: 'a', 0, 48"),
    ],
)
def test_columns_in_another_order_can_be_told_from_the_error(line: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_list(f"a 5 0\n{line}\n", Path("list.txt"), 3)


def test_the_mark_that_editors_put_first_is_no_part_of_a_path(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa 5 0\n")
    assert read_list(tmp_path / "list.txt") == "a 5 0\n"


@pytest.mark.parametrize("text", ["", "\n  \n"])
def test_an_empty_list_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"list\.txt lists nothing"):
        parse_list(text, Path("list.txt"), 3)


@pytest.mark.parametrize("path", ["a", "a b/c  d.mp4", "ü/ß", "a 48 3", "a,5,6"])
def test_paths_that_a_list_can_hold_come_back(path: str) -> None:
    check_path(path)
    item = Item(path, 48, (1, 2))
    assert list(parse_list(item.line() + "\n", Path("list.txt"), 3)) == [item]


def test_items_are_a_sequence_that_takes_little_more_than_its_lines() -> None:
    """Every worker has one; as objects 240,000 videos took 83 MB in each."""
    whole = [Item(f"class {number % 7}/ü {number}", number + 1, (number % 3, 7)) for number in range(5000)]
    tracemalloc.start()
    try:
        items = Items(whole)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(items) == 5000 and list(items) == whole and pickle.loads(pickle.dumps(items))[17] == whole[17]
    assert items[-1] == whole[-1] and items[10:40:7] == whole[10:40:7] and items[5000:] == []
    with pytest.raises(IndexError):
        items[5000]
    lines = sum(len(item.line().encode()) for item in whole)
    assert taken < 1.2 * (lines + 8 * len(whole))


@pytest.mark.parametrize("path", ["", " a", "a ", "a\nb", "a\u2028b", "a\x0cb", "a\udcff"])
def test_paths_that_a_list_cannot_hold_are_refused(path: str) -> None:
    with pytest.raises(UserError, match="cannot stand in a list file"):
        check_path(path)


def test_frames_are_told_from_other_files() -> None:
    layout = Layout("frames", "frames", "img_{:03d}.jpg", first=1)
    names = [
        "img_001.jpg",
        "img_010.jpg",
        "img_000.jpg",
        "img_1000.jpg",
        "img_2.jpg",
        "flow_001.jpg",
        "img_003.jpg.txt",
    ]
    assert layout.numbers(names) == {0, 9, -1, 999}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    prepared = written(tmp_path)
    assert prepared == read_prepared(tmp_path)
    assert prepared.classes == ("run left", "run right", "stand") and prepared.swaps == ((0, 1),)
    assert prepared.layout == Layout("frames", "frames") and prepared.media == tmp_path / "frames"
    assert prepared.counts == {"train": 2, "val": 1} and prepared.made["quality"] == 95
    assert {split: list(prepared.items(split)) for split in LISTS} == LISTS


def test_a_description_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, text = written(tmp_path), (tmp_path / "dataset.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("read again"))
        assert read_prepared(tmp_path) == first
    (tmp_path / "dataset.json").write_text(text.replace('"Mine"', '"Yours"'))
    assert read_prepared(tmp_path).title == "Yours"
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(UserError, match="There is no"):
        read_prepared(tmp_path)


def test_media_elsewhere_are_found_there(tmp_path: Path) -> None:
    assert written(tmp_path, layout=Layout("videos", "/scratch/videos")).media == Path("/scratch/videos")


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ["run left", "run right", "sit"]},
        {"flip": "never"},
        {"swaps": []},
        {"metric": "map"},
        {"lists": {**LISTS, "val": [Item("d.mp4", 8, (1,))]}},
        {"lists": {**LISTS, "val": [Item("d.mp4", 7, (2,))]}},
        {"made": {"short_side": 128, "quality": 95, "rate": 0.0}},
        {"made": {"short_side": 256, "quality": 90, "rate": 0.0}},
        {"made": {"short_side": 256, "quality": 95, "rate": 5.0}},
        {"layout": Layout("videos", "frames")},
        {"layout": Layout("frames", "frames", "flow_{:05d}.jpg")},
        {"layout": Layout("frames", "frames", first=0)},
    ],
)
def test_the_fingerprint_tells_other_pixels_and_labels_apart(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert written(tmp_path / "one").fingerprint != written(tmp_path / "other", **changes).fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": Layout("frames", "/scratch/frames")},
        {"title": "Other"},
        {"made": {"short_side": 256, "quality": 95, "rate": 0.0, "left_out": {"x": "is no video"}}},
    ],
)
def test_the_fingerprint_is_the_same_wherever_media_lie(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert written(tmp_path / "one").fingerprint == written(tmp_path / "other", **changes).fingerprint


def test_the_fingerprint_of_videos_leaves_out_how_frames_would_be_called(tmp_path: Path) -> None:
    one, other = (Layout("videos", "videos", template) for template in ("{:05d}.jpg", "img_{:06d}.jpg"))
    assert written(tmp_path / "one", layout=one).fingerprint == written(tmp_path / "other", layout=other).fingerprint


def test_a_changed_list_is_refused(tmp_path: Path) -> None:
    prepared = written(tmp_path)
    path = tmp_path / "train.txt"
    path.write_text(path.read_text().replace("48 0", "48 1"))
    with pytest.raises(UserError, match=r"train\.txt is not the list that .*dataset\.json was written for"):
        prepared.items("train")
    assert list(prepared.items("val")) == LISTS["val"]


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    prepared = written(tmp_path)
    (tmp_path / "val.txt").unlink()
    with pytest.raises(UserError, match=r"There is no .*val\.txt"):
        prepared.items("val")


def test_a_folder_without_description_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no .*dataset\.json; expected what `afbench data prepare` writes"):
        read_prepared(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b'{"format": 1}', b"\xff\xfe"])
def test_a_file_that_is_no_description_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "dataset.json").write_bytes(data)
    with pytest.raises(UserError, match=r"dataset\.json (is not a description of a data set|cannot be read)"):
        read_prepared(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values.update(format=2), "has format 2; this version reads 1"),
        (lambda values: values.update(kind="tapes"), r"Unknown kind 'tapes' .* frames, videos"),
        (lambda values: values.update(metric="auc"), r"Unknown metric 'auc' .* map, top1"),
        (lambda values: values.update(flip="yes"), r"Unknown flip 'yes' .* free, never, swap"),
        (lambda values: values.update(classes="abc"), "has classes 'abc'; expected a value of type list"),
        (lambda values: values.update(first="1"), "has first '1'; expected a value of type int"),
        (lambda values: values.update(media=None), "has media None; expected a value of type str"),
        (lambda values: values.update(template="{:05q}.jpg"), "is not a description"),
        (lambda values: values.update(swaps=[[0]]), "is not a description"),
        (lambda values: values.pop("name"), "is not a description .*name"),
        (lambda values: values["splits"].pop("val"), "is not a description .*val"),
    ],
)
def test_a_wrong_value_in_the_description_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    written(tmp_path)
    path = tmp_path / "dataset.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=words) as found:
        read_prepared(tmp_path)
    assert str(path) in str(found.value)
