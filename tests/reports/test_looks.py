"""Colours and markers: told apart by eye, and read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.looks import MARKERS, PALETTE, contrast, ink, look


def test_contrast_is_what_wcag_says() -> None:
    assert contrast("white", "black") == pytest.approx(21)
    assert contrast("#777777", "white") == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("colour", PALETTE)
def test_a_marker_stands_out_of_both_grounds_and_its_name_can_be_read(colour: str) -> None:
    css = (Path(__file__).parents[2] / "reports" / "assets" / "site.css").read_text()
    grounds = re.findall(r"--paper: (#[0-9a-f]+)", css)
    assert len(grounds) == 2
    assert all(contrast(colour, ground if len(ground) == 7 else "#ffffff") >= 3 for ground in grounds)
    assert contrast(ink(colour), "white") >= 4.5


def test_of_a_hundred_no_two_look_alike() -> None:
    assert len({look(number) for number in range(100)}) == 100 == len(set(PALETTE)) * len(set(MARKERS))
