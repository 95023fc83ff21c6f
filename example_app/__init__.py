"""A small savings bank on Flask-OTPAuth: sign up, see the balance, send money with a fresh code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from flask import Flask

from flask_otpauth import OTPAuth

from .answers import tell_errors
from .bank import Bank
from .environment import deployed
from .views import make_views

PACKAGES = ("flask_wtf", "flask_bootstrap")
"""What the extra ``pages`` brings."""


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Give the bank; ``config`` goes over what the environment says."""
    app = Flask(__name__)
    app.config.from_mapping(
        OTPAUTH_APP_NAME="Savings bank",
        OTPAUTH_PAGES=all(find_spec(name) for name in PACKAGES),
        # The bank has /account; the extension's pages sit at /login, /register and so on.
        OTPAUTH_PAGES_PREFIX="",
        OTPAUTH_ROUTES={"pages.account": "/profile"},
        OTPAUTH_AFTER_LOGIN="/account",
        OTPAUTH_AFTER_LOGOUT="/",
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=not app.debug,
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(deployed(os.environ))
    app.config.from_mapping(config or {})
    if app.debug or app.testing:
        app.secret_key = app.secret_key or "dev"
    OTPAuth(app)
    bank = Bank(app)
    app.register_blueprint(make_views(bank))
    tell_errors(app)
    if app.config["OTPAUTH_PAGES"]:
        from .pages import make_pages

        app.register_blueprint(make_pages(bank))
    else:
        app.logger.warning("No HTML pages, JSON only: for the pages, pip install -e '.[pages]'.")
    return app
