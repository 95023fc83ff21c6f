"""How a page is shown: templates, texts, headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from flask import (
    Response,
    current_app,
    flash,
    get_template_attribute,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from markupsafe import Markup

from ..delivery.texts import in_words
from ..errors import OTPAuthError
from ..redirects import BLUEPRINT, NEXT, local_path, page_url
from ..types import moment
from .csrf import hidden_field

if TYPE_CHECKING:
    from ..config import Settings

FOLDER = "otpauth/pages"
TEXTS = f"{FOLDER}/texts.html"

SEE_OTHER = 303

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # The origin and path of a form go to this app alone: CSRFProtect wants them, and step-up leads back by them.
    "Referrer-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """
    What every template of the app sees as ``otpauth_pages``.

    Attributes:
        app_name: ``OTPAUTH_APP_NAME``.
        csrf_field: Gives the hidden field that each form needs.
        url: Gives the address of a page by its name ("login", "account"), None where the app doesn't have it.
    """

    app_name: str
    csrf_field: Callable[[], Markup] = hidden_field
    url: Callable[..., str | None] = page_url

    def file(self, name: str) -> str:
        """Give the address of a file."""
        return url_for(f"{BLUEPRINT}.static", filename=name)


def show(template: str, /, status: int = 200, **values: Any) -> Response:
    """Render a page of ours; the app's own template of that name comes first."""
    response = make_response(
        render_template(f"{FOLDER}/{template}.html", in_words=in_words, moment=moment, back=back(), **values), status
    )
    retry = getattr(values.get("problem"), "headers", {}).get("Retry-After")
    if retry is not None:
        response.headers["Retry-After"] = retry
    return response


def say(notice: str, category: str = "info", **values: object) -> None:
    """Flash one of the texts of ``texts.html``, for the next page that is shown."""
    flash(_text("notice", notice, **values), category)


def say_problem(error: OTPAuthError) -> None:
    """Flash what a refusal says, for the page that the browser is sent back to."""
    flash(_text("problem", error, in_words), "warning")


def go_to(page: str, then: str | None = None) -> Response:
    """Send the browser to a page of ours, which leads on to ``then``."""
    return _see(page_url(page, then) or page_url("login", then) or "/")


def go_on(settings: Settings) -> Response:
    """Send the browser where it wanted to go, or else where ``OTPAUTH_AFTER_LOGIN`` says."""
    return _see(back() or address(settings.after_login) or page_url("account") or "/")


def go_away(settings: Settings) -> Response:
    """Send the browser where ``OTPAUTH_AFTER_LOGOUT`` says."""
    return _see(address(settings.after_logout) or page_url("login") or "/")


def back() -> str | None:
    """Give the path that this page leads to in the end, if it is one of this origin."""
    return local_path(request.args.get(NEXT))


def address(target: str | None) -> str | None:
    """Give the address of a setting: a path, a URL, or an endpoint."""
    if target is None or target.startswith("/") or "://" in target:
        return target
    return url_for(target)


def policy(settings: Settings) -> str:
    """
    Give the content security policy of our pages: their own files and nothing else, no script or style in the page.

    Forms may lead to where the settings send browsers: they are redirected there.
    """
    targets = (settings.after_login, settings.after_logout)
    foreign = sorted({_origin(target) for target in targets if target is not None and "://" in target})
    forms = " ".join(["'self'", *foreign])
    return f"default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action {forms}"


def guard(response: Response, headers: Mapping[str, str]) -> Response:
    """Put the headers of ``page_headers`` on a page, under the host's own, and let nobody keep it."""
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    # Nothing of it may be there for the next one at this machine, who goes back.
    response.headers["Cache-Control"] = "no-store"
    response.vary.update(("Authorization", "Cookie"))
    return response


def page_headers(settings: Settings) -> dict[str, str]:
    """Give the headers that each of our pages is served with."""
    return {**HEADERS, "Content-Security-Policy": policy(settings)}


def _text(macro: str, *arguments: object, **values: object) -> str:
    # Plain text, as the host's own are: not every session can hold markup, and templates escape it.
    made = cast("Callable[..., Markup]", get_template_attribute(TEXTS, macro))
    return made(*arguments, **values).strip().unescape()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _see(location: str) -> Response:
    return cast("Response", redirect(location, SEE_OTHER, Response=current_app.response_class))
