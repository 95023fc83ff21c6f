"""What goes wrong between us and a database, and what it means."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..errors import ServiceUnavailable

_MARIADB_CONFLICTS = frozenset({1213, 1205})
_SQLSTATE_CONFLICTS = frozenset({"40001", "40P01"})


def is_conflict(error: BaseException | None) -> bool:
    """
    Tell whether two transactions were in each other's way, so that running this one again may succeed.

    Causes count too: a layer between may have put a name of its own on the driver's error.
    """
    while error is not None:
        if isinstance(error, DBAPIError):
            original = error.orig
            state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
            number = original.args[0] if original is not None and original.args else None
            return state in _SQLSTATE_CONFLICTS or number in _MARIADB_CONFLICTS
        error = error.__cause__
    return False


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection is gone."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_busy(error: BaseException) -> bool:
    """Tell whether SQLite waited its whole time-out for somebody else's lock."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def meaning(error: Exception) -> Exception:
    """
    Give what the caller is to see of an error: ``ServiceUnavailable`` for every fault of the database.

    A violated constraint is an answer, not a fault, and stays what it is, as does everything else.
    """
    if isinstance(error, IntegrityError) or not isinstance(error, DBAPIError | PoolTimeout):
        return error
    return ServiceUnavailable()


def named(error: Exception, sql: str, *, lost: bool = False) -> DBAPIError:
    """Give the driver's own error SQLAlchemy's name, without the parameters: they hold digests and addresses."""
    # psycopg names each violation by a class of its own under IntegrityError.
    violated = any(parent.__name__ == "IntegrityError" for parent in type(error).__mro__)
    kind = IntegrityError if violated else DBAPIError
    return kind(sql, None, error, connection_invalidated=lost)
