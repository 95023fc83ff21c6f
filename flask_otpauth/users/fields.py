"""The canonical fields of a user, and the snapshot made of what a model or a store holds under them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from ..crypto import digest
from ..types import Account, Flags, Kind

FIELDS = (
    "username",
    "email",
    "phone",
    "password_hash",
    "role",
    "roles",
    "active",
    "mfa_enabled",
    "email_verified",
    "phone_verified",
)
"""What ``OTPAUTH_USER_FIELDS`` may map; attributes have the same names by default."""


def unknown_fields(fields: Mapping[str, str]) -> list[str]:
    """Tell which keys of ``OTPAUTH_USER_FIELDS`` are no fields, one sentence each."""
    return [
        f"OTPAUTH_USER_FIELDS maps {name!r}, which is no field; {closest(name, FIELDS)}"
        for name in fields
        if name not in FIELDS
    ]


def closest(name: str, known: Iterable[str]) -> str:
    """Give the cure for a misspelt name."""
    words = list(known)
    found = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else f"choose one of {', '.join(words)}."


def account(user_id: str, values: Mapping[str, object], flags: Flags) -> Account:
    """
    Make the snapshot of a user.

    ``values`` holds what the model has, by canonical name; what it lacks comes from ``flags`` or is off. A user whose
    ``active`` is NULL is disabled.
    """
    username, email, phone = (_text(values.get(kind.value)) for kind in (Kind.USERNAME, Kind.EMAIL, Kind.PHONE))
    claims: set[Kind] = set()
    if flags.claimed is not None:
        kind = Kind.EMAIL if "@" in flags.claimed else Kind.PHONE
        if kind is Kind.EMAIL and email is None:
            email, claims = flags.claimed, {kind}
        elif kind is Kind.PHONE and phone is None:
            phone, claims = flags.claimed, {kind}
    return Account(
        id=user_id,
        username=username,
        email=email,
        phone=phone,
        password_hash=_text(values.get("password_hash")),
        roles=roles(values.get("role"), values.get("roles")),
        active=bool(values.get("active", True)),
        mfa_enabled=bool(values.get("mfa_enabled", flags.mfa_enabled)),
        email_verified=email is not None and bool(values.get("email_verified", flags.email == digest(email))),
        phone_verified=phone is not None and bool(values.get("phone_verified", flags.phone == digest(phone))),
        claims=frozenset(claims),
        registered=flags.registered,
    )


def roles(*values: object) -> frozenset[str]:
    """
    Give the names of roles.

    Each value is a name, several with commas between, an enum (its value, if that is text), an object with ``name``,
    or a collection of these.
    """
    return frozenset(name for value in values for name in _names(value))


def _names(value: object) -> Iterator[str]:
    if isinstance(value, Enum):
        yield value.value if isinstance(value.value, str) else value.name
    elif isinstance(value, str):
        yield from (name.strip() for name in value.split(",") if name.strip())
    elif isinstance(value, Iterable):
        for one in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _names(one)  # pyright: ignore[reportUnknownArgumentType]
    elif value is not None:
        yield str(getattr(value, "name", value))


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)
