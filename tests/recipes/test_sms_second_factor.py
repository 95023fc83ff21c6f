"""System 2, SMS second factor: a password, then a code by SMS, then a token."""

from __future__ import annotations

import re
from collections.abc import Callable
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from example_app.recipes import sms_second_factor
from flask_otpauth import Message
from flask_otpauth.testing import assert_no_enumeration
from tests.recipes.running import running
from tests.recipes.walking import SECRET, Walk, refused
from tests.services import KINDS

ANN = {"username": "annabella", "password": "securepassword", "phone_number": "0508464336"}
LOGIN = {"username": "annabella", "password": "securepassword"}

Walks = Callable[..., Walk]


@pytest.fixture
def ann(walk: Walks) -> Walk:
    """Annabella is registered."""
    made = walk(sms_second_factor)
    assert made.post("/auth/register", ANN).status_code == 201
    return made


def log_in(walk: Walk, **more: Any) -> Any:
    return walk.post("/auth/login", LOGIN, **more)


def verify(walk: Walk, asked: Any, otp: str | None = None, **more: Any) -> Any:
    proof = {"session_id": asked.json["session_id"], "otp": walk.code if otp is None else otp}
    return walk.post("/auth/verify-otp", proof, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_register_log_in_verify_and_enter(walk: Walks, kind: str) -> None:
    ann = walk(sms_second_factor, kind)
    made = ann.post("/auth/register", ANN)
    user = {"id": "1", "username": "annabella", "email": None, "phone_number": "+972508464336", "roles": ["user"]}
    assert (made.status_code, made.json) == (201, {"user": user})
    assert ann.messages == []
    (row,) = ann.sql("SELECT password_hash FROM users")
    assert "$2b$" in row["password_hash"]

    asked = log_in(ann)
    assert (asked.status_code, asked.json["mfa_required"], asked.json["expires_in"]) == (200, True, 120)
    assert not {"token", "access_token", "refresh_token", "user"} & set(asked.json)
    assert [(one.to, one.channel) for one in ann.messages] == [("+972508464336", "sms")]
    assert ann.code in ann.messages[-1].body

    done = verify(ann, asked)
    assert (done.status_code, done.json["user"]) == (200, user)
    entered = ann.get("/auth/private", token=done.json["token"])
    assert (entered.status_code, entered.json) == (200, {"message": "Access granted."})
    assert ann.post("/auth/logout", token=done.json["token"]).status_code == 204
    refused(ann.get("/auth/private", token=done.json["token"]), 401, "authentication_required")


def test_an_expired_code_means_another_login(ann: Walk) -> None:
    asked = log_in(ann)
    ann.wait(119)
    assert verify(ann, asked).status_code == 200
    asked = log_in(ann)
    ann.wait(120)
    refused(verify(ann, asked), 401, "otp_expired")
    refused(verify(ann, asked, ann.wrong), 401, "otp_expired")
    refused(ann.post("/auth/resend-otp", {"session_id": asked.json["session_id"]}), 401, "challenge_invalid")
    assert verify(ann, log_in(ann)).status_code == 200


def test_wrong_codes_are_counted_and_end_the_challenge(ann: Walk) -> None:
    asked = log_in(ann)
    for left in (4, 3, 2, 1, 0):
        refused(verify(ann, asked, ann.wrong), 401, "otp_invalid", attempts_left=left)
    refused(verify(ann, asked), 401, "challenge_invalid")


def test_another_login_gives_no_new_guesses(ann: Walk) -> None:
    answers: list[Any] = []
    for _ in range(3):
        ann.wait(300)
        asked = log_in(ann, client=ann.stranger())
        answers += [verify(ann, asked, ann.wrong, client=ann.stranger()) for _ in range(4)]
    assert [one.status_code for one in answers] == [401] * 10 + [429] * 2
    refused(verify(ann, asked, client=ann.stranger()), 429, "rate_limited")


def test_a_used_code_is_refused(ann: Walk) -> None:
    asked = log_in(ann)
    assert verify(ann, asked).status_code == 200
    refused(verify(ann, asked), 401, "challenge_invalid")


def test_a_code_is_good_for_its_own_login_only(ann: Walk) -> None:
    asked, stolen = log_in(ann), ann.code
    ann.wait(6)
    other = log_in(ann, client=ann.stranger())
    if ann.code != stolen:
        refused(verify(ann, other, stolen), 401, "otp_invalid")
    refused(verify(ann, asked, "123"), 400, "validation_failed", "otp")
    proof = {"session_id": "no such session", "otp": ann.code}
    refused(ann.post("/auth/verify-otp", proof), 401, "challenge_invalid")


@pytest.mark.parametrize("name", ANN)
def test_each_field_of_registration_is_required(walk: Walks, name: str) -> None:
    new = walk(sms_second_factor)
    refused(new.post("/auth/register", {k: v for k, v in ANN.items() if k != name}), 400, "validation_failed", name)
    for bad in (None, 5, "", {}):
        refused(new.post("/auth/register", {**ANN, name: bad}), 400, "validation_failed", name)
    assert new.post("/auth/register", ANN).status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("username", "annabel"), ("username", "anna bella"), ("password", "short77"), ("password", "password")),
        *(("phone_number", "12345"), ("phone_number", "0508464336x7"), ("phone_number", "+15005550006")),
    ],
)
def test_each_field_is_checked(walk: Walks, field: str, value: str) -> None:
    refused(walk(sms_second_factor).post("/auth/register", {**ANN, field: value}), 400, "validation_failed", field)


def test_fields_of_login_and_verification_are_required(ann: Walk) -> None:
    refused(ann.post("/auth/login", {"password": "x"}), 400, "validation_failed", "username")
    refused(ann.post("/auth/login", {"username": "annabella"}), 400, "validation_failed", "password")
    refused(ann.post("/auth/verify-otp", {"session_id": "x"}), 400, "validation_failed", "otp")
    refused(ann.post("/auth/verify-otp", {"otp": "123456"}), 400, "validation_failed", "session_id")
    unknown = {"challenge_id": "x", "otp": "123456"}
    refused(ann.post("/auth/verify-otp", unknown), 400, "validation_failed", "challenge_id", "session_id")


def test_a_name_and_a_number_are_registered_once(ann: Walk) -> None:
    again = {**ANN, "phone_number": "0508464337"}
    refused(ann.post("/auth/register", again), 409, "identifier_taken", "username")
    again = {**ANN, "username": "isabella"}
    refused(ann.post("/auth/register", again), 409, "identifier_taken", "phone_number")


def test_an_unknown_user_is_answered_like_a_wrong_password(ann: Walk) -> None:
    wrong = ann.post("/auth/login", {**LOGIN, "password": "not the right one"})
    unknown = ann.post("/auth/login", {**LOGIN, "username": "isabella"})
    refused(wrong, 401, "invalid_credentials")
    assert_no_enumeration(wrong, unknown)
    assert ann.messages == []


def test_wrong_passwords_are_counted(ann: Walk) -> None:
    for _ in range(5):
        refused(ann.post("/auth/login", {**LOGIN, "password": "not the right one"}), 401, "invalid_credentials")
    refused(log_in(ann), 429, "rate_limited")
    ann.wait(900)
    assert log_in(ann).status_code == 200


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Bearer", "Basic YTpi"])
def test_without_a_good_token_nobody_enters(ann: Walk, header: str | None) -> None:
    answer = ann.client.get("/auth/private", headers={} if header is None else {"Authorization": header})
    refused(answer, 401, "authentication_required")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_pending_login_opens_nothing(ann: Walk) -> None:
    asked = log_in(ann)
    refused(ann.get("/auth/private", token=asked.json["session_id"]), 401, "authentication_required")


def test_swagger_ui_shows_the_names_of_this_system(ann: Walk) -> None:
    page = ann.get("/swagger/")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    places = re.findall(r'(?:href|src|data-document)="([^"]+)"', page.text)
    assert places
    assert all(place.startswith(("/", "data:")) for place in places), "files of this server only"
    assert {ann.get(place).status_code for place in places if place.startswith("/")} == {200}
    document = ann.get("/auth/openapi.json").json
    assert {"/auth/register", "/auth/login", "/auth/verify-otp"} <= set(document["paths"])
    assert document["paths"]["/auth/private"]["get"]["security"] == [{"accessToken": []}]
    told = dumps(document)
    for name in ('"phone_number"', '"session_id"', '"token"'):
        assert name in told
    assert '"challenge_id"' not in told
    schemes = document["components"]["securitySchemes"].values()
    assert any((one["type"], one.get("scheme")) == ("http", "bearer") for one in schemes)


@pytest.mark.slow
@pytest.mark.services
def test_the_image_serves_this_system_too(tmp_path: Path) -> None:
    """Its command and its variable with this recipe's name: a demonstration without a gateway."""
    app = "example_app.recipes.sms_second_factor:create_app()"
    words = [*("gunicorn", "--config", "python:example_app.serving", "--bind", "127.0.0.1:{port}"), app]
    url = f"sqlite:///{tmp_path / 'users.db'}"
    with running(words, tmp_path, SECRET_KEY=SECRET, DATABASE_URL=url, OTPAUTH_DEMO="auto") as site:
        assert site.get("/auth/health") == (200, {"status": "ok"})
        assert site.get("/swagger/")[0] == 200
        assert site.post("/auth/register", ANN)[0] == 201
        asked = site.post("/auth/login", LOGIN)[1]
        code = re.findall(r"^CODE=(\d+)$", site.console, re.MULTILINE)[-1]
        done = site.post("/auth/verify-otp", {"session_id": asked["session_id"], "otp": code})[1]
        assert site.get("/auth/private", done["token"]) == (200, {"message": "Access granted."})


def test_a_gateway_that_fails_is_told(walk: Walks) -> None:
    def broken(message: Message) -> None:
        raise OSError(f"no answer for {message.to}")

    ann = walk(sms_second_factor)
    ann.post("/auth/register", ANN)
    ann.app.extensions["otpauth"].courier._captures = ()
    ann.app.extensions["otpauth"].courier.register("sms", broken)
    answer = log_in(ann)
    refused(answer, 503, "delivery_failed")
    assert "+972" not in answer.text
