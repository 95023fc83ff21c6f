"""Four workers of four threads over real HTTP: nothing fails under load, and no guess is free."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa

from tests.integration.servers import Answer, Client, Gunicorn, Outbox

pytestmark = [pytest.mark.services, pytest.mark.slow]

POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/test"
PASSWORD = "my dog eats soap"
MANY = "1000000 per hour"


@pytest.fixture
def schema() -> Iterator[str]:
    """Give the URL of a PostgreSQL schema of this test's own."""
    name = f"served_{secrets.token_hex(6)}"
    engine = sa.create_engine(POSTGRES, connect_args={"connect_timeout": 3})
    try:
        try:
            with engine.begin() as connection:
                connection.execute(sa.schema.CreateSchema(name))
        except sa.exc.OperationalError:
            if os.environ.get("CI"):
                raise
            pytest.skip("PostgreSQL doesn't answer on 127.0.0.1:5432")
        yield f"{POSTGRES}?options=-csearch_path%3D{name}"
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(name, cascade=True))
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database; the one of SQLite is that of the defaults."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("schema"))
    return f"sqlite:///{tmp_path / 'instance' / 'served.db'}"


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.jsonl")


@pytest.fixture
def server(url: str, outbox: Outbox, tmp_path: Path) -> Iterator[Gunicorn]:
    # A production start: no debug, no testing. bcrypt has its lowest cost outside of them.
    config = {
        "SECRET_KEY": secrets.token_hex(32),
        "SQLALCHEMY_DATABASE_URI": url,
        "OTPAUTH_BCRYPT_ROUNDS": 10,
        "OTPAUTH_SMS_COUNTRIES": ["US"],
        "OTPAUTH_SEND_IP_LIMITS": MANY,
        "OTPAUTH_VERIFY_IP_LIMITS": MANY,
        "OTPAUTH_LOGIN_IP_LIMITS": MANY,
    }
    environ = {
        "OTPAUTH_TEST_CONFIG": json.dumps(config),
        "OTPAUTH_TEST_OUTBOX": str(outbox.path),
        "OTPAUTH_TEST_INSTANCE": str(tmp_path / "instance"),
    }
    (tmp_path / "instance").mkdir()
    with Gunicorn("tests.integration.app:create_app()", tmp_path, environ=environ) as server:
        yield server
        assert server.faults == []


def register(client: Client, outbox: Outbox, name: str) -> Answer:
    """Register and prove the address; every answer on the way must be the right one."""
    email = f"{name}@example.org"
    asked = client.post("/auth/register", {"username": name, "email": email, "password": PASSWORD})
    assert asked.status == 202, asked
    body = {"challenge_id": asked.body["challenge_id"], "otp": outbox.code(email)}
    proved = client.post("/auth/verify-otp", body)
    # Nobody waits for the send of an anonymous caller, and a code counts once its sender has returned: a program that
    # reads the outbox can be faster. No person is.
    for _ in range(3):
        if proved.body.get("code") != "otp_invalid":
            break
        time.sleep(0.5)
        proved = client.post("/auth/verify-otp", body)
    assert proved.status == 200, proved
    return proved


def ask(client: Client, name: str) -> str:
    """Log in with the password, and give the id of the challenge."""
    asked = client.post("/auth/login", {"identifier": name, "password": PASSWORD})
    assert asked.status == 200, asked
    return str(asked.body["challenge_id"])


def at_once(number: int, call: Callable[[], Answer]) -> list[Answer]:
    """Make the same request from many threads at the same time."""
    barrier = Barrier(number)

    def one(_: int) -> Answer:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def rows(url: str, statement: str) -> int:
    """Give the number that an SQL statement counts."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return int(connection.execute(sa.text(statement)).scalar_one())
    finally:
        engine.dispose()


def test_200_registrations_and_logins_by_16_clients(server: Gunicorn, outbox: Outbox) -> None:
    def walk(number: int) -> None:
        client, name = server.client(), f"user{number}"
        register(client, outbox, name)
        challenge_id = ask(client, name)
        code = outbox.code(f"{name}@example.org", 2)
        tokens = client.post("/auth/verify-otp", {"challenge_id": challenge_id, "otp": code})
        assert tokens.status == 200, tokens
        assert client.get("/private", tokens.body["access_token"]).status == 200

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(walk, range(200)))


def test_50_right_codes_at_once_make_one_session(server: Gunicorn, outbox: Outbox, url: str) -> None:
    client = server.client()
    register(client, outbox, "ann")
    body = {"challenge_id": ask(client, "ann"), "otp": outbox.code("ann@example.org", 2)}
    before = rows(url, "SELECT count(*) FROM otpauth_session")
    answers = at_once(50, lambda: client.post("/auth/verify-otp", body))
    assert Counter(answer.status for answer in answers) == {200: 1, 401: 49}
    assert {answer.body["code"] for answer in answers if answer.status == 401} == {"challenge_invalid"}
    assert rows(url, "SELECT count(*) FROM otpauth_session") == before + 1


def test_50_wrong_codes_at_once_are_compared_5_times(server: Gunicorn, outbox: Outbox) -> None:
    client = server.client()
    register(client, outbox, "ann")
    challenge_id, right = ask(client, "ann"), outbox.code("ann@example.org", 2)
    wrong = {"challenge_id": challenge_id, "otp": f"{(int(right) + 1) % 10**6:06d}"}
    answers = at_once(50, lambda: client.post("/auth/verify-otp", wrong))
    assert Counter(answer.body["code"] for answer in answers) == {"otp_invalid": 5, "challenge_invalid": 45}
    assert sorted(a.body["attempts_left"] for a in answers if a.body["code"] == "otp_invalid") == [0, 1, 2, 3, 4]
    # Not even the right one is compared now.
    late = client.post("/auth/verify-otp", {"challenge_id": challenge_id, "otp": right})
    assert late.body["code"] == "challenge_invalid"
