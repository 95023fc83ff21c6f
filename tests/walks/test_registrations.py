"""What a registration takes and refuses, field by field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_otpauth import OTPAuth

PASSWORD = "correct horse battery"

Host = Any
Hosts = Callable[..., Host]


def faults(response: Any) -> dict[str, str]:
    assert (response.status_code, response.json["code"]) == (400, "validation_failed"), response.json
    told = {one["field"]: one["message"] for one in response.json["errors"]}
    assert len(told) == len(response.json["errors"])  # one entry a field
    return told


@pytest.mark.parametrize("typed", ["+972 (50) 846-43-36", "  +972 50 846 4336  "])
def test_a_number_may_be_typed_longer_than_its_column(host: Hosts, typed: str) -> None:
    site = host()
    assert site.register(phone=typed).status_code == 202
    assert site.messages[-1].to == "+972508464336"


def test_what_is_stored_of_an_identifier_fits_its_column(make_app: Callable[..., Flask]) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI="sqlite://", OTPAUTH_FIELD_NAMES={"email": "mail"})
    db = SQLAlchemy(app)

    class Member(db.Model):  # type: ignore[name-defined, misc]
        id = sa.Column(sa.Integer, primary_key=True)
        username = sa.Column(sa.String(4), unique=True)
        email = sa.Column(sa.String(12), unique=True)
        password_hash = sa.Column(sa.String(255))

    OTPAuth(app, db=db, user_model=Member)
    with app.app_context():
        db.create_all()
    client = app.test_client()
    body = {"username": "annabel", "mail": "ann@example.org", "password": PASSWORD}
    assert faults(client.post("/auth/register", json=body)) == {
        "username": "This must have at most 4 characters.",
        "mail": "This must have at most 12 characters.",
    }
    body |= {"username": " anna  ", "mail": "   A@Bb.example   "}
    assert client.post("/auth/register", json=body).status_code == 202
    with app.app_context():
        db.engine.dispose()


def test_all_that_is_wrong_is_told_at_once(host: Hosts) -> None:
    site = host(EXTRA_FIELDS=("captcha",))
    body = {"username": "7", "email": "ann", "phone": 5, "password": "short", "captcha": 6, "role": "admin"}
    told = faults(site.post("/register", body))
    assert told.keys() == body.keys()
    assert told["role"] == "There is no such field here."
    assert told["phone"] == "This must be a string."


def test_what_is_missing_is_told_beside_what_is_wrong(host: Hosts) -> None:
    assert faults(host().post("/register", {"username": "7"})).keys() == {"username", "password", "phone", "email"}


def test_a_second_one_in_the_cooldown_is_told_when_to_come_back(host: Hosts) -> None:
    site = host(FIRST_FACTOR="otp", FIELD_NAMES={"retry_after": "wait"})
    for path, body in (
        ("/register", {"username": "ann", "email": "ann@example.org"}),
        ("/login", {"identifier": "bob"}),
    ):
        asked = site.post(path, body)
        refused = site.post(path, body)
        assert (asked.status_code, refused.status_code, refused.json["code"]) == (202, 429, "rate_limited")
        assert (refused.json["resend_at"], refused.json["wait"]) == (asked.json["resend_at"], 60)
        assert refused.headers["Retry-After"] == "60"


def test_a_form_is_told_all_that_is_wrong_at_once(make_app: Callable[..., Flask]) -> None:
    app = make_app(OTPAUTH_PAGES=True, WTF_CSRF_ENABLED=False)
    OTPAuth(app)
    form = {"username": "7", "email": "ann", "password": "short", "password_again": "other"}
    page = app.test_client().post("/account/register", data=form)
    assert page.status_code == 400
    for told in ("A username has", "not a valid e-mail", "at least 8 characters", "are not the same"):
        assert told in page.text, told
