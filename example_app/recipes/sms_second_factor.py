"""SMS second factor: password, code by SMS, then a JWT; docs/how-to/recipes.md tells what each setting does."""

import os
from collections.abc import Mapping

from flask import Flask

from example_app.environment import deployed
from flask_otpauth import OTPAuth, otp_required
from flask_otpauth.types import SenderLike


def create_app(config: Mapping[str, object] | None = None, sms: SenderLike | None = None) -> Flask:
    names = {"phone": "phone_number", "challenge_id": "session_id", "access_token": "token"}
    app = Flask(__name__)
    app.config.from_mapping({"SECRET_KEY": "dev", **deployed(os.environ)})
    app.config.from_mapping(OTPAUTH_FIELD_NAMES=names, OTPAUTH_REGISTER_FIELDS=("username", "password", "phone"))
    app.config.from_mapping(OTPAUTH_REGISTRATION="open", OTPAUTH_CHANNELS="sms", OTPAUTH_PHONE_REGION="IL")
    app.config.from_mapping(OTPAUTH_IDENTIFIERS="username", OTPAUTH_USERNAME_LENGTH=(8, 64))
    app.config.from_mapping(OTPAUTH_CODE_LIFETIME=120, OTPAUTH_ON_EXPIRY="restart", OTPAUTH_APP_NAME="Private area")
    app.config.from_mapping({"OTPAUTH_ROUTES": {"docs": "/swagger/"}, **(config or {})})
    auth = OTPAuth(app, sms=sms)

    @app.get("/auth/private")
    @auth.documented()
    @otp_required
    def private() -> dict[str, str]:
        return {"message": "Access granted."}

    return app
