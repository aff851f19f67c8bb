"""A point that computes cells, from the run to the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.record import result_files
from bench.run import run_experiment
from bench.samples import read_samples
from reports.filmstrip import TILE, _veiled
from reports.load import load_records
from reports.site import write_site
from reports.tables import shown
from tests.conftest import small


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looked")
    run_experiment(small("afnet", keep_bias=1.2, zero_init=False, spatial="1", grid=4), folder)
    return folder


def test_samples_hold_the_cells_of_kept_frames_in_blocks_that_compute_cells(looked: Path) -> None:
    (path,) = result_files(looked)
    samples = read_samples(path.with_name("samples.parquet"))
    assert samples.cells is not None and samples.kept is not None
    assert samples.cell_maps == ((0, 16, 16),)
    assert samples.cells.shape == (6, 1, 4, 4, 4)
    assert not samples.cells[~samples.kept[:, [0]]].any()
    seen = samples.regions.any(axis=-1)
    assert (seen == samples.informative).all() and samples.regions.max() <= 1
    width = samples.regions[..., 2] - samples.regions[..., 0]
    assert width[seen] == pytest.approx(22 / 64), "the digit's side"


def test_the_page_shows_where_the_point_looked(looked: Path, tmp_path: Path) -> None:
    front = write_site([looked], tmp_path / "site")
    assert "Where it looks in a frame it keeps" in front.read_text()
    page = (front.parent / "data-digits-in-motion.html").read_text()
    assert "Cell ratio" in page and "Recall of the informative region" in page
    (point,) = (front.parent / "points").iterdir()
    assert "blocks with cells skipped it" in point.read_text()


def test_columns_that_say_nothing_are_left_out(runs: Path) -> None:
    columns = {column.name for column in shown(load_records([runs]).table)}
    assert "kept_ratio" in columns and not {"cell_ratio", "region_recall"} & columns


def test_a_cell_is_the_paler_the_fewer_blocks_computed_it() -> None:
    veiled = np.asarray(_veiled(Image.new("RGB", (TILE, TILE)), np.array([[1.0, 0.0], [0.5, 0.0]])))
    quarter, three = TILE // 4, 3 * TILE // 4
    assert veiled[quarter, quarter].tolist() == [0, 0, 0]
    assert veiled[quarter, three].tolist() == veiled[three, three].tolist() == [204, 204, 204]
    assert veiled[three, quarter].tolist() == [102, 102, 102]
