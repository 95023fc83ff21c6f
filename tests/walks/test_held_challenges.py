"""A challenge that a browser holds, named by an identifier beside it (system 5): it acts for that user only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

PASSWORD = "correct horse battery"
ANN, BOB = "ann@example.org", "bob@example.org"
WRONG = (401, "otp_invalid")

Host = Any
Hosts = Callable[..., Host]


def site_of(host: Hosts, **config: Any) -> Host:
    """Give a host of two users who have finished the first login of their lives elsewhere."""
    settings = {"SEND_IP_LIMITS": "1000 per day", "SEND_LIMITS": "90 per day", **config}
    site = host(CHALLENGE_LOOKUP="identifier", CREDENTIALS=("session",), CHANNELS=("email",), **settings)
    for name, address in (("ann", ANN), ("bob", BOB)):
        fields = {"username": name, "email": address}
        fields |= {} if config.get("FIRST_FACTOR") else {"password": PASSWORD}
        site.client = site.app.test_client()
        asked = site.post("/register", fields)
        assert site.prove(asked).status_code == 200, asked.json
        site.clock.advance(61)
    site.client = site.app.test_client()
    return site


def begin(site: Host, address: str, client: FlaskClient) -> str:
    """Prove the password in a browser; gives the code that was sent."""
    site.clock.advance(61)
    asked = site.post("/login", {"email": address, "password": PASSWORD}, client=client)
    assert asked.status_code == 200, asked.json
    return str(site.code)


def verify(site: Host, address: str, otp: str, client: FlaskClient) -> tuple[int, str | None]:
    answer = site.post("/verify-otp", {"email": address, "otp": otp}, client=client)
    return answer.status_code, answer.json.get("code")


def other(otp: str) -> str:
    return otp[:-1] + str((int(otp[-1]) + 1) % 10)


def attempts(site: Host) -> list[int]:
    with site.app.app_context(), site.app.extensions["sqlalchemy"].engine.connect() as connection:
        query = "SELECT attempts_left FROM otpauth_challenge WHERE ended_at IS NULL ORDER BY created_at"
        return list(connection.scalars(text(query)))


# --- another code -------------------------------------------------------------------------------------------------


def test_the_browser_gets_another_code_and_the_earlier_one_is_void(host: Hosts) -> None:
    site = site_of(host)
    old = begin(site, ANN, site.client)
    site.clock.advance(61)
    sent = len(site.messages)
    again = site.post("/resend-otp", {"email": ANN})
    assert again.status_code == 202
    assert [one.to for one in site.messages[sent:]] == [ANN]
    assert old == site.code or verify(site, ANN, old, site.client) == WRONG
    assert verify(site, ANN, site.code, site.client) == (200, None)
    assert site.get("/private").status_code == 200


def test_nobody_else_is_sent_a_code_and_all_are_answered_alike(host: Hosts) -> None:
    site = site_of(host)
    code = begin(site, ANN, site.client)
    site.clock.advance(61)
    sent = len(site.messages)
    strange = [site.app.test_client() for _ in range(4)]
    begin_id = held(site.client)
    answers = [
        site.post("/resend-otp", {"email": BOB}),  # another user's name
        site.post("/resend-otp", {"email": "nobody@example.org"}),  # nobody's
        site.post("/resend-otp", {"email": ANN}, client=strange[0]),  # another browser
        site.post("/resend-otp", {"email": "noone@example.org"}, client=strange[1]),
    ]
    right = site.post("/resend-otp", {"email": ANN})
    assert len(site.messages) == sent + 1
    shown = ("purpose", "channel", "methods", "message", "attempts_left", "expires_in", "resend_in")
    for answer in answers:
        assert answer.status_code == right.status_code == 202
        assert answer.json.keys() == right.json.keys()
        assert {name: answer.json[name] for name in shown} == {name: right.json[name] for name in shown}
        assert ("Set-Cookie" in answer.headers) is ("Set-Cookie" in right.headers)
    assert [answer.json["challenge_id"] for answer in answers[:2]] == [begin_id] * 2
    assert held(site.client) == begin_id
    assert verify(site, ANN, site.code, site.client) == (200, None)
    assert code


def held(client: FlaskClient) -> str:
    with client.session_transaction() as flask_session:
        return str(flask_session["_otpauth"]).removeprefix("c.")


def test_whoever_names_another_leaves_what_he_holds_as_it_is(host: Hosts) -> None:
    site = site_of(host)
    code = begin(site, ANN, site.client)
    site.clock.advance(61)
    for address in (BOB, "nobody@example.org"):
        assert site.post("/resend-otp", {"email": address}).status_code == 202
    assert verify(site, ANN, code, site.client) == (200, None)


def test_a_login_of_another_is_neither_renewed_nor_ended(host: Hosts) -> None:
    site = site_of(host)
    bobs = site.app.test_client()
    code = begin(site, BOB, bobs)
    begin(site, ANN, site.client)
    site.clock.advance(61)
    sent = len(site.messages)
    assert site.post("/resend-otp", {"email": BOB}).status_code == 202
    assert len(site.messages) == sent
    assert verify(site, BOB, code, bobs) == (200, None)


def test_in_the_cooldown_nobody_gets_another_code(host: Hosts) -> None:
    site = site_of(host)
    begin(site, ANN, site.client)
    refused = [site.post("/resend-otp", {"email": address}) for address in (ANN, BOB)]
    assert [(one.status_code, one.json["code"]) for one in refused] == [(429, "rate_limited")] * 2
    assert refused[0].json == refused[1].json


def test_one_who_has_proved_nothing_links_no_identifiers(host: Hosts) -> None:
    site = site_of(host, FIRST_FACTOR="otp", REGISTER_FIELDS=("username", "email"))
    site.clock.advance(900)
    asked = site.post("/login", {"email": ANN})
    site.clock.advance(61)
    first = asked.json["challenge_id"]
    assert site.post("/resend-otp", {"email": ANN}).json["challenge_id"] == first
    site.clock.advance(61)
    # The name of that address's owner, and somebody else's: a new challenge either way.
    again = [site.post("/resend-otp", {"username": name}, client=copy(site, site.client)) for name in ("ann", "bob")]
    assert [one.status_code for one in again] == [202, 202]
    assert first not in {one.json["challenge_id"] for one in again}


def copy(site: Host, client: FlaskClient) -> FlaskClient:
    other_client = site.app.test_client()
    cookie = client.get_cookie("session")
    assert cookie is not None
    other_client.set_cookie("session", cookie.value)
    return other_client


# --- the answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [{"email": ANN}, {"username": "ann"}, {"identifier": ANN}])
def test_any_name_of_the_same_user_will_do(host: Hosts, name: dict[str, str]) -> None:
    site = site_of(host)
    code = begin(site, ANN, site.client)
    assert site.post("/verify-otp", {**name, "otp": code}).status_code == 200


@pytest.mark.parametrize("named", [BOB, "nobody@example.org"])
def test_a_right_code_for_another_name_is_a_wrong_one(host: Hosts, named: str) -> None:
    site = site_of(host)
    code = begin(site, ANN, site.client)
    wrong = site.post("/verify-otp", {"email": ANN, "otp": other(code)})
    misnamed = [site.post("/verify-otp", {"email": named, "otp": otp}) for otp in (code, other(code), code)]
    for answer in misnamed:
        assert (answer.status_code, answer.json["code"], answer.json.keys()) == (*WRONG, wrong.json.keys())
    # Each counts on what the browser holds.
    assert [one.json["attempts_left"] for one in (wrong, *misnamed)] == [4, 3, 2, 1]
    assert verify(site, ANN, code, site.client) == (200, None)


def test_who_names_another_five_times_has_used_up_his_own(host: Hosts) -> None:
    site = site_of(host)
    code = begin(site, ANN, site.client)
    assert [verify(site, BOB, code, site.client)[1] for _ in range(5)] == ["otp_invalid"] * 5
    assert verify(site, ANN, code, site.client) == (401, "challenge_invalid")


def test_nothing_of_the_one_who_is_named_is_charged_or_opened(host: Hosts) -> None:
    site = site_of(host)
    bobs = site.app.test_client()
    code = begin(site, BOB, bobs)
    begin(site, ANN, site.client)
    before = attempts(site)
    # Bob's own code in Ann's browser.
    assert verify(site, BOB, code, site.client) == WRONG
    after = attempts(site)
    assert [now - then for then, now in zip(before, after, strict=True)] == [0, -1]
    assert site.get("/private").status_code == 401
    assert verify(site, BOB, code, bobs) == (200, None)


def test_what_has_expired_is_told_to_be(host: Hosts) -> None:
    site = site_of(host)
    code = begin(site, ANN, site.client)
    site.clock.advance(301)
    assert verify(site, ANN, code, site.client) == (401, "otp_expired")


def test_what_is_over_stands_in_nobodys_way(host: Hosts) -> None:
    site = site_of(host)
    begin(site, ANN, site.client)
    site.clock.advance(901)
    code = begin(site, BOB, site.app.test_client())
    # The browser's own login is long over; the name finds the other one, as it does without a cookie.
    assert verify(site, BOB, code, site.client) == (200, None)


def test_a_code_alone_answers_to_any_of_its_users_names(host: Hosts) -> None:
    site = site_of(host, FIRST_FACTOR="otp", REGISTER_FIELDS=("username", "email"))
    site.clock.advance(900)
    assert site.post("/login", {"email": ANN}).status_code == 202
    code = site.code
    wrong = site.post("/login", {"username": "bob", "otp": code})
    assert (wrong.status_code, wrong.json["code"]) == WRONG
    assert site.post("/login", {"username": "ann", "otp": code}).status_code == 200


def test_a_registration_is_answered_by_each_name_that_was_given(host: Hosts) -> None:
    for name in ({"username": "eve"}, {"email": "eve@example.org"}):
        site = site_of(host)
        site.post("/register", {"username": "eve", "email": "eve@example.org", "password": PASSWORD})
        misnamed = site.post("/verify-otp", {"email": ANN, "otp": site.code})
        assert (misnamed.status_code, misnamed.json["code"]) == WRONG
        assert site.post("/verify-otp", {**name, "otp": site.code}).status_code == 200
