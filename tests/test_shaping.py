"""``response_bodies``: other bodies by endpoint, made of what an answer says and of whom it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_otpauth import Answer, ConfigurationError, OTPAuth
from flask_otpauth.testing import capture_messages
from tests.services import KINDS, database_url

ANN = {"email": "ann@example.org", "password": "correct horse battery", "name": "Ann O'Neill"}


@pytest.fixture(params=KINDS)
def app(request: pytest.FixtureRequest, tmp_path: Path, make_app: Callable[..., Flask]) -> Iterator[Flask]:
    with database_url(request.param, tmp_path) as url:
        made = make_app(
            SQLALCHEMY_DATABASE_URI=url,
            OTPAUTH_PROFILE_FIELDS="name",
            OTPAUTH_REGISTER_FIELDS=("name", "email", "password"),
            OTPAUTH_REGISTRATION="open",
            OTPAUTH_SECOND_FACTOR="opt-in",
            OTPAUTH_CREDENTIALS=("jwt", "session"),
            OTPAUTH_FIELD_NAMES={"access_token": "token"},
        )
        yield made
        with made.app_context():
            made.extensions["sqlalchemy"].engine.dispose()


def greeting(answer: Answer) -> dict[str, Any] | None:
    """Greet who logs in; leave a challenge as it is."""
    return None if answer.user is None else {"hello": answer.user.name, **answer.of_user("email")}


def test_bodies_are_put_in_the_place_of_successes_only(app: Flask) -> None:
    auth = OTPAuth(app)
    auth.response_bodies(register={"message": "Welcome"}, login=greeting, logout={"message": "Bye"})
    client = app.test_client()
    made = client.post("/auth/register", json=ANN)
    assert (made.status_code, made.json) == (200, {"message": "Welcome"})
    taken = client.post("/auth/register", json=ANN)
    assert (taken.status_code, taken.json["code"]) == (409, "identifier_taken")
    logged_in = client.post("/auth/login", json={"email": ANN["email"], "password": ANN["password"]})
    assert (logged_in.status_code, logged_in.json["hello"], logged_in.json["email"]) == (
        *(200, "Ann O'Neill"),
        "ann@example.org",
    )
    # Whoever gets no token has no login: they stay, under the names of the wire.
    assert set(logged_in.json) == {"hello", "email", "token", "refresh_token", "token_type"}
    bearer = {"Authorization": f"Bearer {logged_in.json['token']}"}
    assert app.test_client().get("/auth/me", headers=bearer).json["user"]["email"] == "ann@example.org"
    done = client.post("/auth/logout", headers=bearer)
    assert (done.status_code, done.json) == (200, {"message": "Bye"})


def test_a_function_may_leave_the_answer(app: Flask) -> None:
    app.config["OTPAUTH_SECOND_FACTOR"] = "always"
    seen: list[Answer] = []
    auth = OTPAuth(app)

    @auth.response_shaper
    def look(answer: Answer) -> None:
        seen.append(answer)

    auth.response_bodies(login=greeting)
    client = app.test_client()
    client.post("/auth/register", json=ANN)
    with capture_messages(app):
        asked = client.post("/auth/login", json={"email": ANN["email"], "password": ANN["password"]})
    assert (asked.status_code, asked.json["mfa_required"]) == (200, True)
    assert [(one.endpoint, one.lifetime, one.user is None) for one in seen] == [
        ("register", None, False),
        ("login", "5 minutes", True),
    ]
    assert seen[-1].tokens == {}


def test_a_body_is_the_same_for_each_answer(app: Flask) -> None:
    auth = OTPAuth(app)
    auth.response_bodies(health={"fine": True})

    @auth.response_shaper
    def scribble(answer: Answer) -> None:
        assert answer.body is not None
        answer.body["count"] = len(answer.body)

    client = app.test_client()
    assert client.get("/auth/health").json == client.get("/auth/health").json == {"fine": True, "count": 1}


@pytest.mark.parametrize(
    ("name", "hint"), [("signup", "choose from register,"), ("regster", "did you mean 'register'?")]
)
def test_an_endpoint_that_is_none_is_told(make_app: Callable[..., Flask], name: str, hint: str) -> None:
    auth = OTPAuth(make_app())
    with pytest.raises(ConfigurationError) as caught:
        auth.response_bodies(**{name: {}})
    assert hint in str(caught.value)


def test_a_name_longer_than_its_column_is_told(app: Flask) -> None:
    OTPAuth(app)
    refused = app.test_client().post("/auth/register", json={**ANN, "name": "x" * 256})
    assert (refused.status_code, [one["field"] for one in refused.json["errors"]]) == (400, ["name"])
    assert app.test_client().post("/auth/register", json={**ANN, "name": "é" * 255}).status_code == 201
