"""Mobile OTP login: a code by SMS is the login; docs/how-to/recipes.md tells what each setting does."""

import os
from collections.abc import Mapping

from flask import Flask

from example_app.environment import deployed
from flask_otpauth import OTPAuth, current_user, otp_required
from flask_otpauth.types import SenderLike


def create_app(config: Mapping[str, object] | None = None, sms: SenderLike | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping({"SECRET_KEY": "dev", **deployed(os.environ)})
    app.config.from_mapping(OTPAUTH_API_PREFIX="", OTPAUTH_FIELD_NAMES={"phone": "mobile_number"})
    app.config.from_mapping(OTPAUTH_FIRST_FACTOR="otp", OTPAUTH_REGISTRATION="login-code", OTPAUTH_CHANNELS="sms")
    app.config.from_mapping(OTPAUTH_IDENTIFIERS="phone", OTPAUTH_CHALLENGE_LOOKUP="identifier")
    app.config.from_mapping(OTPAUTH_REGISTER_FIELDS=("username", "password", "phone"), OTPAUTH_PHONE_REGION="IL")
    app.config.from_mapping(OTPAUTH_USERNAME_LENGTH=(6, 64), OTPAUTH_PASSWORD_MIN_LENGTH=8)
    app.config.from_mapping(OTPAUTH_APP_NAME="Mobile login")
    app.config.from_mapping(config or {})
    OTPAuth(app, sms=sms)

    @app.get("/protected")
    @otp_required
    def protected() -> dict[str, str]:
        return {"id": str(current_user.id), "username": current_user.username, "mobile_number": current_user.phone}

    return app
