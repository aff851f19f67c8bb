"""A fixed small set of records gives fixed numbers in every table, on every machine."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

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
        if name.endswith(".csv"):  # all digits, of which the last one may depend on the machine's logarithms
            assert [*_cells(found[name])] == [_near(cell) for cell in _cells(text)], name
        else:
            assert found[name] == text, name


def _cells(text: str) -> list[float | str]:
    cells: list[float | str] = []
    for cell in (cell for row in csv.reader(io.StringIO(text)) for cell in row):
        try:
            cells.append(float(cell))
        except ValueError:
            cells.append(cell)
    return cells


def _near(cell: float | str) -> object:
    return cell if isinstance(cell, str) else pytest.approx(cell, rel=1e-9)
