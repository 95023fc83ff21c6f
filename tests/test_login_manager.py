"""Flask-Login sees our logins, whatever the user objects of the app are."""

from __future__ import annotations

from typing import Any

import pytest
from flask import session as flask_session
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from flask_otpauth.login_manager import attach_flask_login
from flask_otpauth.types import Caller
from tests.memory_sessions import Desk, desk, header


class Plain:
    """A user of a model that knows nothing of Flask-Login."""

    def __init__(self, username: str) -> None:
        self.username = username

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and other.username == self.username

    def __hash__(self) -> int:
        return hash(self.username)


@pytest.fixture
def one() -> Desk:
    made = desk(OTPAUTH_SECOND_FACTOR="never")

    @made.app.get("/login-by-cookie/<user_id>")
    def login_by_cookie(user_id: str) -> Any:
        account = made.users.by_id(user_id) or made.users.person(user_id)
        given = made.sessions.open(account, amr=("pwd", "otp"), code=True, caller=Caller(), kinds=("session",))
        flask_session["_otpauth"] = f"s.{given.cookie}"
        return "in"

    return made


@pytest.fixture
def client(one: Desk) -> FlaskClient:
    return one.app.test_client()


@pytest.fixture
def with_login(one: Desk) -> Any:
    flask_login = pytest.importorskip("flask_login")
    manager = flask_login.LoginManager(one.app)

    def protected() -> Any:
        return {"user": flask_login.current_user.username}

    one.app.add_url_rule("/flask-login", view_func=flask_login.login_required(protected))

    return manager


def test_flask_login_sees_the_same_user(one: Desk, with_login: Any, client: FlaskClient) -> None:
    del with_login
    assert attach_flask_login(one.app, one)  # type: ignore[arg-type]
    assert client.get("/flask-login").status_code == 401
    assert client.get("/flask-login", headers=one.bearer("7")).get_json() == {"user": "user-7"}
    assert client.get("/flask-login", headers=header("a.b.c")).status_code == 401
    client.get("/login-by-cookie/8")
    assert client.get("/flask-login").get_json() == {"user": "user-8"}
    with client.session_transaction() as held:
        assert "_user_id" not in held
    one.sessions.end_all("8")
    assert client.get("/flask-login").status_code == 401


def test_flask_login_may_hand_over_the_request_itself(one: Desk, with_login: Any) -> None:
    attach_flask_login(one.app, one)  # type: ignore[arg-type]
    real = one.app.request_class(EnvironBuilder(headers=Headers(one.bearer("7"))).get_environ())
    assert with_login._request_callback(real).username == "user-7"


def test_a_request_loader_of_the_host_stays(one: Desk, with_login: Any) -> None:
    loader = with_login.request_loader(lambda _: None)
    assert not attach_flask_login(one.app, one)  # type: ignore[arg-type]
    assert with_login._request_callback is loader


def test_an_app_without_flask_login_gets_none(one: Desk) -> None:
    assert not attach_flask_login(one.app, one)  # type: ignore[arg-type]
    assert not hasattr(one.app, "login_manager")


def test_a_plain_object_comes_with_what_flask_login_asks_of_it(
    one: Desk, with_login: Any, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Plain("ann")
    monkeypatch.setattr(one.users, "load", lambda user_id: plain)
    attach_flask_login(one.app, one)  # type: ignore[arg-type]
    assert client.get("/flask-login", headers=one.bearer("7")).get_json() == {"user": "ann"}
    real = one.app.request_class(EnvironBuilder(headers=Headers(one.bearer("7"))).get_environ())
    seen = with_login._request_callback(real)
    assert (seen.is_authenticated, seen.is_active, seen.is_anonymous, seen.get_id()) == (True, True, False, "7")
    assert seen == plain
    assert plain == seen
    assert isinstance(seen, Plain)
    assert seen._get_current_object() is plain
    seen.username = "bob"
    assert plain.username == "bob"
    assert vars(plain) == {"username": "bob"}
    with pytest.raises(AttributeError, match="nickname"):
        _ = seen.nickname


def test_what_a_user_object_says_itself_counts(
    one: Desk, with_login: Any, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Barred(Plain):
        is_authenticated = False

    monkeypatch.setattr(one.users, "load", lambda user_id: Barred("ann"))
    attach_flask_login(one.app, one)  # type: ignore[arg-type]
    assert client.get("/flask-login", headers=one.bearer("7")).status_code == 401
