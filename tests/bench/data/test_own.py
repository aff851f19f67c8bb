"""Own videos: where their labels and splits come from, and which orders of files and tables are refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.data.listing import Layout
from bench.data.own import Row, Splitting, entries_of, rows_of_folder, rows_of_table, split_of, walk
from bench.data.plans import check_name, plan_of_own
from bench.data.prepare import FRAMES, Pictures
from bench.errors import UserError


def touch(folder: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "videos.csv"
    path.write_text(text)
    return path


def test_each_folder_is_a_class(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "run/b.mp4",
        "run/a b.WEBM",
        "walk/c.mkv",
        "walk/notes.txt",
        "walk/.d.mp4",
        ".cache/x/e.mp4",
        "list.csv",
    )
    assert rows_of_folder(tmp_path) == [
        Row("run/a b.WEBM", ("run",)),
        Row("run/b.mp4", ("run",)),
        Row("walk/c.mkv", ("walk",)),
    ]


def test_folders_train_and_val_say_the_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/run/a.mp4", "val/run/a.mp4", "val/walk/b.mp4", "other/notes.txt")
    assert rows_of_folder(tmp_path) == [
        Row("train/run/a.mp4", ("run",), split="train"),
        Row("val/run/a.mp4", ("run",), split="val"),
        Row("val/walk/b.mp4", ("walk",), split="val"),
    ]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/a.mp4")
    (tmp_path / "videos" / "run").mkdir(parents=True)
    for name in ("walk", "stroll"):
        (tmp_path / "videos" / name).symlink_to(tmp_path / "elsewhere")
    assert [row.path for row in rows_of_folder(tmp_path / "videos")] == ["stroll/a.mp4", "walk/a.mp4"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/one.mp4")
    (tmp_path / "a" / "b" / "again").symlink_to(tmp_path / "a")
    assert [folder.name for folder, _, _ in walk(tmp_path)] == [tmp_path.name, "a", "b"]


@pytest.mark.parametrize(
    ("names", "astray", "count"),
    [
        (("run/a.mp4", "b.mp4"), "b.mp4", "1 of 2"),
        (("run/a.mp4", "run/first/b.mp4"), "run/first/b.mp4", "1 of 2"),
        (("train/run/a.mp4", "val/run/b.mp4", "test/run/c.mp4"), "test/run/c.mp4", "3 of 3"),
        (("train/run/a.mp4", "train/walk/b.mp4"), "train/run/a.mp4", "2 of 2"),
        (("train/run/a.mp4", "val/b.mp4"), "val/b.mp4", "1 of 2"),
    ],
)
def test_a_video_in_no_folder_of_a_class_is_named(
    tmp_path: Path, names: tuple[str, ...], astray: str, count: str
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(UserError, match=rf"{tmp_path}/{astray} is not where a video of a class is \({count} are not\)"):
        rows_of_folder(tmp_path)


def test_a_folder_without_videos_or_none_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.txt")
    with pytest.raises(UserError, match=r"has no video; expected for example .*/running/one.mp4, with one of \.mp4"):
        rows_of_folder(tmp_path)
    with pytest.raises(UserError, match=r"There is no folder .*nowhere"):
        rows_of_folder(tmp_path / "nowhere")


def test_a_table_says_labels_groups_and_splits(tmp_path: Path) -> None:
    path = table(tmp_path, '\ufefflabel, path ,group,split\nrun|walk,"a, b.mp4",anna,train\n\n walk ,./c//d.mp4,,val\n')
    assert rows_of_table(path) == [
        Row("a, b.mp4", ("run", "walk"), "anna", "train"),
        Row("c/d.mp4", ("walk",), "", "val"),
    ]


@pytest.mark.parametrize(
    "heading", ["path", "label,group", "path,label,fold", "path;label", "path,label,label", "a.mp4,run", ""]
)
def test_a_table_of_other_columns_is_refused(tmp_path: Path, heading: str) -> None:
    path = table(tmp_path, f"{heading}\na.mp4,run\n")
    with pytest.raises(
        UserError, match=r"videos\.csv has the columns .*; expected path, label, and if wanted group, split"
    ):
        rows_of_table(path)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",run,,", "line 4: a path or a label is empty"),
        ("a.mp4,,,", "line 4: a path or a label is empty"),
        (" ,run,,", "line 4: a path or a label is empty"),
        ("a.mp4,run|,,", "line 4: a path or a label is empty"),
        ("a.mp4,run|run,,", "line 4: a label stands twice in 'run|run'"),
        ("a.mp4,run,,test", "Unknown split 'test' in .*videos.csv, line 4.* Valid choices: train, val"),
        ("a.mp4,run", r"line 4: 2 values for the 4 columns path, label, group, split; expected as many"),
        ("a.mp4,run, fast,,", "line 4: 5 values for the 4 columns"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path: Path, row: str, words: str) -> None:
    path = table(tmp_path, f'path,label,group,split\n"first\nfile.mp4",run,,\n{row}\n')
    with pytest.raises(UserError, match=words.replace("|", r"\|")):
        rows_of_table(path)


@pytest.mark.parametrize("data", [b"path,label\n", b"\xff\xfep\0a\0", b'path,label\n"' + b"x" * 200_000])
def test_a_table_without_rows_or_that_is_no_text_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "videos.csv").write_bytes(data)
    with pytest.raises(UserError, match=r"videos\.csv (has no rows|cannot be read)"):
        rows_of_table(tmp_path / "videos.csv")
    with pytest.raises(UserError, match=r"none\.csv cannot be read"):
        rows_of_table(tmp_path / "none.csv")


ROWS = [
    Row(f"{name}/{number}.mp4", (name,), group=f"p{number % 5}") for name in ("run", "walk") for number in range(20)
]


def entries(rows: list[Row], **splitting: Any) -> list[tuple[str, tuple[int, ...], str]]:
    found, _ = entries_of(rows, Path("/videos"), Splitting(**splitting))
    return [(entry.path, entry.labels, entry.split) for entry in found]


def test_classes_are_numbered_by_their_names() -> None:
    rows = [Row("a.mp4", ("walk", "run"), split="train"), Row("b/c.mp4", ("aim",), split="val")]
    found, classes = entries_of(rows, Path("/videos"), Splitting())
    assert classes == ["aim", "run", "walk"]
    assert [entry.labels for entry in found] == [(2, 1), (0,)]
    assert [entry.source for entry in found] == [Path("/videos/a.mp4"), Path("/videos/b/c.mp4")]
    assert [entry.path for entry in found] == ["a.mp4", "b/c.mp4"]


@pytest.mark.parametrize("path", ["/videos/a.mp4", "../a.mp4", "run/../../a.mp4"])
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(UserError, match=rf"{path} leaves /videos; expected paths below it"):
        entries([*ROWS, Row(path, ("run",))])


def test_a_video_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"run/3\.mp4 is listed more than once"):
        entries([*ROWS, Row("run/3.mp4", ("walk",))])


def test_a_single_class_is_refused() -> None:
    with pytest.raises(UserError, match=r"All videos \(20\) are of the class 'run'; expected at least two classes"):
        entries(ROWS[:20])


@pytest.mark.parametrize(("share", "validating"), [(0.2, 4), (0.25, 5), (0.01, 1), (0.99, 19)])
def test_each_class_gives_its_share_of_the_validation_videos(share: float, validating: int) -> None:
    chosen = Counter(labels for _, labels, split in entries(ROWS, val_share=share) if split == "val")
    assert chosen == {(0,): validating, (1,): validating}


def test_the_split_is_drawn_by_its_seed() -> None:
    assert entries(ROWS, seed=1) == entries(ROWS, seed=1)
    assert entries(ROWS, seed=1) != entries(ROWS, seed=2)


def test_a_class_of_one_video_trains() -> None:
    assert [split for _, labels, split in entries([*ROWS, Row("sit.mp4", ("sit",))]) if labels == (1,)] == ["train"]


@pytest.mark.parametrize(("share", "groups"), [(0.2, 1), (0.21, 1), (0.31, 2), (0.6, 3), (0.01, 1), (0.99, 4)])
def test_whole_groups_are_drawn_as_near_to_the_share_as_they_go(share: float, groups: int) -> None:
    splits = split_of(ROWS, Splitting(val_share=share, split_by="group"))
    of_group = {
        row.group: {split for other, split in zip(ROWS, splits, strict=True) if other.group == row.group}
        for row in ROWS
    }
    assert all(len(found) == 1 for found in of_group.values())
    assert sum(found == {"val"} for found in of_group.values()) == groups


def test_groups_are_drawn_by_the_seed() -> None:
    draws = {tuple(split_of(ROWS, Splitting(split_by="group", seed=seed))) for seed in range(20)}
    assert len(draws) == 5


def grouped(*sizes: int) -> list[Row]:
    """So many videos in each group."""
    return [
        Row(f"{group} {number}", ("run",), f"p{group}") for group, size in enumerate(sizes) for number in range(size)
    ]


@pytest.mark.parametrize(
    ("sizes", "share", "validating"),
    [((12, 9, 4), 0.2, {4}), ((12, 9, 8), 0.2, {8}), ((30, 1, 1), 0.5, {2}), ((10, 10, 6, 1), 0.3, {7, 10})],
)
def test_no_large_group_is_drawn_where_less_is_nearer(
    sizes: tuple[int, ...], share: float, validating: set[int]
) -> None:
    found = {
        split_of(grouped(*sizes), Splitting(val_share=share, split_by="group", seed=seed)).count("val")
        for seed in range(20)
    }
    assert found <= validating


def test_groups_that_are_left_out_validate() -> None:
    splits = split_of(ROWS, Splitting(leave_out=("p1", "p4")))
    assert {row.group for row, split in zip(ROWS, splits, strict=True) if split == "val"} == {"p1", "p4"}
    assert {row.group for row, split in zip(ROWS, splits, strict=True) if split == "train"} == {"p0", "p2", "p3"}


def test_a_group_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"Unknown group 'p9' in --leave-out\..* Valid choices: p0, p1, p2, p3, p4"):
        split_of(ROWS, Splitting(leave_out=("p9",)))


def test_groups_are_wanted_of_every_video() -> None:
    with pytest.raises(UserError, match="1 of 41 videos have no group; expected one for each in the column group"):
        split_of([*ROWS, Row("a.mp4", ("run",))], Splitting(split_by="group"))


def test_splits_are_said_of_all_videos_or_none() -> None:
    rows = [Row("a", ("run",), split="train"), Row("b", ("run",), split="val"), Row("c", ("run",))]
    assert split_of(rows[:2], Splitting()) == ["train", "val"]
    with pytest.raises(UserError, match="1 of 3 videos have no split and others have one; expected all or none"):
        split_of(rows, Splitting())


@pytest.mark.parametrize("splitting", [Splitting(leave_out=("anna",)), Splitting(split_by="group")])
def test_groups_are_of_no_use_where_splits_are_said(splitting: Splitting) -> None:
    rows = [Row("a", ("run",), "anna", "train"), Row("b", ("run",), "bert", "val")]
    with pytest.raises(UserError, match="The videos say their splits; expected no --leave-out"):
        split_of(rows, splitting)


@pytest.mark.parametrize(
    ("rows", "splitting"),
    [
        ([Row("a", ("run",), split="train"), Row("b", ("walk",), split="train")], Splitting()),
        ([Row("a", ("run",)), Row("b", ("walk",))], Splitting()),
        ([Row("a", ("run",), "anna"), Row("b", ("walk",), "anna")], Splitting(split_by="group")),
        ([Row("a", ("run",), "anna"), Row("b", ("walk",), "anna")], Splitting(leave_out=("anna",))),
    ],
)
def test_a_division_that_leaves_a_split_empty_is_refused(rows: list[Row], splitting: Splitting) -> None:
    with pytest.raises(
        UserError, match=r"All videos \(2\) fall into (train|val); expected some in train and some in val"
    ):
        split_of(rows, splitting)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"val_share": 0.0}, "--val-share is 0.0; expected a number above 0 and below 1"),
        ({"val_share": 5}, "--val-share is 5.0; expected a number above 0 and below 1"),
        ({"val_share": float("nan")}, "--val-share is nan"),
        ({"seed": -1}, "--seed is -1; expected a number at least 0"),
        ({"split_by": "person"}, "Unknown --split-by 'person'.* Valid choices: class, group"),
    ],
)
def test_a_wrong_splitting_is_named_as_on_the_command_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Splitting(**values)


@pytest.mark.parametrize("name", ["My-Videos", "a b", "../a", "", "jester", "digits-in-motion"])
def test_a_name_that_is_none_or_known_is_refused(name: str) -> None:
    with pytest.raises(
        UserError, match="expected small letters, digits and hyphens, and a name that no known data set has"
    ):
        check_name(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    touch(tmp_path, *(f"swipe_{side}/{number}.mp4" for side in ("left", "right") for number in range(5)))
    return tmp_path


def test_own_videos_are_extracted_or_stay_where_they_are(folder: Path) -> None:
    extracted = plan_of_own("mine", folder, None, Splitting(), Pictures(), "")
    kept = plan_of_own("mine", folder, None, Splitting(), None, "")
    assert extracted.layout == FRAMES and kept.layout == Layout("videos", str(folder))
    assert [entry.path for entry in kept.entries] == [entry.path for entry in extracted.entries]
    assert extracted.flip == "free" and extracted.metric == "top1" and extracted.made == {"from": "folder"}


def test_classes_that_differ_by_left_and_right_change_places_in_a_mirror(folder: Path) -> None:
    plan = plan_of_own("mine", folder, None, Splitting(), None, "swap")
    assert plan.flip == "swap" and plan.swaps == ((0, 1),)


def test_a_swap_without_such_classes_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{number}.mp4" for name in ("run", "walk") for number in range(2)))
    with pytest.raises(UserError, match="--flip is swap, but no two classes differ by left and right"):
        plan_of_own("mine", tmp_path, None, Splitting(), None, "swap")
    with pytest.raises(UserError, match=r"Unknown flip rule 'mirror' in --flip.* Valid choices: free, never, swap"):
        plan_of_own("mine", tmp_path, None, Splitting(), None, "mirror")


def test_several_labels_make_the_metric_map(folder: Path) -> None:
    path = table(folder, "path,label,split\nswipe_left/0.mp4,left|up,train\nswipe_right/0.mp4,right,val\n")
    plan = plan_of_own("mine", folder, path, Splitting(), None, "")
    assert plan.metric == "map" and plan.classes == ["left", "right", "up"] and plan.made == {"from": "table"}


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere cannot be read \(No such file or directory\)"):
        list(walk(tmp_path / "nowhere"))
