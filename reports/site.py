"""The page: findings, figures, tables and filmstrips of one or more runs folders, in one folder without network."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.data.catalogue import find_dataset
from bench.files import check_folder, make_folder, replacing, write_text
from bench.metrics import METRICS
from bench.record import Result
from reports.figures import accuracy_vs_gflops, accuracy_vs_throughput, roofline, save
from reports.filmstrip import Filmstrip
from reports.findings import findings
from reports.load import Records, load_records
from reports.published import write_published
from reports.tables import write_tables

TITLE = "afnet-bench report"


def write_site(runs: list[Path], out: Path, *, on_bad: str = "stop") -> Path:
    """Write the report of these records into `out`; returns its index.html.

    The same records give the same bytes: nothing of the time or place of writing is in it.

    Raises:
        UserError: for records that cannot be read (see load_records) or a folder that cannot be written.
    """
    check_folder(out)
    records = load_records(runs, on_bad)
    make_folder(out)
    groups = [_group(name, rows, records, out) for name, rows in records.table.groupby("dataset", sort=True)]
    environment = Environment(
        loader=PackageLoader("reports"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    page = environment.get_template("index.html").render(
        title=TITLE,
        subtitle=f"{len(records.results)} points on {', '.join(group['title'] for group in groups)}.",
        findings=findings(records.table),
        left_out=records.left_out,
        groups=groups,
        metrics=METRICS,
        environments=_environments(records.results),
    )
    write_text(out / "index.html", page)
    return out / "index.html"


def _group(name: str, table: pd.DataFrame, records: Records, out: Path) -> dict[str, Any]:
    """Everything of one data set; its files go into a folder of its name."""
    dataset = find_dataset(name)
    folder = out / name
    make_folder(folder)
    figures = [
        _figure(accuracy_vs_gflops(table, dataset.order_blind_ceiling), folder, "accuracy-vs-gflops",
                "Top-1 accuracy against executed GFLOPs per video; a line joins the points of a method that no other "
                "point of it beats. Vertical bars: 95% interval over videos (Wilson)."),
        _figure(accuracy_vs_throughput(table, dataset.order_blind_ceiling), folder, "accuracy-vs-throughput",
                "Top-1 accuracy against videos per second of the executed path; horizontal bars are quartiles. Hollow "
                "points were timed with noise and rank nothing."),
    ]  # fmt: skip
    known = table[table["utilisation"].notna()]
    if len(known):
        caption = (
            "Multiply-adds a second of the executed path against multiply-adds per byte. Lines: the most that the "
            "device allows, by copying on the left and by matrix products on the right, both measured on it."
        )
        figures.append(_figure(roofline(known), folder, "roofline", caption))
    experiments = {result.values["experiment_id"]: result.experiment for result in records.results}
    return {
        "title": dataset.title,
        "folder": name,
        "figures": figures,
        "table": write_tables(table, folder, dataset.title, experiments)
        + write_published(table, folder, dataset.title, experiments),
        "filmstrips": _filmstrips(table, records.filmstrips, folder),
    }


def _figure(figure: Any, folder: Path, name: str, caption: str) -> dict[str, Any]:
    files = save(figure, folder, name)
    return {
        "uri": _data_uri(folder / files["png"]),
        "alt": caption,
        "caption": caption,
        "files": {suffix: f"{folder.name}/{file}" for suffix, file in files.items()},
    }


def _data_uri(png: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode()


def _filmstrips(table: pd.DataFrame, filmstrips: dict[str, Filmstrip], folder: Path) -> list[dict[str, str]]:
    shown = []
    for row in table.to_dict("records"):
        strip = filmstrips.get(row["experiment_id"])
        if strip is None:
            continue
        with replacing(folder / f"looked-at-{row['experiment_id']}.png") as file:
            file.write(strip.png)
        name = f"{row['method']} {row['point']}"
        shown.append({"name": name, "uri": strip.data_uri, "alt": strip.description})
    return shown


def _environments(results: list[Result]) -> list[str]:
    """One line for each distinct place and version."""
    lines = set()
    for result in results:
        facts = result.values["environment"]
        packages, source = facts["packages"], facts["source"]
        commit = (source["commit"] or "unknown")[:12] + (", changed" if source["dirty"] else "")
        lines.add(
            f"{facts['device']['name']} ({facts['cores']} cores, {facts['device'].get('threads', '-')} threads), "
            f"{facts['platform']}, Python {facts['python']}, torch {packages['torch']}, numpy {packages['numpy']}, "
            f"commit {commit}."
        )
    return sorted(lines)
