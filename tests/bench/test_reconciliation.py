"""The table of known networks: what the docs hold is what the counters say."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.reconciliation import PUBLISHED, table

DOCS = Path(__file__).parent.parent.parent / "docs" / "measurement.md"


@pytest.fixture(scope="module")
def printed() -> str:
    return table()


def test_the_docs_hold_what_is_printed(printed: str) -> None:
    _, rest = DOCS.read_text().split("<!-- reconciliation -->\n")
    assert rest.split("<!-- /reconciliation -->")[0] == printed + "\n", "python -m bench.reconciliation prints it anew"


def test_counters_agree_and_are_what_is_published(printed: str) -> None:
    for line, (name, published) in zip(printed.splitlines()[2:], PUBLISHED.items(), strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == name and len(set(cells[2:6])) == 1
        assert published is None or float(cells[2]) == pytest.approx(published, abs=0.005)
    assert "| 4.0892 | 4.0892 | 4.0892 | 4.0892 |" in printed
