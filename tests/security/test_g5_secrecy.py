"""G5: nobody but the sender ever gets a code. A marker stands in its place, and everything is searched for it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_otpauth import OTPAuth, otp_required, signals
from flask_otpauth.types import Message

PASSWORD = "correct horse battery"
PHONE, EMAIL = "+972508464336", "ann@example.org"


class Trail:
    """All that an app gave away: answers, cookies, log records, signals."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def answer(self, response: Any) -> Any:
        self.text += [response.get_data(as_text=True), str(response.headers), response.status]
        return response

    def record(self, record: logging.LogRecord) -> None:
        self.text += [record.getMessage(), repr(record.__dict__)]
        if record.exc_info:
            self.text += traceback.format_exception(*record.exc_info)  # type: ignore[misc]

    def signal(self, sender: object, **details: object) -> None:
        self.text += [repr(sender), repr(details)]


class Listener(logging.Handler):
    def __init__(self, trail: Trail) -> None:
        super().__init__(logging.DEBUG)
        self.trail = trail

    def emit(self, record: logging.LogRecord) -> None:
        self.trail.record(record)


class Gateway:
    """A sender that keeps its messages and, when told so, fails with an error that quotes the whole message."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.broken = False

    def send(self, message: Message) -> None:
        self.messages.append(message)
        if self.broken:
            raise OSError(f"refused: {message.to} {message.body} {message.code}")


@pytest.fixture
def markers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every code is of twelve digits that occur nowhere else by chance; they are listed here."""
    minted: list[str] = []

    def mint(digits: int) -> str:
        assert digits == 12
        minted.append(f"9182736450{len(minted):02d}")
        return minted[-1]

    monkeypatch.setattr("flask_otpauth.challenges.mint", mint)
    return minted


@pytest.mark.parametrize("credentials", ["jwt", "session"])
@pytest.mark.parametrize("registration", ["confirm", "login-code", "open"])
@pytest.mark.parametrize("channel", ["sms", "email"])
def test_a_code_is_nowhere_but_in_its_message(  # noqa: PLR0917 - what pytest fills in
    make_app: Callable[..., Flask],
    clock: Any,
    markers: list[str],
    credentials: str,
    registration: str,
    channel: str,
) -> None:
    app = make_app(
        OTPAUTH_CODE_LENGTH=12, OTPAUTH_CREDENTIALS=credentials, OTPAUTH_REGISTRATION=registration,
        OTPAUTH_CHANNELS=channel, OTPAUTH_SEND_LIMITS="90 per day",
    )  # fmt: skip
    gateway, trail = Gateway(), Trail()
    OTPAuth(app, clock=clock, sms=gateway, email=gateway)

    @app.get("/private")
    @otp_required
    def private() -> str:
        return "ok"

    listener = Listener(trail)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    heard = [one for one in vars(signals).values() if isinstance(one, type(signals.otp_sent))]
    for signal in heard:
        signal.connect(trail.signal, app)
    try:
        walk(app, clock, gateway, trail, {"phone": PHONE} if channel == "sms" else {"email": EMAIL})
    finally:
        root.removeHandler(listener)
        root.setLevel(level)
    assert len(markers) > 5
    stored = b"".join(one.read_bytes() for one in Path(app.instance_path).glob("*.sqlite3*"))
    assert b"otpauth_challenge" in stored
    assert b"otp_sent" in stored
    given = "\n".join(trail.text)
    assert "user_logged_in" in given
    for marker in markers:
        assert marker not in given
        assert marker.encode() not in stored


def walk(app: Flask, clock: Any, gateway: Gateway, trail: Trail, address: dict[str, str]) -> None:
    """Register, log in, fail, resend, step up, log out, with a gateway that works and one that quotes."""
    client = app.test_client()
    headers: dict[str, str] = {}

    def post(path: str, body: dict[str, Any]) -> Any:
        clock.advance(61)
        return trail.answer(client.post(f"/auth{path}", json=body, headers=headers))

    def prove(challenge: Any, code: str | None = None) -> Any:
        otp = code or gateway.messages[-1].code
        return post("/verify-otp", {"challenge_id": challenge.json["challenge_id"], "otp": otp})

    asked = post("/register", {"username": "ann", "password": PASSWORD, **address})
    if asked.status_code == 202:
        prove(asked)
        post("/logout", {})
    login = {"identifier": "ann", "password": PASSWORD}
    challenge = post("/login", login)
    assert prove(challenge, "000000000000").status_code == 401
    post("/resend-otp", {"challenge_id": challenge.json["challenge_id"]})
    gateway.broken = True
    assert post("/resend-otp", {"challenge_id": challenge.json["challenge_id"]}).status_code == 503
    assert post("/login", login).status_code == 503
    post("/register", {"username": "eve", "password": PASSWORD, "phone": "+972508464399"})
    gateway.broken = False
    challenge = post("/login", login)
    done = prove(challenge)
    assert done.status_code == 200
    if "access_token" in done.json:
        headers["Authorization"] = f"Bearer {done.json['access_token']}"
    assert trail.answer(client.get("/private", headers=headers)).status_code == 200
    stepped = post("/step-up", {})
    assert stepped.status_code == 202
    prove(stepped)
    trail.answer(client.get("/auth/me", headers=headers))
    trail.answer(client.get("/auth/health"))
