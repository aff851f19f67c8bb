"""A fixed small set of records gives fixed numbers in every table, on every machine."""

from __future__ import annotations

from pathlib import Path

from bench.record import read_result, result_files
from reports.site import write_site
from tests.reports.fixed import GOLDEN, fixed_records, tables


def test_fixed_records_give_the_golden_tables(runs: Path, tmp_path: Path) -> None:
    """Which `python -m tests.reports.fixed` writes anew, to be read over before they are committed."""
    template = read_result(result_files(runs)[0])
    write_site([fixed_records(template, tmp_path / "runs")], tmp_path / "site")
    found, expected = tables(tmp_path / "site"), tables(GOLDEN)
    assert set(found) == set(expected) and len(found) >= 4
    for name, text in expected.items():
        assert found[name] == text, name
