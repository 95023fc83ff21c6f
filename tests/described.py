"""Compares answers with what the OpenAPI document of their app says of them."""

from __future__ import annotations

import json
import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_schema_validator import OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

LEFT_OUT = {
    "Content-Type", "Content-Length", "Date", "Server", "Content-Security-Policy", "X-Content-Type-Options",
    "Referrer-Policy",
}  # fmt: skip

PAGES = {"otpauth.docs", "otpauth.docs_file"}
"""Of our endpoints, those that are no part of the interface: Swagger UI."""


class Described:
    """The document of one app."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        whole = Resource(contents=document, specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource("urn:document", whole)
        self._validators: dict[str, OAS31Validator] = {}

    def operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        """Give what is said of a method at a path; None where nothing is."""
        found: Mapping[str, Any] | None = self.document["paths"].get(path, {}).get(method.lower())
        return found

    def faults(self, method: str, path: str, response: TestResponse) -> list[str]:
        """Tell what of an answer isn't described."""
        operation = self.operation(method, path)
        if operation is None:
            return [f"{method} {path} isn't described"]
        status = str(response.status_code)
        if status not in operation["responses"]:
            return [f"{method} {path} isn't said to answer {status}: {response.get_data(as_text=True)}"]
        said = operation["responses"][status]
        where = f"#/paths/{pointer(path)}/{method.lower()}/responses/{status}"
        return [f"{method} {path} {status}: {fault}" for fault in self._of(response, said, where)]

    def _of(self, response: TestResponse, said: Mapping[str, Any], where: str) -> list[str]:
        faults = [f"the header {name} isn't described" for name in unknown_headers(response, said)]
        contents = said.get("content", {})
        if not contents:
            return faults if said["description"] and not response.is_json else [*faults, "a body that isn't described"]
        if response.mimetype not in contents:
            return [*faults, f"{response.mimetype} isn't described"]
        if not response.is_json:
            return faults
        media = response.mimetype.replace("/", "~1")
        return faults + self.invalid(response.get_json(), f"{where}/content/{media}/schema")

    def invalid(self, value: object, where: str) -> list[str]:
        """Tell what is wrong with a value by the schema at a pointer into the document."""
        if where not in self._validators:
            schema = {"$ref": f"urn:document{where}"}
            self._validators[where] = OAS31Validator(schema, registry=self._registry)
        return [error.message for error in self._validators[where].iter_errors(value)]


def unknown_headers(response: TestResponse, said: Mapping[str, Any]) -> list[str]:
    """Give the headers that aren't described; those of HTTP itself aside."""
    return sorted({name for name, _ in response.headers if name not in LEFT_OUT} - set(said.get("headers", {})))


def pointer(path: str) -> str:
    """Write a path as a part of a JSON pointer, in a fragment of a URL."""
    return path.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


class Watch:
    """
    Compares each answer of our endpoints that a test client gets with the document of its app.

    Not those of an app whose host has put a form of its own in the place of the answers.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._known: weakref.WeakKeyDictionary[Flask, Described | None] = weakref.WeakKeyDictionary()

    def __call__(self, client: FlaskClient, response: TestResponse) -> None:
        app = client.application
        path, method = response.request.path, response.request.method
        if app not in self._known:
            self._known[app] = self._of(app)
        described = self._known[app]
        if described is None or app.extensions["otpauth"].shapers or method in {"HEAD", "OPTIONS"}:
            return
        try:
            rule, _ = app.url_map.bind("localhost").match(path, method, return_rule=True)
        except HTTPException:
            return
        if rule.endpoint.startswith("otpauth.") and rule.endpoint not in PAGES:
            place = rule.rule.replace("<", "{").replace(">", "}")
            self.faults += described.faults(method, place, response)

    @staticmethod
    def _of(app: Flask) -> Described | None:
        service = app.extensions.get("otpauth")
        if service is None or "otpauth.openapi" not in app.view_functions:
            return None
        with app.test_request_context():
            return Described(json.loads(app.view_functions["otpauth.openapi"]().get_data()))


@contextmanager
def watched() -> Generator[None, None, None]:
    """Watch all test clients; at the end every answer must have been a described one."""
    watch, send = Watch(), FlaskClient.open

    def open_and_look(client: FlaskClient, *args: Any, **options: Any) -> TestResponse:
        response = send(client, *args, **options)
        watch(client, response)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlaskClient, "open", open_and_look)
        yield
    assert not watch.faults, "\n".join(watch.faults)
