"""Finished logins: opened, raised, refreshed, read and ended here and nowhere else."""

from __future__ import annotations

import json
import logging
from collections import ChainMap
from collections.abc import Sequence
from typing import Any

from flask import session as flask_session

from ..crypto import base64url, digest, new_id
from ..errors import AuthenticationRequired, InsufficientAuthentication, ServiceUnavailable
from ..types import (
    Account,
    Caller,
    Credentials,
    Instant,
    NewSession,
    Rotation,
    SessionRecord,
    instant,
)
from .claims import RESERVED, Grant
from .cookie import read_marks
from .reading import Reading

logger: logging.Logger = logging.getLogger("flask_otpauth")

CLIENT_LENGTH = 120


class TokenReused(AuthenticationRequired):
    """
    A refresh token came again, more than 10 s after its exchange: its whole session was ended just now.

    Attributes:
        session_id: Public id of that session.
    """

    def __init__(self, user_id: str, session_id: str) -> None:
        self.user_id = user_id
        self.session_id = session_id
        super().__init__(token_rejected=True)


class Sessions(Reading):
    """
    Sessions of one app: one row a login, named by its tokens and by its cookie alike.

    Raises:
        ServiceUnavailable: From every method, when the store is away.
    """

    # --- handing out ----------------------------------------------------------------------------------------------

    def open(
        self, account: Account, *, amr: Sequence[str], code: bool, caller: Caller, kinds: Sequence[str] | None = None
    ) -> Credentials:
        """
        Store a new session and give its credentials: "jwt", "session" or both, by default what the settings say.

        ``amr`` holds all that was proved, ``code`` whether a one-time code is among it. Joins a ``UnitOfWork``.

        Raises:
            InsufficientAuthentication: The policy demands a code, and none was proved: a flow has forgotten it.
        """
        if not code and self._owes_code(account):
            raise InsufficientAuthentication("A code is needed.")
        now, kinds = self._now(), tuple(kinds or self._settings.credentials)
        jwt, cookie = "jwt" in kinds, new_id() if "session" in kinds else None
        sid, refresh = new_id(), new_id() if jwt else None
        methods = _joined(amr)
        code_at = now if code else None
        ends_at = now + self._settings.refresh_lifetime * 1000
        grant = _fresh_grant(account.id, sid, refresh, methods, code_at, now=now, ends_at=ends_at)
        credentials = self._credentials(grant, cookie)
        self._store.add(
            NewSession(
                id=digest(sid),
                user_id=account.id,
                cookie=None if cookie is None else digest(cookie),
                refresh=None if refresh is None else digest(refresh),
                amr=methods,
                auth_time=now,
                code_at=code_at,
                created_at=now,
                expires_at=now + self._lifetime(jwt=jwt, cookie=cookie is not None),
                idle_at=now + self._idle(jwt=jwt, cookie=cookie is not None),
                client=_readable(caller.user_agent),
            )
        )
        return credentials

    def raise_assurance(
        self,
        sid: str | None,
        key: bytes,
        account: Account,
        *,
        amr: Sequence[str],
        code: bool,
        caller: Caller,
        kinds: Sequence[str] | None = None,
    ) -> Credentials | None:
        """
        Note a fresh proof in a live session and exchange its credentials; None when it is over.

        ``amr`` holds what the credential that asked had proved, and the new proof: what another credential of the
        session proved is not given to this one. Tokens are made only where ``sid``, their plain name of the session,
        is known; by default the session keeps the kinds of credentials that it has. Joins a ``UnitOfWork``.
        """
        now = self._now()
        record = self._store.by_id(key, now)
        if record is None or record.user_id != account.id:
            return None
        has = tuple(kinds) if kinds is not None else (("jwt",) + (("session",) if record.cookie else ()))
        cookie = new_id() if "session" in has else None
        refresh = new_id() if sid is not None and "jwt" in has and digest(sid) == key else None
        methods = _joined(amr)
        code_at = now if code else _presented_code(caller, key)
        ends_at = min(record.expires_at, record.created_at + self._settings.refresh_lifetime * 1000)
        grant = _fresh_grant(account.id, sid, refresh, methods, code_at, now=now, ends_at=ends_at)
        credentials = self._credentials(grant, cookie)
        raised = self._store.raise_assurance(
            key,
            amr=methods,
            auth_time=now,
            code_at=code_at,
            cookie=None if cookie is None else digest(cookie),
            refresh=None if refresh is None else digest(refresh),
            now=now,
        )
        self._rows.withhold(key, now)
        self._rows.drop(key)
        return credentials if raised else None

    def refresh(self, token: str) -> tuple[Credentials, str]:
        """
        Exchange a refresh token, which is good for one exchange; give new tokens and the user's id.

        The new ones say what the old one said of methods and times, and are not fresh.

        Raises:
            TokenReused: It was exchanged more than 10 s ago; its session has just been ended.
            AuthenticationRequired: It is no good, or was exchanged a moment ago (two tabs); nothing was ended.
        """
        now = self._now()
        claims = self._tokens.read_refresh(token, now)
        record = self._live(self._store.by_id(claims.key, now))
        if record is None or self._is_idle(record, now) or not self._names(claims, record):
            raise AuthenticationRequired(token_rejected=True)
        refresh = new_id()
        grant = Grant(
            user_id=record.user_id,
            sid=claims.sid,
            refresh=refresh,
            amr=claims.amr,
            auth_time=claims.auth_time,
            code_at=claims.code_at,
            fresh=False,
            now=now,
            ends_at=claims.expires_at,
        )
        # Made before the exchange: a loader of the host that raises must not cost the client his session.
        credentials = self._credentials(grant, None)
        idle_at = now + self._idle(jwt=True, cookie=record.cookie is not None)
        outcome = self._store.rotate(record.id, digest(claims.jti), digest(refresh), now, idle_at=idle_at)
        if outcome is Rotation.REUSED:
            self._rows.drop(record.id)
            raise TokenReused(record.user_id, base64url(record.id))
        if outcome is not Rotation.ROTATED:
            raise AuthenticationRequired(token_rejected=True)
        return credentials, record.user_id

    # --- ending ---------------------------------------------------------------------------------------------------

    def end(self, key: bytes) -> bool:
        """End a session by its row's key, with its tokens and its cookie; whether it was live."""
        now = self._now()
        ended = self._store.end(key, now)
        self._rows.withhold(key, now)
        self._rows.drop(key)
        return ended

    def end_all(self, user_id: str, but: bytes | None = None) -> int:
        """End all sessions of a user, but for the one with that key; tell how many."""
        now = self._now()
        ended = self._store.end_all(user_id, now, but=but)
        self._rows.withhold(user_id, now)
        self._rows.clear()
        return ended

    def end_held(self) -> None:
        """End the login that Flask's session names, before it is replaced there: a copy of that cookie is over too."""
        mark = read_marks(flask_session).session
        record = self._store.by_cookie(digest(mark), self._now()) if mark is not None else None
        if record is not None:
            self.end(record.id)

    def list(self, user_id: str) -> list[SessionRecord]:
        """Give the live sessions of a user."""
        return self._store.list(user_id, self._now())

    # --- parts ----------------------------------------------------------------------------------------------------

    def _is_idle(self, record: SessionRecord, now: Instant) -> bool:
        # The row may live longer, by a cookie of the same login; the use of that is none of the token's.
        since = max(record.created_at, record.rotated_at or 0)
        return now >= since + self._settings.refresh_idle * 1000

    def _owes_code(self, account: Account) -> bool:
        # A callable policy was asked by the flow; asked again it might say something else.
        policy = self._settings.second_factor
        return not self._settings.passwordless and (policy == "always" or (policy == "opt-in" and account.mfa_enabled))

    def _credentials(self, grant: Grant | None, cookie: str | None) -> Credentials:
        if grant is None:
            return Credentials(cookie=cookie, expires_in=self._settings.session_lifetime)
        further = self._further_claims(grant.user_id) if self._claims_loaders else {}
        access, refresh = self._tokens.pair(grant, lambda: self._users.load(grant.user_id), further)
        return Credentials(
            access_token=access, refresh_token=refresh, cookie=cookie, expires_in=self._settings.access_lifetime
        )

    def _further_claims(self, user_id: str) -> dict[str, Any]:
        """Ask the host's loaders; nothing that they say takes the place of a claim of ours."""
        try:
            found = self._users.seen(user_id, lambda user: [dict(load(user)) for load in self._claims_loaders])
            claims: dict[str, Any] = json.loads(json.dumps(dict(ChainMap(*reversed(found))), allow_nan=False))
        except Exception as error:  # noqa: BLE001 - a hook may raise anything
            logger.error("The claims_loader hook failed: %s", type(error).__name__)  # noqa: TRY400
            raise ServiceUnavailable from None
        return {name: value for name, value in claims.items() if name not in RESERVED}

    def _lifetime(self, *, jwt: bool, cookie: bool) -> int:
        settings = self._settings
        return 1000 * max(settings.refresh_lifetime * jwt, settings.session_lifetime * cookie)

    def _idle(self, *, jwt: bool, cookie: bool) -> int:
        settings = self._settings
        return 1000 * max(settings.refresh_idle * jwt, settings.session_idle * cookie)


def _fresh_grant(
    user_id: str,
    sid: str | None,
    refresh: str | None,
    amr: tuple[str, ...],
    code_at: Instant | None,
    *,
    now: Instant,
    ends_at: Instant,
) -> Grant | None:
    """Give what tokens of a proof made just now say; None where no tokens are handed out."""
    if sid is None or refresh is None:
        return None
    return Grant(
        user_id=user_id,
        sid=sid,
        refresh=refresh,
        amr=amr,
        auth_time=now,
        code_at=code_at,
        fresh=True,
        now=now,
        ends_at=ends_at,
    )


def _joined(amr: Sequence[str]) -> tuple[str, ...]:
    """Put methods in order, each once; a password and a code are two factors (RFC 8176, "mfa")."""
    methods = tuple(dict.fromkeys(amr))
    return (*methods, "mfa") if {"pwd", "otp"} <= set(methods) and "mfa" not in methods else methods


def _presented_code(caller: Caller, key: bytes) -> Instant | None:
    session = caller.session
    if session is None or session.key != key or session.code_at is None:
        return None
    return instant(session.code_at)


def _readable(user_agent: str) -> str:
    return "".join(letter for letter in user_agent if letter.isprintable())[:CLIENT_LENGTH]
