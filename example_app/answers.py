"""One view, two kinds of clients: programs get JSON, browsers a page."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from .bank import Refusal

# Files of this app alone, nothing in the page itself; as strict as the extension's own pages.
POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"


def answer(body: dict[str, Any], template: str, status: int = 200, **values: Any) -> Response:
    """Give the body to a program, and the template with the values to a browser."""
    response = page(template, status, **values) if _wants_page() else make_response(jsonify(body), status)
    response.vary.add("Accept")
    return response


def page(template: str, status: int = 200, **values: Any) -> Response:
    """Show a page of the bank; nothing of it may be there for the next one at the machine, who goes back."""
    response = make_response(render_template(f"bank/{template}.html", **values), status)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.vary.update(("Authorization", "Cookie"))
    return response


def tell_errors(app: Flask) -> None:
    """Put what goes wrong into the words of either client."""

    @app.errorhandler(Refusal)
    def refused(error: Refusal) -> Response:
        return answer({"error": str(error)}, "error", 409, title="Not carried out", text=str(error))

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        return answer(
            {"error": error.description}, "error", error.code or 500, title=error.name, text=error.description
        )


def _wants_page() -> bool:
    # The first one counts where a client takes either: curl, which takes anything, is a program.
    kind = request.accept_mimetypes.best_match(["application/json", "text/html"])
    return "pages" in current_app.blueprints and kind == "text/html" and "Authorization" not in request.headers
