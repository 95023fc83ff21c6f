"""G7: nothing of a half-finished login or registration opens a door."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.security.doors import DOORS, PASSWORD, Site, copied, shut, site_on

BOTH = ("jwt", "session")
PLACES = [
    pytest.param(("sqlite", {"manager": "ours"}), id="sqlite"),
    pytest.param(("sqlite", {"manager": "host"}), id="a manager of the host"),
    pytest.param(("sqlite", {"JWT_TOKEN_LOCATION": ["headers", "cookies", "query_string", "json"]}), id="anywhere"),
    pytest.param(("sqlite", {"OTPAUTH_FIRST_FACTOR": "otp"}), id="passwordless"),
    pytest.param(("sqlite", {"OTPAUTH_REGISTRATION": "login-code"}), id="login-code"),
    pytest.param(("sqlite", {"OTPAUTH_CHALLENGE_LOOKUP": "identifier"}), id="by identifier"),
    pytest.param(("postgresql", {}), id="postgresql", marks=pytest.mark.services),
    pytest.param(("mariadb", {}), id="mariadb", marks=pytest.mark.services),
]


@pytest.fixture(scope="module", params=PLACES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    kind, config = request.param
    with site_on(kind, tmp_path_factory.mktemp("g7"), OTPAUTH_CREDENTIALS=BOTH, **config) as made:
        yield made


class Half:
    """What an attacker holds who got no further than to the code."""

    def __init__(self, site: Site, client: FlaskClient, answer: TestResponse) -> None:
        self.site, self.client, self.answer = site, client, answer
        body: Any = answer.json
        self.challenge: str = body["challenge_id"]
        self.cookies = copied(client)

    def finish(self) -> None:
        """Prove the code after all: until then everything was in order."""
        done = self.site.prove(self.client, self.answer)
        assert self.site.knock(done["access_token"], doors=(("GET", "/otp-required"),)) == {"GET /otp-required": 200}


def registered(site: Site) -> Half:
    site.clock.reset()
    client = site.app.test_client()
    return Half(site, client, site.post(client, "/register", site.newcomer()))


def logged_in_halfway(site: Site) -> Half:
    """Come to the code of a second login, from a browser that finished and ended one before."""
    site.clock.reset()
    client = site.app.test_client()
    name = site.enter(client)["username"]
    assert client.post("/auth/logout").status_code == 204
    site.clock.advance(61)
    body = {"identifier": name} | ({} if site.service.settings.passwordless else {"password": PASSWORD})
    half = Half(site, client, site.post(client, "/login", body))
    assert set(half.cookies) == {"session", "otpauth_client"}
    return half


HALVES = pytest.mark.parametrize("begin", [registered, logged_in_halfway], ids=lambda begin: begin.__name__)


@HALVES
def test_the_answer_of_a_first_step_holds_no_credential(site: Site, begin: Any) -> None:
    half = begin(site)
    assert half.answer.status_code in {200, 202}
    assert not {"access_token", "refresh_token", "token_type", "user"} & half.answer.json.keys()
    assert "otpauth_client" not in " ".join(half.answer.headers.getlist("Set-Cookie"))
    # Nothing in it has the form of a token.
    assert all(
        str(value).count(".") < 2 for value in half.answer.json.values() if isinstance(value, str) and len(value) > 40
    )
    half.finish()


@HALVES
def test_a_challenge_id_is_no_token(site: Site, begin: Any) -> None:
    half = begin(site)
    one, code = half.challenge, site.code
    claims = base64.urlsafe_b64encode(json.dumps({"sid": one, "sub": "1"}).encode()).decode().rstrip("=")
    for token in (
        one,
        f"{one}.{one}.{one}",
        f"eyJhbGciOiJub25lIn0.{claims}.",
        f"s.{one}",
        f"c.{one}",
        code,
        f"{one}.{code}.x",
    ):
        assert shut(site.knock(token)), token
        assert shut(site.knock(headers={"Authorization": token})), token
        assert shut(site.knock(headers={"Authorization": f"Basic {token}"})), token
    half.finish()


@HALVES
def test_the_cookies_of_a_first_step_open_nothing(site: Site, begin: Any) -> None:
    half = begin(site)
    assert "session" in half.cookies
    assert shut(site.knock(cookies=half.cookies))
    assert shut(site.knock(cookies=half.cookies, headers={"Sec-Fetch-Site": "same-origin"}))
    assert shut(site.knock(half.challenge, half.cookies))
    half.finish()


@HALVES
def test_a_challenge_id_opens_nothing_under_the_name_of_any_cookie(site: Site, begin: Any) -> None:
    half = begin(site)
    names = ("otpauth_client", "access_token_cookie", "refresh_token_cookie", "remember_token", "session", "_otpauth")
    assert shut(site.knock(cookies=dict.fromkeys(names, half.challenge)))
    assert shut(site.knock(cookies=dict.fromkeys(names, f"s.{half.challenge}")))
    half.finish()


@HALVES
def test_a_challenge_id_opens_nothing_in_the_place_of_a_sessions_id(site: Site, begin: Any) -> None:
    # As if the attacker had the app's secret and could write into the cookie what he likes.
    half = begin(site)
    for mark in (f"s.{half.challenge}", f"s.{half.challenge} c.{half.challenge}"):
        forger = site.app.test_client()
        with forger.session_transaction() as held:
            held["_otpauth"] = mark
        assert shut(site.knock(cookies=copied(forger)))
    half.finish()


@HALVES
def test_a_challenge_id_in_the_query_string_opens_nothing(site: Site, begin: Any) -> None:
    half = begin(site)
    for method, path in DOORS:
        for name in ("jwt", "access_token", "token", "challenge_id"):
            answer = site.app.test_client().open(f"{path}?{name}={half.challenge}", method=method)
            assert answer.status_code in {401, 422}, (path, name)
    half.finish()


def test_the_cookie_of_known_clients_opens_nothing(site: Site) -> None:
    half = logged_in_halfway(site)
    assert shut(site.knock(cookies={"otpauth_client": half.cookies["otpauth_client"]}))
    assert shut(site.knock(half.cookies["otpauth_client"]))
    half.finish()


def test_a_wrong_code_brings_nothing(site: Site) -> None:
    half = registered(site)
    wrong = "0" * len(site.code) if site.code.strip("0") else "1" * len(site.code)
    for _ in range(2):
        answer = site.post(half.client, "/verify-otp", {"challenge_id": half.challenge, "otp": wrong})
        assert answer.status_code == 401
        assert shut(site.knock(cookies=copied(half.client)))
    half.finish()


def test_a_first_step_adds_nothing_to_the_login_of_another(site: Site) -> None:
    # The victim's browser gets the attacker's pending challenge: it names nobody, and doesn't replace who is in.
    site.clock.reset()
    victim = site.app.test_client()
    mine = site.enter(victim)["user"]["id"]
    site.post(victim, "/register", site.newcomer())
    assert victim.get("/auth/me").json["user"]["id"] == mine  # type: ignore[index]


def test_an_open_step_up_makes_no_credential_fresh(site: Site) -> None:
    site.clock.reset()
    client = site.app.test_client()
    held = site.enter(client)
    site.clock.advance(301)
    bearer = {"Authorization": f"Bearer {held['access_token']}"}
    asked = client.post("/auth/step-up", headers=bearer)
    assert asked.status_code == 202
    fresh = (("GET", "/otp-fresh"),)
    assert shut(site.knock(held["access_token"], doors=fresh))
    assert shut(site.knock(cookies=copied(client), doors=fresh))
    assert shut(site.knock(asked.json["challenge_id"], doors=fresh))  # type: ignore[index]
    done = site.prove(client, asked)
    assert site.knock(done["access_token"], doors=fresh) == {"GET /otp-fresh": 200}
    assert shut(site.knock(held["access_token"], doors=fresh))


def test_a_login_that_the_host_began_opens_nothing_before_the_code(site: Site) -> None:
    site.clock.reset()
    first = site.app.test_client()
    user_id = site.enter(first)["user"]["id"]
    site.clock.advance(61)
    with site.app.test_request_context("/oauth", method="POST"):
        answer = site.auth.login(site.service.users.load(user_id), amr=("oauth",))
    if site.service.settings.second_factor != "always" or "challenge_id" not in answer.json:
        raise AssertionError(answer.json)
    assert shut(site.knock(answer.json["challenge_id"]))
