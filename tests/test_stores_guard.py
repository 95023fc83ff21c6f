"""The stored log of a budget, which a wrong type or a strange hand must never turn into free charges."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from threading import Thread

import pytest
from sqlalchemy import MetaData, event, insert, select, update

from flask_otpauth.stores import Database, SqlGuard, tables_for
from flask_otpauth.types import Charge, Spent, Window
from tests.contracts.samples import NOW, key
from tests.services import KINDS, SERVERS, database_url, shared

DAY = 86_400_000
EMPTY = "|" + "0" * 17
HUNDRED = (Window(limit=100, seconds=900), Window(limit=1, seconds=1))


@pytest.fixture(params=KINDS, scope=shared)
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Database, None, None]:
    with (
        database_url(request.param, tmp_path_factory.mktemp("guard")) as url,
        closing(Database(url, tables_for(MetaData()), create=True)) as opened,
    ):
        yield opened


def stored(database: Database, budget: bytes) -> str:
    table = database.tables.guard
    with database.read() as connection:
        return str(connection.scalar(select(table.c.log).where(table.c.key == budget)))


def test_the_stored_log_is_text_of_a_fixed_form(database: Database) -> None:
    guard, budget = SqlGuard(database), key()
    guard.open(budget, NOW)
    assert stored(database, budget) == EMPTY * 100
    first, second = (guard.charge(budget, HUNDRED, NOW + n * 1000) for n in range(2))
    assert isinstance(first, Charge)
    assert isinstance(second, Charge)
    assert re.fullmatch(r"\|[0-9a-f]{17}", first.entry)
    assert int(first.entry[1:12], 16) == NOW
    assert stored(database, budget) == second.entry + first.entry + EMPTY * 98
    guard.refund(first)
    assert stored(database, budget) == second.entry + EMPTY * 99
    guard.refund(second)
    assert stored(database, budget) == EMPTY * 100


def test_a_full_log_forgets_its_oldest_charge_only(database: Database) -> None:
    guard, budget = SqlGuard(database), key()
    guard.open(budget, NOW)
    entries: list[str] = []
    for number in range(102):
        outcome = guard.charge(budget, (Window(limit=1, seconds=1),), NOW + number * 1000)
        assert isinstance(outcome, Charge)
        entries.insert(0, outcome.entry)
    assert stored(database, budget) == "".join(entries[:100])


def test_two_entries_of_one_text_are_refunded_one_at_a_time(database: Database) -> None:
    guard, budget = SqlGuard(database), key()
    guard.open(budget, NOW)
    twin = f"|{NOW:011x}abcdef"
    table = database.tables.guard
    with database.transaction() as connection:
        connection.execute(update(table).where(table.c.key == budget).values(log=twin * 2 + EMPTY * 98))
    guard.refund(Charge(key=budget, entry=twin))
    assert stored(database, budget) == twin + EMPTY * 99


def test_a_row_is_stamped_again_a_day_after_it_was_opened_or_charged(database: Database) -> None:
    guard, budget, table = SqlGuard(database), key(), database.tables.guard

    def used_at() -> int | None:
        with database.read() as connection:
            return connection.scalar(select(table.c.used_at).where(table.c.key == budget))

    guard.open(budget, NOW)
    guard.open(budget, NOW + DAY)
    # MariaDB has no condition there, and writes.
    assert used_at() == (NOW + DAY if database.backend == "mysql" else NOW)
    guard.open(budget, NOW + DAY + 1)
    assert used_at() == NOW + DAY + 1
    guard.charge(budget, HUNDRED, NOW + 3 * DAY)
    assert used_at() == NOW + 3 * DAY


def test_a_database_without_returning_charges_alike(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # MySQL has none, and SQLite got it in 3.35.
    database.run(lambda _: None)
    for dialect in (database.dialect, database._engines.write.dialect):
        monkeypatch.setattr(dialect, "insert_returning", False)
        monkeypatch.setattr(dialect, "update_returning", False)
    guard, budget = SqlGuard(database), key()
    windows = (Window(limit=2, seconds=1),)
    assert isinstance(guard.charge(budget, windows, NOW), Spent)
    first = guard.charge(budget, windows, NOW, create=True)
    second = guard.charge(budget, windows, NOW)
    assert isinstance(first, Charge)
    assert isinstance(second, Charge)
    assert stored(database, budget) == second.entry + first.entry + EMPTY * 98
    assert isinstance(guard.charge(budget, windows, NOW, create=True), Spent)
    guard.refund(first)
    assert isinstance(guard.charge(budget, windows, NOW), Charge)

    made = {joined: key() for joined in (False, True)}

    def work(*, joined: bool) -> None:
        for each in (budget, made[joined]):
            guard.charge(each, windows, NOW + 1000, create=True, joined=joined)
        raise LookupError

    for joined in (False, True):
        with pytest.raises(LookupError):
            database.unit(lambda joined=joined: work(joined=joined))  # type: ignore[misc]
    # The charge that joined went with its unit, and so did the row that it made.
    assert isinstance(guard.charge(made[False], windows, NOW + 1000), Charge)
    assert isinstance(guard.charge(made[True], windows, NOW + 1000), Spent)
    assert isinstance(guard.charge(budget, windows, NOW + 1000), Charge)
    assert isinstance(guard.charge(budget, windows, NOW + 1000), Spent)


@pytest.mark.parametrize("database", SERVERS, indirect=True)
def test_a_row_that_is_used_while_it_is_purged_stays(database: Database) -> None:
    guard, budget = SqlGuard(database), key()
    guard.open(budget, NOW)

    def use(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            # Another thread is in no transaction of this one's.
            thread = Thread(target=guard.open, args=(budget, NOW + 2 * DAY))
            thread.start()
            thread.join()

    event.listen(database._engines.write, "after_cursor_execute", use)
    try:
        guard.purge(NOW + 1, 500)
    finally:
        event.remove(database._engines.write, "after_cursor_execute", use)
    # Without its row it would be spent.
    assert isinstance(guard.charge(budget, HUNDRED, NOW + 2 * DAY), Charge)


NO_TIME = "|" + "z" * 17
NO_LOGS = [
    "",
    "0",
    "-5",
    EMPTY * 99,
    " " * 1800,
    "z" * 1800,
    NO_TIME * 100,
    NO_TIME + EMPTY * 99,
    "0" * 1800,
    "|" * 1800,
]


@pytest.mark.parametrize("windows", [HUNDRED, (Window(limit=2, seconds=1),), ()])
@pytest.mark.parametrize("log", NO_LOGS)
def test_what_is_no_log_counts_as_spent_until_it_is_reset(
    database: Database, log: str, windows: tuple[Window, ...]
) -> None:
    guard, budget = SqlGuard(database), key()
    with database.transaction() as connection:
        connection.execute(insert(database.tables.guard).values(key=budget, log=log, used_at=NOW))
    outcome = guard.charge(budget, windows, NOW, create=True)
    assert isinstance(outcome, Spent)
    assert outcome.retry_at > NOW
    guard.refund(Charge(key=budget, entry=EMPTY))
    guard.open(budget, NOW + 10**9)
    assert isinstance(guard.charge(budget, windows, NOW, create=True), Spent)
    guard.reset(budget)
    assert isinstance(guard.charge(budget, windows, NOW), Charge)
