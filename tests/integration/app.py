"""The app that gunicorn serves: defaults, the settings of the environment, and a sender that writes to a file."""

from __future__ import annotations

import json
import os
from typing import Any

from flask import Flask

from flask_otpauth import OTPAuth, current_session, otp_required
from flask_otpauth.types import Message


def create_app() -> Flask:
    """Give the app; ``OTPAUTH_TEST_CONFIG`` is JSON of settings, ``OTPAUTH_TEST_OUTBOX`` the path of the messages."""
    config: dict[str, Any] = json.loads(os.environ["OTPAUTH_TEST_CONFIG"])
    outbox = os.environ["OTPAUTH_TEST_OUTBOX"]
    app = Flask("served", instance_path=os.environ["OTPAUTH_TEST_INSTANCE"])
    app.config.update(config)

    def send(message: Message) -> None:
        line = json.dumps({"to": message.to, "code": message.code, "purpose": message.purpose})
        # One write to a file opened for appending isn't mixed with that of another worker.
        descriptor = os.open(outbox, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)

    OTPAuth(app, email=send)

    @app.get("/private")
    @otp_required
    def private() -> dict[str, str]:
        return {"user": current_session.user_id}

    return app
