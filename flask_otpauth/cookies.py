"""What a browser is given to hold, and what is taken from it again: its login, its challenge, its name as a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Request, Response, current_app
from flask import session as flask_session

from .sessions.cookie import clear, put_challenge, put_session

if TYPE_CHECKING:
    from .flows.service import Service

__all__ = ["CLIENT_COOKIE", "end_previous", "forget_login", "hold_client", "hold_login", "put_challenge"]

CLIENT_COOKIE = "otpauth_client"

CLIENT_LIFETIME = 400 * 86400
"""Seconds; no browser keeps a cookie longer."""


def end_previous(service: Service, request: Request, cookie: str | None) -> None:
    """
    End the login that the browser held until now, where a new ``cookie`` takes its place.

    It may be another one than the request presented, where a token stood beside the cookie.
    """
    service.sessions.forget(request)
    if cookie is not None:
        service.sessions.end_held()


def hold_login(service: Service, cookie: str) -> None:
    """Put a finished login into Flask's session."""
    put_session(flask_session, cookie, service.settings.session_permanent)


def hold_client(response: Response, client: str) -> None:
    """Set the cookie by which a browser is known; Secure outside debug."""
    secure = not current_app.debug
    response.set_cookie(CLIENT_COOKIE, client, max_age=CLIENT_LIFETIME, secure=secure, httponly=True, samesite="Lax")


def forget_login(service: Service, request: Request) -> None:
    """Take everything of ours out of the browser's session, where it was put."""
    service.sessions.forget(request)
    if service.settings.holds_sessions:
        service.sessions.end_held()
        clear(flask_session)
