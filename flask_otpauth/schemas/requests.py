"""What each endpoint takes: strict schemas, built once per app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, cast

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic refuses that of typing before Python 3.12

from ..config import Settings
from ..errors import FieldError, ValidationFailed
from ..types import Kind
from .names import ADDRESSES, NAMINGS

MAX_ERRORS = 20
"""Entries of ``errors`` in one answer: 16 KiB hold thousands of unknown names."""

IDENTIFIER_LENGTH = 320
PASSWORD_LENGTH = 1024
CHALLENGE_ID_LENGTH = 128
NAME_LENGTH = 64
TEXT_LENGTH = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """
    A registration.

    Attributes:
        fields: Those that have the right shape, by their own names.
        extra: The host's further ones.
        faults: What is wrong with the shape of others, one entry a field; with any of them nothing may be registered.
    """

    fields: Mapping[str, str] = field(repr=False)
    extra: Mapping[str, str]
    faults: Sequence[FieldError] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """The start of a login. ``kind`` is None for the field ``identifier``; ``otp`` is digits alone."""

    identifier: str
    kind: Kind | None
    password: str | None = field(repr=False)
    otp: str | None = field(repr=False)
    extra: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """A code for the challenge named by its id, by an identifier, or (neither) by the browser's cookie."""

    challenge_id: str | None = field(repr=False)
    identifier: str | None
    kind: Kind | None
    otp: str = field(repr=False)
    method: str | None
    trust_device: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """A wish for another code; the challenge is named as in ``Verify``."""

    challenge_id: str | None = field(repr=False)
    identifier: str | None
    kind: Kind | None
    channel: str | None
    extra: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUp:
    """A wish for fresh credentials."""

    method: str | None
    password: str | None = field(repr=False)
    extra: Mapping[str, str]


class Schemas:
    """
    The request schemas of one app.

    Args:
        register_fields: ``{name: required}`` of registration.
        one_address: Whether one of the optional ``phone`` and ``email`` must be given.
        profile_fields: Longest value in characters of profile fields among ``register_fields`` whose column has a
            bound (PostgreSQL refuses longer ones); 2,048 for others. Identifiers are measured when they are read: what
            was typed may be longer than its canonical form.

    Raises:
        ValidationFailed: From each method but ``register``: one entry a field, by its wire name, without the input.
    """

    def __init__(
        self,
        settings: Settings,
        register_fields: Mapping[str, bool],
        one_address: bool,
        profile_fields: Mapping[str, int | None],
    ) -> None:
        self._wire = settings.wire
        self._extra = settings.extra_fields
        self._namings = tuple(name for name in NAMINGS if name == "identifier" or name in settings.identifiers)
        # The one way to name a user, which is then what is missing where nobody is named.
        self._sole = settings.identifiers[0] if len(settings.identifiers) == 1 else None
        self._by_identifier = settings.challenge_lookup == "identifier"
        addresses = [name for name in ADDRESSES if register_fields.get(name) is False]
        self._addresses = tuple(addresses) if one_address else ()
        self._register_names = tuple(register_fields)
        extra = {name: _text(TEXT_LENGTH) for name in self._extra}
        names = {name: _text(IDENTIFIER_LENGTH) for name in self._namings}
        lengths = {name: _length(name, profile_fields) for name in register_fields}
        required = {name for name, needed in register_fields.items() if needed}
        password, otp = _text(PASSWORD_LENGTH), _code(settings.digits)
        named = {"challenge_id": _text(CHALLENGE_ID_LENGTH)} | (names if self._by_identifier else {})
        method = {"method": _text(NAME_LENGTH)}

        def reader(name: str, fields: Mapping[str, Any], *needed: str) -> _Reader:
            return _Reader(name, fields, needed, settings)

        self._register = reader("Register", {name: _text(most) for name, most in lengths.items()} | extra, *required)
        if settings.passwordless:
            self._login = reader("Login", names | ({"otp": otp} if self._by_identifier else {}) | extra)
        else:
            self._login = reader("Login", names | {"password": password} | extra, "password")
        self._verify = reader("VerifyOtp", named | {"otp": otp, "trust_device": bool} | method, "otp")
        self._resend = reader("ResendOtp", named | {"channel": _text(NAME_LENGTH)} | extra)
        self._step_up = reader("StepUp", method | {"password": password} | extra)
        self._mfa = reader("Mfa", {"mfa_enabled": bool}, "mfa_enabled")
        self._nothing = reader("Nothing", {})

    @property
    def either(self) -> tuple[str, ...]:
        """Addresses of a registration of which at least one must be given, by their own names."""
        return self._addresses

    def register(self, body: Mapping[str, Any]) -> Register:
        """Check the request of ``register``; its faults are told with those that the flow finds in the other fields."""
        values, faults = self._register.read(body)
        if self._addresses and not any(self._wire(name) in body for name in self._addresses):
            faults += [FieldError(field=self._wire(name), message="Give one of these.") for name in self._addresses]
        fields = {name: values[name] for name in self._register_names if name in values}
        return Register(fields=fields, extra=self._extras(values), faults=_unique(faults))

    def login(self, body: Mapping[str, Any]) -> Login:
        """Check the request of ``login``: one of the four ways to name a user, and the rest."""
        values, faults = self._login.read(body)
        name = self._named(body, self._namings, self._sole or "identifier", faults)
        _refuse(faults)
        return Login(
            identifier=values[name],
            kind=_kind(name),
            password=values.get("password"),
            otp=_digits(values.get("otp")),
            extra=self._extras(values),
        )

    def verify(self, body: Mapping[str, Any], *, pending: bool) -> Verify:
        """Check the request of ``verify-otp``; ``pending`` says that the browser's cookie names a challenge."""
        values, faults = self._verify.read(body)
        name = self._challenge(body, faults, pending=pending)
        _refuse(faults)
        return Verify(
            challenge_id=values.get("challenge_id"),
            identifier=values.get(name) if name != "challenge_id" else None,
            kind=_kind(name),
            otp=_digits(values["otp"]) or "",
            method=values.get("method"),
            trust_device=values.get("trust_device", False),
        )

    def resend(self, body: Mapping[str, Any], *, pending: bool) -> Resend:
        """Check the request of ``resend-otp``; ``pending`` as in ``verify``."""
        values, faults = self._resend.read(body)
        name = self._challenge(body, faults, pending=pending)
        _refuse(faults)
        return Resend(
            challenge_id=values.get("challenge_id"),
            identifier=values.get(name) if name != "challenge_id" else None,
            kind=_kind(name),
            channel=values.get("channel"),
            extra=self._extras(values),
        )

    def step_up(self, body: Mapping[str, Any]) -> StepUp:
        """Check the request of ``step-up``."""
        values, faults = self._step_up.read(body)
        _refuse(faults)
        return StepUp(method=values.get("method"), password=values.get("password"), extra=self._extras(values))

    def mfa(self, body: Mapping[str, Any]) -> bool:
        """Check the request that switches the second factor; give whether it is to be on."""
        values, faults = self._mfa.read(body)
        _refuse(faults)
        return bool(values["mfa_enabled"])

    def nothing(self, body: Mapping[str, Any]) -> None:
        """Check the request of an endpoint that takes no field."""
        _refuse(self._nothing.read(body)[1])

    def shapes(self) -> dict[str, Any]:
        """Give what the requests are checked by: pydantic's ``TypedDict`` of each, by its name."""
        return {one.name: one.shape for one in vars(self).values() if isinstance(one, _Reader)}

    def choices(self) -> dict[str, list[tuple[tuple[str, ...], bool]]]:
        """Give, by the name of a shape, groups of wire names of which one must be there; True: and no other."""
        naming = tuple(map(self._wire, self._namings))
        challenge = (self._wire("challenge_id"), *(naming if self._by_identifier else ()))
        addresses = tuple(map(self._wire, self._addresses))
        found = {"Login": (naming, True), "VerifyOtp": (challenge, True), "ResendOtp": (challenge, True)}
        return {name: [group] for name, group in (found | {"Register": (addresses, False)}).items() if group[0]}

    def _challenge(self, body: Mapping[str, Any], faults: list[FieldError], *, pending: bool) -> str:
        namings = ("challenge_id", *(self._namings if self._by_identifier else ()))
        if pending and not any(self._wire(name) in body for name in namings):
            return "challenge_id"
        wanted = self._sole if self._by_identifier else None
        return self._named(body, namings, wanted or "challenge_id", faults)

    def _named(self, body: Mapping[str, Any], namings: Sequence[str], wanted: str, faults: list[FieldError]) -> str:
        given = [name for name in namings if self._wire(name) in body]
        if not given:
            faults.append(FieldError(field=self._wire(wanted), message=_MESSAGES["missing"]))
            return wanted
        message = f"Leave this out: {self._wire(given[0])!r} is given."
        faults += [FieldError(field=self._wire(surplus), message=message) for surplus in given[1:]]
        return given[0]

    def _extras(self, values: Mapping[str, Any]) -> dict[str, str]:
        return {name: values[name] for name in self._extra if name in values} if self._extra else {}


_MESSAGES = {
    "missing": "This field is required.",
    "extra_forbidden": "There is no such field here.",
    "string_type": "This must be a string.",
    "bool_type": "This must be true or false.",
    "string_too_short": "This must not be empty.",
}


class _Reader:
    """One schema: a pydantic ``TypedDict``, because its fields may have any name and it gives a plain ``dict``."""

    def __init__(self, name: str, fields: Mapping[str, Any], required: Iterable[str], settings: Settings) -> None:
        needed = set(required)
        members: dict[str, Any] = {}
        for one, kind in fields.items():
            named = cast("Any", Annotated)[kind, Field(alias=settings.wire(one))]
            members[one] = named if one in needed else NotRequired[named]
        shape = cast("Any", TypedDict)(name, members)
        shape.__pydantic_config__ = ConfigDict(strict=True, extra="forbid")
        self.name, self.shape = name, shape
        self._wires = {one: settings.wire(one) for one in fields}
        self._validate = TypeAdapter[dict[str, Any]](shape).validator.validate_python
        self._digits = settings.digits

    def read(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
        """Give the values that have the right shape, and what is wrong with the others."""
        try:
            return self._validate(body), []
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
        wrong = {one["loc"][0] for one in found}
        # Strict schemas change no value.
        right = {name: body[wire] for name, wire in self._wires.items() if wire in body and wire not in wrong}
        return right, [
            FieldError(field=_shown(str(one["loc"][0])), message=self._message(one["type"], one.get("ctx", {})))
            for one in found
        ]

    def _message(self, kind: str, limits: Mapping[str, Any]) -> str:
        if kind == "string_too_long":
            return f"This must have at most {limits['max_length']} characters."
        if kind == "string_pattern_mismatch":
            return f"Enter the {self._digits} digits of the code."
        return _MESSAGES.get(kind, "This is not valid.")


def _text(longest: int) -> Any:
    return Annotated[str, StringConstraints(min_length=1, max_length=longest)]


def _length(name: str, profile_fields: Mapping[str, int | None]) -> int:
    if name == "password":
        return PASSWORD_LENGTH
    if name in NAMINGS:
        return IDENTIFIER_LENGTH
    return min(profile_fields.get(name) or TEXT_LENGTH, TEXT_LENGTH)


def _code(digits: int) -> Any:
    # One inner space or hyphen may be there, as people read codes; [0-9], because \d takes digits of all scripts.
    split = (f"[0-9]{{{left}}}[ -][0-9]{{{digits - left}}}" for left in range(1, digits))
    return Annotated[str, StringConstraints(pattern=f"^(?:[0-9]{{{digits}}}|{'|'.join(split)})$")]


def _digits(otp: str | None) -> str | None:
    return None if otp is None else otp.replace(" ", "").replace("-", "")


def _kind(name: str) -> Kind | None:
    return Kind(name) if name in ("username", "email", "phone") else None


def _shown(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[:NAME_LENGTH] + "…"


def _refuse(faults: Sequence[FieldError]) -> None:
    if faults:
        raise ValidationFailed(_unique(faults))


def _unique(faults: Sequence[FieldError]) -> list[FieldError]:
    unique = {one.field: one for one in reversed(faults)}
    return [unique[name] for name in dict.fromkeys(one.field for one in faults)][:MAX_ERRORS]
