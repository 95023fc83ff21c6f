"""What forms ask for, and what they send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from ..errors import FieldError, MalformedRequest, PayloadTooLarge
from ..schemas import is_clean
from .csrf import field_name

if TYPE_CHECKING:
    from ..config import Settings

BODY_LIMIT = 16 * 1024
"""Bytes of a form."""

REPEATED = "password_repeat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """
    One field of a form.

    Attributes:
        key: Its own name, by which texts are found. ``name``: what it is called on the wire.
        required: Whether the form can't be sent without it.
        either: Whether it or another one must be there.
        hint: Name of the text below it; None for none.
    """

    key: str
    name: str
    type: str = "text"
    autocomplete: str = "off"
    required: bool = True
    either: bool = False
    hint: str | None = None

    @property
    def secret(self) -> bool:
        """Whether what was typed is never shown again."""
        return self.type == "password"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    type: str = "text"
    autocomplete: str = "off"
    hint: str | None = None


_KINDS: Mapping[str, _Kind] = {
    "username": _Kind(autocomplete="username", hint="username"),
    "email": _Kind(type="email", autocomplete="email"),
    "phone": _Kind(type="tel", autocomplete="tel", hint="phone"),
    "name": _Kind(autocomplete="name"),
}


def register_form(settings: Settings, fields: Mapping[str, bool], either: Sequence[str]) -> tuple[Field, ...]:
    """Give the fields of a registration, of which some may stand for each other; the password comes last, and twice."""
    shown = [
        _field(settings, name, required or either == (name,), either=name in either)
        for name, required in fields.items()
        if name != "password"
    ]
    if "password" in fields:
        required = fields["password"]
        shown += [
            _password(settings, required, autocomplete="new-password", hint="password"),
            Field(
                key=REPEATED, name=REPEATED, type="password", autocomplete="new-password", required=required, hint=None
            ),
        ]
    return tuple(shown)


def login_form(settings: Settings) -> tuple[Field, ...]:
    """Give the fields of a login."""
    key = settings.identifiers[0] if len(settings.identifiers) == 1 else "identifier"
    kind = _KINDS.get(key, _KINDS["username"]).type
    identifier = Field(key=key, name=settings.wire(key), type=kind, autocomplete="username")
    if settings.passwordless:
        return (identifier,)
    return identifier, _password(settings, required=True, autocomplete="current-password")


def password_form(settings: Settings) -> tuple[Field, ...]:
    """Give the field of a step-up by password."""
    return (_password(settings, required=True, autocomplete="current-password"),)


def code_form(settings: Settings) -> tuple[Field, ...]:
    """Give the field of a code."""
    return (Field(key="otp", name=settings.wire("otp"), autocomplete="one-time-code"),)


def read_form(request: Request, settings: Settings) -> dict[str, str]:
    """
    Give what a form sends, without its token and without what was left empty.

    Blanks around a text are dropped, but for passwords.

    Raises:
        PayloadTooLarge: More than 16 KiB.
        MalformedRequest: A field twice, a file, or a character that no text may have.
    """
    sent = _sent(request)
    if request.files or not is_clean(list(sent)) or not is_clean([value for _, value in sent]):
        raise MalformedRequest("The form has a character or a file that it may not have.")
    body = dict(sent)
    if len(body) != len(sent):
        raise MalformedRequest("A field of the form appears twice.")
    body.pop(field_name(), None)
    exact = {settings.wire("password"), REPEATED}
    trimmed = {name: value if name in exact else value.strip() for name, value in body.items()}
    return {name: value for name, value in trimmed.items() if value}


def take_repeated(body: dict[str, str], settings: Settings) -> list[FieldError]:
    """Take the second password out of a registration, and tell where it isn't the first one."""
    repeated = body.pop(REPEATED, None)
    if body.get(settings.wire("password")) == repeated:
        return []
    return [FieldError(field=REPEATED, message="The two passwords are not the same.")]


def _sent(request: Request) -> list[tuple[str, str]]:
    own = request.max_content_length
    request.max_content_length = BODY_LIMIT if own is None else min(own, BODY_LIMIT)
    try:
        return list(request.form.items(multi=True))
    except RequestEntityTooLarge:
        raise PayloadTooLarge from None
    except Exception:  # noqa: BLE001 - each server has its own errors for a broken body
        raise MalformedRequest("The form could not be read.") from None


def _field(settings: Settings, key: str, required: bool, *, either: bool) -> Field:
    kind = _KINDS.get(key, _Kind())
    return Field(
        key=key,
        name=settings.wire(key),
        type=kind.type,
        autocomplete=kind.autocomplete,
        required=required,
        either=either,
        hint=kind.hint,
    )


def _password(settings: Settings, required: bool, *, autocomplete: str, hint: str | None = None) -> Field:
    return Field(
        key="password",
        name=settings.wire("password"),
        type="password",
        autocomplete=autocomplete,
        required=required,
        hint=hint,
    )
