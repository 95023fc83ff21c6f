"""Whether a request that a cookie authenticates comes from the app's own pages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Request

from ..config import Settings
from ..errors import CrossOrigin

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def check_origin(request: Request, settings: Settings) -> None:
    """
    Let a request pass that can't have been forged by another site; safe methods always pass.

    ``Sec-Fetch-Site`` decides where it is sent (Fetch Metadata), else ``Origin``; with neither header the request
    comes from no browser. An origin of ``OTPAUTH_TRUSTED_ORIGINS`` passes in any case: pages can't forge that header.

    Raises:
        CrossOrigin: The request comes from another site, or from another origin of the same site.
    """
    if request.method in SAFE_METHODS:
        return
    environ: WSGIEnvironment = request.environ
    origin = str(environ.get("HTTP_ORIGIN", "")).strip().lower().rstrip("/")
    site = str(environ.get("HTTP_SEC_FETCH_SITE", "")).strip().lower()
    if origin and any(origin == trusted.lower().rstrip("/") for trusted in settings.trusted_origins):
        return
    if site in {"same-origin", "none"}:
        return
    if site or (origin and _host(origin) != request.host.lower()):
        raise CrossOrigin


def _host(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}":
        return None
    if "@" in parts.netloc or "\\" in parts.netloc:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    # Werkzeug leaves the default port out of ``request.host``; browsers leave it out of an origin.
    standard = {"http": 80, "https": 443}[parts.scheme]
    return host if port in {None, standard} else f"{host}:{port}"
