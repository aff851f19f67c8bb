"""A writer of records for every test of comparisons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.record import result_files
from tests.reports.records import Writer


@pytest.fixture
def write(runs: Path, tmp_path: Path) -> Writer:
    path = next(path for path in result_files(runs) if "/tsn/" in str(path))
    return Writer(json.loads(path.read_text()), tmp_path / "runs")
