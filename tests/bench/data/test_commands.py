"""`afbench data` as a user meets it: what it prints, exit statuses, one paragraph for a mistake."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import afbench
from bench.data.known import KNOWN
from bench.data.listing import read_prepared
from tests.videos import KINDS, numbered, write_video


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of this test to work in, with nothing known of data sets elsewhere."""
    monkeypatch.setenv("AFNET_BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("AFNET_BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos of each of two classes."""
    for name in ("run/1", "run/2", "walk/1", "walk/2"):
        write_video(tmp_path / "videos" / f"{name}.mp4", numbered(6, KINDS["h264"]))
    return tmp_path / "videos"


def data(*arguments: str) -> int:
    """Exit status of a command."""
    try:
        afbench.main(["data", *arguments])
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code
    return 0


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The paragraph that a mistake is answered with."""
    assert data(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("afbench: ") and said.err.count("\n") == 1
    return said.err


def prepare_own(*more: str) -> int:
    return data("prepare", "mine", "--from-folder", "videos", "--val-share", "0.5", "--workers", "1", *more)


def test_what_is_known_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert data("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "classes", "train", "val", "metric", "where"]
    assert any(line.split() == ["activitynet", "200", "10024", "4926", "map", "not", "here"] for line in lines)
    assert any(line.startswith("digits-in-motion ") and "nothing to prepare" in line for line in lines)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_known_data_set_is_described_with_where_to_ask_for_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("list", name) == 0
    said, known = capsys.readouterr().out, KNOWN[name]
    for words in (known.title, f"{known.videos['train']:,} train", known.annotations, known.media, known.address):
        assert words in said
    assert f"afbench data prepare {name} --annotations" in said and said.endswith("not prepared\n")


def test_a_prepared_data_set_is_described_as_it_is_here(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (videos / "run" / "3.mp4").write_bytes(b"no video")
    assert prepare_own("--keep-videos", "--on-bad", "skip", "--flip", "never") == 0
    capsys.readouterr()
    assert data("list", "mine") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        f"here         {tmp_path}/data/mine (by {tmp_path}/config/data.toml)",
        "2 classes, 2 train, 2 val; 1 left out",
        f"videos in {videos}",
        "metric top1, mirrored: never",
    ]
    assert "Unknown data set 'min'. Did you mean 'mine'?" in mistake(capsys, "list", "min")
    assert data("list", "digits-in-motion") == 0 and "nothing to prepare" in capsys.readouterr().out


def test_from_videos_to_a_verified_data_set(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_own("--short-side", "32") == 0
    said = capsys.readouterr()
    assert "mine: 2 classes, 2 training and 2 validation videos in data/mine" in said.out
    assert "--dataset mine" in said.out and "preparing mine: 4 of 4" in said.err
    assert read_prepared(tmp_path / "data" / "mine").made["short_side"] == 32

    assert data("list") == 0
    assert f"{tmp_path}/data/mine (by {tmp_path}/config/data.toml)" in capsys.readouterr().out

    assert data("verify", "mine", "--workers", "1") == 0
    said = capsys.readouterr()
    assert said.out == "" and "4 videos, 0 problems, listed in" in said.err


def test_findings_are_printed_and_counted_by_the_exit_status(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare_own("--keep-videos") == 0
    (videos / "run" / "1.mp4").unlink()
    capsys.readouterr()
    assert data("verify", "mine", "--quick", "--workers", "1") == 1
    said = capsys.readouterr()
    assert f": run/1.mp4: missing: there is no {videos}/run/1.mp4\n" in said.out
    assert f"1 problems, listed in {tmp_path}/data/mine/bad.csv" in said.err
    assert len((tmp_path / "data" / "mine" / "bad.csv").read_text().splitlines()) == 2


def test_a_quick_verification_shows_what_a_full_one_found_until_it_is_mended(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare_own("--short-side", "32") == 0
    (tmp_path / "data/mine/frames/run/1.mp4/00002.jpg").write_bytes(b"")
    verify = ["verify", "mine", "--workers", "1"]
    assert data(*verify) == 1 and "--quick" not in capsys.readouterr().out
    assert data(*verify, "--quick") == 1
    assert "00002.jpg is empty (found by an earlier verification; --quick decodes" in capsys.readouterr().out
    assert prepare_own("--short-side", "32") == 0
    assert data(*verify, "--quick") == 0 and data(*verify) == 0


def test_the_variable_says_where_data_sets_go(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AFNET_BENCH_DATA", str(tmp_path / "above"))
    assert prepare_own("--keep-videos") == 0
    assert read_prepared(tmp_path / "above" / "mine").name == "mine"
    assert not (tmp_path / "config").exists()
    capsys.readouterr()
    said = mistake(capsys, "prepare", "mine", "--from-folder", "videos", "--out", "elsewhere")
    assert "which $AFNET_BENCH_DATA puts before one in elsewhere" in said and not (tmp_path / "elsewhere").exists()


def test_a_broken_video_stops_or_is_left_out_and_named(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (videos / "run" / "3.mp4").write_bytes(b"")
    assert prepare_own() == 2
    said = capsys.readouterr().err
    assert "video 'run/3.mp4' cannot be used: videos/run/3.mp4 cannot be read" in said and "Traceback" not in said
    assert prepare_own("--on-bad", "skip") == 0
    assert "left out: run/3.mp4: videos/run/3.mp4 cannot be read" in capsys.readouterr().err


def test_many_videos_that_are_left_out_are_named_in_a_file(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10, 22):
        (videos / "run" / f"{number}.mp4").write_bytes(b"")
    assert prepare_own("--keep-videos", "--on-bad", "skip") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
    assert [line.split(":")[1] for line in lines[:10]] == [f" run/{number}.mp4" for number in range(10, 20)]
    assert lines[10:] == ["left out: and 2 more; all are in data/mine/dataset.json, under left_out"]
    assert len(read_prepared(tmp_path / "data" / "mine").made["left_out"]) == 12


def test_videos_of_another_folder_are_another_data_set(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("jump/1", "jump/2", "sit/1", "sit/2"):
        write_video(tmp_path / "others" / f"{name}.mp4", numbered(6, KINDS["h264"]))
    assert prepare_own() == 0
    capsys.readouterr()
    assert data("prepare", "mine", "--from-folder", "others", "--val-share", "0.5", "--workers", "1") == 2
    said = capsys.readouterr().err
    assert f"with source '{videos}', but this one wants source '{tmp_path}/others'" in said
    assert "--out; or remove data/mine." in said and f"once {videos} is gone" in said
    assert read_prepared(tmp_path / "data" / "mine").classes == ("run", "walk")


@pytest.mark.parametrize(("sizes", "bewares"), [((2, 4, 4), False), ((5, 5), True)])
def test_a_share_that_groups_cannot_give_is_said(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sizes: tuple[int, ...], bewares: bool
) -> None:
    groups = [name for name, size in enumerate(sizes) for _ in range(size)]
    rows = [f"{number}.mp4,{'run' if number % 2 else 'walk'},p{group}" for number, group in enumerate(groups)]
    for number in range(len(rows)):
        shutil.copy(videos / "run" / "1.mp4", videos / f"{number}.mp4")
    (tmp_path / "table.csv").write_text("\n".join(["path,label,group", *rows]) + "\n")
    options = ["--table", "table.csv", "--split-by", "group", "--keep-videos", "--workers", "1"]
    assert data("prepare", "mine", "--from-folder", "videos", *options) == 0
    text = "beware: 5 of 10 videos validate, 50% where --val-share is 0.2, since groups stay whole"
    assert (text in capsys.readouterr().err) == bewares


def test_videos_as_short_as_a_clip_are_said(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_own("--keep-videos") == 0
    assert "beware: 4 videos have no more than 8 frames, the fewest 6: a clip" in capsys.readouterr().err
    for path in videos.rglob("*.mp4"):
        write_video(path, numbered(9, KINDS["h264"]))
    assert prepare_own("--keep-videos") == 0
    assert "no more than" not in capsys.readouterr().err


def test_classes_that_nothing_trains_are_said(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["run/1.mp4,run,train", "run/2.mp4,run,val", "walk/1.mp4,walk,val"]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    table = ["--from-folder", "videos", "--table", "table.csv"]
    assert data("prepare", "mine", *table, "--keep-videos", "--workers", "1") == 0
    assert "beware: classes without a training video: 1 of 2, as 'walk'" in capsys.readouterr().err


def test_classes_that_are_never_trained_as_since_others_come_first_are_said(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["run/1.mp4,run|outdoors,train", "walk/1.mp4,walk,train", "run/2.mp4,run|outdoors,val"]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    table = ["--from-folder", "videos", "--table", "table.csv"]
    assert data("prepare", "mine", *table, "--keep-videos", "--workers", "1") == 0
    said = capsys.readouterr().err
    assert "trained as the first of its labels, which 1 of 3 classes never are, as 'outdoors': --set data." in said
    assert "without a training video" not in said


def test_a_damaged_description_is_listed_as_such(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_own("--keep-videos")
    (tmp_path / "data" / "mine" / "dataset.json").write_text("[/]")
    capsys.readouterr()
    assert data("list") == 0
    assert "dataset.json is not a description of a data set" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "mine"], ["mine is to be made of nothing", "--from-folder DIR", "--lists TRAIN VAL"]),
        (["prepare", "mine", "--from-folder", "nowhere"], ["There is no folder nowhere"]),
        (["prepare", "Mine", "--from-folder", "videos"], ["cannot be called 'Mine'"]),
        (["prepare", "jester", "--from-folder", "videos"], ["cannot be called 'jester'"]),
        (
            ["prepare", "jester", "--from-folder", "videos", "--annotations", "a", "--media", "b"],
            ["made of --from-folder and --annotations; expected one of"],
        ),
        (["prepare", "jester", "--annotations", "nowhere"], ["--annotations needs --media too"]),
        (["prepare", "jestr", "--annotations", "a", "--media", "b"], ["Unknown data set 'jestr'", "jester"]),
        (
            ["prepare", "jester", "--annotations", "nowhere", "--media", "b"],
            ["There is no folder nowhere", "jester-v1"],
        ),
        (["prepare", "mine", "--lists", "a", "b", "--media", "c"], ["--lists needs --classes too"]),
        (
            ["prepare", "mine", "--lists", "a", "b", "--media", "c", "--classes", "nowhere.txt"],
            ["There is no nowhere.txt"],
        ),
        (
            ["prepare", "mine", "--media", "c", "--classes", "d", "--lists", "a.txt"],
            ["--lists has a.txt; expected two files, that of training and that of validation"],
        ),
        (
            ["prepare", "mine", "--from-folder", "videos", "--media", "c", "--template", "{:05d}.jpg"],
            ["--media, --template has no use with --from-folder"],
        ),
        (
            ["prepare", "mine", "--lists", "a", "b", "--media", "c", "--classes", "d", "--keep-videos", "--seed", "1"],
            ["--keep-videos, --seed has no use with --lists"],
        ),
        (
            ["prepare", "mine", "--from-folder", "clips", "--keep-videos", "--short-side", "80", "--rate", "2"],
            ["--rate, --short-side has no use with --keep-videos"],
        ),
        (["prepare", "mine", "--from-folder", "videos", "--quality", "101"], ["--quality is 101", "at most 100"]),
        (["prepare", "mine", "--from-folder", "videos", "--val-share", "1"], ["--val-share is 1.0", "below 1"]),
        (["prepare", "mine", "--from-folder", "videos", "--workers", "-1"], ["--workers is -1"]),
        (["prepare", "mine", "--from-folder", "videos", "--leave-out", "anna"], ["4 of 4 videos have no group"]),
        (["prepare", "mine", "--from-folder", "videos", "--table", "no.csv"], ["no.csv cannot be read"]),
        (["prepare", "mine", "--from-folder", "videos", "--flip", "swap"], ["no two classes differ by left and right"]),
        (["prepare", "mine", "--from-folder", "videos", "--out", "videos/run/1.mp4"], ["cannot be written to"]),
        (["verify", "mine"], ["Unknown data set 'mine'", "$AFNET_BENCH_DATA (not set)"]),
        (["verify", "jester"], ["'jester' is not prepared on this machine"]),
        (["verify", "digits-in-motion"], ["digits-in-motion is generated"]),
    ],
)
def test_a_mistake_gets_a_paragraph_and_status_two(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    said = mistake(capsys, *arguments)
    assert all(word in said for word in words), said
    assert {path.name for path in tmp_path.iterdir()} == {"videos"}


@pytest.mark.parametrize("arguments", [["make"], ["prepare"], ["prepare", "mine", "--from-folder"], ["verify"]])
def test_words_that_do_not_parse_get_status_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert data(*arguments) == 2 and "Traceback" not in capsys.readouterr().err


def test_lists_are_taken_over_where_their_frames_are(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_own()
    root = tmp_path / "data" / "mine"
    (tmp_path / "classes.txt").write_text("run\nwalk\n")
    lists = ["--lists", str(root / "train.txt"), str(root / "val.txt"), "--classes", "classes.txt"]
    assert data("prepare", "yours", *lists, "--media", str(root / "frames"), "--workers", "1") == 0
    mine, yours = read_prepared(root), read_prepared(tmp_path / "data" / "yours")
    assert mine.digests == yours.digests and yours.media == root / "frames"
    capsys.readouterr()
    again = ["--media", str(root / "frames"), "--out", str(root)]
    assert f"{root} holds a preparation with" in mistake(capsys, "prepare", "mine", *lists, *again)


def test_a_damaged_configuration_is_named_before_any_work(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "data.toml").write_text("mine = \n")
    for arguments in (["list"], ["verify", "mine"], ["prepare", "mine", "--from-folder", "videos"]):
        assert "data.toml cannot be read" in mistake(capsys, *arguments)
    assert not (tmp_path / "data").exists()
