"""Where an app's users and our tables live, and what follows from the model."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, cast

from flask import Flask
from sqlalchemy import Table
from sqlalchemy.orm import Session

from ..config import Settings
from ..schemas import Schemas
from ..stores import Database, SqlFlags, UserColumns, tables_for
from ..types import FlagStore, Kind
from ..users import CustomUsers, SharedConnection, SqlUsers
from .arguments import Arguments
from .directory import Directory

DEFAULT_DATABASE = "sqlite:///otpauth-{name}.sqlite3"
"""In the instance folder, where the app names no database; several apps may have one folder."""

_UNFIT = re.compile(r"[^\w.-]")
"""What isn't in the name of a file, or means something in a URL."""


def open_storage(
    app: Flask, given: Arguments, settings: Settings, found: Directory
) -> tuple[Database, SqlUsers | CustomUsers]:
    """Open our tables beside the users, on connections of our own."""
    db, ours, model = found.db, found.ours, found.model
    if ours:
        default = DEFAULT_DATABASE.format(name=_UNFIT.sub("_", app.name))
        cast("dict[str, Any]", app.config).setdefault("SQLALCHEMY_DATABASE_URI", default)
        db.init_app(app)
    bind = getattr(model, "__bind_key__", None)
    with app.app_context():
        engine = db.engines[bind]
    config = cast("Mapping[str, Any]", app.config)
    if ours:
        # The engine is known to nobody else who could close its connections when the app is gone.
        weakref.finalize(app, engine.dispose)
    options: Mapping[str, Any] = config.get("SQLALCHEMY_ENGINE_OPTIONS", {}) if bind is None else {}

    def host_session() -> Session | None:
        return db.session.registry() if db.session.registry.has() else None

    def users_table() -> Iterable[Table]:
        return [] if model is None else [cast("Table", model.__table__)]

    database = Database(
        engine.url,
        tables_for(db.metadatas[bind]),
        create=ours,
        extra=users_table,
        ours=ours,
        host_session=host_session,
        connect_args=options.get("connect_args"),
    )
    flags: FlagStore = SqlFlags(database)
    if given.users is not None:
        return database, CustomUsers(given.users, settings.user_fields, flags, units=database)
    if database.private and ours:
        # Nobody else can make the table: this memory is reached by this engine alone.
        db.metadatas[bind].create_all(engine, tables=list(users_table()))
    connections = SharedConnection(db, bind) if database.private else database
    assert model is not None  # noqa: S101 - without users= there is one
    asked = {name: settings.wire(name) for name in (*Kind, *(settings.register_fields or ()))}
    return database, SqlUsers(db, model, settings.user_fields, flags, database=connections, asked=asked)


def user_columns(database: Database, users: SqlUsers | CustomUsers) -> UserColumns | None:
    # In one's own memory the app's users can't be read by a connection of ours, nor in a store of its own.
    found = users.columns() if isinstance(users, SqlUsers) and not database.private else None
    return None if found is None else UserColumns(id=found[0], active=found[1])


def schemas_of(settings: Settings, users: SqlUsers | CustomUsers, fields: Mapping[str, bool]) -> Schemas:
    coded = settings.registration in {"confirm", "login-code"} or settings.second_factor != "never"
    addressed = any(fields.get(name) for name in ("email", "phone"))
    extra = {name: users.length(name) for name in fields}
    return Schemas(settings, fields, coded and not addressed, extra)
