"""Prints the ratios of each benchmark; pytest-benchmark's own table knows times only."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    session = getattr(config, "_benchmarksession", None)
    for benchmark in getattr(session, "benchmarks", []):
        facts = {name: value for name, value in benchmark.extra_info.items() if name != "median_seconds"}
        seconds = benchmark.extra_info.get("median_seconds", {})
        words = [f"{name} {value:.4g}" for name, value in facts.items()]
        words += [f"{name} {value:.3f} s" for name, value in seconds.items()]
        terminalreporter.write_line(f"{benchmark.name}: {', '.join(words)}")
