"""Views of the host that it wants to see in the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from inspect import cleandoc
from typing import Any, cast

from ..errors import OTPAuthError
from .bodies import Schema
from .ids import distinct
from .operations import JSON
from .places import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """
    What the host says of a view.

    Attributes:
        request: Schema of the JSON body: a JSON schema, or anything that pydantic makes one of.
        responses: By status, schemas of the same kind; None for an answer without a body.
        query: JSON schemas of the query's parameters, by name.
    """

    summary: str | None = None
    description: str | None = None
    tag: str = "app"
    request: object = None
    responses: Mapping[int, object] = field(default_factory=dict[int, object])
    query: Mapping[str, Schema] = field(default_factory=dict[str, Schema])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """
    A view of the host at its place.

    Attributes:
        doc: The view's docstring.
        errors: How our decorators may refuse the request.
        protected: Whether one of them is on the view.
    """

    place: Place
    host: HostView
    doc: str
    errors: tuple[type[OTPAuthError], ...]
    protected: bool


def host_ids(shown: Sequence[Shown]) -> list[str]:
    """Give the ids of the operations: the endpoints' names, with the methods where an endpoint has several."""
    places = [one.place for one in shown]
    endpoints = [_words(place.endpoint) for place in places]
    return distinct(
        f"{name}_{place.method}" if endpoints.count(name) > 1 else name
        for name, place in zip(endpoints, places, strict=True)
    )


def host_operation(shown: Shown, operation_id: str, schemas: dict[str, Schema]) -> Schema:
    """Describe the operation, refusals and security aside; schemas of its parts are put into ``schemas``."""
    host = shown.host
    first, _, rest = cleandoc(shown.doc).partition("\n")
    summary = host.summary or first.rstrip(".") or shown.place.endpoint.replace("_", " ")
    operation: Schema = {
        "operationId": operation_id,
        "summary": summary,
        "tags": [host.tag],
        "responses": {
            str(status): _response(status, schema, schemas) for status, schema in (host.responses or {200: {}}).items()
        },
    }
    text = host.description or rest.strip()
    if text:
        operation["description"] = text
    if host.request is not None:
        content = {JSON: {"schema": _schema(host.request, schemas)}}
        operation["requestBody"] = {"required": True, "content": content}
    if host.query:
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": schema} for name, schema in host.query.items()
        ]
    return operation


def _response(status: int, schema: object, schemas: dict[str, Schema]) -> Schema:
    answer: Schema = {"description": HTTPStatus(status).phrase}
    if schema is not None:
        answer["content"] = {JSON: {"schema": _schema(schema, schemas)}}
    return answer


def _schema(given: object, schemas: dict[str, Schema]) -> Schema:
    if isinstance(given, Mapping):
        return dict(cast("Mapping[str, Any]", given))
    from pydantic import TypeAdapter

    schema = TypeAdapter[Any](cast("Any", given)).json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    return schema


def _words(endpoint: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in endpoint)
