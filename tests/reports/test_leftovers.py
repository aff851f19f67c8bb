"""A report removes what an earlier one wrote and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.record import result_files
from reports.leftovers import LIST, Leftovers
from reports.site import write_site


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


@pytest.mark.parametrize(
    "name", ["../outside.html", "/outside.html", "a/b/c.html", "kept.py", ".hidden.html", "linked/x.html"]
)
def test_a_list_from_a_stranger_removes_nothing_else(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    (out / "assets").mkdir(parents=True)
    (out / "a" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (out / "linked").symlink_to(tmp_path / "elsewhere")
    for place in (
        tmp_path / "outside.html",
        out / "a/b/c.html",
        out / "kept.py",
        out / ".hidden.html",
        out / "linked/x.html",
    ):
        place.write_text("a user's")
    (out / LIST).write_text(f"{name}\n")
    before = files(tmp_path)
    Leftovers(out, ["assets"]).remove()
    assert files(tmp_path) | {f"out/{LIST}": b""} == before | {f"out/{LIST}": b""}


def test_a_list_that_is_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / LIST).mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be read"):
        Leftovers(tmp_path, ["assets"])
