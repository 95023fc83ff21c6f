"""Races: many threads behind one barrier, and several processes each with stores of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

from tests.contracts.backends import Backend, Stores
from tests.processes import CONTEXT

T = TypeVar("T")
WAIT = 60


def in_threads(count: int, work: Callable[[int], T]) -> list[T]:
    """Call ``work(0)`` to ``work(count - 1)`` at once; give what each returned."""
    barrier = threading.Barrier(count)

    def enter(number: int) -> T:
        barrier.wait(WAIT)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(enter, range(count)))


def in_processes(count: int, backend: Backend, work: Callable[[Stores, int], T], *, threads: int = 1) -> list[T]:
    """Call ``work(stores, number)`` in that many processes (and threads of each) at once; a function of a module."""
    barrier, results = CONTEXT.Barrier(count), CONTEXT.Queue()
    shares = [range(start, start + threads) for start in range(0, count * threads, threads)]
    processes = [CONTEXT.Process(target=_enter, args=(backend, work, share, barrier, results)) for share in shares]
    for process in processes:
        process.start()
    gathered: list[Any] = []
    try:
        for _ in processes:
            outcome = results.get(timeout=WAIT)
            assert not isinstance(outcome, str), outcome
            gathered.extend(outcome)
    finally:
        for process in processes:
            process.join(WAIT)
        results.close()
    return gathered


def in_killed_process(backend: Backend, work: Callable[[Stores, int], object]) -> None:
    """Call ``work`` in a process that dies right after it, without any cleaning up."""
    process = CONTEXT.Process(target=_die, args=(backend, work))
    process.start()
    process.join(WAIT)
    assert process.exitcode == 9


def _enter(
    backend: Backend,
    work: Callable[[Stores, int], Any],
    numbers: range,
    barrier: Barrier,
    results: Queue[Any],
) -> None:
    try:
        with backend.open() as stores:
            stores.database.ping()
            barrier.wait(WAIT)
            results.put(in_threads(len(numbers), lambda index: work(stores, numbers[index])))
    except BaseException as error:
        results.put(f"{type(error).__name__}: {error} ({error.__cause__!r})")
        raise


def _die(backend: Backend, work: Callable[[Stores, int], object]) -> None:
    with backend.open() as stores:
        work(stores, 0)
        os._exit(9)
