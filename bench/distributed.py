"""Processes that train one network together, each on its share of every step's clips.

They are started by torchrun, by SLURM's srun, or by anything else that sets RANK, WORLD_SIZE, MASTER_ADDR and
MASTER_PORT. Gradients are summed here, after the whole backward, since methods change from step to step what learns,
which DistributedDataParallel does not allow.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
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
        distributed.all_gather_object(found, value)
        return found


ALONE = Team()


@contextlib.contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """The processes that this one was started with; itself alone where nothing says otherwise.

    Raises:
        UserError: where they do not find each other.
    """
    place = _place(os.environ)
    if place is None:
        yield ALONE
        return
    rank, size, local = place
    os.environ.setdefault("MASTER_PORT", PORT)
    if device.type == "cuda":
        torch.cuda.set_device(local)
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
        yield Team(rank, size)
    finally:
        distributed.destroy_process_group()


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
