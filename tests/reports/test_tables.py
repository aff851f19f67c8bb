"""Tables of points: fixed numbers in every format, seeds in one row, bold only where a value stands out, escaped."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.errors import UserError
from bench.experiment import Data, Evaluation, Experiment, Model, from_dict
from bench.record import result_files
from reports.formats import MOST, Cell, Column, as_csv, as_html, as_markdown, as_tex, escape_markdown, escape_tex
from reports.seeds import merge_seeds, seeds_interval, t_quantile, wilson
from reports.site import write_site
from reports.tables import COLUMNS, best_of, rows_of, shown, write_tables


def record(name: str, label: str, top1: float, **values: Any) -> dict[str, Any]:
    """A row as load_records makes it, of 400 videos."""
    low, high = wilson(top1 / 100, 400)
    row: dict[str, Any] = {"dataset": "digits-in-motion", "method": label, "name": name, "backbone": "tiny"}
    row |= {"frames": 8, "trained_frames": 8, "ratio": None, "keep": None, "patch": None, "seed": 0, "videos": 400}
    row |= {"map": None, "top1": top1, "top1_low": 100 * low, "top1_high": 100 * high, "gflops": 0.03}
    row |= {"kept_ratio": None, "recall": None, "saving_realised": None, "saving_low": None, "saving_high": None}
    row |= {"videos_per_second": 100.0, "videos_per_second_low": 98.0, "videos_per_second_high": 103.0}
    row |= {"latency_p90_ms": 20.0, "joules_per_video": None, "noisy": False, "again": 1.01, "device": "a GPU"}
    row |= {
        "dtype": "float32",
        "warnings": "",
        "point": "8f",
        "experiment_id": hashlib.sha256(label.encode()).hexdigest()[:12],
    }
    return row | values


AFNET = {"ratio": 0.5, "kept_ratio": 0.48, "recall": 0.7, "saving_realised": 0.9, "saving_low": 0.8, "saving_high": 1.0}
RECORDS = pd.DataFrame(
    [
        record("afnet", "AFNet, training.seed 0", 71.0, gflops=0.019, **AFNET, videos_per_second=150.0,
               videos_per_second_low=148.0, videos_per_second_high=152.0, latency_p90_ms=14.0),
        record("tsm", "TSM, training.seed 0", 72.0, videos_per_second=400.0, noisy=True),
        record("tsn", "TSN, training.seed 0", 40.0, latency_p90_ms=14.1),
        record("tsn", "TSN, training.seed 1", 44.0, seed=1, latency_p90_ms=14.1),
        record("tsn", "TSN, training.seed 2", 45.0, seed=2, latency_p90_ms=14.1),
    ]
)  # fmt: skip
HEAD = [
    "Method", "Frames", "Target ratio", "Kept ratio", "Top-1 (%)", "95% over videos (Wilson)", "95% over seeds (t)",
    "Videos", "Seeds", "GFLOPs executed", "Videos/s offline", "Latency p90 (ms)", "A/A", "Saving realised",
    "95% over rounds", "Recall of informative frames",
]  # fmt: skip
# Bold in stars.
BODY = [
    ["AFNet", "8", "0.50", "0.480", "*71.00", "66.37 to 75.23", "-", "400", "1", "*0.0190", "*150.0", "*14.00", "1.010",
     "0.90", "0.80 to 1.00", "0.700"],
    ["TSM", "8", "-", "-", "*72.00", "67.41 to 76.17", "-", "400", "1", "0.0300", "400.0 (noisy)", "20.00 (noisy)",
     "1.010", "-", "-", "-"],
    ["TSN", "8", "-", "-", "43.00", "38.24 to 47.90", "36.43 to 49.57", "400", "3", "0.0300", "100.0", "*14.10",
     "1.010", "-", "-", "-"],
]  # fmt: skip


def experiment() -> Experiment:
    return Experiment(model=Model("tsn", "tiny", 8))


def several_views() -> Experiment:
    """Of a data set on disk, which need not be there where it is resolved already."""
    data = Data("jester", train_clips=100, val_clips=400, classes=27, fingerprint="0" * 12)
    return Experiment(data=data, model=Model("tsn", "tiny", 8), evaluation=Evaluation(clips=2, crops=3))


def written(folder: Path, table: pd.DataFrame = RECORDS, title: str = "Digits") -> dict[str, str]:
    """Every file of a table by suffix; records.csv as "records"."""
    write_tables(table, folder, title, dict.fromkeys(table["experiment_id"], experiment()))
    files = {path.suffix[1:]: path.read_text() for path in folder.glob("points.*")}
    return files | {"records": (folder / "records.csv").read_text()}


class Table(HTMLParser):
    """Rows of cells, bold ones in stars."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.caption = ""
        self.inside: list[str] = []
        self.feed(text)
        self.close()
        assert self.inside == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "strong":
            self.rows[-1][-1] += "*"

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if "caption" in self.inside:
            self.caption += data
        elif {"td", "th"} & set(self.inside):
            self.rows[-1][-1] += data


def of_markdown(text: str) -> list[list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[re.sub(r"^\*\*(.*)\*\*$", r"*\1", cell) for cell in line] for line in (lines[0], *lines[2:])]


def of_tex(text: str) -> list[list[str]]:
    lines = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.endswith(r" \\")]
    plain = [[re.sub(r"^\\textbf\{(.*?)\}", r"*\1", cell) for cell in line] for line in lines]
    small = [[re.sub(r" \{\\scriptsize (.*)\}", r" [\1]", cell) for cell in line] for line in plain]
    return [[cell.replace(r"\%", "%").replace(r"\textsuperscript{n}", "^n") for cell in line] for line in small]


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "read"), [("html", lambda t: Table(t).rows), ("md", of_markdown)])
def test_fixed_records_give_fixed_cells_in_every_format(tmp_path: Path, suffix: str, read: Any) -> None:
    assert read(written(tmp_path)[suffix]) == [HEAD, *BODY]


def test_tex_has_what_a_paper_has_room_for(tmp_path: Path) -> None:
    text = written(tmp_path)["tex"]
    assert of_tex(text) == [
        ["Method", "Frames", "Target", "Kept", "Top-1 (%)", "Seeds", "GFLOPs", "Videos/s", "p90 (ms)", "Saving"],
        ["AFNet", "8", "0.50", "0.480", "*71.00 [66.37 to 75.23]", "1", "*0.0190", "*150.0", "*14.00",
         "0.90 [0.80 to 1.00]"],
        ["TSM", "8", "-", "-", "*72.00 [67.41 to 76.17]", "1", "0.0300", "400.0^n", "20.00^n", "-"],
        ["TSN", "8", "-", "-", "43.00 [36.43 to 49.57]", "3", "0.0300", "100.0", "*14.10", "-"],
    ]  # fmt: skip
    assert "Kept: kept ratio; GFLOPs: GFLOPs executed;" in text and r"\textsuperscript{n}: noisy.}" in text
    assert r"Top-1 (\%), small: 95\% over seeds (t), else 95\% over videos (Wilson)" in text
    assert r"Saving, small: 95\% over rounds" in text


def test_tables_are_no_longer_than_their_readers_can_use(tmp_path: Path) -> None:
    count = MOST["html"] + 1
    points = pd.DataFrame([record("tsn", f"TSN {number}", 99 * number / count) for number in range(count)])
    files = written(tmp_path, points)
    assert len(files["csv"].splitlines()) == 1 + count and len(of_markdown(files["md"])) == 1 + count
    rows, table = of_tex(files["tex"])[1:], Table(files["html"])
    best = [f"TSN {number}" for number in range(count - MOST["tex"], count)]
    assert [row[0] for row in rows] == best, "the most accurate, in their order"
    assert [row[0] for row in table.rows[1:]] == [f"TSN {number}" for number in range(1, count)]
    assert f"The {MOST['html']} most accurate of {count} rows, all of which are in points.csv." in table.caption
    assert f"The {MOST['tex']} most accurate of {count} rows, all of which are in points.csv." in files["tex"]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="LaTeX is not installed")
def test_latex_makes_the_table_and_hardly_shrinks_it(tmp_path: Path) -> None:
    (tmp_path / "points.tex").write_text(written(tmp_path)["tex"])
    measured = r"\let\make=\resizebox\def\resizebox#1#2#3{\sbox0{#3}\typeout{WIDTH \the\wd0}\make{#1}{#2}{#3}}"
    packages = r"\usepackage{array}\usepackage{booktabs}\usepackage{graphicx}\usepackage[T1]{fontenc}"
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass[twocolumn]{{article}}{packages}{measured}\begin{{document}}\input{{points}}\end{{document}}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout
    assert float(re.findall(r"WIDTH ([\d.]+)pt", done.stdout)[0]) < 1.2 * 500, "points of a page of two columns"


def test_the_csv_has_every_digit_of_the_same_rows(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(written(tmp_path)["csv"])))
    assert [row["method"] for row in rows] == ["AFNet", "TSM", "TSN"]
    assert [float(row["top1"]) for row in rows] == [71.0, 72.0, 43.0]
    assert float(rows[0]["top1_low"]) == RECORDS["top1_low"][0]
    assert (rows[2]["seeds"], rows[2]["seed"]) == ("3", "0 1 2")
    ends = [float(rows[2][f"top1_seeds_{end}"]) for end in ("low", "high")]
    assert ends == pytest.approx([43 - 4.30265 * (7 / 3) ** 0.5, 43 + 4.30265 * (7 / 3) ** 0.5])


def test_records_stay_to_be_read_one_by_one(tmp_path: Path) -> None:
    read = pd.read_csv(io.StringIO(written(tmp_path)["records"]))
    assert read["top1"].tolist() == RECORDS["top1"].tolist() and read["method"].tolist() == RECORDS["method"].tolist()


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert written(tmp_path / "a") == written(tmp_path / "b")


def test_the_caption_says_what_numbers_are(tmp_path: Path) -> None:
    caption = Table(written(tmp_path)["html"]).caption
    for part in (
        "Digits, 400 validation videos.",
        "Top-1 with its 95% interval over these videos (Wilson).",
        "Rows of several seeds of training are means over them, with the 95% interval over seeds (Student's t).",
        "GFLOPs are 1e9 multiply-adds of a video, executed, in all its views (1 clip x 1 crop of 64 x 64 pixels).",
        "Timed on a GPU.",
        "Bold: the best of a column",
        "Noisy times rank nothing.",
    ):
        assert part in caption


def test_the_caption_counts_clips_and_crops_of_these_records_alone(tmp_path: Path) -> None:
    table = RECORDS[:1]
    others = {"another": experiment(), table["experiment_id"][0]: several_views()}
    caption = Table(write_tables(table, tmp_path, "Digits", others)).caption
    assert "(2 clips x 3 crops of 64 x 64 pixels)" in caption and "One seed of training each (0)." in caption


# Seeds ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 12.7062), (2, 4.30265), (10, 2.22814), (11, 2.20099), (20, 2.08596), (100, 1.98397)]
)
def test_quantiles_are_students(freedom: int, value: float) -> None:
    assert t_quantile(freedom) == pytest.approx(value, abs=2e-5)


def test_the_interval_over_seeds_by_hand() -> None:
    """Mean 2, standard deviation 1 over three seeds."""
    assert seeds_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5))


def test_an_interval_over_seeds_covers_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(50, 3, (4000, 3))
    covered = [low <= 50 <= high for low, high in (seeds_interval(list(draw)) for draw in draws)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


def test_only_points_that_differ_in_the_seed_of_training_alone_are_one_row() -> None:
    rows = [
        record("tsn", "TSN, data.seed 0, training.seed 0", 40.0),
        record("tsn", "TSN, data.seed 1, training.seed 1", 41.0, seed=1),
        record("tsn", "TSN, data.seed 0, training.seed 1", 42.0, seed=1),
        record("tsn", "TSN, data.seed 0, training.seed 10", 44.0, seed=10),
        record("tsn", "TSN, data.seed 0, training.seed 10", 46.0, seed=10, trained_frames=4),
        record("tsn", "TSN, data.seed 0, training.seed 1", 46.0, seed=1, frames=4),
    ]
    merged = merge_seeds(pd.DataFrame(rows))
    assert merged["method"].tolist() == ["TSN, data.seed 0", "TSN, data.seed 1", "TSN, data.seed 0", "TSN, data.seed 0"]
    assert merged["seeds"].tolist() == [3, 1, 1, 1] and merged["top1"][0] == 42.0


def test_records_of_two_seeds_are_one_row_of_the_page(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    path = next(path for path in result_files(tmp_path / "runs") if "/tsm/" in str(path))
    values = json.loads(path.read_text())
    values["experiment"]["training"]["seed"] = 7
    values["metrics"]["top1"] = 100 - values["metrics"]["top1"]
    other = from_dict(values["experiment"], "test")
    values |= {"training_id": other.training_id, "experiment_id": other.experiment_id}
    again = tmp_path / "runs" / "again" / "points" / "x"
    shutil.copytree(path.parent, again)
    (again / "result.json").write_text(json.dumps(values))
    page = write_site([tmp_path / "runs"], tmp_path / "site")
    head, *rows = Table((page.parent / "digits-in-motion" / "points.html").read_text()).rows
    assert [row[0] for row in rows] == ["AFNet", "TSM", "TSN", "TSN"]
    assert [row[head.index("Seeds")] for row in rows] == ["1", "2", "1", "1"]
    assert rows[1][head.index("Top-1 (%)")].removeprefix("*") == "50.00"
    assert "<strong>" in (page.parent / "data-digits-in-motion.html").read_text()


def test_rows_of_one_label_and_seed_are_kept_apart() -> None:
    merged = merge_seeds(pd.DataFrame([record("tsn", "TSN", 40.0), record("tsn", "TSN", 44.0)]))
    assert merged["top1"].tolist() == [40.0, 44.0] and merged["seeds"].tolist() == [1, 1]


def seeds(*changes: dict[str, Any]) -> dict[str, Any]:
    rows = [record("tsn", f"TSN, training.seed {n}", 50.0, seed=n, **values) for n, values in enumerate(changes)]
    (row,) = merge_seeds(pd.DataFrame(rows)).to_dict("records")
    return dict(row)


def test_what_seeds_do_not_share_is_put_together() -> None:
    row = seeds(
        {"noisy": True, "again": 1.02, "videos_per_second_low": 90.0, "warnings": "a"},
        {"again": 0.9, "videos_per_second_high": 110.0, "warnings": "b"},
    )
    assert row["noisy"] and row["again"] == 0.9 and row["warnings"] == "a; b"
    assert (row["videos_per_second_low"], row["videos_per_second_high"]) == (90.0, 110.0)


def test_times_of_several_devices_have_no_mean() -> None:
    row = seeds({"device": "one"}, {"device": "another"})
    assert row["device"] == "one; another" and row["top1"] == 50.0
    assert row["videos_per_second"] is None and row["latency_p90_ms"] is None


def test_a_number_that_a_seed_lacks_is_missing() -> None:
    assert seeds({"joules_per_video": 2.0}, {})["joules_per_video"] is None


# Bold -----------------------------------------------------------------------------------------------------------------

BY_NAME = {column.name: column for column in COLUMNS}


def bold(column: str, *rows: dict[str, Any]) -> list[int]:
    table = pd.DataFrame([record("tsn", f"TSN {n}", **{"top1": 50.0, **row}) for n, row in enumerate(rows)])
    return sorted(best_of(table.assign(seeds=1).to_dict("records"), BY_NAME[column]))


@pytest.mark.parametrize(
    ("values", "positions"),
    # Of 400 videos: 60 is from 55.1 to 64.7, 51 from 46.1 to 55.9, 50 from 45.1 to 54.9.
    [([60.0, 51.0, 50.0], [0, 1]), ([60.0, 60.0, 10.0], [0, 1]), ([90.0, 60.0], [0]), ([60.0], [])],
)
def test_accuracies_whose_intervals_meet_the_best_are_bold(values: list[float], positions: list[int]) -> None:
    assert bold("top1", *({"top1": value} for value in values)) == positions


def test_an_interval_over_seeds_that_reaches_further_counts() -> None:
    rows: list[dict[str, Any]] = [{"top1": 90.0}, {"top1": 60.0}]
    assert bold("top1", *rows) == [0]
    rows[1] |= {"top1_seeds_low": 30.0, "top1_seeds_high": 90.0}
    assert bold("top1", *rows) == [0, 1]


def test_fewest_multiply_adds_are_bold_and_those_that_are_written_the_same() -> None:
    assert bold("gflops", {"gflops": 0.02}, {"gflops": 0.01}, {"gflops": 0.010001}) == [1, 2]


def test_a_noisy_time_is_never_bold() -> None:
    rows = [{"videos_per_second": 500.0, "noisy": True}, {"videos_per_second": 100.0}, {"videos_per_second": 50.0}]
    quartiles = [{"videos_per_second_low": row["videos_per_second"], "videos_per_second_high": row["videos_per_second"]}
                 for row in rows]  # fmt: skip
    assert bold("videos_per_second", *(row | ends for row, ends in zip(rows, quartiles, strict=True))) == [1]
    assert bold("videos_per_second", rows[0], rows[1]) == []


def test_quartiles_that_meet_cannot_be_told_apart() -> None:
    fast = {"videos_per_second": 110.0, "videos_per_second_low": 102.0, "videos_per_second_high": 120.0}
    slow = {"videos_per_second": 90.0, "videos_per_second_low": 80.0, "videos_per_second_high": 95.0}
    assert bold("videos_per_second", {}, fast, slow) == [0, 1]


def test_times_as_near_as_two_runs_of_the_same_are_bold() -> None:
    assert bold("latency_p90_ms", {"latency_p90_ms": 20.3}, {}, {"latency_p90_ms": 21.0}) == [0, 1]


def test_times_are_compared_within_a_device() -> None:
    rows = [{"latency_p90_ms": ms, "device": device} for ms, device in ((1, "a"), (2, "a"), (8, "b"), (9, "b"))]
    assert bold("latency_p90_ms", *rows) == [0, 2]
    assert BY_NAME["device"] in shown(pd.DataFrame(rows)) and BY_NAME["device"] not in shown(pd.DataFrame(rows[:2]))


def test_a_recall_is_told_apart_by_no_less_than_a_share_of_as_many_videos() -> None:
    assert bold("recall", {"recall": 0.7}, {"recall": 0.65}, {"recall": 0.5}) == [0, 1]


def test_oracles_rank_nothing_and_the_caption_says_so(tmp_path: Path) -> None:
    table = pd.concat([RECORDS, pd.DataFrame([record("oracle-frames", "Oracle frames", 100.0)])], ignore_index=True)
    rows = Table(written(tmp_path, table)["html"])
    assert rows.rows[-1][4] == "100.00" and rows.rows[1][4] == "*71.00"
    assert "Neither do oracles, which are told the answer." in rows.caption


# What may be missing --------------------------------------------------------------------------------------------------


def test_a_single_point_is_a_table_without_bold(tmp_path: Path) -> None:
    files = written(tmp_path, RECORDS[1:2].assign(method="TSM"))
    ((head, row), caption) = (lambda table: (table.rows, table.caption))(Table(files["html"]))
    assert row[head.index("Top-1 (%)")] == "72.00" and "Bold" not in caption
    assert "95% over seeds (t)" not in head and "Energy (J/video)" not in head and "Kept ratio" not in head


def test_columns_may_be_absent_altogether(tmp_path: Path) -> None:
    columns = ["dataset", "method", "frames", "seed", "videos", "top1", "gflops", "experiment_id"]
    files = written(tmp_path, RECORDS[columns])
    assert Table(files["html"]).rows[0] == [
        "Method", "Frames", "Top-1 (%)", "95% over seeds (t)", "Videos", "Seeds", "GFLOPs executed"
    ]  # fmt: skip
    assert "no interval over videos is known" in Table(files["html"]).caption


def test_several_labels_a_video_are_ranked_by_map_and_top1_is_in_the_csv(tmp_path: Path) -> None:
    table = RECORDS.assign(map=[60.0, 61.0, 50.0, 51.0, 52.0])
    files = written(tmp_path, table)
    head, *rows = Table(files["html"]).rows
    assert "mAP (%)" in head and not any(name.startswith("Top-1") for name in head)
    assert [row[head.index("mAP (%)")] for row in rows] == ["60.00", "*61.00", "51.00"]
    assert "mAP; no interval over videos is known." in Table(files["html"]).caption
    assert "top1" in files["csv"].splitlines()[0].split(",")
    known = table.assign(map_low=table["map"] - 3, map_high=table["map"] + 3)
    head, *rows = Table(written(tmp_path, known)["html"]).rows
    assert [row[head.index("mAP (%)")] for row in rows] == ["*60.00", "*61.00", "51.00"]
    assert rows[0][head.index("95% over videos")] == "57.00 to 63.00"


# Escaping -------------------------------------------------------------------------------------------------------------

SPECIALS = "<b>&amp; 50% a_b _c_ {x}\\y~^$#|*`[l](u) 'é' \"ü\" 漢 --"
TABLE: tuple[tuple[Column, ...], list[list[Cell]]] = (
    (Column("a", SPECIALS, paper=SPECIALS),),
    [[Cell(SPECIALS)], [Cell(SPECIALS, True)]],
)


def test_html_reads_back_as_it_was() -> None:
    table = Table(as_html(*TABLE, caption=SPECIALS))
    assert table.rows == [[SPECIALS], [SPECIALS], [f"*{SPECIALS}"]] and table.caption == SPECIALS


def test_tex_holds_no_special_that_would_act() -> None:
    text = escape_tex(SPECIALS)
    assert text == (
        r"\textless{}b\textgreater{}\&amp; 50\% a\_b \_c\_ \{x\}\textbackslash{}y\textasciitilde{}\textasciicircum{}"
        "\\$\\#|*`{[}l](u) 'é' \"ü\" 漢 -{}-"
    )
    left = re.sub(r"\\(?:text\w+\{\}|[&%_{}$#])", "", text.replace("-{}-", "").replace("{[}", ""))
    assert not set(left) & set("&%_{}$#~^\\<>")
    assert as_tex(*TABLE, caption=SPECIALS).count(text) == 4


def test_tex_is_one_balanced_booktabs_table() -> None:
    text = as_tex(*TABLE, caption="x")
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert re.findall(r"\\(\w+rule)", text) == ["toprule", "midrule", "bottomrule"]
    assert re.findall(r"\\(?:begin|end)\{([\w*]+)\}", text) == ["table*", "tabular", "tabular", "table*"]
    assert r"\resizebox{\ifdim\width>\textwidth" in text, "no wider than the page"


def test_control_characters_do_not_reach_tex() -> None:
    assert escape_tex("a\x00b\x1b[31m\u202e") == "ab{[}31m"


def test_markdown_holds_no_special_that_would_act() -> None:
    text = escape_markdown(SPECIALS)
    assert text == r"""\<b\>\&amp; 50% a_b \_c\_ {x}\\y\~^\$\#\|\*\`\[l\](u) 'é' "ü" 漢 --"""
    lines = as_markdown(*TABLE, caption=SPECIALS).splitlines()
    assert lines == [text, "", f"| {text} |", "| --- |", f"| {text} |", f"| **{text}** |"]


@pytest.mark.parametrize("escape", [escape_tex, escape_markdown])
def test_a_name_of_several_lines_is_one(escape: Any) -> None:
    assert escape("a\nb\r\n c") == "a b c"


def test_the_csv_reads_back_as_it_was(tmp_path: Path) -> None:
    label = f'{SPECIALS},\n"x"'
    table = pd.DataFrame([record("tsn", label, 50.0)])
    (row,) = csv.DictReader(io.StringIO(written(tmp_path, table)["csv"], newline=""))
    assert row["method"] == label


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_a_text_of_the_csv_is_no_formula(start: str) -> None:
    text = as_csv(pd.DataFrame({"device": [f"{start}HYPERLINK(1)"], "saving_realised": [-0.5], "keep": [None]}))
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row == {"device": f"'{start}HYPERLINK(1)", "saving_realised": "-0.5", "keep": ""}


# Doors ----------------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_with_the_file_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"records\.csv cannot be written \(No space left on device\)"):
        written(tmp_path, RECORDS[:2])
    monkeypatch.undo()
    assert {path.suffix[1:]: path.read_text() for path in tmp_path.glob("points.*")} == {
        suffix: text for suffix, text in before.items() if suffix != "records"
    }
    assert not list(tmp_path.glob(".*.partial"))


def test_rows_are_as_many_as_points_and_columns() -> None:
    points = merge_seeds(RECORDS)
    columns = shown(points)
    assert [len(row) for row in rows_of(points, columns)] == [len(columns)] * 3
