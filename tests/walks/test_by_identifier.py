"""What a stranger can do, and learn, where a challenge is answered by a name instead of its secret id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.walks.conftest import PASSWORD, PHONE, Host

Hosts = Callable[..., Host]

OTHER = "+972508464337"
"""Of somebody else, who has an account too."""
NOBODYS = "+972508464338"


def people(host: Hosts, **config: Any) -> Host:
    """Give an app with two users: ann, who is known at her client, and carol."""
    site = host(CHALLENGE_LOOKUP="identifier", SEND_LIMITS="90 per day", **config)
    password = {} if config.get("FIRST_FACTOR") else {"password": PASSWORD}
    for name, phone, client in (("carol", OTHER, site.app.test_client()), ("ann", PHONE, site.client)):
        body = {"phone": phone, **password}
        if "REGISTER_FIELDS" not in config:
            body["username"] = name
        asked = site.post("/register", body, client=client).json
        proof = {"challenge_id": asked["challenge_id"], "otp": site.code}
        assert site.post("/verify-otp", proof, client=client).status_code == 200
        site.clock.advance(3600)
    return site


def begin(site: Host, name: str, place: str = "198.51.100.1") -> None:
    """Have a stranger begin a login by a name: a decoy where a password comes first."""
    path = "/auth/login" if site.app.config.get("OTPAUTH_FIRST_FACTOR") == "otp" else "/auth/resend-otp"
    answer = site.app.test_client().post(path, json={"identifier": name}, environ_base={"REMOTE_ADDR": place})
    assert answer.status_code == 202


def guess(site: Host, name: str, place: str = "198.51.100.1") -> tuple[int, dict[str, Any]]:
    """Have a stranger answer by a name, wrongly."""
    length = site.app.extensions["otpauth"].settings.digits
    sent = {message.code for message in site.messages}
    body = {"identifier": name, "otp": next(digit * length for digit in "0123456789" if digit * length not in sent)}
    answer = site.app.test_client().post("/auth/verify-otp", json=body, environ_base={"REMOTE_ADDR": place})
    return answer.status_code, answer.json


@pytest.mark.parametrize("config", [{"FIRST_FACTOR": "otp"}, {}], ids=["passwordless", "password"])
def test_what_was_begun_by_one_name_is_answered_by_no_other(host: Hosts, config: dict[str, str]) -> None:
    site = people(host, **config)
    begin(site, "ann")
    assert guess(site, PHONE) == guess(site, OTHER) == guess(site, NOBODYS)
    assert guess(site, "ann")[1]["code"] == "otp_invalid"


def test_what_followed_a_password_is_answered_by_any_name_of_its_user(host: Hosts) -> None:
    site = people(host)
    body = {"identifier": "ann", "password": PASSWORD}
    assert site.post("/login", body, client=site.app.test_client()).status_code == 200
    answer = site.post("/verify-otp", {"identifier": PHONE, "otp": site.code}, client=site.app.test_client())
    assert answer.status_code == 200


@pytest.mark.parametrize("known", [True, False])
def test_strangers_decoys_take_no_place_from_the_owners_code(host: Hosts, known: bool) -> None:
    site = people(host)
    for _ in range(3):
        client = site.client if known else site.app.test_client()
        site.clock.advance(61)
        asked = site.post("/login", {"identifier": "ann", "password": PASSWORD}, client=client)
        assert asked.status_code == 200
        code = site.code
        for number in range(6):
            site.clock.advance(1)
            begin(site, ("ann", PHONE)[number % 2], f"198.51.{number}.1")
        assert site.post("/verify-otp", {"identifier": "ann", "otp": code}, client=client).status_code == 200


def test_registrations_with_a_number_take_no_place_from_its_owners_code(host: Hosts) -> None:
    site = people(host, FIRST_FACTOR="otp", REGISTRATION="login-code", REGISTER_FIELDS={"phone": True})
    assert site.post("/login", {"identifier": PHONE}).status_code == 202
    code = site.code
    begin(site, PHONE)
    for number in range(2):
        site.clock.advance(1)
        place = {"REMOTE_ADDR": f"198.51.{number}.1"}
        body = {"phone": PHONE}
        assert site.app.test_client().post("/auth/register", json=body, environ_base=place).status_code == 202
    assert site.post("/verify-otp", {"identifier": PHONE, "otp": code}).status_code == 200


@pytest.mark.parametrize("config", [{"FIRST_FACTOR": "otp"}, {}], ids=["passwordless", "password"])
def test_guesses_by_one_name_show_under_no_other(host: Hosts, config: dict[str, str]) -> None:
    answers = []
    for name in ("ann", "carol"):
        site = people(host, **config)
        for number in range(12):
            if number % 5 == 0:
                site.clock.advance(61)
                begin(site, PHONE, f"198.51.{number}.1")
            guess(site, PHONE, f"198.51.{number}.1")
        begin(site, name)
        answers.append(guess(site, name))
    assert answers[0] == answers[1]
    assert answers[0][1]["code"] == "otp_invalid"
