"""Codes by a real SMTP server, and what happens while it is away."""

from __future__ import annotations

import email
import re
import socket
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from flask import Flask

from flask_otpauth import OTPAuth
from tests.mailserver import HOST, Mailbox, Running, authenticator, make_certificate, server_context, servers
from tests.services import database_url

PASSWORD = "correct horse battery"


class Box:
    """Keeps what the server took."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
        return "250 OK"


@pytest.fixture
def server() -> Iterator[Controller]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(Box(), hostname="127.0.0.1", port=port)
    controller.start()
    yield controller
    if controller.server is not None:
        controller.stop()


def test_a_code_arrives_verifies_and_outlives_the_server(
    make_app: Callable[..., Flask], clock: Any, server: Controller
) -> None:
    app = make_app(SMTP_SERVER="127.0.0.1", SMTP_PORT=server.port, SENDER_EMAIL="Bank <bank@example.org>")
    OTPAuth(app, clock=clock)
    client, box = app.test_client(), server.handler

    def post(path: str, body: dict[str, Any]) -> Any:
        clock.advance(61)
        return client.post(f"/auth{path}", json=body)

    asked = post("/register", {"username": "ann", "password": PASSWORD, "email": "ann@example.org"})
    assert asked.json["channel"] == "email"
    mail = box.mails[-1]
    assert mail["To"] == "ann@example.org"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    code = re.search(r"\b\d{6}\b", text.get_content())
    assert code is not None
    assert code[0] in html.get_content()
    done = post("/verify-otp", {"challenge_id": asked.json["challenge_id"], "otp": code[0]})
    assert done.status_code == 200

    login = {"username": "ann", "password": PASSWORD}
    before = post("/login", login)
    text = box.mails[-1].get_body(("plain",))
    assert text is not None
    code = re.search(r"\b\d{6}\b", text.get_content())
    assert code is not None
    server.stop()
    down = post("/login", login)
    assert (down.status_code, down.json["code"]) == (503, "delivery_failed")
    assert down.headers["Retry-After"]
    resend = post("/resend-otp", {"challenge_id": before.json["challenge_id"]})
    assert resend.json["code"] == "delivery_failed"
    assert post("/verify-otp", {"challenge_id": before.json["challenge_id"], "otp": code[0]}).status_code == 200


def test_an_anonymous_caller_is_not_told_that_the_server_is_away(make_app: Callable[..., Flask], clock: Any) -> None:
    app = make_app(SMTP_SERVER="127.0.0.1", SMTP_PORT=9, SENDER_EMAIL="bank@example.org", OTPAUTH_FIRST_FACTOR="otp")
    OTPAuth(app, clock=clock)
    asked = app.test_client().post("/auth/login", json={"email": "nobody@example.org"})
    assert asked.status_code == 202


# --- described by the environment, with TLS and a login, on two databases -------------------------------------------


@pytest.fixture
def serve() -> Iterator[Running]:
    """Give a starter of servers; it takes the arguments of aiosmtpd and tells the port."""
    with servers() as start:
        yield start


def last_code(mailbox: Mailbox) -> str:
    """Check the mail that came as its reader would, and give its code."""
    text, html = mailbox.part("plain"), mailbox.part("html")
    for part in (text, html):
        assert "Acme Bank" in part
        assert "5 minutes" in part
        assert "it wasn" in part
    found = re.search(r"\b\d{6}\b", text)
    assert found is not None
    assert found[0] in html
    mailbox.envelopes.clear()
    return found[0]


def walk(app: Flask, clock: Any, mailbox: Mailbox) -> None:
    """Register and log in, each by the code that came by mail."""
    client = app.test_client()
    login = {"email": "ann@example.org", "password": PASSWORD}
    for path, body in (("/auth/register", {**login, "username": "ann"}), ("/auth/login", login)):
        clock.advance(61)
        asked = client.post(path, json=body)
        assert asked.json["destination"].startswith("a")
        proof = {"challenge_id": asked.json["challenge_id"], "otp": last_code(mailbox)}
        assert client.post("/auth/verify-otp", json=proof).status_code == 200


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
@pytest.mark.parametrize("family", ["SMTP", "MAIL"])
def test_codes_by_a_server_of_the_environment(  # noqa: PLR0917
    make_app: Callable[..., Flask],
    clock: Any,
    serve: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    family: str,
) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # who vouches for the server
    # A server on this machine is spoken to in plain text, unless MAIL_USE_TLS asks for more.
    tls = {"tls_context": server_context(certificate)} if family == "MAIL" else {"auth_require_tls": False}
    mailbox, port = serve(authenticator=authenticator, **tls)
    variables = {"SERVER": HOST, "PORT": str(port), "USERNAME": "ann", "PASSWORD": "secret"}
    if family == "MAIL":
        variables |= {"USE_TLS": "true", "DEFAULT_SENDER": "bank@example.org"}
    for name, value in variables.items():
        monkeypatch.setenv(f"{family}_{name}", value)
    if family == "SMTP":
        monkeypatch.setenv("SENDER_EMAIL", "Acme Bank <bank@example.org>")
    with database_url(kind, tmp_path) as url:
        app = make_app(SQLALCHEMY_DATABASE_URI=url, OTPAUTH_APP_NAME="Acme Bank")
        OTPAuth(app, clock=clock)
        walk(app, clock, mailbox)
        with app.app_context():
            app.extensions["sqlalchemy"].engine.dispose()
    assert mailbox.encrypted == [family == "MAIL"] * 2
    assert mailbox.authenticated == [True] * 2
