"""Keys: one a use, derived; rotated without an end to what is open; and none that is short or well known."""

from __future__ import annotations

import base64
import hmac
import json
import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Flask

from flask_otpauth import ConfigurationError, OTPAuth
from flask_otpauth.crypto import Keyring
from flask_otpauth.testing import capture_messages
from tests.security.doors import OWN, PASSWORD, Site, copied, make_site, shut

OLD, NEW, NEWER = (f"the {age} secret of the app, which is long enough" for age in ("old", "new", "newer"))
USES = ("code digest", "access token", "sealed data")
BOTH = ("jwt", "session")
GOOD = tuple(door for door in OWN if door[1] not in {"/auth/logout", "/auth/step-up", "/otp-fresh"})

MakeApp = Callable[..., Flask]


def derived(secret: str, use: str) -> bytes:
    """Derive as RFC 5869 has it, with the label that is part of what is stored: another would end all codes."""
    return HKDF(SHA256(), 32, salt=None, info=f"flask-otpauth {use}".encode()).derive(secret.encode())


# --- one a use ------------------------------------------------------------------------------------------------------


def test_each_use_has_the_key_of_its_label() -> None:
    ring = Keyring([OLD.encode()])
    assert ring.token_keys == (derived(OLD, "access token").hex(),)
    framed = b"\x00\x00\x00\x01a\x00\x00\x00\x06123456"
    assert ring.code_digest("123456", "a") == hmac.digest(derived(OLD, "code digest"), framed, "sha256")
    sealed = ring.seal({"name": "ann"})
    opened = Fernet(base64.urlsafe_b64encode(derived(OLD, "sealed data"))).decrypt(sealed.encode())
    assert json.loads(opened) == {"name": "ann"}


def test_apps_of_one_secret_and_database_take_no_code_and_no_token_of_each_other(make_app: MakeApp) -> None:
    shared = {"SECRET_KEY": OLD, "SQLALCHEMY_DATABASE_URI": "sqlite:///shared.sqlite3"}
    shop, bank = (make_app(OTPAUTH_APP_NAME=name, **shared) for name in ("Shop", "Bank"))
    bank.instance_path = shop.instance_path
    for app in (shop, bank):
        OTPAuth(app)
    with capture_messages(shop) as messages:
        body = {"username": "ann", "password": PASSWORD, "phone": "+972508464336"}
        asked = shop.test_client().post("/auth/register", json=body)
    answer = {"challenge_id": asked.json["challenge_id"], "otp": messages[-1].code}  # type: ignore[index]
    refused = bank.test_client().post("/auth/verify-otp", json=answer)
    assert (refused.status_code, refused.json["code"]) == (401, "otp_invalid")  # type: ignore[index]
    done = shop.test_client().post("/auth/verify-otp", json=answer)
    assert done.status_code == 200
    for token, path in (("access_token", "/auth/me"), ("refresh_token", "/auth/refresh")):
        sent = {"Authorization": f"Bearer {done.json[token]}"}  # type: ignore[index]
        method = "GET" if path == "/auth/me" else "POST"
        assert bank.test_client().open(path, method=method, headers=sent).status_code == 401
        assert shop.test_client().open(path, method=method, headers=sent).status_code == 200


def test_the_key_of_one_use_is_good_for_no_other() -> None:
    ring, digests, sealed = Keyring([OLD.encode()]), set[bytes](), Keyring([OLD.encode()]).seal({})
    for use in ("access token", "sealed data", "password", ""):
        digests.add(hmac.digest(derived(OLD, use), b"\x00\x00\x00\x06123456", "sha256"))
    digests |= {hmac.digest(OLD.encode(), b"\x00\x00\x00\x06123456", "sha256")}
    assert not any(ring.code_matches(one, "123456") for one in digests)
    for key in (derived(OLD, "code digest"), derived(OLD, "access token"), OLD.encode()[:32]):
        with pytest.raises(InvalidToken):
            Fernet(base64.urlsafe_b64encode(key)).decrypt(sealed.encode())
    assert len({derived(OLD, use) for use in USES}) == len(USES)


def test_tokens_are_not_signed_by_the_apps_own_secret(make_app: MakeApp) -> None:
    app = make_app(SECRET_KEY=OLD)
    OTPAuth(app)
    assert app.config["JWT_SECRET_KEY"] == derived(OLD, "access token").hex()
    other = make_app(SECRET_KEY=OLD, OTPAUTH_SECRET_KEY=NEW)
    OTPAuth(other)
    assert other.config["JWT_SECRET_KEY"] == derived(NEW, "access token").hex()


def test_what_is_sealed_and_changed_is_refused() -> None:
    ring = Keyring([OLD.encode()])
    sealed = ring.seal({"username": "ann"})
    for place in (1, len(sealed) // 2, len(sealed) - 5):
        changed = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        assert ring.unseal(changed) is None


# --- rotation -------------------------------------------------------------------------------------------------------


@contextmanager
def started(folder: Path, secret: str, *fallbacks: str, **config: Any) -> Generator[Site, None, None]:
    """Start the app anew on the same database, with these secrets."""
    with ExitStack() as stack:
        config = {"OTPAUTH_CREDENTIALS": BOTH, "SECRET_KEY_FALLBACKS": list(fallbacks), **config}
        url = f"sqlite:///{folder / 'shared.sqlite'}"
        app, auth, clock = make_site(folder, secret=secret, SQLALCHEMY_DATABASE_URI=url, **config)
        site = Site(app, auth, clock, stack.enter_context(capture_messages(app)))
        yield site
        with app.app_context():
            app.extensions["sqlalchemy"].engine.dispose()


def own(site: Site, token: str | None = None, cookies: dict[str, str] | None = None) -> set[int]:
    return set(site.knock(token, cookies, doors=GOOD).values())


@pytest.mark.parametrize("registration", ["confirm", "login-code"])
def test_a_pending_code_outlives_a_rotation(tmp_path: Path, registration: str) -> None:
    config = {"OTPAUTH_REGISTRATION": registration}
    with started(tmp_path, OLD, **config) as before:
        asked = before.post(before.app.test_client(), "/register", before.newcomer())
        proof = {"challenge_id": asked.json["challenge_id"], "otp": before.code}  # type: ignore[index]
    with started(tmp_path, NEWER, NEW, **config) as without:
        answer = without.post(without.app.test_client(), "/verify-otp", proof)
        assert (answer.status_code, answer.json["code"]) == (401, "otp_invalid")  # type: ignore[index]
    with started(tmp_path, NEW, OLD, **config) as after:
        assert after.post(after.app.test_client(), "/verify-otp", proof).status_code == 200
        again = after.post(after.app.test_client(), "/verify-otp", proof)
        assert again.json["code"] == "challenge_invalid"  # type: ignore[index]


def test_a_challenge_in_a_cookie_and_a_step_up_outlive_a_rotation(tmp_path: Path) -> None:
    with started(tmp_path, OLD) as before:
        client = before.app.test_client()
        before.enter(client)
        before.clock.advance(61)
        before.post(client, "/step-up")
        cookies, code = copied(client), before.code
    with started(tmp_path, NEW, OLD) as after:
        client = after.app.test_client()
        for name, value in cookies.items():
            client.set_cookie(name, value)
        after.clock.advance(61)
        assert after.post(client, "/verify-otp", {"otp": code}).status_code == 200
        assert own(after, cookies=copied(client)) == {200}


@pytest.mark.parametrize("key", ["SECRET_KEY", "OTPAUTH_SECRET_KEY"])
def test_open_sessions_outlive_a_rotation_and_end_with_the_key(tmp_path: Path, key: str) -> None:
    def start(secret: str, *fallbacks: str) -> Any:
        separate = {"OTPAUTH_SECRET_KEY": secret} if key == "OTPAUTH_SECRET_KEY" else {}
        return started(tmp_path, secret, *fallbacks, **separate)

    with start(OLD) as before:
        client = before.app.test_client()
        held = before.enter(client)
        cookies = copied(client, "session")
        assert own(before, held["access_token"]) == own(before, cookies=cookies) == {200}
    with start(NEWER, NEW) as gone:
        assert shut(gone.knock(held["access_token"]))
        assert shut(gone.knock(held["refresh_token"]))
        assert shut(gone.knock(cookies=cookies))
    with start(NEW, OLD) as after:
        assert own(after, held["access_token"]) == own(after, cookies=cookies) == {200}
        bearer = {"Authorization": f"Bearer {held['refresh_token']}"}
        renewed = after.app.test_client().post("/auth/refresh", headers=bearer).json
    with start(NEW) as later:
        assert own(later, renewed["access_token"]) == {200}  # type: ignore[index]
        assert shut(later.knock(held["access_token"]))
        assert shut(later.knock(cookies=cookies))


def test_a_rotation_ends_no_password_and_gives_no_failure_back(tmp_path: Path) -> None:
    with started(tmp_path, OLD) as before:
        fields = before.newcomer()
        client = before.app.test_client()
        before.prove(client, before.post(client, "/register", fields))
        login = {"identifier": fields["username"], "password": "a wrong password"}
        for _ in range(5):
            assert before.post(before.app.test_client(), "/login", login).status_code == 401
    with started(tmp_path, NEW) as after:
        right = {**login, "password": PASSWORD}
        assert after.post(after.app.test_client(), "/login", right).status_code == 429
        after.clock.advance(901)
        asked = after.post(after.app.test_client(), "/login", right)
        assert "user" in after.prove(after.app.test_client(), asked)


def test_a_known_client_outlives_a_rotation(tmp_path: Path) -> None:
    with started(tmp_path, OLD) as before:
        client = before.app.test_client()
        name = before.enter(client)["username"]
        cookie = copied(client)["otpauth_client"]
    with started(tmp_path, NEW) as after:
        client = after.app.test_client()
        client.set_cookie("otpauth_client", cookie)
        after.clock.advance(61)
        after.prove(client, after.post(client, "/login", {"identifier": name, "password": PASSWORD}))
        # Still known, so no other one was given.
        assert copied(client)["otpauth_client"] == cookie


# --- which secrets are refused --------------------------------------------------------------------------------------

WEAK: dict[str, Any] = {
    "none": None,
    "empty": "",
    "dev": "dev",
    "DEV with spaces": "  DEV  ",
    "changeme": "changeme",
    "fifteen letters": "0123456789abcde",
    "bytes": b"secret",
    "of Flask's tutorial": "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "of Flask's quickstart": b'_5#y2L"F4Q8z\n\xec]/',
    "of a mega-tutorial": "you-will-never-guess",
    "of a book": "hard to guess string",
    "of many a README": "your-secret-key-here",
    "change me in production": "change-me-in-production",
    "one letter over and over": "a" * 64,
    "digits over and over": "123" * 20,
    "zero bytes": b"\x00" * 32,
}  # fmt: skip


def production(make_app: MakeApp, **config: Any) -> Flask:
    return make_app(**{"TESTING": False, "OTPAUTH_BCRYPT_ROUNDS": 10, "OTPAUTH_SMS_COUNTRIES": ("IL",), **config})


@pytest.mark.parametrize("weak", sorted(WEAK))
@pytest.mark.parametrize("key", ["SECRET_KEY", "OTPAUTH_SECRET_KEY", "SECRET_KEY_FALLBACKS", "JWT_SECRET_KEY"])
def test_a_weak_secret_stops_a_production_start(make_app: MakeApp, key: str, weak: str) -> None:
    secret = WEAK[weak]
    if not secret and key in {"OTPAUTH_SECRET_KEY", "JWT_SECRET_KEY"}:
        return  # not set: the app's own is taken
    config = {key: [secret] if key == "SECRET_KEY_FALLBACKS" else secret}
    with pytest.raises(ConfigurationError, match=rf"\b{key} is (short or well known|missing)") as caught:
        OTPAuth(production(make_app, **config))
    shown = secret.decode("latin-1") if isinstance(secret, bytes) else secret or ""
    assert len(shown) < 16 or shown not in str(caught.value)


def test_without_a_key_for_the_session_cookie_the_start_is_stopped(make_app: MakeApp) -> None:
    config = {"SECRET_KEY": None, "OTPAUTH_SECRET_KEY": NEW}
    with pytest.raises(ConfigurationError, match="SECRET_KEY is missing"):
        OTPAuth(production(make_app, OTPAUTH_CREDENTIALS="session", **config))
    OTPAuth(production(make_app, **config))


@pytest.mark.parametrize("mode", ["debug", "testing", "demo"])
def test_a_weak_secret_is_let_through_where_nobody_has_an_account(make_app: MakeApp, mode: str) -> None:
    app = production(make_app, SECRET_KEY="dev", TESTING=mode == "testing", OTPAUTH_DEMO=mode == "demo")
    app.debug = mode == "debug"
    OTPAuth(app)


@pytest.mark.parametrize("mode", ["production", "debug", "testing"])
def test_a_missing_secret_is_let_through_nowhere(make_app: MakeApp, mode: str) -> None:
    app = production(make_app, SECRET_KEY=None, TESTING=mode == "testing")
    app.debug = mode == "debug"
    with pytest.raises(ConfigurationError, match="SECRET_KEY is missing"):
        OTPAuth(app)


@pytest.mark.parametrize("secret", [b"\xff" * 4 + bytes(range(28)), "6f1ed002ab5595859014ebf0951522d9", NEW])
def test_a_secret_of_random_digits_is_taken(make_app: MakeApp, secret: str | bytes) -> None:
    OTPAuth(production(make_app, SECRET_KEY=secret, SECRET_KEY_FALLBACKS=[secret]))


def test_what_the_session_cookie_lacks_is_told_at_the_start(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_SAMESITE": "Lax"}
    for config, told in (
        ({}, {"SECURE", "SAMESITE"}),
        ({**good, "SESSION_COOKIE_HTTPONLY": False}, {"HTTPONLY"}),
        ({**good, "SESSION_COOKIE_SAMESITE": "None"}, {"SAMESITE"}),
        (good, set()),
        ({"OTPAUTH_CREDENTIALS": "jwt"}, set()),
        ({"TESTING": True}, set()),
    ):  # fmt: skip
        app = production(make_app, **{"OTPAUTH_CREDENTIALS": "session", **config})
        OTPAuth(app, sms=lambda message: None)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "flask_otpauth"):
            app.test_client().get("/auth/health")
        assert {name for name in ("SECURE", "HTTPONLY", "SAMESITE") if f"SESSION_COOKIE_{name}" in caplog.text} == told
