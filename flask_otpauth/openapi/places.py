"""Where an operation is served."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"<(?:(?P<kind>[^:<>]+):)?(?P<name>[^<>]+)>")
_TYPES = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "uuid": {"type": "string", "format": "uuid"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    A path from the root in the form of OpenAPI, ``/things/{id}``, and a method.

    Attributes:
        parameters: JSON schema of each variable part of the path.
    """

    endpoint: str
    method: str
    path: str
    parameters: tuple[tuple[str, dict[str, str]], ...] = ()


def place_of(endpoint: str, method: str, rule: str) -> Place:
    """Read a rule of Flask, ``/things/<int:id>``."""
    found: list[tuple[str, dict[str, str]]] = []

    def braced(part: re.Match[str]) -> str:
        kind = (part["kind"] or "").partition("(")[0]
        found.append((part["name"], dict(_TYPES.get(kind, {"type": "string"}))))
        return "{" + part["name"] + "}"

    path = _PART.sub(braced, rule)
    return Place(endpoint=endpoint, method=method.lower(), path=path, parameters=tuple(found))
