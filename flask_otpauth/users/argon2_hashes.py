"""Argon2 hashes (RFC 9106); the only place that imports the extra ``argon2``, and only when one is met."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .hashes import Verdict

if TYPE_CHECKING:
    from argon2 import PasswordHasher

_CURE = "pip install 'Flask-OTPAuth[argon2]'"
_MOST_MEMORY = 2**20  # KiB
_MOST_TIME = 32

logger: logging.Logger = logging.getLogger("flask_otpauth")


class Argon2:
    """
    ``$argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>``; argon2i and argon2d are verified too.

    Args:
        required: Whether new hashes are made so.

    Raises:
        ConfigurationError: It is required, and the package is missing.
    """

    def __init__(self, *, required: bool) -> None:
        self._hasher: PasswordHasher | None = _hasher() if required else None
        if required and self._hasher is None:
            raise ConfigurationError([f"OTPAUTH_PASSWORD_HASH is 'argon2', whose package is missing: {_CURE}."])

    @property
    def dummy(self) -> str:
        return f"$argon2id$v=19$m=65536,t=3,p=4${'A' * 22}${'A' * 43}"

    def hash(self, password: str, /) -> str:
        assert self._hasher is not None  # noqa: S101 - only a required scheme hashes
        return self._hasher.hash(password)

    def check(self, stored: str, password: str, /) -> Verdict | None:
        if not stored.startswith("$argon2"):
            return None
        self._hasher = self._hasher or _hasher()
        if self._hasher is None:
            # Not raised: an error would tell that this account exists, and what it has (G4).
            logger.error("A stored password hash is argon2, and its package is missing: %s", _CURE)
            return None
        return _compare(self._hasher, stored, password)


def _hasher() -> PasswordHasher | None:
    try:
        from argon2 import PasswordHasher
    except ImportError:
        return None
    # Spelt out, so that a new release of the package doesn't make dummy hashes of another cost (RFC 9106, 4).
    return PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4, hash_len=32, salt_len=16)


def _compare(hasher: PasswordHasher, stored: str, password: str) -> Verdict | None:
    from argon2 import extract_parameters
    from argon2.exceptions import Argon2Error, InvalidHashError, VerifyMismatchError

    try:
        cost = extract_parameters(stored)
        if cost.memory_cost > _MOST_MEMORY or cost.time_cost > _MOST_TIME:
            return None
        hasher.verify(stored, password)
    except VerifyMismatchError:
        return Verdict.WRONG
    except (InvalidHashError, Argon2Error, ValueError):
        return None
    return Verdict.STALE if hasher.check_needs_rehash(stored) else Verdict.RIGHT
