"""Schemas of what is sent and answered, under the wire names of the app."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..config import Settings
from ..types import Purpose

Schema = dict[str, Any]
Wire = Callable[[str], str]
Groups = Sequence[tuple[tuple[str, ...], bool]]

MOMENT = "2026-11-20T10:05:00Z"
CHALLENGE_ID = "4bX0m0m1rQh4mS3xj0e1n1yq2vQ0x3kU5n8s7b6t9wA"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

TOKENS = ("access_token", "refresh_token", "token_type")

_ADDRESSES = {"email": "ann@example.org", "phone": "+15005550006"}

_FIELDS: Mapping[str, Schema] = {
    "identifier": {"description": "Username, e-mail address or phone number.", "examples": ["ann"]},
    "username": {"description": "Username.", "examples": ["ann"]},
    "email": {"description": "E-mail address.", "examples": [_ADDRESSES["email"]]},
    "phone": {"description": "Phone number.", "examples": [_ADDRESSES["phone"]]},
    "password": {"description": "Password.", "format": "password", "examples": ["a long way to the sea"]},
    "challenge_id": {"description": "Secret id of the challenge.", "examples": [CHALLENGE_ID]},
    "method": {"description": "One of the methods of the challenge or the user.", "examples": ["sms"]},
    "channel": {"description": "Channel for the next code, one of the challenge's methods.", "examples": ["sms"]},
    "mfa_enabled": {"description": "Whether a code is to be due after the password.", "examples": [True]},
    "trust_device": {"description": "Whether to trust this device from now on.", "examples": [False]},
}


def request_schema(shape: Schema, choices: Groups, settings: Settings, *, held: bool = False) -> Schema:
    """
    Give the schema of a request: what pydantic says of it, with texts and examples.

    Args:
        choices: Groups of wire names of which one must be given; with True not more than one.
        held: Whether a browser's cookie may stand for each of them.
    """
    texts = {settings.wire(name): extra for name, extra in _FIELDS.items()}
    texts[settings.wire("otp")] = {"description": "The code.", "examples": ["004217390651"[: settings.digits]]}
    properties = {
        name: {key: value for key, value in one.items() if key != "title"} | texts.get(name, {})
        for name, one in shape.get("properties", {}).items()
    }
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    single = [names[0] for names, _ in choices if len(names) == 1 and not held]
    needed = [*shape.get("required", ()), *single]
    if needed:
        schema["required"] = [name for name in properties if name in needed]
    ways = [_choice(names, only=only, held=held) for names, only in choices if len(names) > 1]
    if ways:
        schema["allOf"] = ways
    return schema


def _choice(names: Sequence[str], *, only: bool, held: bool) -> Schema:
    # Apart from the properties: generators of clients make one class of the whole then, not one for each way.
    each: list[Schema] = [{"required": [name]} for name in names]
    none: Schema = {"properties": {name: {"not": {}} for name in names}}
    return {"oneOf" if only else "anyOf": [*each, none] if held else each}


def request_example(schema: Schema, choices: Groups, settings: Settings) -> Schema:
    """Give a body that a client could send: what is required, and the first of each choice."""
    wanted = [*schema.get("required", ()), *(names[0] for names, _ in choices if names)]
    if not wanted:
        return {}
    known = {settings.wire(name): value for name, value in _ADDRESSES.items()}
    found = {name: one.get("examples", [known.get(name, "text")])[0] for name, one in schema["properties"].items()}
    return {name: found[name] for name in schema["properties"] if name in wanted}


def answer_schemas(settings: Settings) -> dict[str, Schema]:
    """Give the schemas of good answers, by name."""
    wire = settings.wire
    user = {"$ref": "#/components/schemas/User"}
    return {
        "User": _object(wire, _user()),
        "Session": _object(lambda name: name, _session()),
        "Challenge": _object(wire, _challenge(), optional=("mfa_required",)),
        "Login": _object(
            wire,
            _tokens(settings) | {"user": user, "message": _text("For people.", "You are logged in.")},
            # A step-up of a login that a cookie carries gives no tokens.
            optional=TOKENS if settings.holds_sessions else (),
        ),
        "LoginOrChallenge": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Login", "Challenge")]},
        "Registered": _object(wire, {"user": user}),
        "Me": _object(wire, {"user": user, "session": {"$ref": "#/components/schemas/Session"}}),
        "Sessions": _object(wire, {"sessions": _array("ListedSession")}),
        "ListedSession": _object(lambda name: name, _listed_session()),
        "Factors": _object(wire, {"mfa_enabled": _flag("Whether a code is due."), "factors": _array("Factor")}),
        "Factor": _object(lambda name: name, _factor()),
        "Health": _object(wire, {"status": {"type": "string", "const": "ok"}}),
        "Page": {"type": "string"},
        "Document": {"type": "object", "additionalProperties": True},
    }


def _object(wire: Wire, fields: Mapping[str, Schema], *, optional: Sequence[str] = ()) -> Schema:
    return {
        "type": "object",
        "properties": {wire(name): one for name, one in fields.items()},
        "required": [wire(name) for name in fields if name not in optional],
    }


def _text(description: str, example: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, "examples": [example], **more}


def _perhaps(description: str, example: str, **more: Any) -> Schema:
    return _text(description, example, **more) | {"type": ["string", "null"]}


def _count(description: str, example: int) -> Schema:
    return {"type": "integer", "minimum": 0, "description": description, "examples": [example]}


def _time(description: str) -> Schema:
    return _text(description, MOMENT, format="date-time")


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _array(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def _list(description: str, *examples: str) -> Schema:
    return {"type": "array", "items": {"type": "string"}, "description": description, "examples": [list(examples)]}


def _user() -> dict[str, Schema]:
    return {
        "id": _text("Primary key.", "1"),
        "username": _perhaps("Username.", "ann"),
        "email": _perhaps("E-mail address, canonical.", _ADDRESSES["email"]),
        "phone": _perhaps("Phone number, E.164.", _ADDRESSES["phone"]),
        "roles": _list("Roles that the user has now.", "user"),
    }


def _session() -> dict[str, Schema]:
    return {
        "id": _text("Id of the session.", "Yc0k9sJ1p3"),
        "amr": _list("Methods of the login (RFC 8176).", "pwd", "otp", "sms", "mfa"),
        "auth_time": _time("When the user last proved himself."),
        "code_at": _time("When he last proved a code.") | {"type": ["string", "null"]},
        "created_at": _time("When the session was opened."),
        "expires_at": _time("When it ends at the latest."),
    }


def _listed_session() -> dict[str, Schema]:
    return {
        "id": _text("Id of the session; it opens nothing.", "Yc0k9sJ1p3"),
        "current": _flag("Whether it is the one that asks."),
        "user_agent": _text("Program that opened it.", "Mozilla/5.0"),
        "amr": _list("Methods of the login (RFC 8176).", "pwd", "otp", "sms", "mfa"),
        "created_at": _time("When the session was opened."),
        "last_used_at": _time("When it was used; about."),
        "expires_at": _time("When it ends if it isn't used."),
    }


def _factor() -> dict[str, Schema]:
    return {
        "method": _text("What gets a code.", "sms"),
        "destination": _text("Where it goes, masked.", "+1 *** *** 06"),
        "verified": _flag("Whether a code has proved it."),
    }


def _challenge() -> dict[str, Schema]:
    return {
        "mfa_required": {"type": "boolean", "const": True, "description": "A password was right; the code is due."},
        "challenge_id": _text("Secret: whoever has it may answer.", CHALLENGE_ID),
        "purpose": _text("What the code is for.", "login", enum=[purpose.value for purpose in Purpose]),
        "channel": _perhaps("Channel of the code.", "sms"),
        "destination": _perhaps("Where it goes, masked; null where the caller may not know.", "+1 *** *** 06"),
        "methods": _list("What can answer the challenge.", "sms", "email"),
        "expires_at": _time("When the code ends."),
        "expires_in": _count("Seconds until then.", 300),
        "resend_at": _time("When another code may be asked for."),
        "resend_in": _count("Seconds until then.", 60),
        "attempts_left": _count("Guesses that will be compared.", 5),
        "message": _text("For people.", "A code is on its way."),
    }


def _tokens(settings: Settings) -> dict[str, Schema]:
    lifetime = {"expires_in": _count("Seconds until the access token, or else the session, ends.", 900)}
    if "jwt" not in settings.credentials:
        return lifetime
    return {
        "access_token": _text("JWT for `Authorization: Bearer`.", JWT),
        "refresh_token": _text("JWT for one exchange.", JWT),
        "token_type": {"type": "string", "const": "Bearer"},
        **lifetime,
    }
