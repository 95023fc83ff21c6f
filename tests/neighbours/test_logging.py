"""The documented formatter of JSON, fed by a whole life of an account: every fact comes out, and no secret."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_otpauth import OTPAuth, auth_required
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import Message

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "logging.md"
PASSWORD, WRONG = "correct horse battery", "wrong horse battery"
EMAIL, PHONE = "ann@example.org", "+972508464336"

EVENTS = {
    "user_registered",
    "otp_sent",
    "otp_send_failed",
    "otp_verified",
    "otp_failed",
    "otp_locked",
    "user_logged_in",
    "login_failed",
    "user_logged_out",
    "token_reuse_detected",
    "refused",
    "otp_withheld",
}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Install what the page shows, as the page installs it; give what it writes."""
    block = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    namespace: dict[str, Any] = {"__name__": "documented"}
    exec(block[1].replace("force=True", ""), namespace)  # pytest's own handlers stay
    handler = namespace["handler"]
    stream = io.StringIO()
    handler.setStream(stream)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.setLevel(level)
    root.handlers[:] = before


class Life:
    """What happens to an account, from its registration on."""

    def __init__(self, app: Flask, clock: Any) -> None:
        self.app, self.clock = app, clock
        self.client = app.test_client()
        self.messages: list[Message] = []
        self.secrets: list[str] = []

    def post(self, path: str, body: dict[str, Any] | None = None, token: str | None = None) -> Any:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.clock.advance(61)
        answer = self.client.post(f"/auth/{path}", json=body, headers=headers)
        found = answer.get_json(silent=True) or {}
        names = ("challenge_id", "access_token", "refresh_token")
        self.secrets += [str(found[name]) for name in names if name in found]
        return answer

    def login(self, password: str = PASSWORD, name: str = EMAIL) -> str:
        answer = self.post("login", {"identifier": name, "password": password})
        return str((answer.get_json() or {}).get("challenge_id"))

    def prove(self, challenge: str, code: str | None = None) -> Any:
        return self.post("verify-otp", {"challenge_id": challenge, "otp": code or str(self.messages[-1].code)})

    def live(self) -> None:
        """Do everything once that leaves a trace."""
        body = {"username": "ann", "email": EMAIL, "phone": PHONE, "password": PASSWORD}
        self.prove(str(self.post("register", body).json["challenge_id"]))
        self.login(WRONG)
        self.login(name="nobody@example.org")
        challenge = self.login()
        self.prove(challenge, "000000" if self.messages[-1].code != "000000" else "111111")
        tokens = self.prove(challenge).json
        self.prove(challenge)
        self.client.get("/private")
        self.client.get("/private", headers={"Authorization": "Bearer aaaa.bbbb.cccc"})
        self.client.post("/auth/login", data="{", content_type="application/json")
        self.post("logout", token=tokens["access_token"])
        tokens = self.prove(self.login()).json
        for _ in range(2):
            self.post("refresh", token=tokens["refresh_token"])
        register = {**body, "username": "eve"}
        self.post("register", register)
        for _ in range(4):
            challenge = self.login()
            for _ in range(3):
                self.prove(challenge, "000000")


@pytest.fixture
def life(make_app: Callable[..., Flask], clock: Any) -> Iterator[Life]:
    app = make_app(
        OTPAUTH_PHONE_REGION="IL",
        OTPAUTH_ACCOUNT_LIMITS="6 per hour; 20 per 30 days",
        OTPAUTH_SEND_LIMITS="100 per hour",
        OTPAUTH_SEND_IP_LIMITS="100 per hour",
        OTPAUTH_VERIFY_IP_LIMITS="100 per hour",
    )
    OTPAuth(app, clock=clock)
    app.add_url_rule("/private", "private", auth_required(lambda: "secret"))
    life = Life(app, clock)
    with capture_messages(app) as messages:
        life.messages = messages
        yield life


def failing(life: Life) -> None:
    """Let a message fail, outside of the capture."""
    posts = life.app.extensions["otpauth"].courier
    captures, posts._captures = posts._captures, ()

    def broken(message: Message) -> None:
        life.secrets.append(str(message.code))
        raise OSError(f"refused: {message.to} {message.body}")

    posts.register("email", broken)
    posts.register("sms", broken)
    life.login()
    posts._captures = captures


def test_every_event_comes_out_as_json_without_a_secret(life: Life, written: io.StringIO) -> None:
    life.live()
    life.clock.advance(7200)
    failing(life)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    ours = [line for line in lines if line["logger"] == "flask_otpauth"]
    assert {line.get("event") for line in ours if "event" in line} == EVENTS
    for line in ours:
        assert set(line) >= {"at", "level", "message"}
        assert all(isinstance(value, str | int | bool | list) for value in line.values()), line
    [failed] = [line for line in ours if line.get("event") == "otp_send_failed"]
    assert (failed["user_id"], failed["level"], failed["purpose"]) == ("1", "WARNING", "login")
    secrets = {PASSWORD, WRONG, EMAIL, PHONE, PHONE[1:], "nobody@example.org", *life.secrets}
    secrets |= {str(message.code) for message in life.messages if message.code}
    assert len(secrets) > 15
    # Without the times: six digits of a second's part may be those of a code.
    said = json.dumps([{name: value for name, value in line.items() if name != "at"} for line in lines])
    assert [one for one in secrets if one in said] == []


def test_what_the_host_logs_beside_it_is_written_alike(life: Life, written: io.StringIO) -> None:
    try:
        int("a fault of the host")
    except ValueError:
        life.app.logger.exception("It failed")
    line = next(
        found for text in written.getvalue().splitlines() if (found := json.loads(text))["message"] == "It failed"
    )
    assert "a fault of the host" in line["traceback"]
