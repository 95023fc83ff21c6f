"""What the app's own SQLAlchemy session is doing, found out without touching it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from .engines import file_of


def holds_write(session: Session | None, file: Path) -> bool:
    """
    Tell, without SQL, whether the session has a write on that SQLite file that isn't committed.

    Where the app begins its transactions itself (isolation level None, or ``autocommit=False`` of Python 3.12), a
    transaction may as well be one that only reads: it isn't counted, since waiting for it may end.
    """
    return any(_begins_at_writes(driver) for driver in _open(session, file))


def holds_transaction(session: Session | None, file: Path) -> bool:
    """Tell, without SQL, whether the session is in any transaction on that SQLite file."""
    return any(True for _ in _open(session, file))


def _open(session: Session | None, file: Path) -> list[Any]:
    transaction = session.get_transaction() if session is not None else None
    if transaction is None:
        return []
    # There is no public way to see which connections a session holds, short of asking it for one.
    pairs: dict[Any, Any] = transaction._connections  # pyright: ignore[reportPrivateUsage]
    connections = {id(key): key for key in pairs if isinstance(key, Connection)}
    drivers = [c.connection.dbapi_connection for c in connections.values() if not c.closed and _same(c, file)]
    return [driver for driver in drivers if getattr(driver, "in_transaction", False)]


def _same(connection: Connection, file: Path) -> bool:
    other = file_of(connection.engine.url)
    try:
        return other is not None and other.samefile(file)
    except OSError:
        return other == file


def _begins_at_writes(driver: Any) -> bool:
    # sqlite3 of the standard library begins a transaction before the first INSERT, UPDATE or DELETE, never at a SELECT.
    legacy = getattr(driver, "autocommit", -1) == -1
    return legacy and getattr(driver, "isolation_level", None) is not None
