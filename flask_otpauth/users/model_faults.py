"""What the settings ask of the user model and it lacks, told at the start, each with its cure."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping

from ..config import Settings
from .fields import FIELDS, closest, unknown_fields
from .mapping import IDENTIFIERS, UserMap, has_attribute, type_of

_ROLES = ("role", "roles")
_KEPT = (*_ROLES, "active", "mfa_enabled", "email_verified", "phone_verified", "password_hash")
"""Fields that only we, or the host, may set: nobody gives himself a role at registration."""

_HASH_LENGTHS = {"bcrypt": 69, "pbkdf2:sha256:600000": 103, "scrypt": 162, "argon2": 97}
"""Characters of a hash of each scheme; bcrypt's without the key id."""


def find_faults(found: UserMap, fields: Mapping[str, str], settings: Settings) -> list[str]:
    """Tell what is wrong between the model, ``OTPAUTH_USER_FIELDS`` and the settings, one sentence a fault."""
    faults = [*unknown_fields(fields), *missing_attributes(found, fields), *_unfit(found, settings)]
    # What depends on a misspelt name would only repeat it.
    return faults or [*_flows(found, settings), *_registration(found, settings)]


def missing_attributes(found: UserMap, fields: Mapping[str, str]) -> list[str]:
    """Tell which attributes ``OTPAUTH_USER_FIELDS`` names that the model doesn't have."""
    names = [name for name in dir(found.model) if not name.startswith("_") and has_attribute(found.model, name)]
    return [
        f"OTPAUTH_USER_FIELDS maps {field} to {attribute!r}, which {found.model.__name__} doesn't have; "
        f"{closest(attribute, names)}"
        for field, attribute in fields.items()
        if field in FIELDS
        and field not in found.attributes
        # Roles may come with a backref, which isn't there before the mappers are configured.
        and not (field in _ROLES and not found.mapper.configured)
    ]


def _unfit(found: UserMap, settings: Settings) -> Iterator[str]:
    model = found.model.__name__
    for name in IDENTIFIERS:
        if not _searchable(found, name):
            told = f"{model}.{found.attributes[name]} is no text column, by which users could be found"
            yield f"{told}; map {name} to one in OTPAUTH_USER_FIELDS."
    length, needed = found.length("password_hash"), _hash_length(settings)
    if length is not None and length < needed:
        attribute = found.attributes["password_hash"]
        yield f"{model}.{attribute} holds {length} characters, and a hash has {needed}; make it String(255)."


def _searchable(found: UserMap, name: str) -> bool:
    if name not in found.attributes:
        return True
    column = found.columns.get(name)
    if column is None:
        return not isinstance(inspect.getattr_static(found.model, found.attributes[name]), property)
    return issubclass(type_of(column), str)


def _hash_length(settings: Settings) -> int:
    chosen = settings.password_hash
    return (
        _HASH_LENGTHS[chosen] + max(map(len, settings.peppers or ["*"]))
        if chosen == "bcrypt"
        else _HASH_LENGTHS[chosen]
    )


def _flows(found: UserMap, settings: Settings) -> Iterator[str]:
    model, has = found.model.__name__, found.attributes
    address = "email" in has or "phone" in has
    map_it = "map it in OTPAUTH_USER_FIELDS"
    if not settings.passwordless and "password_hash" not in has:
        yield f"{model} has no password_hash; {map_it}, or set OTPAUTH_FIRST_FACTOR to 'otp'."
    if not any(name in has for name in settings.identifiers):
        names = ", ".join(settings.identifiers)
        yield f"{model} has none of {names} to log in by; {map_it}, or set OTPAUTH_IDENTIFIERS."
    if not address and settings.passwordless:
        yield f"{model} has no phone and no email for codes; {map_it}, or set OTPAUTH_FIRST_FACTOR to 'password'."
    if not address and not settings.passwordless and settings.second_factor != "never":
        yield f"{model} has no phone and no email for codes; {map_it}, or set OTPAUTH_SECOND_FACTOR to 'never'."
    for channel in settings.channels or ():
        kind = "email" if channel == "email" else "phone"
        if kind not in has:
            yield f"OTPAUTH_CHANNELS names {channel!r}, and {model} has no {kind}; {map_it}, or take the channel out."


def _registration(found: UserMap, settings: Settings) -> Iterator[str]:
    model, has = found.model.__name__, found.attributes
    if settings.registration == "closed":
        return
    if settings.registration != "open" and "email" not in has and "phone" not in has:
        yield (
            f"{model} has no phone and no email, and OTPAUTH_REGISTRATION {settings.registration!r} sends a code; "
            "map one in OTPAUTH_USER_FIELDS, or set OTPAUTH_REGISTRATION to 'open' or 'closed'."
        )
    given = _registered(found, settings)
    key = found.mapper.get_property_by_column(found.key).key
    yield from untouchable(given, found.attributes, key)
    for name, attribute in given.items():
        if not has_attribute(found.model, attribute):
            told = f"OTPAUTH_REGISTER_FIELDS names {name!r}, and {model} has no {attribute!r}"
            yield f"{told}; add it to the model, or take it out."
        elif name not in IDENTIFIERS and not _takes_text(found, attribute):
            told = f"OTPAUTH_REGISTER_FIELDS names {name!r}, and {model}.{attribute} is no text column"
            yield f"{told}, as what is registered is; make it one, convert it in a @validates, or take the name out."
    yield from _unstorable(found, frozenset(given.values()))


def _takes_text(found: UserMap, attribute: str) -> bool:
    """Tell whether an attribute takes text; one that a constructor or a validator of the host may convert does."""
    column = found.column_of(attribute)
    converted = attribute in found.mapper.validators or _constructs(found)
    return column is None or converted or issubclass(type_of(column), str)


def _constructs(found: UserMap) -> bool:
    return found.mapper.class_manager.original_init is not found.mapper.registry.constructor


def _registered(found: UserMap, settings: Settings) -> dict[str, str]:
    """Give the fields of registration as ``{name: attribute}``."""
    names = settings.register_fields or [
        name for name in (*IDENTIFIERS, "password") if _field(name) in found.attributes
    ]
    return {name: found.attributes.get(_field(name), _field(name)) for name in names}


def untouchable(names: Iterable[str], attributes: Mapping[str, str], key: str) -> Iterator[str]:
    """
    Tell which fields of registration would set what is kept, or pass by the reading of an identifier.

    Args:
        attributes: Of users, by canonical name.
        key: The attribute of the primary key.
    """
    canonical = {attributes[name]: name for name in (*IDENTIFIERS, *_KEPT) if name in attributes}
    for name in names:
        if name in {*IDENTIFIERS, "password"}:
            continue
        kind = canonical.get(name, name)
        if kind in IDENTIFIERS:
            yield f"OTPAUTH_REGISTER_FIELDS names {name!r}, which is the {kind}; name {kind!r} instead."
        elif kind in _KEPT or name == key:
            yield f"OTPAUTH_REGISTER_FIELDS names {name!r}, which nobody may set at registration; take it out."


def _field(name: str) -> str:
    return "password_hash" if name == "password" else name


def _unstorable(found: UserMap, given: frozenset[str]) -> Iterator[str]:
    """Tell which columns nobody fills; none where a constructor, validator or event of the host may fill any."""
    model, mapper = found.model, found.mapper
    if _constructs(found):
        try:
            inspect.signature(model).bind(**dict.fromkeys(given))
        except TypeError as error:
            told = f"{model.__name__}(...) doesn't take the fields of a registration by keyword ({error})"
            yield f"{told}; let its __init__ take them."
        return
    if mapper.validators or mapper.dispatch.before_insert:
        return
    hashes = frozenset({found.attributes.get("password_hash", "")})
    for column in found.unset(given | hashes):
        yield (
            f"{model.__name__}.{column.name} may not be NULL, has no default, and registration doesn't give it; "
            "give it a default, or name it in OTPAUTH_REGISTER_FIELDS."
        )
