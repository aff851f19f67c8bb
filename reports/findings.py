"""What the points say, in sentences computed from them; a sentence whose points are missing is not written."""

from __future__ import annotations

import pandas as pd

LISTED = 8  # points of a sentence


def findings(table: pd.DataFrame) -> list[str]:
    """Sentences for the top of a report of one data set, in a fixed order.

    Args:
        table: points, as `reports.load.pool` gives them.
    """
    sentences = (_motion, _frames, _ratio, _selection, _cells, samplers, _saving, _warnings, _withheld)
    return [text for text in (sentence(table) for sentence in sentences) if text]


def _only(table: pd.DataFrame, **values: object) -> pd.Series | None:
    rows = table
    for name, value in values.items():
        rows = rows[rows[name] == value]
    return rows.iloc[0] if len(rows) == 1 else None


def _each(rows: pd.DataFrame, text: str, by: str = "") -> str:
    """The text filled in for each row, joined by commas; of more than a sentence can hold, for some.

    Args:
        by: the column of which the lowest, the middle and the highest are told then; without it the first ones are.
    """
    if len(rows) <= LISTED:
        return ", ".join(text.format(**row) for row in rows.to_dict("records"))
    if not by:
        return f"{_each(rows.head(LISTED), text)}, and {len(rows) - LISTED} more"
    ordered = rows.sort_values(by, kind="stable")
    low, middle, high = (text.format(**ordered.iloc[place].to_dict()) for place in (0, len(rows) // 2, -1))
    return f"at the lowest {low}, at the middle of {len(rows)} points {middle}, at the highest {high}"


def told_apart(one: pd.Series, other: pd.Series) -> bool | None:
    """Whether the 95% intervals of two points do not overlap; None where one has none."""
    ends = [one["value_low"], one["value_high"], other["value_low"], other["value_high"]]
    if any(end is None or pd.isna(end) for end in ends):
        return None
    return bool(ends[1] < ends[2] or ends[3] < ends[0])


def _verdict(one: pd.Series, other: pd.Series) -> str:
    """Of one point beside another."""
    apart = told_apart(one, other)
    if apart is None:
        return "stands beside"
    return "ties" if not apart else "beats" if one["value"] > other["value"] else "loses to"


def _motion(table: pd.DataFrame) -> str:
    tsn, tsm = _only(table, method="TSN", frames=8), _only(table, method="TSM", frames=8)
    if tsn is None or tsm is None:
        return ""
    return (
        f"Motion: at 8 frames TSM, which sees the order of frames, {_verdict(tsm, tsn)} TSN, which does not: "
        f"{tsm['value']:.1f}% against {tsn['value']:.1f}% {tsm['metric']} for {tsm['gflops']:.4f} and "
        f"{tsn['gflops']:.4f} GFLOPs."
    )


def _frames(table: pd.DataFrame) -> str:
    rows = table[table["method"] == "TSN"].sort_values("frames")
    if len(rows) < 2 or rows["frames"].duplicated().any():
        return ""
    steps = ", ".join(
        f"{row['gflops']:.4f} GFLOPs and {row['videos_per_second']:.0f} videos/s at {row['frames']}"
        for row in rows.to_dict("records")
    )
    return f"More frames cost more: TSN takes {steps} frames."


def _ratio(table: pd.DataFrame) -> str:
    full = _only(table, method="AFNet", frames=8, ratio=1.0)
    half = _only(table, method="AFNet", frames=8, ratio=0.5)
    if full is None or half is None:
        return ""
    saved = 1 - half["gflops"] / full["gflops"]
    return (
        f"Care less: AFNet at 8 frames and ratio 0.5 reaches {half['value']:.1f}% {half['metric']}, "
        f"{half['value'] - full['value']:+.1f} points against ratio 1, and executes {saved:.1%} fewer multiply-adds."
    )


def _selection(table: pd.DataFrame) -> str:
    rows = table[table["recall"].notna() & (table["ratio"] < 1)]
    if rows.empty:
        return ""
    parts = _each(
        rows, "{recall:.2f} against {kept_ratio:.2f} and {recall_by_position:.2f} ({method} {point})", "recall"
    )
    return (
        "What navigation keeps: its recall of the informative frames, against that of a random selection of as many "
        f"frames and of the best rule that knows their positions alone, is {parts}."
    )


def _cells(table: pd.DataFrame) -> str:
    names = ["region_recall", "region_recall_by_chance", "region_recall_by_position"]
    rows = table[table[names].notna().all(axis=1)]
    if rows.empty:
        return ""
    rivals = "{region_recall_by_chance:.2f} and {region_recall_by_position:.2f}"
    parts = _each(rows, "{region_recall:.2f} against " + rivals + " ({method} {point})", "region_recall")
    return (
        "Where it looks in a frame it keeps: its recall of the informative region, against that of a random choice of "
        f"as many cells and of the best rule that knows their positions alone, is {parts}."
    )


# Learned samplers, and the controls that they must beat at no more multiply-adds.
RIVALRIES = (
    (("scsampler", "ocsampler", "uni-adafocus"), ("uniform", "random")),
    (("adafocus", "adafocus-v2", "uni-adafocus"), ("centre-crop", "random-crop")),
)
# How much dearer than a sampler a control may be to stand against it.
MATCHED = 1.02


def samplers(table: pd.DataFrame) -> str:
    """Every learned sampler against the best control that costs no more."""
    parts = []
    for learned, controls in RIVALRIES:
        for _, row in table[table["name"].isin(learned)].iterrows():
            cheap = table[table["name"].isin(controls) & (table["gflops"] <= MATCHED * row["gflops"])]
            if cheap.empty:
                continue
            best = cheap.loc[cheap["value"].idxmax()]
            parts.append(
                f"{row['method']} {row['point']} {_verdict(row, best)} {best['method']} {best['point']} "
                f"({row['value']:.1f} against {best['value']:.1f}%)"
            )
    if not parts:
        return ""
    return (
        "Learned samplers against the best control that costs no more (ties where their 95% intervals overlap): "
        f"{', '.join(parts[:LISTED])}{f', and {len(parts) - LISTED} more' if len(parts) > LISTED else ''}."
    )


def _saving(table: pd.DataFrame) -> str:
    rows = table[table["saving_realised"].notna()]
    if rows.empty:
        return ""
    text = "{saving_realised:.2f} [{saving_low:.2f}, {saving_high:.2f}] ({method} {point})"
    parts = _each(rows, text, "saving_realised")
    none = int(((rows["saving_low"] <= 0) & (rows["saving_high"] >= 0)).sum())
    noisy = int(rows["noisy"].sum())
    caveat = f" {none} of these {len(rows)} cannot be told from no saving." if none else ""
    caveat += f" {noisy} of the timings {'is' if noisy == 1 else 'are'} marked noisy." if noisy else ""
    return f"Saving realised, time saved per multiply-add saved (1 is perfect), with 95% intervals: {parts}.{caveat}"


def _warnings(table: pd.DataFrame) -> str:
    rows = table[table["warnings"] != ""]
    return "" if rows.empty else f"Warnings: {_each(rows, '{method} {point}: {warnings}')}"


def _withheld(table: pd.DataFrame) -> str:
    several = table[table["method"] != table["title"]]
    if several.empty:
        return ""
    return (
        "Withheld: these records hold experiments that differ in more than method, frames, ratio and shift; no "
        f"sentence compares the points of {'; '.join(several['method'].unique()[:LISTED])} by frames and ratio alone."
    )
