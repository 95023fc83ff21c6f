"""Transactions, faults and connections of ``Database``."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from flask_otpauth.errors import ServiceUnavailable
from flask_otpauth.stores import Database, SqlChallenges, SqlClients, SqlGuard, tables_for
from flask_otpauth.stores import database as database_module
from flask_otpauth.stores.engines import make_engines
from flask_otpauth.stores.faults import is_conflict
from flask_otpauth.stores.inspection import missing
from flask_otpauth.stores.statements import Statement
from flask_otpauth.types import Window
from tests.processes import CONTEXT
from tests.services import KINDS, SERVERS, database_url

NOW = 1_800_000_000_000
KEY = b"k" * 32
ONE = (Window(limit=1, seconds=900),)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str, None, None]:
    with database_url(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def things() -> Table:
    return Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("name", String(20)))


@pytest.fixture
def database(url: str, things: Table) -> Generator[Database, None, None]:
    with closing(Database(url, tables_for(MetaData()), create=True, ours=True, extra=lambda: [things])) as opened:
        yield opened


def names(database: Database, things: Table) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(select(things.c.name).order_by(things.c.id)))


# --- transactions -------------------------------------------------------------------------------------------------


def test_a_unit_commits_all_or_nothing(database: Database, things: Table) -> None:
    def work(fail: bool) -> None:
        database.run(lambda connection: connection.execute(insert(things).values(name="a")))
        with database.transaction() as connection:
            connection.execute(insert(things).values(name="b"))
        database.unit(lambda: database.run(lambda connection: connection.execute(insert(things).values(name="c"))))
        assert names(database, things)[-3:] == ["a", "b", "c"]
        if fail:
            raise LookupError

    with pytest.raises(LookupError):
        database.unit(lambda: work(fail=True))
    assert names(database, things) == []
    database.unit(lambda: work(fail=False))
    assert names(database, things) == ["a", "b", "c"]


def test_what_a_rollback_does_not_undo_is_undone(
    database: Database, things: Table, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def undo(number: int) -> None:
        # Its own writes are no part of the unit that is over.
        database.run(lambda connection: connection.execute(insert(things).values(name=f"undone {number}")))
        if number == 2:
            raise LookupError("a secret")

    def work(fail: bool) -> None:
        for number in (1, 2, 3):
            done.append("done")
            database.unit(lambda number=number: database.undo(lambda: undo(number)))  # type: ignore[misc]
        database.run(lambda connection: connection.execute(insert(things).values(name="a")))
        if fail:
            raise KeyError

    database.undo(lambda: undo(0))
    database.unit(lambda: work(fail=False))
    assert names(database, things) == ["a"]
    with pytest.raises(KeyError):
        database.unit(lambda: work(fail=True))
    assert names(database, things) == ["a", "undone 3", "undone 2", "undone 1"]
    assert "LookupError" in caplog.text
    assert "secret" not in caplog.text


def test_work_that_is_run_again_is_undone_before(tmp_path: Path) -> None:
    seen: list[str] = []

    def work() -> None:
        seen.append("done")
        database.undo(lambda: seen.append("undone"))
        if len(seen) == 1:
            raise DBAPIError("", None, sqlite3.OperationalError(1213))

    with closing(Database(f"sqlite:///{tmp_path / 'x'}", tables_for(MetaData()))) as database:
        database.unit(work)
    assert seen == ["done", "undone", "done"]


def test_the_connection_of_a_unit_is_told_while_it_runs(database: Database) -> None:
    assert database.current() is None
    with database.transaction() as connection:
        assert database.current() is connection
    database.unit(database.current)
    assert database.current() is None


def test_a_separate_step_survives_the_unit_around_it(database: Database, things: Table) -> None:
    def work() -> None:
        with database.separate() as connection:
            connection.execute(insert(things).values(name="kept"))
        database.run(lambda connection: connection.execute(insert(things).values(name="also kept")), joined=False)
        database.run(lambda connection: connection.execute(insert(things).values(name="lost")))
        raise LookupError

    with pytest.raises(LookupError):
        database.unit(work)
    assert names(database, things) == ["kept", "also kept"]


def test_a_separate_step_after_the_first_write_is_refused_at_once(database: Database, things: Table) -> None:
    guard = SqlGuard(database)
    guard.open(KEY, NOW)
    statement = Statement(insert(things).values(name="x"))

    def write() -> None:
        database.change(statement, {})

    for step in (
        lambda: guard.charge(KEY, ONE, NOW),
        lambda: database.run(lambda _: None, joined=False),
        lambda: database.separate().__enter__(),
        lambda: database.change(statement, {}, joined=False),
    ):

        def work(step: Callable[[], object] = step) -> None:
            write()
            step()

        with pytest.raises(RuntimeError, match="before the unit's first write"):
            database.unit(work)
    assert names(database, things) == []


def test_a_violated_constraint_is_an_answer(database: Database, things: Table) -> None:
    one = Statement(insert(things).values(id=1))
    database.change(one, {})
    with pytest.raises(IntegrityError):
        database.change(one, {})
    with pytest.raises(IntegrityError):
        database.unit(lambda: database.change(one, {}))
    with pytest.raises(IntegrityError), database.transaction() as connection:
        connection.execute(insert(things).values(id=1))


@pytest.mark.parametrize("kind", SERVERS)
def test_a_deadlock_is_run_again(kind: str, tmp_path: Path, things: Table) -> None:
    with (
        database_url(kind, tmp_path) as url,
        closing(Database(url, tables_for(MetaData()), create=True, extra=lambda: [things])) as database,
    ):
        with database.transaction() as connection:
            connection.execute(insert(things), [{"id": 1, "name": ""}, {"id": 2, "name": ""}])
        meet, tries = threading.Barrier(2), [0, 0]

        def work(me: int) -> None:
            tries[me] += 1
            for step, row in enumerate((1, 2) if me == 0 else (2, 1)):
                if step and tries[me] == 1:
                    meet.wait(10)
                append = update(things).where(things.c.id == row).values(name=things.c.name + str(me))
                database.run(lambda connection, append=append: connection.execute(append))  # type: ignore[misc]

        threads = [threading.Thread(target=lambda me=me: database.unit(lambda: work(me))) for me in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(tries) >= 3
        assert [sorted(name) for name in names(database, things)] == [["0", "1"], ["0", "1"]]


@pytest.mark.parametrize(
    "fault",
    [
        DBAPIError("", None, sqlite3.OperationalError(1213)),
        DBAPIError("", None, sqlite3.OperationalError(), connection_invalidated=True),
    ],
    ids=["conflict", "lost"],
)
def test_work_that_was_cut_short_is_run_six_times_at_most(tmp_path: Path, fault: DBAPIError) -> None:
    tries: list[int] = []

    def work(until: int) -> int:
        tries.append(until)
        if len(tries) < until:
            raise fault
        return len(tries)

    with closing(Database(f"sqlite:///{tmp_path / 'x'}", tables_for(MetaData()))) as database:
        assert database.unit(lambda: work(6)) == 6
        tries.clear()
        with pytest.raises(ServiceUnavailable):
            database.unit(lambda: work(9))
    assert len(tries) == 6


@pytest.mark.parametrize(("what", "times"), [("a write", 1), ("a read", 2)])
def test_a_write_whose_connection_broke_is_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, times: int
) -> None:
    made: list[str] = []
    run = database_module.executed

    def broken(connection: Any, text: str, values: Any, take: Callable[[Any], Any]) -> Any:
        made.append(text)
        run(connection, text, values, take)
        raise sqlite3.OperationalError("the connection broke after it")

    with closing(Database(f"sqlite:///{tmp_path / 'x'}", tables_for(MetaData()), create=True, ours=True)) as database:
        clients = SqlClients(database)
        assert not clients.known(b"c" * 32, "1", 1)
        for engine in (database._engines.read, database._engines.write):
            monkeypatch.setattr(engine.dialect, "is_disconnect", lambda *_: True)
        monkeypatch.setattr(database_module, "executed", broken)
        with pytest.raises(ServiceUnavailable):
            _ = clients.known(b"c" * 32, "1", 1) if what == "a read" else clients.remember(b"c" * 32, "1", 1, 9)
    assert len(made) == times


def test_a_unit_whose_connection_broke_while_it_was_committed_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def broken(_: Connection) -> None:
        raise DBAPIError("", None, sqlite3.OperationalError(), connection_invalidated=True)

    with closing(Database(f"sqlite:///{tmp_path / 'x'}", tables_for(MetaData()), create=True, ours=True)) as database:
        clients = SqlClients(database)

        def work() -> None:
            tries.append(1)
            clients.remember(b"c" * 32, "1", 1, 9)

        clients.forget_all("1")
        monkeypatch.setattr(Connection, "commit", broken)
        with pytest.raises(ServiceUnavailable):
            database.unit(work)
    assert len(tries) == 1


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "away",
    [
        "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "mysql+pymysql://nobody@127.0.0.1:1/none",
        "sqlite:////nowhere/at/all.sqlite",
    ],
)
def test_a_database_that_is_away_is_service_unavailable(away: str) -> None:
    with closing(Database(away, tables_for(MetaData()))) as database:
        for call in (
            database.ping,
            lambda: SqlClients(database).known(KEY, "1", NOW),
            lambda: SqlGuard(database).open(KEY, NOW),
            lambda: database.unit(lambda: SqlGuard(database).open(KEY, NOW)),
            lambda: database.run(lambda _: None),
        ):
            with pytest.raises(ServiceUnavailable) as caught:
                call()
            assert caught.value.__cause__ is not None


def test_missing_tables_are_service_unavailable(url: str) -> None:
    with closing(Database(url, tables_for(MetaData()))) as database:
        database.ping()
        for call in (
            lambda: SqlClients(database).known(KEY, "1", NOW),
            lambda: SqlGuard(database).open(KEY, NOW),
            lambda: SqlGuard(database).purge(NOW, 1),
            lambda: SqlChallenges(database).find(["u:1"], frozenset(), NOW),
            lambda: database.unit(lambda: SqlGuard(database).open(KEY, NOW)),
        ):
            with pytest.raises(ServiceUnavailable):
                call()


def test_faults_tell_no_parameters(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(text("DROP TABLE otpauth_client"))
    with pytest.raises(ServiceUnavailable) as caught:
        SqlClients(database).forget_all("a secret")
    assert "a secret" not in f"{caught.value.__cause__!r}{caught.value.__cause__}"
    for given in (database.read, database.transaction):
        with pytest.raises(ServiceUnavailable) as caught, given() as connection:
            connection.execute(text("SELECT :value FROM missing"), {"value": "a secret"})
        assert "missing" in str(caught.value.__cause__)
        assert "a secret" not in f"{caught.value.__cause__!r}{caught.value.__cause__}"


@pytest.mark.parametrize("kind", SERVERS)
def test_connections_that_the_server_cut_are_replaced(kind: str, tmp_path: Path) -> None:
    with database_url(kind, tmp_path) as url:
        named = url + ("&application_name=cut" if kind == "postgresql" else "")
        database = Database(named, tables_for(MetaData()), create=True)
        clients = SqlClients(database)
        clients.remember(KEY, "1", NOW, NOW + 1)
        database.run(lambda _: None)
        for call in (
            lambda: clients.known(KEY, "1", NOW),
            lambda: database.run(lambda connection: connection.execute(text("SELECT 1")).scalar()),
        ):
            _cut_all(database)
            assert call()
        database.close()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_unit_whose_connection_was_cut_midway_is_run_again(kind: str, tmp_path: Path) -> None:
    with database_url(kind, tmp_path) as url:
        named = url + ("&application_name=cut" if kind == "postgresql" else "")
        with closing(Database(named, tables_for(MetaData()), create=True)) as database:
            clients, tries = SqlClients(database), []

            def work() -> None:
                clients.remember(KEY, "1", NOW, NOW + 1)
                tries.append(len(tries))
                if len(tries) == 1:
                    _cut_all(database)
                clients.remember(KEY, "2", NOW, NOW + 1)

            database.unit(work)
            assert tries == [0, 1]
            assert [clients.known(KEY, user, NOW) for user in "12"] == [True, True]


class Fault(Exception):
    """A driver's error, with what drivers tell of it."""

    def __init__(self, *args: object, **told: object) -> None:
        super().__init__(*args)
        vars(self).update(told)


@pytest.mark.parametrize(
    ("original", "conflict"),
    [
        (Fault(sqlstate="40001"), True),
        (Fault(sqlstate=None, pgcode="40P01"), True),
        (Fault(pgcode="40P01"), True),
        (Fault(sqlstate="23505", pgcode="40P01"), False),
        (Fault(1213, "deadlock"), True),
        (Fault(1205, "lock wait"), True),
        (Fault(1062, "duplicate"), False),
        (Fault(), False),
    ],
)
def test_what_a_conflict_is(original: Exception, conflict: bool) -> None:
    error = DBAPIError("", None, original)
    assert is_conflict(error) is conflict
    named = RuntimeError("a name that a layer between has given it")
    named.__cause__ = error
    assert is_conflict(named) is conflict
    assert not is_conflict(RuntimeError())


@pytest.mark.parametrize("kind", SERVERS)
def test_a_connection_that_was_idle_is_tried_before_a_write(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_otpauth.stores.engines.IDLE_SECONDS", 0)
    with database_url(kind, tmp_path) as url:
        named = url + ("&application_name=cut" if kind == "postgresql" else "")
        database = Database(named, tables_for(MetaData()), create=True)
        clients = SqlClients(database)
        clients.remember(KEY, "1", NOW, NOW + 1)
        _cut_all(database)
        clients.remember(KEY, "2", NOW, NOW + 1)
        assert clients.known(KEY, "2", NOW)
        database.close()


@pytest.mark.parametrize("kind", SERVERS)
def test_a_servers_connections_are_set_up(kind: str, tmp_path: Path) -> None:
    with database_url(kind, tmp_path) as url, closing(Database(url, tables_for(MetaData()))) as database:
        limit = "current_setting('lock_timeout')" if kind == "postgresql" else "@@innodb_lock_wait_timeout"
        isolation = "current_setting('transaction_isolation')" if kind == "postgresql" else "@@tx_isolation"
        ask = text(f"SELECT {limit}, {isolation}")
        with database.transaction() as connection:
            waits, reads = connection.execute(ask).one()
            driver: Any = connection.connection.dbapi_connection
            assert not (driver.autocommit if kind == "postgresql" else driver.get_autocommit())
        assert str(waits).removesuffix("s") == "5"
        assert reads.replace("-", " ").lower() == "read committed"
        with database.read() as connection:
            assert str(connection.execute(ask).one()[0]).removesuffix("s") == "5"
            driver = connection.connection.dbapi_connection
            assert driver.autocommit if kind == "postgresql" else driver.get_autocommit()


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize(("idle", "tried"), [(10, 0), (0, 1)])
def test_a_connection_is_tried_only_if_it_was_idle(
    kind: str, idle: int, tried: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_otpauth.stores.engines.IDLE_SECONDS", idle)
    with database_url(kind, tmp_path) as url, closing(Database(url, tables_for(MetaData()))) as database:
        database.ping()
        dialect, pinged = database._engines.read.dialect, []
        ping = dialect.do_ping
        monkeypatch.setattr(dialect, "do_ping", lambda driver: pinged.append(driver) or ping(driver))
        database.ping()
        assert len(pinged) == tried


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        ("postgresql+psycopg://u@h/d", {}, 15),
        ("postgresql+psycopg://u@h/d?connect_timeout=3", {}, "3"),
        ("postgresql+psycopg://u@h/d", {"connect_timeout": 4}, 4),
        ("mysql+pymysql://u@h/d", {}, None),
    ],
)
def test_a_server_that_does_not_answer_is_waited_for_as_long_as_for_a_lock(
    url: str, given: dict[str, int], expected: object
) -> None:
    engines = make_engines(make_url(url), ours=False, connect_args=given)
    for engine in (engines.read, engines.write):
        seen: list[dict[str, Any]] = []

        def connect(_: object, __: object, ___: object, options: dict[str, Any], seen: Any = seen) -> None:
            seen.append(options)
            raise ConnectionError

        event.listen(engine, "do_connect", connect)
        with pytest.raises(ConnectionError):
            engine.connect()
        assert seen[0].get("connect_timeout") == expected


def _cut_all(database: Database) -> None:
    """End the server's side of every connection that the database has."""
    engine = create_engine(database.url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                others = "application_name = 'cut' AND pid <> pg_backend_pid()"
                connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            else:
                others = "db = DATABASE() AND id <> CONNECTION_ID()"
                ids = connection.exec_driver_sql(f"SELECT id FROM information_schema.processlist WHERE {others}")
                for number in ids.scalars().all():
                    connection.exec_driver_sql(f"KILL {number}")
    finally:
        engine.dispose()


# --- what is missing ------------------------------------------------------------------------------------------------


def test_missing_tables_and_columns_are_told(database: Database) -> None:
    assert missing(database) == []
    tables = database.tables
    with database.transaction() as connection:
        tables.event.drop(connection)
        tables.challenge.drop(connection)
        connection.execute(text("ALTER TABLE otpauth_flags DROP COLUMN phone"))
    assert sorted(missing(database)) == ["otpauth_challenge", "otpauth_event", "otpauth_flags.phone"]


@pytest.mark.services
def test_tables_in_a_schema_are_found_there(tmp_path: Path) -> None:
    with database_url("postgresql", tmp_path) as url:
        schema = url.rpartition("%3D")[2]
        tables = tables_for(MetaData(schema=schema))
        with closing(Database(url.partition("?")[0], tables, create=True)) as database:
            assert missing(database) == []
            with database.transaction() as connection:
                connection.execute(text(f"ALTER TABLE {schema}.otpauth_flags DROP COLUMN phone"))
            assert missing(database) == ["otpauth_flags.phone"]


# --- making tables ------------------------------------------------------------------------------------------------


def _create(url: str, start: object, results: object) -> None:
    metadata = MetaData()
    extra = MetaData()
    Table("people", extra, Column("id", Integer, primary_key=True))
    with closing(Database(url, tables_for(metadata), create=True, ours=True, extra=extra)) as database:
        start.wait(60)  # type: ignore[attr-defined]
        try:
            SqlGuard(database).open(KEY, NOW)
            with database.read() as connection:
                connection.exec_driver_sql("SELECT id FROM people")
            results.put("made")  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001
            results.put(f"{error!r} {error.__cause__!r}")  # type: ignore[attr-defined]


def test_processes_that_start_at_once_make_the_tables(url: str) -> None:
    start, results = CONTEXT.Barrier(4), CONTEXT.Queue()
    processes = [CONTEXT.Process(target=_create, args=(url, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == ["made"] * 4
    for process in processes:
        process.join()
    results.close()


def test_a_failed_start_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with closing(Database(f"sqlite:///{folder / 'x.sqlite'}", tables_for(MetaData()), create=True)) as database:
        with pytest.raises(ServiceUnavailable):
            database.ping()
        folder.mkdir()
        SqlGuard(database).open(KEY, NOW)


def test_a_forked_child_uses_connections_of_its_own(database: Database) -> None:
    SqlGuard(database).open(KEY, NOW)
    process = multiprocessing.get_context("fork").Process(target=lambda: SqlClients(database).remember(KEY, "1", 1, 9))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert SqlClients(database).known(KEY, "1", 5)
