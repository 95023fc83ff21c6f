"""E-mail against real SMTP servers on this machine: in plain text, over TLS, refusing, hanging and away."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from smtplib import SMTPAuthenticationError, SMTPDataError, SMTPException, SMTPNotSupportedError, SMTPRecipientsRefused
from typing import Any, cast

import pytest
from flask import Flask

from flask_otpauth.config import read
from flask_otpauth.delivery import Post, SmtpSender, Texts, Threads
from flask_otpauth.delivery.causes import cause
from flask_otpauth.delivery.smtp import is_loopback
from flask_otpauth.errors import DeliveryFailed
from flask_otpauth.types import Draft, Message
from tests.mailserver import HOST, Running, authenticator, free_port, make_certificate, server_context, servers


@pytest.fixture
def serve() -> Generator[Running, None, None]:
    """Give a starter of servers; it takes the arguments of aiosmtpd and tells the port."""
    with servers() as start:
        yield start


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    return server_context(certificate)


@pytest.fixture
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def message(to: str = "ann@example.org", **more: Any) -> Message:
    given: dict[str, Any] = {"subject": "Your code to log in to Acme", "html": "<b>004217 für Ann</b>", **more}
    return Message(to=to, body="Your code: 004217 für Ann", code="004217", purpose="login", channel="email", **given)


def sender(port: int, **options: Any) -> SmtpSender:
    return SmtpSender(HOST, port, **{"sender": "Acme Bank <no-reply@acme.example>", "timeout": 2, **options})


# --- what arrives -------------------------------------------------------------------------------------------------


def test_a_mail_arrives_with_text_and_html(serve: Running) -> None:
    mailbox, port = serve()
    sender(port).send(message())
    [envelope] = mailbox.envelopes
    assert envelope.mail_from == "no-reply@acme.example"
    assert envelope.rcpt_tos == ["ann@example.org"]
    mail = mailbox.mail()
    assert mail.get_content_type() == "multipart/alternative"
    text, html = list(mail.iter_parts())
    assert cast("EmailMessage", text).get_content().strip() == "Your code: 004217 für Ann"
    assert cast("EmailMessage", html).get_content().strip() == "<b>004217 für Ann</b>"
    assert html.get_content_type() == "text/html"


def test_the_headers_are_those_of_an_automatic_mail(serve: Running) -> None:
    mailbox, port = serve()
    sender(port).send(message())
    mail = mailbox.mail()
    assert mail["From"] == "Acme Bank <no-reply@acme.example>"
    assert mail["To"] == "ann@example.org"
    assert mail["Subject"] == "Your code to log in to Acme"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert str(mail["Message-ID"]).endswith("@acme.example>")
    assert abs(mail["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_mail_without_html_is_plain_text(serve: Running) -> None:
    mailbox, port = serve()
    sender(port).send(message(html=None))
    assert mailbox.mail().get_content_type() == "text/plain"


def test_a_name_of_any_script_is_shown(serve: Running) -> None:
    mailbox, port = serve()
    sender(port, sender='"בנק, Acme" <no-reply@acme.example>').send(message(subject="קוד הכניסה"))
    assert mailbox.mail()["From"].addresses[0].display_name == "בנק, Acme"
    assert mailbox.mail()["Subject"] == "קוד הכניסה"


def test_line_breaks_add_no_header(serve: Running) -> None:
    mailbox, port = serve()
    sender(port).send(message(subject="Hello\r\nBcc: eve@example.org"))
    assert mailbox.mail()["Bcc"] is None
    assert mailbox.envelopes[0].rcpt_tos == ["ann@example.org"]


@pytest.mark.parametrize(
    "to", ["ann@example.org\r\nBcc: eve@example.org", "ann@example.org, eve@example.org", "ann", "", "<a@b>\n<c@d>"]
)
def test_an_address_that_is_more_than_one_is_refused(serve: Running, to: str) -> None:
    mailbox, port = serve()
    with pytest.raises(Exception, match=r".*"):
        sender(port).send(message(to))
    assert mailbox.envelopes == []


@pytest.mark.parametrize("address", ["", "nobody", "a@b\r\nBcc: eve@example.org", "@example.org", "a@", "a b@c d <x>"])
def test_a_sender_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is no e-mail address"):
        SmtpSender(HOST, sender=address)


# --- TLS ----------------------------------------------------------------------------------------------------------


def test_starttls_with_a_trusted_certificate(
    serve: Running, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    mailbox, port = serve(tls_context=server_tls, require_starttls=True)
    sender(port, tls="starttls", context=trusting).send(message())
    assert mailbox.encrypted == [True]


def test_tls_from_the_first_byte(serve: Running, server_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    # aiosmtpd's own probe of a TLS server trusts no certificate of ours, so that it needs the context too.
    mailbox, port = serve(ssl_context=server_tls)
    sender(port, tls="implicit", context=trusting).send(message())
    assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_that_nobody_vouches_for_is_refused(serve: Running, server_tls: ssl.SSLContext, tls: str) -> None:
    options = {"ssl_context": server_tls} if tls == "implicit" else {"tls_context": server_tls}
    mailbox, port = serve(**options)
    with pytest.raises(ssl.SSLCertVerificationError):
        sender(port, tls=tls).send(message())
    assert mailbox.envelopes == []


def test_a_certificate_of_another_name_is_refused(
    serve: Running, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    _, port = serve(tls_context=server_tls)
    other = SmtpSender("localhost", port, sender="a@acme.example", tls="starttls", context=trusting)
    with pytest.raises(ssl.SSLCertVerificationError):
        other.send(message())


def test_a_server_without_tls_gets_nothing_in_plain_text(serve: Running) -> None:
    mailbox, port = serve()
    with pytest.raises(SMTPNotSupportedError):
        sender(port, tls="starttls").send(message())
    assert mailbox.envelopes == []


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
        ("mail.example.org", False),
    ],
)
def test_plain_text_is_for_this_machine_only(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
    assert vars(SmtpSender(host, sender="a@acme.example"))["_tls"] == ("none" if loopback else "starttls")
    assert vars(SmtpSender(host, 465, sender="a@acme.example"))["_tls"] == "implicit"


# --- logging in ---------------------------------------------------------------------------------------------------


def test_the_right_password_is_taken_over_tls(
    serve: Running, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    mailbox, port = serve(tls_context=server_tls, authenticator=authenticator, auth_required=True)
    sender(port, username="ann", password="secret", tls="starttls", context=trusting).send(message())
    assert len(mailbox.envelopes) == 1


def test_a_refused_password_is_a_failure_that_names_no_password(
    serve: Running, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    mailbox, port = serve(tls_context=server_tls, authenticator=authenticator, auth_required=True)
    wrong = sender(port, username="ann", password="hunter2-wrong", tls="starttls", context=trusting)
    with pytest.raises(SMTPAuthenticationError) as caught:
        wrong.send(message())
    assert cause(caught.value).startswith("SMTPAuthenticationError: (535")
    assert "hunter2" not in cause(caught.value)
    assert mailbox.envelopes == []


# --- failures -----------------------------------------------------------------------------------------------------


def test_a_refused_recipient_is_a_failure_that_a_log_tells_without_the_address(serve: Running) -> None:
    mailbox, port = serve()
    mailbox.to_recipient = "550 5.1.1 <ann@example.org> unknown"
    with pytest.raises(SMTPRecipientsRefused) as caught:
        sender(port).send(message())
    assert "550" in cause(caught.value)
    assert "ann" not in cause(caught.value)


def test_a_refused_message_is_a_failure(serve: Running) -> None:
    mailbox, port = serve()
    mailbox.to_data = "554 5.7.1 no"
    with pytest.raises(SMTPDataError):
        sender(port).send(message())


def test_a_server_that_is_away_is_a_failure() -> None:
    with pytest.raises(ConnectionRefusedError):
        sender(free_port()).send(message())


@pytest.fixture
def script() -> Generator[Callable[..., int], None, None]:
    """Give a starter of servers that answer each line with the next of some lines, and then hang."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []
    over = threading.Event()

    def run(listener: socket.socket, lines: tuple[str, ...]) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rwb") as stream:
            for line in lines:
                stream.write(line.encode() + b"\r\n")
                stream.flush()
                if line.startswith("354"):
                    while stream.readline().strip() != b".":
                        pass
                else:
                    stream.readline()
            over.wait(10)

    def start(*lines: str) -> int:
        listener = socket.create_server((HOST, 0))
        listeners.append(listener)
        thread = threading.Thread(target=run, args=(listener, lines))
        thread.start()
        threads.append(thread)
        return int(listener.getsockname()[1])

    yield start
    over.set()
    for thread in threads:
        thread.join()
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("lines", [(), ("220 hello",), ("220 hello", "250 hello", "250 OK")])
def test_a_server_that_hangs_is_left(script: Callable[..., int], lines: tuple[str, ...]) -> None:
    before = time.monotonic()
    with pytest.raises((OSError, SMTPException)):
        sender(script(*lines), timeout=0.2).send(message())
    assert time.monotonic() - before < 2


def test_a_message_that_was_accepted_counts_as_sent_whatever_the_good_bye(script: Callable[..., int]) -> None:
    port = script("220 hello", "250 hello", "250 OK", "250 OK", "354 go on", "250 accepted")
    sender(port, timeout=0.2).send(message())


# --- with the courier ---------------------------------------------------------------------------------------------


def courier(app: Flask, *chain: SmtpSender) -> Post:
    settings, _ = read({"OTPAUTH_SEND_TIMEOUT": 2})
    return Post(app, settings, {"email": chain}, Threads(app), Texts(app, "Acme"), lambda _: None)


def draft() -> Draft:
    return Draft(template="login", channel="email", to="ann@example.org", code="004217", purpose="login", lifetime=300)


def test_a_rendered_mail_arrives_with_its_code_in_both_parts(serve: Running, make_app: Callable[..., Flask]) -> None:
    mailbox, port = serve()
    courier(make_app(TESTING=False), sender(port)).send(draft())
    for part in mailbox.mail().iter_parts():
        assert "004217" in cast("EmailMessage", part).get_content()


def test_the_next_server_takes_over(serve: Running, make_app: Callable[..., Flask]) -> None:
    mailbox, port = serve()
    courier(make_app(TESTING=False), sender(free_port()), sender(port)).send(draft())
    assert len(mailbox.envelopes) == 1


def test_a_server_that_is_away_is_told_and_logged(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DeliveryFailed):
        courier(make_app(TESTING=False), sender(free_port())).send(draft())
    assert "Sender SmtpSender of channel email failed: ConnectionRefusedError" in caplog.text
    assert "ann@" not in caplog.text
    assert "004217" not in caplog.text
