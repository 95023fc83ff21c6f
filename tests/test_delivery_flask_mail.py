"""E-mail over the app's own Flask-Mail, against real SMTP servers on this machine."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Generator
from pathlib import Path
from smtplib import SMTP, SMTPNotSupportedError, SMTPRecipientsRefused, SMTPServerDisconnected
from socket import create_server
from typing import Any

import pytest
from flask import Flask
from flask_mail import Mail, email_dispatched

from flask_otpauth import OTPAuth
from flask_otpauth.cli.tools import Tools
from flask_otpauth.delivery import SmtpSender, mail_sender
from flask_otpauth.delivery.flask_mail import FlaskMailSender
from flask_otpauth.types import Message
from tests.mailserver import HOST, Running, authenticator, free_port, make_certificate, server_context, servers

Maker = Callable[..., Flask]
ADDRESS = "no-reply@acme.example"
MESSAGE = Message(
    to="ann@example.org",
    body="Your code: 004217 für Ann",
    html="<b>004217 für Ann</b>",
    code="004217",
    subject="Your code to log in to Acme",
    purpose="login",
    channel="email",
)


@pytest.fixture
def serve() -> Generator[Running, None, None]:
    """Give a starter of servers; it takes the arguments of aiosmtpd and tells the port."""
    with servers() as start:
        yield start


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def mailing(make_app: Maker, port: int, **config: Any) -> Flask:
    """Give an app with a Flask-Mail that sends, tests or no tests."""
    given = {"MAIL_SERVER": HOST, "MAIL_PORT": port, "MAIL_DEFAULT_SENDER": ADDRESS, "MAIL_SUPPRESS_SEND": False}
    app = make_app(**{**given, **config})
    Mail(app)
    return app


def send(app: Flask, timeout: float = 2) -> None:
    sender, faults = mail_sender(app, {}, timeout)
    assert faults == []
    assert isinstance(sender, FlaskMailSender)
    with app.app_context():
        sender.send(MESSAGE)


def test_a_mail_arrives_with_text_and_html(make_app: Maker, serve: Running) -> None:
    mailbox, port = serve()
    send(mailing(make_app, port, MAIL_DEFAULT_SENDER=("Acme Bank", ADDRESS)))
    [envelope] = mailbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == (ADDRESS, ["ann@example.org"])
    mail = mailbox.mail()
    assert mail["From"] == f"Acme Bank <{ADDRESS}>"
    assert mail["Subject"] == "Your code to log in to Acme"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mailbox.part("plain").strip() == "Your code: 004217 für Ann"
    assert mailbox.part("html").strip() == "<b>004217 für Ann</b>"


def test_starttls_and_the_password_of_the_app_are_used(
    make_app: Maker, serve: Running, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    mailbox, port = serve(tls_context=server_context(certificate), authenticator=authenticator, auth_required=True)
    send(mailing(make_app, port, MAIL_USE_TLS=True, MAIL_USERNAME="ann", MAIL_PASSWORD="secret"))
    assert mailbox.encrypted == [True]


def test_tls_from_the_first_byte(
    make_app: Maker, serve: Running, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    mailbox, port = serve(ssl_context=server_context(certificate))
    send(mailing(make_app, port, MAIL_USE_SSL=True))
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("key", ["MAIL_USE_TLS", "MAIL_USE_SSL"])
def test_a_certificate_that_nobody_vouches_for_is_refused(
    make_app: Maker, serve: Running, certificate: Path, key: str
) -> None:
    # Flask-Mail itself checks none: whoever sits between would read every code.
    context = server_context(certificate)
    mailbox, port = serve(**({"ssl_context": context} if key == "MAIL_USE_SSL" else {"tls_context": context}))
    with pytest.raises(ssl.SSLCertVerificationError):
        send(mailing(make_app, port, **{key: True}))
    assert mailbox.envelopes == []


def test_a_server_without_tls_gets_nothing_in_plain_text(make_app: Maker, serve: Running) -> None:
    mailbox, port = serve()
    with pytest.raises(SMTPNotSupportedError):
        send(mailing(make_app, port, MAIL_USE_TLS=True))
    assert mailbox.envelopes == []


def test_a_refusal_is_a_failure(make_app: Maker, serve: Running) -> None:
    mailbox, port = serve()
    mailbox.to_recipient = "550 unknown"
    with pytest.raises(SMTPRecipientsRefused):
        send(mailing(make_app, port))


def test_a_server_that_hangs_is_left(make_app: Maker) -> None:
    with create_server((HOST, 0)) as listener:
        app = mailing(make_app, listener.getsockname()[1])
        before = time.monotonic()
        with pytest.raises(SMTPServerDisconnected, match="timed out"):
            send(app, timeout=0.2)
    assert time.monotonic() - before < 2


def test_a_message_is_sent_over_one_connection(
    make_app: Maker, serve: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    connect = SMTP.connect

    def counted(server: SMTP, *args: Any, **options: Any) -> tuple[int, bytes]:
        opened.append(server)
        return connect(server, *args, **options)

    monkeypatch.setattr(SMTP, "connect", counted)
    mailbox, port = serve()
    send(mailing(make_app, port, MAIL_MAX_EMAILS=1))
    assert (len(mailbox.envelopes), len(opened)) == (1, 1)


def test_the_conversation_is_never_printed(make_app: Maker, serve: Running, capfd: pytest.CaptureFixture[str]) -> None:
    mailbox, port = serve()
    send(mailing(make_app, port, MAIL_DEBUG=True))
    assert len(mailbox.envelopes) == 1
    assert "004217" not in "".join(capfd.readouterr())


# --- which sender an app has --------------------------------------------------------------------------------------


def test_a_code_goes_through_it_and_its_tests_see_it(make_app: Maker, clock: Any) -> None:
    app = make_app(MAIL_DEFAULT_SENDER=ADDRESS)  # Flask-Mail suppresses what is sent while testing
    mail = Mail(app)
    OTPAuth(app, clock=clock)
    client = app.test_client()
    with mail.record_messages() as sent:
        body = {"username": "ann", "password": "correct horse battery", "email": "ann@example.org"}
        asked = client.post("/auth/register", json=body)
    [message] = sent
    assert (message.recipients, message.sender) == (["ann@example.org"], ADDRESS)
    code = next(word for word in message.body.split() if word.isdigit())
    done = client.post("/auth/verify-otp", json={"challenge_id": asked.json["challenge_id"], "otp": code})
    assert done.status_code == 200


def chosen(app: Flask, environment: dict[str, str] | None = None) -> object:
    sender, faults = mail_sender(app, environment or {})
    assert faults == []
    return sender


def test_it_comes_after_smtp_server_and_before_the_environment(make_app: Maker) -> None:
    elsewhere = {"SMTP_SERVER": "mail.example.org", "SENDER_EMAIL": ADDRESS}
    assert isinstance(chosen(mailing(make_app, 25, **elsewhere)), SmtpSender)
    assert isinstance(chosen(mailing(make_app, 25), elsewhere), FlaskMailSender)


def test_a_host_that_gave_a_sender_keeps_it(make_app: Maker) -> None:
    app = mailing(make_app, free_port())
    taken: list[Message] = []
    OTPAuth(app, email=taken.append)
    body = {"username": "ann", "password": "correct horse battery", "email": "ann@example.org"}
    assert app.test_client().post("/auth/register", json=body).status_code == 202
    assert len(taken) == 1


def test_what_an_app_has_for_messages_of_its_own_is_left_alone(make_app: Maker) -> None:
    app = mailing(make_app, 25, MAIL_DEFAULT_SENDER=None)
    assert chosen(app) is None
    assert chosen(app, {"MAIL_SERVER": "mail.example.org"}) is None
    assert isinstance(chosen(app, {"SMTP_SERVER": "mail.example.org", "SENDER_EMAIL": ADDRESS}), SmtpSender)


def test_what_sends_nothing_is_no_sender_outside_of_tests(make_app: Maker) -> None:
    assert chosen(mailing(make_app, 25, MAIL_SUPPRESS_SEND=True, TESTING=False)) is None


def test_extensions_of_other_packages_are_not_mistaken_for_it(make_app: Maker) -> None:
    app = make_app()
    app.extensions["mail"] = object()
    assert chosen(app) is None


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        ({}, False),
        ({"MAIL_SERVER": "mail.example.org"}, True),
        ({"MAIL_SERVER": "mail.example.org", "MAIL_USE_TLS": True}, False),
        ({"MAIL_SERVER": "mail.example.org", "MAIL_USE_SSL": True}, False),
    ],
)
def test_the_doctor_sees_plain_text(make_app: Maker, config: dict[str, Any], *, plain: bool) -> None:
    app = mailing(make_app, 25, **config)
    OTPAuth(app)
    tools: Tools = app.cli.commands["otpauth"].tools  # type: ignore[attr-defined]
    [sender] = tools.post.chains["email"]
    assert getattr(sender, "plain", None) is plain


def test_nobody_is_told_of_what_really_leaves(make_app: Maker, serve: Running) -> None:
    mailbox, port = serve()
    heard: list[object] = []

    def receive(_: object, **told: object) -> None:
        heard.append(told)
        raise RuntimeError("of the host")

    with email_dispatched.connected_to(receive):
        send(mailing(make_app, port))
    assert (len(mailbox.envelopes), heard) == (1, [])
