"""E-mail over the app's own Flask-Mail."""

from __future__ import annotations

import contextlib
import ssl
from smtplib import SMTP, SMTP_SSL, SMTPException
from types import TracebackType
from typing import Any, Self

from flask_mail import Connection, sanitize_address, sanitize_addresses
from flask_mail import Message as Mail
from typing_extensions import override

from ..types import Message
from .smtp import is_loopback


class FlaskMailSender:
    """
    Sends e-mail as text and HTML by the server and with the sender of the app's Flask-Mail.

    What Flask-Mail lacks is added: a time-out, and the check of the server's certificate. ``MAIL_DEBUG`` is not
    followed: it would print every code. Nor is ``email_dispatched`` sent of what really leaves: its receivers would get
    the code, and one that raises would void it.

    Args:
        state: What Flask-Mail left in ``app.extensions["mail"]``.
        timeout: Seconds for connecting and for each answer of the server.
    """

    def __init__(self, state: Any, timeout: float = 5.0) -> None:
        self._state = state
        self._timeout = timeout

    @property
    def plain(self) -> bool:
        """Whether messages leave this machine in plain text."""
        return not (self._state.use_tls or self._state.use_ssl or is_loopback(self._state.server))

    def send(self, message: Message, /) -> None:
        mail = Mail(
            subject=" ".join((message.subject or "").split()),
            recipients=[message.to],
            body=message.body,
            html=message.html,
            sender=self._state.default_sender,
            # RFC 3834, 5: keeps holiday notices from answering.
            extra_headers={"Auto-Submitted": "auto-generated"},
        )
        with _Bounded(self._state, self._timeout) as connection:
            connection.deliver(mail)


class _Bounded(Connection):
    """A connection that doesn't wait for ever and knows whom it talks to."""

    def __init__(self, state: Any, timeout: float) -> None:
        super().__init__(state)
        self._timeout = timeout

    @override
    def __enter__(self) -> Self:
        super().__enter__()
        # One message a connection: at MAIL_MAX_EMAILS of 1 another one would be opened after it, and might fail.
        self.num_emails = -1
        return self

    def deliver(self, mail: Mail) -> None:
        """Send a message; where Flask-Mail is suppressed, in tests, only its own recording gets it."""
        if self.host is None:
            self.send(mail)
            return
        if mail.has_bad_headers():
            raise ValueError("a header has a line break")
        self.host.sendmail(sanitize_address(mail.sender or ""), list(sanitize_addresses(mail.send_to)), mail.as_bytes())

    @override
    def configure_host(self) -> SMTP | SMTP_SSL:
        mail: Any = self.mail
        # An address literal: the library's own greeting looks the machine's name up, which may take seconds.
        name, port = "[127.0.0.1]", mail.port or 0
        if mail.use_ssl:
            context = ssl.create_default_context()
            host: SMTP | SMTP_SSL = SMTP_SSL(mail.server, port, name, timeout=self._timeout, context=context)
        else:
            host = SMTP(mail.server, port, name, timeout=self._timeout)
        try:
            if mail.use_tls:
                host.starttls(context=ssl.create_default_context())
            if mail.username and mail.password:
                host.login(mail.username, mail.password)
        except BaseException:
            host.close()
            raise
        return host

    @override
    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.host is None:
            return
        if exc_type is None:
            # Accepted: whatever happens to the good-bye, the message is on its way.
            with contextlib.suppress(OSError, SMTPException):
                self.host.quit()
        self.host.close()
