"""The suite's questions: which points answer them, and what the answer says of fixed numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.questions import QUESTIONS, answered

BY_SLUG = {question.slug: question for question in QUESTIONS}


def row(method: str, value: float, gflops: float, **others: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "method": method,
        "name": method.split(",")[0].lower(),
        "point": "p",
        "backbone": "tiny",
        "metric": "top-1",
        "value": value,
        "value_low": value - 2,
        "value_high": value + 2,
        "gflops": gflops,
        "frames": 8,
        "ratio": None,
        "keep": None,
        "patch": None,
        "kept_ratio": None,
        "cell_ratio": None,
        "region_recall": None,
        "region_recall_by_position": None,
    }
    return values | others


def answer(slug: str, rows: list[dict[str, Any]]) -> str:
    table = pd.DataFrame(rows)
    question = BY_SLUG[slug]
    return question.answer(question.rows(table))


def test_more_frames() -> None:
    rows = [row("TSN", 50, 1.0, frames=4), row("TSN", 60, 2.0), row("TSN", 59, 4.0, frames=16), row("TSM", 80, 2.0)]
    said = answer("frames", rows)
    assert said == "From 4 to 16 frames TSN gains 9.0 points of top-1, for 4.0 times the multiply-adds."
    assert len(BY_SLUG["frames"].rows(pd.DataFrame(rows))) == 3, "TSM has one number of frames"
    rows[2] |= {"value": 49, "value_low": 47, "value_high": 51}
    assert "TSN loses 1.0 points of top-1 (their intervals overlap), for" in answer("frames", rows)


def test_points_of_other_ratios_are_no_answer_to_more_frames() -> None:
    rows = [row("AFNet", 70, 1.0, frames=8, ratio=0.5), row("AFNet", 75, 3.0, frames=16, ratio=0.25)]
    assert BY_SLUG["frames"].rows(pd.DataFrame(rows)).empty


def test_more_frames_are_compared_at_one_ratio() -> None:
    rows = [row("AFNet", value, 1.0, frames=frames, ratio=ratio) for frames, ratio, value in
            ((8, 1.0, 90), (8, 0.25, 70), (16, 1.0, 95), (16, 0.25, 80))]  # fmt: skip
    said = answer("frames", rows)
    assert said == (
        "From 8 to 16 frames AFNet, ratio 1 gains 5.0 points of top-1, for 1.0 times the multiply-adds; from 8 to 16 "
        "frames AFNet, ratio 0.25 gains 10.0 points of top-1, for 1.0 times the multiply-adds."
    )
    table = pd.DataFrame(rows)
    assert BY_SLUG["frames"].lines(table).tolist() == ["AFNet, ratio 1", "AFNet, ratio 0.25"] * 2


def test_a_long_answer_says_that_there_is_more() -> None:
    rows = [row(f"TSN {number}", 50, 1.0, frames=frames) for number in range(8) for frames in (4, 8)]
    assert answer("frames", rows).count("from") + 1 == 6 and answer("frames", rows).endswith("; and more below.")


def test_lines_over_cells_join_what_aimed_at_other_shares() -> None:
    names = [f"AFNet, spatial {stage}, cell_ratio {share}" for stage in ("1", "1-2") for share in (0.25, 0.5)]
    table = pd.DataFrame([row(name, 90, 1.0, cell_ratio=0.4, ratio=1.0) for name in names])
    assert BY_SLUG["spatial"].lines(table).tolist() == ["AFNet, spatial 1"] * 2 + ["AFNet, spatial 1-2"] * 2


def test_lines_over_cells_are_of_one_budget() -> None:
    kinds = [(keep, share) for keep in (2, 4) for share in (0.25, 0.5)]
    table = pd.DataFrame(
        [row("AFNet, by budget", 90, 1.0, cell_ratio=share, ratio=0.5, keep=keep) for keep, share in kinds]
    )
    assert BY_SLUG["spatial"].lines(table).tolist() == [f"AFNet, by budget, {keep} kept" for keep, _ in kinds]


def test_of_several_groups_of_settings_one_is_compared() -> None:
    rows = [
        row(method, 90 - frames, 4.0, ratio=0.5, frames=frames)
        for frames in (8, 16)
        for method in ("AFNet", "AFNet, fusion sum")
    ]
    assert BY_SLUG["ablations"].rows(pd.DataFrame(rows))["frames"].tolist() == [8, 8]


def test_less_of_the_frames() -> None:
    rows = [row("AFNet", 90, 4.0, kept_ratio=1.0), row("AFNet", 85, 3.0, kept_ratio=0.5), row("TSN", 10, 1.0)]
    said = answer("ratios", rows)
    assert said == (
        "Keeping 0.50 instead of 1.00 of its 8 frames AFNet loses 5.0 points of top-1 and executes 25% fewer "
        "multiply-adds."
    )


def test_budgets_are_a_line_for_each_training() -> None:
    keeps = [(ratio, keep) for ratio in (0.5, 0.25) for keep in (2, 4)]
    rows = [row("AFNet, by budget", 90, 1.0, ratio=r, keep=keep, kept_ratio=keep / 8) for r, keep in keeps]
    found = BY_SLUG["ratios"].rows(pd.DataFrame(rows))
    assert BY_SLUG["ratios"].lines(found).tolist() == [f"AFNet, by budget, ratio {ratio:g}" for ratio, _ in keeps]
    assert answer("ratios", rows).count("eeping 0.25 instead of 0.50 of its 8 frames AFNet, by budget") == 2


def test_a_part_of_the_picture() -> None:
    seen = {"cell_ratio": 0.5, "region_recall": 0.9, "region_recall_by_position": 0.6}
    said = answer("spatial", [row("AFNet", 90, 4.0, **seen), row("TSN", 10, 1.0)])
    assert (
        said == "AFNet p computes 0.50 of the cells for 90.0%, 0.90 of the informative region (0.60 by position alone)."
    )


def test_settings_of_afnet() -> None:
    rows = [row("AFNet", 90, 4.0, ratio=0.5), row("AFNet, no shift", 60, 4.0, ratio=0.5)]
    rows.append(row("AFNet, context position", 89, 4.0, ratio=0.5))
    said = answer("ablations", rows)
    assert said == (
        "Of 3 settings at the same frames and ratio AFNet is best with 90.0% and AFNet, no shift worst with 60.0%; 1 "
        "can be told from the best by their intervals."
    )


def test_questions_that_nothing_answers_are_not_asked() -> None:
    assert answered(pd.DataFrame([row("TSN", 50, 1.0)])) == []
    slugs = [
        question.slug for question, _ in answered(pd.DataFrame([row("TSN", 50, 1.0), row("TSN", 60, 2.0, frames=16)]))
    ]
    assert slugs == ["frames"]
