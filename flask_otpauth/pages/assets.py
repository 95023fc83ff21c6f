"""Files of the pages, all from this very app: our own, and Bootstrap's as Bootstrap-Flask brings it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from flask import Response, send_from_directory

STATIC = Path(__file__).parent.parent / "static"

BOOTSTRAP = "bootstrap/"
"""What file names of Bootstrap begin with."""


def file_view() -> Callable[[str], Response]:
    """
    Make the view that serves the files.

    Bootstrap-Flask isn't put on the app, which would change its config: its files are all that is used.
    """
    bootstrap = _package("flask_bootstrap") / "static" / "bootstrap5"

    def view(filename: str) -> Response:
        if filename.startswith(BOOTSTRAP):
            return send_from_directory(bootstrap, filename.removeprefix(BOOTSTRAP))
        return send_from_directory(STATIC, filename)

    return view


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None  # noqa: S101 - looked for when the app was set up
    assert spec.origin is not None  # noqa: S101
    return Path(spec.origin).parent
