"""What one process remembers for a short while: bounded, and safe for threads."""

from __future__ import annotations

from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

from ..types import Instant, SessionRecord

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

SIZE = 4096

SETTLED = 60_000
"""Milliseconds after which a unit of work has committed or given up; a database that is busy is given 15 s, twice."""


class Memo(Generic[K, V]):
    """A mapping of at most ``size`` entries: where it is full, the oldest one makes room."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._entries: dict[K, V] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        with self._lock:
            if key not in self._entries and len(self._entries) >= self._size:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = value

    def drop(self, key: K) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


class Rows:
    """
    Sessions as last read, each for ``lifetime`` milliseconds; 0 remembers nothing.

    A session that this process ends or changes is dropped at once, and no earlier read puts it back; one that another
    process ends lives on for the rest of that time.

    Attributes:
        epoch: Raised whenever something is dropped: a read that began before may have seen what is no more.
    """

    def __init__(self, lifetime: int, size: int = SIZE) -> None:
        self.epoch: int = 0
        self._lifetime = lifetime
        self._rows: Memo[bytes, tuple[SessionRecord, Instant]] = Memo(size)
        self._cookies: Memo[bytes, bytes] = Memo(size)
        self._withheld: Memo[bytes | str, Instant] = Memo(size)
        self._lock = Lock()

    def by_id(self, key: bytes, now: Instant) -> SessionRecord | None:
        found = self._rows.get(key) if self._lifetime else None
        if found is None:
            return None
        record, until = found
        return record if now < min(until, record.expires_at, record.idle_at) else None

    def by_cookie(self, cookie: bytes, now: Instant) -> SessionRecord | None:
        key = self._cookies.get(cookie) if self._lifetime else None
        record = self.by_id(key, now) if key is not None else None
        return record if record is not None and record.cookie == cookie else None

    def put(self, record: SessionRecord, now: Instant, epoch: int) -> None:
        """Remember a row; ``epoch`` is that of the moment before it was read."""
        if not self._lifetime:
            return
        with self._lock:
            if epoch != self.epoch or any(now < (self._withheld.get(of) or 0) for of in (record.id, record.user_id)):
                return
            self._rows.put(record.id, (record, now + self._lifetime))
            if record.cookie is not None:
                self._cookies.put(record.cookie, record.id)

    def withhold(self, of: bytes | str, now: Instant) -> None:
        """Remember no row of that key or that user for a while: what has changed it may not have committed yet."""
        if self._lifetime:
            self._withheld.put(of, now + SETTLED)

    def drop(self, key: bytes) -> None:
        with self._lock:
            self.epoch += 1
            self._rows.drop(key)

    def clear(self) -> None:
        with self._lock:
            self.epoch += 1
            self._rows.clear()
            self._cookies.clear()
