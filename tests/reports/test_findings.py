"""Sentences that the points allow, no longer than one can read."""

from __future__ import annotations

import pandas as pd
import pytest

from reports.findings import LISTED, findings


def navigation(count: int) -> pd.DataFrame:
    """Points of AFNet whose recall rises with their number."""
    numbers = range(count)
    columns = {
        name: [None] * count for name in ("region_recall", "region_recall_by_chance", "region_recall_by_position")
    }
    return pd.DataFrame(
        {
            "method": "AFNet",
            "title": "AFNet",
            "name": "afnet",
            "frames": 8,
            "ratio": [0.25 + number / 1000 for number in numbers],
            "point": [f"p{number}" for number in numbers],
            "recall": [number / 100 for number in numbers],
            "recall_by_position": 0.1,
            "kept_ratio": 0.2,
            "saving_realised": [-number / 10 for number in numbers],
            "saving_low": -9.0,
            "saving_high": 1.0,
            "noisy": False,
            "warnings": [f"w{number}" for number in numbers],
            "value": 50.0,
            **columns,
        }
    )


@pytest.mark.parametrize("count", [1, LISTED])
def test_few_points_are_told_one_by_one(count: int) -> None:
    kept = next(text for text in findings(navigation(count)) if text.startswith("What navigation keeps"))
    assert kept.count("(AFNet p") == count


def test_of_many_points_the_lowest_the_middle_and_the_highest_are_told() -> None:
    said = findings(navigation(41))
    kept = next(text for text in said if text.startswith("What navigation keeps"))
    assert kept.endswith(
        "is at the lowest 0.00 against 0.20 and 0.10 (AFNet p0), at the middle of 41 points 0.20 against 0.20 and 0.10 "
        "(AFNet p20), at the highest 0.40 against 0.20 and 0.10 (AFNet p40)."
    )
    saved = next(text for text in said if text.startswith("Saving realised"))
    assert saved.index("(AFNet p40)") < saved.index("(AFNet p20)") < saved.index("(AFNet p0)")


def test_of_many_warnings_the_first_are_told_and_the_others_counted() -> None:
    (warned,) = (text for text in findings(navigation(41)) if text.startswith("Warnings"))
    assert warned.startswith("Warnings: AFNet p0: w0, ") and warned.endswith(f": w{LISTED - 1}, and {41 - LISTED} more")


def test_what_is_withheld_is_no_method_that_a_sentence_compares() -> None:
    table = navigation(3).assign(
        method=["AFNet", "AFNet", "AFNet, fusion sum"], ratio=[1.0, 0.5, 0.5], gflops=[2.0, 1.0, 1.0], metric="top-1"
    )
    table = table.assign(value_low=49.0, value_high=51.0)
    said = findings(table)
    assert any(text.startswith("Care less") for text in said)
    (withheld,) = (text for text in said if text.startswith("Withheld"))
    assert "the points of AFNet, fusion sum by frames" in withheld
