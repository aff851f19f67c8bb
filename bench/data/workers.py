"""Batches made ahead by other processes, and the shared memory that they come in.

A batch is made whole by one process, so the order in which workers finish and how many there are change nothing in it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import os
import shutil
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from bench.data.batches import Batch, clips_in
from bench.environment import own_share
from bench.errors import UserError

Key = TypeVar("Key")

log = logging.getLogger(__name__)

AHEAD = 2  # batches that each worker makes before they are asked for
SPARE = 3  # batches beside those
SHARED = "/dev/shm"  # where Linux keeps memory that processes share


class _Memory(Sampler[tuple[int, int]]):
    """Shared memory for the clips of batches, a piece for each that is being made or in use.

    A piece is used again once no one has the clips that lay in it: fresh memory would cost a worker a fifth of its
    time. As DataLoader's sampler it says which piece a batch is for, in the moment in which that batch is ordered.
    """

    def __init__(self, batches: int, workers: int, size: int) -> None:
        # Those being made, the one that is handed out, the one before it, and one to order the next batch for.
        count = min(batches, AHEAD * workers + SPARE)
        self._batches, self._free = batches, list(range(count))
        try:
            self.pieces = torch.empty((count, size), dtype=torch.uint8).share_memory_()
        except RuntimeError as error:
            raise UserError(
                f"There is no room for {count} batches of {size / 1e6:,.0f} MB in shared memory ({error}). Expected a "
                "larger /dev/shm (docker run --shm-size), smaller batches or fewer workers: runtime.workers."
            ) from error

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The position of each batch and its piece."""
        for position in range(self._batches):
            yield position, self._free.pop()

    def handed_out(self, piece: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """The clips in a piece, which is free when the last view of them is gone."""
        clips = _in_piece(self.pieces, piece, shape)
        if self._free:
            weakref.finalize(clips, self._free.append, piece)
            return clips
        # Whoever uses them keeps many batches.
        self._free.append(piece)
        return clips.copy()


def _in_piece(pieces: Tensor, piece: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    clips: NDArray[np.uint8] = pieces[piece, : math.prod(shape)].view(shape).numpy()
    return clips


class _EndsWith:
    """Ends a worker when the process that made it ends, however that ends.

    torch's own watch is of the worker's parent, which here is the server that workers are forked from, and lives on as
    long as they do.
    """

    def __init__(self) -> None:
        self._end, self._kept = multiprocessing.Pipe(duplex=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"_end": self._end}  # the other one is the maker's alone

    def __call__(self, worker: int) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            self._end.recv()
        os._exit(1)


@dataclass(frozen=True)
class _Made(Dataset[Any], Generic[Key]):
    """What DataLoader asks for, by position and piece of memory."""

    make: Callable[[Key], Batch]
    keys: Sequence[Key]
    pieces: Tensor

    def __getitem__(self, order: tuple[int, int]) -> tuple[int, tuple[int, ...], Batch | str]:
        """The piece, the shape of the clips in it, and the batch without them; or what a user's mistake is."""
        position, piece = order
        memory: NDArray[np.uint8] = self.pieces[piece].numpy()
        try:
            with clips_in(memory):
                batch = self.make(self.keys[position])
        except UserError as error:
            return piece, (), str(error)
        if not np.may_share_memory(batch.clips, memory):
            _in_piece(self.pieces, piece, batch.clips.shape)[:] = batch.clips
        return piece, batch.clips.shape, replace(batch, clips=np.empty(0, np.uint8))


def stream(
    make: Callable[[Key], Batch], keys: Sequence[Key], workers: int = 0, largest: int | None = None
) -> Iterator[Batch]:
    """The batch of each key, in this order, made ahead by `workers` processes; by this one where there are none.

    Args:
        largest: bytes of the clips of the largest batch; as many as the first one has unless said.

    Raises:
        UserError: as `make`, when a worker dies, or without room for the batches.
    """
    if not workers or not keys:
        for key in keys:
            yield make(key)
        return
    size = make(keys[0]).clips.nbytes if largest is None else largest
    workers = _fitting(workers, size)
    memory = _Memory(len(keys), workers, size)
    before = multiprocessing.active_children()
    ordered = iter(_loader(_Made(make, keys, memory.pieces), memory, workers))
    processes = [process for process in multiprocessing.active_children() if process not in before]
    death = ""
    try:
        for piece, shape, made in ordered:
            if isinstance(made, str):
                raise UserError(made)
            yield replace(made, clips=memory.handed_out(piece, shape))
    except Exception as error:
        if not str(error).startswith(DEAD):
            # It has the worker's own trace in words; DataLoader's would keep the workers alive.
            raise error.with_traceback(None)  # noqa: B904
        death = ", ".join(filter(None, map(_ending, processes))) or str(error)
    finally:
        del ordered  # ends the workers
    if death:
        raise UserError(
            f"A worker that makes clips died ({death}). Most often memory or a scheduler's limit ran out; expected "
            "room for them, or fewer: runtime.workers."
        )


def _fitting(workers: int, size: int) -> int:
    """As many workers as there is shared memory for their batches, one at least; half of what is free is others'."""
    try:
        free = shutil.disk_usage(SHARED).free / own_share()
    except OSError:
        return workers
    fitting = max(int(free / 2 / max(size, 1) - SPARE) // AHEAD, 1)
    if fitting < workers:
        log.warning(
            "%d of %d workers make clips: their batches of %.0f MB would not fit into half of the %.1f GB free in %s.",
            fitting,
            workers,
            size / 1e6,
            free / 1e9,
            SHARED,
        )
    return min(workers, fitting)


def _loader(made: _Made[Any], memory: _Memory, workers: int) -> DataLoader[Any]:
    # Not forked from this process: a fork of a process with threads may hang. The server that they are forked from
    # imports once what all of them need.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.data.loader"])
    return DataLoader(
        made,
        batch_size=None,
        sampler=memory,
        num_workers=workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_it_is,
        worker_init_fn=_EndsWith(),
        multiprocessing_context=context,
        generator=torch.Generator(),  # not torch's own, whose state is the caller's
    )


# As DataLoader begins to say that a worker is no more; an error of the worker's own code it tells otherwise.
DEAD = "DataLoader worker (pid"


def _ending(process: BaseProcess) -> str:
    """How a process ended; nothing of one that goes on or ended well."""
    code = process.exitcode
    if not code:
        return ""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _as_it_is(made: Any) -> Any:
    return made
