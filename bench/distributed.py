"""Processes that train one network together, each on its share of every step's clips.

They are started by torchrun, by SLURM's srun, or by anything else that sets RANK, WORLD_SIZE, MASTER_ADDR and
MASTER_PORT. Gradients are summed here, after the whole backward, since methods change from step to step what learns,
which DistributedDataParallel does not allow.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from bench.errors import UserError

Value = TypeVar("Value")
# Longer than any process waits for another: the first one writes while the others wait.
PATIENCE = timedelta(hours=2)
PORT = "29501"
# What backends say of a process that is no more.
GONE = re.compile(r"[Cc]onnection (closed|reset|refused)|[Bb]roken pipe|[Rr]emote process exited")


@dataclass(frozen=True)
class Team:
    """The processes of a training.

    Attributes:
        rank: of this one; the first one, 0, reads and writes.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def shared(self, parts: int) -> Sequence[int]:
        """Which of a step's parts this process computes.

        Raises:
            UserError: where they cannot be shared evenly.
        """
        if parts % self.size:
            raise UserError(
                f"{self.size} processes cannot share a step of {parts} parts evenly. Expected training.batch / "
                f"training.micro_batch to be a multiple of {self.size}; batch statistics are taken over a part, "
                "so its size belongs to the experiment and the number of processes does not."
            )
        return range(self.rank, parts, self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """Over all processes, in place."""
        if self.size > 1:
            with self._hearing():
                distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, model: nn.Module) -> None:
        """Over all processes; a parameter that has a gradient in one of them counts as zero in the others."""
        if self.size == 1:
            return
        parameters = list(model.parameters())
        device = parameters[0].device
        used = self.sum(
            torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32).to(device)
        )
        learning = [parameter for parameter, count in zip(parameters, used.tolist(), strict=True) if count]
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in learning]  # one message, not many
        )
        self.sum(flat)
        for parameter, part in zip(learning, flat.split([p.numel() for p in learning]), strict=True):
            # Laid out as the parameter is: fused optimisers walk through both alike.
            parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))

    def gathered(self, value: Value) -> list[Value]:
        """Every process's value, in the order of their ranks; in all processes."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        with self._hearing():
            distributed.all_gather_object(found, value)
        return found

    def first(self, value: Value) -> Value:
        """The first process's value, in all processes."""
        if self.size == 1:
            return value
        found = [value if self.is_first else None]
        with self._hearing():
            distributed.broadcast_object_list(found, src=0)
        answer: Any = found[0]
        return answer

    @contextlib.contextmanager
    def _hearing(self) -> Iterator[None]:
        """UserError where another process is gone, as one that was killed: what broke the connection is not here."""
        try:
            yield
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            if GONE.search(reason) is None:
                raise
            raise UserError(
                f"Process {self.rank} of {self.size} lost another one, which was killed or ended by itself ({reason}). "
                "What is said of that one tells why: most often memory or a scheduler's limit ran out. The last "
                "checkpoint was kept; the same command goes on from there."
            ) from error

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Raise, at the end, in all processes what any of them raised within, where none may wait for another.

        Otherwise the others would wait for one that is gone, and what they say of that would hide why it went.

        Raises:
            UserError: in those in which nothing went wrong, with the words of one in which something did.
        """
        if self.size == 1:
            yield
            return
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            own = error
        said = self.gathered(None if own is None else _in_words(own))
        if own is not None:
            raise own
        for rank, words in enumerate(said):
            if words is not None:
                raise UserError(f"Process {rank} of {self.size}: {words}")


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


ALONE = Team()


@contextlib.contextmanager
def team(device: torch.device, purpose: str = "") -> Iterator[Team]:
    """The processes that this one was started with; itself alone where nothing says otherwise.

    Args:
        purpose: that they must share, as what they train.

    Raises:
        UserError: where they do not find each other, or another job's.
    """
    place = _place(os.environ)
    if place is None:
        yield ALONE
        return
    rank, size, local = place
    os.environ.setdefault("MASTER_PORT", _port(os.environ))
    if device.type == "cuda":
        # A scheduler may show each process its own alone, which is then number 0.
        torch.cuda.set_device(local % torch.cuda.device_count())
    try:
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=size, timeout=PATIENCE
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"Process {rank} of {size} did not find the others at {os.environ.get('MASTER_ADDR')}:"
            f"{os.environ['MASTER_PORT']} ({str(error).splitlines()[0]}). Expected all of them to be started "
            "together, by torchrun or srun."
        ) from error
    try:
        found = Team(rank, size)
        _check_purpose(found, f"{purpose} {_job(os.environ)}")
        yield found
        found.gathered(None)  # nobody leaves while another still hears from it
    finally:
        distributed.destroy_process_group()


def _check_purpose(crew: Team, own: str) -> None:
    """UserError in all processes unless they are of one job and want the same."""
    wanted = crew.gathered(own)
    if len(set(wanted)) > 1:
        raise UserError(
            f"The {crew.size} processes that found each other at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} do not belong together: {', '.join(map(repr, wanted))}. Expected one "
            "training of one job; another MASTER_PORT for each job keeps them apart."
        )


def _job(environment: Mapping[str, str]) -> str:
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "TORCHELASTIC_RUN_ID")
    return " ".join(environment[name] for name in names if name in environment)


def _port(environment: Mapping[str, str]) -> str:
    """Another one for each of a scheduler's jobs, which may share a machine."""
    job, step = (environment.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    if not job.isdigit():
        return PORT
    return str(20_000 + (31 * int(job) + int(step if step.isdigit() else 0)) % 30_000)


def leave() -> None:
    """End the process here, well, where it was one of several.

    On the way out of Python threads of gloo's that outlive their group abort it now and then ("terminate called without
    an active exception"), after all was done, and a scheduler takes that for a failure.
    """
    if _place(os.environ) is None:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def is_first() -> bool:
    """Whether this process is the first of those it was started with, or alone: the one that speaks."""
    place = _place(os.environ)
    return place is None or place[0] == 0


def _place(environment: Any) -> tuple[int, int, int] | None:
    """Rank, size and number on this machine, as torchrun or srun say; None for a process alone."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif "SLURM_STEP_ID" in environment and environment.get("SLURM_STEP_ID", "").isdigit():
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    else:
        return None
    try:
        rank, size, local = (int(environment.get(name, "0")) for name in names)
    except ValueError as error:
        raise UserError(f"{', '.join(names)} are no numbers ({error}); expected what torchrun or srun sets.") from error
    if size <= 1:
        return None
    if "MASTER_ADDR" not in environment:
        environment["MASTER_ADDR"] = _first_host(environment.get("SLURM_STEP_NODELIST", ""))
    return rank, size, local


def _first_host(nodes: str) -> str:
    try:
        done = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
        return done.stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise UserError(
            f"scontrol does not name the hosts of {nodes!r} ({error}); expected MASTER_ADDR to be set otherwise."
        ) from error
