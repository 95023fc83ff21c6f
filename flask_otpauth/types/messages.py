"""Messages, and the ports that bring them to people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from .time import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    One message to one address.

    Attributes:
        to: E.164 or e-mail address: the stored one, never what somebody typed.
        body: Text, ready to send. ``html`` and ``subject`` for e-mail.
        code: The code alone; None for a notice.
        locale: Language tag, or None.
        expires_at: Aware, UTC; None for a notice.
    """

    to: str
    body: str = field(repr=False)
    code: str | None = field(default=None, repr=False)
    purpose: str
    channel: str
    locale: str | None = None
    expires_at: datetime | None = None
    subject: str | None = None
    html: str | None = field(default=None, repr=False)
    load_user: Callable[[], object | None] = field(default=lambda: None, repr=False, compare=False)

    @property
    def user(self) -> object | None:
        """The host's own user object; None where there is no account yet. Loaded when asked for."""
        return self.load_user()


@runtime_checkable
class Sender(Protocol):
    """Sends one message. Whatever it raises counts as a failure; returning counts as sent."""

    def send(self, message: Message, /) -> None: ...


SenderLike = Sender | Callable[[Message], object]

Senders = SenderLike | Sequence[SenderLike]
"""A sender, or a fallback chain: a list in the order in which they are tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """
    What a message is made of.

    Attributes:
        template: Name of the text: a purpose ("login", "confirm", ...) or a notice ("notice_locked", ...).
        values: For the template: never anything that a stranger typed.
    """

    template: str
    channel: str
    to: str
    code: str | None = field(default=None, repr=False)
    purpose: str = "notice"
    lifetime: int = 0
    expires_at: Instant | None = None
    locale: str | None = None
    user_id: str | None = None
    values: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest:
    """
    Somebody asks for a code, as ``before_send`` sees it: nothing is counted, stored or sent yet.

    Attributes:
        purpose: "login", "confirm", "step_up", ...
        channel: The first choice; where nothing can be sent, what the answer shows.
        destination: E.164 or e-mail address; of a caller whom nobody knows what he typed, None where that is no
            address.
        extra: What the client sent of ``OTPAUTH_EXTRA_FIELDS``.
        address: Client address; None for a program.
        load_user: See ``user``.
    """

    purpose: str
    channel: str
    destination: str | None = field(repr=False)
    extra: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    address: str | None = None
    load_user: Callable[[], object | None] = field(default=lambda: None, repr=False, compare=False)

    @property
    def user(self) -> object | None:
        """
        The host's own user object, loaded when asked for; None where there is no account.

        Of a caller who has proved nothing: a refusal that goes by it tells him who has an account.
        """
        return self.load_user()


class Courier(Protocol):
    """Brings messages to their gateways."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels that have a sender, in the order of preference."""
        ...

    def send(self, draft: Draft, /) -> None:
        """
        Render and send, in this thread's time: at most ``OTPAUTH_SEND_TIMEOUT`` for the whole chain.

        Raises:
            DeliveryFailed: Every sender of the channel failed or was too slow.
        """
        ...

    def rehearse(self, draft: Draft, /) -> None:
        """Render as ``send`` does, and send nothing: the work of a message that has nobody to go to."""
        ...

    def later(self, job: Callable[[], None], /) -> None:
        """Run a job off the request, in an app context of its own; in line under tests. What it raises is logged."""
        ...
