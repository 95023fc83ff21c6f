"""What browsers get from a view that refuses: the way to the page that helps, and back, or a page that says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

from flask import Request, Response, current_app, redirect, url_for

from .errors import AuthenticationRequired, Forbidden, InsufficientAuthentication, OTPAuthError
from .flows.refusals import note_refusal

if TYPE_CHECKING:
    from .flows.service import Service

BLUEPRINT = "otpauth_pages"

EXACT: Mapping[str, bool] = {"strict_slashes": True, "merge_slashes": False}
"""Options of our routes: a doubled slash would lead to an absolute URL, at the host that the client named."""

SHOWS = "otpauth_shows"
"""Attribute of that blueprint: the function that makes a page of a refusal."""

NEXT = "next"
"""Query parameter that pages hand on, as ``page_url`` writes it."""

LONGEST = 2000
"""Characters; longer ones are cut off by one or the other server."""

# Printable ASCII without the backslash, which browsers read as a slash; two slashes at the start name another host.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")

_PAGES: Mapping[type[OTPAuthError], str] = {AuthenticationRequired: "login", InsufficientAuthentication: "step_up"}


def local_path(text: str | None) -> str | None:
    """Give the text if it is a path from the root of this very origin, with or without a query; else None."""
    return text if text is not None and len(text) <= LONGEST and _LOCAL.fullmatch(text) else None


def page_url(page: str, back: str | None = None) -> str | None:
    """Give the address of one of our pages, which goes on to ``back``; None where the app doesn't have it."""
    endpoint = f"{BLUEPRINT}.{page}"
    if endpoint not in current_app.view_functions:
        return None
    return url_for(endpoint, next=back) if back else url_for(endpoint)


def lead_to_help(error: OTPAuthError, service: Service, request: Request) -> Response | None:
    """
    Send a browser to the page that lets it pass a protected view, and leads back there; show it that none does.

    None for anything that isn't a browser which is looking at a page, for an error that pages have nothing to say
    about, and for an app without that page.
    """
    if not asks_for_html(request):
        return None
    response = _page_of(error) if isinstance(error, Forbidden) else _way_to_help(error, request)
    if response is None:
        return None
    note_refusal(error, service, request)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept, Authorization, Cookie"
    return response


def _way_to_help(error: OTPAuthError, request: Request) -> Response | None:
    page = _PAGES.get(type(error))
    address = page_url(page, way_back(request)) if page is not None else None
    return None if address is None else cast("Response", redirect(address, Response=current_app.response_class))


def _page_of(error: OTPAuthError) -> Response | None:
    # Pages are a floor up, and not in every app: their blueprint brings what shows a refusal.
    shows: Callable[[OTPAuthError], Response] | None = getattr(current_app.blueprints.get(BLUEPRINT), SHOWS, None)
    return None if shows is None else shows(error)


def asks_for_html(request: Request) -> bool:
    """Tell whether the client names ``text/html`` as what it takes, and brings no credentials of a program."""
    named = (kind.lower() for kind, quality in request.accept_mimetypes if quality > 0)
    return "Authorization" not in request.headers and any(kind.partition(";")[0] == "text/html" for kind in named)


def way_back(request: Request) -> str | None:
    """
    Give the path that a browser is to come back to: where it is, or the page whose form it sent.

    What was sent is not repeated: nobody has confirmed it.
    """
    if request.method in {"GET", "HEAD"}:
        query = request.query_string.decode("latin-1")
        path = quote(request.script_root + request.path, safe="/:@!$&'()*+,;=~")
        return local_path(f"{path}?{query}" if query else path)
    return _path_of(request.referrer, request.host_url)


def _path_of(address: str | None, host: str) -> str | None:
    if address is None or not address.startswith(host):
        return None
    parts = urlsplit(address)
    return local_path(f"{parts.path}?{parts.query}" if parts.query else parts.path)
