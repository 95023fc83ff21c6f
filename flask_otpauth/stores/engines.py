"""Engines of our own, never the app's: its pool may be exhausted by threads that wait for us."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

from .faults import named
from .statements import executed, row_count

BUSY_SECONDS = 15
"""How long SQLite, and a pool, wait before the service counts as unavailable."""

LOCK_SECONDS = 5
"""How long a server lets us wait for one lock."""

IDLE_SECONDS = 10
"""A server's connection that was unused for longer is tried before use: firewalls and restarts cut them silently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """
    Two pools onto one database.

    ``write`` gives transactions: READ COMMITTED, and on SQLite ``BEGIN IMMEDIATE`` over one connection per process,
    so that threads queue for it in turn and don't poll the file. ``read`` is AUTOCOMMIT.
    """

    write: Engine
    read: Engine

    def dispose(self, *, close: bool = True) -> None:
        """Drop the pooled connections; ``close=False`` after a fork, where they belong to the parent."""
        self.write.dispose(close=close)
        self.read.dispose(close=close)


def is_memory(url: URL) -> bool:
    """Tell whether a SQLite URL names a database that lives in its connection only."""
    name = url.database or ""
    return url.get_backend_name() == "sqlite" and (
        name in ("", ":memory:") or ":memory:" in name or url.query.get("mode") == "memory" or "mode=memory" in name
    )


def file_of(url: URL) -> Path | None:
    """Give the file of a SQLite URL; None for every other database."""
    if url.get_backend_name() != "sqlite" or is_memory(url):
        return None
    name = (url.database or "").removeprefix("file:").partition("?")[0]
    return Path(name).absolute()


def private_file() -> Path:
    """Make an empty SQLite file in a folder that only this user can read."""
    return Path(tempfile.mkdtemp(prefix="otpauth-")) / "private.sqlite"


def remove_private(file: Path) -> None:
    """Remove what ``private_file`` made, with SQLite's own files beside it."""
    rmtree(file.parent, ignore_errors=True)


def make_engines(url: URL, *, ours: bool, connect_args: Mapping[str, Any]) -> Engines:
    """Make both engines; nothing connects yet."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, ours=ours, connect_args=connect_args)
    return _server(url, connect_args=connect_args)


def _sqlite(url: URL, *, ours: bool, connect_args: Mapping[str, Any]) -> Engines:
    options: dict[str, Any] = {
        "connect_args": {"timeout": BUSY_SECONDS, "check_same_thread": False, **connect_args, "isolation_level": None},
        "poolclass": QueuePool,
        "pool_timeout": BUSY_SECONDS,
        "hide_parameters": True,
    }
    write = create_engine(url, pool_size=1, max_overflow=0, **options)
    read = create_engine(
        url, pool_size=16, max_overflow=48, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options
    )
    event.listen(write, "begin", _begin_immediate)
    if ours:
        event.listen(write, "connect", _synchronous_normal)
        event.listen(read, "connect", _synchronous_normal)
    return Engines(write=write, read=read)


def _server(url: URL, *, connect_args: Mapping[str, Any]) -> Engines:
    options: dict[str, Any] = {
        "connect_args": dict(connect_args),
        "pool_timeout": BUSY_SECONDS,
        "pool_recycle": 1800,
        "hide_parameters": True,
    }
    if url.get_driver_name() in ("psycopg", "psycopg2") and "connect_timeout" not in url.query:
        options["connect_args"].setdefault("connect_timeout", BUSY_SECONDS)
    write = create_engine(url, isolation_level="READ COMMITTED", **options)
    read = create_engine(url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options)
    for engine in (write, read):
        event.listen(engine, "connect", _lock_timeout(url))
        event.listen(engine, "checkin", _note_time)
        event.listen(engine, "checkout", _try_idle(engine))
    return Engines(write=write, read=read)


def _begin_immediate(connection: Connection) -> None:
    # A deferred transaction that reads first and writes later fails at once with SQLITE_BUSY, whatever the time-out.
    begin = "BEGIN IMMEDIATE"
    try:
        executed(connection.connection, begin, (), row_count)
    except connection.dialect.loaded_dbapi.Error as error:
        raise named(error, begin) from error


def _synchronous_normal(connection: sqlite3.Connection, _record: object) -> None:
    # Safe with WAL against everything but the loss of power, which may take back the last commits.
    connection.execute("PRAGMA synchronous=NORMAL").close()


def _lock_timeout(url: URL) -> Any:
    postgresql = url.get_backend_name() == "postgresql"
    command = (
        f"SET lock_timeout = '{LOCK_SECONDS}s'" if postgresql else f"SET innodb_lock_wait_timeout = {LOCK_SECONDS}"
    )

    def limit(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(command)
        cursor.close()
        connection.commit()

    return limit


def _note_time(_connection: object, record: Any) -> None:
    record.info["otpauth_idle_since"] = time.monotonic()


def _try_idle(engine: Engine) -> Any:
    dialect = engine.dialect

    def check(connection: Any, record: Any, _proxy: object) -> None:
        since = record.info.get("otpauth_idle_since")
        if since is None or time.monotonic() - since < IDLE_SECONDS:
            return
        try:
            alive = dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error:
            alive = False
        if not alive:
            raise DisconnectionError

    return check
