"""Budgets in SQL: one row a key, with a fixed-width log of its last charges, and one conditional UPDATE a charge."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    String,
    Update,
    and_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    select,
    update,
)

from ..types import Charge, Instant, Spent, Window
from .database import Database
from .purging import purge
from .statements import Params, Row, Statement
from .tables import LOG_ENTRIES, LOG_ENTRY
from .upserts import charge_or_create, upsert

EMPTY = "|" + "0" * (LOG_ENTRY - 1)
EMPTY_LOG = EMPTY * LOG_ENTRIES
_STAMP = 11
_FIRST = "|" + "0" * _STAMP
_LAST = "|" + "f" * _STAMP
_LOG = re.compile(rf"(\|[0-9a-f]{{{LOG_ENTRY - 1}}}){{{LOG_ENTRIES}}}")
_DAY = 86_400_000


class SqlGuard:
    """
    ``GuardStore`` in SQL.

    The log is newest first and its times never decrease towards its front, even when the clock goes back: a charge is
    stamped with the latest time seen. So the ``limit``-th entry alone tells whether a window is full.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        table = self._table = database.tables.guard
        self._open = Statement(upsert(table, database.backend, update=("used_at",), only_if=_unused(table.c.used_at)))
        self._turn = Statement(upsert(table, database.backend, update=("used_at",)))
        self._read = Statement(select(table.c.log).where(table.c.key == bindparam("key_")))
        self._newest = Statement(select(_part(table.c.log, 1, LOG_ENTRY)).where(table.c.key == bindparam("key_")))
        self._refund = Statement(_refund(table.c.key, table.c.log, database.backend))
        self._reset = Statement(update(table).values(log=EMPTY_LOG).where(table.c.key == bindparam("key_")))
        self._charges: dict[int, tuple[Statement, Statement, Statement]] = {}

    def open(self, key: bytes, now: Instant) -> None:
        self._database.change(self._open, {"key": key, "log": EMPTY_LOG, "used_at": now, "stale": now - _DAY})

    def charge(
        self, key: bytes, windows: Sequence[Window], now: Instant, *, create: bool = False, joined: bool = False
    ) -> Charge | Spent:
        params: dict[str, object] = {"key_": key, "now": _hex(now), "random": secrets.token_hex(3), "used": now}
        for number, window in enumerate(windows):
            params[f"place{number}"] = (window.limit - 1) * LOG_ENTRY + 1
            params[f"cutoff{number}"] = "|" + _hex(now - window.seconds * 1000)
        take = self._take_or_create if create else self._take
        entry = take(len(windows), params, joined=joined)
        if entry is None:
            rows = self._database.fetch(self._read, {"key_": key})
            return Spent(retry_at=_retry_at(rows[0][0] if rows else "", windows, now))
        return Charge(key=key, entry=entry)

    def turn(self, key: bytes, now: Instant) -> None:
        # The lock of the row is the turn: SQLite has it on the whole file.
        self._database.change(self._turn, {"key": key, "log": "", "used_at": now})

    def refund(self, charge: Charge) -> None:
        self._database.change(self._refund, {"key_": charge.key, "entry": charge.entry})

    def reset(self, key: bytes) -> None:
        self._database.change(self._reset, {"key_": key})

    def purge(self, before: Instant, limit: int) -> int:
        return purge(self._database, self._table.c.used_at, before, limit)

    def _take_or_create(self, windows: int, params: Params, *, joined: bool) -> str | None:
        if self._database.backend in {"sqlite", "postgresql"} and self._database.dialect.insert_returning:
            first = f"|{params['now']}{params['random']}{EMPTY * (LOG_ENTRIES - 1)}"
            statement = self._charge(windows)[2]
            row = self._database.change_returning(statement, {**params, "first": first}, joined=joined)
            return None if row is None else str(row[0])
        entry = self._take(windows, params, joined=joined)
        if entry is None:
            # Missing or spent: not asked which, since somebody may make the row meanwhile.
            empty = {"key": params["key_"], "log": EMPTY_LOG, "used_at": params["used"], "stale": 0}
            self._database.change(self._open, empty, joined=joined)
            entry = self._take(windows, params, joined=joined)
        return entry

    def _take(self, windows: int, params: Params, *, joined: bool) -> str | None:
        plain, returning, _ = self._charge(windows)
        if self._database.dialect.update_returning:
            row = self._database.change_returning(returning, params, joined=joined)
            return None if row is None else str(row[0])

        def work(connection: Connection) -> Row | None:
            if plain.on(connection, params).rowcount != 1:
                return None
            return self._newest.on(connection, {"key_": params["key_"]}).first()

        row = self._database.run(work, joined=joined)
        return None if row is None else str(row[0])

    def _charge(self, windows: int) -> tuple[Statement, Statement, Statement]:
        """Give the statement that charges: plain, returning its entry, and making the row where it is missing."""
        found = self._charges.get(windows)
        if found is None:
            table = self._table
            values, conditions = _charge(table.c.log, windows)
            newest = _part(table.c.log, 1, LOG_ENTRY)
            charge = update(table).values(values).where(table.c.key == bindparam("key_"), *conditions)
            create = charge_or_create(table, self._database.backend, values, conditions).returning(newest)
            found = (Statement(charge), Statement(charge.returning(newest)), Statement(create))
            self._charges[windows] = found
        return found


def _unused(used_at: Column[int]) -> ColumnElement[bool]:
    # Opening a row keeps it from ``purge``; once a day is enough, and spares a write per challenge.
    return used_at < bindparam("stale", type_=used_at.type)


def _charge(log: Column[str], windows: int) -> tuple[dict[str, ColumnElement[Any]], list[ColumnElement[bool]]]:
    newest = _part(log, 2, _STAMP)
    now = bindparam("now", type_=String())
    stamp = case((newest > now, newest), else_=now)
    # Every part is typed: untyped, "+" between them becomes a sum, and the guard is off without an error.
    entry = literal("|", String()).concat(stamp).concat(bindparam("random", type_=String()))
    intact = and_(
        func.length(log) == LOG_ENTRIES * LOG_ENTRY,
        # A first entry that is no time would be taken for the latest time seen.
        _part(log, 1, _STAMP + 1).between(_FIRST, _LAST),
    )
    room = [
        func.substr(log, bindparam(f"place{number}", type_=Integer()), literal_column(str(_STAMP + 1))).between(
            _FIRST, bindparam(f"cutoff{number}", type_=String())
        )
        for number in range(windows)
    ]
    kept = _part(log, 1, (LOG_ENTRIES - 1) * LOG_ENTRY)
    used = bindparam("used", type_=BigInteger())
    return {"log": entry.concat(kept), "used_at": used}, [intact, *room]


def _refund(key: Column[bytes], log: Column[str], backend: str) -> Update:
    entry = bindparam("entry", type_=String())
    place = func.strpos(log, entry) if backend == "postgresql" else func.instr(log, entry)
    # By its place, not by replace(): that would take away a second entry of the same text too.
    before = func.substr(log, literal_column("1"), place - literal_column("1"), type_=String())
    after = func.substr(log, place + literal_column(str(LOG_ENTRY)), type_=String())
    rest = before.concat(after).concat(literal(EMPTY, String()))
    return update(key.table).values(log=rest).where(key == bindparam("key_"), place > literal_column("0"))


def _part(log: Column[str], place: int, length: int) -> ColumnElement[str]:
    return func.substr(log, literal_column(str(place)), literal_column(str(length)), type_=String())


def _hex(at: Instant) -> str:
    return f"{max(at, 0):0{_STAMP}x}"


def _retry_at(log: str, windows: Sequence[Window], now: Instant) -> Instant:
    if not _LOG.fullmatch(log):
        return now + min((window.seconds for window in windows), default=1) * 1000
    ends = [_time(log, window.limit - 1) + window.seconds * 1000 for window in windows]
    return max([now + 1, *ends])


def _time(log: str, place: int) -> Instant:
    start = place * LOG_ENTRY + 1
    return int(log[start : start + _STAMP], 16)
