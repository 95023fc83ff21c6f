"""A portal whose users prove their e-mail address first; docs/how-to/recipes.md tells what each setting does."""

import os
from collections.abc import Mapping

from flask import Flask, render_template

from example_app.environment import deployed
from flask_otpauth import OTPAuth, auth_required, current_user


def create_app(config: Mapping[str, object] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping({"SECRET_KEY": "dev", **deployed(os.environ)})
    app.config.from_mapping(OTPAUTH_PAGES=True, OTPAUTH_PAGES_PREFIX="", OTPAUTH_AFTER_LOGIN="/dashboard")
    app.config.from_mapping(OTPAUTH_ROUTES={"pages.confirm": "/verify_otp"}, OTPAUTH_CREDENTIALS="session")
    app.config.from_mapping(OTPAUTH_REGISTER_FIELDS=("username", "email", "password"), OTPAUTH_CHANNELS="email")
    app.config.from_mapping(OTPAUTH_LOGIN_ON_CONFIRM=False, OTPAUTH_ON_EXPIRY="restart")
    app.config.from_mapping(OTPAUTH_SECOND_FACTOR="never", OTPAUTH_IDENTIFIERS="username")
    app.config.from_mapping(OTPAUTH_PASSWORD_MIN_LENGTH=8, OTPAUTH_APP_NAME="Portal")
    app.config.from_mapping(config or {})
    OTPAuth(app)

    @app.get("/dashboard")
    @auth_required
    def dashboard() -> str:
        return render_template("dashboard.html", name=current_user.username)

    return app
