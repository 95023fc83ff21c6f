"""Faults that show only when settings are seen together, each with its cure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from ..types import Window
from .parsing import GUARD_DEPTH, limits
from .settings import DAY, PREFIX, Settings

WELL_KNOWN = frozenset(
    {"dev", "development", "secret", "secret-key", "secretkey", "changeme", "change-me", "password", "test", "testing"}
    | {"your-secret-key", "your_secret_key", "mysecret", "my-secret-key", "supersecret", "super-secret", "key", "flask"}
    # Long enough, and to be found in documentation and tutorials.
    | {"192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf", '_5#y2l"f4q8z\n\ufffd]/'}
    | {"you-will-never-guess", "hard to guess string", "your-secret-key-here", "change-me-in-production"}
    | {"this-is-a-secret-key", "super-secret-key", "my-super-secret-key", "thisisasecretkey", "jwt-secret-string"}
)
WORST_CHANCE = 1e-3
LONGEST_CODE = 100
"""Digits, as far as odds are told."""
_WEIGHED = frozenset({"code_length", "code_lifetime", "max_attempts"})
SHORTEST_SECRET = 16
"""Bytes; below, a secret is guessed offline from one signed cookie."""
FEWEST_LETTERS = 8
"""Different bytes of a secret: one of random bytes, or of hexadecimal digits, has more."""


def check(settings: Settings, *, lenient: bool) -> list[str]:
    """
    Give the faults of the settings taken together.

    ``lenient`` is debug, testing or a demonstration, where what is unsafe but handy is let through.
    """
    faults: list[str] = []
    if settings.code_lifetime > settings.flow_lifetime:
        faults.append("OTPAUTH_CODE_LIFETIME is longer than OTPAUTH_FLOW_LIFETIME; shorten it.")
    if settings.digits < 6 and settings.max_attempts > 3:
        faults.append(
            f"OTPAUTH_CODE_LENGTH is {settings.digits}; below 6 digits OTPAUTH_MAX_ATTEMPTS must be 3 or less."
        )
    chance = yearly_chance(settings)
    if chance > WORST_CHANCE:
        enough = min(GUARD_DEPTH, int(WORST_CHANCE / odds(settings).hit * 30 / 365))
        cure = f"add '{enough} per 30 days' to OTPAUTH_ACCOUNT_LIMITS" if enough else "use longer codes"
        faults.append(
            f"Somebody who guesses codes of {settings.digits} digits within OTPAUTH_ACCOUNT_LIMITS gets into an "
            f"account with a chance of {chance:.1e} a year, and {WORST_CHANCE} is the most; {cure}."
        )
    if settings.passwordless and settings.registration == "open":
        faults.append(
            "OTPAUTH_REGISTRATION 'open' proves no address, and OTPAUTH_FIRST_FACTOR 'otp' sends codes to proved ones "
            "only; use 'confirm' or 'login-code'."
        )
    if settings.bcrypt_rounds < 10 and not lenient:
        faults.append("OTPAUTH_BCRYPT_ROUNDS below 10 is for debug and testing only; remove it.")
    return faults


def weighed(faults: Sequence[str], config: Mapping[str, Any], settings: Settings) -> list[str]:
    """Add the odds that they would give to the faults of ``read`` about numbers of codes that are out of bounds."""
    return [f"{fault}{_weight(fault.partition(' ')[0], config, settings)}" for fault in faults]


def _weight(key: str, config: Mapping[str, Any], settings: Settings) -> str:
    name, value = key.removeprefix(PREFIX).lower(), config.get(key)
    if isinstance(value, timedelta | float) and name == "code_lifetime":
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        value = int(seconds) if seconds.is_integer() else None
    if name not in _WEIGHED or isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return ""
    # A number of digits is an exponent: one without bounds would be computed for ever.
    given: Any = min(value, LONGEST_CODE) if name == "code_length" else value
    chance = yearly_chance(replace(settings, **{name: given}))
    return f" Somebody who guesses would get into an account with a chance of {chance:.1e} a year."


def capped(config: Mapping[str, Any]) -> list[str]:
    """Tell which budgets are counted as smaller ones, because a row of the database remembers no more charges."""
    keys = [PREFIX + name for name in ("ACCOUNT_LIMITS", "LOGIN_LIMITS", "LOGIN_ACCOUNT_LIMITS", "SEND_LIMITS")]
    return [
        f"{key} has a number above {GUARD_DEPTH}, which is counted as {GUARD_DEPTH}: the database remembers no more."
        for key in keys
        if config.get(key) and any(window.limit > GUARD_DEPTH for window in limits(config[key]))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """
    The odds of guessing into one account.

    Attributes:
        codes: How many there are (N). ``valid``: how many are good at once (w).
        attempts: Guesses compared per challenge (a). ``challenges``: challenges a day (s); infinite where nothing but
            the failures is counted on.
        failures: Failed codes a day that the account may have (F). ``days``: how long is guessed (D).
    """

    codes: int
    valid: int
    attempts: int
    challenges: float
    failures: float
    days: int = 365

    @property
    def hit(self) -> float:
        return self.valid / self.codes

    @property
    def guesses(self) -> float:
        """``A = min(a·s·D, F·D)``."""
        return min(self.attempts * self.challenges * self.days, self.failures * self.days)

    @property
    def chance(self) -> float:
        """``P = 1 - (1 - w/N)^A``."""
        return 1.0 - math.pow(1.0 - self.hit, self.guesses)


def odds(settings: Settings, windows: Sequence[Window] | None = None, *, challenges: float = math.inf) -> Odds:
    """
    Give the odds under the settings, or with other ``windows`` of failed codes.

    With identifier look-up one guess is compared with every live challenge.
    """
    return Odds(
        codes=10**settings.digits,
        valid=settings.live_challenges if settings.challenge_lookup == "identifier" else 1,
        attempts=settings.max_attempts,
        challenges=challenges,
        failures=min(window.limit * DAY / window.seconds for window in windows or settings.failures),
    )


def yearly_chance(settings: Settings) -> float:
    """Give the chance of guessing into one account within a year, by the budget of failed codes alone."""
    return odds(settings).chance


def check_secret(secret: str | bytes | None, *, lenient: bool) -> list[str]:
    """Give the faults of the app's secret."""
    if secret is None or not secret:
        return ["SECRET_KEY is missing; set it: python -c 'import secrets; print(secrets.token_hex())'"]
    raw = secret.encode() if isinstance(secret, str) else secret
    weak = len(raw) < SHORTEST_SECRET or len(set(raw)) < FEWEST_LETTERS
    weak = weak or raw.decode("utf-8", "replace").strip().lower() in WELL_KNOWN
    if weak and not lenient:
        return [
            (
                "SECRET_KEY is short or well known: for development run `flask run --debug`; for production make one "
                "with python -c 'import secrets; print(secrets.token_hex())'"
            )
        ]
    return []
