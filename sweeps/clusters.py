"""Cluster profiles: what jobs ask a scheduler for, by the cluster's name. Imports no torch.

A file clusters.toml, in the working folder, at $AFNET_BENCH_CONFIG or ~/.config/afnet-bench, has a table for each
cluster with the fields of `Resources`, and a table NAME.timing with what is otherwise for jobs that measure times.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bench.data.roots import config_file
from bench.errors import UserError, unknown
from bench.fields import Checked, choice, number, switch

FILE = "clusters.toml"
LOCAL, SLURM = "local", "slurm"
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>\d\d)(?::(?P<seconds>\d\d))?|(?P<plain>\d+)")
MEMORY = re.compile(r"\d+[KMGT]")


@dataclass(frozen=True)
class Resources(Checked):
    """What a job asks for; empty text and 0 ask for nothing, which leaves it to the cluster's own default."""

    partition: str = choice("", "name")
    account: str = choice("", "name")
    qos: str = choice("", "name")
    constraint: str = choice("", "features of nodes, as sbatch takes them")
    exclude: str = choice("", "nodes that are not to be used, as sbatch takes them")
    gpus: int = number(1, "of each node", at_least=0)
    gpu_type: str = choice("", "name, as in --gres=gpu:NAME:1")
    nodes: int = number(1, "of a training; times are measured on one", at_least=1)
    tasks: int = number(0, "processes a node; 0 is one a GPU, or one", at_least=0)
    cpus: int = number(0, "cores of each process", at_least=0)
    memory: str = choice("", "of each node, for example 32G")
    time: str = choice("4:00:00", "limit of a job, for example 30 (minutes), 4:00:00 or 1-12:00:00")
    exclusive: bool = switch(False, "the node for itself")
    setup: str = choice("", "shell lines before the job, for example module load cuda")
    parallel: int = number(
        0,
        "trainings at a time of one submission, and as many timings; 0 is as many as the cluster lets run",
        at_least=0,
    )
    pack: int = number(10, "minutes; trainings, or times, that past runs say are shorter share a job", at_least=0)
    requeues: int = number(100, "times that a job goes on after a preemption or at its time limit", at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory and not MEMORY.fullmatch(self.memory):
            raise UserError(f"{self._label('memory')} is {self.memory!r}; expected a number with K, M, G or T: 32G.")
        if self.minutes < 1:
            raise UserError(f"{self._label('time')} is {self.time!r}; expected at least a minute.")

    def _label(self, name: str) -> str:
        return name  # where it stands is said before it

    @property
    def minutes(self) -> int:
        """The limit.

        Raises:
            UserError: where it is no time.
        """
        found = TIME.fullmatch(self.time)
        if not found:
            raise UserError(
                f"{self._label('time')} is {self.time!r}; expected minutes, H:MM:SS or D-HH:MM:SS, for example 4:00:00."
            )
        if found["plain"]:
            return int(found["plain"])
        days, hours, minutes, seconds = (int(found[name] or 0) for name in ("days", "hours", "minutes", "seconds"))
        return (24 * days + hours) * 60 + minutes + (seconds > 0)

    @property
    def processes(self) -> int:
        """Of a training, on all nodes."""
        return self.nodes * self.tasks_per_node

    @property
    def tasks_per_node(self) -> int:
        return self.tasks or max(self.gpus, 1)

    @property
    def all_gpus(self) -> int:
        """Of a training, on all nodes."""
        return self.nodes * self.gpus


@dataclass(frozen=True)
class Cluster:
    """Where a sweep runs.

    Attributes:
        training: what jobs that train and evaluate ask for.
        timing: what jobs that measure times ask for: one process, on a node of its own unless the profile says so.
    """

    name: str
    training: Resources
    timing: Resources

    def after(self, lines: str) -> Cluster:
        """With more lines of the shell before each job, after those of the profile."""
        training, timing = (
            replace(each, setup=f"{each.setup}\n{lines}".strip()) for each in (self.training, self.timing)
        )
        return replace(self, training=training, timing=timing)


def find_cluster(name: str, flags: Mapping[str, Any]) -> Cluster:
    """A cluster of clusters.toml, or SLURM with its own defaults.

    Args:
        flags: fields of `Resources` that the command line says; they hold for timing too, but for nodes and tasks.

    Raises:
        UserError: for an unknown name, a file that cannot be read, or fields that are unknown or wrong, named with the
            file and table; a flag's with those of the cluster that it was given for.
    """
    profiles = read_profiles()
    if name not in profiles and name != SLURM:
        raise unknown("cluster", name, {LOCAL, SLURM, *profiles}, _places())
    path, values = profiles.get(name, (Path(), {}))
    own = values.get("timing", {})
    training = {key: value for key, value in values.items() if key != "timing"}
    where = f"{path}: {name}" if name in profiles else f"--cluster {name}"
    if not isinstance(own, dict):
        raise UserError(f"{where}.timing is {own!r}; expected a table [{name}.timing].")
    alone = {"nodes": 1, "tasks": 1, "exclusive": True}
    asked = _resources({**training, **flags}, where)
    timing = _resources({**training, **alone, **own, **_but(flags, "nodes", "tasks")}, f"{where}.timing")
    if (timing.nodes, timing.tasks) != (1, 1):
        raise UserError(f"{where}.timing has {timing.nodes} nodes and {timing.tasks} tasks; times are of one process.")
    return Cluster(name, asked, replace(timing, gpus=min(timing.gpus, 1)))


def _but(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _resources(values: Mapping[str, Any], where: str) -> Resources:
    known = {field.name for field in fields(Resources)}
    for name, value in values.items():
        if name not in known:
            where += "; tables inside it: [NAME.timing] alone" if isinstance(value, dict) else ""
            raise unknown("field", name, known, where)
        if isinstance(value, list) and name == "setup":
            values = {**values, "setup": "\n".join(map(str, value))}
        if name == "time" and type(value) is int:  # minutes need no quotes
            values = {**values, "time": str(value)}
    try:
        return Resources(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def read_profiles() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Every cluster that a file describes, with the file; one in the working folder comes first.

    Raises:
        UserError: for a file that cannot be read, or holds something else than tables.
    """
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in _files():
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read ({error}); expected a table for each cluster.") from error
        for name, table in values.items():
            if not isinstance(table, dict):
                raise UserError(f"{path} has {name} = {table!r}; expected a table [{name}] for a cluster of that name.")
            if name == LOCAL:
                raise UserError(f"{path} describes {LOCAL}, which is this machine; expected another name.")
            found.setdefault(name, (path, table))
    return found


def _files() -> tuple[Path, Path]:
    return Path(FILE), config_file().with_name(FILE)


def _places() -> str:
    return " and ".join(str(path) for path in _files())
