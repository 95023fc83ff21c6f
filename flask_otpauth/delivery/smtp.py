"""E-mail over SMTP, by the standard library."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import make_msgid, parseaddr
from ipaddress import ip_address
from smtplib import SMTP, SMTP_SSL, SMTPException
from typing import Literal

from ..types import Message

Tls = Literal["starttls", "implicit", "none"]

IMPLICIT_PORT = 465
"""Submission with TLS from the first byte (RFC 8314, 3.3)."""


class SmtpSender:
    """
    Sends e-mail as text and HTML, over a connection of its own for each message.

    TLS is used always, with a verified certificate, and never falls back on plain text; plain text is for servers on
    this very machine, and where ``tls="none"`` says so.

    Args:
        username: None for a server that wants no login.
        sender: From: an address, or ``"Name <address>"``.
        timeout: Seconds for connecting and for each answer of the server.
        tls: "starttls", "implicit" (from the first byte) or "none". Default: "implicit" on port 465, "none" on the
            loopback interface, "starttls" elsewhere.
        context: Where the certificate needs an authority of one's own.

    Raises:
        ValueError: ``sender`` is no address.
    """

    def __init__(
        self,
        host: str,
        port: int = 587,
        username: str | None = None,
        password: str | None = None,
        *,
        sender: str,
        timeout: float = 5.0,
        tls: Tls | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._login = (username, password or "") if username else None
        self._sender = address_of(sender)
        self._timeout = timeout
        self._tls = tls or _tls_for(host, port)
        self._context = context

    @property
    def plain(self) -> bool:
        """Whether messages leave this machine in plain text."""
        return self._tls == "none" and not is_loopback(self._host)

    def send(self, message: Message, /) -> None:
        mail = self._mail(message)
        server = self._connect()
        try:
            if self._login is not None:
                server.login(*self._login)
            server.send_message(mail)
        except BaseException:
            server.close()
            raise
        # Accepted: whatever happens to the good-bye, the message is on its way.
        with contextlib.suppress(OSError, SMTPException):
            server.quit()
        server.close()

    def _connect(self) -> SMTP:
        # An address literal: the library's own greeting looks the machine's name up, which may take seconds.
        name = "[127.0.0.1]"
        if self._tls == "implicit":
            return SMTP_SSL(self._host, self._port, name, timeout=self._timeout, context=self._verified())
        server = SMTP(self._host, self._port, name, timeout=self._timeout)
        if self._tls == "starttls":
            try:
                server.starttls(context=self._verified())
            except BaseException:
                server.close()
                raise
        return server

    def _verified(self) -> ssl.SSLContext:
        if self._context is None:
            # Reads the system's authorities, some milliseconds: once, when the first message needs it.
            self._context = ssl.create_default_context()
        return self._context

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage(policy=WIRE)
        # Structured headers refuse line breaks: no value can add a header of its own.
        mail["From"] = self._sender
        mail["To"] = Address(addr_spec=message.to)
        mail["Subject"] = " ".join((message.subject or "").split())
        mail["Date"] = datetime.now(UTC)
        mail["Message-ID"] = make_msgid(domain=self._sender.domain)
        # RFC 3834, 5: keeps holiday notices from answering.
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.body)
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html")
        return mail


def address_of(sender: str) -> Address:
    """
    Read ``address`` or ``Name <address>``.

    Raises:
        ValueError: It is neither.
    """
    name, address = parseaddr(sender)
    local, _, domain = address.rpartition("@")
    if not local or not domain or "\n" in sender or "\r" in sender:
        raise ValueError(f"{sender!r} is no e-mail address")
    try:
        return Address(name, addr_spec=address)
    except Exception as error:  # the parser raises errors of many kinds, IndexError among them
        raise ValueError(f"{sender!r} is no e-mail address") from error


def is_loopback(host: str) -> bool:
    """Tell whether the host is this machine, as far as its name says."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _tls_for(host: str, port: int) -> Tls:
    if port == IMPLICIT_PORT:
        return "implicit"
    return "none" if is_loopback(host) else "starttls"
