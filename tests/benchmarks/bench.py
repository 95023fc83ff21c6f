"""
What the extension costs, in process: ``python tests/benchmarks/bench.py [--rounds 15] [--requests 300]``.

Every row is a request of Flask's test client, whose own cost (about half of a bare view) is in all of them alike.
The rows take turns in each round, so that a machine that gets slower slows all; the median of the rounds is shown, and
its ratio to that of a bare Flask view with a secret key. SQL statements are counted in the database driver, apart from
the rounds. The database is a SQLite file, the limits are on; the sends are in line, so they are in the numbers. The
password hash is the cheapest (bcrypt of cost 4) and still most of a request by password: it has a row of its own.
"""

from __future__ import annotations

import argparse
import gc
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from flask_otpauth import OTPAuth, current_session, otp_required
from flask_otpauth.types import Message, NewAccount

Call = dict[str, Any]
"""Arguments of the test client's ``open``."""
PASSWORD = "my dog eats soap"
MANY = "10000000 per hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One line of the table.

    Attributes:
        requests: Gives so many requests for the next round; made outside of the measured time.
        status: What each request must be answered with.
        share: Part of the requests of a round that this row makes: expensive ones need fewer.
    """

    name: str
    app: Flask
    requests: Callable[[int], list[Call]]
    status: str = "200"
    share: float = 1.0


class Host:
    """An app with the extension, its users and the codes that were sent to them."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.app = Flask("bench", instance_path=str(folder))
        self.app.config.update(
            TESTING=True,
            SECRET_KEY="a key of the benchmark, long enough: 0123456789",
            OTPAUTH_BCRYPT_ROUNDS=4,
            OTPAUTH_SEND_IP_LIMITS=MANY,
            OTPAUTH_VERIFY_IP_LIMITS=MANY,
            OTPAUTH_LOGIN_IP_LIMITS=MANY,
            **config,
        )
        self.codes: dict[str, str] = {}
        self.users = 0
        OTPAuth(self.app, email=self._keep)
        self.app.add_url_rule("/plain", view_func=_plain)
        self.app.add_url_rule("/private", view_func=otp_required(_private))

    def _keep(self, message: Message) -> None:
        if message.code is not None:
            self.codes[message.to] = message.code

    def add(self, number: int) -> list[str]:
        """Add users with the same password and a proved address; give their names."""
        service = self.app.extensions["otpauth"]
        names = [f"user{self.users + index}" for index in range(number)]
        self.users += number
        with self.app.app_context():
            for name in names:
                new = NewAccount(
                    username=name, email=f"{name}@example.org", password_hash=self._hash, email_verified=True
                )
                service.users.add(new)
        return names

    @property
    def _hash(self) -> str:
        if not hasattr(self, "_stored"):
            service = self.app.extensions["otpauth"]
            self._stored: str = service.login._parts.passwords.hash(PASSWORD)
        return self._stored

    def login(self, name: str) -> dict[str, Any]:
        """Log in over HTTP by password and code; give the body, and the cookie as ``cookie``."""
        challenge_id = self.post("/auth/login", {"identifier": name, "password": PASSWORD})["challenge_id"]
        code = self.codes[f"{name}@example.org"]
        return self.post("/auth/verify-otp", {"challenge_id": challenge_id, "otp": code})

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post JSON outside of the measured time."""
        response = self.app.test_client().post(path, json=body)
        assert response.status_code in {200, 202}, response.text
        cookies = [header.partition(";")[0] for header in response.headers.getlist("Set-Cookie")]
        return {**response.get_json(), "cookie": "; ".join(cookies)}

    def asking(self, number: int) -> list[Call]:
        """Requests for a code by password, each of another user."""
        return [_post("/auth/login", {"identifier": name, "password": PASSWORD}) for name in self.add(number)]

    def asking_alone(self, number: int) -> list[Call]:
        """Requests for a code without a password, each of another user."""
        return [_post("/auth/login", {"identifier": f"{name}@example.org"}) for name in self.add(number)]

    def verifying(self, number: int) -> list[Call]:
        """Right answers, each to another user's challenge."""
        made: list[Call] = []
        for name in self.add(number):
            challenge = self.post("/auth/login", {"identifier": name, "password": PASSWORD})
            body = {"challenge_id": challenge["challenge_id"], "otp": self.codes[f"{name}@example.org"]}
            made.append(_post("/auth/verify-otp", body))
        return made


def _plain() -> dict[str, str]:
    return {"hello": "world"}


def _private() -> dict[str, str]:
    return {"user": current_session.user_id}


def _bare() -> Flask:
    app = Flask("bare")
    app.secret_key = "a key of the benchmark, long enough: 0123456789"
    app.add_url_rule("/plain", view_func=_plain)
    return app


def _get(path: str, **headers: str) -> Callable[[int], list[Call]]:
    return lambda number: [{"path": path, "headers": headers} for _ in range(number)]


def _post(path: str, body: dict[str, Any]) -> Call:
    return {"path": path, "method": "POST", "json": body}


def rows(folder: Path) -> list[Row]:
    """Make the apps, and the lines of the table."""
    jwt = Host(folder / "jwt")
    cached = Host(folder / "cached", OTPAUTH_SESSION_CACHE=5) if _has_cache() else None
    session = Host(folder / "session", OTPAUTH_CREDENTIALS=("session",))
    alone = Host(folder / "alone", OTPAUTH_FIRST_FACTOR="otp")

    def bearer(host: Host) -> Callable[[int], list[Call]]:
        return _get("/private", Authorization="Bearer " + host.login(host.add(1)[0])["access_token"])

    cookie = session.login(session.add(1)[0])["cookie"]
    table = [
        Row(name="bare Flask view", app=_bare(), requests=_get("/plain")),
        Row(name="unprotected view of an app with the extension", app=jwt.app, requests=_get("/plain")),
        Row(name="@otp_required, JWT", app=jwt.app, requests=bearer(jwt)),
        Row(name="@otp_required, session", app=session.app, requests=_get("/private", Cookie=cookie)),
        Row(name="ask for a code, by password", app=jwt.app, requests=jwt.asking, share=0.2),
        Row(name="ask for a code, passwordless", app=alone.app, requests=alone.asking_alone, status="202", share=0.2),
        Row(name="verify a code", app=jwt.app, requests=jwt.verifying, share=0.2),
    ]
    if cached is not None:
        table.insert(3, Row(name="the same with OTPAUTH_SESSION_CACHE", app=cached.app, requests=bearer(cached)))
    return table


def _has_cache() -> bool:
    from flask_otpauth.config import Settings

    return "session_cache" in Settings.__dataclass_fields__


def run(app: Flask, calls: list[Call], status: str) -> float:
    """Make the requests; give the seconds that they took."""
    client = app.test_client(use_cookies=False)
    began = time.perf_counter()
    answers = [client.open(**call) for call in calls]
    took = time.perf_counter() - began
    assert all(answer.status.startswith(status) for answer in answers), answers
    return took


@contextmanager
def statements(connections: list[sqlite3.Connection]) -> Iterator[list[str]]:
    """Collect the SQL that runs meanwhile, whoever sends it; what begins and ends a transaction isn't counted."""
    seen: list[str] = []

    def note(statement: str) -> None:
        if not statement.startswith(("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA")):
            seen.append(statement)

    for connection in connections:
        connection.set_trace_callback(note)
    try:
        yield seen
    finally:
        for connection in connections:
            connection.set_trace_callback(None)


def measure(table: list[Row], rounds: int, requests: int) -> dict[str, float]:
    """Give µs per request for each row: the median of the rounds, in which the rows take turns."""
    took: dict[str, list[float]] = {row.name: [] for row in table}
    for number in range(-1, rounds):  # the first round warms up
        for row in table:
            calls = row.requests(max(10, int(requests * row.share)))
            gc.collect()
            seconds = run(row.app, calls, row.status)
            if number >= 0:
                took[row.name].append(seconds / len(calls) * 1e6)
    return {name: statistics.median(values) for name, values in took.items()}


def count(row: Row, connections: list[sqlite3.Connection]) -> float:
    """Give the SQL statements of one request."""
    calls = row.requests(10)
    with statements(connections) as seen:
        run(row.app, calls, row.status)
    return len(seen) / len(calls)


def hashing(host: Host) -> float:
    """Give the µs of comparing a password."""
    service = host.app.extensions["otpauth"]
    passwords, stored = service.login._parts.passwords, host._hash
    spans: list[float] = []
    for _ in range(50):
        began = time.perf_counter()
        passwords.verify(stored, PASSWORD)
        spans.append(time.perf_counter() - began)
    return statistics.median(spans) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="What the extension costs, in process.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=300, help="per round; those that write make a fifth")
    options = parser.parse_args()
    connections: list[sqlite3.Connection] = []
    sa.event.listen(sa.pool.Pool, "connect", lambda connection, _: connections.append(connection))
    with tempfile.TemporaryDirectory() as folder:
        table = rows(Path(folder))
        times = measure(table, options.rounds, options.requests)
        bare = times[table[0].name]
        print(f"Python {sys.version.split()[0]}, {options.rounds} rounds of {options.requests} requests\n")
        print(f"{'request':<48}{'µs':>9}{'ratio':>9}{'SQL':>7}")
        for row in table:
            print(f"{row.name:<48}{times[row.name]:>9.0f}{times[row.name] / bare:>9.2f}{count(row, connections):>7.1f}")
        hashed = hashing(Host(Path(folder) / "hash"))
        print(f"{'(comparing the password alone)':<48}{hashed:>9.0f}{hashed / bare:>9.2f}{'':>7}")


if __name__ == "__main__":
    main()
