"""Cookies and what browsers do with them: flags, fixation, replay, other sites, hosts, caches."""

from __future__ import annotations

import base64
import json
import re
import secrets
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.sessions import SessionInterface, SessionMixin
from flask.testing import FlaskClient
from werkzeug.datastructures import CallbackDict
from werkzeug.test import TestResponse

from flask_otpauth import OTPAuth, auth_required
from flask_otpauth.crypto import digest
from flask_otpauth.testing import capture_messages
from tests.security.doors import PASSWORD, Site, copied, shut, site_on

BOTH = ("jwt", "session")
MARK = re.compile(r"(?:s\.[A-Za-z0-9_-]{43})? ?(?:c\.[A-Za-z0-9_-]{43})?")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_on("sqlite", tmp_path_factory.mktemp("cookies"), OTPAUTH_CREDENTIALS=BOTH) as made:
        yield made


@pytest.fixture(autouse=True)
def _real_time(site: Site) -> None:
    site.clock.reset()


def cookies_of(answer: TestResponse) -> dict[str, str]:
    """Give what an answer sets: attributes in lower case by the name of the cookie."""
    return {line.partition("=")[0]: line.partition(";")[2].lower() for line in answer.headers.getlist("Set-Cookie")}


def held_in(client: FlaskClient) -> dict[str, Any]:
    """Read Flask's session cookie as anybody can who has it: signed, not encrypted."""
    cookie = client.get_cookie("session")
    if cookie is None:
        return {}
    raw = cookie.value
    packed = raw.startswith(".")
    text = raw.lstrip(".").split(".")[0]
    body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return dict(json.loads(zlib.decompress(body) if packed else body))


def entered(site: Site) -> tuple[FlaskClient, dict[str, Any]]:
    client = site.app.test_client()
    return client, site.enter(client)


# --- flags ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("debug", "testing"), [(False, False), (False, True), (True, False)])
def test_our_cookie_is_kept_from_scripts_and_other_sites(
    make_app: Callable[..., Flask], debug: bool, testing: bool
) -> None:
    app = make_app(TESTING=testing, OTPAUTH_BCRYPT_ROUNDS=10, OTPAUTH_SMS_COUNTRIES=("IL",))
    app.debug = debug
    OTPAuth(app, sms=lambda message: None)
    client = app.test_client()
    with capture_messages(app) as messages:
        body = {"username": "ann", "password": PASSWORD, "phone": "+972508464336"}
        asked = client.post("/auth/register", json=body)
        proof = {"challenge_id": asked.json["challenge_id"], "otp": messages[-1].code}  # type: ignore[index]
        done = client.post("/auth/verify-otp", json=proof)
    assert "Set-Cookie" not in asked.headers
    flags = cookies_of(done)
    assert set(flags) == {"otpauth_client"}
    given = {one.strip() for one in flags["otpauth_client"].split(";")}
    assert {"httponly", "samesite=lax", "path=/"} <= given
    assert ("secure" in given) is (not debug)
    assert not any(one.startswith("domain") for one in given)
    # Werkzeug's client sends it all the same, so that tests of hosts go on by it.
    assert client.get("/auth/health").request.headers["Cookie"].startswith("otpauth_client=")


def test_the_session_cookie_holds_opaque_ids_only(site: Site) -> None:
    client = site.app.test_client()
    asked = site.post(client, "/register", site.newcomer())
    pending = held_in(client)
    assert set(pending) == {"_otpauth"}
    assert pending["_otpauth"] == f"c.{asked.json['challenge_id']}"  # type: ignore[index]
    site.prove(client, asked)
    done = held_in(client)
    assert set(done) == {"_otpauth"}
    assert MARK.fullmatch(done["_otpauth"])
    assert "c." not in done["_otpauth"]
    client.post("/auth/logout")
    assert held_in(client) == {}


def test_a_refusal_sets_no_cookie(site: Site) -> None:
    client = site.app.test_client()
    for path, body in (
        ("/login", {"identifier": "nobody", "password": PASSWORD}),
        ("/login", {"identifier": "nobody"}),
        ("/verify-otp", {"challenge_id": "x" * 43, "otp": "123456"}),
        ("/resend-otp", {"challenge_id": "x" * 43}),
        ("/logout", None),
        ("/refresh", None),
        ("/step-up", {}),
    ):
        answer = site.post(client, path, body)
        assert answer.status_code >= 400
        assert "Set-Cookie" not in answer.headers, path
    assert "Set-Cookie" not in client.get("/auth/me").headers


# --- fixation -------------------------------------------------------------------------------------------------------


def test_a_planted_session_is_not_the_victims_after_his_login(site: Site) -> None:
    attacker, _ = entered(site)
    planted = copied(attacker, "session")
    victim = site.app.test_client()
    victim.set_cookie("session", planted["session"])
    mine = site.enter(victim)["user"]["id"]
    assert copied(victim, "session") != planted
    assert victim.get("/auth/me").json["user"]["id"] == mine  # type: ignore[index]
    assert shut(site.knock(cookies=planted))


def test_a_planted_challenge_is_nobodys_after_the_login(site: Site) -> None:
    attacker = site.app.test_client()
    asked = site.post(attacker, "/register", site.newcomer())
    code = site.code
    planted = copied(attacker, "session")
    victim = site.app.test_client()
    victim.set_cookie("session", planted["session"])
    mine = site.enter(victim)["user"]["id"]
    assert shut(site.knock(cookies=planted))
    # Of one browser only the last challenge is live, so the attacker's own ended; the victim stays who he is.
    body = {"challenge_id": asked.json["challenge_id"], "otp": code}  # type: ignore[index]
    theirs = site.post(attacker, "/verify-otp", body)
    assert (theirs.status_code, theirs.json["code"]) == (401, "challenge_invalid")  # type: ignore[index]
    assert victim.get("/auth/me").json["user"]["id"] == mine  # type: ignore[index]


def test_a_planted_client_cookie_makes_the_attacker_no_known_client(site: Site) -> None:
    attacker, _ = entered(site)
    planted = copied(attacker, "otpauth_client")["otpauth_client"]
    victim = site.app.test_client()
    for value in (planted, "chosen-by-the-attacker"):
        victim.set_cookie("otpauth_client", value)
        user_id = site.enter(victim)["user"]["id"]
        assert copied(victim, "otpauth_client")["otpauth_client"] != value
        with site.app.app_context():
            now = int(site.clock().timestamp() * 1000)
            assert not site.service.login._parts.clients.known(digest(value), user_id, now)


def test_the_id_is_new_at_each_change_of_assurance(site: Site) -> None:
    client = site.app.test_client()
    asked = site.post(client, "/register", site.newcomer())
    seen = [held_in(client)["_otpauth"]]
    site.prove(client, asked)
    seen.append(held_in(client)["_otpauth"])
    site.clock.advance(61)
    site.prove(client, client.post("/auth/step-up"))
    seen.append(held_in(client)["_otpauth"])
    assert len(set(seen)) == 3


class ServerSide(SessionInterface):
    """Sessions that live in the server; the cookie holds their id, as Flask-Session does it."""

    class Held(CallbackDict[str, Any], SessionMixin):
        sid = ""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def open_session(self, app: Flask, request: Any) -> Any:
        sid = request.cookies.get("session") or secrets.token_hex(16)
        held = self.Held(self.rows.get(sid, {}))
        held.sid = sid
        return held

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        if session:
            self.rows[session.sid] = dict(session)
            response.set_cookie("session", session.sid)

    def regenerate(self, session: Any) -> None:
        self.rows.pop(session.sid, None)
        session.sid = secrets.token_hex(16)


def test_a_planted_id_of_a_server_side_session_is_exchanged_at_the_login(tmp_path: Any) -> None:
    with site_on("sqlite", tmp_path, OTPAUTH_CREDENTIALS=("session",)) as site:
        site.app.session_interface = ServerSide()
        victim = site.app.test_client()
        victim.set_cookie("session", "chosen-by-the-attacker")
        site.enter(victim)
        assert victim.get("/auth/me").status_code == 200
        first = copied(victim, "session")["session"]
        assert first != "chosen-by-the-attacker"
        assert shut(site.knock(cookies={"session": "chosen-by-the-attacker"}))
        site.clock.advance(61)
        site.prove(victim, victim.post("/auth/step-up"))
        assert shut(site.knock(cookies={"session": first}))


# --- replay ---------------------------------------------------------------------------------------------------------


def test_an_old_copy_of_the_cookie_rewinds_no_counter(site: Site) -> None:
    client = site.app.test_client()
    asked = site.post(client, "/register", site.newcomer())
    old, right = copied(client, "session")["session"], site.code
    wrong = "000000" if right != "000000" else "111111"
    left: list[Any] = []
    for _ in range(6):
        client.set_cookie("session", old)
        left.append(site.post(client, "/verify-otp", {"otp": wrong}).json.get("attempts_left"))  # type: ignore[union-attr]
    assert left == [4, 3, 2, 1, 0, None]
    client.set_cookie("session", old)
    refused = site.post(client, "/verify-otp", {"otp": right})
    assert (refused.status_code, refused.json["code"]) == (401, "challenge_invalid")  # type: ignore[index]
    assert asked.status_code == 202


def test_the_cookie_of_a_used_challenge_opens_nothing(site: Site) -> None:
    client = site.app.test_client()
    asked = site.post(client, "/register", site.newcomer())
    old, code = copied(client, "session"), site.code
    site.prove(client, asked)
    thief = site.app.test_client()
    thief.set_cookie("session", old["session"])
    assert site.post(thief, "/verify-otp", {"otp": code}).json["code"] == "challenge_invalid"  # type: ignore[index]
    assert shut(site.knock(cookies=old))


def test_an_old_cookie_replayed_after_the_logout_opens_nothing(site: Site) -> None:
    client, _ = entered(site)
    old = copied(client)
    assert client.post("/auth/logout").status_code == 204
    assert shut(site.knock(cookies=old))
    client.set_cookie("session", old["session"])
    assert client.get("/auth/me").status_code == 401


def test_a_cookie_that_a_later_login_replaced_opens_nothing_whatever_came_beside_it(site: Site) -> None:
    for with_token in (False, True):
        client = site.app.test_client()
        held = site.enter(client)
        old = copied(client, "session")
        headers = {"Authorization": f"Bearer {held['access_token']}"} if with_token and "access_token" in held else {}
        site.clock.advance(61)
        body = {"identifier": held["username"], "password": PASSWORD}
        asked = client.post("/auth/login", json=body, headers=headers)
        proof = {"challenge_id": asked.json["challenge_id"], "otp": site.code}  # type: ignore[index]
        assert client.post("/auth/verify-otp", json=proof, headers=headers).status_code == 200
        assert shut(site.knock(cookies=old)), with_token


# --- other sites ----------------------------------------------------------------------------------------------------

FOREIGN: dict[str, dict[str, str]] = {
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
    "a value of the future": {"Sec-Fetch-Site": "anything"},
    "cross-site in capitals": {"Sec-Fetch-Site": "CROSS-SITE"},
    "cross-site with our origin": {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    "another origin": {"Origin": "https://evil.example"},
    "a null origin": {"Origin": "null"},
    "another port": {"Origin": "http://localhost:8080"},
    "a sub-domain": {"Origin": "http://evil.localhost"},
    "our name as a prefix": {"Origin": "http://localhost.evil.example"},
    "our name as a user": {"Origin": "http://localhost@evil.example"},
    "no scheme": {"Origin": "localhost"},
    "a scheme of nobody": {"Origin": "file://localhost"},
    "two origins": {"Origin": "http://localhost, https://evil.example"},
    "a forwarded host": {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"},
    "an overridden method": {"Sec-Fetch-Site": "cross-site", "X-HTTP-Method-Override": "GET"},
}
OWN_SITE: dict[str, dict[str, str]] = {
    "no browser": {},
    "same-origin": {"Sec-Fetch-Site": "same-origin"},
    "the address bar": {"Sec-Fetch-Site": "none"},
    "our origin": {"Origin": "http://localhost"},
}

foreign = pytest.mark.parametrize("attack", sorted(FOREIGN))


def is_cross_origin(answer: TestResponse) -> bool:
    return answer.status_code == 403 and json.loads(answer.data)["code"] == "cross_origin"


@foreign
def test_another_site_does_nothing_by_a_finished_login_in_a_cookie(site: Site, attack: str) -> None:
    client, _ = entered(site)
    before, sent = held_in(client)["_otpauth"], len(site.messages)
    headers = FOREIGN[attack]
    for path in ("/auth/logout", "/auth/step-up", "/auth-required", "/otp-required"):
        assert is_cross_origin(client.post(path, headers=headers)), path
    assert is_cross_origin(client.post("/auth/step-up", json={"password": PASSWORD}, headers=headers))
    assert client.post("/login-required", headers=headers).status_code == 401
    assert client.post("/auth/refresh", headers=headers).status_code == 401
    assert (held_in(client)["_otpauth"], len(site.messages)) == (before, sent)
    assert client.get("/auth/me", headers=headers).status_code == 200
    for path in ("/auth-required", "/otp-required", "/login-required"):
        assert client.post(path).status_code == 200


@foreign
def test_another_site_does_nothing_by_a_challenge_in_a_cookie(site: Site, attack: str) -> None:
    client = site.app.test_client()
    asked = site.post(client, "/register", site.newcomer())
    code, sent, headers = site.code, len(site.messages), FOREIGN[attack]
    site.clock.advance(61)
    for _ in range(6):
        assert is_cross_origin(client.post("/auth/verify-otp", json={"otp": code}, headers=headers))
        assert is_cross_origin(client.post("/auth/verify-otp", json={"otp": "000000"}, headers=headers))
    assert is_cross_origin(client.post("/auth/resend-otp", headers=headers))
    assert is_cross_origin(client.post("/auth/resend-otp", json={}, headers=headers))
    assert len(site.messages) == sent
    assert "user" in site.prove(client, asked)


@foreign
def test_another_site_answers_no_challenge_in_a_cookie_at_the_login(
    passwordless: Site, attack: str
) -> None:  # fmt: skip
    client = passwordless.app.test_client()
    fields = passwordless.newcomer()
    passwordless.prove(client, passwordless.post(client, "/register", fields))
    client.post("/auth/logout")
    passwordless.clock.advance(61)
    assert passwordless.post(client, "/login", {"identifier": fields["username"]}).status_code == 202
    body = {"identifier": fields["username"], "otp": passwordless.code}
    assert is_cross_origin(client.post("/auth/login", json=body, headers=FOREIGN[attack]))
    assert client.post("/auth/login", json=body).status_code == 200


@pytest.fixture(scope="module")
def passwordless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    config = {"OTPAUTH_FIRST_FACTOR": "otp", "OTPAUTH_CHALLENGE_LOOKUP": "identifier"}
    folder = tmp_path_factory.mktemp("passwordless")
    with site_on("sqlite", folder, OTPAUTH_CREDENTIALS=("session",), **config) as made:
        yield made


@pytest.mark.parametrize("way", sorted(OWN_SITE))
def test_our_own_site_may(site: Site, way: str) -> None:
    client = site.app.test_client()
    site.post(client, "/register", site.newcomer())
    headers = OWN_SITE[way]
    assert client.post("/auth/verify-otp", json={"otp": site.code}, headers=headers).status_code == 200
    assert client.post("/otp-required", headers=headers).status_code == 200
    assert client.post("/auth/logout", headers=headers).status_code == 204


def test_a_token_in_the_header_is_no_cookie(tmp_path: Any) -> None:
    # No other site can send it, so its own requests from anywhere are good.
    with site_on("sqlite", tmp_path) as site:
        token = site.enter(site.app.test_client())["access_token"]
        for headers in FOREIGN.values():
            assert set(site.knock(token, headers=headers, doors=(("POST", "/otp-required"),)).values()) == {200}


def test_a_trusted_origin_may_and_those_like_it_may_not(tmp_path: Any) -> None:
    config = {"OTPAUTH_CREDENTIALS": ("session",), "OTPAUTH_TRUSTED_ORIGINS": ("https://app.example.org",)}
    with site_on("sqlite", tmp_path, **config) as site:
        client, _ = entered(site)

        def post(origin: str) -> int:
            headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
            return client.post("/otp-required", headers=headers).status_code

        assert post("https://app.example.org") == 200
        for like in (
            *("http://app.example.org", "https://app.example.org.evil", "https://app.example.org:8443"),
            *("https://evil.example/https://app.example.org", "https://xapp.example.org", "null", ""),
        ):
            assert post(like) == 403, like


def test_every_method_that_changes_things_is_held(site: Site) -> None:
    path = "/held"
    if path not in {rule.rule for rule in site.app.url_map.iter_rules()}:
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        site.app._got_first_request = False
        site.app.add_url_rule(path, "held", auth_required(lambda: "in"), methods=methods)
        site.app._got_first_request = True
    client, _ = entered(site)
    headers = FOREIGN["cross-site"]
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert is_cross_origin(client.open(path, method=method, headers=headers)), method
        assert client.open(path, method=method).status_code == 200
    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.open(path, method=method, headers=headers).status_code == 200


def test_a_token_in_a_cookie_is_held_like_a_session(tmp_path: Any) -> None:
    config = {"JWT_TOKEN_LOCATION": ["headers", "cookies"], "JWT_COOKIE_CSRF_PROTECT": False}
    with site_on("sqlite", tmp_path, manager="host", **config) as site:
        token = site.enter(site.app.test_client())["access_token"]
        cookies = {"access_token_cookie": token}
        doors = (("POST", "/otp-required"), ("POST", "/auth/step-up"), ("POST", "/auth/logout"))
        for name, headers in FOREIGN.items():
            assert set(site.knock(cookies=cookies, headers=headers, doors=doors).values()) == {403}, name
        assert site.knock(cookies=cookies, doors=doors[:1]) == {"POST /otp-required": 200}


SENDABLE = (  # what a page of another site can send without asking (Fetch, "CORS-safelisted request-header")
    None,
    "",
    "text/plain",
    "text/plain; charset=utf-8",
    "text/plain; application/json",
    "text/plain;x=application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=application/json",
)


@pytest.mark.parametrize("kind", SENDABLE, ids=str)
def test_a_form_of_another_site_logs_nobody_in(site: Site, kind: str | None) -> None:
    attacker = site.app.test_client()
    fields = site.newcomer()
    asked = site.post(attacker, "/register", fields)
    proof = {"challenge_id": asked.json["challenge_id"], "otp": site.code}  # type: ignore[index]
    victim = site.app.test_client()
    headers = {"Content-Type": kind} if kind is not None else {}
    login = {"identifier": fields["username"], "password": PASSWORD}
    for path, body in (("verify-otp", proof), ("login", login), ("register", site.newcomer())):
        for wrapped in (json.dumps(body), json.dumps(body | {"x": "="})):
            answer = victim.post(f"/auth/{path}", data=wrapped, headers=headers)
            assert answer.status_code == 415, path
            assert "Set-Cookie" not in answer.headers
    assert site.post(attacker, "/verify-otp", proof).status_code == 200


def test_a_preflight_of_another_site_is_granted_nothing(site: Site) -> None:
    headers = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for path in ("/auth/login", "/auth/verify-otp", "/auth/logout", "/otp-required"):
        answer = site.app.test_client().options(path, headers=headers)
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


# --- hosts and proxies ----------------------------------------------------------------------------------------------


def test_the_host_header_gets_into_no_message_and_no_answer(site: Site) -> None:
    client = site.app.test_client()
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    asked = client.post("/auth/register", json=site.newcomer(), headers=headers)
    assert asked.status_code == 202
    proof = {"challenge_id": asked.json["challenge_id"], "otp": site.code}  # type: ignore[index]
    done = client.post("/auth/verify-otp", json=proof, headers=headers)
    refused = client.post("/auth/logout", headers={**headers, "Origin": "https://other.example"})
    assert done.status_code == 200
    for answer in (asked, done, refused):
        assert b"evil.example" not in answer.data
        assert "evil.example" not in str(answer.headers)
    message = site.messages[-1]
    assert "evil.example" not in f"{message.body}{message.subject}{getattr(message, 'html', '')}"


@pytest.mark.parametrize(
    "host", ["", "localhost:abc", "a b", "evil.example/..", "[::1", "\xe4.example", "localhost:99999"]
)
def test_no_host_header_breaks_anything(site: Site, host: str) -> None:
    client, _ = entered(site)
    for origin in ("http://localhost", "https://evil.example", "http://[", None):
        headers = {"Host": host, **({"Origin": origin} if origin else {})}
        for path in ("/auth/step-up", "/otp-required"):
            client.set_cookie("session", copied(client, "session")["session"], domain="localhost")
            assert client.post(path, headers=headers).status_code < 500


def test_a_forwarded_address_gives_no_fresh_budget(tmp_path: Any) -> None:
    with site_on("sqlite", tmp_path, OTPAUTH_VERIFY_IP_LIMITS="3 per 5 minutes") as site:
        statuses: list[int] = []
        for number in range(5):
            address = f"192.0.2.{number}"
            headers = {
                "X-Forwarded-For": address, "X-Real-IP": address, "Forwarded": f"for={address}",
                "X-Client-IP": address, "CF-Connecting-IP": address, "True-Client-IP": address,
            }  # fmt: skip
            body = {"challenge_id": "x" * 43, "otp": "123456"}
            statuses.append(site.app.test_client().post("/auth/verify-otp", json=body, headers=headers).status_code)
        assert statuses == [401] * 3 + [429] * 2


# --- caches ---------------------------------------------------------------------------------------------------------


def is_private(answer: TestResponse) -> bool:
    vary = {one.strip().lower() for one in answer.headers.get("Vary", "").split(",")}
    stale = {"etag", "last-modified", "expires", "age"} & {name.lower() for name, _ in answer.headers}
    return answer.headers.get("Cache-Control") == "no-store" and {"authorization", "cookie"} <= vary and not stale


def test_no_cache_keeps_an_answer(site: Site) -> None:
    client = site.app.test_client()
    asked = site.post(client, "/register", site.newcomer())
    answers = [
        asked,
        site.post(client, "/verify-otp", {"otp": "1"}),
        site.post(client, "/verify-otp", {"otp": site.code}),
    ]
    answers += [client.get(path, headers={"If-None-Match": "*"}) for path in ("/auth/me", "/auth/health")]
    answers += [client.get(path) for path in ("/auth-required", "/otp-required")]
    answers += [client.head("/auth/me"), client.options("/auth/me"), client.options("/auth/login")]
    answers += [
        site.post(client, "/step-up", {"method": "x"}),
        client.post("/auth/logout", headers=FOREIGN["cross-site"]),
    ]
    answers += [client.post("/auth/logout"), client.get("/auth/me"), client.get("/otp-required")]
    answers += [site.post(client, path, {}) for path in ("/login", "/register", "/resend-otp", "/refresh")]
    answers += [client.post("/auth/login", data="x"), client.post("/auth/login", data="x" * 20_000)]
    assert len({answer.status_code for answer in answers}) >= 7
    for answer in answers:
        assert is_private(answer), (answer.request.path, answer.status_code, answer.headers)
