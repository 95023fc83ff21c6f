"""Who sends a request: address, known client, pending challenge, finished login."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from flask import Request
from flask import session as flask_session

from .cookies import CLIENT_COOKIE
from .errors import AuthenticationRequired, CrossOrigin
from .limits import client_network
from .sessions import check_origin
from .sessions.cookie import Marks, read_marks
from .types import Caller, Session, instant

if TYPE_CHECKING:
    from .flows.service import Service

USER_AGENT_LENGTH = 200
COOKIE_LENGTH = 128
LOCALE_LENGTH = 35
"""As long as a language tag ought to be allowed to be (RFC 5646, 4.4.1)."""

_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


def caller_from(service: Service, request: Request, extra: Mapping[str, str] | None = None) -> Caller:
    """
    Describe who sends a request.

    A finished login counts where it is presented and good; a bad one is as none, since nothing here needs it.
    """
    marks = read_marks(flask_session) if "session" in service.settings.credentials else Marks()
    presents = marks.session is not None or "Authorization" in request.headers
    return _caller(request, marks.challenge, _presented(service, request) if presents else None, extra or {})


def page_caller(service: Service, request: Request, extra: Mapping[str, str] | None = None) -> Caller:
    """Describe who sends a page's form: whatever JSON clients are given, a browser's login is its session."""
    marks = read_marks(flask_session)
    caller = _caller(request, marks.challenge, _presented(service, request), extra or {})
    return replace(caller, kinds=("session",))


def caller_with(request: Request, session: Session | None, extra: Mapping[str, str] | None = None) -> Caller:
    """Describe who sends a request, where the view has looked for a finished login itself."""
    return _caller(request, None, session, extra or {})


def required_session(service: Service, request: Request) -> Session:
    """
    Give the finished login that the request presents.

    Raises:
        AuthenticationRequired: There is none, or a bad one.
        CrossOrigin: A cookie carries it, and the request comes from another site.
    """
    session = service.sessions.current(request, instant(service.clock()))
    if session is None:
        raise AuthenticationRequired
    return session


def check_held(service: Service, request: Request, caller: Caller) -> None:
    """
    Make sure that a request may act on the challenge that the browser's cookie holds, where it holds one.

    Raises:
        CrossOrigin: The request comes from another site.
    """
    if caller.pending is not None:
        check_origin(request, service.settings)


def _presented(service: Service, request: Request) -> Session | None:
    try:
        return service.sessions.current(request, instant(service.clock()))
    except (AuthenticationRequired, CrossOrigin):
        return None


def _caller(request: Request, pending: str | None, session: Session | None, extra: Mapping[str, str]) -> Caller:
    return Caller(
        address=request.remote_addr,
        network=None if request.remote_addr is None else client_network(request.remote_addr),
        user_agent=_user_agent(request),
        client=_client_cookie(request),
        pending=pending,
        session=session,
        locale=_locale(request),
        extra=extra,
    )


def _client_cookie(request: Request) -> str | None:
    """Give the value of the cookie that known clients present."""
    value = request.cookies.get(CLIENT_COOKIE)
    return value if value and len(value) <= COOKIE_LENGTH else None


def _user_agent(request: Request) -> str:
    """Give the user agent in at most 200 printable characters."""
    text = request.headers.get("User-Agent", "")[:USER_AGENT_LENGTH]
    return text if text.isprintable() else "".join(char for char in text if char.isprintable())


def _locale(request: Request) -> str | None:
    """Give the first language of ``Accept-Language``: browsers send them in the order of preference."""
    header = request.headers.get("Accept-Language")
    if not header:
        return None
    tag = header.split(",", 1)[0].split(";", 1)[0].strip()
    return tag if len(tag) <= LOCALE_LENGTH and _LOCALE.fullmatch(tag) else None
