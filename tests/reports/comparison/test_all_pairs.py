"""Every two methods of a data set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.experiment import Data
from reports.comparison.all_pairs import all_pairs
from reports.load import load_records
from reports.statistics import holm
from tests.conftest import small
from tests.reports.records import Writer, answers, point


def test_every_pair_is_corrected_for_all_of_them(write: Writer) -> None:
    for method, share in (("tsn", 0.4), ("tsm", 0.6), ("afnet", 0.9)):
        for frames in (4, 8):
            right = answers(share + frames / 100, frames + len(method), 300)
            write(small(method, frames=frames), right, gmacs=frames)
    start = point("afnet")
    settings = replace(start.model.settings, shift=False)  # type: ignore[call-arg]
    write(replace(start, model=replace(start.model, settings=settings)), answers(0.5, 0, 300), gmacs=100)
    pairs = all_pairs(load_records([write.runs]))
    assert [(each.a, each.b) for each in pairs] == [
        ("AFNet", "AFNet, no shift"), ("AFNet", "TSM"), ("AFNet", "TSN"),
        ("AFNet, no shift", "TSM"), ("AFNet, no shift", "TSN"), ("TSM", "TSN"),
    ]  # fmt: skip
    told = [each for each in pairs if each.difference is not None]
    assert len(told) == 3
    corrected = [each.p_holm for each in told]
    assert corrected == pytest.approx(holm([each.difference.p for each in told if each.difference]), rel=1e-4)
    assert all("corrected for 3 pairs" in each.sentence for each in told)
    assert all("Nothing can be said" in each.sentence for each in pairs if each.difference is None)


def test_what_stands_only_before_correction_is_not_concluded(write: Writer) -> None:
    start = answers(0.5, 0, 300)
    for number, method in enumerate(("tsn", "tsm", "afnet")):
        right = start.copy()
        right[np.flatnonzero(~start)[: 7 * number // 2]] = True  # 0, 3 and 7 videos more
        write(small(method), right)
    pairs = {(each.a, each.b): each for each in all_pairs(load_records([write.runs]))}
    pair = pairs["AFNet", "TSN"]
    assert pair.difference is not None and pair.p_holm is not None
    assert pair.difference.p == pytest.approx(2 / 2**7) and pair.p_holm == pytest.approx(3 * 2 / 2**7)
    assert pair.p_holm < 0.05 and "AFNet is ahead of TSN" in pair.sentence
    for name in ("uniform", "random"):
        write(small(name), start)
    pair = {(each.a, each.b): each for each in all_pairs(load_records([write.runs]))}["AFNet", "TSN"]
    assert pair.difference is not None and pair.difference.low > 0 and pair.p_holm == pytest.approx(10 * 2 / 2**7)
    assert "cannot be told apart" in pair.sentence and "leaves out 0, but the test does not" in pair.sentence


def test_pairs_on_other_videos_are_named(write: Writer) -> None:
    write(point("tsn"), answers(0.5))
    write(replace(point("tsm"), data=Data(train_clips=12, val_clips=6, seed=1)), answers(0.5))
    (pair,) = all_pairs(load_records([write.runs]))
    assert pair.difference is None and "no videos in common" in pair.sentence
