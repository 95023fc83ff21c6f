"""Senders that need no network: the host's function, the console and the development inbox."""

from __future__ import annotations

import inspect
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TextIO, cast

from ..types import Message, Sender, SenderLike


class FunctionSender:
    """A plain or ``async`` function of the host as a sender; what it returns doesn't matter."""

    def __init__(self, function: Callable[[Message], object]) -> None:
        self._function = function

    def send(self, message: Message, /) -> None:
        result = self._function(message)
        if inspect.iscoroutine(result):
            import asyncio  # some 30 ms, for those who need it

            asyncio.run(cast("Coroutine[Any, Any, object]", result))

    @property
    def name(self) -> str:
        return str(getattr(self._function, "__qualname__", type(self._function).__name__))


class ConsoleSender:
    """
    Prints messages with their codes; for development and demonstrations only.

    Attributes:
        prompt: Sends without waiting for a network, so that no thread is needed for its time-out.
    """

    prompt = True

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def send(self, message: Message, /) -> None:
        lines = [f"--- development only, not sent: {message.channel} to {message.to} ---"]
        if message.subject:
            lines.append(f"Subject: {message.subject}")
        lines.append(message.body)
        if message.code is not None:
            # A line of its own that can be pasted into a shell.
            lines += ["", f"CODE={message.code}"]
        lines.append("---")
        # Looked up at each message: a test or a server may have put another stream in its place.
        print("\n".join(lines), file=self._stream or sys.stdout, flush=True)


class Inbox:
    """
    The last messages of this process, in memory; for development and demonstrations only.

    Other workers of the same server have inboxes of their own.

    Attributes:
        prompt: Sends without waiting for a network, so that no thread is needed for its time-out.
    """

    prompt = True

    def __init__(self, size: int = 100) -> None:
        self._messages: deque[Message] = deque(maxlen=size)
        self._lock = threading.Lock()

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was sent, newest first."""
        with self._lock:
            return tuple(self._messages)

    def send(self, message: Message, /) -> None:
        with self._lock:
            self._messages.appendleft(message)

    def clear(self) -> None:
        with self._lock:
            self._messages.clear()


def adapt(sender: SenderLike | type[Sender]) -> Sender:
    """
    Make a sender of what the host gave: an object with ``send``, a class of such objects, or a function.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(sender, type):
        sender = sender()
    if isinstance(sender, Sender):
        return sender
    if not callable(sender):
        raise TypeError(f"{sender!r} is no sender: give a function of one message, or an object with a method `send`")
    return FunctionSender(sender)


def shown(chains: Mapping[str, Sequence[SenderLike]]) -> list[str]:
    """Give the channels whose codes go to the console or an inbox, if only where the senders before have failed."""
    return [name for name, chain in chains.items() if any(getattr(one, "prompt", False) for one in chain)]


def name_of(sender: Sender) -> str:
    """Give a name for logs: that of the host's function, or of the class."""
    return sender.name if isinstance(sender, FunctionSender) else type(sender).__name__
