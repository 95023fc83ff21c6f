"""Values for the suites, and what the processes of a race do."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from flask_otpauth.types import (
    Admission,
    ChallengeStore,
    Charge,
    Charged,
    Miss,
    NewChallenge,
    NewSession,
    Purpose,
    Renewed,
    Rotation,
    Spent,
    TooSoon,
    Window,
)
from tests.contracts.backends import Stores

NOW = 1_800_000_000_000
LOGIN = frozenset({Purpose.LOGIN})
CODE_TIME = 300_000
FLOW_TIME = 900_000
COOLDOWN = 60_000
TEN = (Window(limit=10, seconds=900), Window(limit=20, seconds=86_400), Window(limit=60, seconds=2_592_000))


def key(name: str | None = None) -> bytes:
    """Give 32 bytes: of that name, or of no name that was used before."""
    return secrets.token_bytes(32) if name is None else hashlib.sha256(name.encode()).digest()


def account() -> str:
    """Give an account that no other test has."""
    return f"u:{secrets.token_hex(8)}"


def challenge(**changes: Any) -> NewChallenge:
    """Give a login challenge of 5 attempts, issued at ``NOW``."""
    who = account()
    at = changes.get("created_at", NOW)
    values: dict[str, Any] = {
        "id": key(),
        "account": who,
        "alias": who,
        "user_id": who[2:],
        "purpose": Purpose.LOGIN,
        "channel": "sms",
        "destination": "+972501234567",
        "binding": "",
        "data": '{"proved":["pwd"]}',
        "attempts": 5,
        "created_at": at,
        "flow_expires_at": at + FLOW_TIME,
        "code_expires_at": at + CODE_TIME,
        "resend_at": at + COOLDOWN,
        "live_limit": 3,
    }
    return NewChallenge(**{**values, **changes})


def issued(store: ChallengeStore, **changes: Any) -> bytes:
    """Issue a challenge that has no code yet."""
    new = challenge(**changes)
    assert store.issue(new) is Admission.ADMITTED
    return new.id


def promoted(store: ChallengeStore, **changes: Any) -> bytes:
    """Issue a challenge with a code that counts, of the digest ``key("code 1")``."""
    challenge_id = issued(store, **changes)
    assert promote(store, challenge_id, 1)
    return challenge_id


def promote(store: ChallengeStore, challenge_id: bytes, generation: int, *, at: int = NOW, **more: Any) -> bool:
    """Let a code count."""
    digest = key(f"code {generation}")
    values: dict[str, Any] = {"channel": "sms", "destination": "+972501234567", **more}
    return store.promote(challenge_id, generation, digest, at + CODE_TIME, at, **values)


def charged(store: ChallengeStore, challenge_id: bytes, *, at: int = NOW) -> Charged:
    """Charge an attempt that there must be."""
    outcome = store.charge(challenge_id, LOGIN, at)
    assert isinstance(outcome, Charged), outcome
    return outcome


def session(**changes: Any) -> NewSession:
    """Give a session that lives a day, an hour idle, from ``NOW``."""
    values: dict[str, Any] = {
        "id": key(),
        "user_id": secrets.token_hex(8),
        "cookie": key(),
        "refresh": key(),
        "amr": ("pwd", "otp", "sms"),
        "auth_time": NOW,
        "code_at": NOW,
        "created_at": NOW,
        "expires_at": NOW + 86_400_000,
        "idle_at": NOW + 3_600_000,
        "client": "Firefox",
    }
    return NewSession(**{**values, **changes})


# --- what processes do: each names its target by text that all of them know ---------------------------------------


def charge_it(stores: Stores, _number: int) -> Charged | Miss:
    return stores.challenges.charge(key("raced charge"), LOGIN, NOW)


def consume_it(stores: Stores, _number: int) -> bool:
    return stores.challenges.consume(key("raced consume"), 1, NOW)


def renew_it(stores: Stores, _number: int) -> Renewed | TooSoon | Miss:
    at = NOW + COOLDOWN
    return stores.challenges.renew(
        key("raced renew"), LOGIN, at, resend_at=at + COOLDOWN, answers_until=at + COOLDOWN, revive=True
    )


def issue_one(stores: Stores, _number: int) -> Admission:
    return stores.challenges.issue(challenge(account="u:raced issue"))


def charge_budget(stores: Stores, _number: int) -> Charge | Spent:
    return stores.guard.charge(key("raced budget"), TEN, NOW, create=True)


def charge_and_refund(stores: Stores, _number: int) -> bool:
    outcome = stores.guard.charge(key("raced refund"), TEN, NOW)
    if isinstance(outcome, Charge):
        stores.guard.refund(outcome)
    return isinstance(outcome, Charge)


def rotate_it(stores: Stores, number: int) -> Rotation:
    return stores.sessions.rotate(key("raced session"), key("old"), key(f"new {number}"), NOW, idle_at=NOW + 3_600_000)
