"""Our tables, as SQLAlchemy Core, in the metadata of the app: ``create_all`` and Alembic see them like its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

LOG_ENTRIES = 100
"""Charges that one row of the guard remembers."""

LOG_ENTRY = 18
"""Characters of one of them: ``|``, 11 hexadecimal digits of milliseconds, 6 random ones."""

ADDRESS_LENGTH = 64
"""Characters of a client's address that are kept: more than any address has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The tables of one metadata; instants are ``BIGINT`` milliseconds, ids and digests 32 bytes."""

    challenge: Table
    guard: Table
    session: Table
    client: Table
    flags: Table
    event: Table

    @property
    def all(self) -> tuple[Table, ...]:
        return (self.challenge, self.guard, self.session, self.client, self.flags, self.event)


def tables_for(metadata: MetaData) -> Tables:
    """Put our tables into the metadata, or give those that an earlier call put there."""
    return Tables(
        challenge=_found(metadata, "otpauth_challenge", _challenge),
        guard=_found(metadata, "otpauth_guard", _guard),
        session=_found(metadata, "otpauth_session", _session),
        client=_found(metadata, "otpauth_client", _client),
        flags=_found(metadata, "otpauth_flags", _flags),
        event=_found(metadata, "otpauth_event", _event),
    )


def _found(metadata: MetaData, name: str, make: Callable[[MetaData], Table]) -> Table:
    found = metadata.tables.get(f"{metadata.schema}.{name}" if metadata.schema else name)
    return make(metadata) if found is None else found


def _challenge(metadata: MetaData) -> Table:
    return Table(
        "otpauth_challenge",
        metadata,
        Column("id", _key(), primary_key=True),
        Column("account", _text(257), nullable=False),
        Column("alias", _text(257), nullable=False),
        Column("user_id", _text(255)),
        Column("purpose", _word(16), nullable=False),
        Column("channel", _text(64), nullable=False),
        Column("destination", _text(320)),
        Column("binding", _long_text(), nullable=False),
        Column("data", _long_text(), nullable=False),
        Column("digest", _key()),
        Column("generation", Integer, nullable=False),
        Column("awaited", Integer, nullable=False),
        Column("attempts_left", Integer, nullable=False),
        Column("muted", Boolean, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("resend_at", BigInteger, nullable=False),
        Column("code_expires_at", BigInteger, nullable=False),
        Column("answers_until", BigInteger, nullable=False),
        Column("flow_expires_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger),
        # With the end of the flow in them, a look-up reads what is alive only, however old the account's trail is.
        Index("ix_otpauth_challenge_account", "account", "flow_expires_at"),
        Index("ix_otpauth_challenge_alias", "alias", "flow_expires_at"),
        Index("ix_otpauth_challenge_flow_expires_at", "flow_expires_at"),
        **_OPTIONS,
    )


def _guard(metadata: MetaData) -> Table:
    return Table(
        "otpauth_guard",
        metadata,
        Column("key", _key(), primary_key=True),
        # Compared as text: the order must be that of the bytes on every database.
        Column("log", _word(LOG_ENTRIES * LOG_ENTRY, ordered=True), nullable=False),
        Column("used_at", BigInteger, nullable=False),
        Index("ix_otpauth_guard_used_at", "used_at"),
        **_OPTIONS,
    )


def _session(metadata: MetaData) -> Table:
    return Table(
        "otpauth_session",
        metadata,
        Column("id", _key(), primary_key=True),
        Column("user_id", _text(255), nullable=False),
        Column("cookie", _key()),
        Column("refresh", _key()),
        Column("previous", _key()),
        Column("rotated_at", BigInteger),
        Column("amr", _word(255), nullable=False),
        Column("auth_time", BigInteger, nullable=False),
        Column("code_at", BigInteger),
        Column("created_at", BigInteger, nullable=False),
        Column("used_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Column("idle_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger),
        Column("client", _text(255), nullable=False),
        Index("ix_otpauth_session_cookie", "cookie", unique=True),
        Index("ix_otpauth_session_user_id", "user_id"),
        Index("ix_otpauth_session_idle_at", "idle_at"),
        Index("ix_otpauth_session_ended_at", "ended_at"),
        **_OPTIONS,
    )


def _client(metadata: MetaData) -> Table:
    return Table(
        "otpauth_client",
        metadata,
        Column("id", _key(), primary_key=True),
        Column("user_id", _text(255), primary_key=True),
        Column("seen_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Index("ix_otpauth_client_user_id", "user_id"),
        Index("ix_otpauth_client_expires_at", "expires_at"),
        **_OPTIONS,
    )


def _flags(metadata: MetaData) -> Table:
    return Table(
        "otpauth_flags",
        metadata,
        Column("user_id", _text(255), primary_key=True),
        Column("mfa_enabled", Boolean, nullable=False),
        Column("email", _key()),
        Column("phone", _key()),
        Column("claimed", _text(320)),
        Column("registered", Boolean, nullable=False),
        **_OPTIONS,
    )


def _event(metadata: MetaData) -> Table:
    return Table(
        "otpauth_event",
        metadata,
        # SQLite numbers rows by itself only where the type is INTEGER.
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("name", _word(64), nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("user_id", _text(255)),
        Column("channel", _text(64)),
        Column("purpose", _text(64)),
        Column("address", _text(ADDRESS_LENGTH)),
        Column("details", _long_text(), nullable=False),
        Index("ix_otpauth_event_at", "at"),
        Index("ix_otpauth_event_user_id", "user_id", "at"),
        **_OPTIONS,
    )


_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}


def _key() -> TypeEngine[bytes]:
    """Give the type of digests and digested ids: 32 bytes."""
    return LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")


def _word(length: int, *, ordered: bool = False) -> TypeEngine[str]:
    """Give the type of words of our own making, ASCII, compared by their bytes."""
    kind = String(length).with_variant(
        mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
    )
    return kind.with_variant(String(length, collation="C"), "postgresql") if ordered else kind


def _text(length: int) -> TypeEngine[str]:
    """Give the type of what comes from hosts and people; MariaDB would compare it by a collation of its own."""
    unicode = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(unicode, "mysql", "mariadb")


def _long_text() -> TypeEngine[str]:
    return Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
