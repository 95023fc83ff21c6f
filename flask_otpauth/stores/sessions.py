"""Sessions in SQL: one row a login, which every token and cookie of it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Select,
    String,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    select,
    update,
)

from ..types import Instant, NewSession, Rotation, SessionRecord, UserState
from .database import Database
from .membership import UserColumns, same_user
from .purging import purge
from .statements import Row, Statement

REUSE_GRACE = 10_000
"""Milliseconds after a rotation within which the token before is refused without ending the session."""

_RECORD = (
    "id",
    "user_id",
    "cookie",
    "amr",
    "auth_time",
    "code_at",
    "created_at",
    "used_at",
    "rotated_at",
    "expires_at",
    "idle_at",
    "client",
)
_CLIENT_LENGTH = 255


class SqlSessions:
    """``SessionStore`` in SQL. With ``users``, a session and the state of its user are read by one SELECT."""

    def __init__(self, database: Database, users: UserColumns | None = None) -> None:
        self._database = database
        self._users = users
        table = self._table = database.tables.session
        this = table.c.id == bindparam("id_")
        self._reads: dict[str, Statement] | None = None
        self._joined = False
        self._add = Statement(insert(table).values({c.name: bindparam(c.name, type_=c.type) for c in table.columns}))
        self._touch = Statement(update(table).values(idle_at=self._idle(), used_at=_now()).where(this, self._live()))
        self._rotate = Statement(
            update(table)
            .ordered_values(*self._exchanged(_digest("new")), (table.c.idle_at, self._idle()))
            .where(this, table.c.refresh == _digest("old"), self._live())
        )
        proof = (
            (table.c.cookie, func.coalesce(_digest("new_cookie"), table.c.cookie)),
            (table.c.amr, bindparam("new_amr", type_=String())),
            (table.c.auth_time, bindparam("new_auth_time", type_=BigInteger())),
            (table.c.used_at, _now()),
            # A password proved again takes no code away that was proved before.
            (table.c.code_at, func.coalesce(bindparam("new_code_at", type_=BigInteger()), table.c.code_at)),
        )
        self._raise = Statement(update(table).ordered_values(*proof).where(this, self._live()))
        exchanged = self._exchanged(_digest("new_refresh"))
        self._raise_all = Statement(update(table).ordered_values(*exchanged, *proof).where(this, self._live()))
        self._end = Statement(update(table).values(ended_at=_now()).where(this, self._live()))

    def add(self, new: NewSession, /) -> None:
        self._database.change(
            self._add,
            {
                "id": new.id,
                "user_id": new.user_id,
                "cookie": new.cookie,
                "refresh": new.refresh,
                "previous": None,
                "rotated_at": None,
                "amr": " ".join(new.amr),
                "auth_time": new.auth_time,
                "code_at": new.code_at,
                "created_at": new.created_at,
                "used_at": new.created_at,
                "expires_at": new.expires_at,
                "idle_at": min(new.idle_at, new.expires_at),
                "ended_at": None,
                "client": _storable(new.client),
            },
        )

    def by_id(self, session_id: bytes, now: Instant) -> SessionRecord | None:
        return self._one("id", session_id, now)

    def by_cookie(self, cookie: bytes, now: Instant) -> SessionRecord | None:
        return self._one("cookie", cookie, now)

    def touch(self, session_id: bytes, idle_at: Instant, now: Instant) -> None:
        self._database.change(self._touch, {"id_": session_id, "new_idle_at": idle_at, "now": now})

    def rotate(self, session_id: bytes, old: bytes, new: bytes, now: Instant, *, idle_at: Instant) -> Rotation:
        params = {"id_": session_id, "old": old, "new": new, "now": now, "new_idle_at": idle_at}
        if self._database.change(self._rotate, params) == 1:
            return Rotation.ROTATED
        return self._database.run(lambda connection: self._refused(connection, session_id, old, now))

    def _refused(self, connection: Connection, session_id: bytes, old: bytes, now: Instant) -> Rotation:
        c = self._table.c
        find = select(c.previous, c.rotated_at).where(c.id == session_id, self._live(now)).with_for_update()
        row = connection.execute(find).first()
        if row is None:
            return Rotation.GONE
        previous, rotated_at = row
        if previous is not None and bytes(previous) == old and now - rotated_at <= REUSE_GRACE:
            return Rotation.REPEATED
        self._end.on(connection, {"id_": session_id, "now": now})
        return Rotation.REUSED

    def raise_assurance(
        self,
        session_id: bytes,
        *,
        amr: tuple[str, ...],
        auth_time: Instant,
        code_at: Instant | None,
        cookie: bytes | None,
        refresh: bytes | None,
        now: Instant,
    ) -> bool:
        params = {
            "id_": session_id,
            "new_amr": " ".join(amr),
            "new_auth_time": auth_time,
            "new_code_at": code_at,
            "new_cookie": cookie,
            "now": now,
        }
        if refresh is None:
            return self._database.change(self._raise, params) == 1
        return self._database.change(self._raise_all, {**params, "new_refresh": refresh}) == 1

    def live(self, now: Instant, *, user_id: str | None, offset: int, limit: int) -> list[SessionRecord]:
        """Give live sessions, those that would idle out last first; of one user, or of all."""
        c = self._table.c
        find = select(*[c[name] for name in _RECORD]).where(self._live(now))
        if user_id is not None:
            find = find.where(c.user_id == user_id)
        # By an index, so that a page costs the same in a table of millions.
        find = find.order_by(c.idle_at.desc(), c.id).limit(limit).offset(offset)
        with self._database.read() as connection:
            return [_record(tuple(row), UserState.UNREAD) for row in connection.execute(find)]

    def list(self, user_id: str, now: Instant) -> list[SessionRecord]:
        c = self._table.c
        columns = [c[name] for name in _RECORD]
        find = select(*columns).where(c.user_id == user_id, self._live(now)).order_by(c.created_at.desc(), c.id)
        with self._database.read() as connection:
            return [_record(tuple(row), UserState.UNREAD) for row in connection.execute(find)]

    def end(self, session_id: bytes, now: Instant) -> bool:
        return self._database.change(self._end, {"id_": session_id, "now": now}) == 1

    def end_all(self, user_id: str, now: Instant, *, but: bytes | None = None) -> int:
        c = self._table.c
        find = select(c.id).where(c.user_id == user_id, self._live(now), c.id != (but or b""))

        def work(connection: Connection) -> int:
            # One by one in the order of their keys, as in SqlChallenges.void.
            ids = sorted(bytes(key) for key in connection.scalars(find))
            return sum(self._end.on(connection, {"id_": key, "now": now}).rowcount for key in ids)

        return self._database.run(work)

    def purge(self, before: Instant, limit: int) -> int:
        ended = purge(self._database, self._table.c.ended_at, before, limit)
        # The idle end is never later than the absolute one.
        return ended + (purge(self._database, self._table.c.idle_at, before, limit - ended) if ended < limit else 0)

    # --- reading --------------------------------------------------------------------------------------------------

    def _one(self, column: str, value: bytes, now: Instant) -> SessionRecord | None:
        reads = self._reads or self._build()
        rows = self._database.fetch(reads[column], {"value": value, "now": now})
        if not rows:
            return None
        row = rows[0]
        return _record(row[:-2], _state(row[-2], row[-1]) if self._joined else UserState.UNREAD)

    def _build(self) -> dict[str, Statement]:
        with self._database.read() as connection:
            same = same_user(self._users, self._table.c.user_id, connection) if self._users is not None else None
        self._joined = same is not None
        self._reads = {name: Statement(self._select(name, same)) for name in ("id", "cookie")}
        return self._reads

    def _select(self, column: str, same: ColumnElement[bool] | None) -> Select[Any]:
        table = self._table
        columns = [table.c[name] for name in _RECORD]
        where = (table.c[column] == _digest("value"), self._live())
        if same is None or self._users is None:
            return select(*columns, literal_column("1"), literal_column("1")).where(*where)
        known: ColumnElement[Any] | None = self._users.active
        active = literal_column("1", Integer()) if known is None else known
        joined = table.outerjoin(self._users.id.table, same)
        return select(*columns, self._users.id.is_not(None), active).select_from(joined).where(*where)

    def _exchanged(self, new: ColumnElement[bytes]) -> Sequence[tuple[ColumnElement[Any], ColumnElement[Any]]]:
        c = self._table.c
        # In this order: MariaDB assigns one after the other, so that after it ``refresh`` would be the new one.
        return [(c.previous, c.refresh), (c.refresh, new), (c.rotated_at, _now())]

    def _live(self, now: Instant | None = None) -> ColumnElement[bool]:
        c = self._table.c
        at = _now() if now is None else now
        return and_(c.ended_at.is_(None), c.idle_at > at, c.expires_at > at)

    def _idle(self) -> ColumnElement[int]:
        end, idle = self._table.c.expires_at, bindparam("new_idle_at", type_=BigInteger())
        return case((idle < end, idle), else_=end)


def _record(row: Row, state: UserState) -> SessionRecord:
    key, user_id, cookie, amr, auth_time, code_at, created_at, used_at, rotated_at, expires_at, idle_at, client = row
    return SessionRecord(
        id=key,
        user_id=user_id,
        cookie=cookie,
        amr=tuple(amr.split()),
        auth_time=auth_time,
        code_at=code_at,
        created_at=created_at,
        used_at=used_at,
        rotated_at=rotated_at,
        expires_at=expires_at,
        idle_at=idle_at,
        client=client,
        user_state=state,
    )


def _state(found: object, active: object) -> UserState:
    if not found:
        return UserState.MISSING
    return UserState.ACTIVE if active else UserState.DISABLED


def _storable(client: str) -> str:
    # What a browser says of itself may be anything; PostgreSQL refuses NUL, and all of them lone surrogates.
    return client.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:_CLIENT_LENGTH]


def _digest(name: str) -> ColumnElement[bytes]:
    return bindparam(name, type_=LargeBinary(32))


def _now() -> ColumnElement[int]:
    return bindparam("now", type_=BigInteger())
