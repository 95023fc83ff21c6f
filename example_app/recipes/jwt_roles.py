"""JWT with roles, and a second factor for who wants one; docs/how-to/recipes.md tells what each setting does."""

import os
from collections.abc import Mapping

from flask import Flask
from flask_migrate import Migrate

from example_app.environment import deployed
from flask_otpauth import OTPAuth, auth_required, current_user


def create_app(config: Mapping[str, object] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping({"SECRET_KEY": "dev", **deployed(os.environ)})
    app.config.from_mapping(OTPAUTH_API_PREFIX="", OTPAUTH_ROUTES={"me": "/protected"})
    app.config.from_mapping(OTPAUTH_FIELD_NAMES={"challenge_id": "session_id"}, OTPAUTH_IDENTIFIERS="username")
    app.config.from_mapping(OTPAUTH_REGISTER_FIELDS=("username", "email", "password", "phone?"))
    app.config.from_mapping(OTPAUTH_REGISTRATION="open", OTPAUTH_SECOND_FACTOR="opt-in", OTPAUTH_ON_EXPIRY="restart")
    app.config.from_mapping(OTPAUTH_PASSWORD_MIN_LENGTH=8, OTPAUTH_PHONE_REGION="IL", OTPAUTH_APP_NAME="Members")
    app.config.from_mapping(config or {})
    OTPAuth(app)
    Migrate(app, app.extensions["sqlalchemy"])

    @app.get("/admin")
    @auth_required(roles={"admin"})
    def admin() -> dict[str, str]:
        return {"message": f"Hello, administrator {current_user.username}."}

    return app
