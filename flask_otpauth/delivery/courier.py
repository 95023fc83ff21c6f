"""The courier: from a draft to a message on its way."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from flask import Flask

from ..config import Settings
from ..errors import DeliveryFailed
from ..types import Draft, Message, Sender, SenderLike, moment
from .causes import cause
from .dispatch import Dispatcher, Inline
from .senders import adapt, name_of
from .texts import Texts

log: logging.Logger = logging.getLogger("flask_otpauth")

USUAL = ("sms", "email")
"""Channels that stand-ins serve where the app has no sender, in the order of preference."""


class Post:
    """
    Implements the port ``Courier``.

    Args:
        senders: A fallback chain for each channel.
        load_user: Gives the host's own user object by id.
        stand_ins: For debug, testing and demonstrations: take messages of channels without a sender, each of them
            every message.
    """

    def __init__(  # noqa: PLR0917 - the parts of one app, put together in one place
        self,
        app: Flask,
        settings: Settings,
        senders: Mapping[str, Sequence[SenderLike]],
        dispatcher: Dispatcher,
        texts: Texts,
        load_user: Callable[[str], object | None],
        *,
        stand_ins: Sequence[Sender] = (),
    ) -> None:
        self._wanted = settings.channels
        self._timeout = float(settings.send_timeout)
        self._dispatcher = dispatcher
        self._inline = Inline(app)
        self._texts = texts
        self._load_user = load_user
        self._stand_ins = tuple(stand_ins)
        self._captures: tuple[list[Message], ...] = ()
        self._chains: dict[str, tuple[Sender, ...]] = {}
        for channel, chain in senders.items():
            if chain:
                self.register(channel, *chain)

    # --- channels -------------------------------------------------------------------------------------------------

    @property
    def channels(self) -> tuple[str, ...]:
        """
        Channels that can send now, in the order of preference: that of ``OTPAUTH_CHANNELS``, else "sms" first.

        Stand-ins serve what ``OTPAUTH_CHANNELS`` names, else "sms" and "email" where no sender was registered.
        """
        if self._wanted is not None:
            return tuple(channel for channel in self._wanted if self._serves(channel))
        registered = sorted(self._chains, key=lambda channel: channel != "sms")
        if self._captures:
            return (*USUAL, *(channel for channel in registered if channel not in USUAL))
        return tuple(registered) or (USUAL if self._stand_ins else ())

    @property
    def missing(self) -> tuple[str, ...]:
        """Channels that ``OTPAUTH_CHANNELS`` names and nothing serves."""
        return tuple(channel for channel in self._wanted or () if not self._serves(channel))

    @property
    def chains(self) -> Mapping[str, tuple[Sender, ...]]:
        """The registered senders of each channel, in the order in which they are tried; stand-ins aren't among them."""
        return self._chains

    def register(self, channel: str, sender: SenderLike | type[Sender], *more: SenderLike | type[Sender]) -> None:
        """
        Put a fallback chain in the place of what the channel had.

        Raises:
            ValueError: The channel is no lower-case word.
            TypeError: One of them is no sender.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", channel):
            raise ValueError(f"{channel!r} is no channel: use a short lower-case word, like 'voice'")
        chain = tuple(adapt(one) for one in (sender, *more))
        # Replaced as a whole, so that a thread that reads it needs no lock.
        self._chains = {**self._chains, channel: chain}

    def _serves(self, channel: str) -> bool:
        return channel in self._chains or bool(self._stand_ins or self._captures)

    # --- sending --------------------------------------------------------------------------------------------------

    def send(self, draft: Draft, /) -> None:
        """
        Render and send: the senders of the channel in order, until one returns.

        The whole chain has ``OTPAUTH_SEND_TIMEOUT``, and each sender an equal share of what is left of it; one that is
        cut off may still deliver, later. Failures are logged with their cause, without code and address.

        Raises:
            DeliveryFailed: There is no sender, or every one failed or was too slow.
        """
        message = self._message(draft)
        if message is None:
            raise DeliveryFailed
        if self._captures:
            self._captures[-1].append(message)
            return
        chain = self._chains.get(draft.channel)
        sent = self._send_to_stand_ins(message) if chain is None else self._send_along(chain, message)
        if not sent:
            # Not raised from the cause: a gateway's error may quote the message.
            raise DeliveryFailed

    def rehearse(self, draft: Draft, /) -> None:
        """Render, and send nothing."""
        self._message(draft)

    def later(self, job: Callable[[], None], /) -> None:
        """Run a job off the request, in an app context of its own; in line under tests and while captured."""
        if self._captures:
            self._inline.later(job)
        else:
            self._dispatcher.later(job)

    @contextmanager
    def capture(self) -> Generator[list[Message], None, None]:
        """Take all messages of all channels, also those without a sender, in line; the innermost capture gets them."""
        messages: list[Message] = []
        self._captures = (*self._captures, messages)
        try:
            yield messages
        finally:
            self._captures = tuple(one for one in self._captures if one is not messages)

    def _message(self, draft: Draft) -> Message | None:
        try:
            text = self._texts.render(draft)
        except Exception as error:  # noqa: BLE001 - the host's templates may raise anything
            log.error("The message %s can't be rendered: %s", draft.template, cause(error))  # noqa: TRY400
            return None
        user_id = draft.user_id
        return Message(
            to=draft.to,
            body=text.body,
            code=draft.code,
            purpose=draft.purpose,
            channel=draft.channel,
            locale=draft.locale,
            expires_at=None if draft.expires_at is None else moment(draft.expires_at),
            subject=text.subject,
            html=text.html,
            load_user=_nobody if user_id is None else partial(self._load_user, user_id),
        )

    def _send_along(self, chain: tuple[Sender, ...], message: Message) -> bool:
        end = time.monotonic() + self._timeout
        for tried, sender in enumerate(chain):
            share = max(0.0, end - time.monotonic()) / (len(chain) - tried)
            if self._sent(sender, message, share):
                return True
        return False

    def _sent(self, sender: Sender, message: Message, seconds: float) -> bool:
        try:
            if getattr(sender, "prompt", False):
                sender.send(message)
            else:
                self._dispatcher.within(partial(sender.send, message), seconds, crew=message.channel)
        except Exception as error:  # noqa: BLE001 - whatever a sender raises is a failure
            channel, name = message.channel, name_of(sender)
            extra = {"channel": channel, "sender": name}
            log.warning("Sender %s of channel %s failed: %s", name, channel, cause(error), extra=extra)
            return False
        return True

    def _send_to_stand_ins(self, message: Message) -> bool:
        if not self._stand_ins:
            log.error("The channel %s has no sender", message.channel)
        # Each gets every message: they are no fallbacks of one another.
        sent = [self._sent(sender, message, self._timeout) for sender in self._stand_ins]
        return any(sent)


def _nobody() -> None:
    return None
