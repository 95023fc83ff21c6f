"""Protected views, the current user and session, and how a refusal is answered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import partial, wraps
from inspect import isclass, iscoroutinefunction
from math import inf
from typing import Any, TypeVar, cast, overload

from flask import Blueprint, Request, Response, after_this_request, current_app, has_request_context, request
from typing_extensions import override
from werkzeug.local import LocalProxy

from .errors import (
    AuthenticationRequired,
    CrossOrigin,
    Forbidden,
    IdentifierTaken,
    InsufficientAuthentication,
    OTPAuthError,
    ValidationFailed,
)
from .flows.refusals import note_refusal
from .flows.service import Service
from .redirects import lead_to_help
from .sessions import real_request
from .types import Answer, Instant, Session, instant

__all__ = [
    "ASKED",
    "Requirements",
    "answer_response",
    "auth_required",
    "current_session",
    "current_user",
    "otp_required",
    "problem_response",
    "protect",
    "real_request",
    "requirements",
]

View = TypeVar("View", bound=Callable[..., Any])

ASKED = "_otpauth_asked"
"""Attribute of what a decorator or ``protect`` makes: its ``Requirements``, for the document of the interface."""

_USER = "flask_otpauth.user"
_VARY = "Authorization, Cookie"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """
    What a view asks of the login that comes to it.

    Attributes:
        code: Whether it must have proved a one-time code.
        roles: One of these; None for any.
        fresh: Seconds that the proof may be old; True for ``OTPAUTH_FRESH_LIFETIME``, None for any age.
        methods: One of these must be among ``Session.methods``; None for any.
    """

    code: bool
    roles: frozenset[str] | None = None
    fresh: float | bool | None = None
    methods: frozenset[str] | None = None


# --- decorators ---------------------------------------------------------------------------------------------------


@overload
def auth_required(view: View, /) -> View: ...
@overload
def auth_required(
    *,
    roles: Collection[str] | None = None,
    fresh: timedelta | float | bool | None = None,
    methods: Collection[str] | None = None,
) -> Callable[[View], View]: ...
def auth_required(view: Any = None, /, **asked: Any) -> Any:
    """
    Let only finished logins into the view; with or without parentheses.

    On functions, ``async def``, methods of a ``MethodView`` and in its ``decorators``. ``OPTIONS`` passes. A refusal is
    answered here as a problem (RFC 9457): no error handler of the host sees it. With ``OTPAUTH_PAGES`` a browser, which
    names ``text/html`` and sends no ``Authorization``, is sent to log in or to prove a code, and back; without the role
    it gets a page.

    Args:
        roles: The user must have one of these now; the token isn't asked.
        fresh: The user must have authenticated within this time (seconds or ``timedelta``), or within
            ``OTPAUTH_FRESH_LIFETIME`` for True; a refreshed token never meets it.
        methods: The login must have proved one of these: a channel by which its code came (``{"sms"}``, ``{"email"}``),
            or a value of ``amr``.

    Raises:
        TypeError: An argument is of the wrong type; when the view is decorated.
    """
    return _decorate(view, requirements(code=False, **asked))


@overload
def otp_required(view: View, /) -> View: ...
@overload
def otp_required(
    *,
    roles: Collection[str] | None = None,
    fresh: timedelta | float | bool | None = None,
    methods: Collection[str] | None = None,
) -> Callable[[View], View]: ...
def otp_required(view: Any = None, /, **asked: Any) -> Any:
    """
    Let only logins into the view that have proved a one-time code; ``fresh`` is then the age of that proof.

    Otherwise as ``auth_required``.
    """
    return _decorate(view, requirements(code=True, **asked))


def protect(
    blueprint: Blueprint,
    *,
    code: bool = False,
    roles: Collection[str] | None = None,
    fresh: timedelta | float | bool | None = None,
    methods: Collection[str] | None = None,
) -> None:
    """
    Protect all views of a blueprint and of those nested in it, as ``otp_required`` (``code``) or ``auth_required``.

    Called before the blueprint is registered on the app.
    """
    asked = requirements(code=code, roles=roles, fresh=fresh, methods=methods)

    def check() -> Response | None:
        return _refusal(asked)

    check.__dict__[ASKED] = asked
    blueprint.before_request(check)


def requirements(
    *,
    code: bool,
    roles: Collection[str] | None = None,
    fresh: timedelta | float | bool | None = None,
    methods: Collection[str] | None = None,
) -> Requirements:
    """
    Check what a view asks for.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: It can never be met.
    """
    return Requirements(code=code, roles=_names("roles", roles), fresh=_age(fresh), methods=_names("methods", methods))


def _age(fresh: timedelta | float | bool | None) -> float | bool | None:
    if fresh is None or isinstance(fresh, bool):
        return fresh or None
    seconds = fresh.total_seconds() if isinstance(fresh, timedelta) else fresh
    if not isinstance(seconds, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"fresh is {fresh!r}; give seconds, a timedelta, or True for OTPAUTH_FRESH_LIFETIME")
    if not 0 < seconds < inf:
        raise ValueError("fresh must be a positive time")
    return float(seconds)


def _names(argument: str, given: Collection[str] | None) -> frozenset[str] | None:
    if given is None:
        return None
    # A string is a collection of its letters, which nobody means.
    if isinstance(given, str) or not isinstance(given, Collection):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f'{argument} is {given!r}; give a set of names: {{"admin"}}')
    if not all(isinstance(name, str) for name in given):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{argument} is {given!r}; names are strings")
    if not given:
        raise ValueError(f"{argument} is empty: nobody could meet it")
    return frozenset(given)


def _decorate(view: object, asked: Requirements) -> Any:
    if view is None:
        return partial(_guarded, asked)
    return _guarded(asked, view)


def _guarded(asked: Requirements, view: object) -> Callable[..., Any]:
    if isclass(view):
        raise TypeError(f"{view.__name__} is a class: name the decorator in its `decorators`, or put it on its methods")
    if not callable(view):
        raise TypeError(f"{view!r} is no view; parameters are given by name: @auth_required(roles={{'admin'}})")
    inner = cast("Callable[..., Any]", view)

    waits = iscoroutinefunction(inner)

    @wraps(inner)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        refusal = _refusal(asked)
        if refusal is not None:
            return refusal
        return current_app.ensure_sync(inner)(*args, **kwargs) if waits else inner(*args, **kwargs)

    guarded.__dict__[ASKED] = asked
    return guarded


# --- admission ----------------------------------------------------------------------------------------------------


def _refusal(asked: Requirements) -> Response | None:
    """Give the answer for who may not pass; None for who may."""
    real = real_request(request)
    if real.method == "OPTIONS":
        return None
    service = _service()
    try:
        _admit(asked, service, real)
    except OTPAuthError as error:
        return lead_to_help(error, service, real) or problem_response(error, service)
    after_this_request(_private)
    return None


def _admit(asked: Requirements, service: Service, real: Request) -> None:
    now = instant(service.clock())
    session = service.sessions.current(real, now)
    if session is None:
        raise AuthenticationRequired
    if asked.code or asked.fresh is not None or asked.methods is not None:
        _check_proof(asked, session, now, service.settings.fresh_lifetime)
    if asked.roles is not None:
        account = service.users.by_id(session.user_id)
        if account is None or not account.active:
            raise AuthenticationRequired(token_rejected=True)
        if not asked.roles & account.roles:
            raise Forbidden("Your account has none of the roles that this needs.")


def _check_proof(asked: Requirements, session: Session, now: Instant, lifetime: int) -> None:
    limit = None if asked.fresh is None else lifetime if asked.fresh is True else float(asked.fresh)
    max_age = None if limit is None else int(limit)
    proved_at = session.code_at if asked.code else session.auth_time
    if proved_at is None:
        raise InsufficientAuthentication("A one-time code is needed.", max_age=max_age)
    if asked.methods is not None and not asked.methods & session.methods:
        raise InsufficientAuthentication("Another method is needed.", max_age=max_age)
    if limit is not None and (not session.fresh or now - instant(proved_at) > limit * 1000):
        raise InsufficientAuthentication("A more recent proof is needed.", max_age=max_age)


def _private(response: Response) -> Response:
    # One pass over the headers: werkzeug's look-ups and parsed views cost more than the rest of the decorator.
    headers = response.headers
    present = [name.lower() for name, _ in headers]
    if "cache-control" not in present:
        headers.add("Cache-Control", "no-store")
    if "vary" not in present:
        headers.add("Vary", _VARY)
    else:
        response.vary.update(_VARY.split(", "))
    return response


def _service() -> Service:
    service: Service | None = current_app.extensions.get("otpauth")
    if service is None:
        raise RuntimeError("Flask-OTPAuth isn't on this app: call OTPAuth(app), or init_app(app), before it serves.")
    return service


# --- answers ------------------------------------------------------------------------------------------------------


def problem_response(error: OTPAuthError, service: Service) -> Response:
    """Answer a refusal as a problem (RFC 9457), in the wire names of the app, through its response shapers."""
    wire, real = service.settings.wire, real_request(request)
    note_refusal(error, service, real)
    body: dict[str, object] = {
        "type": f"urn:flask-otpauth:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        **{wire(name): value for name, value in error.members.items()},
    }
    if isinstance(error, ValidationFailed):
        body["errors"] = [{"field": fault.field, "message": fault.message} for fault in error.errors]
    if isinstance(error, IdentifierTaken):
        body["errors"] = [{"field": wire(error.field), "message": error.detail}]
    answer = Answer(
        endpoint=(real.endpoint or "").removeprefix("otpauth."),
        status=error.status,
        body=body,
        headers={"Vary": _VARY, **error.headers},
    )
    return answer_response(answer, service, "application/problem+json")


def answer_response(answer: Answer, service: Service, mimetype: str = "application/json") -> Response:
    """Let the response shapers have the answer, in the order of their registration, and make the response of it."""
    for shape in service.shapers:
        answer = shape(answer) or answer
    text = "" if answer.body is None else current_app.json.dumps(answer.body)
    response = current_app.response_class(text, status=answer.status, mimetype=mimetype)
    if answer.body is None:
        del response.headers["Content-Type"]
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(answer.headers)
    return response


# --- who it is ----------------------------------------------------------------------------------------------------


class _Proxy(LocalProxy[Any]):
    """A proxy that says what to do about its emptiness."""

    __slots__ = ()

    @override
    def __getattr__(self, name: str) -> Any:
        real = self._get_current_object()
        if real is None and not name.startswith("__"):
            raise AttributeError(f"nobody is logged in, so there is no {name!r}; protect the view with @auth_required")
        return getattr(real, name)


def _current_session() -> Session | None:
    if not has_request_context():
        return None
    service = _service()
    try:
        return service.sessions.current(real_request(request), instant(service.clock()))
    except (AuthenticationRequired, CrossOrigin):
        # An unprotected view that only looks who is there: bad credentials are nobody's.
        return None


def _current_user() -> object | None:
    session = _current_session()
    if session is None:
        return None
    real = real_request(request)
    kept = real.environ.get(_USER)
    # Keyed to this very request and login, never in g: pytest-flask shares one g among the requests of a test.
    if kept is not None and kept[0] is real and kept[1] is session:
        return cast("object | None", kept[2])
    user = _service().users.load(session.user_id)
    real.environ[_USER] = (real, session, user)
    return user


current_user: Any = _Proxy(_current_user)
"""The host's own user object of the current login, loaded when first touched; as good as None where there is none."""

current_session: Any = _Proxy(_current_session)
"""The current login, a ``types.Session``; as good as None where there is none."""
