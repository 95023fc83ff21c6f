"""Real SMTP servers on this machine, with TLS, a login and refusals where a test wants them."""

from __future__ import annotations

import gc
import socket
import ssl
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"


class Mailbox:
    """Keeps what arrives, or refuses it with an answer of its own."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.authenticated: list[bool] = []
        self.to_recipient = "250 OK"
        self.to_data = "250 OK"

    async def handle_RCPT(self, _server: object, _session: Session, envelope: Envelope, to: str, _: object) -> str:  # noqa: N802 - aiosmtpd's name
        if self.to_recipient.startswith("250"):
            envelope.rcpt_tos.append(to)
        return self.to_recipient

    async def handle_DATA(self, _server: object, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.to_data.startswith("250"):
            self.envelopes.append(envelope)
            self.encrypted.append(session.ssl is not None)
            self.authenticated.append(session.authenticated)
        return self.to_data

    def mail(self) -> EmailMessage:
        [envelope] = self.envelopes
        return message_from_bytes(cast("bytes", envelope.content), policy=default)

    def part(self, kind: str) -> str:
        """Give the "plain" or the "html" part of the only mail."""
        part = self.mail().get_body((kind,))
        assert part is not None
        return str(part.get_content())


Running = Callable[..., tuple[Mailbox, int]]


@contextmanager
def servers() -> Generator[Running, None, None]:
    """Give a starter of servers; it takes the arguments of aiosmtpd and tells the port. All end with the block."""
    running: list[Controller] = []

    def start(**options: Any) -> tuple[Mailbox, int]:
        mailbox = Mailbox()
        controller = Controller(mailbox, hostname=HOST, port=free_port(), **options)
        controller.start()
        running.append(controller)
        return mailbox, controller.port

    yield start
    for controller in running:
        controller.stop(no_assert=True)
    # aiosmtpd leaves connections of clients that gave up to the collector, which would warn in a later test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def authenticator(_server: object, _session: Session, _envelope: Envelope, _mechanism: str, data: object) -> AuthResult:
    """Let "ann" in with the password "secret"."""
    held = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ann", b"secret")
    return AuthResult(success=held, handled=held)


def make_certificate(folder: Path) -> Path:
    """Make a key and a certificate of our own for this machine, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "server.pem"
    path.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()) + made.public_bytes(encoding))
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    """Give what a server needs to speak TLS with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context
