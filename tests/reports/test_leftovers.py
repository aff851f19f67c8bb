"""A report removes what an earlier one wrote and nothing else."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files import write_text
from bench.record import result_files
from reports.leftovers import LIST, OURS, replacing_report
from reports.site import write_site


@pytest.fixture(scope="module")
def site(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    write_site([runs], out)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_report_leaves_what_a_first_one_of_its_records_would(runs: Path, tmp_path: Path) -> None:
    fewer, out = tmp_path / "runs", tmp_path / "out"
    shutil.copytree(runs, fewer)
    write_site([fewer], out)
    own = {
        "notes.html": b"mine",
        "points/mine.html": b"mine",
        "digits-in-motion/mine.png": b"mine",
        "mine/a.csv": b"mine",
    }
    for name, content in own.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(content)
    gone = next(path for path in result_files(fewer) if "/afnet/" in str(path)).parent
    shutil.rmtree(gone)
    write_site([fewer], out)
    assert not (out / "points" / f"{gone.name}.html").exists()
    write_site([fewer], tmp_path / "new")
    assert files(out) == files(tmp_path / "new") | own
    listed = (out / LIST).read_text().splitlines()
    assert listed == sorted(files(tmp_path / "new"))
    write_site([fewer], out)
    assert files(out) == files(tmp_path / "new") | own, "a third one neither"


USERS = ("../index.html", "a/b/saving.png", "kept.py", ".index.html", "linked/saving.png", "README.md", "src/a.js")


@pytest.mark.parametrize("name", [*USERS, "/index.html"])
def test_a_list_from_a_stranger_removes_nothing_else(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    for folder in ("assets", "a/b", "src"):
        (out / folder).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (out / "linked").symlink_to(tmp_path / "elsewhere")
    for place in USERS:
        (out / place).write_text("a user's")
    (out / LIST).write_text(f"{name}\n")
    before = files(tmp_path)
    with replacing_report(out, []):
        pass
    assert files(tmp_path) | {f"out/{LIST}": b""} == before | {f"out/{LIST}": b""}


def test_all_that_a_report_writes_may_be_removed(site: Path) -> None:
    names = (site / LIST).read_text().splitlines()
    assert names == sorted(files(site)) and [name for name in names if not OURS.fullmatch(name)] == [LIST]


def test_files_that_come_while_a_report_is_written_are_a_users(tmp_path: Path) -> None:
    with replacing_report(tmp_path, ["a0"]):
        write_text(tmp_path / "index.html", "ours")
        (tmp_path / "definitions.html").write_text("a user's")
    with replacing_report(tmp_path, []):
        write_text(tmp_path / "index.html", "ours")
        write_text(tmp_path / "index.html", "ours, a second time")
    assert (tmp_path / "definitions.html").exists() and (tmp_path / "index.html").exists()


def test_pages_of_a_report_that_was_killed_are_removed_later(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), replacing_report(tmp_path, ["a0", "b1"]):
        (tmp_path / "points").mkdir()
        write_text(tmp_path / "points" / "a0.html", "ours")
        raise KeyboardInterrupt
    with replacing_report(tmp_path, []):
        pass
    assert not (tmp_path / "points" / "a0.html").exists()


def test_a_list_that_is_no_file_is_said_before_anything_is_written(runs: Path, tmp_path: Path) -> None:
    (tmp_path / LIST).mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read"):
        write_site([runs], tmp_path)
    assert not list(tmp_path.rglob("*.html"))
