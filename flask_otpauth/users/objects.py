"""Objects of the host's model, in sessions of our own."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, StatementError
from sqlalchemy.orm import Session

from .fields import roles
from .mapping import AnyColumn

_VIOLATED_CHECKS = frozenset({4025, 3819})
"""MariaDB and MySQL call a violated CHECK an operational error, like those of a server that is away."""


def session_on(connection: sa.Connection, join: Any = "rollback_only") -> Session:
    """Give a session of our own on a connection; it never commits that one's transaction: its owner does."""
    return Session(connection, join_transaction_mode=join, autoflush=False, expire_on_commit=False)


def first_of(error: StatementError) -> StatementError:
    """
    Give the error that began it.

    A deadlock ends MariaDB's whole transaction (1213), so that going back to the savepoint fails too (1305): only the
    first one says that another try may succeed.
    """
    while isinstance(error.__context__, DBAPIError):
        error = error.__context__
    return error


def is_refusal(error: StatementError) -> bool:
    """Tell whether the values of a row were refused, by a constraint or by the type of a column."""
    cause = error.orig
    if isinstance(error, OperationalError):
        return cause is not None and not _VIOLATED_CHECKS.isdisjoint(cause.args[:1])
    if isinstance(error, DBAPIError):
        return isinstance(error, IntegrityError | DataError)
    # A type of SQLAlchemy or of the host, which didn't take the value.
    return isinstance(cause, ValueError | TypeError | LookupError)


def truth_of(column: AnyColumn | None) -> object:
    """Give what marks an address as verified: True, or the database's time where the host keeps the time."""
    return sa.func.now() if column is not None and isinstance(column.type, sa.DateTime) else True


def value_of(user: object, name: str, attribute: str) -> object:
    """Give what an object has of a field."""
    value: object = getattr(user, attribute)
    # Read now, while the session is there: a relationship loads when it is iterated.
    return roles(value) if name in {"role", "roles"} else value
