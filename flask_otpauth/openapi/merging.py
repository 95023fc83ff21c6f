"""Our operations in a host's own document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, TypeVar, cast

from .ids import own_id

T = TypeVar("T")

Tree = dict[str, Any]

PREFIX = "OTPAuth"
"""Before the name of a component that the host's document has already, with another meaning."""


def merge(host: T, ours: Mapping[str, Any]) -> T:
    """
    Put our paths, components and tags into a host's document, and give it back.

    The host's own entries stay as they are. For a document of OpenAPI 3.0 ours is written in its terms.

    Args:
        host: The document as a ``dict``, or an ``APISpec`` of the package apispec.

    Raises:
        TypeError: It is neither, or it is a document of Swagger 2.
    """
    spec, held = cast("Any", host), _plain(host)
    target = held if held is not None else _dict_of(spec)
    version = str(target.get("openapi", ""))
    if not version.startswith("3."):
        raise TypeError("the document isn't OpenAPI 3")
    own = deepcopy(dict(ours))
    added = _renamed(cast("Tree", _as_3_0(own)) if version.startswith("3.0") else own, target)
    known = {tag.get("name") for tag in target.get("tags") or ()}
    tags = [tag for tag in added.get("tags", ()) if tag["name"] not in known]
    if held is not None:
        _add_missing(held, added, target)
        held["tags"] = [*(held.get("tags") or ()), *tags]
        return host
    _add_missing(spec.options, added, target)
    for tag in tags:
        spec.tag(tag)
    return host


def _plain(host: object) -> Tree | None:
    return cast("Tree", host) if isinstance(host, dict) else None


def _dict_of(spec: Any) -> Tree:
    try:
        return cast("Tree", spec.to_dict())
    except AttributeError:
        raise TypeError(f"{spec!r} is no OpenAPI document: give a dict or an APISpec") from None


def _part(tree: Tree, *names: str) -> Tree:
    """Give a part of a document; empty where it is missing, or None as flask-openapi3 has it."""
    for name in names:
        tree = tree.get(name) or {}
    return tree


def _grown(tree: Tree, *names: str) -> Tree:
    """Give a part of a document, made where it is missing."""
    for name in names:
        tree[name] = tree.get(name) or {}
        tree = tree[name]
    return tree


def _add_missing(into: Tree, added: Tree, target: Tree) -> None:
    for kind, sections in (("paths", added["paths"]), ("components", added["components"])):
        for section, entries in sections.items():
            taken = _part(target, kind, section)
            for name, entry in entries.items():
                if name not in taken:
                    _grown(into, kind, section)[name] = entry


def _renamed(ours: Tree, target: Tree) -> Tree:
    """Rename what the host's document has already: components of another content, and ids of operations."""
    text = json.dumps(ours)
    names: dict[str, dict[str, str]] = {}
    for section, components in ours["components"].items():
        taken = _part(target, "components", section)
        names[section] = {
            name: PREFIX + name for name in components if taken.get(name, components[name]) != components[name]
        }
        for name, other in names[section].items():
            text = text.replace(f'"#/components/{section}/{name}"', f'"#/components/{section}/{other}"')
    renamed: Tree = json.loads(text)
    for section, others in names.items():
        components = renamed["components"][section]
        renamed["components"][section] = {others.get(name, name): one for name, one in components.items()}
    _rename_operations(renamed, names.get("securitySchemes", {}), target)
    return renamed


def _rename_operations(renamed: Tree, schemes: Mapping[str, str], target: Tree) -> None:
    theirs: list[Any] = [one for path in _part(target, "paths").values() for one in path.values()]
    taken: set[Any] = {cast("Tree", one).get("operationId") for one in theirs if isinstance(one, dict)}
    for path in renamed["paths"].values():
        for operation in path.values():
            operation["security"] = [
                {schemes.get(name, name): scopes for name, scopes in way.items()} for way in operation["security"]
            ]
            operation["operationId"] = own_id(operation["operationId"], taken)


def _as_3_0(value: Any) -> Any:
    """Say in the terms of 3.0 what 3.1 says in those of JSON Schema 2020-12."""
    if isinstance(value, list):
        return [_as_3_0(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return value
    told = {key: _as_3_0(one) for key, one in cast("Tree", value).items()}
    kinds = told.get("type")
    if isinstance(kinds, list):
        names = [kind for kind in cast("list[str]", kinds) if kind != "null"]
        told |= {"type": names[0], "nullable": True}
    if "const" in told and not isinstance(told["const"], dict):
        told["enum"] = [told.pop("const")]
    if isinstance(told.get("examples"), list):
        told["example"] = told.pop("examples")[0]
    return told
