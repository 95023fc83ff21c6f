"""Passwords: how they are hashed, verified and judged."""

from __future__ import annotations

import gzip
import logging
import unicodedata
from collections.abc import Sequence
from importlib.resources import files

from ..config import Settings
from ..errors import ServiceUnavailable
from ..types import PasswordValidator
from .argon2_hashes import Argon2
from .hashes import Bcrypt, Format, Pbkdf2, Peppered, Scheme, Scrypt, Verdict
from .identifiers import fold, printable

__all__ = ["LONGEST", "Passwords", "Verdict"]

logger: logging.Logger = logging.getLogger("flask_otpauth")

LONGEST = 1024
"""Characters of a password, after NFC; OWASP's bound against long inputs, well above NIST's 64 (800-63B-4, 3.1.1.2)."""


class Passwords:
    """
    Hashes and judges the passwords of one app.

    New hashes are of ``OTPAUTH_PASSWORD_HASH``; hashes of every known scheme are verified. Nothing here depends on
    ``SECRET_KEY``.

    Raises:
        ConfigurationError: The scheme is argon2, and its package is missing.
    """

    def __init__(
        self, settings: Settings, *, names: tuple[str, ...], validators: Sequence[PasswordValidator] = ()
    ) -> None:
        self._shortest = settings.shortest_password
        self._blocked = frozenset(fold(word) for word in (*names, *settings.password_blocklist))
        self._validators = validators
        self._common: frozenset[str] | None = None
        chosen = settings.password_hash
        schemes: dict[str, Scheme] = {
            "bcrypt": Peppered(settings.peppers or {}, settings.bcrypt_rounds),
            "pbkdf2:sha256:600000": Pbkdf2(600_000),
            "scrypt": Scrypt(),
            "argon2": Argon2(required=chosen == "argon2"),
        }
        self._current = schemes[chosen]
        self._formats: tuple[Format, ...] = (*schemes.values(), Bcrypt())

    def hash(self, password: str) -> str:
        """Hash a password that ``faults`` finds none in; slow by design, the GIL is released meanwhile."""
        return self._current.hash(unicodedata.normalize("NFC", password))

    def verify(self, stored: str | None, password: str) -> Verdict:
        """
        Compare in constant time.

        Without a stored hash (unknown user), and with one that is corrupt or of an unknown scheme, the work of the
        configured scheme is done all the same, and the verdict is WRONG.
        """
        text = unicodedata.normalize("NFC", password)
        usable = len(text) <= LONGEST and _encodable(text)
        for known in self._formats if usable and stored is not None else ():
            verdict = known.check(stored or "", text)
            if verdict is Verdict.RIGHT and known is not self._current:
                return Verdict.STALE
            if verdict is not None:
                return verdict
        self._current.check(self._current.dummy, text if usable else "")
        return Verdict.WRONG

    def faults(self, password: str, *, username: str | None = None, email: str | None = None) -> list[str]:
        """
        Tell why a password can't be chosen, one sentence a fault; none repeats it.

        Refused for being equal (NFC, case-folded) to something easily guessed, never for containing it (NIST
        SP 800-63B-4, 3.1.1.2); there are no rules of composition.

        Raises:
            ServiceUnavailable: A validator of the host raised.
        """
        text = unicodedata.normalize("NFC", password)
        faults: list[str] = []
        if len(text) < self._shortest:
            faults.append(f"A password has at least {self._shortest} characters.")
        if len(text) > LONGEST:
            return [f"A password has at most {LONGEST} characters."]
        if not printable(text):
            faults.append("A password can't hold control characters.")
        folded = fold(text)
        own = (username, email, email.partition("@")[0] if email else None)
        if folded in self._blocked or any(word and folded == fold(word) for word in own):
            faults.append("This password is too easy to guess.")
        elif folded in self._commonest():
            faults.append("This password is one of the most common ones.")
        return faults or self._refusals(password)

    def _refusals(self, password: str) -> list[str]:
        """Ask the host, about passwords that pass our own rules only: his look-up may be slow, or cost money."""
        try:
            told = [_asked(validator, password) for validator in self._validators]
        except Exception as error:  # noqa: BLE001 - a hook may raise anything
            # Its name alone: the text of the error may hold the password.
            logger.error("The password_validator hook failed: %s", type(error).__name__)  # noqa: TRY400
            raise ServiceUnavailable from None
        if not all(sentence is None or sentence is True or isinstance(sentence, str) for sentence in told):
            logger.error("The password_validator hook gave neither a sentence nor None")
            raise ServiceUnavailable
        return [sentence for sentence in told if isinstance(sentence, str)]

    def _commonest(self) -> frozenset[str]:
        if self._common is None:
            packed = files(__package__ or "").joinpath("common_passwords.txt.gz").read_bytes()
            self._common = frozenset(gzip.decompress(packed).decode().splitlines())
        return self._common


def _asked(validator: PasswordValidator, password: str) -> object:
    try:
        return validator(password)
    except ValueError as error:
        # Of that very class, with a sentence of its own: what a parser raises quotes what it was given.
        if type(error) is not ValueError or not str(error) or password in str(error):
            raise
        return str(error)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
