"""What happened, and where that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .time import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    Something that happened, for the log, the table of events and the signal of the same name.

    Attributes:
        details: JSON values; never a code, a password, a token or a full address.
    """

    name: str
    at: Instant
    user_id: str | None = None
    channel: str | None = None
    purpose: str | None = None
    address: str | None = None
    details: Mapping[str, object] = field(default_factory=dict[str, object])


class EventStore(Protocol):
    """Keeps events."""

    def record(self, event: Event, /) -> None: ...

    def recent(self, limit: int, *, user_id: str | None = None) -> list[Event]: ...

    def purge(self, before: Instant, limit: int) -> int: ...
