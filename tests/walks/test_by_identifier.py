"""What a stranger can do, and learn, where a challenge is answered by a name instead of its secret id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_otpauth.types import instant
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


# --- what is muted, spent or late -------------------------------------------------------------------------------------


def ask(site: Host, path: str, body: dict[str, str], place: str) -> str:
    """Ask for a code from a place of one's own, without cookies; give the id of the challenge."""
    answer = site.app.test_client().post(f"/auth{path}", json=body, environ_base={"REMOTE_ADDR": place})
    assert answer.status_code == 202
    site.clock.advance(1)
    return str(answer.json["challenge_id"])


def squat(site: Host) -> None:
    body = {"username": "squatter", "password": "squatter's very own", "phone": PHONE}
    ask(site, "/register", body, "198.51.100.9")


def register_muted(site: Host) -> None:
    begin(site, PHONE)
    squat(site)
    site.clock.advance(61)
    ask(site, "/register", {"username": "ann", "password": PASSWORD, "phone": PHONE}, "192.0.2.1")
    site.clock.advance(61)


def register_late(site: Host) -> None:
    ask(site, "/register", {"username": "ann", "password": PASSWORD, "phone": PHONE}, "192.0.2.1")
    site.clock.advance(290)
    squat(site)
    site.clock.advance(11)


def register_spent(site: Host) -> None:
    ask(site, "/register", {"username": "ann", "password": PASSWORD, "phone": PHONE}, "192.0.2.1")
    for number in range(5):
        guess(site, PHONE, f"198.51.{number}.1")
    site.clock.advance(61)  # or the squatter's code would not be sent
    squat(site)


@pytest.mark.parametrize("begun", [register_muted, register_late, register_spent])
@pytest.mark.parametrize("resent", [False, True])
def test_the_owner_of_a_number_answers_no_squatters_registration(
    host: Hosts, begun: Callable[[Host], None], resent: bool
) -> None:
    site = host(CHALLENGE_LOOKUP="identifier", SECOND_FACTOR="never")
    begun(site)
    if resent:
        site.clock.advance(61)
        ask(site, "/resend-otp", {"phone": PHONE}, "192.0.2.1")
    body = {"phone": PHONE, "otp": site.code}
    assert site.post("/verify-otp", body, client=site.app.test_client()).status_code == 401
    login = {"identifier": "squatter", "password": "squatter's very own"}
    assert site.post("/login", login, client=site.app.test_client()).status_code == 401


def of_registrations(site: Host, name: str) -> Any:
    for number in range(2):
        ask(site, "/register", {"phone": name, "username": f"zoe{number}"}, f"198.51.{number}.1")
    ask(site, "/login", {"identifier": name}, "198.51.2.1")
    return guess(site, name, "198.51.3.1")


def of_another_name(site: Host, name: str) -> Any:
    for number in range(2):
        ask(site, "/login", {"identifier": "ann"}, f"198.51.{number}.1")
    ask(site, "/login", {"identifier": name}, "198.51.2.1")
    return guess(site, name, "198.51.3.1")


def of_a_known_client(site: Host, name: str) -> Any:
    for _ in range(2):
        site.clock.advance(61)
        assert site.post("/login", {"identifier": "ann"}).status_code == 202
    ask(site, "/login", {"identifier": name}, "198.51.2.1")
    return guess(site, name, "198.51.3.1")


def of_a_resend(site: Host, name: str) -> Any:
    for number in range(2):
        ask(site, "/login", {"identifier": name}, f"198.51.{number}.1")
    ask(site, "/register", {"phone": name, "username": "zoe"}, "198.51.2.1")
    site.clock.advance(61)
    return site.post("/resend-otp", {"identifier": name}, client=site.app.test_client()).json["purpose"]


def of_attempts(site: Host, name: str) -> Any:
    first = ask(site, "/login", {"identifier": name}, "198.51.1.1")
    second = ask(site, "/register", {"phone": name, "username": "zoe"}, "198.51.2.1")
    site.clock.advance(301)
    later = [ask(site, "/login", {"identifier": name}, f"198.51.{number}.1") for number in (3, 4)]
    for number, one in enumerate((first, second)):
        ask(site, "/resend-otp", {"challenge_id": one}, f"198.51.{number + 5}.1")
    for one, times in ((later[0], 3), (later[1], 3), (second, 2)):
        for number in range(times):
            body = {"challenge_id": one, "otp": "0" * site.app.extensions["otpauth"].settings.digits}
            place = {"REMOTE_ADDR": f"198.51.{number + 10}.1"}
            answer = site.app.test_client().post("/auth/verify-otp", json=body, environ_base=place)
            assert answer.json["code"] == "otp_invalid"
    return guess(site, name)


@pytest.mark.parametrize("way", [of_registrations, of_another_name, of_a_known_client, of_a_resend, of_attempts])
def test_what_is_muted_tells_nothing_of_an_account(host: Hosts, way: Callable[[Host, str], Any]) -> None:
    answers = [way(people(host, FIRST_FACTOR="otp"), name) for name in (PHONE, OTHER, NOBODYS)]
    assert answers[0] == answers[1] == answers[2]


def test_a_guess_takes_attempts_of_a_bounded_number_of_challenges(host: Hosts) -> None:
    site = people(host, FIRST_FACTOR="otp")
    begun = [ask(site, "/login", {"identifier": PHONE}, f"198.51.{number}.1") for number in range(14)]
    assert guess(site, PHONE, "203.0.113.1")[1]["attempts_left"] == 4
    challenges, now = site.app.extensions["otpauth"].login._parts.challenges, instant(site.clock.now)
    assert sorted(challenges.look(one, now).attempts_left for one in begun) == [4] * 12 + [5] * 2
