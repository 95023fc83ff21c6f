"""Inserting a row or changing the one that is there, in one statement, in the words of each database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Insert, Table, and_, bindparam
from sqlalchemy.dialects import mysql, postgresql, sqlite


def charge_or_create(
    table: Table, backend: str, values: Mapping[str, Any], conditions: Sequence[ColumnElement[bool]]
) -> Insert:
    """Give an INSERT (binds ``key_``, ``first``, ``used``) that makes a conditional change of a row that is there."""
    maker = postgresql.insert if backend == "postgresql" else sqlite.insert
    binds = {"key": "key_", "log": "first", "used_at": "used"}
    new = maker(table).values({name: bindparam(bind, type_=table.c[name].type) for name, bind in binds.items()})
    return new.on_conflict_do_update(index_elements=["key"], set_=dict(values), where=and_(*conditions))


def upsert(
    table: Table, backend: str, *, update: Sequence[str] = (), only_if: ColumnElement[bool] | None = None
) -> Insert:
    """
    Give an INSERT of all columns (a bind each, by name) that changes ``update`` of a row that has the same key.

    Args:
        update: Columns that take the new values; none to leave such a row alone.
        only_if: Spares the write otherwise; MariaDB has no such condition, and writes.
    """
    values = {column.name: bindparam(column.name, type_=column.type) for column in table.columns}
    keys = [column.name for column in table.primary_key]
    if backend in ("mysql", "mariadb"):
        insert = mysql.insert(table).values(values)
        # Setting the key to itself changes nothing; INSERT IGNORE would swallow other faults too.
        return insert.on_duplicate_key_update({name: insert.inserted[name] for name in update or keys[:1]})
    maker = postgresql.insert if backend == "postgresql" else sqlite.insert
    new = maker(table).values(values)
    if not update:
        return new.on_conflict_do_nothing(index_elements=keys)
    return new.on_conflict_do_update(
        index_elements=keys, set_={name: new.excluded[name] for name in update}, where=only_if
    )
