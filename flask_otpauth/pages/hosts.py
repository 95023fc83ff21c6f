"""For views of the host that browsers come to: a login that it begins itself, and a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request

from ..callers import page_caller
from ..errors import OTPAuthError
from ..flows.refusals import note_refusal
from ..sessions import real_request
from .page import proceed
from .rendering import guard, page_headers, show

if TYPE_CHECKING:
    from ..config import Settings
    from ..flows.service import Service


def log_in_browser(service: Service, user: object, amr: tuple[str, ...]) -> Response:
    """Finish a login that the host began itself, and send the browser on, as the page ``login`` does."""
    real = real_request(request)
    try:
        outcome = service.login.finish_host_login(user, amr, page_caller(service, real))
    except OTPAuthError as error:
        note_refusal(error, service, real)
        return refusal_page(service.settings, error)
    return guard(proceed(service, real, outcome), page_headers(service.settings))


def refusal_page(settings: Settings, error: OTPAuthError) -> Response:
    """Show what a refusal says, with its status."""
    return guard(show("problem", error.status, problem=error), page_headers(settings))
