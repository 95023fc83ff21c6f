"""A host app that is walked through over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask

from flask_otpauth import OTPAuth, current_session, current_user, otp_required
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import Message
from tests.described import watched

PASSWORD = "correct horse battery"
PHONE = "+972508464336"


class Host:
    """A host app with one protected view, a client, the clock and the messages."""

    def __init__(self, app: Flask, clock: Any, messages: list[Message]) -> None:
        self.app, self.clock, self.messages = app, clock, messages
        self.client = app.test_client()

    @property
    def code(self) -> str:
        return str(self.messages[-1].code)

    def post(self, path: str, body: dict[str, Any] | None = None, token: str | None = None, client: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return (client or self.client).post(f"/auth{path}", json=body, headers=headers)

    def get(self, path: str, token: str | None = None) -> Any:
        return self.client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})

    def register(self, **fields: str) -> Any:
        return self.post("/register", {"username": "ann", "password": PASSWORD, "phone": PHONE, **fields})

    def prove(self, challenge: Any) -> Any:
        return self.post("/verify-otp", {"challenge_id": challenge.json["challenge_id"], "otp": self.code})

    def login(self, **fields: str) -> Any:
        self.clock.advance(61)
        return self.post("/login", {"identifier": "ann", "password": PASSWORD, **fields})


@pytest.fixture(autouse=True)
def described() -> Iterator[None]:
    """Let no walk get an answer that the OpenAPI document doesn't describe."""
    with watched():
        yield


@pytest.fixture
def host(make_app: Callable[..., Flask], clock: Any) -> Iterator[Callable[..., Host]]:
    with ExitStack() as stack:

        def make(**config: Any) -> Host:
            app = make_app(**{f"OTPAUTH_{name}": value for name, value in config.items()})
            OTPAuth(app, clock=clock)

            @app.get("/private")
            @otp_required
            def private() -> dict[str, Any]:
                return {"hello": current_user.username, "amr": list(current_session.amr)}

            return Host(app, clock, stack.enter_context(capture_messages(app)))

        yield make
