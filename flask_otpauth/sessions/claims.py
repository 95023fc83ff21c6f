"""What our tokens say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ..crypto import base64url, digest
from ..errors import AuthenticationRequired
from ..types import Instant, method_names, public_methods, via

SKEW = 10_000
"""Milliseconds that the clock of another server of the same app may be ahead."""


RESERVED = frozenset(
    {
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti"),
        *("sid", "type", "fresh", "auth_time", "amr", "otp_via", "otp_time", "csrf"),
    }
)
"""Claims that no loader of the host may write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """
    The claims of one token whose signature is right.

    Attributes:
        key: SHA-256 of ``sid``, 32 bytes: the session's row. ``id``: the same, base64url.
        jti: For a refresh token the 256-bit id that is good for one exchange.
        auth_time, code_at: When the user last authenticated for this token, and when he last proved a code for it.
        fresh: False for a token that a refresh gave.
        csrf: Double-submit value for a token that travels in a cookie.
    """

    key: bytes = field(repr=False)
    id: str
    sid: str = field(repr=False)
    subject: str
    jti: str = field(repr=False)
    amr: tuple[str, ...]
    auth_time: Instant
    code_at: Instant | None
    fresh: bool
    not_before: Instant
    expires_at: Instant
    csrf: str | None = field(default=None, repr=False)

    def check_time(self, now: Instant, leeway: int) -> None:
        """
        Check ``nbf`` and ``exp``; ``leeway`` in seconds.

        Raises:
            AuthenticationRequired: The token isn't good yet, or no longer.
        """
        early = max(leeway * 1000, SKEW)
        if not self.not_before - early <= now < self.expires_at + leeway * 1000:
            raise AuthenticationRequired("The token has expired.", token_rejected=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """
    What a pair of tokens is to say.

    Attributes:
        sid: Plain id of the session. ``refresh``: ``jti`` of the refresh token.
        ends_at: When the whole family of refresh tokens ends.
    """

    user_id: str
    sid: str = field(repr=False)
    refresh: str = field(repr=False)
    amr: tuple[str, ...]
    auth_time: Instant
    code_at: Instant | None
    fresh: bool
    now: Instant
    ends_at: Instant


def written(grant: Grant, kind: str, *, jti: str, lifetime: int) -> dict[str, Any]:
    """Give the claims that are ours to decide; ``lifetime`` in seconds is for an access token."""
    seconds = grant.now // 1000
    claims: dict[str, Any] = {
        "sub": grant.user_id,
        "sid": grant.sid,
        "jti": jti,
        "type": kind,
        "fresh": grant.fresh and kind == "access",
        "iat": seconds,
        "exp": seconds + lifetime if kind == "access" else grant.ends_at // 1000,
        "auth_time": grant.auth_time // 1000,
        "amr": list(public_methods(grant.amr)),
    }
    if further := sorted(method_names(grant.amr).difference(grant.amr)):
        claims["otp_via"] = further
    if grant.code_at is not None:
        claims["otp_time"] = grant.code_at // 1000
    return claims


def understood(payload: Mapping[str, Any], kind: str) -> Claims:
    """
    Read verified claims; ``kind`` is "access" or "refresh".

    Raises:
        AuthenticationRequired: A claim that we need is missing or odd: the token isn't one of ours, or is of the
            other kind.
    """
    sid, subject, jti, amr = (payload.get(name) for name in ("sid", "sub", "jti", "amr"))
    exp, auth_time = _instant(payload, "exp"), _instant(payload, "auth_time")
    if (
        payload.get("type") != kind
        or not (isinstance(sid, str) and sid and isinstance(subject, str) and isinstance(jti, str) and jti)
        or not isinstance(amr, list)
        or exp is None
        or auth_time is None
    ):
        raise AuthenticationRequired(token_rejected=True)
    csrf, key, channels = payload.get("csrf"), digest(sid), payload.get("otp_via")
    further = cast("list[object]", channels) if isinstance(channels, list) else []
    proved = (*map(str, cast("list[object]", amr)), *(via(str(channel)) for channel in further))
    return Claims(
        key=key,
        id=base64url(key),
        sid=sid,
        subject=subject,
        jti=jti,
        amr=proved,
        auth_time=auth_time,
        code_at=_instant(payload, "otp_time"),
        fresh=payload.get("fresh") is True,
        not_before=max(_instant(payload, "nbf") or 0, _instant(payload, "iat") or 0),
        expires_at=exp,
        csrf=csrf if isinstance(csrf, str) else None,
    )


def _instant(payload: Mapping[str, Any], name: str) -> Instant | None:
    seconds = payload.get(name)
    return seconds * 1000 if isinstance(seconds, int) and not isinstance(seconds, bool) else None
