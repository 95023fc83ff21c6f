"""How work leaves the request: in threads of this process, or in line."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Protocol

from flask import Flask, Response, after_this_request, has_request_context

from ..errors import OTPAuthError
from .causes import cause, cause_behind
from .crew import Crew

log: logging.Logger = logging.getLogger("flask_otpauth")

Job = Callable[[], None]

ANSWERED = 0.1
"""Seconds that a job waits for the answer to leave."""

QUEUED = 1000
"""Jobs that may wait; more are dropped and logged."""


class Dispatcher(Protocol):
    """Runs jobs, each in an app context of its own."""

    def later(self, job: Job, /) -> None:
        """Run the job off the caller's way; what it raises is logged. Never waits and never raises."""
        ...

    def within(self, job: Job, seconds: float, /, *, crew: str = "any") -> None:
        """
        Run the job and wait for it.

        Args:
            crew: Jobs of one name share threads: those that hang take none of another's.

        Raises:
            TimeoutError: It took longer, or there was no thread for it; one that had not begun never begins.
            Exception: Whatever the job raised.
        """
        ...


class Inline:
    """Runs jobs in the caller's thread, without a time-out."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def later(self, job: Job, /) -> None:
        _run_logged(self._app, job)

    def within(self, job: Job, seconds: float, /, *, crew: str = "any") -> None:
        del seconds, crew  # nothing can cut off the caller's own thread
        with self._app.app_context():
            job()


class Threads:
    """
    Runs jobs in daemon threads, which start in the process that first needs them: a server may fork before.

    While ``app.testing`` is set it works in line, so that a test finds its messages without waiting.

    Args:
        workers: Threads for ``later``, and as many again, four times, for each crew of ``within``.
        queued: Jobs that may wait for ``later``.
        grace: Seconds that the end of the process waits for what is queued.
    """

    def __init__(self, app: Flask, *, workers: int = 8, queued: int = QUEUED, grace: float = 5.0) -> None:
        self._app = app
        self._inline = Inline(app)
        self._workers = workers
        self._queued = queued
        self._grace = grace
        # By process id: a crew that was forked along has no threads, and maybe a lock that nobody will open.
        self._crews: dict[tuple[int, str], Crew] = {}

    def later(self, job: Job, /) -> None:
        if self._app.testing:
            self._inline.later(job)
            return
        job = _once_answered(job)
        if not self._crew("later", self._workers, self._queued).offer(partial(_run_logged, self._app, job)):
            log.error("A job was dropped: %d wait already", self._queued)

    def within(self, job: Job, seconds: float, /, *, crew: str = "any") -> None:
        if self._app.testing:
            self._inline.within(job, seconds, crew=crew)
            return
        # Threads of their own: jobs of ``later`` wait here for the sends that they cause.
        threads = self._crew(f"within-{crew}", 4 * self._workers, 4 * self._workers)
        handoff = _Handoff(self._app, job)
        if not threads.offer(handoff.run):
            raise TimeoutError("all threads are busy")
        handoff.wait(seconds)

    def drain(self, seconds: float) -> None:
        """Wait until the jobs of this process are done, so long at most."""
        for crew in list(self._crews.values()):
            crew.drain(seconds)

    def _crew(self, name: str, size: int, backlog: int) -> Crew:
        key = (os.getpid(), name)
        crew = self._crews.get(key)
        if crew is None:
            # No lock: it could have been taken by another thread when the process was forked.
            made = Crew(f"otpauth-{name}", size=size, backlog=backlog)
            crew = self._crews.setdefault(key, made)
            if crew is made and name == "later":
                atexit.register(_drain, weakref.ref(crew), self._grace)
        return crew


def _once_answered(job: Job) -> Job:
    """
    Let a job wait until the answer to the current request has left, so that its work can't be seen in the time of it.

    Not for long: a client of tests may never close the answer.
    """
    if not has_request_context():
        return job
    left = threading.Event()

    def note(response: Response) -> Response:
        response.call_on_close(left.set)
        return response

    after_this_request(note)

    def wait() -> None:
        left.wait(ANSWERED)
        job()

    return wait


class _Handoff:
    """A job that another thread runs while this one waits."""

    def __init__(self, app: Flask, job: Job) -> None:
        self._app = app
        self._job = job
        self._claim = threading.Lock()
        self._done = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        try:
            with self._app.app_context():
                self._job()
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            self._error = error
        finally:
            self._done.set()

    def wait(self, seconds: float) -> None:
        if not self._done.wait(seconds):
            # Whoever gets the claim decides whether the job ever begins.
            begun = not self._claim.acquire(blocking=False)
            raise TimeoutError("no answer in time" if begun else "no thread was free in time")
        if self._error is not None:
            raise self._error


def _drain(crew: weakref.ref[Crew], seconds: float) -> None:
    alive = crew()
    if alive is not None:
        alive.drain(seconds)


def _run_logged(app: Flask, job: Job) -> None:
    try:
        with app.app_context():
            job()
    except OTPAuthError as error:
        # A refusal, whose cause was logged where it was found.
        log.warning("A job off the request ended with %s: %s", error.code, cause_behind(error) or error.detail)
    except Exception as error:  # noqa: BLE001 - there is nobody to raise it to
        log.error("A job off the request failed: %s", cause(error))  # noqa: TRY400 - a traceback may tell a code
