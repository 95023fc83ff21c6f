"""Flask-Session as the session interface: the browser holds an id, and the login moves to a new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from cachelib import FileSystemCache
from flask import Flask, session
from flask_session import Session

from flask_otpauth import OTPAuth, current_user, otp_required
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import Message
from tests.services import REDIS, redis_prefix
from tests.visitors import Visitor

PASSWORD = "correct horse battery"
COOKIE = "session"


def cachelib_settings(folder: Path) -> dict[str, Any]:
    return {"SESSION_TYPE": "cachelib", "SESSION_CACHELIB": FileSystemCache(str(folder / "sessions"))}


@pytest.fixture(params=["cachelib", pytest.param("redis", marks=pytest.mark.services)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Give the settings of one of its stores."""
    if request.param == "cachelib":
        yield cachelib_settings(tmp_path)
        return
    client = redis.Redis.from_url(REDIS)
    try:
        client.ping()
    except redis.ConnectionError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"Redis doesn't answer: {error}")
    prefix = redis_prefix()
    yield {"SESSION_TYPE": "redis", "SESSION_REDIS": client, "SESSION_KEY_PREFIX": prefix}
    for key in client.scan_iter(f"{prefix}*"):
        client.delete(key)
    client.close()


class Host:
    """An app whose sessions are on the server, and a browser."""

    def __init__(self, app: Flask, clock: Any, messages: list[Message]) -> None:
        self.app, self.clock, self.messages = app, clock, messages
        self.browser = app.test_client()

    @property
    def cookie(self) -> str | None:
        found = self.browser.get_cookie(COOKIE)
        return None if found is None else str(found.value)

    def post(self, path: str, **body: str) -> Any:
        self.clock.advance(61)
        return self.browser.post(f"/auth/{path}", json=body)

    def prove(self) -> Any:
        # By the cookie alone: the session holds the challenge.
        return self.post("verify-otp", otp=str(self.messages[-1].code), challenge_id=self.challenge)

    def ask(self, path: str, **body: str) -> Any:
        asked = self.post(path, **body)
        self.challenge = str(asked.json["challenge_id"])
        return asked

    def replay(self, cookie: str) -> Any:
        """Send an old cookie from another browser."""
        other = self.app.test_client()
        other.set_cookie(COOKIE, cookie)
        return other.get("/private")


@pytest.fixture
def host(make_app: Callable[..., Flask], clock: Any, settings: dict[str, Any]) -> Iterator[Host]:
    app = make_app(OTPAUTH_CREDENTIALS=("session",), SESSION_PERMANENT=False, **settings)
    Session(app)
    OTPAuth(app, clock=clock)

    @app.get("/private")
    @otp_required
    def private() -> dict[str, Any]:
        return {"hello": current_user.username, "basket": session.get("basket")}

    @app.get("/basket")
    def basket() -> str:
        session["basket"] = "apples"
        return "put in"

    with capture_messages(app) as messages:
        yield Host(app, clock, messages)


def registered(host: Host) -> None:
    host.ask("register", username="ann", email="ann@example.org", password=PASSWORD)
    assert host.prove().status_code == 200
    assert host.post("logout").status_code == 204


def test_a_login_gets_a_new_id_and_keeps_what_the_host_put_in(host: Host) -> None:
    registered(host)
    host.browser.get("/basket")
    guest = host.cookie
    host.ask("login", identifier="ann", password=PASSWORD)
    pending = host.cookie
    assert host.browser.get("/private").status_code == 401
    assert host.prove().status_code == 200
    cookie = host.cookie
    assert guest is not None
    assert pending is not None
    assert cookie not in {guest, pending, None}
    assert host.browser.get("/private").json == {"hello": "ann", "basket": "apples"}
    assert pending != guest
    # Who planted the id before the login holds nothing.
    for old in (guest, pending):
        assert host.replay(old).status_code == 401


def test_the_old_cookie_is_dead_after_logout(host: Host) -> None:
    registered(host)
    host.ask("login", identifier="ann", password=PASSWORD)
    host.prove()
    cookie = host.cookie
    assert cookie is not None
    assert host.replay(cookie).status_code == 200
    assert host.post("logout").status_code == 204
    assert host.replay(cookie).status_code == 401
    assert host.browser.get("/private").status_code == 401


def test_an_id_that_a_stranger_chose_is_not_taken(host: Host) -> None:
    registered(host)
    host.browser.set_cookie(COOKIE, "chosen-by-a-stranger")
    host.ask("login", identifier="ann", password=PASSWORD)
    host.prove()
    assert host.cookie != "chosen-by-a-stranger"
    assert host.replay("chosen-by-a-stranger").status_code == 401


def test_the_cookie_holds_nothing_but_an_id(host: Host) -> None:
    host.ask("register", username="ann", email="ann@example.org", password=PASSWORD)
    host.prove()
    assert host.cookie is not None
    assert len(host.cookie) == 43


def test_closing_the_browser_ends_the_login_unless_it_is_permanent(
    make_app: Callable[..., Flask], clock: Any, tmp_path: Path
) -> None:
    for permanent in (False, True):
        given = cachelib_settings(tmp_path / str(permanent))
        app = make_app(
            OTPAUTH_CREDENTIALS=("session",),
            OTPAUTH_SESSION_PERMANENT=permanent,
            SESSION_PERMANENT=False,
            **given,
        )
        Session(app)
        OTPAuth(app, clock=clock)
        with capture_messages(app) as messages:
            host = Host(app, clock, messages)
            host.ask("register", username="ann", email="ann@example.org", password=PASSWORD)
            done = host.prove()
        [cookie] = [one for one in done.headers.getlist("Set-Cookie") if one.startswith(f"{COOKIE}=")]
        assert ("Expires=" in cookie) is permanent


def test_pages_log_in_on_a_session_of_the_server(
    make_app: Callable[..., Flask], clock: Any, settings: dict[str, Any]
) -> None:
    app = make_app(OTPAUTH_PAGES=True, **settings)
    Session(app)
    OTPAuth(app, clock=clock)
    app.add_url_rule("/private", "private", otp_required(lambda: f"hello {current_user.username}"))
    with capture_messages(app) as messages:
        ann = Visitor(app, messages)
        ann.confirm()
        ann.logout()
        assert "You are logged out." in ann.page("login").text
        ann.login()
        before = ann.cookie
        wrong = ann.send("code", otp=ann.wrong)
        assert "4 attempts left" in wrong.text
        assert ann.send("code", otp=ann.code).location == "/account"
        assert ann.get("/private").text == "hello ann"
        assert ann.cookie != before
        thief = Visitor(app, messages)
        thief.client.set_cookie(COOKIE, before)
        assert thief.get("/private").status_code == 302
