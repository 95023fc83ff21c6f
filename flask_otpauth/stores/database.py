"""One database: connections of our own, transactions that join, retries, and what its faults mean."""

from __future__ import annotations

import os
import secrets
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Dialect, Engine, MetaData, Table, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ..errors import UncommittedWrite
from .creation import create as create_tables
from .creation import set_wal
from .engines import BUSY_SECONDS, Engines, file_of, is_memory, make_engines, private_file, remove_private
from .faults import is_busy, is_conflict, is_lost, meaning, named
from .hosts import holds_transaction, holds_write
from .statements import Params, Row, Statement, all_rows, executed, row_count
from .tables import Tables
from .units import Unit

T = TypeVar("T")

ATTEMPTS = 6
"""How often a unit of work is tried against conflicts before the service counts as unavailable."""


class Database:
    """
    The database of one app.

    A unit of work takes its connection at its first write, so that a ``separate`` step may come before.

    Raises:
        ServiceUnavailable: From every method: the database is away, busy for 15 s, or lacks our tables.
        UncommittedWrite: From every write: this thread would wait for itself, see the message.
        RuntimeError: From a separate step inside a unit that has written.
        IntegrityError: A constraint is violated.
    """

    def __init__(
        self,
        url: str | URL,
        tables: Tables,
        *,
        create: bool = False,
        extra: MetaData | Callable[[], Iterable[Table]] | None = None,
        ours: bool = False,
        host_session: Callable[[], Session | None] | None = None,
        connect_args: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Take note; nothing connects before the first use.

        Args:
            create: Make missing tables at the first use, and those of ``extra``.
            ours: The SQLite file is nobody else's: it is put into WAL mode, and synced as that needs.
            host_session: Gives the app's own session of this thread, if there is one now; must not make one.
        """
        self.url: URL = make_url(url)
        self.tables: Tables = tables
        self.private: bool = is_memory(self.url)
        """Whether our tables live apart from the app's, because its SQLite database is in one connection's memory."""
        file = private_file() if self.private else None
        if file is not None:
            self.url, ours, create, extra, connect_args = (
                URL.create("sqlite", database=str(file)),
                True,
                True,
                None,
                None,
            )
        self._file = file_of(self.url)
        self._ours = ours and self._file is not None
        self._wanted = (lambda: _wanted(tables, extra)) if create else None
        self._host_session = None if self.private else host_session
        self._engines = make_engines(self.url, ours=self._ours, connect_args=connect_args or {})
        self._running: ContextVar[Unit | None] = ContextVar("otpauth_unit", default=None)
        self._lock = Lock()
        self._process = os.getpid()
        self._ready = False
        self._finalizer = weakref.finalize(self, _finish, self._engines, file, self._process)

    @property
    def dialect(self) -> Dialect:
        """The dialect, connected once, so that it knows the server's version."""
        self._prepare()
        return self._engines.read.dialect

    @property
    def backend(self) -> str:
        """ "sqlite", "postgresql", "mysql" or "mariadb"."""
        return self.url.get_backend_name()

    @property
    def makes_tables(self) -> bool:
        """Whether missing tables are made at the first use."""
        return self._wanted is not None

    def close(self) -> None:
        """Close all connections; a private file is removed. Further use makes new connections, and no private file."""
        self._finalizer()

    def ping(self) -> None:
        """Ask the database for an answer."""
        with self.read() as connection:
            connection.exec_driver_sql("SELECT 1")

    # --- transactions ---------------------------------------------------------------------------------------------

    def current(self) -> Connection | None:
        """Give the connection of the unit of work that runs here; None outside of one."""
        unit = self._running.get()
        return None if unit is None else unit.open()

    def unit(self, work: Callable[[], T], /) -> T:
        """Run work whose calls commit together or not at all; an inner unit is part of the outer one."""
        return work() if self._running.get() is not None else self._attempt(work)

    def undo(self, action: Callable[[], object], /) -> None:
        """
        Have an action run if this try of the unit that runs here doesn't commit, for what a rollback doesn't undo.

        Actions run in reverse order, outside of the unit and before another try. A commit whose answer got lost counts
        as one that failed. Outside of a unit nothing is noted.
        """
        running = self._running.get()
        if running is not None:
            running.actions.append(action)

    def run(self, work: Callable[[Connection], T], *, joined: bool = True) -> T:
        """Run work in the unit that runs here, or else (and always unless ``joined``) in a transaction of its own."""
        running = self._running.get()
        if joined and running is not None:
            return work(running.open())
        self._refuse_nesting(running)
        return self._attempt(lambda: work(self._opened()))

    @contextmanager
    def transaction(self) -> Generator[Connection, None, None]:
        """Give the connection of the unit that runs here, or else of a transaction that ends with the block."""
        running = self._running.get()
        if running is not None:
            yield running.open()
            return
        with self.separate() as connection:
            yield connection

    @contextmanager
    def separate(self) -> Generator[Connection, None, None]:
        """Give the connection of a transaction of its own, which a unit around it can't undo."""
        self._refuse_nesting(self._running.get())
        with self._told(), self._begun() as unit:
            yield unit.open()
            unit.commit()

    @contextmanager
    def read(self) -> Generator[Connection, None, None]:
        """Give a connection that sees what the unit here has written, or else one in AUTOCOMMIT. For reading only."""
        running = self._running.get()
        if running is not None and running.connection is not None:
            yield running.connection
            return
        self._prepare()
        with self._told(), self._engines.read.connect() as connection:
            yield connection

    # --- single statements ----------------------------------------------------------------------------------------

    def fetch(self, statement: Statement, params: Params) -> list[Row]:
        """Read all rows of a statement, in the unit's transaction or in none."""
        running = self._running.get()
        if running is not None and running.connection is not None:
            return self._joined(running.connection, statement, params, all_rows)
        return self._single(self._engines.read, statement, params, all_rows, attempts=2)

    def change(self, statement: Statement, params: Params, *, joined: bool = True) -> int:
        """Run one write, committed unless it joins a unit; tell how many rows it found."""
        running = self._running.get()
        if joined and running is not None:
            return self._joined(running.open(), statement, params, row_count)
        self._refuse_nesting(running)
        return self._single(self._writer(), statement, params, row_count)

    def change_returning(self, statement: Statement, params: Params, *, joined: bool = True) -> Row | None:
        """Run one write with RETURNING, committed unless it joins a unit; give its first row."""
        running = self._running.get()
        if joined and running is not None:
            rows = self._joined(running.open(), statement, params, all_rows)
        else:
            self._refuse_nesting(running)
            rows = self._single(self._writer(), statement, params, all_rows)
        return rows[0] if rows else None

    def _writer(self) -> Engine:
        # On SQLite the pool of one is the queue of this process's writers; a single statement needs no BEGIN there.
        self._prepare()
        self._refuse_waiting_for_host()
        return self._engines.write if self._file is not None else self._engines.read

    def _single(
        self, engine: Engine, statement: Statement, params: Params, take: Callable[[Any], T], *, attempts: int = 1
    ) -> T:
        with self._told():
            while True:
                attempts -= 1
                try:
                    return self._once(engine, statement, params, take)
                except DBAPIError as error:
                    # A write may have been done before the connection broke: only a read is tried again.
                    if not (attempts and error.connection_invalidated):
                        raise

    def _once(self, engine: Engine, statement: Statement, params: Params, take: Callable[[Any], T]) -> T:
        self._prepare()
        text, values = statement.bound(self._engines.read.dialect, params)
        driver = engine.dialect.loaded_dbapi
        try:
            connection = engine.pool.connect()
        except driver.Error as error:
            raise named(error, "connect") from error
        try:
            return executed(connection, text, values, take)
        except driver.Error as error:
            lost = engine.dialect.is_disconnect(error, connection.dbapi_connection, None)
            if lost:
                connection.invalidate(error)
                engine.dispose()  # its siblings in the pool were cut with it
            raise named(error, text, lost=lost) from error
        finally:
            connection.close()

    @staticmethod
    def _joined(connection: Connection, statement: Statement, params: Params, take: Callable[[Any], T]) -> T:
        """Run a statement in a unit's transaction, past SQLAlchemy's own execution: see ``Statement``."""
        text, values = statement.bound(connection.dialect, params)
        driver, pooled = connection.dialect.loaded_dbapi, connection.connection
        try:
            return executed(pooled, text, values, take)
        except driver.Error as error:
            lost = connection.dialect.is_disconnect(error, pooled.dbapi_connection, None)
            if lost:
                connection.invalidate(error)
            raise named(error, text, lost=lost) from error

    # --- the machinery --------------------------------------------------------------------------------------------

    def _attempt(self, work: Callable[[], T]) -> T:
        deadline = time.monotonic() + BUSY_SECONDS
        attempt = 1
        with self._told():
            while True:
                with self._begun() as unit:
                    try:
                        result = work()
                        unit.commit()
                    except Exception as error:
                        again = is_conflict(error) or (is_lost(error) and not unit.committing)
                        if not again or attempt == ATTEMPTS or time.monotonic() > deadline:
                            raise
                    else:
                        return result
                # Jitter: those who met once would meet again.
                time.sleep((1 + secrets.randbelow(10 * attempt)) / 1000)
                attempt += 1

    @contextmanager
    def _begun(self) -> Generator[Unit, None, None]:
        unit = Unit(self._connect)
        token = self._running.set(unit)
        try:
            yield unit
        finally:
            self._running.reset(token)
            unit.close()
            unit.take_back()

    def _connect(self) -> Connection:
        self._prepare()
        self._refuse_waiting_for_host()
        connection = self._engines.write.connect()
        try:
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return connection

    def _opened(self) -> Connection:
        connection = self.current()
        assert connection is not None  # noqa: S101
        return connection

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        try:
            yield
        except Exception as error:
            if is_busy(error) and self._host_may_be_why():
                raise UncommittedWrite(_WAITING) from error
            told = meaning(error)
            if told is error:
                raise
            raise told from error

    def _refuse_nesting(self, running: Unit | None) -> None:
        if running is not None and running.connection is not None:
            raise RuntimeError(
                "A step that commits by itself was asked for inside a unit of work that has already written: "
                "do it before the unit's first write."
            )

    def _refuse_waiting_for_host(self) -> None:
        if self._host_session is not None and self._file is not None and holds_write(self._host_session(), self._file):
            raise UncommittedWrite(_WAITING)

    def _host_may_be_why(self) -> bool:
        return (
            self._host_session is not None
            and self._file is not None
            and holds_transaction(self._host_session(), self._file)
        )

    def _prepare(self) -> None:
        if self._ready and self._process == os.getpid():
            return
        with self._told():
            self._begin_process()
            with self._lock:
                if not self._ready:
                    self._begin_use()
                    self._ready = True

    def _begin_process(self) -> None:
        if self._process != os.getpid():
            # Sockets and SQLite's locks don't survive a fork; the parent goes on with them.
            self._lock = Lock()
            self._engines.dispose(close=False)
            self._process = os.getpid()

    def _begin_use(self) -> None:
        self._refuse_waiting_for_host()
        if self._ours:
            set_wal(self._engines.read)
        if self._wanted is not None:
            create_tables(self._engines.write, self._wanted())
        with self._engines.read.connect():
            """The dialect learns the server's version from its first connection."""


_WAITING = (
    "The app's own database session holds changes on the SQLite file that Flask-OTPAuth is about to write, in this "
    "very thread: it would wait for itself. Commit or roll back (db.session.commit()) before the call."
)


def _wanted(tables: Tables, extra: MetaData | Callable[[], Iterable[Table]] | None) -> list[Table]:
    more = extra.tables.values() if isinstance(extra, MetaData) else extra() if extra is not None else ()
    return [*tables.all, *more]


def _finish(engines: Engines, file: Path | None, process: int) -> None:
    # A forked child's exit runs this too: the connections and the file are the parent's then.
    engines.dispose(close=process == os.getpid())
    if file is not None and process == os.getpid():
        remove_private(file)
