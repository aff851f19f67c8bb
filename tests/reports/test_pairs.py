"""The page of all pairs: what it concludes, what it reads, and what it says where it reads less."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.record import result_files
from bench.samples import Samples, read_samples
from reports import pairs
from reports.comparison import answers as comparison_answers
from reports.comparison.all_pairs import all_pairs
from reports.load import load_records
from reports.pages import slugs
from reports.pairs import HEADINGS, MATRIX, choose, conclusion, most_methods, pairs_page
from reports.site import write_site
from reports.statistics import ALPHA, REPLICATES, bootstrap_p
from tests.conftest import small
from tests.reports.records import Writer, answers, point

DATA = "digits-in-motion"


def four_methods(write: Writer) -> Writer:
    """TSM and AFNet far ahead of TSN at the same costs, uniform frames at others."""
    for method, share in (("tsn", 0.2), ("tsm", 0.9), ("afnet", 0.9)):
        for frames in (4, 8):
            write(small(method, frames=frames), answers(share, frames + len(method), 300), gmacs=frames)
    write(small("uniform"), answers(0.5, 0, 300), gmacs=100)
    return write


def parts_of(runs: Path) -> list[dict[str, Any]]:
    records = load_records([runs])
    return pairs_page(
        records,
        {name: f"method-{file}.html" for name, file in slugs(list(dict.fromkeys(records.pooled["method"]))).items()},
    )


def rendered(runs: Path) -> str:
    """The page alone: these records have no clips."""
    templates = Environment(loader=PackageLoader("reports"), autoescape=True, undefined=StrictUndefined)
    page = templates.get_template("pairs.html")
    values = {"title": "Pairs", "here": "pairs.html", "root": "", "pages": [], "headings": HEADINGS}
    return page.render(parts_of=parts_of(runs), **values)


def test_the_site_leads_to_the_page(runs: Path, tmp_path: Path) -> None:
    front = write_site([runs], tmp_path)
    page = front.with_name("pairs.html").read_text()
    (lead,) = re.findall(r'<p class="answer">(.*)</p>', page)
    assert lead.startswith("Of 3 pairs of 3 methods") and lead in front.read_text()
    for file in ("index.html", f"data-{DATA}.html"):
        assert f'<a href="pairs.html#on-{DATA}">' in front.with_name(file).read_text()


def row(page: str, a: str, b: str) -> list[str]:
    """The cells of a pair's row."""
    for line in page.splitlines():
        cells = re.findall(r"<td>(.*?)</td>", line)
        texts = [re.sub(r"<[^>]*>", "", cell) for cell in cells]
        if texts[:2] == [a, b]:
            return texts
    raise AssertionError(f"no row of {a} and {b}")


def test_the_page_says_what_can_be_concluded_and_has_a_row_a_pair(write: Writer) -> None:
    four_methods(write)
    page = rendered(write.runs)
    assert (
        "Of 6 pairs of 4 methods, 2 differ; 1 cannot be told apart, which does not make them equal; 3 have no GFLOPs "
        "in common. Nothing is said of those"
    ) in page
    assert "corrected for the 3 pairs that could be compared (Holm)" in page and "All points are of one seed" in page
    found = {(pair.a, pair.b): pair for pair in all_pairs(load_records([write.runs]))}
    difference = found["TSM", "TSN"].difference
    assert difference is not None
    cells = row(page, "TSM", "TSN")
    assert cells[2:4] == ["A is ahead", f"{difference.value:+.2f}"] and float(cells[6]) < ALPHA
    assert row(page, "AFNet", "TSM")[2] == "cannot be told apart"
    assert row(page, "TSN", "Uniform frames")[2] == "no GFLOPs in common"
    assert f"<strong>{-difference.value:+.1f}</strong>" in page, "the matrix has both signs"
    assert '<a href="method-tsn.html">TSN</a>' in page


def test_the_same_records_give_the_same_pairs(write: Writer) -> None:
    four_methods(write)
    assert rendered(write.runs) == rendered(write.runs)


def test_one_method_has_nothing_to_be_compared_with(write: Writer) -> None:
    write(small("tsn"), answers(0.5))
    page = rendered(write.runs)
    assert "There is one method here, TSN, with one point" in page and "<table" not in page


def test_methods_without_videos_in_common_are_named(write: Writer) -> None:
    write(small("tsn"), answers(0.5), video=np.arange(60))
    write(small("tsm"), answers(0.5), video=np.arange(60, 120))
    page = rendered(write.runs)
    assert "Of 1 pair of 2 methods, 0 differ; 1 has no videos in common" in page
    assert row(page, "TSM", "TSN")[2] == "no videos in common"


def test_what_cannot_be_compared_is_said_and_stops_no_report(write: Writer) -> None:
    write(small("tsn"), answers(0.5))
    write(small("tsm"), answers(0.5), labels=(np.arange(60) + 1) % 4)
    page = rendered(write.runs)
    assert "cannot be compared" in page and "give the same videos other labels" in page


def test_seeds_are_said(write: Writer) -> None:
    for method in ("tsn", "tsm"):
        for seed in range(1 + (method == "tsm")):
            write(point(method, seed=seed), answers(0.5, seed))
    (part,) = parts_of(write.runs)
    assert "1 of 2 points is of one seed" in part["how"]


@pytest.mark.parametrize(("seconds", "count"), [(20.0, 3), (0.009, 2)])
def test_points_that_another_of_the_method_beats_are_read_where_there_is_time(
    write: Writer, monkeypatch: pytest.MonkeyPatch, seconds: float, count: int
) -> None:
    monkeypatch.setattr(pairs, "SECONDS", seconds)
    best = write(point("tsn", 4), answers(0.9))
    beaten = write(point("tsn", 8), answers(0.1), gmacs=2)
    other = write(point("tsm", 4), answers(0.5))
    read: list[str] = []

    def noted(path: Path) -> Samples:
        read.append(path.parent.name)
        return read_samples(path)

    monkeypatch.setattr(comparison_answers, "read_samples", noted)
    (part,) = parts_of(metrics_of_samples(write.runs))
    assert sorted(read) == sorted([each.experiment_id for each in (best, other, beaten)[:count]])
    assert ("each half of the videos chooses for the other" in part["how"]) == (count == 3)


def metrics_of_samples(runs: Path) -> Path:
    """Metrics as the samples have them, where a writer left those of its template."""
    for path in result_files(runs):
        samples = read_samples(path.with_name("samples.parquet"))
        values = json.loads(path.read_text())
        values["metrics"] |= {"top1": 100 * float(samples.correct().mean()), "macs": int(samples.macs.mean())}
        path.write_text(json.dumps(values))
    return runs


def many(write: Writer, methods: int, points: int) -> Path:
    """Variants of TSN that differ in their dropout, each with points of ascending cost and accuracy."""
    for number in range(methods):
        start = small("tsn")
        settings = replace(start.model.settings, dropout=number / 100)  # type: ignore[call-arg]
        for place in range(points):
            one = replace(point("tsn", 4 + place), model=replace(start.model, settings=settings))
            write(one, np.arange(60) < 10 + number + 2 * place, gmacs=1 + place)
    return metrics_of_samples(write.runs)


def test_where_time_is_short_fewer_points_then_fewer_methods_are_read(write: Writer) -> None:
    records = load_records([many(write, 3, 5)])
    whole = choose(records, DATA, 10)
    assert len(whole.methods) == 3 and len(whole.points) == 15 and not whole.left
    fewer = choose(records, DATA, 0.04)
    assert len(fewer.methods) == 3 and len(fewer.points) == 12 and "at most 4 of its points" in fewer.left
    costs = fewer.points.groupby("method")["gflops"].agg(["min", "max"])
    assert (costs["min"] == 1).all() and (costs["max"] == 5).all(), "the cheapest and the dearest stay"
    two = choose(records, DATA, 0.016)
    assert two.methods == whole.methods[:2] and len(two.points) == 4 and "2 most accurate of 3 methods" in two.left
    assert two.methods[0].endswith("dropout 0.02"), "the most accurate"
    none = choose(records, DATA, 0.0)
    assert none.points.empty


def test_a_page_without_the_time_for_a_pair_says_so(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = many(write, 3, 1)
    monkeypatch.setattr(pairs, "SECONDS", 0.0)
    (part,) = parts_of(runs)
    assert "take too long" in part["lead"] and part["rows"] == []


def test_no_more_methods_are_taken_than_could_stand_the_correction(write: Writer) -> None:
    most = most_methods(REPLICATES)
    smallest = bootstrap_p(np.ones(REPLICATES))
    assert smallest * most * (most - 1) / 2 < ALPHA <= smallest * (most + 1) * most / 2
    runs = many(write, most + 1, 1)
    page = rendered(runs)
    assert f"the {most} most accurate of {most + 1} methods are compared here" in page
    assert most > MATRIX and "Row less column" not in page
    assert "TSN, dropout 0.01" in page, "labels are the report's"


def test_a_conclusion_counts_each_pair_once(write: Writer) -> None:
    found = all_pairs(load_records([four_methods(write).runs]))
    numbers = [int(number) for number in re.findall(r"(\d+) (?:differ|cannot|have no|has no)", conclusion(found, 4))]
    assert sum(numbers) == len(found) == 6
