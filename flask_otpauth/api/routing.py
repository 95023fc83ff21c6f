"""Endpoints, their paths, and the blueprint that joins them with the views."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from flask import Blueprint, Request, Response, abort, current_app, request, url_for

from ..config import ROUTE
from ..decorators import problem_response
from ..delivery import Inbox
from ..errors import OTPAuthError
from ..redirects import BLUEPRINT, EXACT
from ..schemas import Schemas
from ..sessions import real_request
from .documents import FILES, Documents
from .inbox import inbox_page, is_local
from .replies import Reply, respond
from .swagger_ui import SwaggerUI
from .views import Views

if TYPE_CHECKING:
    from ..config import Settings
    from ..flows.service import Service

_ROUTES = {
    "register": ("POST", "/register"),
    "login": ("POST", "/login"),
    "verify_otp": ("POST", "/verify-otp"),
    "resend_otp": ("POST", "/resend-otp"),
    "refresh": ("POST", "/refresh"),
    "logout": ("POST", "/logout"),
    "me": ("GET", "/me"),
    "sessions": ("GET", "/sessions"),
    "end_session": ("DELETE", "/sessions/<id>"),
    "end_other_sessions": ("DELETE", "/sessions"),
    "step_up": ("POST", "/step-up"),
    "mfa": ("GET", "/mfa"),
    "switch_mfa": ("PUT", "/mfa"),
    "health": ("GET", "/health"),
    "inbox": ("GET", "/inbox"),
    "openapi": ("GET", "/openapi.json"),
    "docs": ("GET", "/docs"),
}

_OWN_WAY = {"openapi", "docs"}

ENDPOINTS: tuple[str, ...] = tuple(_ROUTES)
"""Names that ``OTPAUTH_ROUTES`` takes."""

Action = Callable[["Service", Request], Reply]

_ID = "/<id>"
_STYLE = "inbox.css"


def route_faults(settings: Settings) -> list[str]:
    """Tell what is wrong with ``OTPAUTH_ROUTES``, one sentence each, with its cure."""
    # Those of pages are checked where pages are made.
    routes = {name: path for name, path in settings.routes.items() if not name.startswith("pages.")}
    faults = [_unknown(name) for name in routes if name not in _ROUTES]
    for name, path in routes.items():
        if isinstance(path, str) and name in _ROUTES and not _is_path(name, path):
            end = f", and {_ID} at the end" if _takes_id(name) else ""
            faults.append(
                f"OTPAUTH_ROUTES has {path!r} for {name!r}; use letters, digits and '._~-' between slashes{end}."
            )
    taken: dict[tuple[str, str], str] = {}
    for name in ENDPOINTS:
        place = path_of(name, settings)
        first = name if place is None else taken.setdefault((_ROUTES[name][0], place.rstrip("/")), name)
        if first != name:
            faults.append(f"OTPAUTH_ROUTES gives {name!r} the path of {first!r}; choose another one.")
    if path_of("openapi", settings) is None and path_of("docs", settings) is not None:
        faults.append("OTPAUTH_ROUTES switches off 'openapi', which 'docs' shows; switch 'docs' off too.")
    return faults


def _takes_id(endpoint: str) -> bool:
    return _ROUTES[endpoint][1].endswith(_ID)


def _is_path(endpoint: str, path: str) -> bool:
    # Any other converter (<x>) would hand the view an argument that it doesn't take.
    if not _takes_id(endpoint):
        return ROUTE.fullmatch(path) is not None
    before = path.removesuffix(_ID)
    return before != path and (not before or (ROUTE.fullmatch(before) is not None and not before.endswith("/")))


def taken_paths(settings: Settings) -> dict[str, str]:
    """Give the paths of all endpoints, without a slash at their end, with the endpoints' names."""
    paths = {name: path_of(name, settings) for name in ENDPOINTS}
    return {path.rstrip("/"): name for name, path in paths.items() if path is not None}


def path_of(endpoint: str, settings: Settings) -> str | None:
    """Give the path from the root; None for an endpoint that is switched off."""
    path = settings.routes.get(endpoint, settings.api_prefix + _ROUTES[endpoint][1])
    return None if path is False else str(path)


def make_blueprint(
    settings: Settings, schemas: Schemas, inbox: Inbox | None = None, documents: Documents | None = None
) -> Blueprint:
    """Make the blueprint ``otpauth`` of one app; its paths are whole, so it takes no prefix when it is registered."""
    blueprint = Blueprint("otpauth", __name__)
    blueprint.after_request(_no_store)
    views = Views(schemas)
    _add_documents(blueprint, settings, documents or Documents(settings, schemas))
    for endpoint, (method, _) in _ROUTES.items():
        path = path_of(endpoint, settings)
        if path is None or endpoint in _OWN_WAY or (endpoint == "register" and settings.registration == "closed"):
            continue
        if endpoint != "inbox":
            view = _json_view(endpoint, cast("Action", getattr(views, endpoint)))
        elif inbox is not None:
            view = _inbox_view(inbox)
        else:
            continue
        blueprint.add_url_rule(path, endpoint, view, methods=[method], **EXACT)
    return blueprint


def _add_documents(blueprint: Blueprint, settings: Settings, documents: Documents) -> None:
    """Add the document and Swagger UI: the host's response shapers don't see them."""
    path, page = path_of("openapi", settings), path_of("docs", settings)
    if path is None:
        return
    blueprint.add_url_rule(path, "openapi", documents.response, **EXACT)
    if page is None:
        return
    ui = SwaggerUI(settings.name)

    def show() -> Response:
        base = url_for(f"otpauth.{FILES}", name="docs.js").removesuffix("/docs.js")
        return ui.page(url_for("otpauth.openapi"), base)

    blueprint.add_url_rule(page, "docs", show, **EXACT)
    # A folder of their own: a page at the root must not take the host's paths.
    blueprint.add_url_rule(f"{page.rstrip('/')}/swagger-ui/<name>", FILES, ui.file, **EXACT)


def _json_view(endpoint: str, action: Action) -> Callable[..., Response]:
    def view(**_arguments: str) -> Response:
        # Actions read arguments of the path from the request, as they read everything else.
        service = cast("Service", current_app.extensions["otpauth"])
        try:
            return respond(service, endpoint, action(service, real_request(request)))
        except OTPAuthError as error:
            return problem_response(error, service)

    return view


def _inbox_view(inbox: Inbox) -> Callable[[], Response]:
    def view() -> Response:
        if not is_local(real_request(request), cast("str | None", current_app.config["SERVER_NAME"])):
            abort(404)
        # The files are there with the HTML pages only: without them the page is plain.
        styled = f"{BLUEPRINT}.static" in current_app.view_functions
        style = url_for(f"{BLUEPRINT}.static", filename=_STYLE) if styled else None
        response = current_app.response_class(inbox_page(inbox.messages, style), mimetype="text/html")
        response.headers["Content-Security-Policy"] = "default-src 'none'" + ("; style-src 'self'" if styled else "")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return view


def _no_store(response: Response) -> Response:
    if request.endpoint == f"otpauth.{FILES}":
        return response
    # The answers of Flask itself (OPTIONS) and of the host's error handlers too.
    response.headers["Cache-Control"] = "no-store"
    response.vary.update(("Authorization", "Cookie"))
    return response


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, ENDPOINTS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(ENDPOINTS)}."
    return f"OTPAUTH_ROUTES names {name!r}, which is no endpoint; {hint}"
