"""Tokens of forms, by Flask-WTF and as the app has set it up."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from flask import Request, current_app, session
from markupsafe import Markup

from ..errors import MalformedRequest


def field_name() -> str:
    """Give the name of the field that holds the token."""
    return str(_config().get("WTF_CSRF_FIELD_NAME", "csrf_token"))


def hidden_field() -> Markup:
    """Give the field with a token that is good in this browser only."""
    if not _enabled():
        return Markup()
    return Markup('<input type="hidden" name="{}" value="{}">').format(field_name(), _flask_wtf().generate_csrf())


def check_token(request: Request) -> None:
    """
    Let a form pass that one of our pages has given to this browser.

    Raises:
        MalformedRequest: It has no such token, or is older than ``WTF_CSRF_TIME_LIMIT``.
    """
    if not _enabled():
        return
    flask_wtf = _flask_wtf()
    try:
        flask_wtf.validate_csrf(request.form.get(field_name()))
    except flask_wtf.ValidationError:
        raise MalformedRequest("This page was open for too long, or cookies are off. Please try again.") from None


def forget_token() -> None:
    """Make the tokens void that this browser was given before it logged in: another may have planted its session."""
    if field_name() in session:
        del session[field_name()]


def _enabled() -> bool:
    return bool(_config().get("WTF_CSRF_ENABLED", True))


def _config() -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", current_app.config)


def _flask_wtf() -> Any:
    # Imported at the first form, and by name: it has no types.
    return import_module("flask_wtf.csrf")
