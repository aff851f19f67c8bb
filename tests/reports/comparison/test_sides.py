"""What names a side, and a way out of every mistake."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from bench.errors import UserError
from bench.experiment import Data, Experiment
from reports.comparison.compare import Comparison, compare
from reports.load import load_records
from tests.reports.records import VIDEOS, Writer, answers, point, several


def compared(write: Writer, a: str = "tsn", b: str = "tsm", **options: str) -> Comparison:
    return compare(load_records([write.runs]), a, b, **options)


def test_what_names_nothing_or_several_things_is_refused(write: Writer) -> None:
    for seed, method in product(range(3), ("tsn", "tsm")):
        write(point(method, seed=seed), answers(0.5, seed))
    for name, words in (
        ("tsnn", "Unknown method or experiment id 'tsnn' in A of these records. Did you mean 'tsn'"),
        ("", "Unknown method or experiment id ''"),
        ("tsm", "both hold experiment"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            compared(write, name, "tsm")
    ids = [point("tsn", seed=seed).experiment_id for seed in range(3)]
    assert compared(write, ids[0][:8], ids[1][:8]).a == "TSN 4f (seed 0)"
    with pytest.raises(UserError, match=r"Unknown cost 'gflop' in --at.*gflops"):
        compared(write, at="gflop=3")
    for at in ("gflops=x", "gflops=-1", "gflops=nan", "gflops="):
        with pytest.raises(UserError, match="expected a number above 0"):
            compared(write, at=at)
    with pytest.raises(UserError, match="Unknown data set 'jester'"):
        compared(write, dataset="jester")


def test_a_beginning_of_several_ids_is_refused(write: Writer) -> None:
    found: dict[str, Experiment] = {}
    for seed in range(40):
        one = point("tsn", seed=seed)
        if one.experiment_id[0] in found and one.experiment_id[0].isdigit():
            break
        found[one.experiment_id[0]] = one
    for each in (one, found[one.experiment_id[0]]):
        write(each, answers(0.5))
    write(point("tsm"), answers(0.4))
    with pytest.raises(UserError, match="with which 2 experiment ids begin"):
        compared(write, one.experiment_id[0])


def test_variants_of_a_method_are_not_mixed(write: Writer) -> None:
    write(point("tsm"), answers(0.5))
    start = point("afnet")
    for shift in (True, False):
        settings = replace(start.model.settings, shift=shift)  # type: ignore[call-arg]
        write(replace(start, model=replace(start.model, settings=settings)), answers(0.6, int(shift)))
    found = compared(write, "afnet", "tsm")
    assert found.a == "AFNet 4f r.50" or found.a.startswith("AFNet 4f")
    assert any("not in it: AFNet, no shift" in note for note in found.notes)
    write(replace(point("tsm"), data=Data(train_clips=24, val_clips=6)), answers(0.5))
    with pytest.raises(UserError, match=r"2 variants; .*: TSM, data.train_clips 12; TSM, data.train_clips 24"):
        compared(write, "tsm", "AFNet, no shift, data.train_clips 12")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"video": np.arange(VIDEOS, 2 * VIDEOS), "labels": np.arange(VIDEOS) % 4}, "no videos in common"),
        ({"labels": np.arange(1, VIDEOS + 1) % 4}, "give the same videos other labels"),
        ({"names": "names-other.json"}, "not measured on the same list of videos"),
        ({"video": np.zeros(VIDEOS, np.int64)}, "several samples of one video"),
        ({"logits": np.full((VIDEOS, 4), math.nan, np.float32)}, "60 videos whose logits are not all finite"),
    ],
)
def test_what_cannot_be_paired_is_refused(write: Writer, values: dict[str, Any], words: str) -> None:
    write(point("tsn"), answers(0.5))
    write(point("tsm"), answers(0.5), **values)
    with pytest.raises(UserError, match=words):
        compared(write)


def test_records_of_two_data_sets_need_one_to_be_chosen(write: Writer) -> None:
    for method in ("tsn", "tsm"):
        write(point(method), answers(0.5))
        write(several(method), answers(0.5, videos=50))
    with pytest.raises(UserError, match=r"2 data sets: charades, digits-in-motion.*--dataset"):
        compared(write)
    assert compared(write, dataset="digits-in-motion").videos == VIDEOS
