"""Users in the app's own model of Flask-SQLAlchemy, or in the built-in one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import lazyload

from ..crypto import digest
from ..errors import ConfigurationError, IdentifierTaken
from ..types import Account, FlagStore, Identifier, Kind, NewAccount, UserState
from .additions import Refused, check, insert, refusal
from .fields import account
from .mapping import IDENTIFIERS, AnyColumn, Key, UserMap, has_attribute, map_of
from .model_faults import missing_attributes
from .objects import session_on, truth_of, value_of
from .survey import Stored, page, search

T = TypeVar("T")

_NOBODY = ""
"""A user id that no key has."""

Found = tuple[str, Mapping[str, object]]
"""String of the key, and values by canonical name."""


class Connections(Protocol):
    """
    Connections to the database that the users live in; never those of the host's session.

    READ COMMITTED. What is raised inside of a context passes through it, but for errors of a database that is away.
    """

    def read(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection that sees what the running unit of work wrote, if one runs; for reading only."""
        ...

    def transaction(self) -> AbstractContextManager[sa.Connection]:
        """Give the connection of the running unit of work, or else of a transaction that ends with the block."""
        ...

    def unit(self, work: Callable[[], T], /) -> T:
        """Run work as a unit, or as part of the one that runs; it may be run again after a conflict."""
        ...


class SqlUsers:
    """
    ``types.Users`` over a model.

    The host's session, its identity map and its transaction are touched by ``load`` only. Changes run through the
    model's mapper in a session of our own, so that its defaults, validators, cascades and mapper events hold; events
    of the host's session don't fire. Where several rows share an identifier, it names nobody.

    Args:
        fields: ``OTPAUTH_USER_FIELDS``: attribute names by canonical name; same names where it is silent.
        flags: Keeps what the model has no attribute for.
        asked: Wire names of all that registration asks for, by canonical name or attribute: what a caller can mend is
            told by them.

    Raises:
        ConfigurationError: The primary key isn't one integer, UUID or string.
    """

    def __init__(
        self,
        db: SQLAlchemy,
        model: type[Any],
        fields: Mapping[str, str],
        flags: FlagStore,
        *,
        database: Connections,
        asked: Mapping[str, str] | None = None,
    ) -> None:
        self._db = db
        self._fields = fields
        self._flags = flags
        self._database = database
        self._asked = asked or {}
        self._map = map_of(model, fields)
        # A backref comes into being when the mappers are configured, which may be before the first request only.
        self._settled = False
        self._selects: dict[str | None, sa.Select[Any]] = {}

    # --- what the model has ---------------------------------------------------------------------------------------

    @property
    def fields(self) -> Mapping[str, str]:
        """Attribute names of the fields that the model has, by canonical name."""
        return self._map.attributes

    @property
    def bind_key(self) -> str | None:
        """Name of the bind that the model lives in (Flask-SQLAlchemy, multiple databases); None for the default one."""
        key: str | None = self._map.model.metadata.info.get("bind_key")
        return key

    @property
    def required(self) -> frozenset[str]:
        """Identifiers that can't be NULL. (A password hash that can't is stored as "" for who has none.)"""
        return frozenset(name for name in IDENTIFIERS if not self._map.nullable(name))

    def length(self, field: str, /) -> int | None:
        """Give how many characters the model holds of a field; None for any number."""
        return self._map.length(field)

    def has(self, attribute: str) -> bool:
        """Tell whether the model has an attribute that registration may set."""
        return has_attribute(self._map.model, attribute)

    def columns(self) -> tuple[AnyColumn, AnyColumn | None] | None:
        """
        Give the columns of the key and of ``active`` (None where every user is), to be read with the session's row.

        None where one statement can't tell whether a user is active: it is computed, or the model is inherited.
        """
        active = self._map.columns.get("active")
        if self._map.mapper.inherits is not None or (active is None and "active" in self._map.attributes):
            return None
        return self._map.key, active

    def key(self, user_id: str) -> Key | None:
        """Give the value of the primary key; None for a text that can be none."""
        return self._map.read_key(user_id)

    # --- reading --------------------------------------------------------------------------------------------------

    def by_id(self, user_id: str, /) -> Account | None:
        return self._account(self._by_key(user_id))

    def by_identifier(self, identifier: Identifier, /) -> Account | None:
        name, value = identifier.kind.value, identifier.value
        found: Sequence[Found] = ()
        if name in self._map.attributes:
            with self._database.read() as connection:
                rows = self._find(connection, name, value)
            # A collation may find more than was asked for: "jose" finds "José" on MariaDB.
            found = [one for one in rows if str(one[1][name]) == value]
        return self._account(found)

    def active(self, user_id: str, /) -> UserState:
        found = self._by_key(user_id)
        if not found:
            return UserState.MISSING
        return UserState.ACTIVE if found[0][1].get("active", True) else UserState.DISABLED

    def load(self, user_id: str, /) -> object | None:
        key = self.key(user_id)
        found: object | None = None if key is None else self._db.session.get(self._map.model, key)
        return found

    def seen(self, user_id: str, look: Callable[[Any], T], /) -> T:
        key = self.key(user_id)
        self._settled_map()
        # A session of our own: the host's doesn't see a user who is registered by the unit that runs.
        with self._database.read() as connection, session_on(connection) as session:
            user = None if key is None else session.get(self._map.model, key)
            if user is None:
                raise LookupError("there is no such user")
            return look(user)

    def id_of(self, user: object, /) -> str:
        """
        Give the string of the primary key.

        Raises:
            TypeError: It is no object of the user model.
            ValueError: It was never stored.
        """
        if not isinstance(user, self._map.model):
            raise TypeError(f"{type(user).__name__} is not the user model {self._map.model.__name__}")
        value = getattr(user, self._map.mapper.get_property_by_column(self._map.key).key)
        if value is None:
            raise ValueError("the user has no primary key yet; commit it first")
        return str(value)

    def page(self, after: Key | None, limit: int) -> list[Stored]:
        """Give what is stored, page by page; see ``survey.page``."""
        with self._database.read() as connection:
            return page(connection, self._settled_map(), after, limit)

    def search(self, text: str, /, *, offset: int, limit: int) -> list[Account]:
        """Give users whose key is the text, or one of whose identifiers begins with it; see ``survey.search``."""
        with self._database.read() as connection:
            keys = search(connection, self._settled_map(), text, offset=offset, limit=limit)
        return [account for account in (self.by_id(str(key)) for key in keys) if account is not None]

    # --- changing -------------------------------------------------------------------------------------------------

    def add(self, new: NewAccount, /) -> Account:
        """
        Store a new user; joins the running unit of work.

        Of an identifier that the model doesn't keep unique, a race may store two: then it names nobody.

        Raises:
            IdentifierTaken: Exactly one of several callers at once wins.
            ValidationFailed: A value is longer than its column, taken or refused by a constraint, a type or a
                validator of the model, or one that the model needs is missing.
            ConfigurationError: The model needs more than a registration gives.
        """
        self._settled_map()
        check(self._map, new, self._asked)
        return self._database.unit(lambda: self._add(new))

    def set_password(self, user_id: str, password_hash: str | None, /, *, was: str | None = None) -> None:
        value = password_hash if password_hash is not None or self._map.nullable("password_hash") else ""

        def store(user: object) -> None:
            if was is None or getattr(user, self._map.attributes["password_hash"]) == was:
                self._set(user, "password_hash", value)

        if "password_hash" in self._map.attributes:
            self._change(user_id, store)

    def set_verified(self, user_id: str, kind: Kind, value: str, /) -> None:
        name = f"{kind.value}_verified"

        def verify(user: object) -> None:
            if str(getattr(user, self._map.attributes[kind.value])) == value:
                self._set(user, name, truth_of(self._map.columns.get(name)))

        if name in self._map.attributes:
            self._change(user_id, verify)
        elif (account := self.by_id(user_id)) is not None and getattr(account, kind.value) == value:
            self._flag(user_id, kind, value)

    def clear_address(self, user_id: str, kind: Kind, /, *, claim: str | None = None) -> None:
        if kind.value in self._map.attributes and self._map.nullable(kind.value):
            self._change(user_id, lambda user: self._set(user, kind.value, None))
            self._flags.set_flags(user_id, claimed=claim or "")

    def clear_profile(self, user_id: str, fields: Collection[str], /) -> None:
        columns = {field: self._map.column_of(field) for field in fields}
        wanted = [field for field, column in columns.items() if column is not None and column.nullable]

        def clear(user: object) -> None:
            for field in wanted:
                setattr(user, field, None)

        self._change(user_id, clear)

    def set_mfa(self, user_id: str, enabled: bool, /) -> None:
        if "mfa_enabled" in self._map.attributes:
            self._change(user_id, lambda user: self._set(user, "mfa_enabled", enabled))
        else:
            self._flags.set_flags(user_id, mfa_enabled=enabled)

    def remove(self, user_id: str, /) -> None:
        def work() -> None:
            with self._database.transaction() as connection, session_on(connection) as session:
                user = None if key is None else session.get(self._map.model, key)
                if user is not None:
                    session.delete(user)
                    session.commit()
            self._flags.forget(user_id)

        key = self.key(user_id)
        self._settled_map()
        self._database.unit(work)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _add(self, new: NewAccount) -> Account:
        with self._database.transaction() as connection:
            user_id = self._insert(connection, new)
        # SQLite gives out the key of a deleted row again: what was kept of that user isn't this one's.
        self._flags.forget(user_id)
        for kind, value, verified in (
            (Kind.EMAIL, new.email, new.email_verified),
            (Kind.PHONE, new.phone, new.phone_verified),
        ):
            if verified and value is not None and f"{kind.value}_verified" not in self._map.attributes:
                self._flag(user_id, kind, value)
        if new.claimed is not None or new.registered:
            self._flags.set_flags(user_id, claimed=new.claimed, registered=new.registered)
        added = self.by_id(user_id)
        if added is None:
            raise LookupError("the user that was just stored isn't there")
        return added

    def _settled_map(self) -> UserMap:
        if not self._settled:
            self._map.mapper.registry.configure(cascade=True)
            self._map = map_of(self._map.model, self._fields)
            if missing := missing_attributes(self._map, self._fields):
                raise ConfigurationError(missing)
            self._selects = {}
            self._settled = True
        return self._map

    def _by_key(self, user_id: str) -> list[Found]:
        key = self.key(user_id)
        if key is None:
            return []
        with self._database.read() as connection:
            return [one for one in self._find(connection, None, key) if one[0] == user_id]

    def _find(self, connection: sa.Connection, name: str | None, value: object) -> list[Found]:
        """Give the rows whose field, or key, equals the value as the database compares."""
        if not self._settled_map().plain:
            return self._find_objects(connection, name, value)
        rows = connection.execute(self._select(name), {"wanted": value}).all()
        return [(str(row[0]), dict(zip(self._map.attributes, row[1:], strict=True))) for row in rows]

    def _select(self, name: str | None) -> sa.Select[Any]:
        known = self._selects.get(name)
        if known is not None:
            return known
        column = self._map.key if name is None else self._map.columns[name]
        columns: list[AnyColumn] = [self._map.key, *(self._map.columns[one] for one in self._map.attributes)]
        made: sa.Select[Any] = sa.select(*columns).where(column == sa.bindparam("wanted", type_=column.type))
        return self._selects.setdefault(name, made)

    def _find_objects(self, connection: sa.Connection, name: str | None, value: object) -> list[Found]:
        model = self._map.model
        wanted = self._map.key if name is None else getattr(model, self._map.attributes[name])
        with session_on(connection) as session:
            return [
                (self.id_of(user), {one: value_of(user, one, at) for one, at in self._map.attributes.items()})
                for user in session.scalars(sa.select(model).where(wanted == value)).unique()
            ]

    def _account(self, found: Sequence[Found]) -> Account | None:
        user_id, values = found[0] if len(found) == 1 else (_NOBODY, dict[str, object]())
        # Read for nobody too, so that the time doesn't tell an unknown user (G4).
        flags = self._flags.flags(user_id)
        return account(user_id, values, flags) if user_id != _NOBODY else None

    def _insert(self, connection: sa.Connection, new: NewAccount) -> str:
        wanted = {name: getattr(new, name) for name in IDENTIFIERS if name in self._map.attributes}
        self._refuse_taken(connection, {name: wanted[name] for name in wanted if name not in self._map.unique})
        try:
            return self.id_of(insert(connection, self._map, new))
        except Refused as refused:
            self._refuse_taken(connection, wanted)
            raise refusal(connection, self._map, new, self._asked, refused) from None

    def _refuse_taken(self, connection: sa.Connection, wanted: Mapping[str, str | None]) -> None:
        for name, value in wanted.items():
            if value is not None and self._find(connection, name, value):
                raise IdentifierTaken(name)

    def _change(self, user_id: str, change: Callable[[object], None]) -> None:
        def work() -> None:
            with self._database.transaction() as connection, session_on(connection) as session:
                # Without eager joins: PostgreSQL locks no nullable side of an outer join.
                user = session.get(self._map.model, key, with_for_update=True, options=[lazyload("*")])
                if user is not None:
                    change(user)
                    session.commit()

        key = self.key(user_id)
        self._settled_map()
        if key is not None:
            self._database.unit(work)

    def _set(self, user: object, name: str, value: object) -> None:
        setattr(user, self._map.attributes[name], value)

    def _flag(self, user_id: str, kind: Kind, value: str) -> None:
        proved = digest(value)
        if kind is Kind.EMAIL:
            self._flags.set_flags(user_id, email=proved)
        else:
            self._flags.set_flags(user_id, phone=proved)
