"""The user model for who has none yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column

from ..errors import ConfigurationError

_REMEMBERED = "otpauth_user_model"
_TABLE = "users"
_PROFILE_LENGTH = 255


def _text(length: int) -> sa.types.TypeEngine[str]:
    # MariaDB's default collations take "jose" and "José" for one name, and uniqueness must not depend on that.
    binary = mysql.VARCHAR(length, collation="utf8mb4_bin")
    return sa.String(length).with_variant(binary, "mysql", "mariadb")


def _now() -> datetime:
    return datetime.now(UTC)


class UserMixin:
    """
    Columns of a user, for a declarative model of any style; the primary key is the model's own.

    Identifiers are unique in their canonical form: lower-cased username and e-mail, E.164 phone; each may be missing.
    ``created_at`` is UTC; SQLite and MariaDB give it back naive.
    """

    username: Mapped[str | None] = mapped_column(_text(64), unique=True)
    email: Mapped[str | None] = mapped_column(_text(254), unique=True)
    phone: Mapped[str | None] = mapped_column(_text(16), unique=True)
    password_hash: Mapped[str | None] = mapped_column(sa.String(255))
    role: Mapped[str] = mapped_column(sa.String(64), default="user")
    active: Mapped[bool] = mapped_column(sa.Boolean, default=True)
    mfa_enabled: Mapped[bool] = mapped_column(sa.Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True), default=_now)

    # What Flask-Login's @login_required asks of a user; without them an app that has it would answer 500.

    @property
    def is_authenticated(self) -> bool:
        """True: a user object stands for a finished login. For Flask-Login."""
        return True

    @property
    def is_anonymous(self) -> bool:
        """False; for Flask-Login."""
        return False

    @property
    def is_active(self) -> bool:
        """The same as ``active``; for Flask-Login."""
        return bool(self.active)


def user_model(db: SQLAlchemy, profile: Iterable[str] = ()) -> type[Any]:
    """
    Give the built-in model ``User`` (table ``users``, integer key ``id``) of this ``db``; made at the first call.

    ``profile`` names text columns that it has besides those of ``UserMixin``; of several apps that share a ``db`` the
    first one decides on them.

    Raises:
        ConfigurationError: The app has a table ``users`` of its own, or a name in ``profile`` can't be a column's.
    """
    known = db.metadata.info.get(_REMEMBERED)
    if known is not None:
        return cast("type[Any]", known)
    _refuse_taken(db, profile)
    if _TABLE in db.metadata.tables:
        raise ConfigurationError(
            ["The app has a table 'users' already; pass its model: OTPAuth(app, db=db, user_model=YourModel)."]
        )
    columns: dict[str, Any] = {
        "__tablename__": _TABLE,
        "__module__": __name__,
        "__doc__": "The built-in user.",
        # Else SQLite gives the highest key out again once its row is deleted, and what the app kept of that user by
        # his key would be the next one's.
        "__table_args__": {"sqlite_autoincrement": True},
        "id": mapped_column(sa.Integer, primary_key=True),
        **{name: mapped_column(_text(_PROFILE_LENGTH)) for name in profile},
    }
    # By a call of the metaclass, since the base is known at run time only.
    metaclass = cast("Callable[..., type[Any]]", type(db.Model))
    made = metaclass("User", (UserMixin, db.Model), columns)
    db.metadata.info[_REMEMBERED] = made
    return made


def _refuse_taken(db: SQLAlchemy, profile: Iterable[str]) -> None:
    """Refuse names that the model has for something else, such as ``role``, ``metadata`` or ``query``."""
    # Not by hasattr: a look at `query` wants an app.
    known = {"id", *dir(UserMixin), *dir(db.Model)}
    if taken := [name for name in profile if name in known]:
        raise ConfigurationError([f"OTPAUTH_PROFILE_FIELDS names {taken[0]!r}, which is taken; choose another name."])
