"""System 4, JWT with roles: a password gives a token, a code comes in for who turned it on, roles hold at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from example_app.recipes import jwt_roles
from flask_otpauth.testing import assert_no_enumeration
from tests.recipes.walking import SECRET, Walk, refused
from tests.services import KINDS, database_url

ANN = {"username": "annika", "email": "ann@example.com", "password": "securepassword"}
LOGIN = {"username": "annika", "password": "securepassword"}
ROOT = Path(__file__).resolve().parent.parent.parent

Walks = Callable[..., Walk]


@pytest.fixture
def ann(walk: Walks) -> Walk:
    """Annika is registered."""
    made = walk(jwt_roles)
    assert made.post("/register", ANN).status_code == 201
    return made


def log_in(walk: Walk, **more: Any) -> Any:
    return walk.post("/login", LOGIN, **more)


def verify(walk: Walk, asked: Any, otp: str | None = None, **more: Any) -> Any:
    proof = {"session_id": asked.json["session_id"], "otp": walk.code if otp is None else otp}
    return walk.post("/verify-otp", proof, **more)


def turn_on(walk: Walk) -> None:
    walk.sql("UPDATE users SET mfa_enabled = :yes", yes=True)


@pytest.mark.parametrize("kind", KINDS)
def test_register_log_in_and_look(walk: Walks, kind: str) -> None:
    ann = walk(jwt_roles, kind)
    made = ann.post("/register", ANN)
    user = {"id": "1", "username": "annika", "email": "ann@example.com", "phone": None, "roles": ["user"]}
    assert (made.status_code, made.json) == (201, {"user": user})
    (row,) = ann.sql("SELECT role, mfa_enabled, password_hash FROM users")
    assert (row["role"], bool(row["mfa_enabled"])) == ("user", False)
    assert ANN["password"] not in row["password_hash"]

    done = log_in(ann)
    assert (done.status_code, done.json["user"], "mfa_required" in done.json) == (200, user, False)
    shown = ann.get("/protected", token=done.json["access_token"])
    assert (shown.status_code, shown.json["user"]) == (200, user)
    assert ann.messages == []
    assert ann.post("/logout", token=done.json["access_token"]).status_code == 204
    refused(ann.get("/protected", token=done.json["access_token"]), 401, "authentication_required")


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_the_role_holds_at_once(walk: Walks, kind: str) -> None:
    ann = walk(jwt_roles, kind)
    ann.post("/register", ANN)
    token = log_in(ann).json["access_token"]
    refused(ann.get("/admin", token=token), 403, "forbidden")
    ann.sql("UPDATE users SET role = 'admin'")
    allowed = ann.get("/admin", token=token)
    assert (allowed.status_code, allowed.json) == (200, {"message": "Hello, administrator annika."})
    assert ann.get("/protected", token=token).json["user"]["roles"] == ["admin"]
    admins = log_in(ann).json["access_token"]
    ann.sql("UPDATE users SET role = 'user'")
    for one in (token, admins):
        refused(ann.get("/admin", token=one), 403, "forbidden")
    refused(ann.get("/admin"), 401, "authentication_required")


@pytest.mark.parametrize("kind", KINDS)
def test_who_turned_it_on_needs_a_code(walk: Walks, kind: str) -> None:
    ann = walk(jwt_roles, kind)
    ann.post("/register", ANN)
    turn_on(ann)
    asked = log_in(ann)
    assert (asked.status_code, asked.json["mfa_required"], asked.json["channel"]) == (200, True, "email")
    assert not {"access_token", "refresh_token"} & set(asked.json)
    assert [(one.to, one.channel) for one in ann.messages] == [("ann@example.com", "email")]
    assert "5 minutes" in ann.messages[-1].body
    refused(ann.get("/protected", token=asked.json["session_id"]), 401, "authentication_required")
    done = verify(ann, asked)
    assert done.status_code == 200
    assert ann.get("/protected", token=done.json["access_token"]).status_code == 200


def test_who_has_a_phone_gets_an_sms(walk: Walks) -> None:
    ann = walk(jwt_roles)
    assert ann.post("/register", {**ANN, "phone": "0508464336"}).status_code == 201
    turn_on(ann)
    asked = log_in(ann)
    assert (asked.json["channel"], asked.json["methods"], ann.messages[-1].to) == (
        *("sms", ["sms", "email"]),
        "+972508464336",
    )
    assert verify(ann, asked).status_code == 200


def test_who_has_it_on_keeps_no_token_without_a_code(ann: Walk) -> None:
    """Turning it on ends no login; a new one needs the code."""
    before = log_in(ann).json["access_token"]
    turn_on(ann)
    assert ann.get("/protected", token=before).status_code == 200
    assert "access_token" not in log_in(ann).json


def test_a_user_with_a_proved_address_switches_it_himself(ann: Walk) -> None:
    token = log_in(ann).json["access_token"]
    # Nobody has proved the address: a mistyped one would lock the user out.
    refused(put_mfa(ann, token, on=True), 403, "no_method")
    turn_on(ann)
    assert put_mfa(ann, verify(ann, log_in(ann)).json["access_token"], on=False).status_code == 200
    token = log_in(ann).json["access_token"]
    refused(put_mfa(ann, token, on=True), 401, "insufficient_user_authentication")
    asked = ann.post("/step-up", token=token)
    assert asked.status_code == 202
    assert put_mfa(ann, verify(ann, asked).json["access_token"], on=True).status_code == 200
    assert log_in(ann).json["mfa_required"] is True


def put_mfa(walk: Walk, token: str, *, on: bool) -> Any:
    return walk.client.put("/mfa", json={"mfa_enabled": on}, headers={"Authorization": f"Bearer {token}"})


def test_an_expired_code_means_another_login(ann: Walk) -> None:
    turn_on(ann)
    asked = log_in(ann)
    ann.wait(300)
    refused(verify(ann, asked), 401, "otp_expired")
    refused(ann.post("/resend-otp", {"session_id": asked.json["session_id"]}), 401, "challenge_invalid")
    assert verify(ann, log_in(ann)).status_code == 200


def test_wrong_codes_are_counted_and_end_the_challenge(ann: Walk) -> None:
    turn_on(ann)
    asked = log_in(ann)
    for left in (4, 3, 2, 1, 0):
        refused(verify(ann, asked, ann.wrong), 401, "otp_invalid", attempts_left=left)
    refused(verify(ann, asked), 401, "challenge_invalid")


def test_another_login_gives_no_new_guesses(ann: Walk) -> None:
    turn_on(ann)
    answers: list[Any] = []
    for _ in range(3):
        ann.wait(300)
        asked = log_in(ann, client=ann.stranger())
        answers += [verify(ann, asked, ann.wrong, client=ann.stranger()) for _ in range(4)]
    assert [one.status_code for one in answers] == [401] * 10 + [429] * 2
    refused(verify(ann, asked, client=ann.stranger()), 429, "rate_limited")


def test_a_used_code_is_refused(ann: Walk) -> None:
    turn_on(ann)
    asked = log_in(ann)
    assert verify(ann, asked).status_code == 200
    refused(verify(ann, asked), 401, "challenge_invalid")


@pytest.mark.parametrize("name", ANN)
def test_each_field_of_registration_is_required(walk: Walks, name: str) -> None:
    new = walk(jwt_roles)
    refused(new.post("/register", {k: v for k, v in ANN.items() if k != name}), 400, "validation_failed", name)
    for bad in (None, 5, "", []):
        refused(new.post("/register", {**ANN, name: bad}), 400, "validation_failed", name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("username", "ab"), ("username", "ann@example.com"), ("email", "ann"), ("email", "ann@localhost")),
        *(("password", "short77"), ("password", "ann@example.com"), ("role", "admin"), ("mfa_enabled", "true")),
    ],
)
def test_each_field_is_checked_and_nobody_makes_himself_administrator(walk: Walks, field: str, value: str) -> None:
    new = walk(jwt_roles)
    refused(new.post("/register", {**ANN, field: value}), 400, "validation_failed", field)


def test_fields_of_login_and_verification_are_required(ann: Walk) -> None:
    refused(ann.post("/login", {"password": "x"}), 400, "validation_failed", "username")
    refused(ann.post("/login", {"username": "annika"}), 400, "validation_failed", "password")
    refused(ann.post("/verify-otp", {"session_id": "x"}), 400, "validation_failed", "otp")
    refused(ann.post("/verify-otp", {"otp": "123456"}), 400, "validation_failed", "session_id")
    refused(ann.post("/verify-otp", {"session_id": "x", "otp": "123456"}), 401, "challenge_invalid")


def test_a_name_and_an_address_are_registered_once(ann: Walk) -> None:
    refused(ann.post("/register", {**ANN, "email": "other@example.com"}), 409, "identifier_taken", "username")
    again = {**ANN, "username": "annabella", "email": "ANN@Example.com"}
    refused(ann.post("/register", again), 409, "identifier_taken", "email")


def test_an_unknown_user_is_answered_like_a_wrong_password(ann: Walk) -> None:
    wrong = ann.post("/login", {**LOGIN, "password": "not the right one"})
    refused(wrong, 401, "invalid_credentials")
    assert_no_enumeration(wrong, ann.post("/login", {**LOGIN, "username": "isabella"}))


def test_wrong_passwords_are_counted(ann: Walk) -> None:
    for _ in range(5):
        refused(ann.post("/login", {**LOGIN, "password": "not the right one"}), 401, "invalid_credentials")
    refused(log_in(ann), 429, "rate_limited")


def test_a_forged_role_in_a_token_is_not_asked(ann: Walk) -> None:
    """A token says who, never what he may; and one that was changed says nothing."""
    token = log_in(ann).json["access_token"]
    head, payload, signature = token.split(".")
    for bad in (f"{head}.{payload}.", f"{head}.{payload[:-2]}AA.{signature}", "nonsense"):
        refused(ann.get("/admin", token=bad), 401, "authentication_required")


# --- Flask-Migrate ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS[:2])
def test_migrations(tmp_path: Path, walk: Walks, kind: str) -> None:
    """``flask db init``, ``migrate`` and ``upgrade`` make every table; another ``migrate`` finds nothing to do."""
    with database_url(kind, tmp_path) as url:

        def flask(*arguments: str) -> str:
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "SECRET_KEY": SECRET, "DATABASE_URL": url}
            command = [sys.executable, "-m", "flask", "--app", "example_app.recipes.jwt_roles", *arguments]
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout + done.stderr

        flask("db", "init")
        told = flask("db", "migrate", "-m", "users and what the extension keeps")
        assert "Detected added table 'users'" in told
        assert "Detected added table 'otpauth_session'" in told
        flask("db", "upgrade")
        flask("db", "check")

        ann = walk(jwt_roles, SQLALCHEMY_DATABASE_URI=url)
        assert ann.post("/register", ANN).status_code == 201
        turn_on(ann)
        assert verify(ann, log_in(ann)).status_code == 200
        assert "No changes in schema detected" in flask("db", "migrate")
        flask("db", "downgrade")
        assert {"users", "otpauth_session"}.isdisjoint(tables(ann))


def tables(walk: Walk) -> set[str]:
    with walk.app.app_context():
        return set(inspect(walk.app.extensions["sqlalchemy"].engine).get_table_names())
