"""Who is sent to a page, and where from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from flask_otpauth import OTPAuth, auth_required
from flask_otpauth.redirects import asks_for_html, local_path, way_back
from flask_otpauth.testing import capture_messages

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> Iterator[FlaskClient]:
    app = make_app(OTPAUTH_PAGES=True)
    OTPAuth(app)
    app.add_url_rule("/a/<path:rest>", "a", auth_required(lambda rest: rest), methods=["GET", "POST"])
    app.add_url_rule("/admin", "admin", auth_required(roles={"admin"})(lambda: "in"))
    with capture_messages(app):
        yield app.test_client()


@pytest.mark.parametrize("accept", [BROWSER, "text/html", "TEXT/HTML;level=1", "application/json, text/html;q=0.1"])
def test_a_browser_is_sent_to_the_login(client: FlaskClient, accept: str) -> None:
    answer = client.get("/a/b", headers={"Accept": accept})
    assert (answer.status_code, answer.location) == (302, "/account/login?next=/a/b")
    assert answer.headers["Cache-Control"] == "no-store"
    assert all(name in answer.vary for name in ("Accept", "Authorization", "Cookie"))


@pytest.mark.parametrize("accept", ["*/*", "text/*", "application/json", "text/html;q=0, */*", ""])
def test_anybody_else_gets_the_problem(client: FlaskClient, accept: str) -> None:
    answer = client.get("/a/b", headers={"Accept": accept})
    assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")


@pytest.mark.parametrize("value", ["Bearer x", "Basic eDp5", ""])
def test_who_sends_authorization_gets_the_problem(client: FlaskClient, value: str) -> None:
    answer = client.get("/a/b", headers={"Accept": BROWSER, "Authorization": value})
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "back"),
    [
        ("/a/b?x=1&y=%2F", "/a/b?x=1&y=%2F"),
        ("/a/b%20c%3Fd", "/a/b%20c%3Fd"),
        ("/a/%C3%A9", "/a/%C3%A9"),
        ("/a/%0D%0Ab", "/a/%0D%0Ab"),
        ("/a/b?x=%5C", "/a/b?x=%5C"),
    ],
)
def test_the_way_back_is_where_the_browser_was(client: FlaskClient, path: str, back: str) -> None:
    with client.application.test_request_context(path):
        assert way_back(request) == back


def test_the_way_back_holds_the_place_where_the_app_is_mounted(client: FlaskClient) -> None:
    with client.application.test_request_context("/a/b", environ_overrides={"SCRIPT_NAME": "/mounted"}):
        assert way_back(request) == "/mounted/a/b"


@pytest.mark.parametrize(
    ("referrer", "back"),
    [
        ("http://localhost/form?x=1", "/form?x=1"),
        ("http://localhost/form", "/form"),
        ("http://localhost//evil.example/", None),
        ("http://localhost.evil.example/form", None),
        ("https://localhost/form", None),
        ("http://evil.example/form", None),
        (None, None),
    ],
)
def test_a_form_that_was_sent_leads_back_to_its_page(
    client: FlaskClient, referrer: str | None, back: str | None
) -> None:
    headers = {"Accept": BROWSER, **({"Referer": referrer} if referrer else {})}
    answer = client.post("/a/b", headers=headers)
    assert answer.status_code == 302
    assert answer.location == "/account/login" + (f"?next={back.replace('=', '%3D')}" if back else "")


@pytest.mark.parametrize("path", ["/", "/a", "/a?b=//c", "/a/%5C", "/a:b", "/~a#b"])
def test_a_path_of_this_origin_is_local(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "text",
    [None, "", "a", "//a", "/\\a", "\\a", "/a\\", "/\ta", "/a\n", "/a b", "/é", "http://a", "/" + "a" * 2000, "/\x7f"],
)
def test_anything_else_is_not(text: Any) -> None:
    assert local_path(text) is None


def test_a_page_of_a_broken_accept_header_is_asked_for_by_nobody(client: FlaskClient) -> None:
    for accept in (";;;,,,", "text/html;q=x", "\xff"):
        with client.application.test_request_context("/", headers={"Accept": accept}):
            assert asks_for_html(request) in {True, False}
