"""Known clients in SQL: a row for each browser and user."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select

from ..types import Instant
from .database import Database
from .purging import purge
from .statements import Statement
from .upserts import upsert


class SqlClients:
    """``ClientStore`` in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table = self._table = database.tables.client
        self._known = Statement(
            select(table.c.expires_at)
            .where(table.c.id == bindparam("id_"), table.c.user_id == bindparam("user"))
            .where(table.c.expires_at > bindparam("now"))
        )
        self._several = Statement(
            select(table.c.id)
            .where(table.c.user_id == bindparam("user"), table.c.expires_at > bindparam("now"))
            .limit(2)
        )
        self._remember = Statement(upsert(table, database.backend, update=("seen_at", "expires_at")))
        others = table.c.id != bindparam("but", type_=table.c.id.type)
        self._forget = Statement(delete(table).where(table.c.user_id == bindparam("user"), others))

    def known(self, client: bytes, user_id: str, now: Instant) -> bool:
        return bool(self._database.fetch(self._known, {"id_": client, "user": user_id, "now": now}))

    def several(self, user_id: str, now: Instant) -> bool:
        return len(self._database.fetch(self._several, {"user": user_id, "now": now})) > 1

    def remember(self, client: bytes, user_id: str, now: Instant, expires_at: Instant) -> None:
        row = {"id": client, "user_id": user_id, "seen_at": now, "expires_at": expires_at}
        self._database.change(self._remember, row)

    def forget_all(self, user_id: str, *, but: bytes | None = None) -> None:
        self._database.change(self._forget, {"user": user_id, "but": but or b""})

    def purge(self, before: Instant, limit: int) -> int:
        return purge(self._database, self._table.c.expires_at, before, limit)
