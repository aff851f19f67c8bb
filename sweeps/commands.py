"""The command line's `afbench sweep`: list, plan, submit, status, logs, cancel, triage. Imports no torch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.experiment import Experiment
    from sweeps.status import Status


NAMED = 20  # jobs, at most, that are told one by one


@dataclass(frozen=True)
class SweepList:
    """The recipes: the question each answers, its points, and the trainings they take."""

    def __call__(self) -> None:
        from sweeps.recipes import RECIPES

        for name, recipe in RECIPES.items():
            points = recipe.points(tiny=False)
            trainings = len({point.training_id for point in points})
            print(f"{name:16s} {len(points):3d} points, {trainings:2d} trainings  {recipe.summary}")


@dataclass(frozen=True)
class Points:
    """The points of a recipe, and where their records are: what every command over a sweep is told."""

    recipe: tyro.conf.Positional[str]
    """A recipe's name, or the path of a Python file with a `recipe(tiny)` function."""
    runs: Path = Path("runs")
    """Folder of the records; the demo's own is demo/runs."""
    tiny: bool = False
    """The recipe's points in a few steps each, with meaningless accuracies."""
    dataset: str = ""
    """Another data set than the recipe's own, digits-in-motion: a name in `afbench data list`, or of your own."""
    backbone: str = ""
    """Another network than the recipe's own, tiny on digits-in-motion and resnet50 elsewhere."""
    seeds: tuple[int, ...] = ()
    """Every point once with each of these seeds of its training; the recipe's own where none are given."""
    set: Annotated[list[str], tyro.conf.arg(metavar="FIELD=VALUE"), tyro.conf.UseAppendAction] = field(
        default_factory=list
    )
    """A field of every point by its dotted name, for example timing.device=cuda; once for each field."""
    only: tuple[str, ...] = ()
    """Points of these methods alone, for example tsm afnet; all where none are given."""

    def points(self) -> list[Experiment]:
        """The experiments, in the recipe's order."""
        from sweeps.recipes import find_recipe

        return find_recipe(self.recipe).points(
            self.tiny,
            dataset=self.dataset,
            backbone=self.backbone,
            seeds=self.seeds,
            assignments=assignments_of("--set", self.set, "training.lr=0.02"),
            only=self.only,
        )


@dataclass(frozen=True)
class SweepPlan(Points):
    """The points of a recipe, and which are done, running, queued, failed or missing."""

    def __call__(self) -> None:
        from sweeps.plan import plan
        from sweeps.show import print_plan

        print_plan(plan(self.points(), self.runs), self.runs)


@dataclass(frozen=True)
class SweepStatus(Points):
    """How a recipe's points go: what runs and how far, what hangs, waits, failed, and how long the rest takes."""

    watch: bool = False
    """Look again and again, until nothing runs or waits."""
    every: float = 5.0
    """Seconds between two looks."""
    rows: int = 20
    """Of a table, at most."""
    json: bool = False
    """All of it for programs; with --watch a line each look."""

    def __call__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        from sweeps.show import status_view

        if self.every <= 0 or self.rows < 1:
            raise UserError(f"--every is {self.every:g} and --rows {self.rows}; expected more than 0, and at least 1.")
        points, console = self.points(), Console()
        if self.json or not (self.watch and console.is_terminal):
            for status in self._looks(points):
                if self.json:
                    print(json.dumps(status.to_dict(), indent=None if self.watch else 1), flush=True)
                else:
                    console.print(status_view(status, self.rows))
            return
        with Live(console=console, auto_refresh=False) as live:
            for status in self._looks(points):
                live.update(status_view(status, self.rows), refresh=True)

    def _looks(self, points: list[Experiment]) -> Iterator[Status]:
        from sweeps.plan import plan
        from sweeps.status import look

        while True:
            status = look(plan(points, self.runs), self.runs)
            yield status
            if not self.watch or not (status.counts["running"] or status.counts["queued"]):
                return
            time.sleep(self.every)


@dataclass(frozen=True)
class SweepLogs(Points):
    """The ends of logs: of the points that run, of those named, or of those that failed."""

    points_of: Annotated[tuple[str, ...], tyro.conf.arg(name="points")] = ()
    """Experiment ids, or their beginnings."""
    failed: bool = False
    """Of the points that failed."""
    follow: bool = False
    """Go on with what is written to the logs of these points, old and new, until none of them runs or waits."""
    lines: int = 20
    """Of each log."""

    def __call__(self) -> None:
        from sweeps.logs import print_logs
        from sweeps.plan import chosen, plan

        if self.lines < 1:
            raise UserError(f"--lines is {self.lines}; expected at least 1.")
        points = chosen(plan(self.points(), self.runs), self.points_of)
        if self.failed or not self.points_of:
            # To follow what waits is to wait for it.
            states = ("failed",) if self.failed else ("running", "queued") if self.follow else ("running",)
            points = [point for point in points if point.state in states]
            if not points:
                none = "has failed; expected" if self.failed else "runs now; expected --failed, or"
                raise UserError(
                    f"No point {none} --points with the ids of some that were begun (`sweep plan` shows them)."
                )
        print_logs(points, self.runs, self.lines, self.follow)


@dataclass(frozen=True)
class Asked:
    """What jobs ask the scheduler for, where the cluster's profile says otherwise or nothing."""

    partition: str | None = None
    """As sbatch takes it, like the next two; the cluster's own default where nothing says otherwise."""
    account: str | None = None
    """That pays."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features of nodes, as sbatch takes them."""
    exclude: str | None = None
    """Nodes that are not to be used, for example node7,node[12-15]."""
    gpus: int | None = None
    """Of each node; 1 where nothing says otherwise, 0 for none."""
    gpu_type: str | None = None
    """As in --gres=gpu:TYPE:1."""
    nodes: int | None = None
    """Of a training."""
    tasks: int | None = None
    """Processes a node of a training; one a GPU where nothing says otherwise."""
    cpus: int | None = None
    """Cores of each process."""
    memory: str | None = None
    """Of each node, for example 32G."""
    time: str | None = None
    """Limit of a job: minutes, H:MM:SS or D-HH:MM:SS."""
    setup: str | None = None
    """A shell line before each job, for example "module load cuda"."""
    parallel: int | None = None
    """Trainings at a time of this submission, and as many timings."""
    pack: int | None = None
    """Minutes: trainings that past runs say are shorter share a job up to so long; 10 where nothing says otherwise."""

    def flags(self) -> dict[str, object]:
        """Those that were given."""
        values = {each.name: getattr(self, each.name) for each in fields(Asked)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class SweepSubmit(Asked, Points):
    """Run what is missing of a recipe: on this machine, or as jobs of a cluster; again, it adds what has gone missing.

    What runs or waits is left alone, what failed waits for --retry.
    """

    cluster: str = "local"
    """This machine (local), SLURM with its own defaults (slurm), or a cluster of clusters.toml."""
    retry: Literal["", "failed", "timeout", "oom", "all"] = ""
    """Points that failed too: but for those that ended at a limit, those that ran out of time or memory, or all."""
    dry_run: bool = False
    """Print what sbatch would get, ask SLURM whether it would take it, and submit nothing."""
    snapshot: bool = False
    """Jobs run from a copy of the source as it is now, instead of what is there when they start."""

    def __call__(self) -> None:
        from sweeps.clusters import LOCAL, find_cluster

        points = self.points()
        if self.cluster == LOCAL:
            self._here(points)
            return
        from sweeps.show import print_submission
        from sweeps.slurm import submit

        cluster = find_cluster(self.cluster, self.flags())
        handed = submit(
            points, self.runs, cluster, Path(self.recipe).stem, self.retry, dry=self.dry_run, fixed=self.snapshot
        )
        print_submission(handed, self.runs.resolve(), self.dry_run)

    def _here(self, points: list[Experiment]) -> None:
        from sweeps.local import run_points

        given = [*self.flags(), *(name for name in ("retry", "dry_run", "snapshot") if getattr(self, name))]
        if given:
            options = ", ".join("--" + name.replace("_", "-") for name in given)
            raise UserError(f"{options} has no use with --cluster local; expected the name of a cluster too.")
        run_points(points, self.runs, Path(self.recipe).stem)


@dataclass(frozen=True)
class SweepCancel(Points):
    """Take back the jobs of a recipe's points that wait or run; what they have reached stays."""

    points_of: Annotated[tuple[str, ...], tyro.conf.arg(name="points")] = ()
    """Experiment ids, or their beginnings; all points of the recipe where none are given."""

    def __call__(self) -> None:
        from bench.words import counted
        from sweeps import queue
        from sweeps.ledger import Ledger
        from sweeps.plan import chosen, plan
        from sweeps.slurm import withdraw_orphans

        experiments, ledger = self.points(), Ledger(self.runs)
        # A submission that is under way would go on behind this.
        with ledger.held() if ledger.folder.exists() else nullcontext():
            orphans = withdraw_orphans(ledger)
            found = plan(experiments, self.runs, must_know=True)
            points = chosen(found, self.points_of)
            jobs = {job for point in points for job in point.alive}
            queue.cancel(jobs)
        jobs |= orphans
        beside = sum(not jobs.isdisjoint(point.alive) for point in found) - sum(bool(point.alive) for point in points)
        said = "; SLURM takes up to a minute to end those that run, and `sweep submit` waits for that" if jobs else ""
        names = ", ".join(sorted(jobs)[:NAMED]) or "none waits or runs"
        names += f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
        print(f"{counted(len(jobs), 'job')} cancelled: {names}{said}.")
        if beside:
            print(f"With them {counted(beside, 'other point')} in the same jobs; `sweep submit` takes them up.")


@dataclass(frozen=True)
class SweepTriage(Points):
    """Why points failed: each with its kind, the lines of its log that say so, and what to do."""

    def __call__(self) -> None:
        from sweeps.plan import plan
        from sweeps.show import print_triage

        print_triage(plan(self.points(), self.runs))


def assignments_of(flag: str, texts: list[str], example: str) -> dict[str, str]:
    """What --set or --grid says, by name."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"{flag} got {text!r}; expected FIELD=VALUE, for example {example}.")
        if name in found:
            raise UserError(f"{flag} has {name} twice, {found[name]} and {value}; expected it once.")
        found[name] = value
    return found


Sweep = (
    Annotated[SweepList, tyro.conf.subcommand("list")]
    | Annotated[SweepPlan, tyro.conf.subcommand("plan")]
    | Annotated[SweepSubmit, tyro.conf.subcommand("submit")]
    | Annotated[SweepStatus, tyro.conf.subcommand("status")]
    | Annotated[SweepLogs, tyro.conf.subcommand("logs")]
    | Annotated[SweepCancel, tyro.conf.subcommand("cancel")]
    | Annotated[SweepTriage, tyro.conf.subcommand("triage")]
)
