"""What a host decides itself: before a code is sent, in its tokens, and about passwords."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask, Response, abort
from flask_jwt_extended import JWTManager
from sqlalchemy import inspect, text

from flask_otpauth import FieldError, OTPAuth
from flask_otpauth.errors import RateLimited, ValidationFailed
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import SendRequest
from tests.services import KINDS, database_url

PASSWORD = "correct horse battery"
PHONE, OTHER_PHONE = "+972508464336", "+972508464337"
CAPTCHA = {"captcha": "solved"}
TABLES = ("otpauth_challenge", "otpauth_guard", "otpauth_session", "otpauth_event", "users")


class Host:
    """A host app with a hook that notes what it is asked, and answers as it is told."""

    def __init__(self, app: Flask, clock: Any) -> None:
        self.app, self.clock, self.client = app, clock, app.test_client()
        self.auth = OTPAuth(app, clock=clock)
        self.asked: list[SendRequest] = []
        self.answer: Callable[[SendRequest], object] = lambda request: None
        self.messages: list[Any] = []

        @self.auth.before_send
        def decide(request: SendRequest) -> object:
            self.asked.append(request)
            return self.answer(request)

    def post(self, path: str, body: dict[str, Any], token: str | None = None, client: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return (client or self.client).post(f"/auth{path}", json=body, headers=headers)

    def register(self, **fields: str) -> Any:
        return self.post("/register", {"username": "ann", "phone": PHONE, "password": PASSWORD, **fields})

    def enter(self, **fields: str) -> Any:
        return self.prove(self.register(**fields))

    def prove(self, asked: Any) -> Any:
        body = {"challenge_id": asked.json["challenge_id"], "otp": self.messages[-1].code}
        done = self.post("/verify-otp", body)
        assert done.status_code == 200, done.text
        return done

    def login(self, **fields: str) -> Any:
        self.clock.advance(61)
        return self.post("/login", {"identifier": "ann", "password": PASSWORD, **fields})

    def stored(self) -> dict[str, Any]:
        """Give all rows of all tables that a request could have changed."""
        with self.app.app_context(), self.app.extensions["sqlalchemy"].engine.connect() as connection:
            # Beside users in memory our tables are in a private database of their own.
            there = [name for name in TABLES if inspect(connection).has_table(name)]
            return {name: sorted(map(repr, connection.execute(text(f"SELECT * FROM {name}")))) for name in there}


Hosts = Callable[..., Host]


@pytest.fixture(params=[*KINDS, "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        yield "sqlite://"
        return
    with database_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def host(make_app: Callable[..., Flask], clock: Any) -> Iterator[Hosts]:
    with ExitStack() as stack:

        def make(url: str | None = None, **config: Any) -> Host:
            settings = {"EXTRA_FIELDS": ("captcha",), **config}
            where = {} if url is None else {"SQLALCHEMY_DATABASE_URI": url}
            app = make_app(**where, **{f"OTPAUTH_{name}": value for name, value in settings.items()})
            made = Host(app, clock)
            made.messages = stack.enter_context(capture_messages(app))
            return made

        yield make


def refuse(_request: SendRequest) -> object:
    return False


# --- before_send --------------------------------------------------------------------------------------------------


def test_the_hook_is_asked_before_each_code_with_all_there_is_to_know(host: Hosts) -> None:
    one = host()
    token = one.enter(**CAPTCHA).json["access_token"]
    one.login(**CAPTCHA)
    challenge = one.post("/login", {"identifier": "nobody", "password": PASSWORD, **CAPTCHA})
    assert challenge.status_code == 401  # no code, nothing to ask
    one.clock.advance(61)
    assert one.post("/step-up", CAPTCHA, token).status_code == 202
    seen = [(asked.purpose, asked.channel, asked.destination, dict(asked.extra)) for asked in one.asked]
    assert seen == [
        ("confirm", "sms", PHONE, CAPTCHA),
        ("login", "sms", PHONE, CAPTCHA),
        ("step_up", "sms", PHONE, CAPTCHA),
    ]
    assert {asked.address for asked in one.asked} == {"127.0.0.1"}
    with one.app.app_context():
        assert [getattr(asked.user, "username", None) for asked in one.asked] == [None, "ann", "ann"]


def test_a_resend_asks_again_and_a_refusal_takes_all_back(url: str, host: Hosts) -> None:
    one = host(url)
    one.enter()
    challenge = one.login().json["challenge_id"]
    one.clock.advance(61)
    before = one.stored()
    one.answer = refuse
    assert one.post("/resend-otp", {"challenge_id": challenge, **CAPTCHA}).status_code == 403
    assert one.stored() == before
    one.answer = lambda request: None
    assert one.post("/resend-otp", {"challenge_id": challenge, **CAPTCHA}).status_code == 202
    asked = one.asked[-1]
    assert (asked.purpose, asked.channel, asked.destination, dict(asked.extra)) == ("login", "sms", PHONE, CAPTCHA)
    with one.app.app_context():
        assert getattr(asked.user, "username", None) == "ann"
    # In its cooldown nothing would be sent, and no captcha is used up.
    assert one.post("/resend-otp", {"challenge_id": challenge, **CAPTCHA}).status_code == 429
    assert one.asked[-1] is asked


@pytest.mark.parametrize("name", ["phone", "username"])
def test_known_and_unknown_identifiers_are_asked_about_alike(host: Hosts, name: str) -> None:
    one = host(FIRST_FACTOR="otp", REGISTER_FIELDS=("username", "phone"), SEND_IP_LIMITS="1000 per day")
    fields = {"username": "ann", "phone": PHONE}
    one.prove(one.post("/register", fields))
    one.clock.advance(61)
    one.asked.clear()
    answers: list[Any] = []
    for typed in (fields[name], {"username": "nobody", "phone": OTHER_PHONE}[name]):
        stranger = one.app.test_client()
        asked = one.post("/login", {name: typed, **CAPTCHA}, client=stranger)
        one.clock.advance(61)
        again = one.post("/resend-otp", {"challenge_id": asked.json["challenge_id"], **CAPTCHA}, client=stranger)
        one.answer = refuse
        refused = one.post("/login", {name: typed, **CAPTCHA}, client=stranger)
        late = one.post("/resend-otp", {"challenge_id": asked.json["challenge_id"], **CAPTCHA}, client=stranger)
        one.answer = lambda request: None
        answers.append([(one.status_code, one.json.get("code")) for one in (asked, again, refused, late)])
    assert answers[0] == answers[1]
    assert answers[0] == [(202, None), (202, None), (403, "forbidden"), (429, "rate_limited")]
    half = len(one.asked) // 2
    known, unknown = one.asked[:half], one.asked[half:]
    assert [(each.purpose, each.channel) for each in known] == [(each.purpose, each.channel) for each in unknown]
    assert {each.destination for each in unknown} == ({OTHER_PHONE} if name == "phone" else {None})


@pytest.mark.parametrize("registration", ["confirm", "login-code"])
def test_a_taken_address_is_asked_about_as_a_free_one(host: Hosts, registration: str) -> None:
    fields = ("username", "phone")
    one = host(FIRST_FACTOR="otp", REGISTER_FIELDS=fields, REGISTRATION=registration)
    one.prove(one.post("/register", {"username": "ann", "phone": PHONE}))
    one.clock.advance(61)
    one.asked.clear()
    sent = len(one.messages)
    one.answer = refuse
    before = one.stored()
    for number in (PHONE, OTHER_PHONE):
        refused = one.post("/register", {"username": "eve", "phone": number}, client=one.app.test_client())
        assert (refused.status_code, refused.json["code"]) == (403, "forbidden")
    purpose = "confirm" if registration == "confirm" else "login"
    assert [(each.purpose, each.destination, each.user) for each in one.asked] == [
        (purpose, PHONE, None),
        (purpose, OTHER_PHONE, None),
    ]
    # Nobody is stored, counted or told.
    assert one.stored() == before
    assert len(one.messages) == sent


def test_what_is_refused_costs_and_sends_nothing(host: Hosts) -> None:
    one = host(SEND_IP_LIMITS="1000 per day")
    token = one.enter().json["access_token"]
    challenge = one.login().json["challenge_id"]
    one.clock.advance(61)
    before, sent = one.stored(), len(one.messages)
    one.answer = refuse
    for _ in range(7):  # more than any budget of passwords or messages
        refused = [
            one.post("/login", {"identifier": "ann", "password": PASSWORD}),
            one.post("/resend-otp", {"challenge_id": challenge}),
            one.post("/step-up", {}, token),
        ]
        assert {(each.status_code, each.json["code"]) for each in refused} == {(403, "forbidden")}
        one.clock.advance(61)
    after = one.stored()
    assert len(one.messages) == sent
    # A right password leaves an event, whoever stopped its code.
    same = set(TABLES) - {"otpauth_guard", "otpauth_event"}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    one.answer = lambda request: None
    assert one.post("/resend-otp", {"challenge_id": challenge}).status_code == 202
    one.clock.advance(61)
    assert one.post("/login", {"identifier": "ann", "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ValidationFailed([FieldError(field="captcha", message="Solve it again.")]), 400, "validation_failed"),
        (RateLimited(60), 429, "rate_limited"),
        (KeyError("secret"), 503, "service_unavailable"),
        (SystemError(), 503, "service_unavailable"),
    ],
)
def test_a_hook_refuses_in_its_own_words_and_fails_closed(
    host: Hosts, error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = host()

    def decide(_request: SendRequest) -> object:
        raise error

    one.answer = decide
    with caplog.at_level(logging.ERROR, "flask_otpauth"):
        refused = one.register(**CAPTCHA)
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert one.messages == []
    assert ("before_send hook failed" in caplog.text) is (status == 503)
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("status", "code"), [(400, 403), (403, 403), (418, 403), (500, 503), (Response("no", 403), 503)]
)
def test_a_hook_that_aborts_lets_nobody_through(host: Hosts, status: Any, code: int) -> None:
    one = host()
    one.answer = lambda request: abort(status)
    refused = one.register()
    assert (refused.status_code, refused.json["status"]) == (code, code)
    assert one.messages == []


def test_every_hook_must_agree(host: Hosts) -> None:
    one = host()
    asked: list[str] = []

    @one.auth.before_send
    def second(request: SendRequest) -> bool:
        asked.append(request.purpose)
        return False

    assert one.register().status_code == 403
    one.answer = refuse
    assert one.register().status_code == 403
    assert asked == ["confirm"]  # the first one's refusal is enough


def test_a_hook_holds_no_transaction_while_it_thinks(host: Hosts) -> None:
    one = host()
    one.enter()
    challenge = one.login().json["challenge_id"]
    one.clock.advance(61)
    free: list[bool] = []

    def decide(_request: SendRequest) -> object:
        with one.app.extensions["sqlalchemy"].engine.connect() as connection:
            connection.execute(text("PRAGMA busy_timeout = 0"))
            connection.execute(text("BEGIN IMMEDIATE"))  # fails where somebody writes
            free.append(True)
            connection.rollback()
        return None

    one.answer = decide
    assert one.post("/resend-otp", {"challenge_id": challenge}).status_code == 202
    assert one.login().status_code == 200
    assert free == [True, True]


# --- claims_loader ------------------------------------------------------------------------------------------------


def said_by(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def test_further_claims_are_in_access_tokens_from_the_very_first_one(url: str, host: Hosts) -> None:
    one = host(url)

    @one.auth.claims_loader
    def claims(user: Any) -> dict[str, Any]:
        return {"tenant": f"{user.username} & co", "sub": "2", "amr": ["hwk"], "sid": "x", "exp": 1, "iss": "evil"}

    # Of a user who is stored in the very transaction that opens the session.
    tokens = one.enter().json
    told = said_by(tokens["access_token"])
    assert (told["tenant"], told["sub"], told["iss"]) == ("ann & co", "1", "host")
    assert "hwk" not in told["amr"]
    assert "tenant" not in said_by(tokens["refresh_token"])
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert one.client.get("/auth/me", headers=headers).status_code == 200
    bearer = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    assert said_by(one.client.post("/auth/refresh", headers=bearer).json["access_token"])["tenant"] == "ann & co"


def test_claims_of_the_host_and_of_his_loader_are_in_one_token(make_app: Callable[..., Flask], clock: Any) -> None:
    app = make_app(OTPAUTH_REGISTRATION="open", OTPAUTH_SECOND_FACTOR="never", JWT_IDENTITY_CLAIM="who")
    manager: Any = JWTManager(app)
    manager.additional_claims_loader(lambda identity: {"by": "the manager"})
    auth = OTPAuth(app, clock=clock)
    manager.token_in_blocklist_loader(auth.token_revoked)
    auth.claims_loader(lambda user: {"tenant": user.username, "who": "2", "amr": []})
    client = app.test_client()
    with capture_messages(app):
        client.post("/auth/register", json={"username": "ann", "phone": PHONE, "password": PASSWORD})
        tokens = client.post("/auth/login", json={"identifier": "ann", "password": PASSWORD}).json
    told = said_by(tokens["access_token"])  # type: ignore[index]
    assert (told["tenant"], told["who"], told["amr"]) == ("ann", "1", ["pwd"])
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}  # type: ignore[index]
    assert client.get("/auth/me", headers=headers).status_code == 200


@pytest.mark.parametrize("broken", [lambda user: {}["tenant"], lambda user: {"tenant": object()}, lambda user: None])
def test_a_broken_claims_loader_lets_nobody_in_and_uses_up_no_code(host: Hosts, broken: Any) -> None:
    one = host()
    works = [False]

    @one.auth.claims_loader
    def claims(user: Any) -> Any:
        return {} if works[0] else broken(user)

    asked = one.register()
    body = {"challenge_id": asked.json["challenge_id"], "otp": one.messages[-1].code}
    refused = one.post("/verify-otp", body)
    assert (refused.status_code, refused.json["code"]) == (503, "service_unavailable")
    works[0] = True
    assert one.post("/verify-otp", body).status_code == 200


# --- password_validator -------------------------------------------------------------------------------------------


def test_a_validator_refuses_what_our_rules_allow(host: Hosts) -> None:
    one = host()
    asked: list[str] = []

    @one.auth.password_validator
    def breached(password: str) -> str | None:
        asked.append(password)
        return "This password was in a breach." if password == PASSWORD else None

    refused = one.register()
    assert (refused.status_code, refused.json["code"]) == (400, "validation_failed")
    assert refused.json["errors"] == [{"field": "password", "message": "This password was in a breach."}]
    assert one.register(password="short").status_code == 400
    assert one.register(password="another horse battery").status_code == 202
    assert asked == [PASSWORD, "another horse battery"]


def test_a_validator_may_raise_its_sentence_and_say_true(host: Hosts) -> None:
    one = host()

    @one.auth.password_validator
    def strange(password: str) -> bool:
        if "weird" in password:
            raise ValueError("This password is too strange.")
        return True

    refused = one.register(password="a weird long battery")
    assert (refused.status_code, refused.json["code"]) == (400, "validation_failed")
    assert refused.json["errors"] == [{"field": "password", "message": "This password is too strange."}]
    assert one.register().status_code == 202


@pytest.mark.parametrize("error", [ValueError(), UnicodeError("no text"), ValueError(f"{PASSWORD!r} is bad")])
def test_a_validator_that_raises_no_sentence_is_broken(host: Hosts, error: Exception) -> None:
    one = host()

    @one.auth.password_validator
    def broken(_password: str) -> bool:
        raise error

    assert one.register().status_code == 503


def test_a_broken_validator_takes_no_password_and_keeps_it_out_of_the_log(
    host: Hosts, caplog: pytest.LogCaptureFixture
) -> None:
    one = host()

    @one.auth.password_validator
    def broken(password: str) -> str | None:
        raise ValueError(password)

    with caplog.at_level(logging.ERROR, "flask_otpauth"):
        assert one.register().status_code == 503
    assert "password_validator hook failed" in caplog.text
    assert PASSWORD not in caplog.text


# --- hooks that decide nothing ----------------------------------------------------------------------------------------


async def undecided(_: object) -> bool:
    return False


@pytest.mark.parametrize("register", ["before_send", "claims_loader", "password_validator"])
def test_an_async_hook_is_refused_at_once(register: str) -> None:
    with pytest.raises(TypeError, match="undecided is async"):
        getattr(OTPAuth(), register)(undecided)


@pytest.mark.parametrize("answer", [0, "no", object()])
def test_what_is_no_decision_lets_nobody_through(host: Hosts, answer: object) -> None:
    one = host()
    one.answer = lambda _: answer
    refused = one.register()
    assert (refused.status_code, refused.json["code"]) == (503, "service_unavailable")
    assert one.messages == []


def test_a_validator_that_gives_no_sentence_lets_no_password_through(host: Hosts) -> None:
    one = host()
    one.auth.password_validator(lambda _: False)  # type: ignore[arg-type, return-value]
    refused = one.register()
    assert (refused.status_code, refused.json["code"]) == (503, "service_unavailable")


def test_a_right_password_whose_code_is_refused_leaves_a_trace(host: Hosts) -> None:
    one = host()
    one.enter()
    one.answer = refuse
    before = one.stored()["otpauth_event"]
    assert one.login().status_code == 403
    [event] = set(one.stored()["otpauth_event"]) - set(before)
    assert "otp_send_failed" in event
    assert "forbidden" in event
