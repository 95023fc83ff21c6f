"""What every ``SessionStore`` does, races included (G2, G8)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from flask_otpauth.stores import SqlSessions
from flask_otpauth.types import NewSession, Rotation, SessionRecord, SessionStore, UserState
from tests.contracts import samples
from tests.contracts.backends import Backend, Stores
from tests.contracts.races import in_processes, in_threads
from tests.contracts.samples import NOW, key, session

HOUR = 3_600_000
DAY = 24 * HOUR


def added(sessions: SessionStore, **changes: Any) -> NewSession:
    new = session(**changes)
    sessions.add(new)
    return new


def rotate(sessions: SessionStore, of: NewSession, old: bytes | None, new: bytes, *, at: int = NOW) -> Rotation:
    assert old is not None
    return sessions.rotate(of.id, old, new, at, idle_at=at + HOUR)


def test_a_session_is_found_by_id_and_by_cookie(sessions: SessionStore) -> None:
    new = added(sessions, client="Zoë's browser 🙂")
    record = SessionRecord(
        id=new.id,
        user_id=new.user_id,
        cookie=new.cookie,
        amr=("pwd", "otp", "sms"),
        auth_time=NOW,
        code_at=NOW,
        created_at=NOW,
        used_at=NOW,
        rotated_at=None,
        expires_at=NOW + DAY,
        idle_at=NOW + HOUR,
        client="Zoë's browser 🙂",
        user_state=UserState.UNREAD,
    )
    assert sessions.by_id(new.id, NOW) == record
    assert new.cookie is not None
    assert sessions.by_cookie(new.cookie, NOW) == record


def test_a_session_may_have_neither_cookie_nor_token_nor_code(sessions: SessionStore) -> None:
    for _ in range(2):
        new = added(sessions, cookie=None, refresh=None, code_at=None, amr=())
        record = sessions.by_id(new.id, NOW)
        assert record is not None
        assert (record.cookie, record.code_at, record.amr) == (None, None, ())


def test_an_id_is_no_cookie(sessions: SessionStore) -> None:
    new = added(sessions)
    assert sessions.by_cookie(new.id, NOW) is None
    assert sessions.by_id(key(), NOW) is None


def test_what_a_browser_calls_itself_is_cut_and_never_refused(sessions: SessionStore) -> None:
    record = sessions.by_id(added(sessions, client="\0\udc80" + "ü" * 1000).id, NOW)
    assert record is not None
    assert record.client == "?" + "ü" * 254


@pytest.mark.parametrize("end", [{"expires_at": NOW + 1000}, {"idle_at": NOW + 1000}])
def test_a_session_past_its_time_is_never_given(sessions: SessionStore, end: dict[str, int]) -> None:
    new = added(sessions, **end)
    assert new.cookie is not None
    assert sessions.by_id(new.id, NOW + 999) is not None
    assert sessions.by_id(new.id, NOW + 1000) is None
    assert sessions.by_cookie(new.cookie, NOW + 1000) is None
    assert sessions.list(new.user_id, NOW + 1000) == []
    assert not sessions.end(new.id, NOW + 1000)
    assert rotate(sessions, new, new.refresh, key(), at=NOW + 1000) is Rotation.GONE


def test_use_moves_the_idle_end_but_not_the_absolute_one(sessions: SessionStore) -> None:
    new = added(sessions)
    sessions.touch(new.id, NOW + 2 * HOUR, NOW)
    record = sessions.by_id(new.id, NOW + HOUR)
    assert record is not None
    assert (record.idle_at, record.used_at) == (NOW + 2 * HOUR, NOW)
    sessions.touch(new.id, NOW + 9 * DAY, NOW + HOUR)
    last = sessions.by_id(new.id, NOW + DAY - 1)
    assert last is not None
    assert last.used_at == NOW + HOUR
    assert sessions.by_id(new.id, NOW + DAY) is None


def test_the_absolute_end_holds_whatever_idle_end_a_row_has(stores: Stores) -> None:
    new, table = added(stores.sessions, expires_at=NOW + 1000), stores.database.tables.session
    with stores.database.transaction() as connection:
        connection.execute(update(table).where(table.c.id == new.id).values(idle_at=NOW + DAY))
    assert stores.sessions.by_id(new.id, NOW + 999) is not None
    assert stores.sessions.by_id(new.id, NOW + 1000) is None


def test_use_wakes_no_session_that_is_over(sessions: SessionStore) -> None:
    idle, ended = added(sessions), added(sessions)
    sessions.touch(idle.id, NOW + 3 * HOUR, NOW + HOUR)
    sessions.end(ended.id, NOW)
    sessions.touch(ended.id, NOW + 3 * HOUR, NOW)
    assert sessions.by_id(idle.id, NOW + HOUR) is None
    assert sessions.by_id(ended.id, NOW) is None


# --- refresh tokens -----------------------------------------------------------------------------------------------


@pytest.mark.core
def test_a_refresh_token_rotates_once_and_moves_the_idle_end(sessions: SessionStore) -> None:
    new = added(sessions)
    second, third = key(), key()
    assert rotate(sessions, new, new.refresh, second, at=NOW + 1) is Rotation.ROTATED
    assert rotate(sessions, new, second, third, at=NOW + 2) is Rotation.ROTATED
    record = sessions.by_id(new.id, NOW + HOUR + 1)
    assert record is not None
    assert (record.idle_at, record.used_at, record.rotated_at) == (NOW + HOUR + 2, NOW, NOW + 2)
    assert record.last_used_at == NOW + 2


def test_a_repetition_within_ten_seconds_revokes_nothing(sessions: SessionStore) -> None:
    new, second = added(sessions), key()
    rotate(sessions, new, new.refresh, second)
    assert rotate(sessions, new, new.refresh, key(), at=NOW + 10_000) is Rotation.REPEATED
    assert rotate(sessions, new, second, key(), at=NOW + 10_000) is Rotation.ROTATED


def test_a_later_reuse_ends_the_session(sessions: SessionStore) -> None:
    new, second = added(sessions), key()
    rotate(sessions, new, new.refresh, second)
    assert rotate(sessions, new, new.refresh, key(), at=NOW + 10_001) is Rotation.REUSED
    assert sessions.by_id(new.id, NOW + 10_001) is None
    assert rotate(sessions, new, second, key(), at=NOW + 10_001) is Rotation.GONE


def test_a_token_two_rotations_old_ends_the_session_at_once(sessions: SessionStore) -> None:
    new, second = added(sessions), key()
    rotate(sessions, new, new.refresh, second)
    rotate(sessions, new, second, key())
    assert rotate(sessions, new, new.refresh, key()) is Rotation.REUSED
    assert sessions.by_id(new.id, NOW) is None


def test_a_token_that_was_never_given_out_ends_the_session(sessions: SessionStore) -> None:
    new, without = added(sessions), added(sessions, refresh=None)
    assert rotate(sessions, new, key(), key()) is Rotation.REUSED
    assert rotate(sessions, without, key(), key()) is Rotation.REUSED
    assert sessions.by_id(new.id, NOW) is None


def test_a_token_of_another_session_rotates_neither(sessions: SessionStore) -> None:
    new, other = added(sessions), added(sessions)
    assert rotate(sessions, new, other.refresh, key()) is Rotation.REUSED
    assert sessions.by_id(new.id, NOW) is None
    assert rotate(sessions, other, other.refresh, key()) is Rotation.ROTATED


def test_an_unknown_session_is_gone(sessions: SessionStore) -> None:
    other = added(sessions)
    assert rotate(sessions, session(), key(), key()) is Rotation.GONE
    assert sessions.by_id(other.id, NOW) is not None


# --- assurance ----------------------------------------------------------------------------------------------------


def test_a_proof_is_recorded_under_new_ids(sessions: SessionStore) -> None:
    new = added(sessions, code_at=None, amr=("pwd",))
    cookie, refresh, at = key(), key(), NOW + HOUR - 1
    proof = {"amr": ("pwd", "otp"), "auth_time": at, "code_at": at, "cookie": cookie, "refresh": refresh, "now": at}
    assert sessions.raise_assurance(new.id, **proof)  # type: ignore[arg-type]
    record = sessions.by_cookie(cookie, at)
    assert record is not None
    assert (record.amr, record.auth_time, record.code_at) == (("pwd", "otp"), at, at)
    assert new.cookie is not None
    assert sessions.by_cookie(new.cookie, at) is None
    assert rotate(sessions, new, new.refresh, key(), at=at) is Rotation.REPEATED
    assert rotate(sessions, new, refresh, key(), at=at) is Rotation.ROTATED


def test_a_password_takes_no_proved_code_and_no_credential_away(sessions: SessionStore) -> None:
    new = added(sessions)
    assert sessions.raise_assurance(
        new.id, amr=("pwd",), auth_time=NOW + 1, code_at=None, cookie=None, refresh=None, now=NOW + 1
    )
    record = sessions.by_id(new.id, NOW + 1)
    assert record is not None
    assert (record.code_at, record.cookie) == (NOW, new.cookie)
    assert rotate(sessions, new, new.refresh, key(), at=NOW + 20_000) is Rotation.ROTATED


@pytest.mark.parametrize("refresh", [None, b"r" * 32], ids=["cookie", "tokens"])
def test_no_proof_is_recorded_in_a_session_that_is_over(sessions: SessionStore, refresh: bytes | None) -> None:
    ended, idle, live = added(sessions), added(sessions, idle_at=NOW), added(sessions)
    sessions.end(ended.id, NOW)
    proof = {"amr": ("otp",), "auth_time": NOW, "code_at": NOW, "cookie": None, "refresh": refresh, "now": NOW}
    assert [sessions.raise_assurance(each.id, **proof) for each in (ended, idle, live)] == [False, False, True]  # type: ignore[arg-type]


# --- ending -------------------------------------------------------------------------------------------------------


def test_a_session_ends_once(sessions: SessionStore) -> None:
    new = added(sessions)
    assert sessions.end(new.id, NOW)
    assert not sessions.end(new.id, NOW)
    assert sessions.by_id(new.id, NOW) is None
    assert rotate(sessions, new, new.refresh, key()) is Rotation.GONE


def test_the_list_has_the_live_ones_of_one_user_newest_first(sessions: SessionStore) -> None:
    ids, user = sorted(key() for _ in range(3)), session().user_id
    for each in (ids[1], ids[0]):
        added(sessions, id=each, user_id=user)
    added(sessions, id=ids[2], user_id=user, created_at=NOW + 1)
    ended = added(sessions, user_id=user)
    sessions.end(ended.id, NOW)
    added(sessions)
    assert sessions.list(user, NOW) == [sessions.by_id(each, NOW) for each in (ids[2], ids[0], ids[1])]


def test_live_sessions_are_paged_with_the_last_to_idle_out_first(stores: Stores) -> None:
    sql = SqlSessions(stores.database)
    sql.purge(NOW * 2, 10_000)
    *ids, last = sorted(key() for _ in range(3))
    user = session().user_id
    for each in (ids[1], ids[0]):
        added(sql, id=each, user_id=user)
    later, ended = added(sql, id=last, idle_at=NOW + 2 * HOUR), added(sql, user_id=user)
    sql.end(ended.id, NOW)
    ordered = [sql.by_id(each, NOW) for each in (later.id, *ids)]
    assert sql.live(NOW, user_id=None, offset=0, limit=10) == ordered
    assert sql.live(NOW, user_id=None, offset=1, limit=1) == ordered[1:2]
    assert sql.live(NOW, user_id=user, offset=0, limit=10) == ordered[1:]
    assert sql.live(NOW + HOUR, user_id=None, offset=0, limit=10) == ordered[:1]


def test_all_sessions_of_a_user_end_but_one(sessions: SessionStore) -> None:
    kept = added(sessions)
    others = [added(sessions, user_id=kept.user_id) for _ in range(3)]
    stranger = added(sessions)
    sessions.end(others[0].id, NOW)
    assert sessions.end_all(kept.user_id, NOW, but=kept.id) == 2
    assert [record.id for record in sessions.list(kept.user_id, NOW)] == [kept.id]
    assert sessions.end_all(kept.user_id, NOW) == 1
    assert sessions.by_id(stranger.id, NOW) is not None


def test_user_ids_differ_by_every_character(sessions: SessionStore) -> None:
    lower = added(sessions, user_id="straße")
    for other in ("STRASSE", "strasse", "Straße"):
        added(sessions, user_id=other)
    assert [record.id for record in sessions.list("straße", NOW)] == [lower.id]


def test_purge_takes_what_was_over_before(sessions: SessionStore) -> None:
    sessions.purge(NOW * 2, 10_000)
    idle = [added(sessions, idle_at=NOW + n) for n in range(3)]
    ended, live = added(sessions), added(sessions)
    sessions.end(ended.id, NOW)
    assert sessions.purge(NOW, 500) == 0
    assert sessions.purge(NOW + 2, 2) == 2
    assert sessions.purge(NOW + 2, 500) == 1
    assert sessions.by_id(idle[2].id, NOW + 1) is not None
    assert sessions.by_id(live.id, NOW) is not None


def test_purge_takes_no_more_than_it_may(sessions: SessionStore) -> None:
    sessions.purge(NOW * 2, 10_000)
    for idle_at in (NOW + HOUR, NOW + HOUR, NOW + HOUR, NOW, NOW):
        new = added(sessions, idle_at=idle_at)
        sessions.end(new.id, NOW)
    assert [sessions.purge(NOW + 1, 2) for _ in range(4)] == [2, 2, 1, 0]


# --- races --------------------------------------------------------------------------------------------------------


def test_one_of_many_threads_rotates_and_the_others_revoke_nothing(sessions: SessionStore) -> None:
    new = added(sessions)
    outcomes = in_threads(50, lambda _: rotate(sessions, new, new.refresh, key()))
    assert Counter(outcomes) == {Rotation.ROTATED: 1, Rotation.REPEATED: 49}
    assert sessions.by_id(new.id, NOW) is not None


def test_one_of_many_processes_rotates(backend: Backend, sessions: SessionStore) -> None:
    sessions.add(replace(session(), id=key("raced session"), refresh=key("old")))
    outcomes = in_processes(4, backend, samples.rotate_it, threads=8)
    assert Counter(outcomes) == {Rotation.ROTATED: 1, Rotation.REPEATED: 31}


def test_ending_all_at_once_deadlocks_nobody(sessions: SessionStore) -> None:
    user = session().user_id
    for _ in range(20):
        added(sessions, user_id=user)
    assert sum(in_threads(20, lambda _: sessions.end_all(user, NOW))) == 20


def test_a_session_of_a_unit_that_failed_was_never_there(stores: Stores) -> None:
    new = session()

    def work() -> None:
        stores.sessions.add(new)
        assert stores.sessions.by_id(new.id, NOW) is not None
        raise LookupError

    with pytest.raises(LookupError):
        stores.unit(work)
    assert stores.sessions.by_id(new.id, NOW) is None
