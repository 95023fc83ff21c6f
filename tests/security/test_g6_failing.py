"""G6: when a part fails, nobody gets in and nobody gets free guesses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_otpauth import OTPAuth, otp_required
from flask_otpauth.testing import capture_messages

PASSWORD = "correct horse battery"
PHONE = "+972508464336"
NOWHERE = "redis://127.0.0.1:9/0"


def host(app: Flask, tmp_path: Path, clock: Any) -> SQLAlchemy:
    """Put the extension on an app with a database of its own, which a test can break."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/host.sqlite3"
    db = SQLAlchemy(app)
    OTPAuth(app, db=db, clock=clock)

    @app.get("/private")
    @otp_required
    def private() -> str:
        return "in"

    with app.app_context():
        db.create_all()
        db.engine.dispose()
    return db


def drop(app: Flask, db: SQLAlchemy, table: str) -> None:
    with app.app_context():
        with db.engine.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE {table} RENAME TO gone"))
        db.engine.dispose()


@pytest.mark.parametrize(
    "table", ["otpauth_challenge", "otpauth_guard", "otpauth_session", "otpauth_client", "otpauth_event", "users"]
)
def test_without_a_table_nobody_gets_in(make_app: Callable[..., Flask], tmp_path: Path, clock: Any, table: str) -> None:
    app = make_app()
    db = host(app, tmp_path, clock)
    client = app.test_client()
    with capture_messages(app) as messages:
        body = {"username": "ann", "password": PASSWORD, "phone": PHONE}
        asked = client.post("/auth/register", json=body)
        answer = {"challenge_id": asked.json["challenge_id"], "otp": messages[-1].code}  # type: ignore[index]
        drop(app, db, table)
        refused = client.post("/auth/verify-otp", json=answer)
        assert (refused.status_code, refused.json["code"]) == (503, "service_unavailable")  # type: ignore[index]
        assert refused.headers["Retry-After"]
        assert "otpauth" not in refused.json["detail"].lower()  # type: ignore[index]
        login = client.post("/auth/login", json={"identifier": "ann", "password": PASSWORD})
        assert login.status_code in {401, 503}
        assert client.get("/private").status_code == 401


def test_without_sessions_no_token_is_good(make_app: Callable[..., Flask], tmp_path: Path, clock: Any) -> None:
    app = make_app()
    db = host(app, tmp_path, clock)
    client = app.test_client()
    with capture_messages(app) as messages:
        body = {"username": "ann", "password": PASSWORD, "phone": PHONE}
        asked = client.post("/auth/register", json=body)
        answer = {"challenge_id": asked.json["challenge_id"], "otp": messages[-1].code}  # type: ignore[index]
        tokens = client.post("/auth/verify-otp", json=answer).json
    assert tokens is not None
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert client.get("/private", headers=headers).status_code == 200
    drop(app, db, "otpauth_session")
    refused = client.get("/private", headers=headers)
    assert (refused.status_code, refused.json["code"]) == (503, "service_unavailable")  # type: ignore[index]


def test_a_database_that_is_away_is_told_by_health(make_app: Callable[..., Flask]) -> None:
    url = "postgresql+psycopg://postgres@127.0.0.1:9/test"
    app = make_app(SQLALCHEMY_DATABASE_URI=url)
    db = SQLAlchemy(app)
    OTPAuth(app, db=db)
    answer = app.test_client().get("/auth/health")
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    login = app.test_client().post("/auth/login", json={"identifier": "ann", "password": PASSWORD})
    assert login.status_code == 503


@pytest.mark.parametrize("path", ["/auth/login", "/auth/verify-otp", "/auth/register"])
def test_without_the_storage_of_limits_nothing_is_let_through(
    make_app: Callable[..., Flask], clock: Any, path: str
) -> None:
    bodies = {
        "/auth/login": {"identifier": "ann", "password": PASSWORD},
        "/auth/verify-otp": {"challenge_id": "x", "otp": "123456"},
        "/auth/register": {"username": "ann", "password": PASSWORD, "phone": PHONE},
    }
    app = make_app(RATELIMIT_STORAGE_URI=NOWHERE)
    OTPAuth(app, clock=clock)
    with capture_messages(app) as messages:
        assert app.test_client().post(path, json=bodies[path]).status_code == 503
        assert messages == []


def test_a_policy_that_raises_lets_nobody_in(make_app: Callable[..., Flask], clock: Any) -> None:
    def policy(user: Any) -> bool:
        raise RuntimeError("of the host")

    app = make_app(OTPAUTH_REGISTRATION="open", OTPAUTH_SECOND_FACTOR=policy)
    OTPAuth(app, clock=clock)
    client = app.test_client()
    client.post("/auth/register", json={"username": "ann", "password": PASSWORD, "phone": PHONE})
    # As often as a wrong password may be sent, and once more: a right one counts for nothing.
    for _ in range(6):
        answer = client.post("/auth/login", json={"identifier": "ann", "password": PASSWORD})
        assert (answer.status_code, answer.json["code"]) == (503, "service_unavailable")  # type: ignore[index]
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("said", [False, 0, ""])
def test_a_policy_that_says_no_asks_for_no_code(make_app: Callable[..., Flask], clock: Any, said: object) -> None:
    app = make_app(OTPAUTH_REGISTRATION="open", OTPAUTH_SECOND_FACTOR=lambda user: said)
    OTPAuth(app, clock=clock)
    client = app.test_client()
    client.post("/auth/register", json={"username": "ann", "password": PASSWORD, "phone": PHONE})
    answer = client.post("/auth/login", json={"identifier": "ann", "password": PASSWORD})
    assert "access_token" in answer.json  # type: ignore[operator]


def test_a_policy_that_decides_nothing_lets_nobody_in(
    make_app: Callable[..., Flask], clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # A function that returns for some users, and for the rest runs past its end.
    app = make_app(OTPAUTH_REGISTRATION="open", OTPAUTH_SECOND_FACTOR=lambda user: None)
    OTPAuth(app, clock=clock)
    client = app.test_client()
    client.post("/auth/register", json={"username": "ann", "password": PASSWORD, "phone": PHONE})
    answer = client.post("/auth/login", json={"identifier": "ann", "password": PASSWORD})
    assert (answer.status_code, answer.json["code"]) == (503, "service_unavailable")  # type: ignore[index]
    assert "OTPAUTH_SECOND_FACTOR failed: it gave None" in caplog.text


def test_a_crash_between_charge_and_compare_leaves_it_counted(
    make_app: Callable[..., Flask], clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(PROPAGATE_EXCEPTIONS=False)
    OTPAuth(app, clock=clock)
    client = app.test_client()
    with capture_messages(app) as messages:
        asked = client.post("/auth/register", json={"username": "ann", "password": PASSWORD, "phone": PHONE})
        answer = {"challenge_id": asked.json["challenge_id"], "otp": messages[-1].code}  # type: ignore[index]
        with monkeypatch.context() as patched:
            patched.setattr("flask_otpauth.challenges.Challenges.matches", lambda *_: 1 / 0)
            for _ in range(4):
                assert client.post("/auth/verify-otp", json=answer).status_code == 500
        wrong = client.post("/auth/verify-otp", json={**answer, "otp": "000000"})
        assert wrong.json["attempts_left"] == 0  # type: ignore[index]
        assert client.post("/auth/verify-otp", json=answer).json["code"] == "challenge_invalid"  # type: ignore[index]
