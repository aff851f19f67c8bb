"""docs/add-a-method.md, followed to the letter in a copy of the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_page_leads_to_a_method_that_runs_and_is_reported(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "add-a-method.md").read_text()
    network, entry, recipe = re.findall(r"```python\n# (.*?)\n(.*?)```", text, re.DOTALL)
    for package in ("afnet", "baselines", "bench", "reports", "sweeps"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "afbench.py", tmp_path)
    (tmp_path / network[0]).write_text(network[1])
    registry = tmp_path / "bench" / "methods.py"
    assert entry[0].startswith("bench/methods.py")
    place = "METHODS: dict[str, Method] = {\n"
    registry.write_text(registry.read_text().replace(place, f"{place}    {entry[1]}"))
    (tmp_path / recipe[0]).write_text(recipe[1])

    def afbench(*arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "120"}
        command = [sys.executable, str(tmp_path / "afbench.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    profile = afbench("profile", "brightest", "uniform", "--backbone", "tiny", "--set", "keep=2", "--size", "64")
    assert "brightest" in profile
    assert "Brightest frames, 16 frames" in afbench("sweep", "plan", recipe[0])
    afbench("sweep", "submit", recipe[0], "--tiny")
    afbench("report", "runs", "--out", "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Brightest frames" in page and "Uniform frames" in page
