"""Every metric against values worked out by hand on four videos."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from bench.metrics import METRICS, average_precision, compute_metrics
from bench.samples import Samples


def frames(*videos: str) -> NDArray[np.bool_]:
    """(V, T) or, with blocks set apart by a space, (V, B, T) of digits: "110 001"."""
    return np.array([[[digit == "1" for digit in row] for row in video.split()] for video in videos])


def boxes() -> NDArray[np.float32]:
    """Regions of the informative frames, as shares of the sides."""
    found = np.zeros((4, 3, 4), np.float32)
    found[0, 0] = found[0, 1] = found[1, 2] = (0, 0, 0.5, 0.5)  # the first of 2x2 cells
    found[1, 1] = (0.25, 0.5, 0.75, 1)  # half of the third and half of the fourth
    found[2, 1] = (0.5, 0.5, 1, 1)
    found[3, 0] = (0, 0, 1, 1)
    return found


def cells() -> NDArray[np.bool_]:
    """Of the second block, which keeps frame 0 of video 0 and frame 1 of video 1."""
    found = np.zeros((4, 1, 3, 2, 2), np.bool_)
    found[0, 0, 0] = [[1, 1], [0, 0]]
    found[1, 0, 1] = [[0, 0], [1, 0]]
    return found


# Four videos, seven classes, two blocks, three frames.
SAMPLES = Samples(
    video=np.arange(4),
    label=np.array([2, 0, 3, 5]),
    logits=np.array(
        [
            [0, 1, 5, 2, 3, 4, -1],  # the label, 2, is first
            [1, 7, 6, 5, 4, 3, 2],  # the label, 0, is last of seven
            [2, 9, 2, 9, 1, 1, 0],  # the label, 3, is as large as class 1, which comes first
            [1, 1, 1, 1, 1, 1, 1],  # the label, 5, is as large as five that come first
        ],
        np.float32,
    ),
    macs=np.array([10, 20, 30, 60]),
    times=np.tile(np.arange(3), (4, 1)),
    kept=frames("110 100", "000 010", "111 000", "001 000"),
    informative=frames("110", "011", "010", "100").squeeze(1),
    regions=boxes(),
    cell_maps=((1, 4, 4),),
    cells=cells(),
    exit_step=np.array([1, 2, 3, 2]),
)
TARGETS = np.eye(7, dtype=np.bool_)[SAMPLES.label]

# Block 1 keeps 6 of 12 frames and 3 of the 6 informative ones; block 2 keeps 2 of 12 and 2 of 6. The three positions
# are informative in 2, 3 and 1 videos: keeping 1.5 frames a video, as block 1 does, by position alone finds 3 + 2 / 2
# of 6; keeping 0.5, as block 2 does, finds 3 / 2 of 6.
# Regions: of the two kept informative frames, the first is found whole, of the second one half. By position: their
# regions lie in the four cells with 1, 0, 0.5 and 0.5 of 2; two cells find 1.5 / 2 of a region, one finds 1 / 2.
# Probabilities: the only video of class 2 is the surest of it, of class 0 the third of four, of class 3 the first, of
# class 5 the second.
BY_HAND = {
    "top1": 100 * 1 / 4,
    "top5": 100 * 2 / 4,
    "map": 100 * (1 + 1 / 3 + 1 + 1 / 2) / 4,
    "macs": 30.0,
    "macs_std": ((400 + 100 + 0 + 900) / 4) ** 0.5,
    "macs_deciles": [10, 13, 16, 19, 22, 25, 28, 33, 42, 51, 60],
    "kept_ratio": 8 / 24,
    "kept_ratio_per_block": [6 / 12, 2 / 12],
    "recall": 5 / 12,
    "recall_per_block": [3 / 6, 2 / 6],
    "recall_by_position": (4 / 6 + 1.5 / 6) / 2,
    "precision": 5 / 8,
    "cell_ratio": 3 / 8,
    "region_recall": (1 + 0.5) / 2,
    "region_recall_by_chance": 3 / 8,
    "region_recall_by_position": (1.5 / 2 + 1 / 2) / 2,
    "region_precision": 2 / 3,
    "frames_looked_at": 2.0,
    "commonest_decision": 1 / 4,
    "informative_share": 6 / 12,
}


def test_every_metric_has_a_value_worked_out_by_hand() -> None:
    assert set(BY_HAND) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_what_the_hand_finds(name: str) -> None:
    assert compute_metrics(replace(SAMPLES, targets=TARGETS))[name] == pytest.approx(BY_HAND[name])


def test_metrics_are_plain_numbers_that_json_takes() -> None:
    values = compute_metrics(SAMPLES)
    assert json.loads(json.dumps(values, allow_nan=False)) == values


@pytest.mark.parametrize(
    ("label", "top1", "top5"), [(0, 100.0, 100.0), (1, 0.0, 100.0), (4, 0.0, 100.0), (5, 0.0, 0.0)]
)
def test_of_equal_logits_the_lower_class_comes_first(label: int, top1: float, top5: float) -> None:
    values = compute_metrics(replace(SAMPLES, label=np.full(4, label), logits=np.ones((4, 7), np.float32)))
    assert (values["top1"], values["top5"]) == (top1, top5)


def test_of_fewer_than_five_classes_every_label_is_among_the_five_largest() -> None:
    values = compute_metrics(replace(SAMPLES, label=np.zeros(4, np.int64), logits=np.tile(np.arange(3.0), (4, 1))))
    assert (values["top1"], values["top5"]) == (0.0, 100.0)


def test_where_nothing_is_kept_nothing_is_found_and_precision_does_not_apply() -> None:
    assert SAMPLES.kept is not None
    values = compute_metrics(replace(SAMPLES, kept=np.zeros_like(SAMPLES.kept)))
    assert (values["kept_ratio"], values["kept_ratio_per_block"]) == (0.0, [0.0, 0.0])
    assert (values["recall"], values["recall_per_block"], values["recall_by_position"]) == (0.0, [0.0, 0.0], 0.0)
    assert "precision" not in values


def test_where_everything_is_kept_precision_is_the_informative_share() -> None:
    assert SAMPLES.kept is not None
    values = compute_metrics(replace(SAMPLES, kept=np.ones_like(SAMPLES.kept)))
    assert (values["kept_ratio"], values["kept_ratio_per_block"]) == (1.0, [1.0, 1.0])
    assert (values["recall"], values["recall_per_block"]) == (1.0, [1.0, 1.0])
    assert values["precision"] == values["informative_share"] == 6 / 12
    assert values["recall_by_position"] == 1.0


def test_where_no_frame_is_informative_recall_does_not_apply() -> None:
    values = compute_metrics(replace(SAMPLES, informative=np.zeros_like(SAMPLES.informative)))
    absent = {"precision", "informative_share", "recall", "recall_per_block", "recall_by_position"}
    assert not absent & set(values)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=12), st.integers(0, 11))
def test_average_precision_is_scikit_learns_with_ties_too(rows: list[tuple[bool, int]], positive: int) -> None:
    truth, scores = np.array([one for one, _ in rows]), np.array([score / 4 for _, score in rows])
    truth[positive % len(truth)] = True
    assert average_precision(truth, scores) == pytest.approx(average_precision_score(truth, scores))


def test_a_video_with_several_labels_is_right_with_any_of_them() -> None:
    several = replace(SAMPLES, targets=TARGETS | (np.arange(7) == 1))
    values = compute_metrics(several)
    assert values["top1"] == 75.0  # class 1 is the largest of the second and third video
    assert "map" not in compute_metrics(SAMPLES)


def test_a_method_that_skips_nothing_has_no_metric_of_skipping() -> None:
    values = compute_metrics(replace(SAMPLES, kept=None, cell_maps=(), cells=None, exit_step=None))
    assert set(values) == {"top1", "top5", "macs", "macs_std", "macs_deciles", "informative_share"}


def test_where_no_cell_is_computed_no_region_is_found() -> None:
    values = compute_metrics(replace(SAMPLES, cells=np.zeros_like(cells())))
    assert (values["cell_ratio"], values["region_recall"], values["region_recall_by_position"]) == (0.0, 0.0, 0.0)
    assert "region_precision" not in values


def test_where_every_cell_is_computed_all_of_every_region_is_found() -> None:
    everything = np.ones_like(cells())
    values = compute_metrics(replace(SAMPLES, cells=everything))
    found = [values[name] for name in ("cell_ratio", "region_recall", "region_recall_by_position")]
    assert found == pytest.approx([1.0, 1.0, 1.0])


def test_without_regions_or_kept_frames_recall_of_regions_does_not_apply() -> None:
    for changes in ({"regions": np.zeros((4, 3, 4), np.float32)}, {"kept": frames(*["000 000"] * 4)}):
        values = compute_metrics(replace(SAMPLES, **changes))
        assert not {"region_recall", "region_recall_by_position", "region_precision"} & set(values)


def one_frame(cells: NDArray[np.bool_], region: tuple[float, float, float, float], side: int) -> dict[str, Any]:
    """Metrics of one block with cells on a map of `side` pixels, which looks at one frame."""
    samples = Samples(
        video=np.arange(1),
        label=np.zeros(1, np.int64),
        logits=np.zeros((1, 2), np.float32),
        macs=np.ones(1, np.int64),
        times=np.zeros((1, 1), np.int64),
        informative=np.ones((1, 1), np.bool_),
        regions=np.array([[region]], np.float32),
        kept=np.ones((1, 1, 1), np.bool_),
        cell_maps=((0, side, side),),
        cells=cells[None, None, None],
    )
    return compute_metrics(samples)


@pytest.mark.parametrize(("side", "grid"), [(16, 7), (8, 7), (4, 7), (8, 4)])
def test_cells_are_as_large_as_their_pixels_also_where_the_grid_does_not_divide_the_map(side: int, grid: int) -> None:
    rng = np.random.default_rng(side)
    cells = rng.random((grid, grid)) < 0.4
    pixels = np.arange(side) * grid // side
    mask = cells[pixels][:, pixels]  # (side, side), by definition
    left, top, right, bottom = 1, 0, side - 1, side // 2  # in pixels of the map
    region = np.zeros((side, side), np.bool_)
    region[top:bottom, left:right] = True
    values = one_frame(cells, (left / side, top / side, right / side, bottom / side), side)
    assert values["cell_ratio"] == pytest.approx(mask.mean())
    assert values["region_recall"] == pytest.approx(mask[region].mean())
    assert values["region_recall_by_chance"] == pytest.approx(mask.mean())


@pytest.mark.parametrize(("size", "grid"), [(96, 3), (224, 7), (60, 12)])
def test_a_region_that_ends_with_a_cell_does_not_touch_the_next(size: int, grid: int) -> None:
    cell = size // grid
    for first in range(grid):
        edges = (first * cell / size, (first + 1) * cell / size)
        values = one_frame(np.ones((grid, grid), np.bool_), (edges[0], edges[0], edges[1], edges[1]), size)
        assert values["region_precision"] == pytest.approx(1 / grid**2)


def test_a_block_that_always_looks_where_the_region_always_is_knows_positions_alone() -> None:
    looked = frames("100", "100", "100", "100")
    cells = np.zeros((4, 1, 3, 2, 2), np.bool_)
    cells[:, :, 0, 0, 0] = True
    regions = np.zeros((4, 3, 4), np.float32)
    regions[:, 0] = (0, 0, 0.5, 0.5)
    regions[:, 1] = (0.5, 0.5, 1, 1)  # not kept: what the block does not see is no loss
    samples = replace(SAMPLES, kept=looked, cell_maps=((0, 4, 4),), cells=cells, regions=regions)
    values = compute_metrics(samples)
    assert values["region_recall"] == values["region_recall_by_position"] == 1.0


def test_crops_are_held_against_the_regions_of_frames_that_were_looked_at() -> None:
    crops = np.zeros((4, 3, 4), np.float32)
    crops[0, 0] = (0, 0, 0.5, 0.25)  # half of the region of frame 0 of video 0
    crops[1, 1] = (0.25, 0.5, 0.75, 1)  # all of it
    crops[3, 2] = (0, 0, 1, 1)  # no region there
    values = compute_metrics(replace(SAMPLES, cell_maps=(), cells=None, crops=crops))
    assert values["region_recall"] == pytest.approx((0.5 + 1) / 2)


def test_a_policy_that_always_decides_the_same_is_seen() -> None:
    values = compute_metrics(replace(SAMPLES, kept=frames(*["110 100"] * 4), cells=None, cell_maps=(), exit_step=None))
    assert values["commonest_decision"] == 1.0
