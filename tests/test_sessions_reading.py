"""Sessions read, remembered and ended; the cookie, and where it may act from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from flask import Flask, request
from flask import session as flask_session
from flask.sessions import SecureCookieSessionInterface

from flask_otpauth.errors import AuthenticationRequired, CrossOrigin, ServiceUnavailable, UncommittedWrite
from flask_otpauth.sessions import check_origin
from flask_otpauth.sessions.cookie import Marks, clear, put_challenge, put_session, read_marks
from flask_otpauth.sessions.memo import Rows
from flask_otpauth.types import Instant, Session, SessionRecord, UserState, instant
from tests.memory_sessions import Desk, by_cookie, by_token, desk, header, said_by, some_id, step_up

# --- reading ---


def test_a_store_that_is_away_lets_nobody_in() -> None:
    one = desk()
    given = one.login(kinds=("jwt", "session"))
    one.store.down = True
    with pytest.raises(ServiceUnavailable):
        by_token(one, given)
    with pytest.raises(ServiceUnavailable):
        by_cookie(one, given.cookie)


def test_the_login_of_a_request_is_read_once_and_never_given_to_another_request() -> None:
    one = desk()
    given = one.login()
    one.store.reads = 0
    now = instant(one.clock())
    with one.app.test_request_context("/", headers=header(given.access_token)):
        real = cast("Any", request)._get_current_object()
        assert one.sessions.current(real, now) is one.sessions.current(real, now)
        assert one.store.reads == 1
        # The same environ in another request object, as middleware may make it.
        other = one.app.request_class(dict(real.environ))
        del other.environ["HTTP_AUTHORIZATION"]
        assert one.sessions.current(other, now) is None
        # Flask's proxy stands for the same request.
        assert one.sessions.current(request, now) is one.sessions.current(real, now)
        assert one.store.reads == 1
        one.sessions.end_all("1")
        one.sessions.forget(request)
        with pytest.raises(AuthenticationRequired):
            one.sessions.current(real, now)


def test_two_requests_within_one_app_context_never_share_a_login() -> None:
    one = desk()
    first, second = one.login("1"), one.login("2")
    with one.app.app_context():
        found = [by_token(one, given) for given in (first, second)]
        assert by_cookie(one, some_id()) is None
    assert [session.user_id for session in found if session] == ["1", "2"]


def test_a_used_cookie_moves_the_idle_end_but_not_at_each_request() -> None:
    one = desk(OTPAUTH_SESSION_IDLE=100)
    mark = one.login(kinds=("session",)).cookie
    for _ in range(30):
        one.clock.advance(4)
        assert by_cookie(one, mark) is not None
    assert one.store.touches == 15
    one.clock.advance(101)
    assert by_cookie(one, mark) is None


def test_a_session_whose_absolute_end_comes_first_isnt_written_at_each_request() -> None:
    one = desk(OTPAUTH_SESSION_LIFETIME=100, OTPAUTH_SESSION_IDLE=1000)
    mark = one.login(kinds=("session",)).cookie
    for _ in range(9):
        one.clock.advance(10)
        assert by_cookie(one, mark) is not None
    assert one.store.touches == 1


def test_use_of_the_cookie_shortens_no_longer_life_of_the_tokens() -> None:
    one = desk(OTPAUTH_SESSION_IDLE=100, OTPAUTH_REFRESH_IDLE=1000)
    given = one.login(kinds=("jwt", "session"))
    one.clock.advance(50)
    assert by_cookie(one, given.cookie) is not None
    assert one.store.touches == 1
    one.clock.advance(800)
    assert by_token(one, given) is not None


@pytest.mark.parametrize("why", [ServiceUnavailable, UncommittedWrite])
def test_an_idle_end_that_cant_be_moved_refuses_nobody(why: type[Exception]) -> None:
    one = desk(OTPAUTH_SESSION_IDLE=100)
    mark = one.login(kinds=("session",)).cookie
    one.clock.advance(50)

    def away(*_: object) -> None:
        raise why

    one.store.touch = away  # type: ignore[method-assign,assignment]
    assert by_cookie(one, mark) is not None


@pytest.mark.parametrize("why", [ServiceUnavailable, UncommittedWrite])
def test_a_login_of_nobody_that_cant_be_ended_is_refused_all_the_same(why: type[Exception]) -> None:
    one = desk()
    given = one.login(kinds=("jwt", "session"))
    one.store.states["1"] = UserState.DISABLED

    def away(*_: object) -> None:
        raise why

    one.store.end = away  # type: ignore[method-assign,assignment]
    assert by_cookie(one, given.cookie) is None
    with pytest.raises(AuthenticationRequired):
        by_token(one, given)


@pytest.mark.parametrize("kinds", [("session",), ("jwt", "session")])
def test_the_absolute_end_of_a_session_holds_however_it_is_used(kinds: tuple[str, ...]) -> None:
    one = desk(OTPAUTH_SESSION_LIFETIME=300, OTPAUTH_SESSION_IDLE=100)
    mark = one.login(kinds=kinds).cookie
    seen = 0
    for _ in range(10):
        one.clock.advance(50)
        seen += by_cookie(one, mark) is not None
    assert seen == 5


def test_our_own_check_of_revocation() -> None:
    one = desk()
    given = one.login()
    said = said_by(given.access_token)
    assert not one.sessions.token_revoked({}, said)
    assert not one.sessions.token_revoked({}, {"sub": "robot"})
    assert one.sessions.token_revoked({}, {"sid": 7})
    one.store.states["1"] = UserState.DISABLED
    assert one.sessions.token_revoked({}, said)


def test_ending_all_but_one_leaves_that_one() -> None:
    one = desk()
    first, second, third = one.login(), one.login(), one.login("2")
    held = by_token(one, first)
    assert held is not None
    assert one.sessions.end_all("1", but=held.key) == 1
    assert by_token(one, first) is not None
    assert by_token(one, third) is not None
    with pytest.raises(AuthenticationRequired):
        by_token(one, second)
    assert [record.id for record in one.sessions.list("1")] == [held.key]


# --- the cache of rows ---


def test_without_the_setting_each_request_reads() -> None:
    one = desk()
    given = one.login()
    one.store.reads = 0
    for _ in range(3):
        by_token(one, given)
    assert one.store.reads == 3


def test_with_the_setting_a_row_is_read_again_when_its_seconds_are_over() -> None:
    one = desk(OTPAUTH_SESSION_CACHE=5)
    given = one.login(kinds=("jwt", "session"))
    one.store.states["1"] = UserState.UNREAD
    one.store.reads = 0
    for _ in range(3):
        assert by_token(one, given) is not None
        assert by_cookie(one, given.cookie) is not None
    assert (one.store.reads, one.users.asked_active) == (1, 1)
    # Another process ends it: this one learns it in time.
    one.store.end_all("1", instant(one.clock()))
    assert by_token(one, given) is not None
    one.clock.advance(5)
    with pytest.raises(AuthenticationRequired):
        by_token(one, given)


def test_what_this_process_ends_or_changes_is_never_served_from_the_cache() -> None:
    one = desk(OTPAUTH_SESSION_CACHE=30)
    given = one.login(kinds=("jwt", "session"))
    held = by_token(one, given)
    assert held is not None
    assert by_cookie(one, given.cookie) is not None
    raised = step_up(one, held)
    assert by_token(one, raised) is not None
    assert by_cookie(one, given.cookie) is None
    assert by_cookie(one, raised.cookie) is not None
    one.sessions.end(held.key)
    assert by_cookie(one, raised.cookie) is None
    other = one.login()
    by_token(one, other)
    one.sessions.end_all("1")
    with pytest.raises(AuthenticationRequired):
        by_token(one, other)


@pytest.mark.parametrize(
    "change",
    [
        lambda one, held: one.sessions.end(held.key),
        lambda one, held: one.sessions.end_all("1"),
        step_up,
    ],
    ids=["ended", "all ended", "raised"],
)
def test_a_read_in_flight_puts_nothing_back_that_changed_meanwhile(change: Callable[[Desk, Session], object]) -> None:
    one = desk(OTPAUTH_SESSION_CACHE=30)
    given = one.login(kinds=("jwt", "session"))
    held = by_token(one, given)
    assert held is not None
    one.clock.advance(31)
    read_row = one.store.by_cookie

    def slowly(cookie: bytes, now: Instant) -> SessionRecord | None:
        record = read_row(cookie, now)
        change(one, held)
        return record

    one.store.by_cookie = slowly  # type: ignore[method-assign]
    assert by_cookie(one, given.cookie) is not None  # as it was when it was read
    one.store.by_cookie = read_row  # type: ignore[method-assign]
    assert by_cookie(one, given.cookie) is None


@pytest.mark.parametrize("name", ["end", "end_all", "raise_assurance"])
def test_what_a_unit_of_work_has_not_committed_yet_is_not_remembered(name: str) -> None:
    one = desk(OTPAUTH_SESSION_CACHE=30)
    given = one.login(kinds=("jwt", "session"))
    held = by_token(one, given)
    assert held is not None
    write, waiting = getattr(one.store, name), list[Callable[[], object]]()

    def wait(*args: Any, **kwargs: Any) -> int:
        waiting.append(lambda: write(*args, **kwargs))
        return 1

    setattr(one.store, name, wait)
    if name == "raise_assurance":
        step_up(one, held)
    else:
        getattr(one.sessions, name)(held.key if name == "end" else "1")
    setattr(one.store, name, write)
    assert by_cookie(one, given.cookie) is not None  # nobody sees it before the commit
    waiting[0]()
    assert by_cookie(one, given.cookie) is None


def test_a_row_is_remembered_again_when_the_unit_that_changed_it_is_over() -> None:
    one = desk(OTPAUTH_SESSION_CACHE=5)
    first, second, other = one.login(), one.login(), one.login("2")
    held = by_token(one, first)
    assert held is not None
    one.sessions.end_all("1", but=held.key)
    one.store.reads = 0
    for given in (first, first, other, other):
        by_token(one, given)
    assert one.store.reads == 3
    one.clock.advance(60)
    for _ in range(2):
        by_token(one, first)
    assert one.store.reads == 4
    with pytest.raises(AuthenticationRequired):
        by_token(one, second)


def test_a_cached_row_is_no_good_past_its_own_end() -> None:
    one = desk(OTPAUTH_SESSION_CACHE=30, OTPAUTH_REFRESH_LIFETIME=60, OTPAUTH_REFRESH_IDLE=60)
    given = one.login()
    one.clock.advance(50)
    assert by_token(one, given) is not None
    one.clock.advance(11)
    with pytest.raises(AuthenticationRequired):
        by_token(one, given)


def test_the_cache_is_bounded() -> None:
    one = desk()
    for number in range(9):
        one.login(str(number), kinds=("jwt", "session"))
    rows, now = Rows(1000, size=4), instant(one.clock())
    records = [one.sessions.list(str(number))[0] for number in range(9)]
    for record in records:
        rows.put(record, now, rows.epoch)
    assert [rows.by_id(record.id, now) is not None for record in records] == [False] * 5 + [True] * 4


# --- the cookie ---


def test_marks_are_opaque_ids_and_nothing_else() -> None:
    app = Flask("host")
    app.secret_key = "x"
    session_id, challenge_id = some_id(), some_id()
    with app.test_request_context():
        held: dict[str, Any] = {"host": "own"}
        assert read_marks(held) == Marks()
        put_challenge(held, challenge_id)
        assert read_marks(held) == Marks(challenge=challenge_id)
        put_session(held, session_id, permanent=False)
        assert held == {"host": "own", "_otpauth": f"s.{session_id}"}
        put_challenge(held, challenge_id)
        assert held["_otpauth"] == f"s.{session_id} c.{challenge_id}"
        assert read_marks(held) == Marks(session=session_id, challenge=challenge_id)
        put_challenge(held, None)
        assert read_marks(held) == Marks(session=session_id)
        clear(held)
        put_challenge(held, None)
        assert held == {"host": "own"}


@pytest.mark.parametrize(
    "value",
    [None, 7, "", " ", "s.", "s.x", ["s." + "a" * 43], "s." + "a" * 43 + "\n", "s." + "a" * 43 + " x", {"s": 1}],
)
def test_whatever_is_not_of_our_making_counts_as_nothing(value: object) -> None:
    assert read_marks({"_otpauth": value}) == Marks()


def test_forgetting_nothing_doesnt_touch_the_session_of_the_host() -> None:
    app = Flask("host")
    app.secret_key = "x"
    with app.test_request_context():
        clear(flask_session)
        assert not flask_session.modified


@pytest.mark.parametrize("permanent", [True, False])
def test_a_session_is_permanent_where_the_settings_say_so(permanent: bool) -> None:
    app = Flask("host")
    app.secret_key = "x"
    with app.test_request_context():
        put_session(flask_session, some_id(), permanent=permanent)
        assert flask_session.permanent is permanent


def test_the_host_may_make_its_session_permanent_itself() -> None:
    app = Flask("host")
    app.secret_key = "x"
    with app.test_request_context():
        flask_session.permanent = True
        put_session(flask_session, some_id(), permanent=False)
        assert flask_session.permanent


def test_a_server_side_session_gets_a_new_id_at_login() -> None:
    class Interface(SecureCookieSessionInterface):
        regenerated = 0

        def regenerate(self, held: dict[str, Any]) -> None:
            assert "_otpauth" not in held
            self.regenerated += 1

    app = Flask("host")
    app.secret_key = "x"
    app.session_interface = interface = Interface()
    with app.test_request_context():
        put_session(flask_session, some_id(), permanent=False)
    assert interface.regenerated == 1


# --- origins ---

HERE = "https://bank.example"


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "Cross-Site"}, False),
        ({"Sec-Fetch-Site": "whatever"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": HERE}, False),
        ({"Origin": HERE}, True),
        ({"Origin": "https://BANK.example:443"}, True),
        ({"Origin": "https://bank.example:8443"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://bank.example.evil.example"}, False),
        ({"Origin": "https://evil.example/bank.example"}, False),
        ({"Origin": "https://evil@bank.example"}, False),
        ({"Origin": "https://evil.example\\@bank.example"}, False),
        ({"Origin": "https://bank.example/x"}, False),
        ({"Origin": "https://bank.example#@evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "file://bank.example"}, False),
        ({"Origin": "https://"}, False),
        ({"Origin": "https://bank.example:port"}, False),
        ({"Origin": "https://[::1"}, False),
        ({"Origin": "https://app.example"}, True),
        ({"Origin": "https://APP.example/", "Sec-Fetch-Site": "same-site"}, True),
        ({"Origin": "http://app.example"}, False),
    ],
)
def test_who_may_act_with_a_cookie(headers: dict[str, str], passes: bool) -> None:
    one = desk(OTPAUTH_TRUSTED_ORIGINS=("https://app.example/",))
    mark = one.login(kinds=("session",)).cookie
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        if passes:
            assert by_cookie(one, mark, headers, method=method, base_url=HERE) is not None
        else:
            with pytest.raises(CrossOrigin):
                by_cookie(one, mark, headers, method=method, base_url=HERE)
    assert by_cookie(one, mark, headers, base_url=HERE) is not None


def test_the_origin_of_an_ipv6_host_and_port_is_its_own() -> None:
    one = desk()
    with one.app.test_request_context(
        "/", method="POST", base_url="http://[::1]:5000", headers={"Origin": "http://[::1]:5000"}
    ):
        check_origin(request, one.settings)


def test_a_token_of_the_header_acts_from_anywhere() -> None:
    one = desk()
    sent = {**header(one.login().access_token), "Sec-Fetch-Site": "cross-site"}
    with one.app.test_request_context("/", method="POST", headers=sent):
        assert one.sessions.current(cast("Any", request)._get_current_object(), instant(one.clock())) is not None
