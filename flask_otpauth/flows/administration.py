"""What an administrator sees and may do. No code, hash, digest or id that opens anything is in what is given."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from ..crypto import base64url
from ..types import Account, Caller, Event, Identifier, Instant, Kind, Session, SessionRecord
from .parts import Parts

KEY_BYTES = 32
"""Of a session's row: SHA-256 of its ``sid``."""


class Directory(Protocol):
    """Users that can be looked through."""

    def search(self, text: str, /, *, offset: int, limit: int) -> list[Account]:
        """Give users by key whose key is the text, or one of whose identifiers begins with it; all for ""."""
        ...


class Logins(Protocol):
    """All live sessions of an app."""

    def by_id(self, session_id: bytes, now: Instant) -> SessionRecord | None: ...

    def live(self, now: Instant, *, user_id: str | None, offset: int, limit: int) -> list[SessionRecord]:
        """Give live sessions, those that would idle out last first; of one user, or of all."""
        ...


class Trail(Protocol):
    """Events as they were kept."""

    def recent(self, limit: int, *, user_id: str | None = None, offset: int = 0) -> list[Event]:
        """Give events, newest first; of one user, or of all."""
        ...


class Administration:
    """
    Users, live sessions and events of one app, page by page.

    Args:
        directory: None where the users live elsewhere and can't be listed.
    """

    def __init__(self, parts: Parts, directory: Directory | None, logins: Logins, trail: Trail) -> None:
        self._parts = parts
        self._directory = directory
        self._logins = logins
        self._trail = trail

    @property
    def lists_users(self) -> bool:
        return self._directory is not None

    def users(self, text: str, *, offset: int, limit: int) -> list[Account]:
        """Give users; ``text`` is the beginning of an identifier, or a key. Without their password hashes."""
        if self._directory is None:
            return []
        found = self._directory.search(self._canonical(text), offset=offset, limit=limit)
        return [replace(account, password_hash=None) for account in found]

    def sessions(self, user: str, *, offset: int, limit: int) -> list[SessionRecord]:
        """Give live sessions of the user so named, or of all for ""; without the digests of their credentials."""
        user_id = self._key_of(user)
        found = self._logins.live(self._parts.now(), user_id=user_id, offset=offset, limit=limit)
        return [replace(record, cookie=None) for record in found]

    def session(self, public_id: str) -> SessionRecord | None:
        """Give a live session by its public id, without the digests of its credentials."""
        try:
            key = urlsafe_b64decode(public_id + "=")
        except ValueError:
            return None
        record = self._logins.by_id(key, self._parts.now()) if len(key) == KEY_BYTES else None
        return None if record is None else replace(record, cookie=None)

    def events(self, user: str, *, offset: int, limit: int) -> list[Event]:
        """Give events of the user so named, or of all for ""; newest first."""
        return self._trail.recent(limit, user_id=self._key_of(user), offset=offset)

    def names(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Give what to call users by, for those who exist: username, e-mail or phone."""
        accounts = [self._parts.users.by_id(user_id) for user_id in set(user_ids)]
        return {one.id: one.username or one.email or one.phone or one.id for one in accounts if one is not None}

    def end_session(self, record: SessionRecord, by: Session, caller: Caller) -> bool:
        """End anybody's session; tell whether it was live. The event names who did it."""
        parts = self._parts
        if not parts.sessions.end(record.id):
            return False
        told = {"session": base64url(record.id), "by": by.user_id}
        parts.recorder.happened(parts.event("session_revoked", parts.now(), caller, record.user_id, **told))
        return True

    def _canonical(self, text: str) -> str:
        """Clean what was typed, and put a phone number into the form in which it is stored."""
        # PostgreSQL refuses NUL, and no driver encodes lone surrogates.
        cleaned = "".join(letter for letter in text if letter.isprintable()).strip()
        found = self._parsed(cleaned)
        return found.value if found is not None and found.kind is Kind.PHONE else cleaned

    def _key_of(self, user: str) -> str | None:
        text = self._canonical(user)
        named = self._parsed(text)
        found = None if named is None else self._parts.users.by_identifier(named)
        return found.id if found is not None else text or None

    def _parsed(self, text: str) -> Identifier | None:
        try:
            return self._parts.identifiers.parse(text)
        except ValueError:
            return None
