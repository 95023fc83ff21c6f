"""Daemon threads with a bounded queue."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]

IDLE = 10.0
"""Seconds after which a thread without work ends."""


class Crew:
    """
    Threads of one process; each is started when there is work for it.

    Not a ``ThreadPoolExecutor``: its queue has no bound, and the interpreter waits for its threads at exit, for ever
    where a gateway hangs.
    """

    def __init__(self, name: str, *, size: int, backlog: int) -> None:
        self.pid: int = os.getpid()
        self._name = name
        self._size = size
        self._backlog = backlog
        self._work: deque[Work] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._threads = 0
        self._idle = 0
        self._busy = 0

    def offer(self, work: Work) -> bool:
        """Take on work that raises nothing; False, at once, when as much as the backlog waits already."""
        with self._ready:
            waiting = len(self._work)
            if waiting >= self._size - self._busy + self._backlog:
                return False
            self._work.append(work)
            if self._idle > waiting:
                self._ready.notify()
                return True
            return self._threads >= self._size or self._hire()

    def drain(self, seconds: float) -> None:
        """Wait until all work is done, so long at most; nothing in a process that only inherited this crew."""
        end = time.monotonic() + seconds
        while self.pid == os.getpid() and (self._work or self._busy) and time.monotonic() < end:
            time.sleep(0.01)

    def _hire(self) -> bool:
        self._threads += 1
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:  # the process may have no more threads, or is about to end
            self._threads -= 1
            if self._threads == 0:
                self._work.pop()
                return False
        return True

    def _run(self) -> None:
        work = self._next()
        while work is not None:
            work()
            # A thread that waits must not keep the last message, and with it a code, alive.
            del work
            work = self._next(after=1)

    def _next(self, *, after: int = 0) -> Work | None:
        with self._ready:
            self._busy -= after
            while not self._work:
                self._idle += 1
                notified = self._ready.wait(IDLE)
                self._idle -= 1
                if not notified and not self._work:
                    self._threads -= 1
                    return None
            self._busy += 1
            return self._work.popleft()
