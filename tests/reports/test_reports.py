"""The report: deterministic, escaped, true to the records."""

from __future__ import annotations

import errno
import hashlib
import html
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bench.errors import UserError
from bench.evaluation import preview_clips
from bench.experiment import Data, Training, from_dict
from bench.metrics import METRICS
from bench.record import read_result, result_files
from bench.run import run_experiment
from bench.samples import read_samples
from bench.savings import saving_realised
from reports.axes import pareto
from reports.filmstrip import BAR, DROPPED, EDGE, GAP, INFORMATIVE, KEPT, RIGHT, TILE, WRONG, _chosen, draw_filmstrip
from reports.findings import findings
from reports.formats import as_html, as_markdown, as_tex
from reports.load import load_records
from reports.site import write_site
from reports.tables import COLUMNS, cells
from tests.bench.data.test_stored import prepared_frames
from tests.conftest import small


@pytest.fixture(scope="module")
def site(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    write_site([runs], out)
    return out


def test_the_report_has_its_pages_figures_tables_and_filmstrips(runs: Path, site: Path) -> None:
    folder = site / "digits-in-motion"
    for figure in ("accuracy-vs-gflops", "accuracy-vs-throughput", "accuracy-vs-latency", "frames"):
        for suffix in ("png", "svg", "pdf"):
            assert (folder / f"{figure}.{suffix}").stat().st_size > 1000
    for suffix in ("html", "csv", "md", "tex"):
        assert (folder / f"points.{suffix}").read_text()
    assert len(list(folder.glob("looked-at-*.png"))) == 1
    names = {path.stem for path in (site / "points").iterdir()}
    assert names == {path.parent.name for path in result_files(runs)}
    for page in ("data-digits-in-motion", "methods", "method-afnet", "question-frames", "definitions", "environment"):
        assert (site / f"{page}.html").is_file()


class Page(HTMLParser):
    """What a reader, a screen reader and a link checker meet."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.alts: list[str | None] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.headings: list[int] = []
        self.titles: list[str] = []
        self.labelled: list[str] = []
        self.inputs = self.labels = 0
        self._inside = ""
        self.language = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._inside = tag
        if values.get("id"):
            assert values["id"] not in self.ids, f"{self.path} has {values['id']} twice"
            self.ids.add(str(values["id"]))
        if tag == "html":
            self.language = str(values.get("lang"))
        if tag == "img":
            self.alts.append(values.get("alt"))
        if tag in ("a", "link") and values.get("href"):
            self.links.append(str(values["href"]))
        if tag in ("script", "img") and values.get("src"):
            self.links.append(str(values["src"]))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if values.get("aria-labelledby"):
            self.labelled.append(str(values["aria-labelledby"]))
        self.inputs += tag in ("input", "select")
        self.labels += tag == "label"

    def handle_data(self, data: str) -> None:
        if self._inside == "title" and data.strip():
            self.titles.append(data)
            self._inside = ""


def pages(site: Path) -> list[Page]:
    return [Page(path) for path in sorted(site.rglob("*.html")) if path.name != "points.html"]


def test_no_link_is_dead_and_none_leaves_the_folder(site: Path) -> None:
    found = {page.path.resolve(): page for page in pages(site)}
    for page in found.values():
        assert page.links
        for link in page.links:
            assert not re.match(r"(?:[a-z]+:)?//", link), link
            if link.startswith("data:"):
                continue
            file, _, place = link.partition("#")
            target = (page.path.parent / file).resolve() if file else page.path.resolve()
            assert target.exists() and site.resolve() in target.parents, f"{page.path}: {link}"
            assert not place or place in found[target].ids, f"{page.path}: {link}"


def test_every_page_can_be_read_aloud(site: Path) -> None:
    titles = []
    for page in pages(site):
        (title,) = page.titles
        titles.append(title)
        assert page.language == "en" and all(page.alts), page.path
        assert page.headings[0] == 1 and page.headings.count(1) == 1, page.path
        steps = [after - before for before, after in itertools.pairwise(page.headings)]
        assert all(step <= 1 for step in steps), f"{page.path} skips a level of headings"
        assert set(page.labelled) <= page.ids and page.inputs == page.labels
    assert "Report - afnet-bench" in titles


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, of two colours #rrggbb or #rgb."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_can_be_told_from_its_ground_in_both_schemes(site: Path) -> None:
    blocks = re.findall(r":root \{([^}]*)\}", (site / "assets" / "site.css").read_text())
    assert len(blocks) == 2
    for block in blocks:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]+)", block))
        for text in ("ink", "soft", "link"):
            for ground in ("paper", "panel"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


def test_pages_are_light(site: Path) -> None:
    for page in pages(site):
        assert page.path.stat().st_size < 2e6
    assert (site / "assets" / "plotly-LICENSE.txt").read_text().startswith("MIT License")


def unpacked(packed: Any, count: int) -> list[Any]:
    """As site.js does."""
    if isinstance(packed, list):
        return packed
    at = packed["at"] if isinstance(packed["at"], list) else [packed["at"]] * count
    return [packed["of"][place] for place in at]


def test_a_chart_has_the_numbers_of_the_records(runs: Path, site: Path) -> None:
    text = (site / "assets" / "points-digits-in-motion.js").read_text()
    assert "<" not in text
    values = json.loads(text[text.index(" = {", 60) + 3 : -2])
    columns = {name: unpacked(packed, values["count"]) for name, packed in values["columns"].items()}
    places = {name: place for place, name in enumerate(columns["experiment_id"])}
    rows = {name: {column: of[place] for column, of in columns.items()} for name, place in places.items()}
    for path in result_files(runs):
        result = read_result(path)
        row = rows[result.values["experiment_id"]]
        assert row["value"] == pytest.approx(result.metrics["top1"], rel=1e-5)
        assert row["gflops"] == pytest.approx(result.metrics["macs"] / 1e9, rel=1e-5)
        place, fields = places[result.values["experiment_id"]], values["fields"]
        told = {(of["part"], of["name"]): unpacked(of["texts"], values["count"])[place] for of in fields}
        assert told["training", "batch"] == str(result.experiment.training.batch)
        assert told["model", "ratio"] == (None if result.experiment.model.method != "afnet" else "0.5")
    methods = {row["method"] for row in rows.values()}
    assert set(values["looks"]) == methods
    for method in methods:
        own = [row for row in rows.values() if row["method"] == method]
        flags = pareto([row["gflops"] for row in own], [row["value"] for row in own])
        assert [("gflops" in row["unbeaten"]) for row in own] == flags


def test_the_pages_define_every_metric_with_its_unit(site: Path) -> None:
    page = html.unescape((site / "definitions.html").read_text())
    for name, metric in METRICS.items():
        assert f"<dt>{name} ({metric.unit})</dt><dd>{metric.description}</dd>" in page


def test_the_same_records_give_the_same_bytes(runs: Path, site: Path, tmp_path: Path) -> None:
    write_site([runs], tmp_path)
    for path in site.rglob("*"):
        if path.is_file():
            again = tmp_path / path.relative_to(site)
            assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest(), path.name


@pytest.mark.slow
def test_another_process_in_another_place_gives_the_same_bytes(runs: Path, site: Path, tmp_path: Path) -> None:
    """With another hash seed, time zone, locale and working directory, and records in another order of folders."""
    for name, methods in (("z", ("tsm", "tsn")), ("a", ("afnet",))):
        for method in methods:
            shutil.copytree(runs / "digits-in-motion" / method, tmp_path / name / "digits-in-motion" / method)
        for names in (runs / "digits-in-motion").glob("names-*.json"):
            shutil.copy(names, tmp_path / name / "digits-in-motion")
    code = (
        "from pathlib import Path; from reports.site import write_site; write_site([Path('z'), Path('a')], Path('out'))"
    )
    other = {"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=os.environ | other)
    files = {path.relative_to(site) for path in site.rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for path in files:
        assert (site / path).read_bytes() == (tmp_path / "out" / path).read_bytes(), path


def test_the_page_of_a_record_says_that_its_attempt_wrote_it(runs: Path, site: Path) -> None:
    for path in result_files(runs):
        page = (site / "points" / f"{path.parent.name}.html").read_text()
        assert "wrote this record" in page and "was killed" not in page


def test_the_table_is_the_records(runs: Path, site: Path) -> None:
    table = pd.read_csv(site / "digits-in-motion" / "points.csv").set_index("experiment_id")
    for path in result_files(runs):
        values = json.loads(path.read_text())
        row = table.loc[values["experiment_id"]]
        assert row["top1"] == values["metrics"]["top1"]
        assert row["gflops"] == values["metrics"]["macs"] / 1e9


def test_a_damaged_record_stops_or_is_left_out_and_said(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    bad = result_files(tmp_path / "runs")[0]
    bad.write_text(bad.read_text()[:50])
    with pytest.raises(UserError, match="not a complete record"):
        write_site([tmp_path / "runs"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_site([tmp_path / "runs"], tmp_path / "out", on_bad="skip")
    assert "1 damaged record was left out" in (tmp_path / "out" / "index.html").read_text()
    assert "not a complete record" in (tmp_path / "out" / "environment.html").read_text()


@pytest.mark.parametrize(("method", "name"), [("tsn", "samples.parquet"), ("afnet", "clips.jpg")])
def test_a_record_with_a_damaged_file_stops_before_anything_is_written_or_is_left_out(
    runs: Path, tmp_path: Path, method: str, name: str
) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    bad = next(path for path in result_files(tmp_path / "runs") if f"/{method}/" in str(path)).with_name(name)
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    out = tmp_path / "out"
    write_site([runs], out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for path in before:
        path.write_bytes(b"old")
    with pytest.raises(UserError, match=rf"{re.escape(str(bad))} is not a readable"):
        write_site([tmp_path / "runs"], out)
    assert all(path.read_bytes() == b"old" for path in before)
    write_site([tmp_path / "runs"], out, on_bad="skip")
    page = (out / "index.html").read_text()
    assert "1 damaged record was left out" in page and "3 records on" in page
    assert str(bad) in (out / "environment.html").read_text()


@pytest.mark.parametrize(("width", "height"), [(3, 3), (256, 65), (130, 64)])
def test_a_sheet_of_other_pictures_is_refused(runs: Path, tmp_path: Path, width: int, height: int) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    bad = next(path for path in result_files(tmp_path / "runs") if "/afnet/" in str(path)).with_name("clips.jpg")
    Image.new("RGB", (width, height)).save(bad)
    with pytest.raises(UserError, match="expected a sheet of square pictures"):
        write_site([tmp_path / "runs"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_samples_of_another_layout_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.parquet"
    table = pa.table({"informative": [[True], [True, False]]}).replace_schema_metadata(
        {"blocks": "0", "cell_maps": "[]"}
    )
    pq.write_table(table, path)
    with pytest.raises(UserError, match="informative is of type"):
        read_samples(path)


@pytest.mark.parametrize(
    ("blocks", "maps"),
    [("-1", "[]"), ('"x"', "[]"), ("2", "3"), ("2", '{"a": 1}'), ("2", "[[7, 4, 4]]"), ("2", "[[0.5, 4, 4]]"),
     ("2", "[[1, 4, 4], [0, 4, 4]]"), ("2", "[[0, 4]]"), ("2", "{"), ("2", "[0]")],
)  # fmt: skip
def test_samples_whose_metadata_cannot_be_are_refused(runs: Path, tmp_path: Path, blocks: str, maps: str) -> None:
    path = next(path for path in result_files(runs) if "/afnet/" in str(path)).with_name("samples.parquet")
    table = pq.read_table(path).replace_schema_metadata({"blocks": blocks, "cell_maps": maps})
    pq.write_table(table, tmp_path / "samples.parquet")
    with pytest.raises(UserError, match="not a readable file of samples"):
        read_samples(tmp_path / "samples.parquet")


@pytest.mark.parametrize("place", ["out", "out/below"])
def test_a_file_in_the_place_of_the_report_is_named_before_records_are_read(tmp_path: Path, place: str) -> None:
    (tmp_path / "out").write_text("kept")
    with pytest.raises(UserError, match="cannot be written"):
        write_site([tmp_path / "nowhere"], tmp_path / place)
    assert (tmp_path / "out").read_text() == "kept"


class Full(io.FileIO):
    """A file of a file system without room."""

    def write(self, of: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_report_that_finds_no_room_says_so_and_is_whole_once_there_is_some(
    runs: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first of its files and at one of the last; the front page is there when all others are."""
    out, really = tmp_path / "out", os.fdopen
    files = {path.relative_to(site): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    for kind in ("assets/*.js", "*/looked-at-*.png"):
        full = sorted(path for path in files if path.match(kind))[0]

        def opened(descriptor: int, mode: str, full: Path = full) -> IO[bytes]:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            found = path.parent == out / full.parent and path.name.startswith(f".{full.name}.")
            return io.BufferedWriter(Full(descriptor, mode)) if found else really(descriptor, mode)

        with monkeypatch.context() as patch, pytest.raises(UserError) as error:
            patch.setattr("os.fdopen", opened)
            write_site([runs], out)
        assert f"{out / full} cannot be written (No space left on device). Expected a folder" in str(error.value)
        assert not list(out.rglob(".*.partial")) and not (out / "index.html").exists()
    write_site([runs], out)
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()} == files


def test_single_results_are_reported_alone(runs: Path) -> None:
    path = result_files(runs)[0]
    (result,) = load_records([path]).results
    assert result.path == path


def again_with(runs: Path, folder: Path, **training: Any) -> list[Path]:
    """TSM's record, and a copy of it as if it were of another training."""
    shutil.copytree(runs, folder / "runs")
    path = next(path for path in result_files(folder / "runs") if "/tsm/" in str(path))
    values = json.loads(path.read_text())
    values["experiment"]["training"] |= training
    other = from_dict(values["experiment"], "test")
    values |= {"training_id": other.training_id, "experiment_id": other.experiment_id}
    again = folder / "again" / "points" / "x"
    shutil.copytree(path.parent, again)
    values["metrics"]["top1"] += 10
    (again / "result.json").write_text(json.dumps(values))
    return [path, again / "result.json"]


def test_variants_of_a_method_are_told_apart_and_what_compares_them_is_withheld(runs: Path, tmp_path: Path) -> None:
    table = load_records(again_with(runs, tmp_path, lr=0.5)).pooled
    assert table["method"].tolist() == ["TSM, training.lr 0.05", "TSM, training.lr 0.5"]
    (sentence,) = findings(table)
    assert sentence.startswith("Withheld") and "TSM" in sentence
    assert not any("Withheld" in sentence for sentence in findings(load_records([runs]).pooled))


def test_seeds_of_a_point_are_one_point_with_the_interval_of_their_mean(runs: Path, tmp_path: Path) -> None:
    records = load_records(again_with(runs, tmp_path, seed=7))
    assert len(records.table) == 2 and len(records.pooled) == 1
    first, second = records.table["top1"]
    (row,) = records.pooled.to_dict("records")
    assert (row["method"], row["seeds"], row["interval"]) == ("TSM", 2, "seeds")
    assert row["value"] == pytest.approx((first + second) / 2) and row["spread"] == [first, second]
    half = 12.7062 * 10 / 2  # Student's t of one degree of freedom, times the mean's standard error
    assert row["value_low"] == pytest.approx(max(row["value"] - half, 0))
    assert row["value_high"] == pytest.approx(min(row["value"] + half, 100))
    page = write_site([path.parents[2] for path in again_with(runs, tmp_path / "b", seed=7)], tmp_path / "out")
    texts = [path.read_text() for path in (page.parent / "points").iterdir()]
    assert sum("Other seeds" in text for text in texts) == 2


def test_two_results_of_one_experiment_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    path = result_files(tmp_path / "runs")[0]
    values = json.loads(path.read_text())
    values["metrics"]["top1"] += 1
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match="different results"):
        load_records([runs, tmp_path / "runs"])


def test_the_same_folder_twice_counts_once(runs: Path) -> None:
    assert len(load_records([runs, runs]).results) == len(load_records([runs]).results)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_records_is_said(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "runs")
    with pytest.raises(UserError, match=r"no folder|No readable record"):
        load_records([tmp_path / "runs"])


def test_pareto_keeps_what_nothing_beats() -> None:
    assert pareto([1, 2, 3, 2, 2], [10, 20, 15, 20, 5]) == [True, True, False, True, False]


def test_saving_realised_is_perfect_when_time_follows_the_multiply_adds() -> None:
    timed = {"dense": {"samples": [2.0] * 5}, "skipped": {"samples": [1.0] * 5}}
    names = ("saving_realised", "saving_low", "saving_high")
    assert saving_realised(timed, 4.0, 2.0) == dict.fromkeys(names, pytest.approx(1.0))
    assert saving_realised(timed, 4.0, 1.0) == dict.fromkeys(names, pytest.approx(1 / 3))
    assert saving_realised(timed, 4.0, 4.0) == dict.fromkeys(names)
    assert saving_realised({"dense": {"samples": [2.0]}}, 4.0, 2.0) == dict.fromkeys(names)


def test_a_drift_of_the_machine_leaves_the_saving_alone() -> None:
    drift = [1.0, 1.5, 3.0, 2.0, 1.2]
    timed = {"dense": {"samples": [2 * d for d in drift]}, "skipped": {"samples": drift}}
    assert saving_realised(timed, 4.0, 2.0)["saving_low"] == pytest.approx(1.0)
    timed["skipped"]["samples"] = [1.0, 2.0, 4.0, 3.0, 1.5]
    values = saving_realised(timed, 4.0, 2.0)
    assert values["saving_low"] < values["saving_realised"] < values["saving_high"]  # type: ignore[operator]


def test_names_with_specials_are_escaped() -> None:
    row = cells({"method": '<b>A & B_1 | 50%</b>"', "frames": 8})
    page = as_html(COLUMNS, [row], "<i>")
    assert "<td>&lt;b&gt;A &amp; B_1 | 50%&lt;/b&gt;&quot;</td>" in page and "<caption>&lt;i&gt;</caption>" in page
    assert r"A \& B\_1 | 50\%" in as_tex(COLUMNS, [row], "x")
    assert r"B_1 \| 50%" in as_markdown(COLUMNS, [row], "x")


def test_findings_are_computed_and_say_when_a_claim_fails() -> None:
    columns: dict[str, Any] = {
        "videos_per_second": 1.0,
        "recall": None,
        "region_recall": None,
        "region_recall_by_chance": None,
        "region_recall_by_position": None,
        "kept_ratio": None,
        "saving_realised": None,
        "noisy": False,
        "warnings": "",
    }
    columns |= {"metric": "top-1", "frames": 8, "ratio": None, "gflops": 0.1, "point": "8f"}
    rows = [
        {
            "name": "tsn",
            "method": "TSN",
            "title": "TSN",
            "value": 50.0,
            "value_low": 46.0,
            "value_high": 54.0,
            **columns,
        },
        {
            "name": "tsm",
            "method": "TSM",
            "title": "TSM",
            "value": 40.0,
            "value_low": 36.0,
            "value_high": 44.0,
            **columns,
        },
    ]
    (sentence,) = findings(pd.DataFrame(rows))
    assert "loses to TSN" in sentence and "40.0% against 50.0%" in sentence
    ends = {"value_low": 30.0, "value_high": 60.0}
    (sentence,) = findings(pd.DataFrame([rows[0], {**rows[1], **ends}]))
    assert "ties TSN" in sentence, "two intervals that overlap tell nothing apart"


def test_filmstrip_marks_what_the_samples_say(runs: Path) -> None:
    path = next(path for path in result_files(runs) if "/afnet/" in str(path))
    samples, result = read_samples(path.with_name("samples.parquet")), read_result(path)
    strip = draw_filmstrip(result, read_samples(result.path.with_name("samples.parquet")))
    assert samples.kept is not None and strip is not None
    picture = Image.open(io.BytesIO(strip.png))
    blocks, rights = samples.kept.shape[1], samples.correct()
    assert samples.regions.any() and "where what carries the label is" in strip.description
    row = TILE + 4 + blocks * BAR + GAP
    assert len(strip.clips) == picture.height // row == 4
    for number, said in enumerate(strip.clips):
        clip = next(clip for clip, video in enumerate(samples.video) if said.startswith(f"val/{video}, "))
        true, taken = (result.names["classes"][int(of)] for of in (samples.label[clip], samples.logits[clip].argmax()))
        answer = "right" if rights[clip] else f"wrong, taken for {taken}"
        assert said == f"val/{samples.video[clip]}, {true}: {answer}."
        assert picture.getpixel((2, number * row + TILE)) == (RIGHT if rights[clip] else WRONG)
        for t in np.flatnonzero(samples.informative[clip]).tolist():
            left, top = (TILE * samples.regions[clip, t, :2]).round().tolist()
            place = (EDGE + t * (TILE + 2) + left, number * row + top)
            assert picture.getpixel(place) == INFORMATIVE, "the corner of what carries the label"
        for block in range(blocks):
            for t in range(samples.kept.shape[2]):
                y = number * row + TILE + 3 + block * BAR + 2
                colour = picture.getpixel((EDGE + t * (TILE + 2) + TILE // 2, y))
                assert colour == (KEPT if samples.kept[clip, block, t] else DROPPED)


def test_clips_of_both_answers_are_kept_and_shown(runs: Path) -> None:
    """Whichever they are, where there are some; and all of one answer where there is no other."""
    path = next(path for path in result_files(runs) if "/afnet/" in str(path))
    samples, experiment = read_samples(path.with_name("samples.parquet")), read_result(path).experiment
    videos, classes = samples.logits.shape
    for wrong in ([], [5], [0, 1], [3, 4, 5], list(range(videos))):
        logits = np.zeros((videos, classes), np.float32)
        logits[np.arange(videos), (samples.label + np.isin(np.arange(videos), wrong)) % classes] = 1
        answered = replace(samples, logits=logits)
        assert np.flatnonzero(~answered.correct()).tolist() == wrong
        kept = preview_clips(experiment, answered, 4).videos.tolist()
        assert kept[:2] == [0, 1] and kept == sorted(set(kept)) and len(kept) == 4
        shown = [row for _, row in _chosen(answered, kept, 2)]
        assert len(shown) == 2 and len(set(shown) & set(wrong)) == (2 if len(wrong) == videos else min(len(wrong), 1))


def test_of_several_views_the_first_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFNET_BENCH_DATA", str(tmp_path))
    prepared_frames(tmp_path / "gestures")
    point = small("afnet", keep_bias=1.2, zero_init=False)
    evaluation = replace(point.evaluation, clips=2)
    point = replace(point, data=Data("gestures", size=64), training=Training(batch=2), evaluation=evaluation)
    result = run_experiment(point, tmp_path / "runs")
    assert result.values["macs"]["views"] == 2
    strip = draw_filmstrip(result, read_samples(result.path.with_name("samples.parquet")))
    assert strip is not None and "clips of 4 frames" in strip.description
    picture, blocks = Image.open(io.BytesIO(strip.png)), len(result.metrics["kept_ratio_per_block"])
    assert picture.size == (EDGE + 4 * (TILE + 2), len(strip.clips) * (TILE + 4 + blocks * BAR + GAP))
    with Image.open(result.path.with_name("clips.jpg")) as sheet:
        assert sheet.width == 4 * 64


def test_a_learned_sampler_is_held_against_the_best_control_that_costs_no_more() -> None:
    def row(name: str, top1: float, gflops: float) -> dict[str, Any]:
        interval = {"value": top1, "value_low": top1 - 3, "value_high": top1 + 3}
        return {"name": name, "method": name, "point": "4/16f", "gflops": gflops, **interval}

    from reports.findings import samplers

    controls = [row("uniform", 40.0, 0.10), row("random", 60.0, 0.12), row("centre-crop", 99.0, 0.01)]
    for top1, gflops, said in (
        (70.0, 0.1, "beats uniform"),
        (41.0, 0.1, "ties uniform"),
        # Its interval leaves the control out, and that of the control does not leave it out.
        (45.0, 0.1, "ties uniform"),
        (50.0, 0.12, "loses to random"),
    ):
        (sentence,) = [samplers(pd.DataFrame([*controls, row("ocsampler", top1, gflops)]))]
        assert f"ocsampler 4/16f {said} 4/16f ({top1:.1f} against" in sentence and "centre" not in sentence
    assert samplers(pd.DataFrame(controls)) == ""
