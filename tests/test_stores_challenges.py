"""What only rows tell: counters that went wrong, and what is never stored."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import pytest
from sqlalchemy import MetaData, select, update

from flask_otpauth.stores import Database, SqlChallenges, tables_for
from flask_otpauth.types import Admission, Miss, Renewed
from tests.contracts.samples import COOLDOWN, LOGIN, NOW, challenge, charged, issued, promote, promoted
from tests.services import KINDS, database_url, shared


@pytest.fixture(params=KINDS, scope=shared)
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Database, None, None]:
    with (
        database_url(request.param, tmp_path_factory.mktemp("challenges")) as url,
        closing(Database(url, tables_for(MetaData()), create=True)) as opened,
    ):
        yield opened


@pytest.mark.parametrize("left", [0, -1, -5])
def test_a_counter_that_is_not_positive_counts_as_exhausted(database: Database, left: int) -> None:
    store, table = SqlChallenges(database), database.tables.challenge
    it = promoted(store)
    with database.transaction() as connection:
        connection.execute(update(table).where(table.c.id == it).values(attempts_left=left))
    assert store.charge(it, LOGIN, NOW) is Miss.GONE
    at = NOW + COOLDOWN
    assert store.renew(it, LOGIN, at, resend_at=at, answers_until=at + 1, revive=True) is Miss.GONE
    assert not promote(store, it, 2)
    with database.read() as connection:
        assert connection.scalar(select(table.c.attempts_left).where(table.c.id == it)) == left


def test_a_refused_charge_writes_nothing(database: Database) -> None:
    store, table = SqlChallenges(database), database.tables.challenge
    it = issued(store)
    store.charge(it, LOGIN, NOW + 10**7)
    with database.read() as connection:
        assert connection.scalar(select(table.c.attempts_left).where(table.c.id == it)) == 5
    assert charged(store, it).attempts_left == 4


def test_a_muted_challenge_is_stored_muted(database: Database) -> None:
    store, table = SqlChallenges(database), database.tables.challenge
    rows = [challenge(account="u:muted", live_limit=1) for _ in range(2)]
    for new in rows:
        store.issue(new)
    with database.read() as connection:
        found = [connection.scalar(select(table.c.muted).where(table.c.id == new.id)) for new in rows]
    assert found == [False, True]


def test_a_database_without_returning_admits_charges_and_renews_alike(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MySQL has none, and SQLite got it in 3.35.
    database.run(lambda _: None)
    for dialect in (database.dialect, database._engines.write.dialect):
        monkeypatch.setattr(dialect, "insert_returning", False)
        monkeypatch.setattr(dialect, "update_returning", False)
    store = SqlChallenges(database)
    rows = [challenge(account="u:mysql", live_limit=1, min_gap=gap) for gap in (0, 0, 5000)]
    assert [store.issue(new) for new in rows] == [Admission.ADMITTED, Admission.MUTED, Admission.TOO_SOON]
    assert [charged(store, rows[0].id).attempts_left for _ in range(5)] == [4, 3, 2, 1, 0]
    assert store.charge(rows[0].id, LOGIN, NOW) is Miss.GONE
    at = NOW + COOLDOWN
    renewed = store.renew(rows[1].id, LOGIN, at, resend_at=at, answers_until=at + 1, revive=True)
    assert isinstance(renewed, Renewed)
    assert renewed.muted
