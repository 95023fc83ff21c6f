"""Users in an in-memory SQLite database, whose one connection is the host's."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy

T = TypeVar("T")


class SharedConnection:
    """
    ``Connections`` to an in-memory SQLite database. Needs an app context.

    Every connection to it is the same one underneath. While the host's session has written to it and not committed,
    what we write is committed or rolled back with that; otherwise it is committed at once. Nothing of the host's is
    committed or rolled back by us.
    """

    def __init__(self, db: SQLAlchemy, bind_key: str | None = None) -> None:
        self._db = db
        self._bind_key = bind_key

    @contextmanager
    def read(self) -> Generator[sa.Connection, None, None]:
        """Give the connection as the host left it."""
        busy = self._busy()
        if busy is not None:
            yield busy
        else:
            with self._engine.connect() as connection:
                yield connection

    @contextmanager
    def transaction(self) -> Generator[sa.Connection, None, None]:
        """Give a transaction, or a savepoint in the host's."""
        busy = self._busy()
        if busy is not None:
            with busy.begin_nested():
                yield busy
        else:
            with self._engine.begin() as connection:
                yield connection

    def unit(self, work: Callable[[], T], /) -> T:
        """Run work; each of its transactions ends by itself, for our own tables are in another database."""
        return work()

    @property
    def _engine(self) -> sa.Engine:
        return self._db.engines[self._bind_key]

    def _busy(self) -> sa.Connection | None:
        """Give the connection of the host's session, if it has written: giving one back to the pool would undo that."""
        session = self._db.session() if self._db.session.registry.has() else None
        if session is None or not session.in_transaction():
            return None
        connection = session.connection(bind_arguments={"bind": self._engine})
        return connection if getattr(connection.connection.dbapi_connection, "in_transaction", False) else None
