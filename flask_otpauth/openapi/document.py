"""The document as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from ..errors import Forbidden, OTPAuthError
from .bodies import Groups, Schema, answer_schemas, request_example, request_schema
from .endpoints import OPERATIONS, TAGS
from .hosts import Shown, host_ids, host_operation
from .ids import own_id
from .operations import ACCESS, JSON, PENDING, REFRESH, Facts, Operation, Success
from .places import Place
from .problems import field_error_schema, problem_responses, problem_schema
from .reshaping import Bodies, reshape

VERSION = "3.1.0"

_TO_A_PAGE = "A browser that looks at a page is sent to log in, or to prove a code, and back."

Choices = Mapping[str, Groups]


def make_document(
    facts: Facts,
    places: Iterable[Place],
    shapes: Mapping[str, Schema],
    choices: Choices,
    *,
    hosts: Sequence[Shown] = (),
    bodies: Iterable[Bodies] = (),
) -> dict[str, Any]:
    """
    Make the document.

    Args:
        places: Where the endpoints are served.
        shapes: What pydantic says of the requests, by the name of the schema.
        choices: See ``request_schema``, by the name of the schema.
        hosts: Views of the host. An operation of ours whose id one of them has is renamed.
        bodies: What the host has put in the place of standard answers; see ``reshape``.
    """
    made, ids = _Document(facts, shapes, choices, bodies), host_ids(hosts)
    for place in places:
        if place.endpoint in OPERATIONS:
            made.add(place, OPERATIONS[place.endpoint](facts), own_id(place.endpoint, ids))
    for shown, operation_id in zip(hosts, ids, strict=True):
        made.add_host(shown, operation_id)
    return made.whole()


class _Document:
    def __init__(self, facts: Facts, shapes: Mapping[str, Schema], choices: Choices, bodies: Iterable[Bodies]) -> None:
        self._facts = facts
        self._shapes = shapes
        self._choices = choices
        self._bodies = tuple(bodies)
        self._paths: dict[str, Schema] = {}
        self._tags: dict[str, None] = {}
        self._schemas: dict[str, Schema] = {}
        self._schemes = _security_schemes(facts)

    def add(self, place: Place, operation: Operation, operation_id: str) -> None:
        described: Schema = {
            "operationId": operation_id,
            "summary": operation.summary,
            "description": operation.text,
            "tags": [operation.tag],
        }
        if operation.request is not None and self._shapes[operation.request].get("properties"):
            described["requestBody"] = self._body(operation.request, pending=operation.needs == PENDING)
        described["responses"] = {
            **{str(success.status): self._success(success) for success in operation.successes},
            **{
                str(status): {"description": text, "headers": _headers(*_ALWAYS)}
                for status, text in (operation.refusals or {}).items()
            },
        }
        for given in self._bodies:
            reshape(described["responses"], given.get(place.endpoint))
        self._put(place, described, operation.tag, operation.errors, self._security(operation.needs))

    def add_host(self, shown: Shown, operation_id: str) -> None:
        described = host_operation(shown, operation_id, self._schemas)
        if shown.protected and self._facts.settings.pages:
            described["responses"].setdefault(
                "302", {"description": _TO_A_PAGE, "headers": _headers("Location", *_ALWAYS)}
            )
        self._put(
            shown.place, described, shown.host.tag, shown.errors, self._security(ACCESS) if shown.protected else []
        )
        if self._facts.settings.pages and Forbidden in shown.errors:
            described["responses"]["403"].setdefault("content", {})["text/html"] = {
                "schema": {"$ref": "#/components/schemas/Page"}
            }

    def whole(self) -> dict[str, Any]:
        settings = self._facts.settings
        schemas = answer_schemas(settings) | {"Problem": problem_schema(settings), "FieldError": field_error_schema()}
        document: dict[str, Any] = {
            "openapi": VERSION,
            "info": {
                "title": settings.name,
                "version": self._facts.version,
                "description": "Registration, login, one-time codes and sessions, by Flask-OTPAuth.",
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": tag, "description": TAGS[tag]} for tag in TAGS if tag in self._tags]
            + [{"name": tag} for tag in self._tags if tag not in TAGS],
            "paths": self._paths,
            "components": {
                "schemas": schemas | self._schemas,
                "headers": _HEADERS,
                "securitySchemes": self._schemes,
            },
        }
        _drop_unused(document)
        return document

    def _put(
        self,
        place: Place,
        described: Schema,
        tag: str,
        errors: Sequence[type[OTPAuthError]],
        security: list[dict[str, list[str]]],
    ) -> None:
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": schema} for name, schema in place.parameters
        ]
        if parameters:
            described["parameters"] = [*parameters, *described.get("parameters", ())]
        # Always, also where it is empty: a host's document may have a default for all operations.
        described["security"] = security
        for status, response in problem_responses(errors, self._facts.settings).items():
            described["responses"].setdefault(status, response)
        described["responses"] = dict(sorted(described["responses"].items()))
        self._tags[tag] = None
        self._paths.setdefault(place.path, {}).setdefault(place.method, described)

    def _body(self, name: str, *, pending: bool) -> Schema:
        settings, choices = self._facts.settings, self._choices.get(name, ())
        held = pending and self._facts.pending
        schema = request_schema(self._shapes[name], choices, settings, held=held)
        self._schemas[f"{name}Request"] = schema
        example = request_example(schema, choices, settings)
        required = bool(schema.get("required") or (choices and not held))
        content: Schema = {"schema": {"$ref": f"#/components/schemas/{name}Request"}}
        if example:
            content["example"] = example
        return {"required": required, "content": {JSON: content}}

    def _success(self, success: Success) -> Schema:
        cookies = success.login or (success.session and self._facts.pending)
        names = [*_ALWAYS, *(["Set-Cookie"] if cookies else [])]
        answer: Schema = {"description": success.text, "headers": _headers(*names)}
        if success.body is not None:
            answer["content"] = {success.media: {"schema": {"$ref": f"#/components/schemas/{success.body}"}}}
        return answer

    def _security(self, needs: str) -> list[dict[str, list[str]]]:
        if needs == REFRESH:
            return [{"refreshToken": []}]
        ways: list[dict[str, list[str]]] = [{name: []} for name in reversed(self._schemes) if name != "refreshToken"]
        if needs == PENDING:
            # A challenge is named in the body, or by the browser's cookie.
            return [{}, {"sessionCookie": []}] if self._facts.pending else []
        return ways if needs == ACCESS else []


def _security_schemes(facts: Facts) -> dict[str, Schema]:
    wire = facts.settings.wire
    schemes: dict[str, Schema] = {}
    if facts.session_cookie is not None:
        schemes["sessionCookie"] = _cookie(facts.session_cookie)
    if facts.jwt_cookie is not None:
        schemes["tokenCookie"] = _cookie(facts.jwt_cookie)
    schemes["refreshToken"] = _token(facts.bearer, f"What a login answers as `{wire('refresh_token')}`.")
    if facts.tokens:
        # The last one: Swagger UI puts the cursor there.
        schemes["accessToken"] = _token(facts.bearer, f"What a login answers as `{wire('access_token')}`.")
    return schemes


def _cookie(name: str) -> Schema:
    return {"type": "apiKey", "in": "cookie", "name": name, "description": "Set by a login; browsers send it."}


def _token(bearer: tuple[str, str], text: str) -> Schema:
    header, scheme = bearer
    if header.lower() == "authorization" and scheme.lower() == "bearer":
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": text}
    form = f" As `{scheme} <token>`." if scheme else ""
    return {"type": "apiKey", "in": "header", "name": header, "description": text + form}


def _headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header(text: str, example: str) -> Schema:
    return {"description": text, "schema": {"type": "string"}, "example": example}


_ALWAYS = ("Cache-Control", "Vary")

_HEADERS: Mapping[str, Schema] = {
    "Cache-Control": _header("No answer may be stored.", "no-store"),
    "Vary": _header("What the answer depends on.", "Authorization, Cookie"),
    "Location": _header("Where to go.", "/account/login?next=/"),
    "WWW-Authenticate": _header("What is missing (RFC 6750, RFC 9470).", "Bearer"),
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}, "example": 42},
    "Set-Cookie": _header("Of a known client, and of the session where that is a credential.", "otpauth_client=..."),
}


def _drop_unused(document: dict[str, Any]) -> None:
    """Leave out components that nothing refers to: linters complain, and readers look for their use."""
    components: dict[str, dict[str, Any]] = document["components"]
    while True:
        used = set(_references(document))
        kept = {
            section: {
                name: one for name, one in components[section].items() if f"#/components/{section}/{name}" in used
            }
            for section in ("schemas", "headers")
        }
        if all(len(kept[section]) == len(components[section]) for section in kept):
            break
        components.update(kept)
    asked = {
        name for path in document["paths"].values() for one in path.values() for way in one["security"] for name in way
    }
    components["securitySchemes"] = {name: one for name, one in components["securitySchemes"].items() if name in asked}


def _references(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        for key, one in cast("Schema", value).items():
            if key == "$ref" and isinstance(one, str):
                yield one
            else:
                yield from _references(one)
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from _references(one)
