"""A look at the rows of the user model as they are stored, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from .mapping import IDENTIFIERS, Key, UserMap

Stored = tuple[Key, Mapping[str, object]]
"""A key, and the identifiers of its row by canonical name."""


def page(connection: sa.Connection, users: UserMap, after: Key | None, limit: int) -> list[Stored]:
    """
    Give at most ``limit`` rows in the order of their keys, from the first one ``after`` a key.

    Identifiers that aren't plain columns beside the key are left out.
    """
    names = [one for one in IDENTIFIERS if one in users.columns and users.columns[one].table is users.key.table]
    find: sa.Select[Any] = sa.select(users.key, *(users.columns[one] for one in names)).order_by(users.key).limit(limit)
    if after is not None:
        find = find.where(users.key > after)
    return [(row[0], dict(zip(names, row[1:], strict=True))) for row in connection.execute(find)]


def search(connection: sa.Connection, users: UserMap, text: str, *, offset: int, limit: int) -> list[Key]:
    """
    Give keys, in their order, of rows whose key is the text or one of whose identifiers begins with it; all for "".

    Identifiers are compared in lower case, as they are stored; those that aren't plain columns are left out. Of an
    inherited model there may be keys of others among them.
    """
    columns = [users.columns[name] for name in IDENTIFIERS if name in users.columns]
    matches: list[sa.ColumnElement[bool]] = [one.startswith(text.casefold(), autoescape=True) for one in columns]
    key = users.read_key(text)
    if key is not None:
        matches.append(users.key == key)
    find: sa.Select[Any] = sa.select(users.key).order_by(users.key).limit(limit).offset(offset)
    if text:
        find = find.where(sa.or_(sa.false(), *matches))
    return list(connection.scalars(find))
