"""Finished logins, and the port to their rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Protocol

from .identity import UserState
from .time import Instant

_VIA = "otp."
"""Before the channel of a code, among the methods that were proved: RFC 8176 has names for few of them."""

_COMBINATIONS = 256
"""Of methods, whose names are kept: each protected view asks for them, and an app has a handful."""


def via(channel: str) -> str:
    """Give what stands for the channel of a code among the methods that were proved."""
    return channel if channel == "sms" else _VIA + channel


@lru_cache(_COMBINATIONS)
def public_methods(amr: tuple[str, ...]) -> tuple[str, ...]:
    """Give those of the methods that were proved which tokens and answers tell (RFC 8176)."""
    return tuple(method for method in amr if not method.startswith(_VIA))


@lru_cache(_COMBINATIONS)
def method_names(amr: tuple[str, ...]) -> frozenset[str]:
    """Give what a view may ask for of the methods that were proved: those of RFC 8176, and the channels of codes."""
    return frozenset(method.removeprefix(_VIA) for method in amr)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """
    A login about to be stored.

    Attributes:
        id: SHA-256 of ``sid``, 32 bytes. ``cookie`` and ``refresh``: SHA-256 of the cookie's opaque id and of the
            refresh token's ``jti``; None where that credential isn't handed out.
        amr: Authentication methods (RFC 8176) in order, and ``via`` what codes came.
        auth_time: When the user last authenticated actively (OIDC core, 2).
        code_at: When a one-time code was last proved; None for never.
        expires_at: Absolute end. ``idle_at``: end unless it is used before.
        client: What the user may recognise it by (a short user agent).
    """

    id: bytes
    user_id: str
    cookie: bytes | None
    refresh: bytes | None
    amr: tuple[str, ...]
    auth_time: Instant
    code_at: Instant | None
    created_at: Instant
    expires_at: Instant
    idle_at: Instant
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """
    A session as stored; its attributes are those of ``NewSession``.

    Attributes:
        used_at: When its cookie was last seen in use, or a proof was added; when it was opened, without either.
        rotated_at: When its refresh token was last exchanged; None if it never was.
    """

    id: bytes
    user_id: str
    cookie: bytes | None
    amr: tuple[str, ...]
    auth_time: Instant
    code_at: Instant | None
    created_at: Instant
    used_at: Instant
    rotated_at: Instant | None
    expires_at: Instant
    idle_at: Instant
    client: str
    user_state: UserState = UserState.UNREAD

    @property
    def last_used_at(self) -> Instant:
        """When the login was last seen in use, by whichever credential."""
        return max(self.used_at, self.rotated_at or 0)


class Rotation(Enum):
    """What became of a refresh token that was presented."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    """Used again within 10 s of its rotation: refused, and nothing revoked."""
    REUSED = "reused"
    """Used again later: the whole session has just been ended."""
    GONE = "gone"
    """The session is over."""


class SessionStore(Protocol):
    """Server-side rows of logins. A session that has ended, expired or idled out is never given."""

    def add(self, new: NewSession, /) -> None: ...

    def by_id(self, session_id: bytes, now: Instant) -> SessionRecord | None: ...

    def by_cookie(self, cookie: bytes, now: Instant) -> SessionRecord | None: ...

    def touch(self, session_id: bytes, idle_at: Instant, now: Instant) -> None:
        """Note that a live session is in use, and move its idle end."""
        ...

    def rotate(self, session_id: bytes, old: bytes, new: bytes, now: Instant, *, idle_at: Instant) -> Rotation:
        """Swap the refresh token by compare-and-swap: ROTATED for exactly one caller."""
        ...

    def raise_assurance(
        self,
        session_id: bytes,
        *,
        amr: tuple[str, ...],
        auth_time: Instant,
        code_at: Instant | None,
        cookie: bytes | None,
        refresh: bytes | None,
        now: Instant,
    ) -> bool:
        """
        Record a proof in a live session and exchange those of its cookie and refresh ids that are given.

        False when the session is over.
        """
        ...

    def list(self, user_id: str, now: Instant) -> list[SessionRecord]: ...

    def end(self, session_id: bytes, now: Instant) -> bool:
        """End one session; whether it was live."""
        ...

    def end_all(self, user_id: str, now: Instant, *, but: bytes | None = None) -> int:
        """End all sessions of a user, but for one; tell how many."""
        ...

    def purge(self, before: Instant, limit: int) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """
    A finished login as the current request presents it.

    Attributes:
        id: Public id (base64url of the row's key); opens nothing.
        user_id: String of the primary key.
        amr: What this credential has proved (RFC 8176).
        methods: The same, and the channels of its codes: what ``methods=`` of a protected view asks for.
        auth_time: When the user last authenticated for this credential.
        code_at: When a one-time code was last proved for it; None for never.
        fresh: False for a refreshed token, which meets no step-up.
        via: "jwt" or "cookie".
        sid: The plain id that the tokens of this session carry; None for a cookie, which doesn't name it.
    """

    id: str
    key: bytes = field(repr=False)
    user_id: str
    amr: tuple[str, ...]
    auth_time: datetime
    code_at: datetime | None
    created_at: datetime
    expires_at: datetime
    fresh: bool
    via: str
    methods: frozenset[str] = frozenset()
    sid: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a finished login hands out. Tokens are None with ``session`` alone; ``cookie`` is the opaque id or None."""

    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    cookie: str | None = field(default=None, repr=False)
    expires_in: int
