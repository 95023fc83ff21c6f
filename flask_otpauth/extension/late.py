"""What can only be seen once the app is set up: checked before its first request, then never again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, cast

from flask import Flask

from ..delivery import Post
from ..errors import ConfigurationError
from ..login_manager import attach_flask_login
from .assembly import Assembled
from .reading import console_faults

logger: logging.Logger = logging.getLogger("flask_otpauth")

_JWT = "flask-jwt-extended"
_MAKERS = {_JWT: "JWTManager", "limiter": "Limiter", "sqlalchemy": "SQLAlchemy"}


def check_before_first_request(app: Flask, made: Assembled) -> None:
    """
    Look at the app once more when its first request comes in, and refuse to serve it with faults.

    The check takes itself away when it has passed: no request after the first pays for it.
    """
    seen = {name: _extension(app, name) for name in _MAKERS}

    def check() -> None:
        lenient = app.debug or app.testing or made.service.settings.demo
        faults = [*_late_extensions(app, seen), *_channels_without_sender(made.post), *_targets(app, made)]
        faults += console_faults(made.post.chains, lenient=lenient)
        if faults:
            raise ConfigurationError(faults)
        _warn(app, made)
        attach_flask_login(app, made.service)
        _take_away(app, check)

    # Before the functions of the host, none of which may run in an app that can't be served.
    app.before_request_funcs.setdefault(None, []).insert(0, check)


def _take_away(app: Flask, check: Callable[[], None]) -> None:
    # A new list: the one that is being walked through must not change, or the host's next function would be skipped.
    rest = [one for one in app.before_request_funcs.get(None, []) if one is not check]
    if rest:
        app.before_request_funcs[None] = rest
    else:
        app.before_request_funcs.pop(None, None)


def _extension(app: Flask, name: str) -> object:
    found: object = app.extensions.get(name)
    return frozenset(map(id, found)) if isinstance(found, set) else found  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _late_extensions(app: Flask, seen: dict[str, object]) -> list[str]:
    return [
        f"A {maker} was put on the app after OTPAuth(app); make yours first: OTPAuth then keeps to it."
        for name, maker in _MAKERS.items()
        if _extension(app, name) != seen[name]
    ]


def _channels_without_sender(post: Post) -> list[str]:
    if post.missing:
        names = ", ".join(post.missing)
        mail = "for e-mail set SMTP_SERVER and SENDER_EMAIL, " if "email" in post.missing else ""
        return [
            (
                f"OTPAUTH_CHANNELS names {names} without a sender; {mail}register one with @auth.sender(...), or leave "
                "it out. For development run `flask run --debug`."
            )
        ]
    if not post.channels:
        return [
            (
                "No channel has a sender: decorate a function with @auth.sms_sender or @auth.email_sender, or set "
                "SMTP_SERVER and SENDER_EMAIL (with Flask-Mail, MAIL_DEFAULT_SENDER). For development run "
                "`flask run --debug`."
            )
        ]
    return []


def _targets(app: Flask, made: Assembled) -> list[str]:
    """Check that the endpoints that pages lead on to exist; they may have come after the extension."""
    settings = made.service.settings
    given = {"LOGIN": settings.after_login, "LOGOUT": settings.after_logout}
    # Werkzeug types the arguments in part.
    rules = cast("Iterable[Any]", app.url_map.iter_rules())
    plain = {rule.endpoint for rule in rules if not rule.arguments}
    return [
        f"OTPAUTH_AFTER_{name} is {target!r}, which is no endpoint of the app without arguments; give one, or a path."
        for name, target in given.items()
        if settings.pages and target is not None and "/" not in target and target not in plain
    ]


def _warn(app: Flask, made: Assembled) -> None:
    manager = app.extensions[_JWT]
    if not made.tokens.ours and not hasattr(manager._token_in_blocklist_callback, "otpauth_revocation"):
        logger.warning(
            "Plain @jwt_required doesn't see that a session was ended: register "
            "jwt.token_in_blocklist_loader(auth.token_revoked)."
        )
    if made.service.settings.holds_sessions and not (app.debug or app.testing):
        wanted: dict[str, tuple[object, ...]] = {"SECURE": (True,), "HTTPONLY": (True,), "SAMESITE": ("Lax", "Strict")}
        lacks = [
            f"SESSION_COOKIE_{name}"
            for name, good in wanted.items()
            if app.config[f"SESSION_COOKIE_{name}"] not in good
        ]
        if lacks:
            logger.warning("The app's session cookie holds logins and is not protected: set %s.", ", ".join(lacks))
