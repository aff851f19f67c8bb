"""Rows of frames."""

from __future__ import annotations

import pandas as pd

from reports.rows import rows_in


def test_rows_are_those_of_pandas() -> None:
    frame = pd.DataFrame(
        {
            "method": ["AFNet", None],
            "frames": [8, 16],
            "ratio": [0.5, None],
            "noisy": [True, False],
            "spread": [[1.0, 2.0], []],
        },
        index=[3, 1],
    )
    rows, expected = rows_in(frame), frame.to_dict("records")
    assert repr(rows) == repr(expected)
    assert [[type(value) for value in row.values()] for row in rows] == [
        [type(value) for value in row.values()] for row in expected
    ]


def test_a_frame_without_rows_or_columns_has_none() -> None:
    assert rows_in(pd.DataFrame()) == rows_in(pd.DataFrame({"method": []})) == []
