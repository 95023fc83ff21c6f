"""Which finished login a request presents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from flask import Request, current_app
from flask import session as flask_session
from werkzeug.local import LocalProxy

from ..config import Settings
from ..crypto import base64url, digest
from ..errors import AuthenticationRequired, ServiceUnavailable, UncommittedWrite
from ..types import (
    ClaimsLoader,
    Clock,
    Instant,
    Session,
    SessionRecord,
    SessionStore,
    Users,
    UserState,
    instant,
    method_names,
    moment,
    public_methods,
)
from .claims import Claims
from .cookie import read_marks
from .memo import Rows
from .origins import check_origin
from .tokens import Tokens

_KEPT = "flask_otpauth.session"

_OVER = "session is over or unknown, or its user is gone or disabled"

_UNWRITABLE = (ServiceUnavailable, UncommittedWrite)
"""Why no row can be written while a request is read: a view may have flushed before it asks who is there."""


def real_request(given: Request) -> Request:
    """Give the request behind Flask's proxy, which stands for any request."""
    if isinstance(given, LocalProxy):
        return cast("LocalProxy[Request]", given)._get_current_object()  # pyright: ignore[reportPrivateUsage]
    return given


class Reading:
    """
    The reading half of ``Sessions``.

    Raises:
        ServiceUnavailable: From every method, when the store is away.
    """

    def __init__(
        self,
        settings: Settings,
        store: SessionStore,
        users: Users,
        tokens: Tokens,
        clock: Clock,
        *,
        claims_loaders: Sequence[ClaimsLoader] = (),
    ) -> None:
        self._settings = settings
        self._store = store
        self._users = users
        self._tokens = tokens
        self._clock = clock
        self._claims_loaders = claims_loaders
        self._rows = Rows(settings.session_cache * 1000)

    def bearer(self, request: Request) -> str | None:
        """As ``Tokens.bearer``: the refresh endpoint takes its token from the same header."""
        return self._tokens.bearer(request)

    def current(self, request: Request, now: Instant) -> Session | None:
        """
        Give the login that a request presents, by one read of its row; remembered for this very request.

        A token decides where there is one, else Flask's session. None without credentials and for a cookie whose
        session is over.

        Raises:
            AuthenticationRequired: The token is bad, or its session is over, or its user is gone or disabled.
            CrossOrigin: A state-changing request that a cookie authenticates comes from another site.
        """
        request = real_request(request)
        kept = request.environ.get(_KEPT)
        # An environ may be used for another request; a request object never is. Never in g: see pytest-flask.
        if kept is not None and kept[0] is request:
            return kept[1]  # type: ignore[no-any-return]
        session = self._by_token(request, now)
        if session is None:
            session = self._by_cookie(request, now)
        request.environ[_KEPT] = (request, session)
        return session

    def absence(self, request: Request) -> str:
        """Say why ``current`` gave None, for the log."""
        if read_marks(flask_session).session is not None:
            return f"the cookie's {_OVER}"
        if current_app.session_interface.get_cookie_name(current_app) in request.cookies:
            return "the session cookie holds no login, or is not signed with the app's present SECRET_KEY"
        return "no login came with the request"

    def forget(self, request: Request) -> None:
        """Forget what ``current`` remembers for the request: its login has just begun or ended."""
        request.environ.pop(_KEPT, None)

    def token_revoked(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
        """
        Tell Flask-JWT-Extended whether a token's session is over (``token_in_blocklist_loader``).

        A token without ``sid`` is the host's own, and his to revoke.
        """
        del header
        sid = claims.get("sid")
        if sid is None:
            return False
        return self._live(self._row(digest(str(sid)), self._now())) is None

    def _by_token(self, request: Request, now: Instant) -> Session | None:
        presented = self._tokens.presented(request, now)
        if presented is None:
            return None
        claims = presented.claims
        if presented.in_cookie:
            check_origin(request, self._settings)
        record = self._live(self._row(claims.key, now))
        if record is None or not self._names(claims, record):
            raise AuthenticationRequired(token_rejected=True, reason=f"the token's {_OVER}")
        return Session(
            id=claims.id,
            key=record.id,
            user_id=record.user_id,
            amr=public_methods(claims.amr),
            methods=method_names(claims.amr),
            auth_time=moment(claims.auth_time),
            code_at=None if claims.code_at is None else moment(claims.code_at),
            created_at=moment(record.created_at),
            expires_at=self._end(record, self._settings.refresh_lifetime),
            fresh=claims.fresh,
            via="jwt",
            sid=claims.sid,
        )

    def _by_cookie(self, request: Request, now: Instant) -> Session | None:
        mark = read_marks(flask_session).session
        if mark is None:
            return None
        check_origin(request, self._settings)
        cookie = digest(mark)
        record = self._rows.by_cookie(cookie, now)
        if record is None:
            epoch = self._rows.epoch
            record = self._kept(self._store.by_cookie(cookie, now), now, epoch)
        if record is None or self._is_past(record, now):
            return None
        record = self._live(record)
        if record is None:
            return None
        self._touch(record, now)
        return Session(
            id=base64url(record.id),
            key=record.id,
            user_id=record.user_id,
            amr=public_methods(record.amr),
            methods=method_names(record.amr),
            auth_time=moment(record.auth_time),
            code_at=None if record.code_at is None else moment(record.code_at),
            created_at=moment(record.created_at),
            expires_at=self._end(record, self._settings.session_lifetime),
            fresh=True,
            via="cookie",
        )

    def _now(self) -> Instant:
        return instant(self._clock())

    def _row(self, key: bytes, now: Instant) -> SessionRecord | None:
        record = self._rows.by_id(key, now)
        if record is not None:
            return record
        epoch = self._rows.epoch
        return self._kept(self._store.by_id(key, now), now, epoch)

    def _kept(self, record: SessionRecord | None, now: Instant, epoch: int) -> SessionRecord | None:
        if record is None:
            return None
        if record.user_state is UserState.UNREAD:
            record = replace(record, user_state=self._users.active(record.user_id))
        self._rows.put(record, now, epoch)
        return record

    def _live(self, record: SessionRecord | None) -> SessionRecord | None:
        if record is None:
            return None
        state = record.user_state
        if state is UserState.UNREAD:
            state = self._users.active(record.user_id)
        if state is UserState.ACTIVE:
            return record
        # For good: it must not come back to life with the account.
        with suppress(*_UNWRITABLE):
            self._store.end(record.id, self._now())
            self._rows.drop(record.id)
        return None

    def _names(self, claims: Claims, record: SessionRecord) -> bool:
        return claims.subject == record.user_id or not self._tokens.names_users

    @staticmethod
    def _end(record: SessionRecord, lifetime: int) -> datetime:
        """Tell when a credential of that many seconds ends for good: its row may live by another one."""
        return moment(min(record.expires_at, record.created_at + lifetime * 1000))

    def _is_past(self, record: SessionRecord, now: Instant) -> bool:
        # The row lives as long as the longest of its credentials, which may be a refresh token: its exchange is no use
        # of the cookie, and wakes none.
        lifetime, idle = self._settings.session_lifetime * 1000, self._settings.session_idle * 1000
        return now >= min(record.created_at + lifetime, record.used_at + idle)

    def _touch(self, record: SessionRecord, now: Instant) -> None:
        # A write for each request would cost more than the request; one for each twentieth of the idle time will do.
        idle = self._settings.session_idle * 1000
        if now - record.used_at > idle // 20:
            # The login is good: an idle end that couldn't be moved is no reason to refuse it.
            with suppress(*_UNWRITABLE):
                self._store.touch(record.id, max(record.idle_at, now + idle), now)
                self._rows.drop(record.id)
