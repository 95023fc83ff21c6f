"""Tokens: what they say, which of them are good, and whose manager decides."""

from __future__ import annotations

import time
from typing import Any, cast

import jwt
import pytest
from flask import request

from flask_otpauth.errors import AuthenticationRequired, CrossOrigin
from flask_otpauth.sessions import TokenReused
from flask_otpauth.sessions.memo import Memo
from flask_otpauth.types import instant
from tests.memory_sessions import SECRET, Desk, desk, forged, header, must_refuse, read, said_by

# --- what they say ---


def test_an_access_token_says_who_when_and_how() -> None:
    one = desk(OTPAUTH_APP_NAME="bank")
    said = said_by(one.login("7", amr=("pwd", "otp", "sms")).access_token)
    now = int(one.clock().timestamp())
    assert {name: said[name] for name in ("sub", "iss", "aud", "type", "fresh", "amr")} == {
        "sub": "7",
        "iss": "bank",
        "aud": "bank",
        "type": "access",
        "fresh": True,
        "amr": ["pwd", "otp", "sms", "mfa"],
    }
    assert (said["auth_time"], said["iat"], said["nbf"], said["otp_time"]) == (now, now, now, now)
    assert said["exp"] == now + 900
    assert len(said["sid"]) == 43
    assert "csrf" not in said


def test_a_login_without_a_code_says_no_time_of_one() -> None:
    one = desk(OTPAUTH_SECOND_FACTOR="never")
    said = said_by(one.login(amr=("pwd",), code=False).access_token)
    assert "otp_time" not in said
    assert said["amr"] == ["pwd"]
    session = read(one, one.bearer(amr=("pwd",), code=False))
    assert session is not None
    assert session.code_at is None


def test_a_refresh_token_carries_the_id_that_is_stored_as_a_digest() -> None:
    one = desk()
    given = one.login()
    said = said_by(given.refresh_token)
    assert (said["type"], said["fresh"], len(said["jti"])) == ("refresh", False, 43)
    stored = repr(one.store.rows)
    assert said["jti"] not in stored
    assert said["sid"] not in stored
    assert said["exp"] == int(one.clock().timestamp()) + 30 * 86400


def test_two_tokens_never_share_an_id() -> None:
    one = desk()
    said = [said_by(one.login().access_token)["jti"] for _ in range(50)]
    assert len(set(said)) == 50


# --- which are good ---


def test_a_good_token_names_its_session() -> None:
    one = desk()
    session = read(one, one.bearer("7"))
    assert session is not None
    assert (session.user_id, session.via, session.fresh, session.amr) == ("7", "jwt", True, ("pwd", "otp", "mfa"))
    assert session.sid is not None
    assert session.sid not in repr(session)


def test_nothing_presented_is_nobody() -> None:
    assert read(desk()) is None


def test_forged_tokens_are_refused() -> None:
    one = desk()
    other = desk(OTPAUTH_APP_NAME="another")
    assert read(one, header(forged(one, {}))) is not None
    for token in (
        forged(one, {}, key="", algorithm="none"),
        forged(one, {}, algorithm="HS512"),
        forged(one, {}, algorithm="HS384"),
        forged(one, {}, key="another key that is long enough for SHA-256 0"),
        forged(one, {"aud": "another"}),
        forged(one, {"aud": None}),
        forged(one, {"aud": ["x"]}),
        forged(one, {"iss": "another"}),
        forged(one, {"iss": None}),
        forged(one, {"type": "refresh"}),
        forged(one, {"type": None}),
        forged(one, {"sid": None}),
        forged(one, {"sid": 7}),
        forged(one, {"sid": ""}),
        forged(one, {"sid": "x" * 43}),
        forged(one, {"jti": None}),
        forged(one, {"sub": None}),
        forged(one, {"sub": 1}),
        forged(one, {"sub": "2"}),
        forged(one, {"exp": None}),
        forged(one, {"exp": "tomorrow"}),
        forged(one, {"exp": 0}),
        forged(one, {"exp": True}),
        forged(one, {"auth_time": None}),
        forged(one, {"amr": "pwd"}),
        forged(one, {"nbf": int(time.time()) + 3600}),
        forged(one, {"iat": int(time.time()) + 3600}),
        str(one.login().refresh_token),
        str(other.login().access_token),
    ):
        must_refuse(one, header(token))


def test_a_header_of_the_token_chooses_nothing() -> None:
    one = desk()
    payload = said_by(one.login().access_token)
    key = one.app.config["JWT_SECRET_KEY"]
    assert read(one, header(jwt.encode(payload, key, "HS256", headers={"kid": "x", "jku": "https://x"}))) is not None
    must_refuse(one, header(jwt.encode(payload, key, "HS256", headers={"crit": ["exp"], "exp": 1})))


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c d",
        "Bearer a.b",
        "Bearer a.b.c,",
        "Bearer a.b.c, Bearer a.b.c",
        "Basic eDp5, Bearer a.b.c",
        "Bearer a.b.é",
        "Bearer ..",
        "Bearer " + "a" * 9000 + ".b.c",
        "Bearer\ta.b.c",
    ],
)
def test_a_malformed_header_is_refused_even_beside_a_good_cookie(value: str) -> None:
    one = desk(OTPAUTH_CREDENTIALS=("session",))
    mark = one.login(kinds=("session",)).cookie
    with one.app.test_request_context("/", headers={"Authorization": value}):
        from flask import session as held

        held["_otpauth"] = f"s.{mark}"
        with pytest.raises(AuthenticationRequired) as caught:
            one.sessions.current(cast("Any", request)._get_current_object(), instant(one.clock()))
    assert caught.value.token_rejected


def test_two_authorization_headers_are_refused() -> None:
    one = desk()
    good = one.bearer()["Authorization"]
    twice = [("Authorization", good), ("Authorization", good)]
    with one.app.test_request_context("/", headers=twice), pytest.raises(AuthenticationRequired):
        one.sessions.current(cast("Any", request)._get_current_object(), instant(one.clock()))


def test_another_scheme_is_not_ours() -> None:
    one = desk()
    assert read(one, {"Authorization": "Basic eDp5"}) is None
    assert read(one, {"Authorization": 'Digest username="x", realm="y"'}) is None


def test_the_scheme_has_no_case() -> None:
    one = desk()
    assert read(one, {"Authorization": f"bearer {one.login().access_token}"}) is not None


@pytest.mark.parametrize("locations", [["headers"], ["headers", "query_string", "json"]])
def test_a_token_in_the_query_string_or_the_body_opens_nothing(locations: list[str]) -> None:
    one = desk(JWT_TOKEN_LOCATION=locations)
    token = one.login().access_token
    assert read(one, path=f"/?jwt={token}&access_token={token}") is None
    assert read(one, method="POST", json={"access_token": token, "jwt": token}) is None


def test_a_token_ends_at_its_time_by_the_clock_of_the_app() -> None:
    one = desk()
    bearer = one.bearer()
    assert read(one, bearer) is not None
    one.clock.advance(899)
    assert read(one, bearer) is not None
    one.clock.advance(2)
    must_refuse(one, bearer)


def test_a_remembered_token_still_ends_with_its_session() -> None:
    one = desk()
    bearer = one.bearer()
    session = read(one, bearer)
    assert session is not None
    assert one.sessions.end(session.key)
    must_refuse(one, bearer)
    assert not one.sessions.end(session.key)


def test_an_earlier_secret_keeps_its_tokens_good() -> None:
    old = desk()
    given = old.login()
    new = desk(secrets_=(b"a later secret, and long enough too: 01234", SECRET.encode()))
    new.store, new.sessions._store = old.store, old.store
    new.users.person("1")
    assert read(new, header(given.access_token)) is not None
    renewed, _ = new.sessions.refresh(str(given.refresh_token))
    assert read(new, header(renewed.access_token)) is not None
    other = desk(secrets_=(b"a later secret, and long enough too: 01234",))
    other.sessions._store = old.store
    must_refuse(other, header(given.access_token))


def test_a_changed_config_is_noticed_and_what_was_accepted_before_is_looked_at_again() -> None:
    one = desk(JWT_DECODE_ALGORITHMS=["HS256"])
    bearer = one.bearer()
    assert read(one, bearer) is not None
    one.app.config["JWT_DECODE_AUDIENCE"] = "another"
    must_refuse(one, bearer)
    one.app.config["JWT_DECODE_AUDIENCE"] = None
    assert read(one, bearer) is not None
    one.app.config["JWT_DECODE_ALGORITHMS"].append("HS512")
    assert read(one, header(forged(one, {}, algorithm="HS512"))) is not None


def test_the_memo_of_tokens_is_bounded() -> None:
    memo: Memo[int, int] = Memo(3)
    for number in range(10):
        memo.put(number, number)
    memo.put(9, 10)
    assert len(memo) == 3
    assert (memo.get(9), memo.get(6)) == (10, None)


# --- tokens in cookies ---


def _cookie_desk(**config: Any) -> Desk:
    return desk(JWT_TOKEN_LOCATION=["headers", "cookies"], **config)


def test_a_token_in_a_cookie_counts_only_where_the_config_says_so() -> None:
    one, other = _cookie_desk(), desk()
    cookie = {"Cookie": f"access_token_cookie={one.login().access_token}"}
    assert read(one, cookie) is not None
    assert read(other, {"Cookie": f"access_token_cookie={other.login().access_token}"}) is None


def test_a_bad_header_is_refused_beside_a_good_token_in_a_cookie() -> None:
    one = _cookie_desk()
    must_refuse(one, {"Cookie": f"access_token_cookie={one.login().access_token}", **header("a.b.c")})


def test_a_token_in_a_cookie_needs_its_double_submit_value() -> None:
    one = _cookie_desk()
    token = one.login().access_token
    cookie = {"Cookie": f"access_token_cookie={token}"}
    for extra in ({}, {"X-CSRF-TOKEN": "wrong"}, {"X-CSRF-TOKEN": "é"}):
        with pytest.raises(CrossOrigin):
            read(one, {**cookie, **extra}, method="POST")
    assert read(one, {**cookie, "X-CSRF-TOKEN": said_by(token)["csrf"]}, method="POST") is not None


def test_the_double_submit_value_may_come_in_a_form_where_the_config_says_so() -> None:
    one = _cookie_desk(JWT_CSRF_CHECK_FORM=True)
    token = one.login().access_token
    cookie = {"Cookie": f"access_token_cookie={token}"}
    assert read(one, cookie, method="POST", data={"csrf_token": said_by(token)["csrf"]}) is not None
    with pytest.raises(CrossOrigin):
        read(one, cookie, method="POST", data={"csrf_token": "x"})


def test_a_token_in_a_cookie_from_another_site_is_refused() -> None:
    one = _cookie_desk(JWT_COOKIE_CSRF_PROTECT=False)
    cookie = {"Cookie": f"access_token_cookie={one.login().access_token}"}
    with pytest.raises(CrossOrigin):
        read(one, {**cookie, "Sec-Fetch-Site": "cross-site"}, method="POST")
    assert read(one, {**cookie, "Sec-Fetch-Site": "cross-site"}) is not None


# --- exchange ---


def test_reuse_is_told_apart_from_a_repetition() -> None:
    one = desk()
    given = one.login()
    one.sessions.refresh(str(given.refresh_token))
    with pytest.raises(AuthenticationRequired) as repeated:
        one.sessions.refresh(str(given.refresh_token))
    assert not isinstance(repeated.value, TokenReused)
    one.clock.advance(11)
    with pytest.raises(TokenReused) as reused:
        one.sessions.refresh(str(given.refresh_token))
    assert reused.value.user_id == "1"
    must_refuse(one, header(given.access_token))
