"""
Challenges: minting, sending in two steps, comparing, consuming.

An attempt is charged and committed first, the code compared second, the challenge consumed third, by exactly one
caller. A code that is being sent counts only once its sender has returned; until then the old one does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from .config import Settings
from .crypto import Keyring, digest, mint, new_id
from .errors import ChallengeGone, CodeExpired, RateLimited
from .types import (
    Admission,
    ChallengeStore,
    Charged,
    Found,
    Instant,
    Miss,
    NewChallenge,
    Purpose,
    Renewed,
    Seen,
    TooSoon,
    timestamp,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    What somebody asks a code for; see ``NewChallenge`` for the attributes of the same names.

    Attributes:
        stranger: Whether he has proved nothing and isn't known: one of the live challenges is kept from him.
        replaces: See ``NewChallenge``.
    """

    purpose: Purpose
    account: str
    alias: str
    user_id: str | None
    channel: str
    destination: str | None
    binding: str = ""
    data: Mapping[str, object] = field(default_factory=dict[str, object])
    stranger: bool
    min_gap: int = 0
    replaces: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """
    A code on its way: it is nowhere but here and in its message.

    Attributes:
        secret: The challenge's secret id, where this call made it; None for a resend, whose caller has it.
        sendable: False for a challenge that is muted: nothing may be sent.
    """

    challenge_id: bytes
    secret: str | None = field(default=None, repr=False)
    generation: int
    code: str = field(repr=False)
    purpose: Purpose
    account: str
    user_id: str | None
    channel: str
    destination: str | None
    binding: str
    data: Mapping[str, object] = field(repr=False)
    expires_at: Instant
    flow_expires_at: Instant
    resend_at: Instant
    attempts_left: int
    sendable: bool
    replaces: bytes | None = None


class Challenges:
    """The challenges of one app; every method raises ``ServiceUnavailable`` when the store is away."""

    def __init__(self, store: ChallengeStore, keyring: Keyring, settings: Settings) -> None:
        self._store = store
        self._keyring = keyring
        self._settings = settings

    def begin(self, order: Order, now: Instant) -> Minted:
        """
        Store a challenge and mint its first code, which counts from ``promote`` on.

        Raises:
            RateLimited: ``min_gap`` has not passed since the last one.
        """
        settings = self._settings
        secret = new_id()
        flow_expires_at = now + settings.flow_lifetime * 1000
        expires_at = min(now + settings.code_lifetime * 1000, flow_expires_at)
        resend_at = now + settings.resend_cooldown * 1000
        live = settings.live_challenges
        new = NewChallenge(
            id=digest(secret),
            account=order.account,
            alias=order.alias,
            user_id=order.user_id,
            purpose=order.purpose,
            channel=order.channel,
            destination=order.destination,
            binding=order.binding,
            data=json.dumps(order.data, separators=(",", ":")),
            attempts=settings.max_attempts,
            created_at=now,
            flow_expires_at=flow_expires_at,
            code_expires_at=expires_at,
            resend_at=resend_at,
            live_limit=max(1, live - 1) if order.stranger else live,
            min_gap=order.min_gap,
            replaces=order.replaces,
        )
        admission = self._store.issue(new)
        if admission is Admission.TOO_SOON:
            raise RateLimited(-(-order.min_gap // 1000))
        return Minted(
            challenge_id=new.id,
            secret=secret,
            generation=1,
            code=mint(settings.digits),
            purpose=order.purpose,
            account=order.account,
            user_id=order.user_id,
            channel=order.channel,
            destination=order.destination,
            binding=order.binding,
            data=order.data,
            expires_at=expires_at,
            flow_expires_at=flow_expires_at,
            resend_at=resend_at,
            attempts_left=settings.max_attempts,
            sendable=admission is Admission.ADMITTED,
            replaces=order.replaces,
        )

    def renew(self, challenge_id: bytes, purposes: frozenset[Purpose], now: Instant) -> Renewed:
        """
        Reserve another code for a challenge.

        Raises:
            RateLimited: The cooldown runs; ``resend_at`` tells how long.
            ChallengeGone: There is nothing to renew, whatever the reason.
        """
        outcome = self._store.renew(
            challenge_id,
            purposes,
            now,
            resend_at=now + self._settings.resend_cooldown * 1000,
            answers_until=now + self._settings.code_lifetime * 1000,
            revive=self._settings.on_expiry == "resend",
        )
        if isinstance(outcome, TooSoon):
            again = timestamp(outcome.resend_at, up=True)
            raise RateLimited(-(-(outcome.resend_at - now) // 1000), resend_at=again)
        if isinstance(outcome, Miss):
            raise ChallengeGone
        return outcome

    def remint(self, renewed: Renewed, now: Instant, *, channel: str, destination: str | None) -> Minted:
        """Mint the code that a renewed challenge awaits."""
        return Minted(
            challenge_id=renewed.id,
            generation=renewed.generation,
            code=mint(self._settings.digits),
            purpose=renewed.purpose,
            account=renewed.account,
            user_id=renewed.user_id,
            channel=channel,
            destination=destination,
            binding=renewed.binding,
            data=json.loads(renewed.data),
            expires_at=min(now + self._settings.code_lifetime * 1000, renewed.flow_expires_at),
            flow_expires_at=renewed.flow_expires_at,
            resend_at=renewed.resend_at,
            attempts_left=renewed.attempts_left,
            sendable=not renewed.muted,
        )

    def promote(self, minted: Minted, now: Instant) -> bool:
        """Let the code count, now that it was sent; False when it came too late to."""
        bound = self._bound(minted.challenge_id, minted)
        return self._store.promote(
            minted.challenge_id,
            minted.generation,
            self._keyring.code_digest(minted.code, *bound),
            minted.expires_at,
            now,
            channel=minted.channel,
            destination=minted.destination,
            replaces=minted.replaces,
        )

    def pretend(self, minted: Minted, now: Instant) -> None:
        """Do the work of ``promote`` for a challenge that gets no code: that generation is awaited no more."""
        bound = self._bound(minted.challenge_id, minted)
        # One that has passed: the next one is awaited as soon as another code was asked for, and may be real.
        never = minted.generation - 1
        digest = self._keyring.code_digest(minted.code, *bound)
        channel, destination = minted.channel, minted.destination
        self._store.promote(
            minted.challenge_id, never, digest, minted.expires_at, now, channel=channel, destination=destination
        )

    def withdraw(self, minted: Minted, now: Instant) -> None:
        """Forget a code whose sending failed; what counted before still does."""
        self._store.withdraw(minted.challenge_id, minted.generation, now)

    def charge(self, challenge_id: bytes, purposes: frozenset[Purpose], now: Instant) -> Charged:
        """
        Take one attempt, committed.

        Raises:
            CodeExpired: Right or wrong, it is too late; nothing was taken.
            ChallengeGone: There is nothing to answer, whatever the reason.
        """
        outcome = self._store.charge(challenge_id, purposes, now)
        if outcome is Miss.EXPIRED:
            raise CodeExpired
        if isinstance(outcome, Miss):
            raise ChallengeGone
        return outcome

    def look(self, secret: str, now: Instant) -> Seen:
        """
        Give what a challenge shows to whoever has its secret id; nothing is taken.

        Raises:
            CodeExpired: It waited for an answer too long, and the settings don't let another code be sent for it.
            ChallengeGone: It is over, whatever the reason.
        """
        seen = self._store.look(digest(secret), now)
        if isinstance(seen, Miss):
            raise CodeExpired if seen is Miss.EXPIRED else ChallengeGone
        if seen.answers_until <= now and self._settings.on_expiry != "resend":
            raise CodeExpired
        return seen

    def matches(self, charged: Charged, code: str) -> bool:
        """Compare in constant time with the code that counts; only after the attempt and the account were charged."""
        bound = self._bound(charged.id, charged)
        return self._keyring.code_matches(charged.digest, code, *bound)

    def consume(self, charged: Charged, now: Instant) -> None:
        """
        Use the challenge up; joins the unit of work.

        Raises:
            ChallengeGone: Somebody else was first, or the code was replaced meanwhile.
        """
        if not self._store.consume(charged.id, charged.generation, now):
            raise ChallengeGone

    def find(self, keys: list[str], purposes: frozenset[Purpose], now: Instant) -> list[Found]:
        """Give the challenges of an account or a typed identifier, newest first; see ``ChallengeStore.find``."""
        return self._store.find(keys, purposes, now)

    def end(self, secret: str, now: Instant) -> None:
        """End a challenge by its secret id; joins the unit of work."""
        self._store.end(digest(secret), now)

    def void(self, account: str, now: Instant) -> int:
        """End all that is pending for the account."""
        return self._store.void(account, now)

    def _bound(self, challenge_id: bytes, to: Minted | Charged) -> tuple[str, ...]:
        # With the app's name: apps may share secret and database, and have different rules for whom a code lets in.
        app, destination = self._settings.name, to.destination or ""
        return (app, challenge_id.hex(), to.account, to.purpose.value, to.channel, destination, to.binding)
