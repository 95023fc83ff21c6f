"""Making the tables at first use, whoever else does so at the same moment."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.exc import OperationalError

from .engines import BUSY_SECONDS
from .faults import is_busy

_LOCK = 0x6F74_7061  # "otpa": the name that all processes agree on


def create(engine: Engine, tables: Iterable[Table]) -> None:
    """
    Make those tables that are missing. Several processes at once take turns.

    SQLite and PostgreSQL do it in one transaction. MariaDB commits each statement: a process that is killed midway may
    leave a table without an index.
    """
    with engine.begin() as connection, _turn(connection):
        for table in _sorted(tables):
            table.create(connection, checkfirst=True)


def _sorted(tables: Iterable[Table]) -> list[Table]:
    wanted = set(tables)
    metadatas = {id(table.metadata): table.metadata for table in wanted}
    return [table for metadata in metadatas.values() for table in metadata.sorted_tables if table in wanted]


@contextmanager
def _turn(connection: Connection) -> Generator[None, None, None]:
    backend = connection.dialect.name
    if backend == "postgresql":
        # "IF NOT EXISTS" is no help: two at once violate a unique index of the catalogue.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield
    elif backend in ("mysql", "mariadb"):
        name = {"name": f"otpauth.{connection.engine.url.database}"[:64], "seconds": BUSY_SECONDS}
        connection.execute(text("SELECT GET_LOCK(:name, :seconds)"), name)
        try:
            yield
        finally:
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), name)
    else:
        yield  # BEGIN IMMEDIATE lets in one at a time


def set_wal(engine: Engine) -> None:
    """Put a SQLite file that is ours alone into WAL mode, once: the file remembers it."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                if connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        except OperationalError as error:
            # SQLite doesn't wait here: two processes that change the mode at once get "locked" without its time-out.
            if not _is_locked(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _is_locked(error: OperationalError) -> bool:
    return is_busy(error) or (isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig))
