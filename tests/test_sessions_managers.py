"""Whose ``JWTManager`` decides: ours, or the host's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import flask_jwt_extended as extended
import jwt
import pytest
from flask import Flask, request
from flask_jwt_extended import JWTManager

from flask_otpauth.errors import AuthenticationRequired, CrossOrigin
from flask_otpauth.sessions import checks_revocation
from flask_otpauth.types import instant
from tests.memory_sessions import SECRET, Desk, desk, forged, header, must_refuse, plain_views, read, said_by

HOST_KEY = "the host's own key for tokens, and long enough 01"


# --- our own manager ---


@pytest.fixture
def plain() -> Desk:
    """An app with a view under plain ``@jwt_required`` and our own manager."""
    one = desk(Flask("host"), SECRET_KEY=SECRET, TESTING=True)
    plain_views(one.app)
    return one


def test_plain_jwt_required_takes_our_access_tokens(plain: Desk) -> None:
    client = plain.app.test_client()
    answer = client.get("/plain", headers=plain.bearer("7"))
    assert (answer.status_code, answer.json) == (200, "7")
    assert client.get("/plain").status_code == 401


def test_plain_jwt_required_honours_revocation(plain: Desk) -> None:
    client = plain.app.test_client()
    given = plain.login()
    assert client.get("/plain", headers=header(given.access_token)).status_code == 200
    plain.sessions.end_all("1")
    assert client.get("/plain", headers=header(given.access_token)).status_code == 401


def test_plain_jwt_required_takes_neither_refresh_tokens_nor_forged_nor_expired_ones(plain: Desk) -> None:
    client = plain.app.test_client()
    assert client.get("/plain", headers=header(plain.login().refresh_token)).status_code == 422
    assert client.get("/plain", headers=header(forged(plain, {"aud": "x"}))).status_code == 422
    assert client.get("/plain", headers=header(forged(plain, {}, key="x" * 40))).status_code == 422
    assert client.get("/plain", headers={"Authorization": "Bearer x"}).status_code == 422
    expired = client.get("/plain", headers=header(forged(plain, {"exp": 1})))
    assert (expired.status_code, expired.json) == (401, {"msg": "Token has expired"})


def test_a_refreshed_token_is_not_fresh_to_plain_jwt_required(plain: Desk) -> None:
    client = plain.app.test_client()
    given = plain.login()
    assert client.get("/fresh", headers=header(given.access_token)).status_code == 200
    renewed, _ = plain.sessions.refresh(str(given.refresh_token))
    assert client.get("/fresh", headers=header(renewed.access_token)).status_code == 401


def test_a_token_that_the_host_makes_itself_is_the_hosts(plain: Desk) -> None:
    with plain.app.app_context():
        own = extended.create_access_token("robot")
    assert plain.app.test_client().get("/plain", headers=header(own)).status_code == 200
    must_refuse(plain, header(own))


def test_our_manager_leaves_the_hosts_own_use_of_pyjwt_alone() -> None:
    app = Flask("host")
    app.config.update(SECRET_KEY=SECRET, PROPAGATE_EXCEPTIONS=False)
    app.register_error_handler(jwt.DecodeError, lambda _: ("the host's answer", 418))
    desk(app)

    @app.get("/decode")
    def decode() -> str:
        return str(jwt.decode("x", SECRET, ["HS256"]))

    @app.get("/expired")
    def expired() -> str:
        return str(jwt.decode(jwt.encode({"exp": 1}, SECRET, "HS256"), SECRET, ["HS256"]))

    client = app.test_client()
    assert client.get("/decode").status_code == 418
    assert client.get("/expired").status_code == 500


def test_our_manager_takes_what_the_host_set() -> None:
    one = desk(
        JWT_SECRET_KEY=HOST_KEY,
        JWT_ENCODE_ISSUER="https://host",
        JWT_ENCODE_AUDIENCE=["a", "b"],
        JWT_HEADER_TYPE="JWT",
        JWT_HEADER_NAME="X-Token",
        JWT_ENCODE_NBF=False,
    )
    token = str(one.login().access_token)
    said = jwt.decode(token, HOST_KEY, ["HS256"], audience="a", issuer="https://host")
    assert "nbf" not in said
    assert read(one, {"X-Token": f"JWT {token}"}) is not None
    assert read(one, header(token)) is None


def test_a_header_without_a_scheme_holds_the_token_alone() -> None:
    one = desk(JWT_HEADER_TYPE="")
    token = str(one.login().access_token)
    assert read(one, {"Authorization": token}) is not None
    must_refuse(one, header(token))


def test_another_manager_made_later_is_noticed() -> None:
    one = desk()
    assert not one.tokens.displaced
    JWTManager(one.app)
    assert one.tokens.displaced


# --- a manager of the host ---


def _host(register: Callable[[JWTManager], object] | None = None, **config: Any) -> tuple[Desk, JWTManager]:
    app = Flask("host")
    app.config.update(SECRET_KEY=SECRET, TESTING=True, JWT_SECRET_KEY=HOST_KEY, **config)
    manager = JWTManager(app)
    if register is not None:
        register(manager)
    before = dict(app.config)
    handlers = repr(app.error_handler_spec)
    one = desk(app)
    assert app.extensions["flask-jwt-extended"] is manager
    assert dict(app.config) == before
    assert repr(app.error_handler_spec) == handlers
    plain_views(app)
    return one, manager


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"JWT_ENCODE_ISSUER": "host", "JWT_DECODE_ISSUER": "host"},
        {"JWT_DECODE_ISSUER": "host"},
        {"JWT_DECODE_ISSUER": ["host", "other"]},
        {"JWT_ENCODE_AUDIENCE": "host", "JWT_DECODE_AUDIENCE": "host"},
        {"JWT_DECODE_AUDIENCE": ["host", "other"]},
        {"JWT_ALGORITHM": "HS512", "JWT_SECRET_KEY": "k" * 64},
        {"JWT_IDENTITY_CLAIM": "identity"},
        {"JWT_HEADER_TYPE": "Token"},
        {"JWT_DECODE_LEEWAY": 10},
    ],
)
def test_plain_jwt_required_of_a_host_takes_our_tokens(config: dict[str, Any]) -> None:
    app = Flask("host")
    app.config.update(SECRET_KEY=SECRET, TESTING=True, JWT_SECRET_KEY=HOST_KEY)
    app.config.update(config)
    JWTManager(app)
    one = desk(app)
    plain_views(app)
    token = one.login("7").access_token
    said = said_by(token)
    sent = {"Authorization": f"{app.config['JWT_HEADER_TYPE']} {token}"}
    answer = app.test_client().get("/plain", headers=sent)
    assert (answer.status_code, answer.json) == (200, "7")
    assert read(one, sent) is not None
    assert ("aud" in said) == (bool(config.get("JWT_DECODE_AUDIENCE")))
    assert ("iss" in said) == (bool(config.get("JWT_DECODE_ISSUER")))


def test_the_list_of_algorithms_of_a_host_stays_as_it_was() -> None:
    algorithms = ["HS384"]
    one, _ = _host(JWT_DECODE_ALGORITHMS=algorithms)
    assert read(one, one.bearer()) is not None
    assert algorithms == ["HS384"]


def test_the_keys_of_our_own_are_no_good_under_a_manager_of_the_host() -> None:
    one, _ = _host()
    must_refuse(one, header(forged(one, {}, key=desk().app.config["JWT_SECRET_KEY"])))


@pytest.mark.parametrize("loader", ["decode_key", "verification", "blocklist", "lookup"])
def test_a_loader_of_the_host_that_decides_is_asked(loader: str) -> None:
    asked: list[str] = []
    good = True

    def register(manager: Any) -> None:
        def answer(yes: Any, no: Any) -> Any:
            asked.append(loader)
            return yes if good else no

        if loader == "decode_key":
            manager.decode_key_loader(lambda _h, _p: answer(HOST_KEY, "another key, and long enough 01234567"))
        elif loader == "verification":
            manager.token_verification_loader(lambda _h, _p: answer(True, False))
        elif loader == "blocklist":
            manager.token_in_blocklist_loader(lambda _h, _p: answer(False, True))
        else:
            manager.user_lookup_loader(lambda _h, _p: answer("somebody", None))

    one, _ = _host(register)
    given = one.login()
    assert read(one, header(given.access_token)) is not None
    assert asked
    good = False
    must_refuse(one, header(given.access_token))
    with one.app.app_context(), pytest.raises(AuthenticationRequired):
        one.sessions.refresh(str(given.refresh_token))
    good = True
    with one.app.app_context():
        one.sessions.refresh(str(given.refresh_token))
    one.sessions.end_all("1")
    must_refuse(one, header(given.access_token))


def test_malformed_and_refresh_tokens_are_refused_where_the_host_decides() -> None:
    one, _ = _host(lambda manager: manager.token_verification_loader(lambda _h, _p: True))
    for token in ("a.b.c", one.login().refresh_token, forged(one, {"sid": None}), forged(one, {"exp": 1})):
        must_refuse(one, header(token))
    with one.app.app_context(), pytest.raises(AuthenticationRequired):
        one.sessions.refresh("a.b.c")
    options = one.app.test_request_context("/", method="OPTIONS", headers=one.bearer())
    with options, pytest.raises(AuthenticationRequired):
        one.sessions.current(cast("Any", request)._get_current_object(), instant(one.clock()))


def test_a_cookie_without_its_double_submit_value_is_refused_where_the_host_decides() -> None:
    one, _ = _host(
        lambda manager: manager.token_verification_loader(lambda _h, _p: True),
        JWT_TOKEN_LOCATION=["headers", "cookies"],
    )
    cookie = {"Cookie": f"access_token_cookie={one.login().access_token}"}
    assert read(one, cookie) is not None
    with pytest.raises(CrossOrigin):
        read(one, cookie, method="POST")


def test_our_own_check_of_revocation_registered_by_the_host_is_not_asked_twice() -> None:
    one, manager = _host()

    class Extension:
        @checks_revocation
        def token_revoked(self, head: dict[str, Any], said: dict[str, Any]) -> bool:
            return one.sessions.token_revoked(head, said)

    manager.token_in_blocklist_loader(Extension().token_revoked)
    given = one.login()
    one.store.reads = 0
    assert read(one, header(given.access_token)) is not None
    assert one.store.reads == 1
    client = one.app.test_client()
    assert client.get("/plain", headers=header(given.access_token)).status_code == 200
    one.sessions.end_all("1")
    assert client.get("/plain", headers=header(given.access_token)).status_code == 401


def test_loaders_of_the_host_have_their_say_in_what_tokens_hold() -> None:
    def register(manager: JWTManager) -> None:
        manager.user_identity_loader(lambda person: person.username)
        manager.additional_claims_loader(lambda person: {"tenant": person.username, "sid": "forged"})
        manager.additional_headers_loader(lambda _: {"kid": "1"})

    one, _ = _host(register)
    given = one.login("7")
    said = said_by(given.access_token)
    assert (said["sub"], said["tenant"], said["type"], said["fresh"]) == ("user-7", "user-7", "access", True)
    assert jwt.get_unverified_header(str(given.access_token))["kid"] == "1"
    assert said["sid"] != "forged"
    session = read(one, header(given.access_token))
    assert session is not None
    assert session.user_id == "7"
    assert one.app.test_client().get("/plain", headers=header(given.access_token)).json == "user-7"
    with one.app.app_context():
        renewed, user_id = one.sessions.refresh(str(given.refresh_token))
    assert user_id == "7"
    assert read(one, header(renewed.access_token)) is not None


def test_an_identity_claim_of_another_name_keeps_our_sub_beside_it() -> None:
    one, _ = _host(
        lambda manager: manager.user_identity_loader(lambda person: person.username),
        JWT_IDENTITY_CLAIM="who",
        JWT_ENCODE_NBF=False,
    )
    given = one.login("7")
    said = said_by(given.access_token)
    assert (said["sub"], said["who"]) == ("7", "user-7")
    assert "nbf" not in said
    assert read(one, header(given.access_token)) is not None


def test_an_asymmetric_algorithm_of_the_host_signs_and_verifies() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    one = desk(JWT_ALGORITHM="ES256", JWT_PRIVATE_KEY=private, JWT_PUBLIC_KEY=public)
    assert read(one, one.bearer()) is not None
    payload = said_by(one.login().access_token)
    must_refuse(one, header(jwt.encode(payload, one.app.config["JWT_SECRET_KEY"], "HS256")))
