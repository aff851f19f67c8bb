"""Annotation files as they are published, and the videos that they are about, found below a folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.data.annotations import PARSERS, Finder, Found, Listed, read_annotations
from bench.data.known import KNOWN, mirrored, swaps
from bench.data.listing import FLIPS, METRICS, SPLITS, Layout
from bench.data.plans import plan_of_known, plan_of_lists
from bench.data.prepare import FRAMES, Pictures
from bench.errors import UserError


def put(folder: Path, **files: object) -> Path:
    """Files by their names, in which a double underscore stands for a hyphen and the last one for a dot."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{stem.replace('__', '-')}.{suffix}").write_text(text)
    return folder


def read(name: str, folder: Path, classes: int) -> Found:
    """A known data set of so many classes."""
    return read_annotations(replace(KNOWN[name], classes=classes), folder)


def labelled(found: Found) -> list[tuple[str, str, tuple[str, ...]]]:
    """Split, name and the names of the classes of each video."""
    return [(each.split, each.name, tuple(found.classes[label] for label in each.labels)) for each in found.videos]


def refused(name: str, folder: Path, classes: int) -> str:
    """What the error says."""
    with pytest.raises(UserError) as error:
        read(name, folder, classes)
    return str(error.value)


SEMICOLONS = {
    "x__v1__labels_csv": 'Turning "it", left\nHolding something; tight\nCovering\n',
    "x__v1__train_csv": '11;Holding something; tight\r\n12;Turning "it", left\n\n13;Covering\n',
    "x__v1__validation_csv": "21;Covering\n",
    "x__v1__test_csv": "31\n",
}


@pytest.mark.parametrize("name", ["something-something-v1", "jester"])
def test_lines_with_semicolons(tmp_path: Path, name: str) -> None:
    found = read(name, put(tmp_path, **SEMICOLONS), 3)
    assert found.classes == ("Covering", "Holding something; tight", 'Turning "it", left')
    assert labelled(found) == [
        ("train", "11", ("Holding something; tight",)),
        ("train", "12", ('Turning "it", left',)),
        ("train", "13", ("Covering",)),
        ("val", "21", ("Covering",)),
    ]


@pytest.mark.parametrize("line", ["14", "14;", ";Covering", "14;Uncovering", "14,Covering"])
def test_a_line_without_semicolon_or_class_is_named(tmp_path: Path, line: str) -> None:
    folder = put(tmp_path, **{**SEMICOLONS, "x__v1__train_csv": f"11;Covering\n{line}\n"})
    said = refused("jester", folder, 3)
    assert f"x-v1-train.csv, line 2 is {line!r}; expected an id, a semicolon and one of the classes" in said


TEMPLATES: dict[str, Any] = {
    "labels_json": {"Moving something up": "1", "Holding something": "0", "Putting something, then another": "2"},
    "train_json": [
        {"id": "7", "label": "holding a cup", "template": "Holding [something]", "placeholders": ["a cup"]},
        {"id": 8, "template": "Putting [something], then [another]"},
    ],
    "validation_json": [{"id": "9", "template": "Moving [something] up"}],
    "test_json": [{"id": "10"}],
}


def test_templates_with_brackets(tmp_path: Path) -> None:
    found = read("something-something-v2", put(tmp_path, **TEMPLATES), 3)
    assert found.classes == ("Holding something", "Moving something up", "Putting something, then another")
    assert labelled(found) == [
        ("train", "7", ("Holding something",)),
        ("train", "8", ("Putting something, then another",)),
        ("val", "9", ("Moving something up",)),
    ]


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("labels_json", ["Holding something"], "expected an object such as"),
        ("labels_json", {"Holding something": "first"}, "expected an object such as"),
        ("labels_json", {"Holding something": None}, "expected an object such as"),
        (
            "labels_json",
            {"Holding something": "1", "Moving something up": "2"},
            "expected the numbers 0 to 1, each once",
        ),
        (
            "labels_json",
            {"Holding something": "0", "Moving something up": "0"},
            "expected the numbers 0 to 1, each once",
        ),
        ("train_json", {"7": "Holding something"}, "expected a list of videos"),
        ("train_json", 5, "expected a list of videos"),
        ("train_json", ["7"], "expected an id, and a template"),
        ("train_json", [{"template": "Holding [something]"}], "expected an id, and a template"),
        ("train_json", [{"id": "7", "template": None}], "expected an id, and a template"),
        ("train_json", [{"id": "7", "template": "Dropping [something]"}], "found {'id': '7', 'template': 'Dropping"),
        ("validation_json", "{", "is no JSON file"),
    ],
)
def test_other_templates_are_named(tmp_path: Path, file: str, content: object, words: str) -> None:
    said = refused("something-something-v2", put(tmp_path, **{**TEMPLATES, file: content}), 3)
    assert str(tmp_path / file.replace("_json", ".json")) in said and words in said


def segments(subset: str, *labels: str) -> dict[str, Any]:
    return {"subset": subset, "annotations": [{"segment": [0, 1], "label": label} for label in labels]}


DATABASE = {
    "aa": segments("training", "Surfing", "Archery", "Surfing"),
    "bb": segments("validation", "Archery"),
    "cc": segments("testing"),
    "dd": segments("training"),
}


def test_a_video_of_activitynet_has_the_labels_of_its_segments(tmp_path: Path) -> None:
    folder = put(tmp_path, **{"activity_net.v1__3.min_json": {"database": DATABASE, "taxonomy": [], "version": "1.3"}})
    found = read("activitynet", folder, 2)
    assert found.classes == ("Archery", "Surfing")
    assert labelled(found) == [("train", "v_aa", ("Surfing", "Archery")), ("val", "v_bb", ("Archery",))]
    assert found.videos[0].files == ("v_aa", "aa")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "expected an object under database"),
        ({"data": {}}, "expected an object under database"),
        ({"database": [1]}, "expected an object under database"),
        ({"database": {"aa": 3}}, "found {'aa': 3}, expected a subset, and annotations with a label each"),
        ({"database": {"aa": {"subset": "train", "annotations": [{"label": "x"}]}}}, "has 0 classes"),
        ({"database": {"aa": {"annotations": [{"label": "x"}]}}}, "expected a subset"),
        ({"database": {"aa": {"subset": "training", "annotations": [{}]}}}, "with a label each"),
        ({"database": {"aa": {"subset": "training", "annotations": None}}}, "with a label each"),
    ],
)
def test_another_database_is_named(tmp_path: Path, content: object, words: str) -> None:
    assert words in refused("activitynet", put(tmp_path, net_json=content), 1)


FCVID = {
    "FCVID_VideoName_TrainTestSplit_txt": "dancing/aa.mp4 train\nmultiple\\bb.flv\ttest\r\ncc.mp4   test\n",
    "FCVID_Label_txt": "1 0 0\n0 1 1\n0.0 0.0 1.0000e+00\n",
}


def test_fcvid_has_a_row_of_flags_for_each_path(tmp_path: Path) -> None:
    found = read("fcvid", put(tmp_path, **FCVID), 3)
    assert found.classes == ("category 0", "category 1", "category 2")
    assert found.videos == (
        Listed("dancing/aa", ("dancing/aa",), (0,), "train"),
        Listed("multiple/bb", ("multiple/bb",), (1, 2), "val"),
        Listed("cc", ("cc",), (2,), "val"),
    )


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("FCVID_Label_txt", "1 0 0\n0 1 1\n", "found '2 lines', expected 3"),
        ("FCVID_Label_txt", "1 0 0\n0 1\n0 0 1\n", "line 2 is '0 1'; expected 3 times 0 or 1"),
        ("FCVID_Label_txt", "1 0 0\n0 0 0\n0 0 1\n", "line 2 is '0 0 0'; expected 3 times 0 or 1, and 1 at least once"),
        ("FCVID_Label_txt", "1 0 0\n0 2 0\n0 0 1\n", "line 2 is '0 2 0'"),
        ("FCVID_Label_txt", "1 0 0\n0 x 0\n0 0 1\n", "line 2 is '0 x 0'"),
        ("FCVID_VideoName_TrainTestSplit_txt", "a.mp4 train\nb.mp4\nc.mp4 test\n", "line 2 is 'b.mp4'"),
        ("FCVID_VideoName_TrainTestSplit_txt", "a.mp4 train\nb.mp4 val\nc.mp4 test\n", "one of train, test"),
        ("FCVID_VideoName_TrainTestSplit_txt", "a.mp4 train\n/ train\nc.mp4 test\n", "line 2 is '/ train'"),
    ],
)
def test_other_lines_of_fcvid_are_named(tmp_path: Path, file: str, content: str, words: str) -> None:
    assert words in refused("fcvid", put(tmp_path, **{**FCVID, file: content}), 3)


HEADING = "label,youtube_id,time_start,time_end,split,is_cc\n"
KINETICS = {
    "train_csv": HEADING + '"air drumming",-a_1,10,20,train,0\nzumba,bb,0,9.6,train,0\nyoga,dd,3,13,train,0\n',
    "validate_csv": HEADING + '"massaging person\'s head",cc,100,110,val,0\nyoga,ee,1,11,val,0\n',
}


def test_kinetics_names_its_clips_by_video_and_time(tmp_path: Path) -> None:
    found = read("kinetics-400", put(tmp_path, **KINETICS), 4)
    assert found.classes == ("air drumming", "massaging person's head", "yoga", "zumba")
    assert labelled(found) == [
        ("train", "-a_1_000010_000020", ("air drumming",)),
        ("train", "bb_000000_000010", ("zumba",)),
        ("train", "dd_000003_000013", ("yoga",)),
        ("val", "cc_000100_000110", ("massaging person's head",)),
        ("val", "ee_000001_000011", ("yoga",)),
    ]
    assert found.videos[0].files == ("-a_1_000010_000020", "-a_1")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    folder = put(tmp_path, **{**KINETICS, "train_csv": "\ufeff" + KINETICS["train_csv"]})
    assert len(read("kinetics-400", folder, 4).videos) == 5


def test_columns_of_kinetics_may_come_in_another_order(tmp_path: Path) -> None:
    train = "youtube_id,time_end,time_start,label\naa,12,2,zumba\n"
    found = read("kinetics-400", put(tmp_path, train_csv=train, val_csv=KINETICS["validate_csv"]), 3)
    assert labelled(found)[0] == ("train", "aa_000002_000012", ("zumba",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "train.csv is not as it is published: found '', expected the columns label, youtube_id"),
        ("zumba,bb,0,10,train,0\n", "found 'zumba,bb,0,10,train,0', expected the columns"),
        (HEADING + "zumba,bb,0\n", "train.csv, line 2 is 'zumba,bb,0'; expected a label, an id and two times"),
        (HEADING + "\nzumba,bb,0,late\n", "train.csv, line 3 is"),
        (HEADING + "zumba,bb,0,inf\n", "train.csv, line 2 is"),
        (HEADING + '"' + "x" * 200_000, "is no line of a csv file"),
    ],
)
def test_another_table_is_named(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused("kinetics-400", put(tmp_path, **{**KINETICS, "train_csv": text}), 4)


def test_mini_kinetics_takes_the_videos_of_its_classes(tmp_path: Path) -> None:
    found = read("mini-kinetics", put(tmp_path, **KINETICS, minik_classInd_txt="yoga\nair drumming\n"), 2)
    assert found.classes == ("yoga", "air drumming")
    assert labelled(found) == [
        ("train", "-a_1_000010_000020", ("air drumming",)),
        ("train", "dd_000003_000013", ("yoga",)),
        ("val", "ee_000001_000011", ("yoga",)),
    ]


def test_a_class_that_kinetics_has_not_is_named(tmp_path: Path) -> None:
    folder = put(tmp_path, **KINETICS, minik_classInd_txt="yoga\nair_drumming\n")
    said = refused("mini-kinetics", folder, 2)
    assert "minik_classInd.txt, line 2 is 'air_drumming'; expected a class of Kinetics' tables" in said


def test_mini_kinetics_by_ids_says_the_splits_itself(tmp_path: Path) -> None:
    ids = {"train_ytid_list_txt": "ee\n-a_1\n", "val_ytid_list_txt": "dd\n"}
    found = read("mini-kinetics-80k", put(tmp_path, **KINETICS, **ids), 2)
    assert found.classes == ("air drumming", "yoga")
    assert sorted(labelled(found)) == [
        ("train", "-a_1_000010_000020", ("air drumming",)),
        ("train", "ee_000001_000011", ("yoga",)),
        ("val", "dd_000003_000013", ("yoga",)),
    ]


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        ("dd\nzz\nyy\n", "2 of the 4 ids in .* are not in Kinetics' tables there, the first yy"),
        ("dd\nee\n", "val_ytid_list.txt, line 2 is 'ee', which trains too"),
    ],
)
def test_ids_without_a_label_or_with_two_splits_are_named(tmp_path: Path, validation: str, words: str) -> None:
    folder = put(tmp_path, **KINETICS, train_ytid_list_txt="ee\n", val_ytid_list_txt=validation)
    with pytest.raises(UserError, match=words):
        read("mini-kinetics-80k", folder, 2)


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    put(tmp_path, **SEMICOLONS)
    with pytest.raises(UserError, match="has 3 classes; Jester has 27"):
        read_annotations(KNOWN["jester"], tmp_path)


def test_a_video_of_which_two_things_are_said_is_refused(tmp_path: Path) -> None:
    put(tmp_path, **{**SEMICOLONS, "x__v1__validation_csv": "11;Covering\n"})
    assert "say two things of the video 11" in refused("jester", tmp_path, 3)


def test_a_video_of_which_one_thing_is_said_twice_is_listed_once(tmp_path: Path) -> None:
    put(tmp_path, **{**SEMICOLONS, "x__v1__validation_csv": "21;Covering\n21;Covering\n"})
    assert sum(each.name == "21" for each in read("jester", tmp_path, 3).videos) == 1


def test_the_files_that_were_read_are_kept_by_their_digests(tmp_path: Path) -> None:
    found = read("jester", put(tmp_path, **SEMICOLONS), 3)
    assert set(found.files) == {"x-v1-labels.csv", "x-v1-train.csv", "x-v1-validation.csv"}
    train = (tmp_path / "x-v1-train.csv").read_bytes()
    assert found.files["x-v1-train.csv"] == hashlib.sha256(train).hexdigest()


def test_a_missing_folder_or_file_is_named_with_what_belongs_there(tmp_path: Path) -> None:
    assert "There is no folder" in refused("jester", tmp_path / "nowhere", 3)
    put(tmp_path, **SEMICOLONS)
    (tmp_path / "x-v1-validation.csv").unlink()
    said = refused("jester", tmp_path, 3)
    assert "has no file that ends with validation.csv; expected jester-v1-labels.csv" in said


def test_two_files_for_one_are_named_and_hidden_ones_are_not_meant(tmp_path: Path) -> None:
    put(tmp_path, **SEMICOLONS)
    (tmp_path / "._x-v1-train.csv").write_bytes(b"\0\xff")
    assert len(read("jester", tmp_path, 3).videos) == 4
    (tmp_path / "y-train.csv").write_text("")
    assert "has x-v1-train.csv, y-train.csv; expected one file that ends with train.csv" in refused(
        "jester", tmp_path, 3
    )


@pytest.mark.parametrize("made", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff\xfe\xfd")])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, made: Any) -> None:
    put(tmp_path, **SEMICOLONS)
    (tmp_path / "x-v1-train.csv").unlink()
    made(tmp_path / "x-v1-train.csv")
    assert "x-v1-train.csv cannot be read" in refused("jester", tmp_path, 3)


# --- Where the videos are ---------------------------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def listed(*files: str) -> Listed:
    return Listed(files[0], files, (0,), "train")


def test_videos_are_found_in_whatever_folders(tmp_path: Path) -> None:
    touch(tmp_path, "part 1/air drumming/a_1.mp4", "part 2/deep/v_b.b.MKV", "c.txt", "d/c.webm", "e.mp4")
    videos = [listed("a_1"), listed("v_b.b", "b.b"), listed("c_1", "c"), listed("f")]
    finder = Finder(tmp_path, videos, folders=False)
    places = [finder.find(video).relative_to(tmp_path).as_posix() for video in videos]
    assert places == ["part 1/air drumming/a_1.mp4", "part 2/deep/v_b.b.MKV", "d/c.webm", "f"]


def test_the_likeliest_name_comes_first(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "b/x_000001_000011.mp4")
    video = listed("x_000001_000011", "x")
    assert Finder(tmp_path, [video], folders=False).find(video) == tmp_path / "b" / "x_000001_000011.mp4"


def test_a_path_is_found_with_its_folders_before_it(tmp_path: Path) -> None:
    touch(tmp_path, "videos/dancing/a.mp4", "videos/cooking/a.flv")
    video = listed("cooking/a")
    assert Finder(tmp_path, [video], folders=False).find(video) == tmp_path / "videos" / "cooking" / "a.flv"


@pytest.mark.parametrize("folders", [False, True])
def test_a_video_in_two_places_is_refused(tmp_path: Path, folders: bool) -> None:
    touch(
        tmp_path,
        *(f"{part}/7{'/00001.jpg' if folders else suffix}" for part, suffix in (("a", ".mp4"), ("b", ".webm"))),
    )
    finder = Finder(tmp_path, [listed("7")], folders=folders)
    with pytest.raises(
        UserError, match=rf"The video 7 is {tmp_path}/a/7.* and {tmp_path}/b/7.*; expected it once below"
    ):
        finder.find(listed("7"))


def test_folders_of_frames_are_found_and_not_searched(tmp_path: Path) -> None:
    touch(tmp_path, "part/7/00001.jpg", "part/7/8/00001.jpg", "9/00001.jpg", "10.mp4")
    videos = [listed("7"), listed("8"), listed("9"), listed("10")]
    finder = Finder(tmp_path, videos, folders=True)
    places = [finder.find(video).relative_to(tmp_path).as_posix() for video in videos]
    assert places == ["part/7", "8", "9", "10"]


def test_a_missing_folder_of_media_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no folder .*nowhere; expected the data set's frames"):
        Finder(tmp_path / "nowhere", [], folders=True)


# --- Plans of known data sets -----------------------------------------------------------------------------------------


@pytest.fixture
def jester(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Annotations and frames of a small Jester, in folders of these names."""
    put(
        tmp_path / "annotations",
        labels_csv="Swiping Right\nSwiping Left\n",
        train_csv="1;Swiping Right\n2;Swiping Left\n",
        validation_csv="3;Swiping Left\n",
    )
    touch(tmp_path / "frames", "part/1/00001.jpg", "2/00001.jpg", "3/00001.jpg")
    monkeypatch.setitem(KNOWN, "jester", replace(KNOWN["jester"], classes=2))
    return tmp_path


def test_published_frames_stay_where_they_are(jester: Path) -> None:
    plan = plan_of_known("jester", jester / "annotations", jester / "frames", Pictures(), None, 1, "")
    assert plan.layout == Layout("frames", str(jester / "frames"), "{:05d}.jpg", 1) and plan.pictures is None
    assert [(entry.path, entry.labels, entry.split) for entry in plan.entries] == [
        ("part/1", (1,), "train"),
        ("2", (0,), "train"),
        ("3", (0,), "val"),
    ]
    assert (
        plan.title == "Jester"
        and plan.flip == "never"
        and set(plan.made["files"])
        == {
            "labels.csv",
            "train.csv",
            "validation.csv",
        }
    )


def test_another_rule_for_mirrors_can_be_asked_for(jester: Path) -> None:
    plan = plan_of_known("jester", jester / "annotations", jester / "frames", None, None, 1, "swap")
    assert plan.flip == "swap" and plan.swaps == ((0, 1),)


@pytest.mark.parametrize("template", ["{:05d}.png", "frame.jpg", "{:05q}.jpg", "{}{}.jpg", "{name}.jpg", "{:05d"])
def test_a_template_that_names_no_jpeg_by_its_number_is_refused(jester: Path, template: str) -> None:
    with pytest.raises(
        UserError, match=r"--template is .*; expected the name of a JPEG file with a place for its number"
    ):
        plan_of_known("jester", jester / "annotations", jester / "frames", None, template, 1, "")


def test_videos_are_extracted_by_their_names_or_stay_in_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "something-something-v2", replace(KNOWN["something-something-v2"], classes=3))
    put(tmp_path, **TEMPLATES)
    touch(tmp_path / "videos", "a/7.webm", "8.webm")
    extracted, kept = (
        plan_of_known("something-something-v2", tmp_path, tmp_path / "videos", pictures, None, 1, "")
        for pictures in (Pictures(), None)
    )
    assert extracted.layout == FRAMES and [entry.path for entry in extracted.entries] == ["7", "8", "9"]
    assert extracted.entries[0].source == tmp_path / "videos" / "a" / "7.webm"
    assert kept.layout == Layout("videos", str(tmp_path / "videos"))
    assert [entry.path for entry in kept.entries] == ["a/7.webm", "8.webm", "9"]


def test_an_unknown_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Unknown data set 'jestr' .*Did you mean 'jester'\?"):
        plan_of_known("jestr", tmp_path, tmp_path, None, None, 1, "")


def lists(tmp_path: Path, **texts: str) -> dict[str, Any]:
    """Arguments of plan_of_lists."""
    files = {"train": "b/1 5 1\nb/2 6 0\n", "val": "b/3 7 1\n", "classes": "Left\nRight\n", **texts}
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return {
        "folder": tmp_path / "frames",
        "lists": (tmp_path / "train.txt", tmp_path / "val.txt"),
        "template": "img_{:05d}.jpg",
        "first": 0,
        "classes": tmp_path / "classes.txt",
        "flip": "",
    }


def test_lists_are_taken_over(tmp_path: Path) -> None:
    plan = plan_of_lists("mine", **lists(tmp_path))
    assert [(entry.path, entry.frames, entry.labels, entry.split) for entry in plan.entries] == [
        ("b/1", 5, (1,), "train"),
        ("b/2", 6, (0,), "train"),
        ("b/3", 7, (1,), "val"),
    ]
    assert plan.layout == Layout("frames", str(tmp_path / "frames"), "img_{:05d}.jpg", 0)
    assert plan.entries[0].source == tmp_path / "frames" / "b" / "1"
    assert (plan.classes, plan.metric, plan.flip, plan.title) == (["Left", "Right"], "top1", "free", "mine")


def test_lists_of_a_known_data_set_have_its_metric_and_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, metric, flip in (("activitynet", "map", "free"), ("jester", "top1", "never")):
        monkeypatch.setitem(KNOWN, name, replace(KNOWN[name], classes=2))
        plan = plan_of_lists(name, **lists(tmp_path))
        assert (plan.metric, plan.flip, plan.title) == (metric, flip, KNOWN[name].title)


def test_lists_of_a_known_data_set_have_its_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"classes\.txt has 2 classes; Jester has 27"):
        plan_of_lists("jester", **lists(tmp_path))


@pytest.mark.parametrize(("text", "line"), [("Left\n\nRight\n", 2), ("Left\nRight\nLeft\n", 3)])
def test_a_class_list_has_a_name_in_each_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(
        UserError, match=rf"classes\.txt, line {line} is .*; expected a class in each line, every one once"
    ):
        plan_of_lists("mine", **lists(tmp_path, classes=text))


@pytest.mark.parametrize("name", ["train", "classes"])
def test_a_missing_list_is_named(tmp_path: Path, name: str) -> None:
    arguments = lists(tmp_path)
    (tmp_path / f"{name}.txt").unlink()
    with pytest.raises(UserError, match=rf"There is no .*{name}\.txt"):
        plan_of_lists("mine", **arguments)


# --- What is known ----------------------------------------------------------------------------------------------------


def test_everything_known_can_be_parsed_and_described() -> None:
    for known in KNOWN.values():
        assert known.parser in PARSERS and known.metric in METRICS and known.flip in FLIPS
        assert set(known.videos) == set(SPLITS) and known.annotations


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
        ("swipe_left", "swipe_right"),
        ("LEFT (hand)", "RIGHT (hand)"),
        ("McDonald leftover, upright", "McDonald leftover, upright"),
    ],
)
def test_a_class_in_a_mirror(name: str, other: str) -> None:
    assert mirrored(name) == other and mirrored(other) == name


def test_classes_change_places_where_both_are_there() -> None:
    classes = (
        "Swiping Right",
        "Swiping Down",
        "Swiping Left",
        "Turning left",
        "turn clockwise",
        "turn counterclockwise",
    )
    assert swaps(classes) == ((0, 2), (4, 5))


def test_the_swaps_of_something_something_are_those_that_are_published() -> None:
    """Forks of GSM and mmaction2 number them so: 86-87, 93-94 and 166-167 of 174 classes in order."""
    of_number = {
        86: "Pulling something from left to right",
        87: "Pulling something from right to left",
        93: "Pushing something from left to right",
        94: "Pushing something from right to left",
        166: "Turning the camera left while filming something",
        167: "Turning the camera right while filming something",
    }
    classes = tuple(of_number.get(number, f"class {number}") for number in range(174))
    assert swaps(classes) == ((86, 87), (93, 94), (166, 167))
