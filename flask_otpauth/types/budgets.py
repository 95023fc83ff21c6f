"""Budgets, and the ports that count them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .time import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """At most ``limit`` (1 to 100) charges in ``seconds``, sliding."""

    limit: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One entry in a budget's log, by which exactly this charge can be given back."""

    key: bytes
    entry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The budget has nothing left before ``retry_at``; nothing was charged."""

    retry_at: Instant


class GuardStore(Protocol):
    """
    Budgets in the database: one row a key, with a sliding log of its last 100 charges.

    Each method commits before it returns, unless it is called inside a ``UnitOfWork``; ``charge`` never joins one
    unless ``joined``.
    """

    def open(self, key: bytes, now: Instant) -> None:
        """Make the row, if it is missing."""
        ...

    def charge(
        self, key: bytes, windows: Sequence[Window], now: Instant, *, create: bool = False, joined: bool = False
    ) -> Charge | Spent:
        """
        Take one from the budget by one conditional update: exact whatever the concurrency.

        A missing row (unless ``create``) or one that isn't a log counts as spent.
        """
        ...

    def turn(self, key: bytes, now: Instant) -> None:
        """Let whoever asks for the turn of that key after this unit of work wait for its end; joins the unit."""
        ...

    def refund(self, charge: Charge) -> None:
        """Take this very charge back, never another one."""
        ...

    def reset(self, key: bytes) -> None:
        """Forget all charges of the key."""
        ...

    def purge(self, before: Instant, limit: int) -> int:
        """Delete at most ``limit`` rows not charged since."""
        ...


class AddressLimits(Protocol):
    """Budgets per client address."""

    def hit(self, name: str, address: str | None, /) -> None:
        """
        Count a request of the kind ``name``: "send", "verify" or "login".

        Raises:
            RateLimited: The budget of the address is spent.
            ServiceUnavailable: The storage is away.
        """
        ...

    def total(self) -> None:
        """
        Count a message with a code, of the whole app (``OTPAUTH_SEND_TOTAL``).

        Raises:
            RateLimited: The budget is spent.
            ServiceUnavailable: The storage is away.
        """
        ...
