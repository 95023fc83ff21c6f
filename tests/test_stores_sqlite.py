"""SQLite files: ours, the app's, and those that stand in for memory."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from shutil import rmtree
from types import SimpleNamespace

import pytest
from sqlalchemy import URL, Column, Integer, MetaData, String, Table, create_engine, insert, make_url, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from flask_otpauth.errors import ServiceUnavailable
from flask_otpauth.stores import Database, SqlClients, SqlGuard, tables_for
from flask_otpauth.stores.creation import _is_locked
from flask_otpauth.stores.engines import file_of, is_memory
from flask_otpauth.stores.hosts import _begins_at_writes
from flask_otpauth.types import Charge, Window

NOW = 1_800_000_000_000
KEY = b"k" * 32
ONE = (Window(limit=1, seconds=900),)


@pytest.fixture
def things() -> Table:
    return Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("name", String(20)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.sqlite"


@pytest.fixture
def opened(file: Path) -> Generator[Callable[..., Database], None, None]:
    """Give a maker of databases on one SQLite file."""
    made: list[Database] = []

    def make(**options: object) -> Database:
        database = Database(f"sqlite:///{file}", tables_for(MetaData()), **{"create": True, **options})  # type: ignore[arg-type]
        made.append(database)
        return database

    yield make
    for database in made:
        database.close()


def mode(file: Path) -> str:
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        found = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
    engine.dispose()
    return found


def test_a_file_of_ours_is_put_into_wal_and_synced_as_that_needs(file: Path, opened: Callable[..., Database]) -> None:
    database = opened(ours=True)
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    assert mode(file) == "wal"


def test_the_mode_of_a_file_of_the_app_is_not_touched(file: Path, opened: Callable[..., Database]) -> None:
    database = opened()
    with database.transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    assert mode(file) == "delete"


def test_the_mode_is_changed_once_nobody_holds_the_file(file: Path, opened: Callable[..., Database]) -> None:
    with closing(sqlite3.connect(file, check_same_thread=False, isolation_level=None)) as other:
        other.execute("CREATE TABLE other (id INTEGER)")
        other.execute("BEGIN EXCLUSIVE")
        end = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        end.start()
        opened(ours=True, connect_args={"timeout": 0}).ping()
        end.join()
    assert mode(file) == "wal"


def test_a_file_that_somebody_keeps_is_not_waited_for_without_end(
    file: Path, opened: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_otpauth.stores.creation.BUSY_SECONDS", 0.2)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("CREATE TABLE other (id INTEGER)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ServiceUnavailable):
            opened(ours=True, connect_args={"timeout": 0}).ping()


def test_a_file_that_goes_away_is_service_unavailable(tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    with closing(Database(f"sqlite:///{folder / 'app.sqlite'}", tables_for(MetaData()), create=True)) as database:
        clients = SqlClients(database)
        assert not clients.known(KEY, "1", NOW)
        database._engines.dispose()
        rmtree(folder)
        with pytest.raises(ServiceUnavailable) as caught:
            clients.known(KEY, "1", NOW)
        assert isinstance(caught.value.__cause__, DBAPIError)


@pytest.mark.parametrize(
    ("told", "locked"), [("database is locked", True), ("database table is locked", True), ("disk I/O error", False)]
)
def test_a_lock_is_told_by_its_words_too(told: str, locked: bool) -> None:
    # SQLITE_LOCKED is no SQLITE_BUSY.
    assert _is_locked(OperationalError("", None, sqlite3.OperationalError(told))) is locked
    assert not _is_locked(OperationalError("", None, Exception(told)))


@pytest.mark.parametrize(
    ("begins", "autocommit", "level"),
    [(True, -1, "DEFERRED"), (True, -1, ""), (False, -1, None), (False, False, "DEFERRED"), (False, True, "")],
)
def test_whether_a_driver_begins_at_writes_alone(begins: bool, autocommit: object, level: str | None) -> None:
    assert _begins_at_writes(SimpleNamespace(autocommit=autocommit, isolation_level=level)) is begins
    # Before Python 3.12 there is only one way; and who knows what another driver has.
    assert _begins_at_writes(SimpleNamespace(isolation_level=level)) is (level is not None)
    assert not _begins_at_writes(SimpleNamespace())


@pytest.mark.parametrize(
    "memory", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&cache=shared&uri=true"]
)
def test_an_app_in_memory_gets_a_private_file_that_goes_with_the_database(memory: str) -> None:
    database = Database(memory, tables_for(MetaData()))
    assert database.private
    SqlGuard(database).open(KEY, NOW)
    file = Path(str(database.url.database))
    assert file.exists()
    assert file.parent.stat().st_mode & 0o077 == 0
    database.close()
    assert not file.parent.exists()


def test_a_forgotten_database_closes_itself() -> None:
    database = Database("sqlite://", tables_for(MetaData()))
    SqlGuard(database).open(KEY, NOW)
    folder = Path(str(database.url.database)).parent
    del database
    assert not folder.exists()


def test_two_apps_in_memory_share_nothing() -> None:
    with (
        closing(Database("sqlite://", tables_for(MetaData()))) as one,
        closing(Database("sqlite://", tables_for(MetaData()))) as two,
    ):
        SqlClients(one).remember(KEY, "1", NOW, NOW + 1)
        assert not SqlClients(two).known(KEY, "1", NOW)


def test_a_write_that_would_wait_for_the_apps_own_is_refused_at_once(
    file: Path, opened: Callable[..., Database], things: Table
) -> None:
    engine = create_engine(f"sqlite:///{file}")
    things.create(engine)
    with Session(engine) as session:
        database = opened(host_session=lambda: session)
        guard = SqlGuard(database)
        guard.open(KEY, NOW)
        session.execute(select(things))
        assert isinstance(guard.charge(KEY, ONE, NOW), Charge)
        session.execute(insert(things).values(name="pending"))
        start = time.monotonic()
        with pytest.raises(RuntimeError, match=r"db\.session\.commit"):
            guard.open(KEY, NOW)
        with pytest.raises(RuntimeError, match=r"db\.session\.commit"):
            database.unit(lambda: guard.open(KEY, NOW))
        assert time.monotonic() - start < 1
        assert SqlClients(database).known(KEY, "1", NOW) is False
        session.commit()
        guard.open(KEY, NOW)
    engine.dispose()


def test_a_wait_for_a_transaction_that_the_app_began_itself_is_explained(
    file: Path, opened: Callable[..., Database], things: Table
) -> None:
    engine = create_engine(f"sqlite:///{file}", connect_args={"isolation_level": None})
    things.create(engine)
    with Session(engine) as session:
        database = opened(host_session=lambda: session, connect_args={"timeout": 0.1})
        SqlGuard(database).open(KEY, NOW)
        session.execute(text("BEGIN IMMEDIATE"))
        with pytest.raises(RuntimeError, match=r"db\.session\.commit"):
            SqlGuard(database).open(KEY, NOW)
    engine.dispose()


def test_a_write_on_another_file_is_no_reason_to_refuse(
    tmp_path: Path, opened: Callable[..., Database], things: Table
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'other.sqlite'}")
    things.create(engine)
    with Session(engine) as session:
        session.execute(insert(things).values(name="pending"))
        SqlGuard(opened(host_session=lambda: session)).open(KEY, NOW)
    engine.dispose()


def test_a_session_without_a_transaction_is_no_reason_to_refuse(opened: Callable[..., Database]) -> None:
    SqlGuard(opened(host_session=lambda: None)).open(KEY, NOW)
    with Session() as session:
        SqlGuard(opened(host_session=lambda: session)).open(KEY, NOW)


def test_a_file_that_stays_locked_is_service_unavailable(opened: Callable[..., Database]) -> None:
    database, other = opened(connect_args={"timeout": 0.1}), opened()
    guard = SqlGuard(database)
    guard.open(KEY, NOW)
    with other.transaction() as connection:
        connection.execute(text("DELETE FROM otpauth_event"))
        with pytest.raises(ServiceUnavailable):
            guard.open(KEY, NOW)
        with pytest.raises(ServiceUnavailable):
            database.run(lambda _: None)
    guard.open(KEY, NOW)


def test_a_closed_private_file_stays_when_a_child_ends() -> None:
    with closing(Database("sqlite://", tables_for(MetaData()))) as database:
        process = multiprocessing.get_context("fork").Process(target=database.close)
        process.start()
        process.join(30)
        database.ping()
        assert Path(str(database.url.database)).exists()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:shared?mode=memory&uri=true",
        URL.create("sqlite", database="file:shared?mode=memory"),
    ],
)
def test_a_database_in_memory_has_no_file(url: str | URL) -> None:
    assert is_memory(make_url(url))
    assert file_of(make_url(url)) is None


@pytest.mark.parametrize("name", ["/data/app.sqlite", "file:/data/app.sqlite", "file:/data/app.sqlite?mode=ro"])
def test_a_file_is_found_in_each_form_of_its_name(name: str) -> None:
    url = URL.create("sqlite", database=name)
    assert not is_memory(url)
    assert file_of(url) == Path("/data/app.sqlite")


def test_a_server_has_no_file() -> None:
    assert not is_memory(make_url("postgresql://127.0.0.1/:memory:"))
    assert file_of(make_url("postgresql://127.0.0.1/app")) is None
