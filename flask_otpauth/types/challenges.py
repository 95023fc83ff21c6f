"""Challenges, and the port to where they live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Protocol

from .time import Instant


class Purpose(StrEnum):
    """What a code is for; a code of one purpose is good for no other."""

    LOGIN = "login"
    CONFIRM = "confirm"
    STEP_UP = "step_up"
    TRANSACTION = "transaction"
    CONTACT = "contact"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChallenge:
    """
    A challenge about to be stored; it holds no code until one was sent.

    Attributes:
        id: SHA-256 of the secret id, 32 bytes.
        account: Whom failures are counted on: ``u:<user id>``, or ``i:<hex>`` of the claimed identifier.
        alias: ``i:<hex>`` of the identifier that the caller typed, for the look-up by identifier; or ``account``.
        user_id: String of the primary key; None for a decoy and for a registration that is not proved.
        destination: Address that the code goes to; None where there is none to tell.
        binding: What the code is bound to besides (a session, a transaction); empty where nothing.
        data: JSON of the flow (factors proved so far, pending registration). Never a code.
        attempts: Guesses that may be compared.
        resend_at: Not before this instant may another code be asked for.
        live_limit: How many live challenges that take answers the account may have with this one; one more is muted.
        min_gap: Milliseconds that must have passed since the last live one of this account and purpose; 0 for none.
        replaces: Id of the same initiator's earlier challenge, which isn't counted and ends when this one is promoted.
    """

    id: bytes
    account: str
    alias: str
    user_id: str | None
    purpose: Purpose
    channel: str
    destination: str | None
    binding: str = ""
    data: str = "{}"
    attempts: int
    created_at: Instant
    flow_expires_at: Instant
    code_expires_at: Instant
    resend_at: Instant
    live_limit: int
    min_gap: int = 0
    replaces: bytes | None = None


class Admission(Enum):
    """What became of a new challenge."""

    ADMITTED = "admitted"
    MUTED = "muted"
    """Stored and answered like any other, but no code is ever promoted into it."""
    TOO_SOON = "too soon"
    """Not stored: ``min_gap`` has not passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """
    One attempt was taken, and committed; here is what the row holds.

    Attributes:
        generation: Number of the code that counts now; ``consume`` wants it back.
        digest: HMAC-SHA-256 of the code, 32 bytes; None while no code was sent.
        attempts_left: After this attempt.
    """

    id: bytes
    generation: int
    account: str
    alias: str
    user_id: str | None
    purpose: Purpose
    channel: str
    destination: str | None
    binding: str
    data: str
    digest: bytes | None
    attempts_left: int
    created_at: Instant
    flow_expires_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """
    Another code may be sent for the challenge; the old one counts until ``promote``.

    Attributes:
        generation: Number of the code to come.
        resend_at: As just set.
    """

    id: bytes
    generation: int
    account: str
    user_id: str | None
    purpose: Purpose
    channel: str
    destination: str | None
    binding: str
    data: str
    attempts_left: int
    resend_at: Instant
    flow_expires_at: Instant
    muted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TooSoon:
    """The cooldown runs until ``resend_at``; nothing was changed."""

    resend_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """
    What a challenge shows to whoever began it: nothing by which a code could be compared or an account be found.

    Attributes:
        answers_until: As ``ChallengeStore.renew`` set it: it doesn't tell whether a code was sent.
    """

    purpose: Purpose
    channel: str
    destination: str | None
    data: str
    attempts_left: int
    resend_at: Instant
    answers_until: Instant
    flow_expires_at: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    A challenge as a look-up by identifier finds it: no more than tells whether there is anything to charge.

    Attributes:
        account: Whom its failures count on; ``alias``: which of the keys it was found by.
        spent: Whether its attempts are used up. ``late``: whether the time for answers is over. ``muted``: whether it
            never has a code.
    """

    id: bytes
    account: str
    alias: str
    purpose: Purpose
    spent: bool
    late: bool
    muted: bool


class Miss(Enum):
    """Why there was nothing to charge or to renew."""

    GONE = "gone"
    EXPIRED = "expired"


class ChallengeStore(Protocol):
    """
    Where challenges live. It has no ``get``: what a row holds is told only by the call that changed it, but for what
    its page shows (``look``), on which nothing is decided.

    Every method commits before it returns, unless it is called inside a ``UnitOfWork``; ``charge`` never joins one.

    Raises:
        ServiceUnavailable: From every method, when the store is away. Nothing was let through.
    """

    def issue(self, new: NewChallenge, /) -> Admission:
        """Store the challenge without code, generation 0, its first one awaited; counting and storing are one step."""
        ...

    def promote(
        self,
        challenge_id: bytes,
        generation: int,
        digest: bytes,
        code_expires_at: Instant,
        now: Instant,
        *,
        channel: str,
        destination: str | None,
        replaces: bytes | None = None,
    ) -> bool:
        """
        Put the code that was just sent in the place of the old one, and end ``replaces``.

        False, and nothing changed, when the challenge is muted or over, or a later code is awaited.
        """
        ...

    def withdraw(self, challenge_id: bytes, generation: int, now: Instant) -> None:
        """
        Forget the awaited code, whose sending failed: the cooldown is lifted.

        A challenge that never had a code ends.
        """
        ...

    def charge(self, challenge_id: bytes, purposes: frozenset[Purpose], now: Instant) -> Charged | Miss:
        """
        Take one attempt in a committed transaction of its own, and only then tell what the row holds.

        ``EXPIRED`` (nothing taken) when the challenge lives and the time for answers, or its flow, is over at ``now``.
        A code that is past its own time before that is told as none.
        """
        ...

    def consume(self, challenge_id: bytes, generation: int, now: Instant) -> bool:
        """
        End the challenge by its right code.

        True for exactly one caller; False when the code was replaced meanwhile.
        """
        ...

    def renew(
        self,
        challenge_id: bytes,
        purposes: frozenset[Purpose],
        now: Instant,
        *,
        resend_at: Instant,
        answers_until: Instant,
        revive: bool,
    ) -> Renewed | TooSoon | Miss:
        """
        Await another code: won by exactly one of several callers at once.

        Whatever becomes of that code, the challenge takes answers until ``answers_until``, so that its end doesn't
        tell whether it was sent; the one before is good for no longer than it was.

        ``revive`` says whether a challenge whose code has expired may get another one.
        """
        ...

    def look(self, challenge_id: bytes, now: Instant) -> Seen | Miss:
        """
        Give what a challenge shows; nothing is taken or changed.

        ``EXPIRED`` when its flow is over at ``now``, and nothing else is in its way.
        """
        ...

    def find(self, keys: Sequence[str], purposes: frozenset[Purpose], now: Instant) -> list[Found]:
        """
        Give the challenges whose ``alias`` is one of ``keys``, the newest first: those that haven't ended, and whose
        flow isn't over.
        """
        ...

    def end(self, challenge_id: bytes, now: Instant) -> None:
        """End one challenge, if it lives."""
        ...

    def void(self, account: str, now: Instant) -> int:
        """End all live challenges of the account (its password, address or factor changed); tell how many."""
        ...

    def purge(self, before: Instant, limit: int) -> int:
        """Delete at most ``limit`` challenges whose flow was over before that instant; tell how many."""
        ...
