"""The OpenAPI document of an app: made when it is asked for, never at the start."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, Response, current_app, request
from werkzeug.routing import Rule

from ..decorators import ASKED, Requirements
from ..errors import (
    AuthenticationRequired,
    CrossOrigin,
    Forbidden,
    InsufficientAuthentication,
    OTPAuthError,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from ..config import Settings
    from ..openapi import Bodies, Facts, Place, Shown
    from ..schemas import Schemas

DocumentShaper = Callable[[dict[str, Any]], dict[str, Any] | None]

DESCRIBED = "_otpauth_described"
"""Attribute of a host's view that is to be in the document: the arguments of its ``HostView``."""

OWN = "otpauth."
FILES = "docs_file"
"""Endpoint of the files of Swagger UI."""

ROOTS = 8
"""Mount points whose document is kept: the prefix may be what a proxy says."""

_SAFE = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentHooks:
    """
    What the host changes in the document, each in the order of registration.

    Attributes:
        bodies: What it answers in the place of standard bodies, by endpoint.
        shapers: Functions that change the whole, with those bodies in it.
    """

    bodies: list[Bodies] = field(default_factory=list["Bodies"])
    shapers: list[DocumentShaper] = field(default_factory=list["DocumentShaper"])


class Documents:
    """What one app says of its interface."""

    def __init__(self, settings: Settings, schemas: Schemas, hooks: DocumentHooks | None = None) -> None:
        self._settings = settings
        self._schemas = schemas
        self._hooks = hooks or DocumentHooks()
        self._texts: dict[str, bytes] = {}

    def make(self, app: Flask) -> dict[str, Any]:
        """Give the document as the app is now, for the caller to keep."""
        # Imported by who asks: neither the import of the package nor the start of an app waits for it.
        from pydantic import TypeAdapter

        from ..openapi import make_document

        facts = self._facts(app)
        shapes = {name: TypeAdapter[Any](shape).json_schema() for name, shape in self._schemas.shapes().items()}
        document = make_document(
            facts,
            self._places(app),
            shapes,
            self._schemas.choices(),
            hosts=list(_host_views(app, facts)),
            bodies=self._hooks.bodies,
        )
        document = deepcopy(document)
        for shape in self._hooks.shapers:
            document = shape(document) or document
        return document

    def response(self) -> Response:
        """Answer with the document; it is made once, as no view can be added to an app that serves."""
        root = request.script_root
        text = self._texts.get(root)
        if text is None:
            document = self.make(current_app._get_current_object())  # type: ignore[attr-defined]
            if document.get("servers") == [{"url": "/"}]:
                document["servers"] = [{"url": root or "/"}]
            text = json.dumps(document).encode()
            if len(self._texts) < ROOTS:
                self._texts[root] = text
        return current_app.response_class(text, mimetype="application/json")

    def _facts(self, app: Flask) -> Facts:
        from ..openapi import Facts

        config, settings = cast("dict[str, Any]", app.config), self._settings
        in_cookies = "cookies" in config.get("JWT_TOKEN_LOCATION", ())
        return Facts(
            settings=settings,
            version=_version(),
            bearer=(config.get("JWT_HEADER_NAME", "Authorization"), config.get("JWT_HEADER_TYPE", "Bearer") or ""),
            jwt_cookie=config.get("JWT_ACCESS_COOKIE_NAME", "access_token_cookie") if in_cookies else None,
            session_cookie=config["SESSION_COOKIE_NAME"] if settings.holds_sessions else None,
        )

    @staticmethod
    def _places(app: Flask) -> Iterable[Place]:
        from ..openapi import OPERATIONS

        found = [one for rule in app.url_map.iter_rules() if rule.endpoint.startswith(OWN) for one in _places_of(rule)]
        order = list(OPERATIONS)
        known = [place for place in found if place.endpoint in OPERATIONS]
        return sorted(known, key=lambda place: order.index(place.endpoint))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("Flask-OTPAuth")
    except PackageNotFoundError:  # it was copied, not installed
        return "0"


def _places_of(rule: Rule) -> Iterator[Place]:
    from ..openapi import place_of

    for method in sorted(set(rule.methods or ()) - {"HEAD", "OPTIONS"}):
        yield place_of(rule.endpoint.removeprefix(OWN), method, rule.rule)


def _host_views(app: Flask, facts: Facts) -> Iterator[Shown]:
    from ..openapi import HostView, Shown

    for rule in app.url_map.iter_rules():
        for place in _places_of(rule) if not rule.endpoint.startswith(OWN) else ():
            layers = list(_layers(app.view_functions[rule.endpoint], place.method))
            said = next((one[DESCRIBED] for one in layers if DESCRIBED in one), None)
            if said is None:
                continue
            asked = [one[ASKED] for one in (*layers, *_checks(app, rule.endpoint)) if ASKED in one]
            doc = next((str(one["__doc__"]) for one in layers if one.get("__doc__")), "")
            errors = _refusals(asked, facts, place.method.upper())
            yield Shown(place=place, host=HostView(**said), doc=doc, errors=errors, protected=bool(asked))


def _layers(view: Any, method: str) -> Iterator[dict[str, Any]]:
    """Give the attributes of a view and of all that it wraps, from outside; of a class, those of its method first."""
    of_class = getattr(getattr(view, "view_class", None), method, None)
    for start in (of_class, view):
        layer = start
        while layer is not None:
            yield {**getattr(layer, "__dict__", {}), "__doc__": getattr(layer, "__doc__", None)}
            layer = getattr(layer, "__wrapped__", None)


def _checks(app: Flask, endpoint: str) -> Iterator[dict[str, Any]]:
    """Give the attributes of the functions that run before the view, of its blueprints."""
    parts = endpoint.split(".")[:-1]
    for end in range(1, len(parts) + 1):
        for check in app.before_request_funcs.get(".".join(parts[:end]), ()):
            yield getattr(check, "__dict__", {})


def _refusals(asked: Sequence[Requirements], facts: Facts, method: str) -> tuple[type[OTPAuthError], ...]:
    if not asked:
        return ()
    found: list[type[OTPAuthError]] = [AuthenticationRequired]
    if any(one.code or one.fresh is not None or one.methods is not None for one in asked):
        found.append(InsufficientAuthentication)
    if any(one.roles is not None for one in asked):
        found.append(Forbidden)
    if facts.cookies and method not in _SAFE:
        found.append(CrossOrigin)
    return (*found, ServiceUnavailable)
