"""How long work is shown, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench import progress


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, steps: list[int], of: int) -> str:
    """What is written of these numbers of items done."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=80)
    monkeypatch.setattr(progress, "Console", lambda stderr: console)
    with progress.counting("preparing mine") as report:
        for done in steps:
            report(done, of)
    return file.getvalue()


def test_a_log_has_a_line_now_and_then_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = map(float, range(100, 200))
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    lines = shown(monkeypatch, terminal=False, steps=list(range(36)), of=35).splitlines()
    assert lines == [f"preparing mine: {done} of 35" for done in (0, 11, 22, 33, 35)]


def test_a_terminal_has_a_bar_with_the_number_done_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True, steps=[0, 3, 7], of=7)
    assert "preparing mine" in text and "7/7" in text and "left:" in text and "\r" in text
