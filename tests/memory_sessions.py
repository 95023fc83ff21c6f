"""Sessions and users in memory, and a host app on them: the ports that credentials are tested against."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import flask_jwt_extended as extended
import jwt
import pytest
from flask import Flask, jsonify, request
from flask import session as flask_session
from flask_jwt_extended import jwt_required

from flask_otpauth.config import Settings
from flask_otpauth.config import read as read_settings
from flask_otpauth.crypto import Keyring
from flask_otpauth.errors import AuthenticationRequired, ServiceUnavailable
from flask_otpauth.sessions import Sessions, Tokens
from flask_otpauth.types import (
    Account,
    Answer,
    Caller,
    Credentials,
    Identifier,
    Instant,
    Kind,
    NewAccount,
    NewSession,
    Rotation,
    Session,
    SessionRecord,
    UserState,
    instant,
)

SECRET = "a key of the tests, long enough: 0123456789"


class StillClock:
    """A clock that stands until it is moved; it starts now, so that PyJWT's own clock agrees."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Row:
    """A stored session."""

    new: NewSession
    refresh: bytes | None
    previous: bytes | None = None
    rotated_at: Instant = 0
    used_at: Instant = 0
    ended: bool = False


class MemorySessions:
    """A ``SessionStore`` that counts its reads; ``down`` makes every call fail."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.states: dict[str, UserState] = {}
        self.reads = 0
        self.touches = 0
        self.down = False

    def add(self, new: NewSession, /) -> None:
        self._up()
        self.rows[new.id] = Row(new=new, refresh=new.refresh, used_at=new.created_at)

    def by_id(self, session_id: bytes, now: Instant) -> SessionRecord | None:
        self._up()
        self.reads += 1
        return self._record(self._live(session_id, now))

    def by_cookie(self, cookie: bytes, now: Instant) -> SessionRecord | None:
        self._up()
        self.reads += 1
        key = next((key for key, row in self.rows.items() if row.new.cookie == cookie), b"")
        return self._record(self._live(key, now))

    def touch(self, session_id: bytes, idle_at: Instant, now: Instant) -> None:
        self._up()
        self.touches += 1
        row = self._live(session_id, now)
        if row is not None:
            row.new, row.used_at = replace(row.new, idle_at=idle_at), now

    def rotate(self, session_id: bytes, old: bytes, new: bytes, now: Instant, *, idle_at: Instant) -> Rotation:
        self._up()
        row = self._live(session_id, now)
        if row is None or row.refresh is None:
            return Rotation.GONE
        if row.refresh == old:
            row.refresh, row.previous, row.rotated_at = new, old, now
            row.new = replace(row.new, idle_at=idle_at)
            return Rotation.ROTATED
        if row.previous == old and now - row.rotated_at <= 10_000:
            return Rotation.REPEATED
        row.ended = True
        return Rotation.REUSED

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
        self._up()
        row = self._live(session_id, now)
        if row is None:
            return False
        row.used_at = now
        if refresh is not None:
            row.refresh, row.previous, row.rotated_at = refresh, row.refresh, now
        row.new = replace(row.new, amr=amr, auth_time=auth_time, code_at=code_at, cookie=cookie or row.new.cookie)
        return True

    def list(self, user_id: str, now: Instant) -> list[SessionRecord]:
        found = [self._record(self._live(key, now)) for key, row in self.rows.items() if row.new.user_id == user_id]
        return [record for record in found if record is not None]

    def end(self, session_id: bytes, now: Instant) -> bool:
        self._up()
        row = self._live(session_id, now)
        if row is not None:
            row.ended = True
        return row is not None

    def end_all(self, user_id: str, now: Instant, *, but: bytes | None = None) -> int:
        keys = [key for key, row in self.rows.items() if row.new.user_id == user_id and key != but]
        return sum(self.end(key, now) for key in keys)

    def purge(self, before: Instant, limit: int) -> int:
        del before, limit
        return 0

    def _up(self) -> None:
        if self.down:
            raise ServiceUnavailable

    def _live(self, key: bytes, now: Instant) -> Row | None:
        row = self.rows.get(key)
        return row if row is not None and not row.ended and now < min(row.new.expires_at, row.new.idle_at) else None

    def _record(self, row: Row | None) -> SessionRecord | None:
        if row is None:
            return None
        new = row.new
        return SessionRecord(
            id=new.id,
            user_id=new.user_id,
            cookie=new.cookie,
            amr=new.amr,
            auth_time=new.auth_time,
            code_at=new.code_at,
            created_at=new.created_at,
            used_at=row.used_at,
            rotated_at=row.rotated_at or None,
            expires_at=new.expires_at,
            idle_at=new.idle_at,
            client=new.client,
            user_state=self.states.get(new.user_id, UserState.ACTIVE),
        )


@dataclass(eq=False)
class Person:
    """The host's own user object."""

    id: str
    username: str
    is_authenticated: bool = True
    is_active: bool = True

    def get_id(self) -> str:
        return self.id


class MemoryUsers:
    """A ``Users`` port; ``loads`` counts how often the host's object was asked for."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.loads = 0
        self.asked_active = 0

    def person(self, user_id: str, *roles: str, **more: Any) -> Account:
        account = Account(id=user_id, username=f"user-{user_id}", roles=frozenset(roles), **more)
        self.accounts[user_id] = account
        return account

    def by_id(self, user_id: str, /) -> Account | None:
        return self.accounts.get(user_id)

    def by_identifier(self, identifier: Identifier, /) -> Account | None:
        return next((one for one in self.accounts.values() if one.username == identifier.value), None)

    def active(self, user_id: str, /) -> UserState:
        self.asked_active += 1
        account = self.accounts.get(user_id)
        if account is None:
            return UserState.MISSING
        return UserState.ACTIVE if account.active else UserState.DISABLED

    def add(self, new: NewAccount, /) -> Account:
        return self.person(new.username or "")

    def set_password(self, user_id: str, password_hash: str | None, /, *, was: str | None = None) -> None:
        assert was is None
        self.accounts[user_id] = replace(self.accounts[user_id], password_hash=password_hash)

    def set_verified(self, user_id: str, kind: Kind, value: str, /) -> None:
        del user_id, kind, value

    def set_mfa(self, user_id: str, enabled: bool, /) -> None:
        self.accounts[user_id] = replace(self.accounts[user_id], mfa_enabled=enabled)

    def remove(self, user_id: str, /) -> None:
        del self.accounts[user_id]

    def id_of(self, user: object, /) -> str:
        assert isinstance(user, Person)
        return user.id

    def seen(self, user_id: str, look: Callable[[Any], Any], /) -> Any:
        return look(self.load(user_id))

    def load(self, user_id: str, /) -> object | None:
        self.loads += 1
        account = self.accounts.get(user_id)
        return None if account is None else Person(id=account.id, username=str(account.username))


@dataclass
class Desk:
    """An app with credentials on it, and what stands behind them; it has what ``decorators`` use of a service."""

    app: Flask
    settings: Settings
    clock: StillClock
    store: MemorySessions
    users: MemoryUsers
    tokens: Tokens
    sessions: Sessions
    shapers: list[Callable[[Answer], Answer | None]] = field(default_factory=list)

    def login(
        self,
        user_id: str = "1",
        *,
        amr: Sequence[str] = ("pwd", "otp"),
        code: bool = True,
        kinds: Sequence[str] = ("jwt",),
    ) -> Credentials:
        account = self.users.by_id(user_id) or self.users.person(user_id)
        with self.app.app_context():
            return self.sessions.open(account, amr=amr, code=code, caller=Caller(), kinds=kinds)

    def bearer(self, *args: Any, **kwargs: Any) -> dict[str, str]:
        return header(self.login(*args, **kwargs).access_token)


def header(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def desk(app: Flask | None = None, secrets_: Sequence[bytes] = (SECRET.encode(),), **config: Any) -> Desk:
    """Put sessions in memory on an app, as the extension does on a database."""
    if app is None:
        app = Flask("host")
        app.config.update(TESTING=True, SECRET_KEY=SECRET)
    app.config.update(config)
    settings, faults = read_settings(app.config)
    assert not faults
    clock, store, users = StillClock(), MemorySessions(), MemoryUsers()
    tokens = Tokens(app, settings, Keyring(secrets_).token_keys, settings.name)
    made = Desk(
        app=app,
        settings=settings,
        clock=clock,
        store=store,
        users=users,
        tokens=tokens,
        sessions=Sessions(settings, store, users, tokens, clock),
    )
    app.extensions["otpauth"] = made
    return made


def some_id() -> str:
    return secrets.token_urlsafe(32)


def read(one: Desk, headers: dict[str, str] | None = None, path: str = "/", **more: Any) -> Session | None:
    with one.app.test_request_context(path, headers=headers or {}, **more):
        found: Session | None = one.sessions.current(cast("Any", request)._get_current_object(), instant(one.clock()))
        return found


def must_refuse(one: Desk, headers: dict[str, str], **more: Any) -> None:
    with pytest.raises(AuthenticationRequired) as caught:
        read(one, headers, **more)
    assert caught.value.token_rejected


def said_by(token: str | None) -> dict[str, Any]:
    assert token is not None
    return jwt.decode(token, options={"verify_signature": False})


def forged(one: Desk, changes: dict[str, Any], *, key: str | None = None, algorithm: str | None = "HS256") -> str:
    payload = said_by(one.login().access_token) | changes
    payload = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(payload, one.app.config["JWT_SECRET_KEY"] if key is None else key, algorithm)


def plain_views(app: Flask) -> None:
    def plain() -> Any:
        return jsonify(extended.get_jwt_identity())

    def fresh() -> Any:
        return "fresh"

    app.add_url_rule("/plain", view_func=jwt_required()(plain))
    app.add_url_rule("/fresh", view_func=jwt_required(fresh=True)(fresh))


def by_token(one: Desk, given: Credentials) -> Session | None:
    with one.app.test_request_context("/", headers=header(given.access_token)):
        return one.sessions.current(cast("Any", request)._get_current_object(), instant(one.clock()))


def by_cookie(one: Desk, mark: str | None, headers: dict[str, str] | None = None, **more: Any) -> Session | None:
    with one.app.test_request_context("/", headers=headers or {}, **more):
        flask_session["_otpauth"] = f"s.{mark}"
        return one.sessions.current(cast("Any", request)._get_current_object(), instant(one.clock()))


def step_up(one: Desk, held: Session, *, code: bool = True, amr: tuple[str, ...] = ("pwd", "otp"), **more: Any) -> Any:
    account = one.users.accounts[held.user_id]
    return one.sessions.raise_assurance(
        held.sid, held.key, account, amr=amr, code=code, caller=more.pop("caller", Caller()), **more
    )
