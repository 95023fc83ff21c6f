"""Which users an app has, found out and checked before anything is opened or put on the app."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from ..config import Settings
from ..users import user_model
from ..users.fields import FIELDS, unknown_fields
from ..users.mapping import map_of
from ..users.model_faults import find_faults, untouchable
from .arguments import Arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """
    Where the users are.

    Attributes:
        db: The app's own, or one of ours that no app has yet.
        ours: Whether it is that.
        model: None where they are in a ``UserStore``.
    """

    db: SQLAlchemy
    ours: bool
    model: type[Any] | None


def find_users(app: Flask, given: Arguments, settings: Settings) -> Directory:
    """
    Tell where the users are.

    Raises:
        ConfigurationError: The built-in model can't be made.
    """
    hosts: SQLAlchemy | None = given.db or app.extensions.get("sqlalchemy")
    db = hosts or SQLAlchemy()
    model = given.user_model or (user_model(db, settings.profile_fields) if given.users is None else None)
    return Directory(db=db, ours=hosts is None, model=model)


def check_users(found: Directory, settings: Settings) -> tuple[Collection[str], list[str]]:
    """
    Give the fields that the users have, by canonical name, and what is wrong with them, one sentence each.

    Raises:
        ConfigurationError: The model is none, or its primary key isn't one integer, UUID or string.
    """
    if found.model is None:
        attributes = {name: settings.user_fields.get(name, name) for name in FIELDS}
        given = untouchable(settings.register_fields or (), attributes, "id")
        return FIELDS, [*unknown_fields(settings.user_fields), *given]
    mapped = map_of(found.model, settings.user_fields)
    return mapped.attributes, find_faults(mapped, settings.user_fields, settings)


def register_fields(settings: Settings, fields: Collection[str], required: Collection[str] = ()) -> Mapping[str, bool]:
    """Give the fields of registration, and whether each must be given; ``required`` are those that can't be NULL."""
    if settings.register_fields is not None:
        return settings.register_fields
    given = {name: name == "username" or name in required for name in ("username", "email", "phone") if name in fields}
    if "password_hash" in fields:
        # Where a code alone logs in, a password is of use for a step-up at most.
        given["password"] = not settings.passwordless
    return given
