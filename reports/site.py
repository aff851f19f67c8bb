"""The site: pages, figures, tables and charts of one or more runs folders, in one folder that needs no network.

index.html                  what the points say, and where it stands
data-<dataset>.html         accuracy against cost, all figures, the table of points
method-<name>.html          a method's points
question-<name>.html        a question of the suite and the points that answer it
points/<experiment>.html    one record
pairs.html                  every two methods, by paired statistics
definitions.html  environment.html
<dataset>/                  figures (png, svg, pdf) and tables (html, csv, md, tex)
assets/                     style, script, charts' points, and Plotly with its licence
"""

from __future__ import annotations

import importlib.resources
import re
from dataclasses import dataclass, field
from importlib.metadata import files as files_of
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from bench.data.catalogue import find_dataset
from bench.files import check_folder, make_folder, replacing, write_text
from bench.metrics import METRICS
from bench.record import Result, read_result
from bench.words import counted
from reports import figures
from reports.captioned import captioned_figures
from reports.charts import chart_of, source_of
from reports.findings import findings
from reports.leftovers import replacing_report
from reports.load import Read, Records, load_records, without
from reports.looked import DETAILED, Looked, looked_at
from reports.looks import looks
from reports.pages import Described, facts, point_page, slugs, table_of
from reports.pairs import HEADINGS, pairs_page
from reports.published.beside import write_published
from reports.published.points import published_points
from reports.questions import QUESTIONS, Question, answered
from reports.rows import rows_in
from reports.tables import write_tables
from reports.trials import note, without_trials
from reports.unfinished import Explain, Unfinished, find_unfinished, last_error, listed, summary


@dataclass
class Group:
    """All of one data set.

    Attributes:
        table: its records; pooled: its points; published: figures of others, as `published_points` gives them.
        folder: of its figures and tables, in the site.
    """

    name: str
    title: str
    table: pd.DataFrame
    pooled: pd.DataFrame
    published: pd.DataFrame
    ceiling: float | None
    questions: list[tuple[Question, pd.DataFrame]] = field(default_factory=list)

    @property
    def file(self) -> str:
        return f"data-{self.name}.html"

    @property
    def told(self) -> pd.DataFrame:
        """The points that conclusions are drawn from."""
        return without_trials(self.pooled)

    @property
    def subtitle(self) -> str:
        """In words, what was measured on what."""
        videos = ", ".join(str(count) for count in sorted(self.table["videos"].unique()))
        counts = sorted(self.table["views"].unique())
        views = f"{', '.join(map(str, counts))} {'view' if counts == [1] else 'views'}"
        devices = ", ".join(sorted(self.table["device"].unique()))
        return (
            f"{counted(len(self.pooled), 'point')} of {counted(self.pooled['method'].nunique(), 'method')} from "
            f"{counted(len(self.table), 'record')}; "
            f"{videos} validation videos, {views} each; GFLOPs are multiply-adds that were executed; timed on "
            f"{devices}."
        )


def write_site(
    runs: list[Path], out: Path, *, on_bad: str = "stop", explain: Explain = last_error, read: Read = read_result
) -> Path:
    """Write the report of these records into `out`; returns its index.html.

    The same records give the same bytes: nothing of the time or place of writing is in it. Files of an earlier report
    that this one has not are removed; others in the folder stay (reports.leftovers).

    Args:
        explain: what ended the work on a point that has no record.
        read: a record; as load_records has it.

    Raises:
        UserError: for records that cannot be read (see load_records) or a folder that cannot be written.
    """
    check_folder(out)
    records = load_records(runs, on_bad, read)
    looked, damaged = looked_at(records, on_bad)
    if damaged:
        records = without(records, damaged, read)
    recorded = [str(result.values["experiment_id"]) for result in records.results]
    unfinished = find_unfinished(runs, recorded, explain)
    for folder in (out, out / "points"):
        make_folder(folder)
    with replacing_report(out, recorded):
        return _Site(records, looked, unfinished, out).write()


class _Site:
    """Writes all files."""

    def __init__(self, records: Records, looked: Looked, unfinished: list[Unfinished], out: Path) -> None:
        self.records, self.looked, self.unfinished, self.out = records, looked, unfinished, out
        self.results = {str(result.values["experiment_id"]): result for result in records.results}
        self.experiments = {name: result.experiment for name, result in self.results.items()}
        self.groups = [self._group(str(name), rows) for name, rows in records.table.groupby("dataset", sort=True)]
        self.templates = Environment(
            loader=PackageLoader("reports"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
        )
        self.templates.filters["facts"] = facts
        methods = list(dict.fromkeys(records.pooled["method"]))
        self.methods = {name: f"method-{file}.html" for name, file in slugs(methods).items()}
        self.pairs = pairs_page(records, self.methods)
        self.asked = [each for each in QUESTIONS if any(each is asked for g in self.groups for asked, _ in g.questions)]
        self.pages = [
            {"file": "index.html", "name": "Overview"},
            *({"file": group.file, "name": group.title} for group in self.groups),
            *({"file": _file(question), "name": question.title} for question in self.asked),
            {"file": "methods.html", "name": "Methods"},
            {"file": "pairs.html", "name": "Pairs"},
            {"file": "definitions.html", "name": "Definitions"},
            {"file": "environment.html", "name": "Environment"},
        ]

    def _group(self, name: str, table: pd.DataFrame) -> Group:
        dataset = find_dataset(name)
        pooled = self.records.pooled
        pooled = pooled[pooled["dataset"] == name].reset_index(drop=True)
        questions = answered(without_trials(pooled))
        return Group(name, dataset.title, table, pooled, published_points(name), dataset.order_blind_ceiling, questions)

    def write(self) -> Path:
        """Everything; the front page last, since it says that the others are there."""
        self._assets()
        fronts = []
        for group in self.groups:
            drawn = captioned_figures(group.pooled, group.published, group.ceiling, self.results, self.looked.macs)
            shown = [self._save(group, each.name, each.caption, each.draw()) for each in drawn]
            caption = f"{group.title}. {group.subtitle}"
            write_tables(group.table, self.out / group.name, group.title, self.experiments)
            published = write_published(
                group.table[~group.table["trial"].astype(bool)], self.out / group.name, group.title, self.experiments
            )
            page = {**chart_of(group.name, group.pooled), **table_of(group.pooled, caption)}
            page |= {"folder": group.name, "figures": shown, "subtitle": group.subtitle, "published": published}
            page |= {"note": note(group.table), "with_published": len(group.published) > 0}
            self._page(group.file, group.title, "dataset.html", group=page)
            fronts.append(self._front(group, shown[0]))
        self._methods()
        self._page("pairs.html", "All pairs of methods", "pairs.html", parts_of=self.pairs, headings=HEADINGS)
        for question in self.asked:
            self._question(question)
        self._points()
        self._page("definitions.html", "Definitions", "definitions.html", metrics=METRICS)
        facts = {
            "environments": _environments(self.records.results),
            "damaged": listed(list(self.records.left_out.values()), "damaged record"),
            "begun": listed([each.text for each in self.unfinished], "training"),
        }
        self._page("environment.html", "Environment", "environment.html", **self._absent, **facts)
        count = len(self.records.results)
        names = ", ".join(group.title for group in self.groups)
        subtitle = f"{counted(count, 'record')} on {names}."
        return self._page("index.html", "Report", "index.html", subtitle=subtitle, groups=fronts, **self._absent)

    @property
    def _absent(self) -> dict[str, Any]:
        return {"left_out": self.records.left_out, "unfinished": summary(self.unfinished)}

    def _page(self, file: str, title: str, template: str, **values: Any) -> Path:
        path = self.out / file
        root = "../" * (len(Path(file).parts) - 1)
        text = self.templates.get_template(template).render(
            title=title, here=file, root=root, pages=self.pages, **values
        )
        write_text(path, text, durable=False)
        return path

    def _assets(self) -> None:
        folder = self.out / "assets"
        for name in ("site.css", "site.js"):
            write_text(folder / name, (importlib.resources.files("reports") / "assets" / name).read_text())
        for name, content in _plotly().items():
            with replacing(folder / name) as file:
                file.write(content)
        for group in self.groups:
            source = source_of(group.name, group.pooled, self.results, group.published)
            write_text(folder / f"points-{group.name}.js", source)

    def _save(self, group: Group, name: str, caption: str, figure: Figure) -> dict[str, Any]:
        saved = figures.save(figure, self.out / group.name, name)
        # What is drawn, alone: how to read it is beside it, and its numbers are in the table.
        alt = f"Figure on {group.title}: {re.split(r'[.;,]', caption)[0]}."
        return {
            "folder": group.name,
            "name": name,
            "caption": f"{caption[:1].upper()}{caption[1:]}",
            "alt": alt,
            "suffixes": list(saved),
        }

    def _front(self, group: Group, figure: dict[str, Any]) -> dict[str, Any]:
        return {
            "file": group.file,
            "title": group.title,
            "subtitle": group.subtitle,
            "figure": figure,
            "note": note(group.table),
            "findings": findings(group.told),
            "pairs": next(part["lead"] for part in self.pairs if part["name"] == group.name),
            "name": group.name,
            "questions": [
                {"file": _file(question), "text": question.text, "answer": question.answer(rows)}
                for question, rows in group.questions
            ],
        }

    def _part(self, group: Group, rows: pd.DataFrame) -> dict[str, Any]:
        """A data set's part of a page: a chart and a table of some of its points."""
        chart = {**chart_of(group.name, group.pooled), "methods": list(dict.fromkeys(rows["method"]))}
        only = " ".join(rows["experiment_id"]) if len(rows) < len(group.pooled) else ""
        return {**chart, **table_of(rows, f"{group.title}. {group.subtitle}"), "title": group.title, "only": only}

    def _methods(self) -> None:
        links = []
        for method, file in self.methods.items():
            parts = [
                self._part(group, rows)
                for group in self.groups
                if len(rows := group.pooled[group.pooled["method"] == method])
            ]
            self._page(file, method, "method.html", parts_of=parts)
            links.append(
                {"file": file, "name": method, "points": sum(len(part["rows"]) + part["hidden"] for part in parts)}
            )
        self._page("methods.html", "Methods", "methods.html", methods=links)

    def _question(self, question: Question) -> None:
        parts = []
        for group in self.groups:
            for asked, rows in group.questions:
                if asked is question:
                    figure = None
                    if question.x:
                        lines = question.lines(rows)
                        drawn = figures.curve(rows, question.x, question.label, lines, looks(group.pooled))
                        caption = (
                            f"{group.pooled['metric'].iloc[0]} over {question.label}; a line joins what differs in "
                            "that alone. Vertical bars: 95% interval over videos, or over seeds where there are "
                            "several, which are the faint dots."
                        )
                        count = lines.nunique()
                        caption += f" {figures.TALL} of {count} lines." if count > figures.TALL else ""
                        figure = self._save(group, question.slug, caption, drawn)
                    parts.append({**self._part(group, rows), "answer": question.answer(rows), "figure": figure})
        self._page(_file(question), question.text, "question.html", parts_of=parts)

    def _points(self) -> None:
        by_point = self.records.table.groupby("point_id", sort=False).groups
        rows, described = rows_in(self.records.table), Described()
        for row in rows:
            name = str(row["experiment_id"])
            others = [rows[place] for place in by_point[row["point_id"]] if rows[place] is not row]
            point = point_page(row, self.results[name], others, described)
            point |= {"strips": [], "without_strips": ""}
            strip = self.looked.strips.get(name)
            if strip is not None:
                file = f"{row['dataset']}/looked-at-{name}.png"
                with replacing(self.out / file, durable=False) as into:
                    into.write(strip.png)
                point["strips"] = [
                    {
                        "name": f"{row['method']} {row['point']}.",
                        "file": file,
                        "alt": strip.description,
                        "clips": strip.clips,
                    }
                ]
            elif name not in self.looked.strips:
                point["without_strips"] = f"What it looked at is drawn of the {DETAILED} points first in rank alone."
            self._page(f"points/{name}.html", f"{row['method']} {row['point']}", "point.html", point=point)


def _file(question: Question) -> str:
    return f"question-{question.slug}.html"


def _plotly() -> dict[str, bytes]:
    """The chart library and its licence, of the installed package."""
    library = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    licence = next(file for file in files_of("plotly") or [] if file.name == "LICENSE.txt")
    return {"plotly.min.js": library.read_bytes(), "plotly-LICENSE.txt": Path(str(licence.locate())).read_bytes()}


def _threads(device: dict[str, Any]) -> str:
    count = device.get("threads", "-")
    return f"{count} thread{'s' * (count != 1)}"


def _environments(results: list[Result]) -> list[str]:
    """One line for each distinct place and version."""
    lines = set()
    for result in results:
        facts = result.values["environment"]
        packages, source = facts["packages"], facts["source"]
        commit = (source["commit"] or "unknown")[:12] + (", changed" if source["dirty"] else "")
        lines.add(
            f"{facts['device']['name']} ({facts['cores']} cores, {_threads(facts['device'])}), "
            f"{facts['platform']}, Python {facts['python']}, torch {packages['torch']}, numpy {packages['numpy']}, "
            f"commit {commit}."
        )
    return sorted(lines)
