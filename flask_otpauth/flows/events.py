"""What happened: to the table of events, to the log, to the signals. None of them decides anything."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress

from ..errors import OTPAuthError
from ..signals import by_name
from ..types import Event, EventStore

logger: logging.Logger = logging.getLogger("flask_otpauth")

_WARNINGS = frozenset(
    {"otp_failed", "otp_locked", "otp_send_failed", "login_failed", "token_reuse_detected", "sms_pumping_suspected"}
)


class Recorder:
    """Keeps, logs and announces events of one app; ``app`` is the sender of the signals."""

    def __init__(self, store: EventStore, app: object, load_user: Callable[[str], object | None]) -> None:
        self._store = store
        self._app = app
        self._load_user = load_user

    def keep(self, event: Event) -> None:
        """Write the row; inside a unit of work, so that it is there if and only if what it tells of is."""
        self._store.record(event)

    def announce(self, event: Event) -> None:
        """Log and signal, after the commit. Whatever a handler or receiver raises is logged and goes no further."""
        try:
            level = logging.WARNING if event.name in _WARNINGS else logging.INFO
            logger.log(level, "%s", event.name, extra={"otpauth": _structured(event)})
            signal = by_name(event.name)
            if signal.receivers:
                user = self._load_user(event.user_id) if event.user_id is not None else None
                for receiver in signal.receivers_for(self._app):
                    self._call(receiver, event, user)
        except Exception:  # noqa: BLE001 - a faulty handler of the host must not change a decision
            _complain(event)

    def happened(self, event: Event) -> None:
        """Keep and announce something that stands whether or not its row can be written."""
        try:
            self._store.record(event)
        except OTPAuthError:
            _complain(event)
        self.announce(event)

    def _call(self, receiver: Callable[..., object], event: Event, user: object | None) -> None:
        try:
            receiver(self._app, event=event, user=user)
        except Exception:  # noqa: BLE001 - see announce
            _complain(event)


def _structured(event: Event) -> dict[str, object]:
    given = {
        "event": event.name,
        "user_id": event.user_id,
        "channel": event.channel,
        "purpose": event.purpose,
        "address": event.address,
        **event.details,
    }
    return {name: value for name, value in given.items() if value is not None}


def _complain(event: Event) -> None:
    with suppress(Exception):  # the log itself may be what is broken
        logger.error("Handling the event %s failed", event.name, exc_info=sys.exc_info())
