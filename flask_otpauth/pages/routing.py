"""Pages, their paths, and the blueprint that joins them with their views."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from flask import Blueprint, Response, current_app, request

from ..config import ROUTE
from ..redirects import BLUEPRINT, EXACT, SHOWS
from ..schemas import Schemas
from ..sessions import real_request
from .account import AccountPage, LogoutPage, StepUpPage
from .assets import file_view
from .codes import CodePage, ConfirmPage, ResendPage
from .entry import LoginPage, RegisterPage
from .hosts import refusal_page
from .page import Page
from .rendering import Site, guard, page_headers

if TYPE_CHECKING:
    from ..config import Settings
    from ..flows.service import Service

_PREFIX = "pages."
_ROOT = "/account"
"""Where the account page and the files sit in an app whose other pages sit at the root."""

_PATHS = {
    "register": "/register",
    "confirm": "/confirm",
    "login": "/login",
    "code": "/code",
    "resend": "/resend",
    "logout": "/logout",
    "step_up": "/step-up",
    "account": "",
    "static": "/static",
}

_PAGES: tuple[type[Page], ...] = (
    RegisterPage,
    ConfirmPage,
    LoginPage,
    CodePage,
    ResendPage,
    LogoutPage,
    StepUpPage,
    AccountPage,
)

PAGES: tuple[str, ...] = tuple(_PREFIX + name for name in _PATHS)
"""Names that ``OTPAUTH_ROUTES`` takes besides those of the JSON interface."""

_PACKAGES = ("flask_wtf", "flask_bootstrap")


def missing_packages(settings: Settings) -> list[str]:
    """Tell that the extra isn't installed, where pages are on."""
    if not settings.pages or all(find_spec(name) for name in _PACKAGES):
        return []
    return ["OTPAUTH_PAGES needs Flask-WTF and Bootstrap-Flask: pip install 'Flask-OTPAuth[pages]'."]


def page_route_faults(settings: Settings, taken: Mapping[str, str]) -> list[str]:
    """
    Tell what is wrong with the paths of pages, one sentence each, with its cure.

    ``taken`` holds the paths of the JSON interface, without a slash at their end, and the names of their endpoints.
    """
    given = {name: path for name, path in settings.routes.items() if name.startswith(_PREFIX)}
    faults = [_unknown(name) for name in given if name not in PAGES]
    for name, path in given.items():
        if isinstance(path, str) and not ROUTE.fullmatch(path):
            faults.append(f"OTPAUTH_ROUTES has {path!r} for {name!r}; use letters, digits and '._~-' between slashes.")
    if not settings.pages:
        return faults
    seen = dict(taken)
    for name in PAGES:
        place = path_of(name.removeprefix(_PREFIX), settings)
        first = name if place is None else seen.setdefault(place.rstrip("/"), name)
        if first != name:
            faults.append(f"The page {name!r} has the path of {first!r}; give it another one in OTPAUTH_ROUTES.")
    return faults


def path_of(page: str, settings: Settings) -> str | None:
    """Give the path from the root; None for a page that is switched off."""
    rooted = page in {"account", "static"}
    prefix = settings.pages_prefix or (_ROOT if rooted else "")
    path = settings.routes.get(_PREFIX + page, prefix + _PATHS[page])
    return None if path is False else str(path)


def make_pages(settings: Settings, schemas: Schemas, fields: Mapping[str, bool]) -> Blueprint:
    """Make the blueprint ``otpauth_pages`` of one app; its paths are whole, as those of the JSON interface are."""
    blueprint = Blueprint(BLUEPRINT, __name__, template_folder="../templates")
    site = Site(app_name=settings.name)
    blueprint.app_context_processor(lambda: {"otpauth_pages": site})
    blueprint.after_request(partial(_guarded, page_headers(settings)))
    setattr(blueprint, SHOWS, partial(refusal_page, settings))
    for kind in _PAGES:
        path = path_of(kind.name, settings)
        if path is None or (kind.name in {"register", "confirm"} and settings.registration == "closed"):
            continue
        view = _view(kind(settings, schemas, fields))
        blueprint.add_url_rule(path, kind.name, view, methods=["GET", "POST"], **EXACT)
    files = path_of("static", settings)
    if files is not None:
        blueprint.add_url_rule(f"{files.rstrip('/')}/<path:filename>", "static", file_view(), **EXACT)
    return blueprint


def _view(page: Page) -> Callable[[], Response]:
    def view() -> Response:
        service = cast("Service", current_app.extensions["otpauth"])
        return page.answer(service, real_request(request))

    return view


def _guarded(headers: Mapping[str, str], response: Response) -> Response:
    if request.endpoint == f"{BLUEPRINT}.static":
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response
    return guard(response, headers)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, PAGES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(PAGES)}."
    return f"OTPAUTH_ROUTES names {name!r}, which is no page; {hint}"
