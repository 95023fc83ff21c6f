"""Keys, digests and ids: one key a use, each derived from the app's secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def digest(secret: str) -> bytes:
    """Give what is stored in place of a 256-bit id: its SHA-256, 32 bytes. Too random to need a salt or a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def new_id() -> str:
    """Make an id of 256 bits, base64url, 43 characters."""
    return secrets.token_urlsafe(32)


def mint(digits: int) -> str:
    """Make a code: uniform over all of ``digits`` decimal digits, leading zeros kept."""
    return f"{secrets.randbelow(10**digits):0{digits}d}"


def base64url(raw: bytes) -> str:
    """Encode without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def index(*parts: str) -> bytes:
    """Give the 32-byte key of a budget. Not keyed: a rotation of the secret must give no failure back."""
    return hashlib.sha256(_framed(parts)).digest()


class Keyring:
    """
    The app's secret and its predecessors; ``secrets`` are newest first.

    Keys are derived by HKDF-SHA-256 (RFC 5869) with a label a use, so that none is good for two things.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._codes = tuple(_derive(secret, "code digest") for secret in secrets)
        self._tokens = tuple(_derive(secret, "access token").hex() for secret in secrets)
        self._seal = MultiFernet(
            [Fernet(base64.urlsafe_b64encode(_derive(secret, "sealed data"))) for secret in secrets]
        )

    @property
    def token_keys(self) -> tuple[str, ...]:
        """Keys of JWTs (64 hexadecimal digits), the current one first."""
        return self._tokens

    def code_digest(self, code: str, *bound: str) -> bytes:
        """Give HMAC-SHA-256 of a code with all that it is bound to, each length-prefixed; 32 bytes."""
        return _hmac(self._codes[0], (*bound, code))

    def code_matches(self, stored: bytes | None, code: str, *bound: str) -> bool:
        """Compare in constant time, under the current key and each earlier one; without a digest nothing matches."""
        # The work is the same without a digest, so that its time doesn't tell a decoy.
        wanted = stored if stored is not None else secrets.token_bytes(32)
        found = False
        for key in self._codes:
            found |= hmac.compare_digest(_hmac(key, (*bound, code)), wanted)
        return found and stored is not None

    def seal(self, value: Mapping[str, object]) -> str:
        """Encrypt a JSON object, authenticated."""
        return self._seal.encrypt(json.dumps(value).encode()).decode("ascii")

    def unseal(self, sealed: str) -> dict[str, object] | None:
        """Give what was sealed under the current key or an earlier one; None when it wasn't."""
        try:
            value: dict[str, object] = json.loads(self._seal.decrypt(sealed.encode()))
        except InvalidToken:
            return None
        return value


def _derive(secret: bytes, label: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"flask-otpauth " + label.encode()).derive(secret)


def _hmac(key: bytes, parts: Sequence[str]) -> bytes:
    return hmac.digest(key, _framed(parts), "sha256")


def _framed(parts: Sequence[str]) -> bytes:
    # Length-prefixed, so that no two different tuples give the same bytes.
    encoded = (part.encode("utf-8", "surrogatepass") for part in parts)
    return b"".join(len(raw).to_bytes(4, "big") + raw for raw in encoded)
