"""Events in SQL."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import bindparam, insert, select

from ..types import Event, Instant
from .database import Database
from .purging import purge
from .statements import Statement
from .tables import ADDRESS_LENGTH


class SqlEvents:
    """``EventStore`` in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table = self._table = database.tables.event
        given = [column for column in table.columns if column.name != "id"]
        row = {column.name: bindparam(column.name, type_=column.type) for column in given}
        self._add = Statement(insert(table).values(row).inline())

    def record(self, event: Event, /) -> None:
        # What a lax proxy lets through as an address has any length, and PostgreSQL and MariaDB refuse a longer one.
        address = None if event.address is None else event.address[:ADDRESS_LENGTH]
        row = {
            "name": event.name,
            "at": event.at,
            "user_id": event.user_id,
            "channel": event.channel,
            "purpose": event.purpose,
            "address": address,
            "details": json.dumps(dict(event.details), separators=(",", ":")),
        }
        self._database.change(self._add, row)

    def recent(self, limit: int, *, user_id: str | None = None, offset: int = 0) -> list[Event]:
        """Give the latest events, newest first; of one user, or of all."""
        c = self._table.c
        find = select(c.name, c.at, c.user_id, c.channel, c.purpose, c.address, c.details)
        if user_id is not None:
            find = find.where(c.user_id == user_id)
        with self._database.read() as connection:
            rows = connection.execute(find.order_by(c.at.desc(), c.id.desc()).limit(limit).offset(offset)).mappings()
            return [_event(dict(row)) for row in rows]

    def purge(self, before: Instant, limit: int) -> int:
        return purge(self._database, self._table.c.at, before, limit)


def _event(row: dict[str, Any]) -> Event:
    return Event(**{**row, "details": json.loads(row["details"])})
