"""What becomes of the described answers where the host has given them other bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bodies import Schema
from .operations import JSON

_FIRST_PROBLEM = 400
_TYPES: dict[type[Any], str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}


Bodies = Mapping[str, object]
"""By endpoint the body, or a function that makes one and may leave the standard one."""


def reshape(responses: dict[str, Any], body: object) -> None:
    """
    Put the host's body in the place of the standard ones, with status 200; None leaves them.

    Whatever object a function makes isn't known here.
    """
    if body is None:
        return
    good = [status for status in responses if int(status) < _FIRST_PROBLEM]
    schemas = [media["schema"] for status in good for media in responses[status].get("content", {}).values()]
    headers = {name: one for status in good for name, one in responses[status].get("headers", {}).items()}
    if isinstance(body, Mapping):
        schema = _schema_of(body)  # pyright: ignore[reportUnknownArgumentType]
    else:
        schema = {"anyOf": [*schemas, {"type": "object"}]} if schemas else {"type": "object"}
    answer = {"description": "In the form of the app.", "headers": headers, "content": {JSON: {"schema": schema}}}
    if isinstance(body, Mapping):
        for status in good:
            del responses[status]
    responses["200"] = answer
    ordered = dict(sorted(responses.items()))
    responses.clear()
    responses.update(ordered)


def _schema_of(body: Mapping[str, Any]) -> Schema:
    # Tokens stand beside it, so that other members are let in.
    return {
        "type": "object",
        "properties": {name: _kind(value) | {"examples": [value]} for name, value in body.items()},
        "required": list(body),
    }


def _kind(value: object) -> Schema:
    kind = _TYPES.get(type(value))
    return {} if kind is None else {"type": kind}
