"""A function of many items in processes; an item that kills its process is found and named. Imports no torch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Items given out to each process. A few, so that none waits; all of them would cost memory and make an end slow.
AHEAD = 2


@dataclass(frozen=True)
class Died:
    """What comes of an item whose process was killed by it: a decoder that crashes, memory that runs out."""


def each(
    function: Callable[[T], R], items: Iterable[T], workers: int
) -> contextlib.closing[Generator[tuple[T, R | Died], None, None]]:
    """Every item with what came of it, as they get ready: `with each(...) as results: for item, result in results`.

    The processes end with the block, however it is left, and with this process, however that ends. What `function`
    raises is raised here.

    Args:
        function: of a module, as it is sent to the processes by its name.
    """
    return contextlib.closing(_each(function, deque(items), workers))


def _each(function: Callable[[T], R], rest: deque[T], workers: int) -> Generator[tuple[T, R | Died], None, None]:
    while rest:
        # One of these killed its process; alone in a new one, each shows whether it was that.
        for suspect in (yield from _together(function, rest, workers)):
            if (yield from _together(function, deque([suspect]), 1)):
                yield suspect, Died()


def _together(function: Callable[[T], R], rest: deque[T], workers: int) -> Generator[tuple[T, R], None, list[T]]:
    """Takes items until there are none, or a process dies; returns those that were under way then."""
    # Not forked: a fork of a process with threads may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    running: dict[Future[R], T] = {}
    try:
        while rest or running:
            while rest and len(running) < AHEAD * workers:
                running[pool.submit(function, rest[0])] = rest[0]
                rest.popleft()
            ready, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                result = future.result()
                yield running.pop(future), result
    except BrokenProcessPool:
        return list(running.values())
    finally:
        pool.shutdown(cancel_futures=True)
    return []


def _begin() -> None:
    """In a new process: leave interrupts to the one that made it, and end when that one does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot end its processes, which would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
