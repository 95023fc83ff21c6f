"""
G9: what asks for a fresh proof gets one, of that very session.

Endpoints that set, change or remove a factor, a contact or a password come with recovery; they stand behind the doors
that are tried here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.security.doors import PASSWORD, Site, copied, site_on

FRESH = ("/otp-fresh", "/auth-fresh")


@pytest.fixture(params=[("jwt",), ("session",)], ids=["jwt", "session"])
def credentials(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


@pytest.fixture
def site(credentials: tuple[str, ...], tmp_path: Any) -> Iterator[Site]:
    with site_on("sqlite", tmp_path, OTPAUTH_CREDENTIALS=credentials) as made:
        yield made


@pytest.fixture
def codeless(credentials: tuple[str, ...], tmp_path: Any) -> Iterator[Site]:
    """Give a site where a password alone logs in; registration has proved the phone."""
    with site_on("sqlite", tmp_path, OTPAUTH_CREDENTIALS=credentials, OTPAUTH_SECOND_FACTOR="never") as made:
        yield made


class Login:
    """One login, whatever carries it."""

    def __init__(self, site: Site, held: dict[str, Any] | None = None, client: FlaskClient | None = None) -> None:
        self.site, self.client = site, client or site.app.test_client()
        self.held = held or site.enter(self.client)

    @property
    def headers(self) -> dict[str, str]:
        token = self.held.get("access_token")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def post(self, path: str, body: Any = None) -> Any:
        return self.client.post(path, json=body, headers=self.headers)

    def get(self, path: str) -> tuple[int, str]:
        answer = self.client.get(path, headers=self.headers)
        refused = answer.status_code != 200
        return answer.status_code, str(json.loads(answer.data)["code"]) if refused else "in"

    def step_up(self, body: Any = None) -> None:
        """Prove a code, or the password, for this login; its credentials are new then."""
        answer = self.post("/auth/step-up", body)
        if answer.status_code == 202:
            self.held = self.site.prove(self.client, answer)
        else:
            assert answer.status_code == 200, answer.text
            self.held = dict(answer.json)

    def again(self) -> Login:
        """Log in as the same user from another browser."""
        self.site.clock.advance(61)
        client = self.site.app.test_client()
        body = {"identifier": self.username, "password": PASSWORD}
        answer = self.site.post(client, "/login", body)
        assert answer.status_code == 200, answer.text
        proved = "challenge_id" not in answer.json  # type: ignore[operator]
        held = dict(answer.json or {}) if proved else self.site.prove(client, answer)
        return Login(self.site, held | {"username": self.username}, client)

    @property
    def username(self) -> str:
        return str(self.held["username"] if "username" in self.held else self.held["user"]["username"])


INSUFFICIENT = (401, "insufficient_user_authentication")
IN = (200, "in")


def test_a_session_without_a_code_passes_no_door_that_asks_for_one(codeless: Site) -> None:
    login = Login(codeless).again()
    assert login.get("/auth-required") == IN
    assert login.get("/otp-required") == login.get("/otp-fresh") == INSUFFICIENT
    answer = login.client.get("/otp-fresh", headers=login.headers)
    assert 'error="insufficient_user_authentication"' in answer.headers["WWW-Authenticate"]
    assert "max_age=" in answer.headers["WWW-Authenticate"]
    login.step_up()
    assert login.get("/otp-fresh") == IN


def test_a_password_proves_no_code(codeless: Site) -> None:
    login = Login(codeless).again()
    login.step_up({"password": PASSWORD})
    assert login.get("/auth-fresh") == IN
    assert login.get("/otp-required") == login.get("/otp-fresh") == INSUFFICIENT


def test_a_password_freshens_no_old_code(codeless: Site) -> None:
    login = Login(codeless)
    assert login.get("/otp-fresh") == IN
    codeless.clock.advance(301)
    assert [login.get(path) for path in FRESH] == [INSUFFICIENT] * 2
    login.step_up({"password": PASSWORD})
    assert login.get("/auth-fresh") == login.get("/otp-required") == IN
    assert login.get("/otp-fresh") == INSUFFICIENT


def test_a_wrong_password_or_code_freshens_nothing(codeless: Site) -> None:
    login = Login(codeless)
    codeless.clock.advance(301)
    assert login.post("/auth/step-up", {"password": "a wrong password"}).status_code == 401
    asked = login.post("/auth/step-up", {})
    wrong = "000000" if codeless.code != "000000" else "111111"
    body = {"challenge_id": asked.json["challenge_id"], "otp": wrong}
    assert login.post("/auth/verify-otp", body).status_code == 401
    assert [login.get(path) for path in FRESH] == [INSUFFICIENT] * 2


def test_a_password_is_no_fresh_proof_of_who_has_a_second_factor(site: Site) -> None:
    login = Login(site)
    site.clock.advance(301)
    refused = login.post("/auth/step-up", {"password": PASSWORD})
    assert (refused.status_code, refused.json["code"]) == INSUFFICIENT
    assert [login.get(path) for path in FRESH] == [INSUFFICIENT] * 2


def test_a_proof_grows_old(site: Site) -> None:
    login = Login(site)
    for path in FRESH:
        assert login.get(path) == IN
    site.clock.advance(298)  # a token tells whole seconds
    assert login.get("/otp-fresh") == IN
    site.clock.advance(3)
    assert [login.get(path) for path in FRESH] == [INSUFFICIENT] * 2
    assert login.get("/otp-required") == IN
    login.step_up()
    assert [login.get(path) for path in FRESH] == [IN] * 2


def test_a_refreshed_token_is_no_fresh_proof(tmp_path: Any) -> None:
    with site_on("sqlite", tmp_path) as site:
        login = Login(site)
        for _ in range(2):
            bearer = {"Authorization": f"Bearer {login.held['refresh_token']}"}
            login.held = dict(login.client.post("/auth/refresh", headers=bearer).json or {})
            assert [login.get(path) for path in FRESH] == [INSUFFICIENT] * 2
            assert login.get("/otp-required") == IN
        login.step_up()
        assert login.get("/otp-fresh") == IN
        # That a fresh proof was given doesn't make what is refreshed from it fresh.
        bearer = {"Authorization": f"Bearer {login.held['refresh_token']}"}
        login.held = dict(login.client.post("/auth/refresh", headers=bearer).json or {})
        assert login.get("/otp-fresh") == INSUFFICIENT


def test_the_proof_of_one_session_freshens_no_other(site: Site) -> None:
    one = Login(site)
    other = one.again()
    site.clock.advance(301)
    one.step_up()
    assert one.get("/otp-fresh") == IN
    assert other.get("/otp-fresh") == INSUFFICIENT


def test_a_stolen_credential_is_not_freshened_by_its_owner(site: Site, credentials: tuple[str, ...]) -> None:
    owner = Login(site)
    thief = site.app.test_client()
    for name, value in copied(owner.client).items():
        thief.set_cookie(name, value)
    headers = owner.headers
    site.clock.advance(301)
    owner.step_up()
    assert owner.get("/otp-fresh") == IN
    stolen = thief.get("/otp-fresh", headers=headers)
    assert stolen.status_code == 401
    if credentials == ("session",):
        # A cookie gets a new id at the step-up: the copy is over altogether.
        assert thief.get("/auth-required").status_code == 401


def test_the_code_of_a_login_is_no_step_up(site: Site) -> None:
    login = Login(site)
    site.clock.advance(301)
    step_up = login.post("/auth/step-up", {})
    site.clock.advance(61)
    asked = site.post(site.app.test_client(), "/login", {"identifier": login.username, "password": PASSWORD})
    assert asked.status_code == 200
    body = {"challenge_id": step_up.json["challenge_id"], "otp": site.code}
    if site.code != site.messages[-2].code:
        assert login.post("/auth/verify-otp", body).json["code"] == "otp_invalid"
    assert login.get("/otp-fresh") == INSUFFICIENT


def test_a_step_up_goes_to_no_address_that_nobody_proved(tmp_path: Any, credentials: tuple[str, ...]) -> None:
    config = {"OTPAUTH_REGISTRATION": "open", "OTPAUTH_SECOND_FACTOR": "never"}
    with site_on("sqlite", tmp_path, OTPAUTH_CREDENTIALS=credentials, **config) as site:
        client, fields = site.app.test_client(), site.newcomer()
        assert site.post(client, "/register", fields).status_code == 201
        held = site.post(client, "/login", {"identifier": fields["username"], "password": PASSWORD}).json
        login = Login(site, dict(held or {}), client)
        for body in ({}, {"method": "sms"}):
            refused = login.post("/auth/step-up", body)
            assert (refused.status_code, refused.json["code"]) == (403, "no_method")
        assert site.messages == []
