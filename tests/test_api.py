"""The JSON interface on a service that records what its flows are asked, and answers what the test wants."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask, Request, request
from flask import session as flask_session
from flask.testing import FlaskClient
from typing_extensions import override
from werkzeug.test import TestResponse

from flask_otpauth.api import ENDPOINTS, current_caller, make_blueprint, respond_to_login, route_faults
from flask_otpauth.api.reading import BODY_LIMIT
from flask_otpauth.config import Settings, read
from flask_otpauth.delivery import Inbox
from flask_otpauth.errors import AuthenticationRequired, OTPAuthError, RateLimited, ServiceUnavailable, WrongCode
from flask_otpauth.schemas import Schemas
from flask_otpauth.sessions.cookie import put_challenge, put_session, read_marks
from flask_otpauth.types import (
    Account,
    Answer,
    Caller,
    Credentials,
    Instant,
    Issued,
    Kind,
    LoggedIn,
    Message,
    Purpose,
    Registered,
    Session,
)

pytestmark = pytest.mark.core

CHALLENGE = "c" * 43
COOKIE = "s" * 43
ANN = Account(id="7", username="ann", email="ann@example.org", phone="+15005550006", roles=frozenset({"user", "admin"}))
ISSUED = Issued(
    challenge_id=CHALLENGE,
    purpose=Purpose.LOGIN,
    channel="sms",
    destination="+1 *** 06",
    methods=("sms", "email"),
    expires_at=1_700_000_300_900,
    resend_at=1_700_000_060_100,
    attempts_left=5,
    now=1_700_000_000_500,
)
LOGIN = LoggedIn(
    credentials=Credentials(access_token="aaa", refresh_token="rrr", expires_in=900), account=ANN, client="k" * 43
)
BROWSER_LOGIN = LoggedIn(credentials=Credentials(cookie=COOKIE, expires_in=1209600), account=ANN)
MOMENT = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SESSION = Session(
    id="sid", key=b"k" * 32, user_id="7", amr=("pwd", "otp"), auth_time=MOMENT, code_at=None, created_at=MOMENT,
    expires_at=MOMENT, fresh=True, via="jwt",
)  # fmt: skip
BROWSER = {"Sec-Fetch-Site": "same-origin"}
FOREIGN = {"Sec-Fetch-Site": "cross-site"}


@dataclass
class Flow:
    """Every flow at once: notes each call, and gives or raises what it was told to."""

    outcome: Any = ISSUED
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list[tuple[str, tuple[Any, ...]]])

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **_options: Any) -> Any:
            self.calls.append((name, args))
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            return self.outcome

        return call

    @property
    def caller(self) -> Caller:
        caller = self.calls[-1][1][-1]
        assert isinstance(caller, Caller)
        return caller


@dataclass
class Presented:
    """Sessions of one token, ``Bearer good``."""

    via: str = "jwt"
    asked: int = 0

    def current(self, request: Request, now: Instant) -> Session | None:
        assert now == int(MOMENT.timestamp() * 1000)
        self.asked += 1
        token = self.bearer(request)
        if token not in {None, "good"}:
            raise AuthenticationRequired(token_rejected=True)
        presented = token is not None or read_marks(flask_session).session is not None
        return replace(SESSION, via=self.via) if presented else None

    @staticmethod
    def bearer(request: Request) -> str | None:
        header = request.headers.get("Authorization", "")
        return header.removeprefix("Bearer ") if header.startswith("Bearer ") else None

    def forget(self, request: Request) -> None:
        pass

    def end_held(self) -> None:
        pass


@dataclass
class RecordingService:
    settings: Settings
    flow: Flow = field(default_factory=Flow)
    sessions: Presented = field(default_factory=Presented)
    shapers: list[Any] = field(default_factory=list[Any])
    away: bool = False

    def __getattr__(self, name: str) -> Any:
        return self.flow

    @staticmethod
    def clock() -> datetime:
        return MOMENT

    def ping(self) -> None:
        if self.away:
            raise ServiceUnavailable


@dataclass
class Host:
    app: Flask
    service: RecordingService
    client: FlaskClient

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        return self.client.post(path, json=body, **options) if body is not None else self.client.post(path, **options)


def host_of(*, inbox: Inbox | None = None, strict: bool = True, **values: Any) -> Host:
    settings, faults = read({f"OTPAUTH_{name.upper()}": value for name, value in values.items()})
    assert not [*faults, *route_faults(settings)]
    app = Flask("host")
    app.url_map.strict_slashes = strict
    app.config |= {"TESTING": True, "SECRET_KEY": "a key of the tests", "PROPAGATE_EXCEPTIONS": True}
    fields = {"username": True, "password": True, "phone": False, "email": False}
    schemas = Schemas(settings, fields, one_address=True, profile_fields={})
    app.register_blueprint(make_blueprint(settings, schemas, inbox))
    service = RecordingService(settings)
    app.extensions["otpauth"] = service

    @app.post("/mark/<kind>")
    def mark(kind: str) -> str:
        if kind == "session":
            put_session(flask_session, COOKIE, permanent=False)
        else:
            put_challenge(flask_session, CHALLENGE)
        return ""

    @app.get("/marks")
    def marks() -> dict[str, str | None]:
        found = read_marks(flask_session)
        return {"session": found.session, "challenge": found.challenge}

    return Host(app, service, app.test_client())


def problem(response: TestResponse, status: int, code: str) -> Any:
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.mimetype == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    body = json.loads(response.data)
    assert (body["status"], body["code"]) == (status, code)
    return body


# --- bodies of requests ---------------------------------------------------------------------------------------------


POSTS = ("register", "login", "verify-otp", "resend-otp", "refresh", "logout", "step-up")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "raw",
    [b"{", b"[]", b'"x"', b"null", b'{"otp": NaN}', b'{"otp": "1", "otp": "2"}', b'{"otp": "\\ud800"}',
     b'{"otp": "\\u0000"}', b"[" * 9000, b'{"a":' * 2000, b'{"otp": "\xff"}', b'{"otp": ' + b"9" * 9000 + b"}"],
)  # fmt: skip
def test_a_malformed_body_is_a_problem_before_any_flow(path: str, raw: bytes) -> None:
    host = host_of()
    response = host.client.post(f"/auth/{path}", data=raw, content_type="application/json")
    problem(response, 400, "malformed_request")
    assert host.service.flow.calls == []


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
     "application/json; charset=latin-1", "application/json; charset=utf-16", "application/jsonp", "*/*", "json"],
)  # fmt: skip
def test_a_body_of_another_type_is_refused(path: str, kind: str) -> None:
    host = host_of()
    headers = {"Content-Type": kind} if kind else {}
    problem(host.client.post(f"/auth/{path}", data=b"{}", headers=headers), 415, "unsupported_media_type")
    assert host.service.flow.calls == []


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json;charset=utf-8", 'application/json; charset="UTF-8"'],
)
def test_json_in_utf_8_is_taken_however_it_is_spelt(kind: str) -> None:
    body = json.dumps({"identifier": "ann", "password": "x"})
    assert host_of().client.post("/auth/login", data=body, content_type=kind).status_code == 202


def padded(size: int) -> bytes:
    body = b'{"identifier": "ann", "password": "x"}'
    return body + b" " * (size - len(body))


def test_a_body_of_16_kib_is_taken_and_one_byte_more_is_not() -> None:
    host = host_of()
    json_type = {"content_type": "application/json"}
    assert host.client.post("/auth/login", data=padded(BODY_LIMIT), **json_type).status_code == 202
    problem(host.client.post("/auth/login", data=padded(BODY_LIMIT + 1), **json_type), 413, "payload_too_large")


class Endless(io.RawIOBase):
    """A body of unknown length that counts what is read of it."""

    def __init__(self, start: bytes, size: int) -> None:
        super().__init__()
        self.rest = start + b" " * (size - len(start))
        self.taken = 0

    @override
    def read(self, size: int = -1) -> bytes:
        size = len(self.rest) if size < 0 else size
        part, self.rest = self.rest[:size], self.rest[size:]
        self.taken += len(part)
        return part

    @override
    def readinto(self, buffer: Any) -> int:
        part = self.read(min(len(buffer), 1000))
        buffer[: len(part)] = part
        return len(part)


def chunked(host: Host, stream: io.RawIOBase) -> TestResponse:
    environ = {"wsgi.input": stream, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    return host.client.post("/auth/login", content_type="application/json", environ_overrides=environ)


def test_a_body_of_unknown_length_is_read_up_to_the_limit_only() -> None:
    host = host_of()
    assert chunked(host, Endless(padded(100), BODY_LIMIT)).status_code == 202
    stream = Endless(padded(100), 10_000_000)
    problem(chunked(host, stream), 413, "payload_too_large")
    assert stream.taken == BODY_LIMIT + 1


class Broken(io.RawIOBase):
    @override
    def readinto(self, buffer: Any) -> int:
        raise RuntimeError(f"a server's own error, {len(buffer)} bytes")


def test_a_body_that_breaks_off_is_malformed() -> None:
    host = host_of()
    problem(chunked(host, Broken()), 400, "malformed_request")
    response = host.client.post(
        "/auth/login", data=b'{"identifier"', content_type="application/json", headers={"Content-Length": "999"}
    )
    problem(response, 400, "malformed_request")


def test_a_lower_limit_of_the_host_counts() -> None:
    host = host_of()
    host.app.config["MAX_CONTENT_LENGTH"] = 100
    response = host.client.post("/auth/login", data=padded(101), content_type="application/json")
    problem(response, 413, "payload_too_large")


def test_a_body_that_the_host_has_read_before_is_still_there() -> None:
    host = host_of()

    @host.app.before_request
    def log() -> None:
        assert request.get_data()

    assert host.post("/auth/login", {"identifier": "ann", "password": "x"}).status_code == 202


def test_fields_of_the_wrong_kind_are_named_each() -> None:
    body = problem(host_of().post("/auth/login", {"identifier": 7, "role": "admin"}), 400, "validation_failed")
    assert {one["field"] for one in body["errors"]} == {"identifier", "role", "password"}
    assert all(one["message"] for one in body["errors"])


def test_a_code_of_the_wrong_shape_reaches_no_flow() -> None:
    host = host_of()
    for otp in (4217, "\uff11\uff12\uff13\uff14\uff15\uff16", "12345", None):
        body = problem(host.post("/auth/verify-otp", {"challenge_id": "c", "otp": otp}), 400, "validation_failed")
        assert [one["field"] for one in body["errors"]] == ["otp"]
    assert host.service.flow.calls == []


# --- what flows are asked -------------------------------------------------------------------------------------------


def test_login_passes_what_was_typed() -> None:
    host = host_of()
    host.post("/auth/login", {"email": "ann@example.org", "password": "secret"})
    name, arguments = host.service.flow.calls[-1]
    assert (name, arguments[:3]) == ("start", ("ann@example.org", Kind.EMAIL, "secret"))


def test_register_passes_fields_by_their_own_names() -> None:
    host = host_of(field_names={"phone": "mobile"}, extra_fields=("captcha",))
    host.post("/auth/register", {"username": "ann", "password": "p", "mobile": "1", "captcha": "t"})
    name, arguments = host.service.flow.calls[-1]
    assert (name, arguments[0]) == ("register", {"username": "ann", "password": "p", "phone": "1"})
    assert host.service.flow.caller.extra == {"captcha": "t"}


def test_verify_and_resend_name_the_challenge() -> None:
    host = host_of(extra_fields=("captcha",))
    host.service.flow.outcome = LOGIN
    host.post("/auth/verify-otp", {"challenge_id": "cid", "otp": "004 217"})
    assert host.service.flow.calls[-1][0] == "verify"
    assert host.service.flow.calls[-1][1][:2] == ("cid", "004217")
    host.service.flow.outcome = ISSUED
    host.post("/auth/resend-otp", {"challenge_id": "cid", "channel": "email", "captcha": "t"})
    assert host.service.flow.calls[-1][1][:2] == ("cid", "email")
    assert host.service.flow.caller.extra == {"captcha": "t"}


def test_lookup_by_identifier_reaches_the_flows() -> None:
    host = host_of(challenge_lookup="identifier", first_factor="otp")
    who = {"phone": "+15005550006"}
    host.post("/auth/resend-otp", who)
    host.post("/auth/login", who)
    host.service.flow.outcome = LOGIN
    host.post("/auth/login", {**who, "otp": "12345678"})
    host.post("/auth/verify-otp", {**who, "otp": "12345678"})
    asked = [(name, arguments[:-1]) for name, arguments in host.service.flow.calls]
    number = who["phone"]
    assert asked == [
        ("resend", (number, Kind.PHONE)),
        ("start", (number, Kind.PHONE, None)),
        ("with_code", (number, Kind.PHONE, "12345678")),
        ("with_code", (number, Kind.PHONE, "12345678")),
    ]


def test_the_caller_is_described_within_bounds() -> None:
    host = host_of()
    host.client.set_cookie("otpauth_client", "k" * 43)
    headers = {
        "User-Agent": "Firefox\x85" + "x" * 500,
        "Accept-Language": "he-IL;q=0.9, en",
        "Authorization": "Bearer good",
    }
    host.post("/auth/login", {"identifier": "ann", "password": "x"}, headers=headers)
    caller = host.service.flow.caller
    assert (caller.address, caller.client, caller.locale) == ("127.0.0.1", "k" * 43, "he-IL")
    assert len(caller.user_agent) <= 200
    assert caller.user_agent.isprintable()
    assert caller.session == SESSION
    assert "k" * 43 not in repr(caller)


@pytest.mark.parametrize("header", ["*", "", "x" * 40, "../../etc", "\u00e9", "-", ";;,"])
def test_a_strange_language_is_none(header: str) -> None:
    host = host_of()
    host.post("/auth/login", {"identifier": "a", "password": "x"}, headers={"Accept-Language": header})
    assert host.service.flow.caller.locale is None


def test_a_bad_token_is_as_none_where_nothing_needs_it() -> None:
    host = host_of()
    host.client.set_cookie("otpauth_client", "k" * 999)
    headers = {"Authorization": "Bearer bad"}
    assert host.post("/auth/login", {"identifier": "ann", "password": "x"}, headers=headers).status_code == 202
    assert host.service.flow.caller.session is None
    assert host.service.flow.caller.client is None


def test_who_presents_nothing_pays_for_no_session() -> None:
    host = host_of(credentials=("jwt", "session"))
    host.post("/auth/login", {"identifier": "ann", "password": "x"})
    assert host.service.sessions.asked == 0


# --- answers --------------------------------------------------------------------------------------------------------


def test_a_challenge_is_told_in_full() -> None:
    response = host_of().post("/auth/login", {"identifier": "ann", "password": "x"})
    assert (response.status_code, response.mimetype) == (202, "application/json")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json == {
        "challenge_id": CHALLENGE,
        "purpose": "login",
        "channel": "sms",
        "destination": "+1 *** 06",
        "methods": ["sms", "email"],
        "expires_at": "2023-11-14T22:18:20Z",
        "expires_in": 300,
        "resend_at": "2023-11-14T22:14:21Z",
        "resend_in": 60,
        "attempts_left": 5,
        "message": "If the address is right, a code is on its way.",
    }


def test_a_challenge_after_a_password_says_so_with_200() -> None:
    host = host_of()
    host.service.flow.outcome = replace(ISSUED, mfa_required=True)
    response = host.post("/auth/login", {"identifier": "ann", "password": "x"})
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["mfa_required"] is True
    assert response.json["message"] == "A code is on its way."


def test_times_that_are_over_are_zero() -> None:
    host = host_of()
    host.service.flow.outcome = replace(ISSUED, now=ISSUED.expires_at + 5)
    body = host.post("/auth/resend-otp", {"challenge_id": "c"}).json
    assert body is not None
    assert (body["expires_in"], body["resend_in"]) == (0, 0)


def test_tokens_are_told_with_their_user_and_a_cookie_for_known_clients() -> None:
    host = host_of()
    host.service.flow.outcome = LOGIN
    response = host.post("/auth/verify-otp", {"challenge_id": "c", "otp": "123456"})
    assert response.json == {
        "access_token": "aaa",
        "refresh_token": "rrr",
        "token_type": "Bearer",
        "expires_in": 900,
        "user": {
            "id": "7",
            "username": "ann",
            "email": "ann@example.org",
            "phone": "+15005550006",
            "roles": ["admin", "user"],
        },
        "message": "You are logged in.",
    }
    cookie = host.client.get_cookie("otpauth_client")
    assert cookie is not None
    assert (cookie.value, cookie.secure, cookie.http_only, cookie.same_site) == ("k" * 43, True, True, "Lax")
    assert (cookie.path, cookie.max_age) == ("/", 400 * 86400)


def test_the_cookie_for_known_clients_goes_over_plain_http_in_debug() -> None:
    host = host_of()
    host.app.debug = True
    host.service.flow.outcome = LOGIN
    response = host.post("/auth/verify-otp", {"challenge_id": "c", "otp": "123456"})
    assert "Secure" not in response.headers["Set-Cookie"]


@pytest.mark.parametrize("credentials", [("jwt",), ("jwt", "session")])
def test_a_registration_without_login_is_201(credentials: tuple[str, ...]) -> None:
    host = host_of(credentials=credentials)
    host.service.flow.outcome = Registered(account=ANN)
    response = host.post("/auth/register", {"username": "ann", "password": "p", "email": "e"})
    assert response.status_code == 201
    assert response.json is not None
    assert response.json["user"]["id"] == "7"


def test_wire_names_are_used_outward_too() -> None:
    host = host_of(
        field_names={"access_token": "token", "phone": "mobile", "user": "customer", "challenge_id": "session_id"}
    )
    host.service.flow.outcome = LOGIN
    body = host.post("/auth/verify-otp", {"session_id": "c", "otp": "123456"}).json
    assert body is not None
    assert body["token"] == "aaa"
    assert body["customer"]["mobile"] == "+15005550006"
    assert "access_token" not in body
    problem_body = problem(host.post("/auth/verify-otp", {"otp": "123456"}), 400, "validation_failed")
    assert [one["field"] for one in problem_body["errors"]] == ["session_id"]


def test_an_error_names_a_field_as_it_was_sent() -> None:
    host = host_of(field_names={"username": "email", "email": "username", "phone": "mobile"})
    body = problem(host.post("/auth/login", {"email": 5, "password": "x"}), 400, "validation_failed")
    assert [one["field"] for one in body["errors"]] == ["email"]
    body = problem(host.post("/auth/login", {"phone": "1", "password": "x"}), 400, "validation_failed")
    assert [one["field"] for one in body["errors"]] == ["phone", "identifier"]


def test_shapers_see_each_answer_in_turn() -> None:
    host = host_of(field_names={"challenge_id": "session_id"})
    seen: list[Answer] = []

    def look(answer: Answer) -> None:
        seen.append(answer)

    def shape(answer: Answer) -> Answer:
        return replace(answer, status=299, body={"only": "this"}, headers={"X-Shaped": "yes"})

    host.service.shapers[:] = [look, shape, look]
    response = host.post("/auth/login", {"identifier": "ann", "password": "x"})
    assert (response.status_code, response.json, response.headers["X-Shaped"]) == (299, {"only": "this"}, "yes")
    assert [one.endpoint for one in seen] == ["login", "login"]
    assert seen[0].body is not None
    assert seen[0].body["session_id"] == CHALLENGE
    assert seen[1].body == {"only": "this"}


def test_a_shaper_may_set_what_it_got() -> None:
    host = host_of()

    def shape(answer: Answer) -> Answer:
        answer.status = 299
        answer.body = {"only": "this"}
        return answer

    def mark(answer: Answer) -> None:
        answer.headers["X-Shaped"] = "yes"

    host.service.shapers[:] = [shape, mark]
    response = host.post("/auth/login", {"identifier": "ann", "password": "x"})
    assert (response.status_code, response.json, response.headers["X-Shaped"]) == (299, {"only": "this"}, "yes")


def test_shapers_see_problems_and_answers_without_a_body() -> None:
    host = host_of()
    seen: list[Answer] = []
    host.service.shapers.append(seen.append)
    host.post("/auth/login", {})
    host.post("/auth/logout", headers={"Authorization": "Bearer good"})
    assert [(one.endpoint, one.status, one.body is None) for one in seen] == [
        ("login", 400, False),
        ("logout", 204, True),
    ]


def test_a_shaper_may_give_a_logout_a_body() -> None:
    host = host_of()

    def shape(answer: Answer) -> Answer:
        return replace(answer, status=200, body={"message": "Logged out successfully"})

    host.service.shapers.append(shape)
    response = host.post("/auth/logout", headers={"Authorization": "Bearer good"})
    assert (response.status_code, response.json) == (200, {"message": "Logged out successfully"})


@pytest.mark.parametrize(
    ("error", "code", "member", "header"),
    [
        (WrongCode(attempts_left=0), "otp_invalid", ("attempts_left", 0), None),
        (RateLimited(7), "rate_limited", ("retry_after", 7), ("Retry-After", "7")),
        (ServiceUnavailable(), "service_unavailable", ("retry_after", 5), ("Retry-After", "5")),
    ],
)
def test_refusals_of_flows_are_problems(
    error: OTPAuthError, code: str, member: tuple[str, int], header: tuple[str, str] | None
) -> None:
    host = host_of()
    host.service.flow.outcome = error
    response = host.post("/auth/verify-otp", {"challenge_id": "c", "otp": "123456"})
    assert problem(response, error.status, code)[member[0]] == member[1]
    assert header is None or response.headers[header[0]] == header[1]


# --- credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "me"), ("POST", "logout"), ("POST", "step-up"), ("POST", "refresh")]
)
def test_credentials_are_asked_for_as_rfc_6750_says(method: str, path: str) -> None:
    host = host_of()
    response = host.client.open(f"/auth/{path}", method=method)
    problem(response, 401, "authentication_required")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert host.service.flow.calls == []


@pytest.mark.parametrize(("method", "path"), [("GET", "me"), ("POST", "logout"), ("POST", "step-up")])
def test_bad_credentials_are_told_as_rfc_6750_says(method: str, path: str) -> None:
    response = host_of().client.open(f"/auth/{path}", method=method, headers={"Authorization": "Bearer bad"})
    problem(response, 401, "authentication_required")
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_me_tells_user_and_session() -> None:
    host = host_of()
    host.service.flow.outcome = ANN
    response = host.client.get("/auth/me", headers={"Authorization": "Bearer good"})
    assert response.json is not None
    assert response.json["user"]["username"] == "ann"
    assert response.json["session"] == {
        "id": "sid",
        "amr": ["pwd", "otp"],
        "auth_time": "2026-11-20T12:00:00Z",
        "code_at": None,
        "created_at": "2026-11-20T12:00:00Z",
        "expires_at": "2026-11-20T12:00:00Z",
    }
    host.service.sessions = Presented()
    assert response.headers["Cache-Control"] == "no-store"


def test_logout_ends_the_session_with_204() -> None:
    host = host_of()
    response = host.post("/auth/logout", headers={"Authorization": "Bearer good"})
    assert (response.status_code, response.data) == (204, b"")
    assert host.service.flow.calls[-1][0] == "logout"
    assert host.service.flow.calls[-1][1][0] == SESSION


def test_step_up_passes_method_and_password() -> None:
    host = host_of()
    headers = {"Authorization": "Bearer good"}
    assert host.post("/auth/step-up", {"method": "sms"}, headers=headers).status_code == 202
    assert host.service.flow.calls[-1][1][:3] == (SESSION, "sms", None)
    host.service.flow.outcome = replace(LOGIN, purpose=Purpose.STEP_UP)
    body = host.post("/auth/step-up", {"password": "p"}, headers=headers).json
    assert body is not None
    assert body["message"] == "Confirmed."


def test_refresh_takes_its_token_from_the_header_alone() -> None:
    host = host_of()
    host.service.flow.outcome = LOGIN
    problem(host.client.post("/auth/refresh?access_token=t&token=t"), 401, "authentication_required")
    problem(host.post("/auth/refresh", {"refresh_token": "t"}), 400, "validation_failed")
    assert host.client.post("/auth/refresh", headers={"Authorization": "Bearer t"}).status_code == 200
    assert host.service.flow.calls[-1][1][0] == "t"


# --- the browser's session ------------------------------------------------------------------------------------------


def test_with_tokens_alone_no_session_cookie_is_set() -> None:
    host = host_of()
    assert "Set-Cookie" not in host.post("/auth/login", {"identifier": "ann", "password": "x"}).headers


@pytest.mark.parametrize("credentials", [("session",), ("jwt", "session")])
def test_a_challenge_is_held_by_the_session_and_answered_from_there(credentials: tuple[str, ...]) -> None:
    host = host_of(credentials=credentials)
    body = host.post("/auth/login", {"identifier": "ann", "password": "x"}).json
    assert body is not None
    assert body["challenge_id"] == CHALLENGE
    assert host.client.get("/marks").json == {"session": None, "challenge": CHALLENGE}
    host.post("/auth/resend-otp", {}, headers=BROWSER)
    assert host.service.flow.calls[-1][1][0] == CHALLENGE
    host.service.flow.outcome = BROWSER_LOGIN
    response = host.post("/auth/verify-otp", {"otp": "123456"}, headers=BROWSER)
    assert host.service.flow.calls[-1][1][:2] == (CHALLENGE, "123456")
    assert host.service.flow.caller.pending == CHALLENGE
    assert response.json is not None
    assert response.json.keys() == {"user", "expires_in", "message"}
    assert host.client.get("/marks").json == {"session": COOKIE, "challenge": None}


def test_a_held_challenge_goes_to_the_flow_with_the_identifier() -> None:
    host = host_of(credentials=("session",), challenge_lookup="identifier", first_factor="otp")
    host.client.post("/mark/challenge")
    for path in ("verify-otp", "login"):
        host.post(f"/auth/{path}", {"identifier": "bob", "otp": "12345678"})
        name, given = host.service.flow.calls[-1]
        assert (name, given[:3]) == ("with_code", ("bob", None, "12345678"))
        assert host.service.flow.caller.pending == CHALLENGE
    host.post("/auth/resend-otp", {"identifier": "bob"})
    name, given = host.service.flow.calls[-1]
    assert (name, given[:2]) == ("resend", ("bob", None))
    assert host.service.flow.caller.pending == CHALLENGE


def test_a_held_challenge_is_answered_from_the_own_site_only() -> None:
    host = host_of(credentials=("session",), challenge_lookup="identifier", first_factor="otp")
    host.client.post("/mark/challenge")
    for path in ("verify-otp", "login"):
        problem(
            host.post(f"/auth/{path}", {"identifier": "b", "otp": "12345678"}, headers=FOREIGN), 403, "cross_origin"
        )
    problem(host.post("/auth/resend-otp", {}, headers=FOREIGN), 403, "cross_origin")
    assert host.service.flow.calls == []
    assert host.post("/auth/resend-otp", {"challenge_id": "c"}, headers=FOREIGN).status_code == 202


def test_a_proved_registration_takes_the_challenge_out_of_the_session() -> None:
    host = host_of(credentials=("session",))
    host.client.post("/mark/challenge")
    host.service.flow.outcome = Registered(account=ANN)
    assert host.post("/auth/verify-otp", {"otp": "123456"}).status_code == 201
    assert host.client.get("/marks").json == {"session": None, "challenge": None}


def test_logout_takes_ours_out_of_the_session() -> None:
    host = host_of(credentials=("session",))
    host.client.post("/mark/session")
    assert host.post("/auth/logout").status_code == 204
    assert host.client.get("/marks").json == {"session": None, "challenge": None}


def test_a_browsers_login_lasts_as_long_as_the_setting_says() -> None:
    for permanent in (True, False):
        host = host_of(credentials=("session",), session_permanent=permanent)
        host.service.flow.outcome = BROWSER_LOGIN
        response = host.post("/auth/verify-otp", {"challenge_id": "c", "otp": "123456"})
        assert ("Expires" in response.headers["Set-Cookie"]) is permanent


def test_a_login_that_the_host_began_is_answered_like_any_other() -> None:
    host = host_of(credentials=("session",))
    service: Any = host.service

    @host.app.get("/oauth")
    def oauth() -> Any:
        assert current_caller(service).address == "127.0.0.1"
        return respond_to_login(service, ISSUED)

    response = host.client.get("/oauth")
    assert response.status_code == 202
    assert response.headers["Cache-Control"] == "no-store"
    assert host.client.get("/marks").json == {"session": None, "challenge": CHALLENGE}


# --- routes ---------------------------------------------------------------------------------------------------------


def paths_of(host: Host) -> dict[str, str]:
    return {
        rule.endpoint.removeprefix("otpauth."): rule.rule
        for rule in host.app.url_map.iter_rules()
        if rule.endpoint.startswith("otpauth.") and rule.endpoint != "otpauth.docs_file"
    }


def test_every_endpoint_has_its_place() -> None:
    assert paths_of(host_of(inbox=Inbox())) == {
        "register": "/auth/register",
        "login": "/auth/login",
        "verify_otp": "/auth/verify-otp",
        "resend_otp": "/auth/resend-otp",
        "refresh": "/auth/refresh",
        "logout": "/auth/logout",
        "me": "/auth/me",
        "sessions": "/auth/sessions",
        "end_session": "/auth/sessions/<id>",
        "end_other_sessions": "/auth/sessions",
        "step_up": "/auth/step-up",
        "mfa": "/auth/mfa",
        "switch_mfa": "/auth/mfa",
        "health": "/auth/health",
        "inbox": "/auth/inbox",
        "openapi": "/auth/openapi.json",
        "docs": "/auth/docs",
    }
    assert set(paths_of(host_of(inbox=Inbox()))) == set(ENDPOINTS)


def test_a_closed_registration_and_a_missing_inbox_have_no_route() -> None:
    found = paths_of(host_of(registration="closed"))
    assert not {"register", "inbox"} & found.keys()


def test_endpoints_move_and_go() -> None:
    host = host_of(api_prefix="/api/v1", routes={"register": "/signup", "verify-otp": "/verify", "me": False})
    found = paths_of(host)
    assert (found["register"], found["verify_otp"], found["login"]) == ("/signup", "/verify", "/api/v1/login")
    assert "me" not in found
    assert host.client.get("/api/v1/me").status_code == 404
    assert paths_of(host_of(api_prefix=""))["login"] == "/login"


def test_faults_of_routes_are_told_with_their_cure() -> None:
    def faults(**routes: Any) -> list[str]:
        return route_faults(read({"OTPAUTH_ROUTES": routes})[0])

    assert faults(login="/log-in", me=False, inbox="/") == []
    assert "did you mean 'login'?" in faults(logn="/x")[0]
    assert "choose from register" in faults(zzzz=False)[0]
    assert "letters, digits" in faults(login="/<name>/login")[0]
    assert "the path of 'register'" in faults(login="/auth/register/")[0]
    assert faults(end_session="/devices/<id>", end_other_sessions="/auth/login") == []
    for path in ("/sessions", "/<id>/sessions", "/<name>/<id>", "/sessions/<int:id>", "//<id>"):
        assert "and /<id> at the end" in faults(end_session=path)[0]


@pytest.mark.parametrize("path", ["/auth/login/", "/auth/Login", "/AUTH/login", "/auth/login.json", "/auth/verify_otp"])
def test_there_is_no_side_door(path: str) -> None:
    host = host_of(strict=False)
    assert host.post(path, {"identifier": "ann", "password": "x"}).status_code == 404
    assert host.service.flow.calls == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"])
def test_other_methods_do_nothing(method: str) -> None:
    host = host_of()
    headers = {"X-HTTP-Method-Override": "POST", "Authorization": "Bearer good"}
    response = host.client.open("/auth/logout?_method=POST", method=method, headers=headers)
    assert response.status_code == 405
    assert host.service.flow.calls == []


def test_options_are_told_and_not_stored() -> None:
    response = host_of().client.options("/auth/login")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"


def test_health_tells_whether_the_store_answers() -> None:
    host = host_of()
    response = host.client.get("/auth/health")
    assert (response.status_code, response.json) == (200, {"status": "ok"})
    host.service.away = True
    problem(host.client.get("/auth/health"), 503, "service_unavailable")


def test_two_apps_have_their_own_interface() -> None:
    one, two = host_of(api_prefix="/a"), host_of(api_prefix="/b")
    one.post("/a/login", {"identifier": "ann", "password": "x"})
    assert len(one.service.flow.calls) == 1
    assert two.service.flow.calls == []
    assert two.client.post("/a/login").status_code == 404


# --- the inbox ------------------------------------------------------------------------------------------------------


def inbox_host() -> tuple[Host, Inbox]:
    inbox = Inbox()
    return host_of(inbox=inbox), inbox


def test_the_inbox_lists_messages_escaped_newest_first() -> None:
    host, inbox = inbox_host()
    assert b"No messages" in host.client.get("/auth/inbox").data
    inbox.send(Message(to="a@example.org", body="old", purpose="notice", channel="email"))
    inbox.send(
        Message(
            to="<b>@example.org", body="<script>alert(1)</script>", code="004217", purpose="login", channel="email",
            subject="Your code & more", expires_at=MOMENT,
        )
    )  # fmt: skip
    response = host.client.get("/auth/inbox")
    text = response.get_data(as_text=True)
    assert "2 messages" in text
    assert 'data-code="004217"' in text
    assert text.count("data-code") == 1
    assert "<script" not in text
    assert "<b>" not in text
    assert "Your code &amp; more" in text
    assert "2026-11-20 12:00:00 UTC" in text
    assert text.index("004217") < text.index("old")
    assert response.mimetype == "text/html"
    assert response.headers["Cache-Control"] == "no-store"
    assert "<link" not in text
    assert response.headers["Content-Security-Policy"] == "default-src 'none'"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_the_inbox_is_for_this_machine(address: str) -> None:
    host, _ = inbox_host()
    for name in ("localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "app.localhost"):
        response = host.client.get("/auth/inbox", headers={"Host": name}, environ_overrides={"REMOTE_ADDR": address})
        assert response.status_code == 200


@pytest.mark.parametrize("address", ["10.0.0.7", "::ffff:10.0.0.7", "203.0.113.9", "fe80::1", "localhost", ""])
def test_the_inbox_is_not_there_for_others(address: str) -> None:
    host, _ = inbox_host()
    response = host.client.get("/auth/inbox", environ_overrides={"REMOTE_ADDR": address})
    assert response.status_code == 404
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "localhost.evil.example"}, {"Host": "["}, {"Host": "[::7]"},
     {"Host": "127.0.0.1.evil.example"}, {"X-Forwarded-For": "127.0.0.1"},
     {"Forwarded": "for=127.0.0.1"}, {"X-Real-IP": "127.0.0.1"}],
)  # fmt: skip
def test_the_inbox_is_not_there_through_a_proxy_or_a_foreign_name(headers: Mapping[str, str]) -> None:
    host, _ = inbox_host()
    assert host.client.get("/auth/inbox", headers=headers).status_code in {400, 404}


def test_the_apps_own_server_name_may_see_the_inbox() -> None:
    host, _ = inbox_host()
    host.app.config["SERVER_NAME"] = "bank.test:5000"
    host.app.config["TRUSTED_HOSTS"] = None
    assert host.client.get("/auth/inbox", base_url="http://bank.test:5000").status_code == 200
