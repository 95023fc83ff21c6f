"""Flags of users in SQL, for models that have no columns for them."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, select, update

from ..types import Flags
from .database import Database
from .statements import Statement
from .upserts import upsert


class SqlFlags:
    """``FlagStore`` in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table = self._table = database.tables.flags
        this = table.c.user_id == bindparam("user")
        columns = (table.c.mfa_enabled, table.c.email, table.c.phone, table.c.claimed, table.c.registered)
        self._read = Statement(select(*columns).where(this))
        self._add = Statement(upsert(table, database.backend))
        self._remove = Statement(delete(table).where(this))

    def flags(self, user_id: str, /) -> Flags:
        rows = self._database.fetch(self._read, {"user": user_id})
        if not rows:
            return Flags()
        mfa_enabled, email, phone, claimed, registered = rows[0]
        return Flags(
            mfa_enabled=bool(mfa_enabled),
            email=email,
            phone=phone,
            claimed=claimed or None,
            registered=bool(registered),
        )

    def set_flags(
        self,
        user_id: str,
        /,
        *,
        mfa_enabled: bool | None = None,
        email: bytes | None = None,
        phone: bytes | None = None,
        claimed: str | None = None,
        registered: bool | None = None,
    ) -> None:
        given = {
            "mfa_enabled": mfa_enabled,
            "email": email,
            "phone": phone,
            "claimed": claimed,
            "registered": registered,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        if not changes:
            return
        change = update(self._table).values(changes).where(self._table.c.user_id == user_id)

        def work(connection: Connection) -> None:
            empty = {"mfa_enabled": False, "email": None, "phone": None, "claimed": None, "registered": False}
            self._add.on(connection, {"user_id": user_id, **empty})
            connection.execute(change)

        self._database.run(work)

    def forget(self, user_id: str, /) -> None:
        self._database.change(self._remove, {"user": user_id})
