"""The fields' own names, and whether the host's wire names of them can be told apart."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ..config import Settings

ADDRESSES = ("phone", "email")
NAMINGS = ("identifier", "username", "email", "phone")
USER_FIELDS = ("id", "username", "email", "phone", "roles")
CHALLENGE_FIELDS = (
    "mfa_required", "challenge_id", "purpose", "channel", "destination", "methods", "expires_at", "expires_in",
    "resend_at", "resend_in", "attempts_left", "message",
)  # fmt: skip
LOGIN_FIELDS = ("access_token", "refresh_token", "token_type", "expires_in", "user", "session", "message")
MFA_FIELDS = ("mfa_enabled", "factors")
PROBLEM_FIELDS = ("attempts_left", "retry_after", "resend_at", "max_age")
STANDARD_FIELDS = ("type", "title", "status", "detail", "code", "errors")
"""Members of each problem (RFC 9457) that keep their names."""
REQUEST_FIELDS = (*NAMINGS, "password", "otp", "challenge_id", "method", "channel", "trust_device")


def name_faults(settings: Settings, register_fields: Iterable[str]) -> list[str]:
    """Tell what is wrong with ``OTPAUTH_FIELD_NAMES`` and ``OTPAUTH_EXTRA_FIELDS``, each with its cure."""
    profile = tuple(register_fields)
    objects = (
        (*REQUEST_FIELDS, *settings.extra_fields),
        (*profile, *settings.extra_fields),
        USER_FIELDS,
        CHALLENGE_FIELDS,
        LOGIN_FIELDS,
        MFA_FIELDS,
        PROBLEM_FIELDS,
    )
    known = {name for names in objects for name in names}
    faults = [_unknown(name, known) for name in settings.field_names if name not in known]
    taken = [name for name in settings.extra_fields if name in {*REQUEST_FIELDS, *profile}]
    faults += [f"OTPAUTH_EXTRA_FIELDS names {name!r}, which is a field already; choose another name." for name in taken]
    for names in objects:
        standard = STANDARD_FIELDS if names is PROBLEM_FIELDS else ()
        wires = [*standard, *(settings.wire(name) for name in dict.fromkeys(names))]
        doubles = sorted({wire for wire in wires if wires.count(wire) > 1})
        faults += [f"OTPAUTH_FIELD_NAMES makes two fields {wire!r}; choose another name." for wire in doubles]
    return list(dict.fromkeys(faults))


def _unknown(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    hint = f"did you mean {close[0]!r}?" if close else "remove it."
    return f"OTPAUTH_FIELD_NAMES names {name!r}, which is no field; {hint}"
