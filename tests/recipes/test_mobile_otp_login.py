"""System 1, mobile OTP login: registration sends a code, and a code alone logs in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from example_app.recipes import mobile_otp_login
from flask_otpauth import ConfigurationError, Message
from flask_otpauth.testing import assert_no_enumeration
from tests.recipes.walking import SECRET, Walk, close, refused
from tests.services import KINDS

ANN = {"username": "annika", "password": "securepassword", "mobile_number": "0508464336"}
NUMBER = {"mobile_number": "0508464336"}
CHALLENGE = {
    *("challenge_id", "purpose", "channel", "destination", "methods", "message"),
    *("expires_at", "expires_in", "resend_at", "resend_in", "attempts_left"),
}

Walks = Callable[..., Walk]


@pytest.fixture
def ann(walk: Walks) -> Walk:
    """Annika has registered, and her code is on its way."""
    made = walk(mobile_otp_login)
    assert made.post("/register", ANN).status_code == 202
    return made


def log_in(walk: Walk, otp: str | None = None, **more: Any) -> Any:
    return walk.post("/login", {**NUMBER, "otp": walk.code if otp is None else otp}, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_register_log_in_and_look(walk: Walks, kind: str) -> None:
    ann = walk(mobile_otp_login, kind)
    asked = ann.post("/register", ANN)
    assert (asked.status_code, set(asked.json)) == (202, CHALLENGE)
    assert (asked.json["channel"], asked.json["destination"]) == ("sms", "+**********36")
    assert [(one.to, one.channel) for one in ann.messages] == [("+972508464336", "sms")]
    (row,) = ann.sql("SELECT username, phone, password_hash FROM users")
    assert (row["username"], row["phone"], "$2b$" in row["password_hash"]) == ("annika", "+972508464336", True)

    done = log_in(ann)
    assert done.status_code == 200
    shown = ann.get("/protected", token=done.json["access_token"])
    assert (shown.status_code, shown.json) == (
        200,
        {"id": done.json["user"]["id"], "username": "annika", "mobile_number": "+972508464336"},
    )
    assert done.json["user"]["mobile_number"] == "+972508464336"
    assert ann.post("/logout", token=done.json["access_token"]).status_code == 204
    refused(ann.get("/protected", token=done.json["access_token"]), 401, "authentication_required")


def test_the_password_of_who_named_anothers_number_opens_nothing(ann: Walk) -> None:
    """The owner takes the code of a registration that isn't his, by his number; the stranger's password stays."""
    owner = ann.stranger()
    done = log_in(ann, client=owner)
    assert done.status_code == 200
    assert ann.sql("SELECT password_hash FROM users") != [{"password_hash": None}]
    guess = {"password": ANN["password"]}
    refused(ann.post("/login", {**NUMBER, **guess}), 400, "validation_failed", "password")
    refused(ann.post("/step-up", guess), 401, "authentication_required")
    stepped = ann.post("/step-up", guess, token=done.json["access_token"])
    refused(stepped, 401, "insufficient_user_authentication")


def test_after_expiry_another_code_is_asked_for(ann: Walk) -> None:
    first = ann.code
    ann.wait(300)
    refused(log_in(ann), 401, "otp_expired")
    again = ann.post("/login", NUMBER)
    assert (again.status_code, set(again.json), len(ann.codes)) == (202, CHALLENGE, 2)
    if first != ann.code:
        assert log_in(ann, first).json["code"] == "otp_invalid"
    assert log_in(ann).status_code == 200


@pytest.mark.parametrize("seconds", [60, 600])
def test_the_lifetime_is_a_setting(walk: Walks, seconds: int) -> None:
    ann = walk(mobile_otp_login, OTPAUTH_CODE_LIFETIME=seconds)
    assert ann.post("/register", ANN).json["expires_in"] == seconds
    ann.wait(seconds - 1)
    assert log_in(ann).status_code == 200


def test_more_than_ten_minutes_are_refused(walk: Walks) -> None:
    with pytest.raises(ConfigurationError, match="OTPAUTH_CODE_LIFETIME"):
        walk(mobile_otp_login, OTPAUTH_CODE_LIFETIME=601)


def test_wrong_codes_are_counted_and_end_the_challenge(ann: Walk) -> None:
    for left in (4, 3, 2, 1, 0):
        refused(log_in(ann, ann.wrong), 401, "otp_invalid", attempts_left=left)
    refused(log_in(ann), 401, "challenge_invalid")


def test_new_codes_give_no_new_guesses(ann: Walk) -> None:
    answers: list[Any] = []
    for _ in range(4):
        answers += [log_in(ann, ann.wrong, client=ann.stranger()) for _ in range(4)]
        ann.wait(61)
        ann.post("/login", NUMBER, client=ann.stranger())
    statuses = [one.status_code for one in answers]
    assert statuses == [401] * 10 + [429] * 6
    refused(answers[-1], 429, "rate_limited")
    refused(log_in(ann, client=ann.stranger()), 429, "rate_limited")


def test_a_used_code_is_refused(ann: Walk) -> None:
    assert log_in(ann).status_code == 200
    refused(log_in(ann), 401, "challenge_invalid")


def test_a_malformed_code_costs_no_attempt(ann: Walk) -> None:
    for bad in ("", "1234567", "123456789", "abcdefgh", "１２３４５６７８", "12 34 56 78"):  # noqa: RUF001
        refused(log_in(ann, bad), 400, "validation_failed", "otp")
    refused(ann.post("/login", {**NUMBER, "otp": int(ann.code)}), 400, "validation_failed", "otp")
    refused(log_in(ann, ann.wrong), 401, "otp_invalid", attempts_left=4)
    assert log_in(ann, f"{ann.code[:4]} {ann.code[4:]}").status_code == 200


@pytest.mark.parametrize("name", ANN)
def test_each_field_of_registration_is_required(walk: Walks, name: str) -> None:
    new = walk(mobile_otp_login)
    refused(new.post("/register", {k: v for k, v in ANN.items() if k != name}), 400, "validation_failed", name)
    for bad in (None, 5, True, "", ["x"]):
        refused(new.post("/register", {**ANN, name: bad}), 400, "validation_failed", name)
    assert new.messages == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("username", "anna5"), ("username", "1annika"), ("username", "ann@example.org"), ("username", "a" * 65)),
        *(("password", "short77"), ("password", "password"), ("password", "annika"), ("password", "x" * 1025)),
        *(("mobile_number", "12345"), ("mobile_number", "050-CALL-ME"), ("mobile_number", "+15005550006")),
        ("mobile_number", "+999508464336"),
    ],
)
def test_each_field_is_checked(walk: Walks, field: str, value: str) -> None:
    new = walk(mobile_otp_login)
    refused(new.post("/register", {**ANN, field: value}), 400, "validation_failed", field)
    assert new.messages == []


def test_a_login_names_a_number_and_nothing_else(ann: Walk) -> None:
    refused(ann.post("/login", {}), 400, "validation_failed", "mobile_number")
    refused(ann.post("/login", {**NUMBER, "password": "x"}), 400, "validation_failed", "password")
    refused(ann.post("/login", {"phone": "0508464336"}), 400, "validation_failed", "phone", "mobile_number")
    refused(ann.post("/login", {"mobile_number": "none"}), 400, "validation_failed", "mobile_number")
    refused(ann.client.post("/login", data="{"), 415, "unsupported_media_type")
    refused(ann.client.post("/login", data="{", content_type="application/json"), 400, "malformed_request")


def test_a_name_and_a_number_are_registered_once(ann: Walk) -> None:
    refused(ann.post("/register", {**ANN, "mobile_number": "0508464337"}), 409, "identifier_taken", "username")
    taken = {**ANN, "username": "annabella", "mobile_number": "+972 50-846-4336"}
    refused(ann.post("/register", taken), 409, "identifier_taken", "mobile_number")
    assert len(ann.messages) == 1


def test_an_unknown_number_is_answered_like_a_known_one(ann: Walk) -> None:
    other = {"mobile_number": "0508464399"}
    ann.wait(61)
    asked = ann.post("/login", NUMBER, client=ann.stranger())
    assert_no_enumeration(asked, ann.post("/login", other, client=ann.stranger()))
    assert len(ann.messages) == 2
    guesses = [ann.post("/login", {**one, "otp": ann.wrong}, client=ann.stranger()) for one in (NUMBER, other)]
    assert_no_enumeration(*guesses)
    refused(guesses[1], 401, "otp_invalid", attempts_left=4)


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Bearer", "Basic YTpi"])
def test_without_a_good_token_nothing_is_shown(ann: Walk, header: str | None) -> None:
    answer = ann.client.get("/protected", headers={} if header is None else {"Authorization": header})
    refused(answer, 401, "authentication_required")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


# --- the wish list of its author --------------------------------------------------------------------------------------


def test_codes_are_sent_at_intervals(ann: Walk) -> None:
    ann.wait(61)
    assert ann.post("/login", NUMBER).status_code == 202
    refused(ann.post("/login", NUMBER), 429, "rate_limited", retry_after=60)
    ann.wait(60)
    assert ann.post("/login", NUMBER).status_code == 202


def test_messages_to_one_number_are_limited_whoever_asks(ann: Walk) -> None:
    """Strangers have two challenges at once and, of five messages in ten minutes, three; the answer is the same."""
    ann.wait(600)
    statuses: dict[str, list[int]] = {}
    for number in ("0508464336", "0508464399"):
        for _ in range(7):
            ann.wait(61)
            asked = ann.post("/login", {"mobile_number": number}, client=ann.stranger())
            statuses.setdefault(number, []).append(asked.status_code)
    # The third goes out when the code of the first one is too late.
    assert len(ann.messages) == 3
    assert statuses["0508464336"] == statuses["0508464399"]
    refused(asked, 429, "rate_limited")


@pytest.mark.parametrize(
    ("setting", "path", "body"),
    [
        ("OTPAUTH_LOGIN_IP_LIMITS", "/login", {"mobile_number": "0508464300"}),
        ("OTPAUTH_LOGIN_IP_LIMITS", "/register", ANN),
        ("OTPAUTH_SEND_IP_LIMITS", "/login", {"mobile_number": "0508464300"}),
        ("OTPAUTH_VERIFY_IP_LIMITS", "/login", {"mobile_number": "0508464300", "otp": "00000000"}),
    ],
)
def test_requests_of_one_address_are_limited(walk: Walks, setting: str, path: str, body: dict[str, str]) -> None:
    new = walk(mobile_otp_login, **{setting: "1 per hour"})
    assert new.post(path, body).status_code != 429
    refused(new.post(path, body), 429, "rate_limited")


@pytest.mark.parametrize(
    ("region", "good", "written", "bad"),
    [
        ("IL", "0508464336", "+972508464336", ["050846433", "05084643361", "1234567890", "036234567"]),
        ("US", "2025550143", "+12025550143", ["202555014", "20255501433", "0508464336", "9005550143"]),
        ("IN", "9876543210", "+919876543210", ["987654321", "98765432100", "0508464336"]),
    ],
)
def test_ten_digit_numbers_of_the_region_only(
    tmp_path: Path, region: str, good: str, written: str, bad: list[str]
) -> None:
    """As in production: debug and testing take the test numbers of gateways too."""
    sent: list[Message] = []
    config = {"SECRET_KEY": SECRET, "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'users.db'}"}
    app = mobile_otp_login.create_app({**config, "OTPAUTH_PHONE_REGION": region}, sms=sent.append)
    register = partial(app.test_client().post, "/register")
    for number in bad:
        refused(register(json={**ANN, "mobile_number": number}), 400, "validation_failed", "mobile_number")
    assert register(json={**ANN, "mobile_number": good}).status_code == 202
    app.extensions["otpauth"].courier._dispatcher.drain(10)
    assert [one.to for one in sent] == [written]
    close(app)


def test_without_a_gateway_production_is_refused() -> None:
    config = {"SECRET_KEY": SECRET, "SQLALCHEMY_DATABASE_URI": "sqlite://", "PROPAGATE_EXCEPTIONS": True}
    app = mobile_otp_login.create_app(config)
    with pytest.raises(ConfigurationError, match="OTPAUTH_CHANNELS names sms without a sender"):
        app.test_client().get("/health")
    close(app)


def test_with_the_secret_of_development_production_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY is short or well known"):
        mobile_otp_login.create_app({"SQLALCHEMY_DATABASE_URI": "sqlite://"}, sms=lambda message: None)
