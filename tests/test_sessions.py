"""Sessions: opened, raised, refreshed, read from a cookie, remembered and ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import pytest
from flask import request

from flask_otpauth.crypto import digest
from flask_otpauth.errors import AuthenticationRequired, InsufficientAuthentication
from flask_otpauth.types import Caller, Credentials, UserState, instant
from tests.memory_sessions import by_cookie, by_token, desk, header, said_by, some_id, step_up

# --- handing out ---


def test_a_session_is_one_row_for_token_and_cookie() -> None:
    one = desk()
    given = one.login(kinds=("jwt", "session"))
    assert len(one.store.rows) == 1
    token, cookie = by_token(one, given), by_cookie(one, given.cookie)
    assert token is not None
    assert cookie is not None
    assert (token.id, token.key, cookie.via, cookie.sid) == (cookie.id, cookie.key, "cookie", None)
    assert one.sessions.end(token.key)
    assert by_cookie(one, given.cookie) is None
    with pytest.raises(AuthenticationRequired):
        by_token(one, given)


def test_only_the_kinds_of_the_settings_are_handed_out() -> None:
    one = desk(OTPAUTH_CREDENTIALS=("session",))
    given = one.sessions.open(one.users.person("1"), amr=("otp",), code=True, caller=Caller())
    assert (given.access_token, given.refresh_token) == (None, None)
    assert given.cookie is not None
    assert given.expires_in == one.settings.session_lifetime
    row = next(iter(one.store.rows.values())).new
    assert row.refresh is None
    assert row.cookie == digest(given.cookie)
    assert given.cookie not in repr(given)


def test_the_ends_of_a_session_follow_the_longest_of_its_credentials() -> None:
    one = desk(
        OTPAUTH_SESSION_LIFETIME=100, OTPAUTH_REFRESH_LIFETIME=200, OTPAUTH_SESSION_IDLE=80, OTPAUTH_REFRESH_IDLE=70
    )
    now = instant(one.clock())
    found = []
    for kinds in (("jwt",), ("session",), ("jwt", "session")):
        one.store.rows.clear()
        one.login(kinds=kinds)
        row = next(iter(one.store.rows.values())).new
        found.append(((row.expires_at - now) // 1000, (row.idle_at - now) // 1000))
    assert found == [(200, 70), (100, 80), (200, 80)]


def test_each_credential_of_a_session_has_its_own_end() -> None:
    one = desk(
        OTPAUTH_SESSION_LIFETIME=1000,
        OTPAUTH_REFRESH_LIFETIME=9000,
        OTPAUTH_SESSION_IDLE=100,
        OTPAUTH_REFRESH_IDLE=3000,
    )
    given = one.login(kinds=("jwt", "session"))
    one.clock.advance(99)
    assert by_cookie(one, given.cookie) is not None
    one.clock.advance(98)
    assert by_cookie(one, given.cookie) is not None
    one.clock.advance(101)
    assert by_cookie(one, given.cookie) is None
    assert given.refresh_token is not None
    renewed, _ = one.sessions.refresh(given.refresh_token)
    assert by_cookie(one, given.cookie) is None
    one.clock.advance(900)
    assert renewed.refresh_token is not None
    one.sessions.refresh(renewed.refresh_token)

    other = desk(OTPAUTH_SESSION_IDLE=900, OTPAUTH_REFRESH_IDLE=100, OTPAUTH_SESSION_LIFETIME=9000)
    given = other.login(kinds=("jwt", "session"))
    other.clock.advance(99)
    renewed, _ = other.sessions.refresh(str(given.refresh_token))
    for _ in range(2):
        other.clock.advance(50)
        assert by_cookie(other, given.cookie) is not None
    assert other.store.touches == 2
    with pytest.raises(AuthenticationRequired):
        other.sessions.refresh(str(renewed.refresh_token))


@pytest.mark.parametrize(("session", "refresh"), [(100, 9000), (9000, 100)])
def test_each_credential_tells_its_own_end(session: int, refresh: int) -> None:
    one = desk(OTPAUTH_SESSION_LIFETIME=session, OTPAUTH_REFRESH_LIFETIME=refresh)
    began = one.clock()
    given = one.login(kinds=("jwt", "session"))
    for read, lifetime in ((by_cookie(one, given.cookie), session), (by_token(one, given), refresh)):
        assert read is not None
        assert abs((read.expires_at - began).total_seconds() - lifetime) < 0.001


def test_a_session_without_the_code_that_the_policy_demands_is_not_opened() -> None:
    one = desk()
    with pytest.raises(InsufficientAuthentication):
        one.login(amr=("pwd",), code=False)
    assert not one.store.rows
    mild = desk(OTPAUTH_SECOND_FACTOR="opt-in")
    mild.login("1", amr=("pwd",), code=False)
    mild.users.person("2", mfa_enabled=True)
    with pytest.raises(InsufficientAuthentication):
        mild.login("2", amr=("pwd",), code=False)
    desk(OTPAUTH_FIRST_FACTOR="otp").login(amr=("oauth",), code=False)
    desk(OTPAUTH_SECOND_FACTOR=lambda _: True).login(amr=("pwd",), code=False)


def test_a_password_and_a_code_are_two_factors() -> None:
    one = desk()
    assert said_by(one.login(amr=("pwd", "otp", "otp")).access_token)["amr"] == ["pwd", "otp", "mfa"]
    assert said_by(one.login(amr=("pwd", "otp", "mfa")).access_token)["amr"] == ["pwd", "otp", "mfa"]
    assert said_by(one.login(amr=("otp", "sms")).access_token)["amr"] == ["otp", "sms"]


def test_what_a_user_recognises_a_session_by_is_short_and_printable() -> None:
    one = desk()
    caller = Caller(user_agent="A\x00gent\n" + "x" * 999)
    one.sessions.open(one.users.person("1"), amr=("otp",), code=True, caller=caller)
    assert one.sessions.list("1")[0].client == "Agent" + "x" * 115


# --- step-up ---


def test_a_step_up_gives_new_credentials_of_the_same_session() -> None:
    one = desk(OTPAUTH_SECOND_FACTOR="never")
    given = one.login(amr=("pwd",), code=False, kinds=("jwt", "session"))
    held = by_token(one, given)
    assert held is not None
    one.clock.advance(30)
    raised = step_up(one, held)
    assert isinstance(raised, Credentials)
    assert said_by(raised.access_token)["sid"] == said_by(given.access_token)["sid"]
    after = by_token(one, raised)
    assert after is not None
    assert (after.code_at, after.auth_time, after.amr, after.fresh) == (
        one.clock().replace(microsecond=0),
        one.clock().replace(microsecond=0),
        ("pwd", "otp", "mfa"),
        True,
    )
    # The earlier credentials: the cookie and the refresh token are void, the access token proves what it proved.
    assert by_cookie(one, given.cookie) is None
    assert by_cookie(one, raised.cookie) is not None
    before = by_token(one, given)
    assert before is not None
    assert (before.code_at, before.amr) == (None, ("pwd",))
    with pytest.raises(AuthenticationRequired):
        one.sessions.refresh(str(given.refresh_token))


def test_a_step_up_by_cookie_gives_a_cookie_and_no_tokens() -> None:
    one = desk()
    given = one.login(kinds=("session",))
    held = by_cookie(one, given.cookie)
    assert held is not None
    raised = step_up(one, held)
    assert (raised.access_token, raised.refresh_token) == (None, None)
    assert raised.cookie not in {None, given.cookie}


def test_a_step_up_by_password_keeps_the_time_of_the_code_that_the_same_credential_proved() -> None:
    one = desk()
    given = one.login()
    held = by_token(one, given)
    assert held is not None
    one.clock.advance(60)
    kept = by_token(one, step_up(one, held, code=False, amr=(*held.amr, "pwd"), caller=Caller(session=held)))
    assert kept is not None
    assert kept.code_at == held.code_at
    assert kept.auth_time > held.auth_time
    unknown = by_token(one, step_up(one, held, code=False, amr=("pwd",)))
    assert unknown is not None
    assert unknown.code_at is None


def test_a_step_up_in_a_session_that_is_over_or_anothers_gives_nothing() -> None:
    one = desk()
    held = by_token(one, one.login("1"))
    assert held is not None
    one.users.person("2")
    assert (
        one.sessions.raise_assurance(
            held.sid, held.key, one.users.accounts["2"], amr=("otp",), code=True, caller=Caller()
        )
        is None
    )
    wrong = one.sessions.raise_assurance(
        some_id(), held.key, one.users.accounts["1"], amr=("otp",), code=True, caller=Caller(), kinds=("jwt",)
    )
    assert wrong is not None
    assert wrong.access_token is None
    one.sessions.end(held.key)
    assert step_up(one, held) is None


def test_a_step_up_that_loses_against_a_logout_gives_nothing() -> None:
    one = desk()
    held = by_token(one, one.login())
    assert held is not None
    real = one.store.by_id

    def ends_meanwhile(key: bytes, now: int) -> Any:
        found = real(key, now)
        one.store.end(key, now)
        return found

    one.store.by_id = ends_meanwhile  # type: ignore[method-assign,assignment]
    assert step_up(one, held) is None


def test_a_step_up_doesnt_prolong_the_family_of_refresh_tokens() -> None:
    one = desk()
    given = one.login()
    held = by_token(one, given)
    assert held is not None
    one.clock.advance(600)
    raised = step_up(one, held)
    assert said_by(raised.refresh_token)["exp"] == said_by(given.refresh_token)["exp"]


# --- refresh ---


def test_a_refreshed_token_says_what_the_old_one_said_and_is_not_fresh() -> None:
    one = desk()
    given = one.login(amr=("pwd", "otp", "sms"))
    held = by_token(one, given)
    one.clock.advance(1000)
    renewed, user_id = one.sessions.refresh(str(given.refresh_token))
    session = by_token(one, renewed)
    assert session is not None
    assert held is not None
    assert user_id == "1"
    assert (session.fresh, session.auth_time, session.amr, session.code_at) == (
        False,
        held.auth_time,
        held.amr,
        held.code_at,
    )
    assert said_by(renewed.refresh_token)["exp"] == said_by(given.refresh_token)["exp"]
    assert renewed.cookie is None
    assert renewed.expires_in == 900


def test_a_refreshed_token_says_nothing_that_another_credential_proved() -> None:
    one = desk(OTPAUTH_SECOND_FACTOR="never")
    given = one.login(amr=("pwd",), code=False)
    row = next(iter(one.store.rows.values()))
    one.clock.advance(60)
    now = instant(one.clock())
    row.new = replace(row.new, amr=("pwd", "otp", "mfa"), auth_time=now, code_at=now)
    session = by_token(one, one.sessions.refresh(str(given.refresh_token))[0])
    assert session is not None
    assert (session.amr, session.code_at) == (("pwd",), None)
    assert instant(session.auth_time) < now - 50_000


def test_a_refresh_is_won_by_exactly_one_of_many() -> None:
    one = desk()
    token = str(one.login().refresh_token)

    def attempt(_: int) -> bool:
        try:
            one.sessions.refresh(token)
        except AuthenticationRequired:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(64))) == 1


@pytest.mark.parametrize("state", [UserState.DISABLED, UserState.MISSING])
@pytest.mark.parametrize("presented", ["refresh token", "access token", "cookie"])
def test_the_session_of_a_user_who_is_gone_or_disabled_ends_for_good(state: UserState, presented: str) -> None:
    one = desk()
    given = one.login(kinds=("jwt", "session"))
    one.store.states["1"] = state
    if presented == "cookie":
        assert by_cookie(one, given.cookie) is None
    else:
        with pytest.raises(AuthenticationRequired):
            _ = by_token(one, given) if presented == "access token" else one.sessions.refresh(str(given.refresh_token))
    one.store.states["1"] = UserState.ACTIVE
    assert by_cookie(one, given.cookie) is None
    with pytest.raises(AuthenticationRequired):
        by_token(one, given)
    with pytest.raises(AuthenticationRequired):
        one.sessions.refresh(str(given.refresh_token))


def test_users_who_live_elsewhere_are_asked_for() -> None:
    one = desk()
    given = one.login()
    one.store.states["1"] = UserState.UNREAD
    assert by_token(one, given) is not None
    assert one.users.asked_active == 1
    one.sessions.refresh(str(given.refresh_token))
    one.users.accounts.clear()
    with pytest.raises(AuthenticationRequired):
        by_token(one, given)


def test_an_idle_family_ends() -> None:
    one = desk(OTPAUTH_REFRESH_IDLE=100)
    given = one.login()
    one.clock.advance(90)
    renewed, _ = one.sessions.refresh(str(given.refresh_token))
    one.clock.advance(90)
    renewed, _ = one.sessions.refresh(str(renewed.refresh_token))
    one.clock.advance(101)
    with pytest.raises(AuthenticationRequired):
        one.sessions.refresh(str(renewed.refresh_token))


def test_an_access_token_refreshes_nothing() -> None:
    one = desk()
    for token in (str(one.login().access_token), "", "x", "a.b.c", "\ud800.b.c"):
        with pytest.raises(AuthenticationRequired):
            one.sessions.refresh(token)


def test_the_refresh_token_is_taken_from_the_header() -> None:
    one = desk()
    token = one.login().refresh_token
    with one.app.test_request_context("/", headers=header(token)):
        assert one.sessions.bearer(cast("Any", request)._get_current_object()) == token
    with one.app.test_request_context("/"):
        assert one.sessions.bearer(cast("Any", request)._get_current_object()) is None
