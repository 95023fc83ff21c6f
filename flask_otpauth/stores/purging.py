"""Deleting what is past its time, in batches that hold no lock for long."""

from __future__ import annotations

from sqlalchemy import Column, Connection, bindparam, delete, select

from ..types import Instant
from .database import Database


def purge(database: Database, column: Column[int], before: Instant, limit: int) -> int:
    """
    Delete at most ``limit`` rows whose ``column`` is earlier than ``before``, the earliest first; tell how many.

    Each DELETE asks for the time again: a row that was used in between stays.
    """
    table = column.table
    keys = list(table.primary_key)
    find = select(*(key.label(f"key_{key.name}") for key in keys)).where(column < before).order_by(column).limit(limit)
    remove = delete(table).where(
        column < before, *(key == bindparam(f"key_{key.name}", type_=key.type) for key in keys)
    )

    def work(connection: Connection) -> int:
        # In the order of the primary key, so that two batches at once wait for each other and never in a circle.
        found = sorted((dict(row) for row in connection.execute(find).mappings()), key=lambda row: tuple(row.values()))
        if found:
            connection.execute(remove, found)
        return len(found)

    return database.run(work)
