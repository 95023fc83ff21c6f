"""How refusals are described: problems of RFC 9457, with the codes that each status can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..config import Settings
from ..errors import (
    AuthenticationRequired,
    FieldError,
    IdentifierTaken,
    InsufficientAuthentication,
    OTPAuthError,
    RateLimited,
    ValidationFailed,
    WrongCode,
)
from .bodies import MOMENT, Schema

PROBLEM = "application/problem+json"


def problem_schema(settings: Settings) -> Schema:
    """Give the schema that all problems have in common."""
    wire = settings.wire
    members: dict[str, Schema] = {
        "type": {"type": "string", "format": "uri-reference", "description": "Names the kind of problem."},
        "title": {"type": "string", "description": "Short, the same each time."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "For people."},
        "code": {"type": "string", "description": "For programs; never changes."},
    }
    more: dict[str, Schema] = {
        "errors": {
            "type": "array",
            "description": "What is wrong with which field.",
            "items": {"$ref": "#/components/schemas/FieldError"},
        },
        wire("attempts_left"): {"type": "integer", "minimum": 0, "description": "Guesses that will be compared."},
        wire("retry_after"): {"type": "integer", "minimum": 1, "description": "Seconds to wait."},
        wire("resend_at"): {"type": "string", "format": "date-time", "description": "When another code may be asked."},
        wire("max_age"): {"type": "integer", "minimum": 0, "description": "Seconds that the proof may be old."},
    }
    return {"type": "object", "properties": members | more, "required": list(members)}


def field_error_schema() -> Schema:
    """Give the schema of an entry of ``errors``."""
    return {
        "type": "object",
        "properties": {
            "field": {"type": "string", "description": "Name of the field, as it was sent."},
            "message": {"type": "string", "description": "What is wrong with it."},
        },
        "required": ["field", "message"],
    }


def problem_responses(errors: Sequence[type[OTPAuthError]], settings: Settings) -> dict[str, Schema]:
    """Give the responses of an operation that can be refused so, by status."""
    by_status: dict[int, list[type[OTPAuthError]]] = {}
    for error in dict.fromkeys(errors):
        by_status.setdefault(error.status, []).append(error)
    return {str(status): _response(found, settings) for status, found in sorted(by_status.items())}


def _response(errors: Sequence[type[OTPAuthError]], settings: Settings) -> Schema:
    codes = [error.code for error in errors]
    examples = [_example(error, settings) for error in errors]
    headers: dict[str, Schema] = {name: {"$ref": f"#/components/headers/{name}"} for name in _headers(errors)}
    return {
        "description": "; ".join(error.title for error in errors) + ".",
        "headers": headers,
        "content": {
            PROBLEM: {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"type": "object", "properties": {"code": {"type": "string", "enum": codes}}},
                    ]
                },
                "examples": {code: {"value": example} for code, example in zip(codes, examples, strict=True)},
            }
        },
    }


def _headers(errors: Sequence[type[OTPAuthError]]) -> list[str]:
    names = ["Cache-Control", "Vary"]
    if any(issubclass(error, AuthenticationRequired | InsufficientAuthentication) for error in errors):
        names.append("WWW-Authenticate")
    if any("Retry-After" in _sample(error).headers for error in errors):
        names.append("Retry-After")
    return names


def _sample(error: type[OTPAuthError]) -> OTPAuthError:
    """Make one, to see what it carries."""
    if issubclass(error, ValidationFailed):
        return error([FieldError(field="otp", message="This field is required.")])
    if issubclass(error, IdentifierTaken):
        return error("username")
    if issubclass(error, RateLimited):
        return error(42, resend_at=MOMENT)
    if issubclass(error, WrongCode):
        return error(attempts_left=4)
    return error()


def _example(error: type[OTPAuthError], settings: Settings) -> dict[str, Any]:
    sample = _sample(error)
    fields: Mapping[str, str] = {}
    if isinstance(sample, ValidationFailed):
        fields = {settings.wire(fault.field): fault.message for fault in sample.errors}
    if isinstance(sample, IdentifierTaken):
        fields = {settings.wire(sample.field): sample.detail}
    body: dict[str, Any] = {
        "type": f"urn:flask-otpauth:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": sample.detail,
        "code": error.code,
        **{settings.wire(name): value for name, value in sample.members.items()},
    }
    listed = [{"field": name, "message": message} for name, message in fields.items()]
    return body | ({"errors": listed} if listed else {})
