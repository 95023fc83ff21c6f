"""
G3: failures are counted on the account, whatever they are made through, and nothing but time gives them back.

Each case ends in 429 or in nothing compared, not in fewer attempts of one challenge: that is G1.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_otpauth.errors import ServiceUnavailable
from flask_otpauth.stores import SqlSessions
from tests.contracts.races import in_threads
from tests.security.races import PASSWORD, Site, Watch, comparisons, mail, password_comparisons, wrong
from tests.services import KINDS, database_url

PHONE = "+972508464336"
SIX = "6 per day; 60 per 30 days"
SIX_TIGHT = "6 per day; 20 per 30 days"
Sites = Callable[..., Site]

on_every_store = pytest.mark.parametrize("url", KINDS, indirect=True)
with_both_credentials = pytest.mark.parametrize("credentials", ["jwt", "session"])


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str, None, None]:
    with database_url(getattr(request, "param", "sqlite"), tmp_path) as url:
        yield url


@pytest.fixture
def sites(url: str, tmp_path: Path) -> Iterator[Sites]:
    """Make apps on one database and one clock. Phone numbers of Israel may get messages."""
    watch = Watch(still=True)
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            Site(url, tmp_path, watch=watch, **{"SMS_COUNTRIES": ("IL",), "CHANNELS": ("email", "sms"), **settings})
        )


def begin(site: Site, client: FlaskClient | None = None) -> str:
    """Begin a login of ann's by her password; give the challenge's id."""
    site.watch.ahead += 61
    return str(site.login("ann", client)["challenge_id"])


def ask(site: Site, **typed: str) -> str:
    """Ask for a passwordless code; give the challenge's id."""
    site.watch.ahead += 61
    asked = site.post("/login", typed)
    assert asked.status_code == 202, asked.text
    return str(asked.json["challenge_id"])


def guess(site: Site, challenge_id: str, number: int = 0, **more: Any) -> Any:
    """Guess wrong, each number from an address of its own."""
    body = {"challenge_id": challenge_id, "otp": wrong(latest(site))}
    return site.post("/verify-otp", body, address=f"198.51.100.{number % 200 + 1}", **more)


def enter(site: Site, challenge_id: str, **more: Any) -> Any:
    return site.post("/verify-otp", {"challenge_id": challenge_id, "otp": latest(site)}, **more)


def latest(site: Site) -> str:
    return str(next(one.code for one in reversed(site.messages) if one.code))


def notices(site: Site) -> list[tuple[str | None, str]]:
    """Give subject and address of each message without a code."""
    return [(one.subject, one.to) for one in site.messages if one.code is None]


def locked(answer: Any) -> bool:
    return bool(answer.status_code == 429 and answer.json["code"] == "rate_limited" and answer.json["retry_after"] > 0)


# --- what failures are counted over -----------------------------------------------------------------------------------


@on_every_store
@with_both_credentials
def test_guesses_over_new_logins(sites: Sites, credentials: str) -> None:
    site = sites(ACCOUNT_LIMITS=SIX, CREDENTIALS=credentials)
    site.join("ann")
    with comparisons() as compared:
        for _ in range(3):
            challenge = begin(site)
            answers = [guess(site, challenge, number) for number in range(3)]
    assert all(map(locked, answers))
    assert sum(compared.values()) == 6
    # The right code isn't compared either.
    assert locked(enter(site, begin(site)))


@on_every_store
def test_parallel_guesses_over_three_challenges(sites: Sites) -> None:
    site = sites()
    site.join("ann")
    challenges = [begin(site) for _ in range(3)]
    with comparisons() as compared:
        answers = in_threads(24, lambda number: guess(site, challenges[number % 3], number))
    assert sum(compared.values()) == 10
    assert sorted(answer.status_code for answer in answers) == [401] * 19 + [429] * 5


@on_every_store
def test_parallel_guesses_at_several_apps(sites: Sites) -> None:
    apps = [sites() for _ in range(3)]
    apps[0].join("ann")
    challenges = [begin(apps[0]) for _ in range(3)]
    right = latest(apps[0])
    body = {"otp": wrong(right)}
    with comparisons() as compared:
        in_threads(
            24, lambda number: apps[number % 2].post("/verify-otp", {**body, "challenge_id": challenges[number % 3]})
        )
    assert sum(compared.values()) == 10


def test_guesses_over_both_channels(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX)
    site.join("ann", phone=PHONE)
    for _ in range(2):
        challenge = begin(site)
        for _ in range(2):
            guess(site, challenge)
        site.watch.ahead += 61
        again = site.post("/resend-otp", {"challenge_id": challenge, "channel": "sms"})
        assert again.json["channel"] == "sms"
        assert site.messages[-1].to == PHONE
        answers = [guess(site, challenge) for _ in range(2)]
    assert all(map(locked, answers))


def test_guesses_by_id_and_by_identifier(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX_TIGHT, CHALLENGE_LOOKUP="identifier")
    site.join("ann")
    challenge = begin(site)
    for _ in range(3):
        guess(site, challenge)
    begin(site)
    body = {"identifier": "ann", "otp": wrong(latest(site))}
    assert [site.post("/verify-otp", body).status_code for _ in range(4)] == [401, 401, 401, 429]


def test_guesses_at_both_endpoints(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX_TIGHT, CHALLENGE_LOOKUP="identifier", FIRST_FACTOR="otp")
    site.join("ann")
    ask(site, email=mail("ann"))
    body = {"email": mail("ann"), "otp": wrong(latest(site))}
    for path in ("/login", "/verify-otp"):
        assert [site.post(path, body).status_code for _ in range(2)] == [401, 401]
    ask(site, email=mail("ann"))
    body["otp"] = wrong(latest(site))
    assert [site.post(path, body).status_code for path in ("/login", "/verify-otp", "/login")] == [401, 401, 429]


def test_guesses_under_every_name_of_an_account(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX_TIGHT, FIRST_FACTOR="otp", LIVE_CHALLENGES=10)
    site.join("ann")
    with comparisons() as compared:
        for typed in ({"identifier": "ann"}, {"email": mail("ann")}, {"username": "ANN"}):
            challenge = ask(site, **typed)
            for _ in range(4):
                guess(site, challenge)
    assert sum(compared.values()) == 6
    # Said of no name, since that would link it with another; but the right code isn't compared any more.
    assert enter(site, ask(site, email=mail("ann"))).json["code"] == "otp_invalid"


def test_guesses_of_a_login_and_of_a_step_up(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX, LIVE_CHALLENGES=10)
    client = site.client()
    token = site.join("ann", client)["access_token"]
    # Both by who is known to the account: a stolen token opens no second budget beside the browser's own.
    challenge = begin(site)
    for _ in range(3):
        guess(site, challenge, client=client)
    site.watch.ahead += 61
    step_up = site.post("/step-up", {}, token=token).json["challenge_id"]
    answers = [guess(site, step_up, token=token).status_code for _ in range(4)]
    assert answers == [401, 401, 401, 429]
    assert locked(enter(site, begin(site), client=client))


def test_guesses_over_new_registrations_of_one_address(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX)
    answers: list[Any] = []
    for name in ("ann", "bea", "cat"):
        asked = site.post("/register", {"username": name, "password": PASSWORD, "email": mail("ann")})
        answers += [guess(site, asked.json["challenge_id"]) for _ in range(3)]
        site.watch.ahead += 61
    assert [answer.status_code for answer in answers] == [401] * 6 + [429] * 3


def test_guesses_of_a_name_that_nobody_has(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX_TIGHT, FIRST_FACTOR="otp")
    site.join("ann")
    seen: list[list[tuple[int, str]]] = []
    for address in (mail("ann"), mail("nobody")):
        answers: list[Any] = []
        for _ in range(3):
            challenge = ask(site, email=address)
            answers += [guess(site, challenge) for _ in range(3)]
        seen.append([(answer.status_code, answer.json["code"]) for answer in answers])
    assert seen[0] == seen[1]
    assert [status for status, _ in seen[0]] == [401] * 6 + [429] * 3


# --- what gives none of them back -------------------------------------------------------------------------------------


@on_every_store
def test_a_restart(sites: Sites) -> None:
    first = sites(ACCOUNT_LIMITS=SIX, LIVE_CHALLENGES=10)
    first.join("ann")
    for _ in range(2):
        challenge = begin(first)
        for _ in range(3):
            guess(first, challenge)
    again = sites(ACCOUNT_LIMITS=SIX, LIVE_CHALLENGES=10)
    assert locked(enter(again, begin(again)))


def test_another_secret_key(sites: Sites) -> None:
    first = sites(ACCOUNT_LIMITS=SIX, LIVE_CHALLENGES=10)
    first.join("ann")
    for _ in range(2):
        challenge = begin(first)
        for _ in range(3):
            guess(first, challenge)
    again = sites(
        ACCOUNT_LIMITS=SIX,
        LIVE_CHALLENGES=10,
        config={"SECRET_KEY": "another key of the tests, long enough: 0123456789"},
    )
    assert locked(enter(again, begin(again)))


def test_another_code(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX)
    site.join("ann")
    answers: list[Any] = []
    for _ in range(2):
        challenge = begin(site)
        answers += [guess(site, challenge) for _ in range(2)]
        site.watch.ahead += 61
        assert site.post("/resend-otp", {"challenge_id": challenge}).status_code == 202
        answers += [guess(site, challenge) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401] * 6 + [429] * 2


@on_every_store
def test_the_owners_own_success(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX, LIVE_CHALLENGES=10)
    site.join("ann")
    statuses: list[int] = []
    for _ in range(3):
        challenge = begin(site)
        statuses += [guess(site, challenge).status_code for _ in range(2)]
        # From a browser that nobody knows: the very budget that the stranger spends.
        statuses.append(enter(site, begin(site)).status_code)
    # After six failures the right code has nothing left to charge.
    assert statuses == [401, 401, 200, 401, 401, 200, 401, 401, 429]


def test_a_right_code_takes_back_the_charge_that_it_made(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS="3 per day; 60 per 30 days")
    site.join("ann")
    assert [enter(site, begin(site)).status_code for _ in range(7)] == [200] * 7


def test_a_right_code_of_which_nothing_came_stays_counted(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    site = sites(ACCOUNT_LIMITS="3 per day; 60 per 30 days")
    site.join("ann")
    challenge = begin(site)

    def away(*_: object) -> None:
        raise ServiceUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(SqlSessions, "add", away)
        assert [enter(site, challenge).status_code for _ in range(4)] == [503, 503, 503, 429]
    assert locked(enter(site, challenge))


@pytest.mark.parametrize("way", ["right password", "wrong password", "refresh", "logout"])
def test_anything_else_that_the_owner_does(sites: Sites, way: str) -> None:
    site = sites(ACCOUNT_LIMITS=SIX)
    tokens = site.join("ann")
    for _ in range(2):
        challenge = begin(site)
        for _ in range(3):
            guess(site, challenge)
    if way == "refresh":
        assert site.post("/refresh", token=tokens["refresh_token"]).status_code == 200
    elif way == "logout":
        assert site.post("/logout", token=tokens["access_token"]).status_code == 204
    elif way == "wrong password":
        assert site.post("/login", {"identifier": "ann", "password": "wrong password"}).status_code == 401
    assert locked(enter(site, begin(site)))


def test_only_time_does_window_by_window(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS="3 per 15 minutes; 5 per day; 7 per 30 days")
    site.join("ann")

    def tries(count: int) -> list[int]:
        challenge = begin(site)
        return [guess(site, challenge).status_code for _ in range(count)]

    assert tries(4) == [401] * 3 + [429]
    site.watch.ahead += 900
    assert tries(3) == [401] * 2 + [429]
    site.watch.ahead += 900
    assert tries(1) == [429]
    site.watch.ahead += 86_400
    assert tries(3) == [401] * 2 + [429]
    site.watch.ahead += 7 * 86_400
    assert tries(1) == [429]
    site.watch.ahead += 30 * 86_400
    assert enter(site, begin(site)).status_code == 200


def test_a_clock_that_is_set_back(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS="3 per 15 minutes; 60 per 30 days")
    site.join("ann")
    challenge = begin(site)
    for _ in range(3):
        guess(site, challenge)
    for _ in range(2):
        site.watch.ahead -= 200
        assert locked(enter(site, challenge))


def test_right_codes_that_are_sent_twice(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS="3 per day; 60 per 30 days", SEND_LIMITS="90 per day")
    site.join("ann")
    for _ in range(6):
        challenge = begin(site)
        answers = in_threads(2, lambda _, challenge=challenge: enter(site, challenge))
        assert sorted(answer.status_code for answer in answers) == [200, 401]


def test_right_codes_of_a_name_that_somebody_else_got(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS="3 per day; 60 per 30 days", SEND_LIMITS="90 per day")
    asked = site.register("ann").json["challenge_id"]
    code = latest(site)
    site.watch.ahead += 61
    body = {"username": "ann", "password": PASSWORD, "email": "other@example.org"}
    other = site.post("/register", body)
    assert enter(site, other.json["challenge_id"]).status_code == 200
    answers = [site.post("/verify-otp", {"challenge_id": asked, "otp": code}).json["code"] for _ in range(5)]
    assert answers == ["identifier_taken"] * 5


# --- budgets of their own ---------------------------------------------------------------------------------------------


def test_wrong_passwords_stop_no_codes(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS="3 per day; 60 per 30 days")
    site.join("ann")
    challenge = begin(site)
    for number in range(12):
        body = {"identifier": "ann", "password": "wrong password"}
        assert site.post("/login", body, address=f"198.51.100.{number}").status_code in {401, 429}
    assert enter(site, challenge).status_code == 200


def test_wrong_codes_stop_no_passwords(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX)
    site.join("ann")
    for _ in range(2):
        challenge = begin(site)
        for _ in range(4):
            guess(site, challenge)
    assert locked(enter(site, challenge))
    site.watch.ahead += 61
    with password_comparisons() as compared:
        assert site.post("/login", {"identifier": "ann", "password": PASSWORD}).json["mfa_required"] is True
    assert sum(compared.values()) == 1


@on_every_store
def test_parallel_passwords_from_one_address(sites: Sites) -> None:
    site = sites()
    site.join("ann")
    body = {"identifier": "ann", "password": "wrong password"}
    with password_comparisons() as compared:
        answers = in_threads(16, lambda _: site.post("/login", body))
    assert sum(compared.values()) == 5
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 11


@on_every_store
def test_parallel_passwords_from_many_addresses(sites: Sites) -> None:
    site = sites(LOGIN_ACCOUNT_LIMITS="7 per day")
    site.join("ann")
    body = {"identifier": "ann", "password": "wrong password"}
    with password_comparisons() as compared:
        in_threads(16, lambda number: site.post("/login", body, address=f"198.51.100.{number}"))
    assert sum(compared.values()) == 7
    # The right one isn't compared either.
    with password_comparisons() as compared:
        assert site.post("/login", {**body, "password": PASSWORD}, address="203.0.113.1").status_code == 429
    assert not compared


@pytest.mark.parametrize("stolen", ["token", "cookie"])
def test_passwords_with_what_makes_a_client_known(sites: Sites, stolen: str) -> None:
    site = sites(LOGIN_ACCOUNT_LIMITS="7 per day")
    owner = site.client()
    tokens = site.join("ann", owner)
    cookie = owner.get_cookie("otpauth_client")
    assert cookie is not None
    with password_comparisons() as compared:
        for number in range(12):
            thief = site.client(**({"otpauth_client": cookie.value} if stolen == "cookie" else {}))
            body = {"identifier": "ann", "password": "wrong password" if number < 11 else PASSWORD}
            token = tokens["access_token"] if stolen == "token" else None
            answer = site.post("/login", body, client=thief, token=token, address=f"198.51.100.{number}")
            assert answer.status_code == 401
    # Each is compared, since a refusal would tell; past the seventh even the right one opens nothing.
    assert sum(compared.values()) == 12
    assert site.post("/login", {"identifier": "ann", "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize("spelling", ["ANN", "Ann", "\N{FULLWIDTH LATIN SMALL LETTER A}nn", " ann "])
def test_passwords_under_another_spelling_of_the_name(sites: Sites, spelling: str) -> None:
    site = sites()
    site.join("ann")
    for _ in range(5):
        site.post("/login", {"identifier": "ann", "password": "wrong password"})
    answer = site.post("/login", {"identifier": spelling, "password": PASSWORD})
    assert answer.status_code in {400, 401, 429}
    assert "challenge_id" not in answer.json


def test_passwords_under_every_name_of_an_account(sites: Sites) -> None:
    site = sites(LOGIN_ACCOUNT_LIMITS="6 per day")
    site.join("ann")
    for number, name in enumerate(["ann", mail("ann")] * 3):
        body = {"identifier": name, "password": "wrong password"}
        assert site.post("/login", body, address=f"198.51.100.{number}").status_code == 401
    # Not told, since that would link the two names; but the right password opens nothing.
    for name in ("ann", mail("ann")):
        refused = site.post("/login", {"identifier": name, "password": PASSWORD}, address="203.0.113.1")
        assert refused.json["code"] == "invalid_credentials"


@pytest.mark.parametrize("second_factor", ["always", "never"])
def test_passwords_after_a_right_one(sites: Sites, second_factor: str) -> None:
    site = sites(SECOND_FACTOR=second_factor)
    site.join("ann")
    body = {"identifier": "ann", "password": "wrong password"}
    assert [site.post("/login", body).status_code for _ in range(4)] == [401] * 4
    site.login("ann")
    # The right one took its own charge back, and none of the four.
    assert [site.post("/login", body).status_code for _ in range(2)] == [401, 429]


# --- a lock is no weapon ----------------------------------------------------------------------------------------------


@on_every_store
@with_both_credentials
def test_known_clients_go_on_while_strangers_are_locked_out(sites: Sites, credentials: str) -> None:
    site = sites(ACCOUNT_LIMITS=SIX, CREDENTIALS=credentials, LIVE_CHALLENGES=10)
    owner = site.client()
    site.join("ann", owner)
    for _ in range(2):
        challenge = begin(site)
        for _ in range(4):
            guess(site, challenge)
    assert locked(enter(site, challenge))
    assert enter(site, begin(site, owner), client=owner).status_code == 200
    assert owner.get("/auth/me").status_code == (200 if credentials == "session" else 401)


def test_a_live_token_goes_on_while_strangers_are_locked_out(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX, LIVE_CHALLENGES=10)
    tokens = site.join("ann")
    for _ in range(2):
        challenge = begin(site)
        for _ in range(4):
            guess(site, challenge)
    assert locked(enter(site, challenge))
    token = tokens["access_token"]
    site.watch.ahead += 61
    step_up = site.post("/step-up", {}, token=token).json["challenge_id"]
    assert enter(site, step_up, token=token).status_code == 200
    assert site.post("/refresh", token=tokens["refresh_token"]).status_code in {200, 401}


def test_a_known_clients_budget_has_an_end_too(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX, LIVE_CHALLENGES=10)
    owner = site.client()
    site.join("ann", owner)
    cookie = owner.get_cookie("otpauth_client")
    assert cookie is not None
    answers: list[int] = []
    for _ in range(2):
        thief = site.client(otpauth_client=cookie.value)
        challenge = begin(site, thief)
        answers += [guess(site, challenge, client=thief).status_code for _ in range(4)]
    assert answers == [401] * 6 + [429] * 2


def test_a_client_known_to_another_account_is_a_stranger(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX)
    eve = site.client()
    site.join("eve", eve)
    site.join("ann")
    answers: list[int] = []
    for _ in range(2):
        challenge = begin(site)
        answers += [guess(site, challenge, client=eve).status_code for _ in range(4)]
    assert answers == [401] * 6 + [429] * 2
    # And spends what strangers have, nothing of the budget of known clients.
    assert locked(enter(site, begin(site)))


@pytest.mark.parametrize(
    "made_up", ["", "x", "A" * 43, "\u00e9" * 43], ids=["empty", "short", "of the right length", "not ASCII"]
)
def test_a_made_up_client_is_a_stranger(sites: Sites, made_up: str) -> None:
    site = sites(ACCOUNT_LIMITS=SIX)
    site.join("ann")
    answers: list[int] = []
    for _ in range(2):
        challenge = begin(site)
        client = site.client(otpauth_client=made_up)
        answers += [guess(site, challenge, client=client).status_code for _ in range(4)]
    assert answers == [401] * 6 + [429] * 2


@on_every_store
def test_a_strangers_requests_void_nothing_of_the_owners(sites: Sites) -> None:
    site = sites(FIRST_FACTOR="otp")
    owner = site.client()
    site.join("ann", owner)
    site.watch.ahead += 61
    asked = site.post("/login", {"email": mail("ann")}, client=owner)
    mine = {"challenge_id": asked.json["challenge_id"], "otp": latest(site)}
    for number in range(8):
        site.watch.ahead += 30
        name = {"username": "ann"} if number % 2 else {"email": mail("ann")}
        answer = site.post("/login", name, address=f"198.51.100.{number}")
        assert answer.status_code in {202, 429}
    assert site.post("/verify-otp", mine, client=owner).status_code == 200


def test_strangers_leave_a_place_and_a_message_for_the_owner(sites: Sites) -> None:
    site = sites(FIRST_FACTOR="otp", SEND_LIMITS="5 per hour")
    owner = site.client()
    site.join("ann", owner)
    site.watch.ahead += 3600
    for number in range(8):
        site.watch.ahead += 61
        site.post("/login", {"email": mail("ann")}, address=f"198.51.100.{number}")
    site.watch.ahead += 61
    sent = len(site.messages)
    asked = site.post("/login", {"email": mail("ann")}, client=owner)
    assert len(site.messages) == sent + 1
    assert enter(site, asked.json["challenge_id"], client=owner).status_code == 200


def test_wrong_guesses_of_a_stranger_spend_nothing_of_the_owners_challenge(sites: Sites) -> None:
    site = sites()
    owner = site.client()
    site.join("ann", owner)
    mine = begin(site, owner)
    code = latest(site)
    stranger = begin(site)
    for _ in range(8):
        guess(site, stranger)
    answer = site.post("/verify-otp", {"challenge_id": mine, "otp": wrong(code)}, client=owner)
    assert answer.json["attempts_left"] == 4
    assert site.post("/verify-otp", {"challenge_id": mine, "otp": code}, client=owner).status_code == 200


def test_a_lock_is_told_to_the_owner_once(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS=SIX)
    site.join("ann")
    for _ in range(3):
        challenge = begin(site)
        for _ in range(4):
            guess(site, challenge)
    assert {one.purpose for one in site.messages if one.code is None} == {"notice"}
    assert notices(site)[1:] == [("Too many wrong codes for your account at site", mail("ann"))]


@on_every_store
def test_wrong_codes_after_the_right_password_are_told_to_the_owner_once(sites: Sites) -> None:
    site = sites(MAX_ATTEMPTS=2)
    site.join("ann")
    challenge = begin(site)
    guess(site, challenge)
    assert notices(site) == []
    for _ in range(2):
        guess(site, challenge)
        challenge = begin(site)
        guess(site, challenge)
    assert notices(site) == [("Wrong codes for your account at site", mail("ann"))]
    site.watch.ahead += 3601
    challenge = begin(site)
    for _ in range(2):
        guess(site, challenge)
    assert len(notices(site)) == 2


def test_codes_mistyped_at_a_known_client_are_told_to_nobody(sites: Sites) -> None:
    site = sites(MAX_ATTEMPTS=1)
    owner = site.client()
    site.join("ann", owner)
    guess(site, begin(site, client=owner), client=owner)
    guess(site, begin(site, client=owner))
    assert notices(site) == []


@pytest.mark.parametrize(
    "settings", [{"FIRST_FACTOR": "otp"}, {"FIRST_FACTOR": "otp", "CHALLENGE_LOOKUP": "identifier"}]
)
def test_wrong_codes_without_a_password_are_told_to_nobody(sites: Sites, settings: dict[str, str]) -> None:
    site = sites(MAX_ATTEMPTS=1, **settings)
    site.join("ann")
    guess(site, ask(site, email=mail("ann")))
    assert notices(site) == []


@on_every_store
@pytest.mark.parametrize("second_factor", ["always", "never"])
def test_a_login_from_a_new_device_is_told_to_the_owner_once(sites: Sites, second_factor: str) -> None:
    site = sites(SECOND_FACTOR=second_factor, PASSWORD_MIN_LENGTH=8)
    owner = site.client()
    site.join("ann", owner)
    for client in (owner, site.client(), site.client()):
        site.watch.ahead += 61
        asked = site.login("ann", client)
        if second_factor == "always":
            assert enter(site, asked["challenge_id"], client=client).status_code == 200
    assert notices(site) == [("New device at site", mail("ann"))]


def test_the_first_login_of_an_account_is_no_new_device(sites: Sites) -> None:
    site = sites(REGISTRATION="open")
    assert site.register("ann").status_code == 201
    assert enter(site, begin(site)).status_code == 200
    assert notices(site) == []


def test_no_notices_where_they_are_off(sites: Sites) -> None:
    site = sites(NOTICES=False, MAX_ATTEMPTS=1)
    site.join("ann")
    guess(site, begin(site))
    assert enter(site, begin(site)).status_code == 200
    assert notices(site) == []


def test_wrong_codes_of_many_challenges_after_the_right_password_are_told_too(sites: Sites) -> None:
    site = sites(ACCOUNT_LIMITS="60 per 30 days")
    site.join("ann")
    for _ in range(4):
        guess(site, begin(site))
    assert notices(site) == []
    guess(site, begin(site))
    assert notices(site) == [("Wrong codes for your account at site", mail("ann"))]
