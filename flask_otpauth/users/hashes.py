"""
Schemes of password hashes, each with the format that it reads and writes.

Parameters in a stored hash are bounded before any work is done: a row must not be able to stop the server.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Mapping
from enum import Enum
from typing import Protocol

import bcrypt
from werkzeug.security import check_password_hash, generate_password_hash

_OWN = re.compile(r"otpauth\$([A-Za-z0-9_.*-]{1,32})(\$2b\$([0-9]{2})\$[./A-Za-z0-9]{53})")
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_SCRYPT = re.compile(r"scrypt:([0-9]{1,7}):([0-9]{1,2}):([0-9]{1,2})\$[^$]{1,64}\$[0-9a-f]{128}")
_PBKDF2 = re.compile(r"pbkdf2:(sha1|sha256|sha512):([0-9]{1,7})\$[^$]{1,64}\$[0-9a-f]{40,128}")

_PUBLIC_ID = "*"
_PUBLIC_KEY = b"flask-otpauth password pre-hash"
"""Key where ``OTPAUTH_PEPPERS`` isn't set; public, and its id is none that the setting could have."""

_BCRYPT_BYTES = 72
_ROUNDS = range(4, 17)
_ITERATIONS = range(1, 5_000_001)
_SCRYPT_LANES = range(1, 65)
_SCRYPT_MEMORY = range(2, 2**23 + 1)  # in units of 128 bytes: 1 GiB is enough for anybody


class Verdict(Enum):
    """What became of a comparison."""

    WRONG = "wrong"
    RIGHT = "right"
    STALE = "stale"
    """Right, and to be hashed again: another scheme, key or cost is configured now."""


class Format(Protocol):
    """
    One format of stored hashes.

    ``check`` takes a password in NFC without lone surrogates. It gives None, without work, for a hash that isn't of
    this format, is corrupt, or would cost too much.
    """

    def check(self, stored: str, password: str, /) -> Verdict | None: ...


class Scheme(Format, Protocol):
    """
    A format that new hashes are made in.

    ``dummy`` is a hash that no password has, of the cost that new ones get: made up, so that it costs nothing.
    """

    @property
    def dummy(self) -> str: ...

    def hash(self, password: str, /) -> str: ...


class Peppered:
    """
    ``otpauth$<key id>$2b$<cost>$<salt and hash>``: bcrypt over base64 of HMAC-SHA-384 of the password.

    The pre-hash gives 64 characters: bcrypt reads 72 bytes at most, and stops at a NUL.
    """

    def __init__(self, peppers: Mapping[str, bytes], rounds: int) -> None:
        self._keys = {_PUBLIC_ID: _PUBLIC_KEY, **peppers}
        self._current = list(self._keys)[-1]
        self._rounds = rounds

    @property
    def dummy(self) -> str:
        return f"otpauth${self._current}$2b${self._rounds:02d}${'.' * 53}"

    def hash(self, password: str, /) -> str:
        hashed = bcrypt.hashpw(_prehash(self._keys[self._current], password), bcrypt.gensalt(self._rounds))
        return f"otpauth${self._current}{hashed.decode('ascii')}"

    def check(self, stored: str, password: str, /) -> Verdict | None:
        found = _OWN.fullmatch(stored)
        if found is None or found[1] not in self._keys or int(found[3]) not in _ROUNDS:
            return None
        fresh = found[1] == self._current and int(found[3]) == self._rounds
        return _bcrypt(_prehash(self._keys[found[1]], password), found[2], fresh=fresh)


class Bcrypt:
    """Plain bcrypt of a host, which read the first 72 bytes of a password; verified, never made."""

    def check(self, stored: str, password: str, /) -> Verdict | None:
        found = _BCRYPT.fullmatch(stored)
        # bcrypt stops at a NUL: "abc\0..." would open what "abc" opens.
        if found is None or "\0" in password or int(found[1]) not in _ROUNDS:
            return None
        return _bcrypt(password.encode()[:_BCRYPT_BYTES], stored, fresh=False)


class Scrypt:
    """``scrypt:32768:8:1$<salt>$<hash>``, Werkzeug's."""

    @property
    def dummy(self) -> str:
        return f"scrypt:32768:8:1${'.' * 16}${'0' * 128}"

    def hash(self, password: str, /) -> str:
        return generate_password_hash(password, "scrypt:32768:8:1")

    def check(self, stored: str, password: str, /) -> Verdict | None:
        found = _SCRYPT.fullmatch(stored)
        if found is None:
            return None
        cost, block, lanes = (int(number) for number in found.groups())
        if block * lanes not in _SCRYPT_LANES or cost * block not in _SCRYPT_MEMORY:
            return None
        return _werkzeug(stored, password, fresh=(cost, block, lanes) == (32768, 8, 1))


class Pbkdf2:
    """``pbkdf2:sha256:<iterations>$<salt>$<hash>``, Werkzeug's; SHA-1 and SHA-512 are verified too."""

    def __init__(self, iterations: int) -> None:
        self._iterations = iterations

    @property
    def dummy(self) -> str:
        return f"pbkdf2:sha256:{self._iterations}${'.' * 16}${'0' * 64}"

    def hash(self, password: str, /) -> str:
        return generate_password_hash(password, f"pbkdf2:sha256:{self._iterations}")

    def check(self, stored: str, password: str, /) -> Verdict | None:
        found = _PBKDF2.fullmatch(stored)
        if found is None or int(found[2]) not in _ITERATIONS:
            return None
        return _werkzeug(stored, password, fresh=found[1] == "sha256" and int(found[2]) >= self._iterations)


def _bcrypt(raw: bytes, stored: str, *, fresh: bool) -> Verdict | None:
    try:
        right = bcrypt.checkpw(raw, stored.encode("ascii"))
    except ValueError:  # the salt has bits that none has
        return None
    return _verdict(right, fresh)


def _werkzeug(stored: str, password: str, *, fresh: bool) -> Verdict | None:
    try:
        right = check_password_hash(stored, password)
    except ValueError:  # parameters that no hash can have
        return None
    return _verdict(right, fresh)


def _verdict(right: bool, fresh: bool) -> Verdict:
    if not right:
        return Verdict.WRONG
    return Verdict.RIGHT if fresh else Verdict.STALE


def _prehash(key: bytes, password: str) -> bytes:
    return base64.b64encode(hmac.digest(key, password.encode(), "sha384"))
