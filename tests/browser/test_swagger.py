"""Swagger UI as a person uses it: register, log in, prove the code, authorize, and ask who one is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from flask_otpauth import OTPAuth, otp_required
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import Caller, NewAccount

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"


class Swagger:
    """Operations by their ids, tried out."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.goto(url)
        page.locator(".opblock").first.wait_for()

    def call(self, operation: str, body: Mapping[str, object] | None = None) -> tuple[int, Any]:
        """Open an operation, send it, and give status and body of the answer that is shown."""
        block = self.page.locator(f"[id$='-{operation}'].opblock")
        if "is-open" not in (block.get_attribute("class") or ""):
            block.locator(".opblock-summary-control").click()
        if body is not None:
            block.locator("textarea.body-param__text").fill(json.dumps(body))
        clear = block.get_by_role("button", name="Clear")
        if clear.count():
            clear.click()  # or the answer before would be taken for this one's
        block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table")
        answer.wait_for()
        status = answer.locator("tbody .response-col_status").first.inner_text()
        text = answer.locator("tbody .response-col_description .microlight").first.inner_text()
        return int(re.findall(r"\d+", status)[0]), json.loads(text)

    def authorize(self, token: str, scheme: str = "accessToken") -> None:
        """Paste a token into the dialogue of "Authorize"."""
        self.page.get_by_role("button", name="Authorize").first.click()
        box = self.page.locator(".auth-container", has_text=scheme)
        box.locator("input").fill(token)
        box.get_by_role("button", name="Apply").or_(box.get_by_role("button", name="Authorize")).click()
        self.page.locator(".modal-ux").get_by_role("button", name="Close").last.click()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(OTPAUTH_ROUTES={"docs": "/swagger/"})
    auth = OTPAuth(app)

    @app.get("/auth/private")
    @auth.documented(responses={200: {"type": "object", "properties": {"message": {"type": "string"}}}})
    @otp_required
    def private() -> dict[str, str]:
        """Answer whoever has proved a code."""
        return {"message": "Access granted."}

    return app


def test_register_log_in_authorize_and_ask_who_one_is(
    app: Flask, serve: Callable[[Flask], str], page: Page, shoot: Callable[[Page, str], None]
) -> None:
    with capture_messages(app) as messages:
        swagger = Swagger(page, serve(app) + "/swagger/")
        shoot(page, "swagger")
        ann = {"username": "ann", "password": PASSWORD, "email": "ann@example.org"}
        status, challenge = swagger.call("register", ann)
        assert status == 202
        proof = {"challenge_id": challenge["challenge_id"], "otp": messages[-1].code}
        assert swagger.call("verify_otp", proof)[0] == 200

        status, challenge = swagger.call("login", {"identifier": "ann", "password": PASSWORD})
        assert (status, challenge["mfa_required"]) == (200, True)
        proof = {"challenge_id": challenge["challenge_id"], "otp": messages[-1].code}
        status, tokens = swagger.call("verify_otp", proof)
        assert status == 200

    assert swagger.call("me")[0] == 401
    swagger.authorize(f"Bearer {tokens['access_token']}")
    status, found = swagger.call("me")
    assert (status, found["user"]["username"]) == (200, "ann")
    assert swagger.call("private") == (200, {"message": "Access granted."})
    swagger.authorize(tokens["refresh_token"], "refreshToken")
    assert swagger.call("refresh")[0] == 200
    shoot(page, "swagger-in")


@pytest.mark.parametrize("written", ["{}", "  bearer   {} "])
def test_a_token_is_taken_with_and_without_its_scheme(
    app: Flask, serve: Callable[[Flask], str], page: Page, written: str
) -> None:
    service = app.extensions["otpauth"]
    with app.test_request_context():
        account = service.users.add(NewAccount(username="ann", email="ann@example.org"))
        token = service.sessions.open(account, amr=("pwd", "otp"), code=True, caller=Caller()).access_token
    swagger = Swagger(page, serve(app) + "/swagger/")
    swagger.authorize(written.format(token))
    assert swagger.call("private") == (200, {"message": "Access granted."})
    shown = page.locator(".curl").inner_text()
    assert f"Authorization: Bearer {token}" in shown


def test_a_narrow_screen_and_the_whole_page_have_no_fault(
    app: Flask, serve: Callable[[Flask], str], open_page: Callable[..., Page], shoot: Callable[[Page, str], None]
) -> None:
    page = open_page(viewport={"width": 360, "height": 800})
    Swagger(page, serve(app) + "/swagger/")
    for operation in page.locator(".opblock-summary-control").all():
        operation.click()
    page.get_by_role("button", name="Schemas").click()
    page.locator("section.models .model-box, section.models article").first.wait_for()
    shoot(page, "swagger-narrow")


def test_without_javascript_the_page_names_the_document(
    app: Flask, serve: Callable[[Flask], str], open_page: Callable[..., Page]
) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(serve(app) + "/swagger/")
    page.get_by_role("link", name="here").click()
    page.wait_for_url("**/openapi.json")
    assert '"openapi"' in page.content()
