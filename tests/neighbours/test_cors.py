"""Flask-CORS beside the extension: preflights pass, trusted origins may act with a cookie, others may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from flask_cors import CORS

from flask_otpauth import OTPAuth, auth_required, otp_required
from flask_otpauth.testing import capture_messages

PASSWORD = "correct horse battery"
TRUSTED, OTHER = "https://app.example.org", "https://evil.example.net"
ENDPOINTS = ("/auth/register", "/auth/login", "/auth/verify-otp", "/auth/resend-otp", "/auth/logout", "/auth/me")
VIEWS = ("/private", "/class", "/guarded/blueprint", "/admins")

Maker = Callable[..., Flask]


class View(MethodView):
    decorators = (otp_required,)

    def put(self) -> str:
        return "put"


def app_of(make_app: Maker, clock: Any, credentials: str) -> Flask:
    app = make_app(OTPAUTH_CREDENTIALS=(credentials,), OTPAUTH_TRUSTED_ORIGINS=(TRUSTED,))
    CORS(app, origins=[TRUSTED], supports_credentials=True, expose_headers=["Retry-After", "WWW-Authenticate"])
    auth = OTPAuth(app, clock=clock)
    app.add_url_rule("/private", "private", otp_required(lambda: {"hello": "there"}), methods=["PUT"])
    app.add_url_rule("/admins", "admins", auth_required(roles={"admin"})(lambda: "admins"), methods=["PUT"])
    app.add_url_rule("/class", view_func=View.as_view("class"))
    guarded = Blueprint("guarded", __name__, url_prefix="/guarded")
    guarded.add_url_rule("/blueprint", "view", lambda: "guarded", methods=["PUT"])
    auth.protect(guarded)
    app.register_blueprint(guarded)
    return app


def logged_in(app: Flask) -> tuple[Any, dict[str, str]]:
    """Register from the trusted page; give the browser, and its headers for a request of that page."""
    client, origin = app.test_client(), {"Origin": TRUSTED, "Sec-Fetch-Site": "same-site"}
    with capture_messages(app) as messages:
        body = {"username": "ann", "email": "ann@example.org", "password": PASSWORD}
        asked = client.post("/auth/register", json=body, headers=origin)
        proof = {"challenge_id": asked.json["challenge_id"], "otp": messages[-1].code}
        done = client.post("/auth/verify-otp", json=proof, headers=origin)
    assert done.status_code == 200, done.json
    token = done.json.get("access_token")
    return client, origin if token is None else {**origin, "Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("credentials", ["jwt", "session"])
def test_a_preflight_passes_decorators_and_endpoints(make_app: Maker, clock: Any, credentials: str) -> None:
    client = app_of(make_app, clock, credentials).test_client()
    asks = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization, content-type"}
    for path in (*ENDPOINTS, *VIEWS):
        answer = client.options(path, headers={"Origin": TRUSTED, "Sec-Fetch-Site": "same-site", **asks})
        assert answer.status_code == 200, path
        assert answer.headers["Access-Control-Allow-Origin"] == TRUSTED
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
        foreign = client.options(path, headers={"Origin": OTHER, "Sec-Fetch-Site": "cross-site", **asks})
        assert "Access-Control-Allow-Origin" not in foreign.headers


@pytest.mark.parametrize("credentials", ["jwt", "session"])
def test_a_trusted_page_acts_and_reads_the_answer(make_app: Maker, clock: Any, credentials: str) -> None:
    client, headers = logged_in(app_of(make_app, clock, credentials))
    for path in VIEWS[:3]:
        answer = client.put(path, headers=headers)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, TRUSTED)
        assert "Cookie" in answer.headers["Vary"]
    assert client.post("/auth/logout", headers=headers).status_code == 204
    assert client.put("/private", headers=headers).status_code == 401


def test_a_page_of_another_origin_does_nothing_with_the_cookie(make_app: Maker, clock: Any) -> None:
    client, headers = logged_in(app_of(make_app, clock, "session"))
    foreign = {"Origin": OTHER, "Sec-Fetch-Site": "cross-site"}
    for send in (client.put("/private", headers=foreign), client.post("/auth/logout", headers=foreign)):
        assert (send.status_code, send.json["code"]) == (403, "cross_origin")
        assert "Access-Control-Allow-Origin" not in send.headers
    # Without Fetch Metadata, as of an older browser.
    assert client.put("/private", headers={"Origin": OTHER}).status_code == 403
    assert client.put("/private", headers=headers).status_code == 200


def test_a_script_can_read_why_it_is_refused(make_app: Maker, clock: Any) -> None:
    app = app_of(make_app, clock, "jwt")
    answer = app.test_client().put("/private", headers={"Origin": TRUSTED})
    assert answer.json["code"] == "authentication_required"
    assert answer.headers["Access-Control-Allow-Origin"] == TRUSTED
    assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"]
    client, headers = logged_in(app)
    answer = client.put("/admins", headers=headers)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (403, TRUSTED)
    answer = client.post("/auth/login", json={"identifier": "ann"}, headers=headers)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (400, TRUSTED)
