"""Reading a session's user in the same SELECT as the session, whatever type the app's primary key has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CHAR,
    Column,
    ColumnElement,
    Connection,
    Integer,
    String,
    Uuid,
    cast,
    collate,
    func,
    literal_column,
    text,
    type_coerce,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserColumns:
    """
    Where the app keeps its users, in the database that our tables are in.

    Attributes:
        id: The primary key: of type Integer, String or Uuid; users with another one are read by a second query.
        active: Truth of it lets the user in; None where the model has none.
    """

    id: Column[Any]
    active: Column[Any] | None = None


def same_user(users: UserColumns, user_id: Column[str], connection: Connection) -> ColumnElement[bool] | None:
    """
    Give the condition that joins the user of a session, of a form that finds him by the index of his primary key.

    The session's string is turned into the key's type, never the key into a string. None where that isn't possible.

    Args:
        connection: Used on MariaDB alone, to ask for the collation of the key: text of two collations either doesn't
            compare at all, or not by index.
    """
    key = users.id
    if users.active is not None and users.active.table is not key.table:
        return None
    if isinstance(key.type, Integer):
        return key == cast(user_id, key.type)
    if not isinstance(key.type, String | Uuid):
        return None
    if connection.dialect.name in ("mysql", "mariadb"):
        return _on_mariadb(key, user_id, connection)
    given: ColumnElement[Any] = user_id
    if isinstance(key.type, Uuid):
        if connection.dialect.supports_native_uuid and key.type.native_uuid:
            return key == cast(user_id, key.type)
        given = cast(_hex(user_id), CHAR(32))
    elif isinstance(key.type, CHAR):
        # PostgreSQL compares CHAR with text as text, past the index.
        given = cast(user_id, key.type)
    collation = key.type.collation
    return key == _plain(given if collation is None else collate(given, collation), key)


def _on_mariadb(key: Column[Any], user_id: Column[str], connection: Connection) -> ColumnElement[bool] | None:
    asked = text(
        "SELECT data_type, character_set_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = COALESCE(:schema, DATABASE()) AND table_name = :name AND column_name = :key"
    )
    row = connection.execute(asked, {"schema": key.table.schema, "name": key.table.name, "key": key.name}).first()
    if row is None:
        return None
    kind, charset, collation = row
    if kind == "uuid":
        return key == _plain(user_id, key)
    if charset is None:
        return None
    given = _hex(user_id) if isinstance(key.type, Uuid) else user_id
    converted = func.convert(given.op("USING")(literal_column(charset)))
    return key == _plain(collate(converted, collation), key)


def _hex(user_id: Column[str]) -> ColumnElement[str]:
    return func.replace(user_id, "-", "", type_=String())


def _plain(expression: ColumnElement[Any], key: Column[Any]) -> ColumnElement[Any]:
    return type_coerce(expression, key.type)
