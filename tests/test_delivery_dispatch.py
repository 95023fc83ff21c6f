"""Threads: bounded, started in the process that needs them, and silent about codes."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from flask import Flask, current_app

from flask_otpauth.delivery import Inline, Threads, dispatch
from flask_otpauth.delivery.crew import Crew
from flask_otpauth.delivery.dispatch import _drain as at_exit
from flask_otpauth.errors import DeliveryFailed

Maker = Callable[..., Flask]


@pytest.fixture
def app(make_app: Maker) -> Flask:
    return make_app(TESTING=False)


@pytest.fixture
def gate() -> Generator[threading.Event, None, None]:
    """Holds jobs until it is set; set at the end, so that no thread of a test outlives it."""
    event = threading.Event()
    yield event
    event.set()


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_jobs_run_in_other_threads_each_in_a_context_of_its_own(app: Flask) -> None:
    threads = Threads(app)
    contexts: list[object] = []
    names: set[str] = set()
    barrier = threading.Barrier(2)

    def job() -> None:
        contexts.append(current_app._get_current_object())
        names.add(threading.current_thread().name)
        barrier.wait(5)

    before = time.monotonic()
    threads.later(job)
    threads.later(job)
    assert time.monotonic() - before < 1
    threads.drain(5)
    assert contexts == [app, app]
    assert threading.current_thread().name not in names


def test_a_job_of_a_request_begins_when_the_answer_has_left(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "ANSWERED", 60)
    threads, began = Threads(app), threading.Event()

    @app.get("/")
    def ask() -> str:
        threads.later(began.set)
        return "answered"

    response = app.test_client().get("/")
    assert not began.wait(0.03)
    response.close()
    assert began.wait(5)


def test_a_job_does_not_wait_for_ever_for_the_answer_to_leave(app: Flask) -> None:
    threads, began = Threads(app), threading.Event()

    @app.get("/")
    def ask() -> str:
        threads.later(began.set)
        return "answered"

    response = app.test_client().get("/")
    assert began.wait(5)
    response.close()


def test_the_context_of_a_job_ends_with_it(app: Flask) -> None:
    ended = threading.Event()

    @app.teardown_appcontext
    def note(_: BaseException | None) -> None:
        ended.set()

    Threads(app).later(lambda: None)
    assert ended.wait(5)


def test_a_thousand_jobs_of_many_threads_all_run_once(app: Flask) -> None:
    threads = Threads(app, workers=4, queued=2000)
    done: list[int] = []
    starters = [
        threading.Thread(
            target=lambda start=start: [threads.later(lambda n=n: done.append(n)) for n in range(start, start + 50)]
        )
        for start in range(0, 1000, 50)
    ]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    threads.drain(10)
    assert sorted(done) == list(range(1000))


def test_no_more_threads_than_workers(app: Flask, gate: threading.Event) -> None:
    threads = Threads(app, workers=3)
    running: list[str] = []

    def job() -> None:
        running.append(threading.current_thread().name)
        gate.wait(10)

    for _ in range(20):
        threads.later(job)
    wait_until(lambda: len(running) == 3)
    time.sleep(0.05)
    assert len(running) == 3
    gate.set()
    threads.drain(5)
    assert len(running) == 20


def test_a_full_queue_drops_and_logs_and_never_waits(
    app: Flask, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    threads = Threads(app, workers=1, queued=2)
    done: list[int] = []
    threads.later(lambda: (gate.wait(10), done.append(0))[1])
    before = time.monotonic()
    for number in range(1, 5):
        threads.later(lambda number=number: done.append(number))
    assert time.monotonic() - before < 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "dropped" in caplog.text
    gate.set()
    threads.drain(5)
    assert done == [0, 1, 2]


def test_what_a_job_raises_is_logged_without_a_code(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def job() -> None:
        raise ValueError("can't send 004217 to +15005550006")

    threads = Threads(app, workers=1)
    threads.later(job)
    done: list[int] = []
    threads.later(lambda: done.append(1))
    threads.drain(5)
    assert done == [1]
    assert "ValueError: can't send" in caplog.text
    assert "test_delivery_dispatch.py" in caplog.text
    assert "004217" not in caplog.text
    assert "15005550006" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


def test_a_refusal_in_a_job_is_logged_by_its_code(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def job() -> None:
        raise DeliveryFailed

    Inline(app).later(job)
    assert "delivery_failed" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_inline_runs_in_the_callers_thread_with_its_own_context(app: Flask) -> None:
    seen: list[tuple[int, str]] = []
    Inline(app).later(lambda: seen.append((threading.get_ident(), current_app.name)))
    Inline(app).within(lambda: seen.append((threading.get_ident(), current_app.name)), 1)
    assert seen == [(threading.get_ident(), "host")] * 2
    with pytest.raises(KeyError):
        Inline(app).within(lambda: {}["x"], 1)


def test_threads_work_in_line_while_the_app_is_tested(app: Flask) -> None:
    threads = Threads(app)
    app.testing = True
    seen: list[int] = []
    threads.later(lambda: seen.append(threading.get_ident()))
    threads.within(lambda: seen.append(threading.get_ident()), 1)
    assert seen == [threading.get_ident()] * 2


def test_within_waits_and_raises_what_the_job_raised(app: Flask) -> None:
    threads = Threads(app)
    seen: list[int] = []
    threads.within(lambda: seen.append(threading.get_ident()), 5)
    assert len(seen) == 1
    assert seen[0] != threading.get_ident()
    with pytest.raises(KeyError):
        threads.within(lambda: {}["x"], 5)


def test_within_lets_go_of_a_job_that_hangs(app: Flask, gate: threading.Event) -> None:
    before = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer"):
        Threads(app).within(lambda: gate.wait(10) and None, 0.1)
    assert time.monotonic() - before < 2


def test_a_job_that_was_given_up_before_it_began_never_begins(app: Flask, gate: threading.Event) -> None:
    threads = Threads(app, workers=1)
    for _ in range(4):
        with pytest.raises(TimeoutError):
            threads.within(lambda: gate.wait(10) and None, 0.02)
    ran: list[int] = []
    with pytest.raises(TimeoutError, match="no thread was free"):
        threads.within(lambda: ran.append(1), 0.05)
    gate.set()
    threads.drain(5)
    assert ran == []


def test_within_refuses_at_once_when_too_many_wait(app: Flask, gate: threading.Event) -> None:
    threads = Threads(app, workers=1)
    for _ in range(8):
        with pytest.raises(TimeoutError):
            threads.within(lambda: gate.wait(10) and None, 0.01)
    before = time.monotonic()
    with pytest.raises(TimeoutError, match="busy"):
        threads.within(lambda: None, 5)
    assert time.monotonic() - before < 1


def test_a_crew_whose_threads_all_hang_takes_none_of_another(app: Flask, gate: threading.Event) -> None:
    threads = Threads(app, workers=1)
    for _ in range(8):
        with pytest.raises(TimeoutError):
            threads.within(lambda: gate.wait(10) and None, 0.01, crew="sms")
    with pytest.raises(TimeoutError, match="busy"):
        threads.within(lambda: None, 5, crew="sms")
    threads.within(lambda: None, 5, crew="email")


def test_jobs_may_wait_for_sends_of_their_own(app: Flask) -> None:
    threads = Threads(app, workers=2)
    done: list[int] = []
    for number in range(20):
        threads.later(lambda number=number: threads.within(lambda: done.append(number), 5))
    threads.drain(10)
    assert sorted(done) == list(range(20))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own(app: Flask) -> None:
    threads = Threads(app)
    threads.later(lambda: None)
    threads.within(lambda: None, 5)
    threads.drain(5)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        threads.later(lambda: os.write(writing, b"later") and None)
        threads.within(lambda: os.write(writing, b"within") and None, 5)
        threads.drain(5)
        os._exit(0)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    assert sorted(told) == sorted(b"laterwithin")


PROGRAM = """
import sys, time
from flask import Flask
from flask_otpauth.delivery import Threads

app = Flask("host")
threads = Threads(app, grace=float(sys.argv[1]))
threads.later(lambda: (time.sleep(float(sys.argv[2])), print("sent", flush=True))[1])
"""


def run_program(grace: float, work: float) -> tuple[str, float]:
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(grace), str(work)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=Path(__file__).parent.parent,
    )
    return done.stdout, time.monotonic() - before


def test_the_end_of_the_process_waits_for_what_is_queued() -> None:
    assert run_program(grace=10, work=0.3)[0] == "sent\n"


def test_the_end_of_the_process_does_not_wait_for_a_gateway_that_hangs() -> None:
    printed, seconds = run_program(grace=0.2, work=25)
    assert printed == ""
    assert seconds < 15


def test_idle_threads_end_and_others_start_when_there_is_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_otpauth.delivery.crew.IDLE", 0.02)
    crew = Crew("short", size=2, backlog=10)
    done: list[int] = []
    for number in range(3):
        assert crew.offer(lambda number=number: done.append(number))
        wait_until(lambda number=number: len(done) == number + 1)
        wait_until(lambda: not any(thread.name == "short" for thread in threading.enumerate()))


def test_work_is_refused_where_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew("none", size=2, backlog=10)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert not crew.offer(lambda: None)
    done = threading.Event()
    assert crew.offer(done.set)
    assert done.wait(5)


def test_work_waits_where_no_further_thread_can_start(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> None:
    crew = Crew("one", size=2, backlog=10)
    running, done = threading.Event(), threading.Event()
    assert crew.offer(lambda: (running.set(), gate.wait(10))[0])
    assert running.wait(5)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert crew.offer(done.set)
    gate.set()
    assert done.wait(5)


def test_the_end_of_the_process_waits_for_living_crews_only() -> None:
    crew = Crew("ending", size=1, backlog=1)
    done: list[int] = []
    crew.offer(lambda: (time.sleep(0.1), done.append(1))[1])
    at_exit(weakref.ref(crew), 5)
    assert done == [1]
    reference = weakref.ref(Crew("gone", size=1, backlog=1))
    gc.collect()
    at_exit(reference, 5)


def test_a_crew_that_was_inherited_is_not_waited_for() -> None:
    crew = Crew("inherited", size=1, backlog=1)
    gate = threading.Event()
    crew.offer(lambda: gate.wait(10) and None)
    crew.pid += 1
    before = time.monotonic()
    crew.drain(5)
    assert time.monotonic() - before < 1
    gate.set()
