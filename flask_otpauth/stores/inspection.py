"""What a database has of what we need, and what its clock says."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Table, inspect, text

from ..types import Instant
from .database import Database

_TIMES = {
    "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": "SELECT CAST(ROUND(UNIX_TIMESTAMP(SYSDATE(3)) * 1000) AS SIGNED)",
    "mariadb": "SELECT CAST(ROUND(UNIX_TIMESTAMP(SYSDATE(3)) * 1000) AS SIGNED)",
}


def missing(database: Database) -> list[str]:
    """Give the names of our tables and columns that the database lacks."""
    with database.read() as connection:
        return list(_missing(connection, database.tables.all))


def server_time(database: Database) -> Instant | None:
    """Give the time of the database server; None where the database has no clock of its own."""
    query = _TIMES.get(database.backend)
    if query is None:
        return None
    with database.read() as connection:
        return int(connection.execute(text(query)).scalar_one())


def _missing(connection: Connection, tables: Iterable[Table]) -> Iterable[str]:
    inspector = inspect(connection)
    for table in tables:
        if not inspector.has_table(table.name, schema=table.schema):
            yield table.name
            continue
        found = {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}
        yield from (f"{table.name}.{column.name}" for column in table.columns if column.name not in found)
