"""What SLURM says of jobs: squeue of those that wait or run, sacct, where there is accounting, of those that ended.

Decoration: whether a point is done its record says. Imports no torch.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

from bench.errors import UserError

SECONDS = 60
DECORATION = (
    15  # for accounting, without which everything works too: where its daemon hangs sacct takes most of a minute
)
ARRAY = re.compile(r"(\d+)_\[([\d,\-]+)(?:%\d+)?\]")
ENDING = "COMPLETING"
# Why a job waits that will not begin by itself.
HOPELESS = re.compile(
    r"Bad|Invalid|Held|NeverSatisfied|^Partition(TimeLimit|NodeLimit|Config|Down|Inactive)|^(QOS|Assoc)Max\w*(PerJob|PerNode)"
    r"|^AccountNotAllowed|^QOSNotAllowed|^Reservation(Invalid|Deleted)"
)
SERVING = ("idle", "allocated", "mixed", "completing", "planned", "reserved")
GPUS = re.compile(r"gpu(?::[^,:()]+)?:(\d+)")
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED", "RESIZING", "SPECIAL_EXIT")


@dataclass(frozen=True)
class Job:
    """One job, or one of an array.

    Attributes:
        state: SLURM's word: PENDING, RUNNING, COMPLETED, FAILED, TIMEOUT, ...
        reason: why it waits; "" otherwise.
        nodes: it runs or ran on.
        name: that it was given.
        elapsed: H:MM:SS it ran.
    """

    id: str
    state: str
    reason: str = ""
    nodes: str = ""
    name: str = ""
    elapsed: str = ""

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def ends(self) -> bool:
        """Whether it is over but for what SLURM has to clear away, as for half a minute after it was cancelled."""
        return self.state == ENDING

    @property
    def is_hopeless(self) -> bool:
        """Whether it waits for what does not come by waiting."""
        return self.waits and bool(HOPELESS.search(self.reason))

    @property
    def seconds(self) -> float:
        """That it runs, or ran."""
        return _seconds(self.elapsed)


@dataclass(frozen=True)
class Node:
    """One of a partition.

    Attributes:
        serves: whether it takes jobs now or when others end; not one that is down, drained, or of a partition that is.
        memory: MB.
        longest: seconds that the partition lets a job run; infinity where it sets no limit.
    """

    serves: bool
    cpus: int
    memory: int
    gpus: int
    features: frozenset[str]
    longest: float


def nodes(partition: str) -> list[Node]:
    """Of a partition, the default one where none is named; none where SLURM does not say."""
    form = "%P|%a|%T|%c|%m|%G|%f|%l"
    try:
        lines = _answer("sinfo", "--noheader", "--Node", "--format", form, *(["-p", partition] if partition else []))
    except UserError:
        return []
    found = []
    for line in lines:
        name, up, state, cpus, memory, gres, features, longest = line.split("|")
        if partition or name.endswith("*"):
            serves = up == "up" and state.rstrip("*~#!%$@^-+") in SERVING
            gpus = sum(map(int, GPUS.findall(gres)))
            size = int(cpus), int(memory.rstrip("+")), gpus
            found.append(Node(serves, *size, frozenset(features.split(",")), _seconds(longest) or math.inf))
    return found


def queued() -> dict[str, Job]:
    """The user's jobs that wait or run, by their ids.

    Raises:
        UserError: where SLURM is not here, or does not answer.
    """
    if shutil.which("squeue") is None:
        raise UserError(
            "There is no squeue here; expected a machine that submits to SLURM, or --cluster local to run on this one."
        )
    form = "%i|%T|%r|%N|%j|%M"
    lines = _answer("squeue", "--noheader", "--array", "--user", str(os.geteuid()), "--format", form)
    fields = (line.split("|") for line in lines if line.count("|") == form.count("|"))
    jobs = (Job(name, state, "" if why == "None" else why, *more) for name, state, why, *more in fields)
    return {job.id: job for job in jobs}


def ended(ids: Collection[str]) -> dict[str, Job]:
    """What accounting keeps of jobs and whole arrays, by the ids of single jobs; nothing where it does not answer."""
    if not ids or shutil.which("sacct") is None:
        return {}
    form = "JobID,State,Reason,NodeList,JobName,Elapsed"
    asked = ("--allocations", "--noheader", "--parsable2", "--format", form, "--jobs", ",".join(sorted(ids)))
    try:
        lines = _answer("sacct", *asked, seconds=DECORATION)
    except UserError:
        return {}
    found = {}
    for line in lines:
        fields = line.split("|")
        if len(fields) != form.count(",") + 1:
            continue
        # "CANCELLED by 1000"
        name, state, reason, *more = fields
        job = Job(name, state.split()[0] if state else "UNKNOWN", "" if reason == "None" else reason, *more)
        for single in _single(job.id):
            found[single] = job
    return found


def _single(name: str) -> list[str]:
    """The ids that one line is about: those of an array that never began stand together, as 12_[3-5,8%2]."""
    match = ARRAY.fullmatch(name)
    if not match:
        return [name]
    singles = []
    for part in match[2].split(","):
        first, _, last = part.partition("-")
        singles += [f"{match[1]}_{number}" for number in range(int(first), int(last or first) + 1)]
    return singles


def cancel(ids: Collection[str]) -> None:
    """End jobs.

    Raises:
        UserError: where SLURM does not.
    """
    for start in range(0, len(ids), 500):  # a command line has an end
        _answer("scancel", *sorted(ids)[start : start + 500])


def setting(name: str) -> str | None:
    """A line of SLURM's configuration, as MaxArraySize; None where it is not said."""
    for line in _answer("scontrol", "show", "config"):
        key, _, value = line.partition("=")
        if key.strip() == name:
            return value.strip()
    return None


def _seconds(text: str) -> float:
    """Of D-HH:MM:SS, HH:MM:SS or MM:SS; 0 of other words."""
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":") if part.isdigit()]
    return 86400.0 * int(days or 0) + sum(part * 60**power for power, part in enumerate(reversed(parts)))


def _answer(*command: str, seconds: float = SECONDS) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{command[0]} does not answer ({error}); expected SLURM's controller to be up.") from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise UserError(f"{command[0]} failed: {said}. Expected SLURM's controller to be up, and the jobs to be yours.")
    return done.stdout.splitlines()
