"""G2: a code and a refresh token are each accepted at most once, whatever is done at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from flask_otpauth.challenges import Challenges
from flask_otpauth.errors import ServiceUnavailable
from flask_otpauth.stores import SqlSessions
from tests.contracts.races import in_threads
from tests.security.races import PASSWORD, Site, Watch, comparisons, mail, wrong
from tests.services import KINDS, database_url

pytestmark = pytest.mark.slow

SHOTS = 20
Sites = Callable[..., Site]

on_every_store = pytest.mark.parametrize("url", KINDS, indirect=True)
with_both_credentials = pytest.mark.parametrize("credentials", ["jwt", "session"])


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str, None, None]:
    with database_url(getattr(request, "param", "sqlite"), tmp_path) as url:
        yield url


@pytest.fixture
def sites(url: str, tmp_path: Path) -> Iterator[Sites]:
    """Make apps on one database and one clock."""
    watch = Watch(still=True)
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Site(url, tmp_path, watch=watch, **settings))


def count(url: str, table: str) -> int:
    """Count the rows of a table."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.scalar(sa.select(sa.func.count()).select_from(sa.table(table)))
    engine.dispose()
    return int(found or 0)


def begun(site: Site, client: FlaskClient | None = None) -> dict[str, str]:
    """Register ann and begin a login of hers; give the right answer to it."""
    site.join("ann")
    site.watch.ahead += 61
    asked = site.login("ann", client)
    return {"challenge_id": asked["challenge_id"], "otp": site.code(mail("ann"))}


def verify(site: Site, body: dict[str, str], **more: Any) -> Any:
    return site.post("/verify-otp", body, **more)


def statuses(answers: list[Any]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def alive(site: Site, tokens: Any) -> bool:
    """Tell whether the access token is good."""
    return bool(site.get("/auth/me", token=tokens["access_token"]).status_code == 200)


# --- codes at once ----------------------------------------------------------------------------------------------------


@on_every_store
@with_both_credentials
@pytest.mark.parametrize("lookup", ["id", "identifier"])
def test_parallel_right_codes(sites: Sites, url: str, credentials: str, lookup: str) -> None:
    site = sites(CREDENTIALS=credentials, CHALLENGE_LOOKUP=lookup)
    body = begun(site)
    before = count(url, "otpauth_session")
    bodies = [body, {"identifier": "ann", "otp": body["otp"]} if lookup == "identifier" else body]
    answers = in_threads(SHOTS, lambda number: verify(site, bodies[number % 2]))
    # Guesses by identifier are charged before they are compared: more at once than the budget has are told so.
    losers = {401} if lookup == "id" else {401, 429}
    assert statuses(answers)[200] == 1
    assert {answer.status_code for answer in answers} <= {200, *losers}
    assert count(url, "otpauth_session") == before + 1
    setters = [answer for answer in answers if any("session=" in one for one in answer.headers.getlist("Set-Cookie"))]
    assert [answer.status_code for answer in setters if credentials == "session"] == [200] * (credentials == "session")


def test_parallel_right_codes_in_copies_of_the_browsers_cookie(sites: Sites, url: str) -> None:
    site = sites(CREDENTIALS="session")
    client = site.client()
    body = {"otp": begun(site, client)["otp"]}
    cookie = client.get_cookie("session")
    assert cookie is not None
    before = count(url, "otpauth_session")
    answers = in_threads(SHOTS, lambda _: verify(site, body, client=site.client(session=cookie.value)))
    assert statuses(answers)[200] == 1
    assert count(url, "otpauth_session") == before + 1


def test_parallel_right_codes_at_several_apps(sites: Sites) -> None:
    apps = [sites() for _ in range(3)]
    body = begun(apps[0])
    answers = in_threads(SHOTS, lambda number: verify(apps[number % 3], body))
    assert statuses(answers) == {200: 1, 401: SHOTS - 1}


def test_parallel_right_codes_at_both_endpoints_of_a_passwordless_login(sites: Sites) -> None:
    site = sites(FIRST_FACTOR="otp", CHALLENGE_LOOKUP="identifier")
    site.join("ann")
    site.watch.ahead += 61
    site.post("/login", {"email": mail("ann")})
    body = {"email": mail("ann"), "otp": site.code(mail("ann"))}
    answers = in_threads(SHOTS, lambda number: site.post(("/login", "/verify-otp")[number % 2], body))
    assert statuses(answers)[200] == 1
    assert set(statuses(answers)) <= {200, 401, 429}  # see test_parallel_right_codes


@on_every_store
def test_parallel_right_codes_of_a_registration_make_one_account(sites: Sites, url: str) -> None:
    site = sites()
    asked = site.register("ann").json
    body = {"challenge_id": asked["challenge_id"], "otp": site.code(mail("ann"))}
    answers = in_threads(SHOTS, lambda _: verify(site, body))
    assert statuses(answers) == {200: 1, 401: SHOTS - 1}
    assert (count(url, "users"), count(url, "otpauth_session")) == (1, 1)


@on_every_store
def test_parallel_proofs_of_two_registrations_of_one_name(sites: Sites, url: str) -> None:
    site = sites()
    bodies: list[dict[str, str]] = []
    for address in ("ann@example.org", "eve@example.org"):
        asked = site.post("/register", {"username": "ann", "password": PASSWORD, "email": address}).json
        bodies.append({"challenge_id": asked["challenge_id"], "otp": site.code(address)})
    answers = in_threads(SHOTS, lambda number: verify(site, bodies[number % 2]))
    assert statuses(answers)[200] == 1
    assert set(statuses(answers)) <= {200, 401, 409}
    assert count(url, "users") == 1


@on_every_store
def test_an_address_proved_and_named_beside_another_at_once_is_its_provers(sites: Sites) -> None:
    site = sites(SMS_COUNTRIES=("IL",), CHANNELS=("sms", "email"))
    for number in range(4):
        email, phone = mail(f"ann{number}"), f"+97250846{number:04}"
        beside = {"username": f"eve{number}", "password": PASSWORD, "phone": phone, "email": email}
        his = {"username": f"ann{number}", "password": PASSWORD, "email": email}
        asked = [site.post("/register", one).json for one in (beside, his)]
        codes = [site.code(phone), site.code(email)]
        bodies = [{"challenge_id": one["challenge_id"], "otp": code} for one, code in zip(asked, codes, strict=True)]
        answers = in_threads(2, lambda number, bodies=bodies: verify(site, bodies[number]))
        assert [answer.status_code for answer in answers] == [200, 200]
        # The address logs in him who proved it.
        site.watch.ahead += 61
        assert site.login(email)["challenge_id"]
        site.watch.ahead += 61


def test_parallel_right_codes_of_a_step_up(sites: Sites) -> None:
    site = sites()
    tokens = site.join("ann")
    site.watch.ahead += 61
    asked = site.post("/step-up", {}, token=tokens["access_token"]).json
    body = {"challenge_id": asked["challenge_id"], "otp": site.code(mail("ann"))}
    answers = in_threads(SHOTS, lambda _: verify(site, body, token=tokens["access_token"]))
    assert statuses(answers) == {200: 1, 401: SHOTS - 1}


def test_right_codes_among_wrong_ones(sites: Sites) -> None:
    site = sites()
    body = begun(site)
    bad = {**body, "otp": wrong(body["otp"])}
    answers = in_threads(SHOTS, lambda number: verify(site, bad if number % 4 else body))
    assert statuses(answers)[200] <= 1
    assert set(statuses(answers)) <= {200, 401}


# --- codes one after the other ----------------------------------------------------------------------------------------


@with_both_credentials
def test_a_used_code_again(sites: Sites, credentials: str) -> None:
    site = sites(CREDENTIALS=credentials, CHALLENGE_LOOKUP="identifier")
    body = begun(site)
    assert verify(site, body).status_code == 200
    with comparisons() as compared:
        for again in (body, {"identifier": "ann", "otp": body["otp"]}):
            assert verify(site, again).json["code"] == "challenge_invalid"
    assert not compared


@on_every_store
def test_a_used_code_after_a_restart(sites: Sites) -> None:
    body = begun(first := sites())
    assert verify(first, body).status_code == 200
    assert verify(sites(), body).json["code"] == "challenge_invalid"


def test_a_used_code_at_another_challenge_of_the_same_account(sites: Sites) -> None:
    site = sites()
    body = begun(site)
    site.watch.ahead += 6
    other = site.login("ann")["challenge_id"]
    assert verify(site, body).status_code == 200
    if site.code(mail("ann")) != body["otp"]:
        assert verify(site, {"challenge_id": other, "otp": body["otp"]}).json["code"] == "otp_invalid"


def test_a_used_challenge_gets_no_other_code(sites: Sites) -> None:
    site = sites()
    body = begun(site)
    verify(site, body)
    site.watch.ahead += 61
    sent = len(site.messages)
    assert site.post("/resend-otp", {"challenge_id": body["challenge_id"]}).json["code"] == "challenge_invalid"
    assert len(site.messages) == sent


def test_a_login_that_fails_after_its_code_accepts_it_once_all_the_same(
    sites: Sites, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = sites()
    body = begun(site)
    before = count(url, "otpauth_session")

    def away(*_: object) -> None:
        raise ServiceUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(SqlSessions, "add", away)
        assert verify(site, body).status_code == 503
    answers = in_threads(SHOTS, lambda _: verify(site, body))
    assert statuses(answers) == {200: 1, 401: SHOTS - 1}
    assert count(url, "otpauth_session") == before + 1


# --- another code beside it -------------------------------------------------------------------------------------------


@on_every_store
def test_a_resend_that_races_with_the_code(sites: Sites, url: str) -> None:
    site = sites(MAX_ATTEMPTS=10, LIVE_CHALLENGES=10)
    body = begun(site)
    for _ in range(3):
        site.watch.ahead += 61
        before = count(url, "otpauth_session")

        def strike(number: int, body: dict[str, str] = body) -> Any:
            if number % 4 == 0:
                site.post("/resend-otp", {"challenge_id": body["challenge_id"]})
                return verify(site, {**body, "otp": site.code(mail("ann"))})
            return verify(site, body)

        answers = in_threads(8, strike)
        assert statuses(answers)[200] <= 1
        assert set(statuses(answers)) <= {200, 401, 429}
        assert count(url, "otpauth_session") == before + statuses(answers)[200]
        site.watch.ahead += 61
        asked = site.login("ann")
        body = {"challenge_id": asked["challenge_id"], "otp": site.code(mail("ann"))}


def test_a_replaced_code(sites: Sites) -> None:
    site = sites()
    body = begun(site)
    site.watch.ahead += 61
    assert site.post("/resend-otp", {"challenge_id": body["challenge_id"]}).status_code == 202
    if site.code(mail("ann")) != body["otp"]:
        assert verify(site, body).json["code"] == "otp_invalid"
    assert verify(site, {**body, "otp": site.code(mail("ann"))}).status_code == 200
    assert verify(site, body).json["code"] == "challenge_invalid"


def test_a_code_that_is_still_being_sent_does_not_count_beside_the_old_one(tmp_path: Path) -> None:
    on_its_way, go_on = Event(), Event()
    with Site(f"sqlite:///{tmp_path}/site.sqlite", tmp_path, watch=Watch(still=True)) as site:
        body = begun(site)
        site.watch.ahead += 61
        # The gateway itself from here on.
        site._stack.close()
        seen: list[str] = []

        @site.auth.email_sender
        def slow(message: Any) -> None:
            if message.code is None:
                return  # the notice of a new device
            seen.append(message.code)
            on_its_way.set()
            assert go_on.wait(60)

        def strike(number: int) -> Any:
            if number == 0:
                return site.post("/resend-otp", {"challenge_id": body["challenge_id"]})
            assert on_its_way.wait(60)
            early = verify(site, {**body, "otp": seen[0]})
            answer = verify(site, body)
            go_on.set()
            return early, answer

        _, (early, answer) = in_threads(2, strike)
        assert answer.status_code == 200
        assert seen[0] == body["otp"] or early.json["code"] == "otp_invalid"
        assert verify(site, {**body, "otp": seen[0]}).json["code"] == "challenge_invalid"


def test_a_code_that_is_replaced_while_it_is_compared(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    site = sites()
    body = begun(site)
    site.watch.ahead += 61
    compare = Challenges.matches

    def slowly(self: Challenges, charged: Any, code: str) -> bool:
        assert site.post("/resend-otp", {"challenge_id": body["challenge_id"]}).status_code == 202
        return compare(self, charged, code)

    with monkeypatch.context() as patched:
        patched.setattr(Challenges, "matches", slowly)
        assert verify(site, body).json["code"] == "challenge_invalid"
    assert verify(site, {**body, "otp": site.code(mail("ann"))}).status_code == 200


# --- refresh tokens ---------------------------------------------------------------------------------------------------


@on_every_store
def test_parallel_refreshes(sites: Sites) -> None:
    site = sites()
    tokens = site.join("ann")
    site.watch.ahead += 1
    answers = in_threads(SHOTS, lambda _: site.post("/refresh", token=tokens["refresh_token"]))
    assert statuses(answers) == {200: 1, 401: SHOTS - 1}
    fresh = next(answer.json for answer in answers if answer.status_code == 200)
    # Two tabs at once are no theft: the session goes on, by the one chain that there is.
    assert alive(site, fresh)
    assert site.post("/refresh", token=fresh["refresh_token"]).status_code == 200


def test_parallel_refreshes_at_several_apps(sites: Sites) -> None:
    apps = [sites() for _ in range(3)]
    tokens = apps[0].join("ann")
    answers = in_threads(SHOTS, lambda number: apps[number % 3].post("/refresh", token=tokens["refresh_token"]))
    assert statuses(answers) == {200: 1, 401: SHOTS - 1}


@on_every_store
def test_a_stolen_refresh_token_used_later_ends_the_whole_chain(sites: Sites) -> None:
    site = sites()
    stolen = site.join("ann")
    fresh = site.post("/refresh", token=stolen["refresh_token"]).json
    site.watch.ahead += 11
    assert alive(site, fresh)
    answers = in_threads(SHOTS, lambda _: site.post("/refresh", token=stolen["refresh_token"]))
    assert statuses(answers) == {401: SHOTS}
    assert not alive(site, fresh)
    assert not alive(site, stolen)
    assert site.post("/refresh", token=fresh["refresh_token"]).status_code == 401


def test_a_token_older_than_the_last_one_ends_the_chain_at_once(sites: Sites) -> None:
    site = sites()
    first = site.join("ann")
    second = site.post("/refresh", token=first["refresh_token"]).json
    third = site.post("/refresh", token=second["refresh_token"]).json
    assert site.post("/refresh", token=first["refresh_token"]).status_code == 401
    assert not alive(site, third)


@on_every_store
def test_refreshes_that_race_with_a_logout(sites: Sites) -> None:
    site = sites()
    tokens = site.join("ann")

    def strike(number: int) -> Any:
        if number % 4 == 3:
            return site.post("/logout", token=tokens["access_token"])
        return site.post("/refresh", token=tokens["refresh_token"])

    answers = in_threads(SHOTS, strike)
    assert statuses(answers)[200] <= 1
    assert statuses(answers)[204] >= 1
    fresh = [answer.json for answer in answers if answer.status_code == 200]
    assert not any(alive(site, each) for each in [tokens, *fresh])
    assert {site.post("/refresh", token=each["refresh_token"]).status_code for each in [tokens, *fresh]} == {401}


def test_a_logout_in_the_middle_of_a_refresh(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    site = sites()
    tokens = site.join("ann")
    rotate = SqlSessions.rotate

    def late(self: SqlSessions, *given: Any, **more: Any) -> Any:
        assert site.post("/logout", token=tokens["access_token"]).status_code == 204
        return rotate(self, *given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(SqlSessions, "rotate", late)
        assert site.post("/refresh", token=tokens["refresh_token"]).status_code == 401
    assert not alive(site, tokens)


def test_a_refresh_that_races_with_a_step_up_leaves_one_chain(sites: Sites) -> None:
    site = sites()
    tokens = site.join("ann")
    site.watch.ahead += 61
    asked = site.post("/step-up", {}, token=tokens["access_token"]).json
    body = {"challenge_id": asked["challenge_id"], "otp": site.code(mail("ann"))}

    def strike(number: int) -> Any:
        if number % 2:
            return verify(site, body, token=tokens["access_token"])
        return site.post("/refresh", token=tokens["refresh_token"])

    answers = in_threads(10, strike)
    assert sum(answer.status_code == 200 for answer in answers[1::2]) == 1
    assert sum(answer.status_code == 200 for answer in answers[::2]) <= 1
    site.watch.ahead += 1
    again = [site.post("/refresh", token=a.json["refresh_token"]) for a in answers if a.status_code == 200]
    assert statuses(again)[200] <= 1


def test_an_access_token_is_no_refresh_token(sites: Sites) -> None:
    site = sites()
    tokens = site.join("ann")
    assert site.post("/refresh", token=tokens["access_token"]).status_code == 401
    assert site.get("/auth/me", token=tokens["refresh_token"]).status_code == 401
    assert alive(site, tokens)
