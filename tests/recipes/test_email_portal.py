"""The e-mail verified portal, walked over HTTP as its author described it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from example_app.recipes import email_portal
from flask_otpauth.testing import capture_messages
from tests.recipes.walking import close, settings

PASSWORD = "correct horse"
BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


class Portal:
    """The portal as a person with a browser sees it."""

    def __init__(self, client: FlaskClient, clock: Any, messages: list[Any]) -> None:
        self.client, self.clock, self.messages = client, clock, messages

    @property
    def code(self) -> str:
        return str(self.messages[-1].code)

    def get(self, path: str) -> TestResponse:
        return self.client.get(path, headers=BROWSER)

    def send(self, path: str, **fields: str) -> TestResponse:
        """Fill in the form of a page and send it."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).text)
        assert token is not None
        return self.client.post(path, data={"csrf_token": token[1], **fields}, headers=BROWSER)

    def register(self, **fields: str) -> TestResponse:
        given = {"username": "ann", "email": "ann@example.org", "password": PASSWORD, "password_repeat": PASSWORD}
        return self.send("/register", **{**given, **fields})

    def login(self, **fields: str) -> TestResponse:
        return self.send("/login?next=/dashboard", **{"username": "ann", "password": PASSWORD, **fields})

    def confirmed(self) -> None:
        self.register()
        assert self.send("/verify_otp", otp=self.code).location == "/login"


@pytest.fixture
def portal(tmp_path: Path, clock: Any) -> Iterator[Portal]:
    app = email_portal.create_app(settings(f"sqlite:///{tmp_path / 'portal.db'}"))
    with capture_messages(app) as messages:
        yield Portal(app.test_client(), clock, messages)
    close(app)


def other(code: str) -> str:
    """Give a code of the same length that isn't it."""
    return "000000" if code != "000000" else "000001"


def test_the_way_from_registration_to_logout(portal: Portal) -> None:
    asked = portal.register()
    assert (asked.status_code, asked.location) == (303, "/verify_otp")
    confirmed = portal.send("/verify_otp", otp=portal.code)
    assert (confirmed.status_code, confirmed.location) == (303, "/login")
    assert "Your account is ready" in portal.get("/login").text
    refused = portal.get("/dashboard")
    assert (refused.status_code, refused.location) == (302, "/login?next=/dashboard")
    assert portal.login().location == "/dashboard"
    assert "Welcome, ann." in portal.get("/dashboard").text
    cookie = portal.client.get_cookie("session")
    assert cookie is not None
    assert cookie.expires is None  # it ends with the browser
    assert portal.send("/logout").location == "/login"
    assert portal.get("/dashboard").status_code == 302
    portal.client.set_cookie("session", cookie.value)
    assert portal.get("/dashboard").status_code == 302


def test_the_account_exists_only_after_the_code(portal: Portal) -> None:
    portal.register()
    assert portal.login().status_code == 401
    portal.send("/verify_otp", otp=portal.code)
    assert portal.login().status_code == 303


def test_a_wrong_code_is_told_on_the_same_page(portal: Portal) -> None:
    portal.register()
    wrong = portal.send("/verify_otp", otp=other(portal.code))
    assert wrong.status_code == 401
    assert "That code is not right. 4 attempts left." in wrong.text
    assert portal.send("/verify_otp", otp=portal.code).location == "/login"


def test_a_used_code_is_good_for_nothing(portal: Portal) -> None:
    portal.register()
    used = portal.code
    portal.send("/verify_otp", otp=used)
    assert portal.client.get("/verify_otp").location == "/register"


def test_an_expired_code_leads_back_and_registering_again_works_at_once(portal: Portal) -> None:
    portal.register()
    page = portal.get("/verify_otp")
    portal.clock.shift(300)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    late = portal.client.post("/verify_otp", data={"csrf_token": token[1], "otp": portal.code}, headers=BROWSER)
    assert (late.status_code, late.location) == (303, "/register")
    assert "The code has expired" in portal.get("/register").text
    portal.confirmed()
    assert portal.login().location == "/dashboard"


def test_a_reload_sends_nothing_and_the_countdown_goes_on(portal: Portal) -> None:
    portal.register()
    ends = re.compile(r'data-now="(\d+)" data-expires-at="(\d+)"')
    first = ends.search(portal.get("/verify_otp").text)
    portal.clock.shift(90)
    second = ends.search(portal.get("/verify_otp").text)
    assert first is not None
    assert second is not None
    assert int(first[2]) - int(first[1]) == 300_000
    assert int(second[2]) - int(second[1]) == 210_000
    assert len(portal.messages) == 1


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"username": ""}, 400, "Username</a>: This field is required."),
        ({"username": "ann@example.org"}, 400, "Username</a>: "),
        ({"email": "nobody"}, 400, "This is not a valid e-mail address."),
        ({"password": "short", "password_repeat": "short"}, 400, "Password</a>: "),
        ({"password_repeat": "something else"}, 400, "The two passwords are not the same."),
        ({"role": "admin"}, 400, "There is no such field here."),
    ],
)
def test_what_is_wrong_with_a_registration_is_told(
    portal: Portal, fields: dict[str, str], status: int, told: str
) -> None:
    answer = portal.register(**fields)
    assert answer.status_code == status
    assert told in answer.text
    assert portal.messages == []


def test_a_taken_name_is_told(portal: Portal) -> None:
    portal.confirmed()
    answer = portal.register(email="bob@example.org")
    assert answer.status_code == 409
    assert "This username is taken." in answer.text


def test_a_taken_address_is_answered_as_any_other(portal: Portal) -> None:
    portal.confirmed()
    portal.clock.shift(61)
    assert portal.register(username="bob").location == "/verify_otp"
    assert "a***@example.org" in portal.get("/verify_otp").text
    assert portal.messages[-1].code is None  # the owner is told


@pytest.mark.parametrize("fields", [{"username": "bob"}, {"password": "something else"}])
def test_a_wrong_login_is_refused_alike(portal: Portal, fields: dict[str, str]) -> None:
    portal.confirmed()
    answer = portal.login(**fields)
    assert answer.status_code == 401
    assert "The name or the password is not right." in answer.text


def test_too_many_wrong_logins_are_stopped(portal: Portal) -> None:
    portal.confirmed()
    statuses = [portal.login(password="something else").status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    portal.clock.shift(15 * 60)
    assert portal.login().status_code == 303


def test_too_many_wrong_codes_end_the_registration(portal: Portal) -> None:
    portal.register()
    wrong = other(portal.code)
    assert [portal.send("/verify_otp", otp=wrong).status_code for _ in range(5)] == [401] * 4 + [303]
    assert "be used any more. Please start again." in portal.get("/register").text
