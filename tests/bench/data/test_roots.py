"""Where prepared data sets are looked for, and how that is remembered."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bench.data.roots import check_root, config_file, find_root, known_roots, remember_root
from bench.errors import UserError


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data.toml of this test, not yet there; no $AFNET_BENCH_DATA."""
    monkeypatch.setenv("AFNET_BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("AFNET_BENCH_DATA", raising=False)
    return tmp_path / "config" / "data.toml"


@pytest.fixture
def above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$AFNET_BENCH_DATA with a data set `mine` and a folder that is none."""
    folder = tmp_path / "above"
    for name in ("mine", "none"):
        (folder / name).mkdir(parents=True)
    (folder / "mine" / "dataset.json").touch()
    monkeypatch.setenv("AFNET_BENCH_DATA", str(folder))
    return folder


def configure(config: Path, text: str) -> None:
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)


def test_the_configuration_folder_is_that_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_file() == tmp_path / "config" / "data.toml"
    monkeypatch.delenv("AFNET_BENCH_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert config_file() == tmp_path / "xdg" / "afnet-bench" / "data.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert config_file() == tmp_path / "home" / ".config" / "afnet-bench" / "data.toml"


def test_without_configuration_nothing_is_known() -> None:
    assert known_roots() == {}


def test_lines_of_the_configuration_say_where_data_sets_are(config: Path) -> None:
    configure(config, 'jester = "/scratch/jester"  # a comment\n"mine" = "~/videos"\n')
    assert find_root("jester") == Path("/scratch/jester")
    assert find_root("mine") == Path.home() / "videos"


def test_the_variable_comes_before_the_configuration(config: Path, above: Path) -> None:
    configure(config, 'mine = "/scratch/mine"\njester = "/scratch/jester"\n')
    assert known_roots() == {
        "mine": (above / "mine", "$AFNET_BENCH_DATA"),
        "jester": (Path("/scratch/jester"), str(config)),
    }


def test_a_data_set_is_found_below_the_variable_first(config: Path, above: Path) -> None:
    configure(config, 'mine = "/scratch/mine"\njester = "/scratch/jester"\n')
    assert find_root("mine") == above / "mine" and find_root("jester") == Path("/scratch/jester")
    configure(config, 'jester = "/elsewhere"\n')
    assert find_root("jester") == Path("/elsewhere")


@pytest.mark.parametrize("name", ["..", "../above/mine", "mine/.."])
def test_a_path_is_no_data_set(above: Path, name: str) -> None:
    (above.parent / "dataset.json").write_text("{}")
    with pytest.raises(UserError, match="Unknown data set"):
        find_root(name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jester = /scratch\n", 'cannot be read .* expected lines such as my-videos = "/its/folder"'),
        ("jester = 3\n", "has jester = 3; expected a whole path in quotes"),
        ('[jester]\nfolder = "/scratch"\n', "has jester = .*; expected a whole path in quotes"),
        ('jester = "scratch"\n', "has jester = 'scratch'; expected a whole path in quotes, beginning with /"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_damaged_configuration_is_named(config: Path, text: str, words: str) -> None:
    config.parent.mkdir()
    config.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=f"{config} {words}"):
        known_roots()


def test_a_data_set_that_is_not_here_is_told_from_one_that_is_none(config: Path, above: Path) -> None:
    with pytest.raises(
        UserError, match=r"'jester' is not prepared on this machine: of .*there are mine\. `afbench data"
    ):
        find_root("jester", ("jester",))
    with pytest.raises(
        UserError, match=r"Unknown data set 'jestr' in .*Did you mean 'jester'.* Valid choices: jester, mine"
    ):
        find_root("jestr", ("jester",))


def test_a_preparation_that_is_not_finished_is_told_with_its_command(above: Path) -> None:
    (above / "none" / "prepared.jsonl").touch()
    with pytest.raises(
        UserError, match=rf"of 'none' in {above}/none is not finished; `afbench data prepare none \.\.\.` with"
    ):
        find_root("none")


def test_errors_say_where_was_looked(config: Path, above: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=rf"of \$AFNET_BENCH_DATA \({above}\) and {config}"):
        find_root("jester", ("jester",))
    monkeypatch.delenv("AFNET_BENCH_DATA")
    with pytest.raises(UserError, match=r"\$AFNET_BENCH_DATA \(not set\)"):
        find_root("jester", ("jester",))


@pytest.mark.parametrize(
    "name", ["data", 'a "b" c', "back\\slash", "tab\tand\nline", "ü 日本 \U0001f600", "del\x7f", "#'a'"]
)
def test_a_folder_of_any_name_is_remembered(tmp_path: Path, config: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    remember_root("mine", folder)
    remember_root("other", tmp_path)
    assert find_root("mine") == folder and find_root("other") == tmp_path
    assert tomllib.loads(config.read_text()) == {"mine": str(folder), "other": str(tmp_path)}


def test_remembering_changes_one_line(tmp_path: Path, config: Path) -> None:
    configure(config, '# mine\njester = "/scratch/jester"  # kept\nmine = "/old"\n')
    remember_root("mine", tmp_path)
    assert config.read_text() == f'# mine\njester = "/scratch/jester"  # kept\n"mine" = "{tmp_path}"\n'


def test_a_relative_folder_is_remembered_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    remember_root("mine", Path("data/mine"))
    assert find_root("mine") == tmp_path / "data" / "mine"


def test_what_is_found_anyway_is_not_written_down(config: Path, above: Path) -> None:
    remember_root("mine", above / "none" / ".." / "mine")
    assert not config.exists()


def test_a_value_of_several_lines_is_left_for_its_owner(tmp_path: Path, config: Path) -> None:
    text = 'mine = """\n/old"""\n'
    configure(config, text)
    with pytest.raises(UserError, match=r"is whole, but that it holds mine cannot be noted in .*data\.toml"):
        remember_root("mine", tmp_path)
    assert config.read_text() == text


def test_a_configuration_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AFNET_BENCH_CONFIG", str(tmp_path / "file" / "config"))
    monkeypatch.setattr("bench.data.roots._configured", dict)
    with pytest.raises(
        UserError, match=r"cannot be noted in .*data\.toml: .* Set \$AFNET_BENCH_CONFIG to another folder"
    ):
        remember_root("mine", tmp_path)


def test_a_data_set_behind_another_of_its_name_is_refused(tmp_path: Path, above: Path) -> None:
    check_root("mine", above / "mine")
    check_root("other", tmp_path)
    with pytest.raises(
        UserError, match=rf"{above}/mine holds a data set mine, which \$AFNET_BENCH_DATA puts before one in"
    ):
        check_root("mine", tmp_path)
