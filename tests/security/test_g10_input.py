"""
G10: no input gives a 5xx, and what is malformed gets a problem that says so, on every route.

``OTPAUTH_EXAMPLES=1000 pytest tests/security/test_g10_input.py -k generated`` sends as many generated bodies to each
endpoint with each of its methods, shared out among the configurations and databases below.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from flask_otpauth import OTPAuth, otp_required
from flask_otpauth.api import ENDPOINTS
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import Caller, NewAccount
from tests.services import database_url

JSON = "application/json"
SLOW = (
    HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
)
MANY = "100000 per hour"
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "tokens": {"OTPAUTH_FIELD_NAMES": {"phone": "mobile_number"}},
    "browser": {"OTPAUTH_CREDENTIALS": ("jwt", "session"), "OTPAUTH_REGISTRATION": "login-code"},
    "passwordless": {
        "OTPAUTH_CREDENTIALS": ("session",),
        "OTPAUTH_FIRST_FACTOR": "otp",
        "OTPAUTH_CHALLENGE_LOOKUP": "identifier",
        "OTPAUTH_EXTRA_FIELDS": ("captcha",),
        "OTPAUTH_PHONE_REGION": "IL",
    },
    "open": {"OTPAUTH_REGISTRATION": "open", "OTPAUTH_SECOND_FACTOR": "never"},
}


PLACES = [
    *[pytest.param((name, "sqlite"), id=name) for name in sorted(CONFIGURATIONS)],
    # Servers refuse what SQLite stores: text that is too long for its column, or of characters that they don't have.
    pytest.param(("passwordless", "postgresql"), id="postgresql", marks=pytest.mark.services),
    pytest.param(("open", "mariadb"), id="mariadb", marks=pytest.mark.services),
]


EXAMPLES = -(-int(os.environ.get("OTPAUTH_EXAMPLES", "12")) // len(PLACES))
"""Bodies for each endpoint, method and place."""

TABLE = {
    "malformed_request": 400,
    "validation_failed": 400,
    "unsupported_media_type": 415,
    "payload_too_large": 413,
    "invalid_credentials": 401,
    "otp_invalid": 401,
    "otp_expired": 401,
    "challenge_invalid": 401,
    "authentication_required": 401,
    "insufficient_user_authentication": 401,
    "forbidden": 403,
    "no_method": 403,
    "cross_origin": 403,
    "identifier_taken": 409,
    "rate_limited": 429,
}
"""Codes of problems and their statuses; those of 5xx are no answer to an input."""


@pytest.fixture(scope="module", params=PLACES)
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder = tmp_path_factory.mktemp("g10")
    name, server = request.param
    host = Flask("host", instance_path=str(folder), root_path=str(folder))
    with database_url(server, folder) as url:
        host.config |= {
            "TESTING": True,
            "SECRET_KEY": "a key of the tests, long enough: 0123456789",
            "SQLALCHEMY_DATABASE_URI": url,
            "OTPAUTH_BCRYPT_ROUNDS": 4,
            "OTPAUTH_SMS_COUNTRIES": ("US", "IL"),
            # The address of the tests must not be held up before anything is read.
            "OTPAUTH_LOGIN_IP_LIMITS": MANY,
            "OTPAUTH_SEND_IP_LIMITS": MANY,
            "OTPAUTH_VERIFY_IP_LIMITS": MANY,
            **CONFIGURATIONS[name],
        }
        OTPAuth(host)
        host.add_url_rule("/private", view_func=otp_required(private), methods=["GET", "POST"])
        try:
            with capture_messages(host):
                yield host
        finally:
            with host.app_context():
                host.extensions["sqlalchemy"].engine.dispose()


def private() -> str:
    return "private"


def routes(app: Flask) -> list[tuple[str, str]]:
    """Give method and path of each of our routes, and of a protected view of the host."""
    rules = [
        rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("otpauth.") or rule.rule == "/private"
    ]
    return sorted((method, rule.rule) for rule in rules for method in rule.methods or ())


def bodies(app: Flask) -> list[tuple[str, str]]:
    """Give method and path of what reads a body."""
    return [one for one in routes(app) if one[0] in {"POST", "PUT", "DELETE"} and one[1] != "/private"]


def is_problem(response: TestResponse) -> bool:
    if response.mimetype != "application/problem+json" or response.headers["Cache-Control"] != "no-store":
        return False
    body = json.loads(response.data)
    return bool(body["status"] == response.status_code and {"type", "title", "detail", "code"} <= body.keys())


def nested(opening: str, closing: str, levels: int) -> bytes:
    return ('{"otp": ' + opening * levels + "0" + closing * levels + "}").encode()


MALFORMED = {
    "not JSON": b"otp=123456",
    "an open object": b'{"otp": "123456"',
    "two objects": b"{} {}",
    "single quotes": b"{'otp': '123456'}",
    "an array": b'[{"otp": "123456"}]',
    "a string": b'"otp"',
    "a number": b"7",
    "null": b"null",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "not UTF-8": b'{"otp": "\xff\xfe"}',
    "an overlong NUL": b'{"otp": "\xc0\x80"}',
    "duplicate keys": b'{"otp": "123456", "otp": "654321"}',
    "duplicate keys, one escaped": b'{"otp": "123456", "\\u006ftp": "654321"}',
    "duplicate keys inside": b'{"otp": {"a": 1, "a": 2}}',
    "NaN": b'{"otp": NaN}',
    "Infinity": b'{"otp": -Infinity}',
    "a lone surrogate": b'{"otp": "\\ud800"}',
    "a lone surrogate as a key": b'{"\\udfff": "123456"}',
    "a raw surrogate": b'{"otp": "\xed\xa0\x80"}',
    "NUL": b'{"username": "\\u0000", "identifier": "a\\u0000b"}',
    "raw NUL": b'{"otp": "\x00"}',
    "a line break": b'{"identifier": "ann\\r\\nBcc: eve@example.org"}',
    "DEL": b'{"identifier": "ann\x7f"}',
    "C1": b'{"identifier": "ann\xc2\x9b"}',
    "arrays too deep": nested("[", "]", 7000),
    "objects too deep": nested('{"a":', "}", 2500),
    "unclosed arrays": b"[" * 16000,
    "17 levels": nested("[", "]", 16),
    "a huge number": b'{"otp": ' + b"9" * 10000 + b"}",
}


@pytest.mark.parametrize("kind", sorted(MALFORMED))
def test_malformed_json_is_a_problem_on_every_route_that_takes_a_body(app: Flask, kind: str) -> None:
    for method, path in bodies(app):
        response = app.test_client().open(path, method=method, data=MALFORMED[kind], content_type=JSON)
        assert (response.status_code, is_problem(response)) == (400, True), path
        assert json.loads(response.data)["code"] == "malformed_request"


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json; charset=utf-7",
        "\xff",
    ],
)
def test_other_types_are_a_problem_on_every_route_that_takes_a_body(app: Flask, kind: str) -> None:
    for method, path in bodies(app):
        response = app.test_client().open(path, method=method, data=b"{}", headers={"Content-Type": kind})
        assert (response.status_code, is_problem(response)) == (415, True), path


def test_large_bodies_are_a_problem_on_every_route_that_takes_a_body(app: Flask) -> None:
    for method, path in bodies(app):
        response = app.test_client().open(
            path, method=method, data=b'{"otp": "' + b"1" * 16384 + b'"}', content_type=JSON
        )
        assert (response.status_code, is_problem(response)) == (413, True), path


@pytest.mark.parametrize("value", [None, 5, 5.5, 1e308, True, [], {}, [["123456"]], {"$ne": ""}])
def test_fields_of_the_wrong_type_are_a_problem_on_every_route_that_takes_a_body(app: Flask, value: Any) -> None:
    names = ("identifier", "username", "password", "otp", "challenge_id", "method", "channel", "no_such_field")
    for method, path in bodies(app):
        for name in names:
            response = app.test_client().open(path, method=method, json={name: value})
            assert (response.status_code, is_problem(response)) == (400, True), (path, name)
            assert json.loads(response.data)["code"] == "validation_failed"


def test_nothing_sent_comes_back(app: Flask) -> None:
    marker = "m4rk3r-of-the-input"
    for method, path in bodies(app):
        for name in ("password", "otp", "challenge_id", "identifier", "email", "method"):
            for value in (marker, marker * 200, [marker], {marker: 1}):
                response = app.test_client().open(path, method=method, json={name: value, "surplus": 1})
                assert response.status_code == 400
                assert marker.encode() not in response.data


# --- anything at all ------------------------------------------------------------------------------------------------


def token(header: Any, claims: Any) -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), b"signature")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


TOKENS = [
    *("", ".", "..", "a.b.c", "a.b.c.d", "\xe9.\xe9.\xe9", "." * 4000, "x" * 6000),
    token({"alg": "none"}, {"sub": "1"}),
    token({"alg": "HS256"}, {"sub": 1, "sid": 5}),
    token({"alg": ["HS256"]}, {}),
    token({"alg": "HS256", "crit": ["x"]}, {}),
    token({"alg": "HS256", "b64": False}, {}),
    token([], []),
    token(7, None),
    base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.x",
    base64.urlsafe_b64encode(b'{"alg": "\xff"}').decode() + ".e30.x",
]

NAMES = (
    "ann",
    "ANN",
    "\u00df\u0130\u0131\u212a",
    "e\u0301" * 100,
    "\ufdfa" * 50,
    "\U0001f600" * 80,
    "\u200b",
    " ",
    "  ann  ",
)
MAILS = (
    *("ann@example.org", "ann@\u00e4.example", "ann@[127.0.0.1]", '"a b"@example.org', "@", "a@", "@a", "a@b"),
    *("a@" + "b" * 300, "ann@example.org\u202e", "a@xn--", "a@" + "xn--a." * 40 + "org"),
)
NUMBERS = (
    *("+15005550006", "+1 (500) 555-0006", "0508464336", "+972508464336", "+15005550006;ext=5", "+", "++1", "911"),
    *(
        "tel:+15005550006",
        "+\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668",
        "1-900-555-1234",
        "+870773111632",
        "9" * 320,
    ),
    "\uff10\uff15\uff10\uff18\uff14\uff16\uff14\uff13\uff13\uff16",
)
CODES = (
    *("123456", "000000", "123 456", "123-456", "12345678", "1234-5678", "\u00b2" * 6),
    "\uff11\uff12\uff13\uff14\uff15\uff16",
)
OTHERS = (
    *("correct horse battery staple", "p" * 1024, "p" * 1025, "A" * 43, "-" * 43, "A" * 128, "A" * 129, "sms", "email"),
    *("totp", "voice", "\ufeff", "\uffff", "\U0010ffff", "' OR 1=1 --", "%00", "%s%n", "{{7*7}}", "../../etc/passwd"),
)

words = st.sampled_from([*NAMES, *MAILS, *NUMBERS, *CODES, *OTHERS])
texts = words | st.text(max_size=60) | st.from_regex(r"\+?[0-9 ()-]{1,20}", fullmatch=True) | st.emails()
values = texts | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(words, max_size=2)
names = st.sampled_from(
    [
        "identifier", "username", "email", "phone", "mobile_number", "password", "otp", "challenge_id", "method",
        "channel", "trust_device", "captcha", "role",
    ]
)  # fmt: skip
likely = st.one_of(
    st.fixed_dictionaries({"username": texts, "password": texts}, optional={"email": texts, "phone": texts}),
    st.fixed_dictionaries({"username": texts, "password": texts}, optional={"email": texts, "mobile_number": texts}),
    st.fixed_dictionaries({"identifier": texts, "password": texts}),
    st.fixed_dictionaries({"email": texts, "password": texts}),
    st.fixed_dictionaries(
        {"challenge_id": texts, "otp": texts}, optional={"method": texts, "trust_device": st.booleans()}
    ),
    st.fixed_dictionaries({"identifier": texts}, optional={"otp": texts, "channel": texts}),
    st.fixed_dictionaries({"phone": texts}, optional={"otp": texts, "captcha": texts}),
    st.dictionaries(names | st.text(max_size=10), values, max_size=6),
)
raws = st.one_of(
    likely.map(lambda value: json.dumps(value).encode()),
    likely.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.sampled_from(sorted(MALFORMED.values())),
    st.binary(max_size=100),
    st.just(b""),
)
header_text = st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=60)
headers = st.fixed_dictionaries(
    {},
    optional={
        "Authorization": st.one_of(
            st.sampled_from(TOKENS).map(lambda text: "Bearer " + text),
            st.sampled_from(["Bearer", "bearer x", "Basic YTpi", "Digest x", "Bearer a, Bearer b", "Bearer  x y"]),
            header_text,
        ),
        "Cookie": header_text.map(lambda text: "session=" + text)
        | header_text.map(lambda text: "otpauth_client=" + text),
        "User-Agent": header_text,
        "Accept": header_text | st.just("text/html"),
        "Accept-Language": header_text,
        "Origin": header_text | st.sampled_from(["null", "http://[", "http://localhost:99999", "https://evil.example"]),
        "Sec-Fetch-Site": header_text | st.sampled_from(["cross-site", "same-origin", "none"]),
        "X-Forwarded-For": header_text,
        "X-HTTP-Method-Override": st.sampled_from(["GET", "POST", "DELETE"]),
        "Content-Length": st.sampled_from(["-1", "abc", "0", "5", "99999999999999999999", "\xb2"]),
    },
)
kinds = st.sampled_from([JSON] * 6 + ["application/json; charset=\xff", "text/plain", "multipart/form-data", ""])


@settings(deadline=None, max_examples=150, suppress_health_check=SLOW)
@pytest.mark.slow
@given(data=st.data())
def test_no_input_gives_a_5xx(app: Flask, data: st.DataObject) -> None:
    method, path = data.draw(st.sampled_from(routes(app)))
    sent: dict[str, Any] = dict(data.draw(headers))
    kind = data.draw(kinds)
    response = app.test_client().open(
        path,
        method=method,
        data=data.draw(raws),
        headers={**sent, **({"Content-Type": kind} if kind else {})},
        query_string=data.draw(header_text),
        environ_overrides={
            "REMOTE_ADDR": data.draw(st.sampled_from(["127.0.0.1", "::1", "fe80::1%eth0", "", "unix:"]))
        },
    )
    assert response.status_code < 500
    if response.status_code >= 400 and method != "HEAD" and response.status_code not in {404, 405}:
        assert is_problem(response)


@settings(deadline=None, max_examples=100, suppress_health_check=SLOW)
@pytest.mark.slow
@given(data=st.data())
def test_no_likely_body_gives_a_5xx(app: Flask, data: st.DataObject) -> None:
    method, path = data.draw(st.sampled_from(bodies(app)))
    client = app.test_client()
    for _ in range(3):  # in one browser, so that cookies of one answer meet the next request
        response = client.open(path, method=method, json=data.draw(likely.filter(is_json)))
        assert response.status_code < 500
        assert response.status_code < 400 or is_problem(response)


def credentials(app: Flask) -> list[tuple[dict[str, str], str | None]]:
    """Give headers and the cookie's mark of somebody who is in, as the app hands them out: a new login each time."""
    service = app.extensions["otpauth"]
    caller = Caller(
        address="127.0.0.1", user_agent="", client=None, pending=None, session=None, locale=None, extra={}
    )  # fmt: skip
    with app.test_request_context():
        account = service.users.by_id("1") or service.users.add(
            NewAccount(username="insider", email="insider@example.org", phone=None, password_hash=None, extra={})
        )
        given = service.sessions.open(account, amr=("pwd", "otp"), code=True, caller=caller)
    tokens = [one for one in (given.access_token, given.refresh_token) if one]
    return [({"Authorization": f"Bearer {one}"}, None) for one in tokens] + [({}, given.cookie)]


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, "private"])
def test_generated_bodies_get_answers_of_the_table_only(app: Flask, endpoint: str) -> None:
    names = {endpoint, f"otpauth.{endpoint}"}
    for rule in [rule for rule in app.url_map.iter_rules() if rule.endpoint in names]:
        for method in sorted(rule.methods or ()):
            assert send_generated(app, method, rule.rule) >= EXAMPLES


def send_generated(app: Flask, method: str, path: str) -> int:
    sent: list[int] = []

    @settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=SLOW)
    @given(raw=raws, kind=kinds, more=headers, who=st.integers(-3, 2), live=st.booleans())
    def send(raw: bytes, kind: str, more: dict[str, str], who: int, live: bool) -> None:
        client = app.test_client()
        given = {**more, **({"Content-Type": kind} if kind else {})}
        if who >= 0:  # in half of all cases somebody who is in
            held = credentials(app)
            bearer, mark = held[who % len(held)]
            given |= bearer
            if mark is not None:
                given.pop("Cookie", None)
                with client.session_transaction() as flask_session:
                    flask_session["_otpauth"] = f"s.{mark}"
        if live and (challenge := live_challenge(app)):
            raw = raw.replace(b"A" * 43, challenge.encode()).replace(b"correct horse", challenge.encode())
        response = client.open(path, method=method, data=raw, headers=given)
        sent.append(response.status_code)
        is_of_the_table(response, method)

    send()
    return len(sent)


def live_challenge(app: Flask) -> str | None:
    """Give the id of a challenge that is live as long as nobody has used it up."""
    if "g10" not in app.extensions:
        fields = {"username": "challenged", "email": "challenged@example.org", "password": "correct horse battery s"}
        if app.extensions["otpauth"].settings.passwordless:
            del fields["password"]
        answer = app.test_client().post("/auth/register", json=fields)
        app.extensions["g10"] = (answer.json or {}).get("challenge_id")
    return str(app.extensions["g10"] or "") or None


def is_of_the_table(response: TestResponse, method: str) -> None:
    status = response.status_code
    if status < 400:
        assert status in {200, 201, 202, 204}
    elif response.request.path == "/auth/inbox":
        assert status == 404  # not from this machine, or through a proxy
    elif method == "HEAD":
        assert status in TABLE.values()
    else:
        assert is_problem(response)
        assert TABLE[json.loads(response.data)["code"]] == status


def is_json(value: Any) -> bool:
    return "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value)


@pytest.mark.parametrize(
    "mark", [5, [], {}, None, "", "s.", "s." + "A" * 43, "c." + "A" * 43, "s." + "\u00e9" * 43, "x" * 9999]
)
def test_whatever_the_session_cookie_holds_nobody_is_in_and_nothing_breaks(app: Flask, mark: Any) -> None:
    for method, path in routes(app):
        client = app.test_client()
        with client.session_transaction() as held:
            held["_otpauth"] = mark
        body = {"otp": "12345678"} if path.endswith("verify-otp") else {}
        response = client.open(path, method=method, json=body if method in {"POST", "PUT", "DELETE"} else None)
        assert response.status_code < 500
        if path == "/private" and method != "OPTIONS":
            assert response.status_code == 401


@pytest.mark.parametrize("length", ["5", "0", "-1", "abc", "\xb2", "1e3", "99999999999999999999999"])
def test_whatever_length_is_told_nothing_breaks(app: Flask, length: str) -> None:
    for method, path in bodies(app):
        response = app.test_client().open(
            path, method=method, data=b'{"a": 1}', content_type=JSON, headers={"Content-Length": length}
        )
        assert 400 <= response.status_code < 500
        assert is_problem(response)


def test_a_code_of_the_wrong_shape_costs_no_attempt(app: Flask) -> None:
    digits = int(app.extensions["otpauth"].settings.digits)
    client = app.test_client()
    address = f"shape{id(app)}@example.org"
    fields = {"username": f"shape{id(app)}", "email": address}
    if not app.extensions["otpauth"].settings.passwordless:
        fields["password"] = "correct horse battery staple"
    issued = client.post("/auth/register", json=fields)
    assert issued.status_code in {201, 202}, issued.json
    if issued.status_code == 201:
        return  # "open": no code was due
    assert issued.json is not None
    challenge = issued.json["challenge_id"]
    for shape in ("", "1", "1" * (digits + 1), "\uff11" * digits, "\u0661" * digits, "\u00b2" * digits, "a" * digits):
        response = client.post("/auth/verify-otp", json={"challenge_id": challenge, "otp": shape})
        assert (response.status_code, json.loads(response.data)["code"]) == (400, "validation_failed")
    response = client.post("/auth/verify-otp", json={"challenge_id": challenge, "otp": 10 ** (digits - 1)})
    assert response.status_code == 400
    with capture_messages(app):
        wrong = client.post("/auth/verify-otp", json={"challenge_id": challenge, "otp": "0" * digits})
    assert json.loads(wrong.data).get("attempts_left", 4) == 4
