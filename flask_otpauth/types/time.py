"""Instants and clocks: whole milliseconds of Unix time wherever they are stored or compared."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

Instant = int


def instant(moment: datetime) -> Instant:
    """Give the instant of an aware datetime."""
    return int(moment.timestamp() * 1000)


def moment(at: Instant) -> datetime:
    """Give the aware UTC datetime of an instant."""
    return datetime.fromtimestamp(at / 1000, UTC)


def timestamp(at: Instant, *, up: bool = False) -> str:
    """Give RFC 3339, UTC, in whole seconds: rounded down, or ``up`` where earlier would be too early."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(-(-at // 1000) if up else at // 1000))


class Clock(Protocol):
    """Tells the time, aware and UTC."""

    def __call__(self) -> datetime: ...
