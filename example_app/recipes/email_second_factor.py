"""E-mail second factor, with a session cookie; docs/how-to/recipes.md tells what each setting does."""

import os
from collections.abc import Mapping

from flask import Flask

from example_app.environment import deployed
from flask_otpauth import OTPAuth


def create_app(config: Mapping[str, object] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping({"SECRET_KEY": "dev", **deployed(os.environ)})
    app.config.from_mapping(OTPAUTH_API_PREFIX="", OTPAUTH_ROUTES={"register": "/signup", "me": "/protected"})
    app.config.from_mapping(OTPAUTH_PROFILE_FIELDS="name", OTPAUTH_REGISTER_FIELDS=("name", "email", "password"))
    app.config.from_mapping(OTPAUTH_REGISTRATION="open", OTPAUTH_IDENTIFIERS="email", OTPAUTH_CHANNELS="email")
    app.config.from_mapping(OTPAUTH_CREDENTIALS="session", OTPAUTH_SESSION_PERMANENT=True)
    app.config.from_mapping(OTPAUTH_CHALLENGE_LOOKUP="identifier", OTPAUTH_APP_NAME="Protected area")
    app.config.from_mapping(OTPAUTH_PASSWORD_HASH="pbkdf2:sha256:600000")  # noqa: S106 - it names a scheme
    app.config.from_mapping(config or {})
    OTPAuth(app).response_bodies(
        register={"message": "Account created successfully"},
        login=lambda answer: {"message": "OTP sent to your email", "expires_in": answer.lifetime},
        verify_otp=lambda answer: {"message": "Login successful", "user": answer.of_user("id", "name", "email")},
        resend_otp={"message": "New OTP sent to your email"},
        logout={"message": "Logged out successfully"},
        me=lambda answer: {"message": "Welcome to protected area", "user": answer.of_user("id", "email")},
    )
    return app
