"""Swagger UI with its files from this server, under a policy that lets in nothing from elsewhere."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from flask import Response, abort, current_app, request
from markupsafe import Markup

PACKAGE = "flask_swagger_ui"
"""Of the extra ``docs-ui``: it is looked for and never imported, since its files are all that is needed."""

OWN_FILES = Path(__file__).parent / "swagger"
STYLE, SCRIPT = "swagger-ui.css", "swagger-ui-bundle.js"
TYPES = {".css": "text/css", ".js": "text/javascript", ".png": "image/png", ".svg": "image/svg+xml"}
IMAGE_TYPES = {"image/svg+xml": ".svg", "image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif"}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

# Its value in quotes, where a quote of its own is escaped, or bare.
_DATA = re.compile(r"""url\(\s*(?:"(data:(?:[^"\\]|\\.)*)"|'(data:(?:[^'\\]|\\.)*)'|(data:[^)"']*))\s*\)""")

_PAGE = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{base}/swagger-ui.css">
<link rel="stylesheet" href="{base}/docs.css">
<link rel="icon" type="image/png" href="{base}/favicon-32x32.png">
</head>
<body>
<main id="swagger-ui" data-document="{document}">
<noscript>
<p class="plain">Swagger UI needs JavaScript; the document itself is <a href="{document}">here</a>.</p>
</noscript>
</main>
<script src="{base}/swagger-ui-bundle.js"></script>
<script src="{base}/docs.js"></script>
</body>
</html>
""")
_MISSING = Markup("""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>Swagger UI isn't installed</h1>
<p>Install it: <code>pip install "Flask-OTPAuth[docs-ui]"</code></p>
<p>The document itself is <a href="{document}">here</a>.</p>
</body>
</html>
""")


class File(NamedTuple):
    content: bytes
    type: str


class SwaggerUI:
    """The page and its files, read when they are first asked for."""

    def __init__(self, name: str) -> None:
        self._title = f"{name}: the interface"
        self._files: dict[str, File] | None = None

    def page(self, document: str, base: str) -> Response:
        """
        Answer with the page.

        Args:
            document: URL of the document.
            base: URL of the files, without a slash at its end.
        """
        found = bool(self._read())
        page = (_PAGE if found else _MISSING).format(title=self._title, document=document, base=base)
        headers = _HEADERS | {"Content-Security-Policy": POLICY}
        return current_app.response_class(
            str(page), status=200 if found else 404, headers=headers, mimetype="text/html"
        )

    def file(self, name: str) -> Response:
        """Answer with a file; a browser may keep it, and asks whether it is still the same."""
        found = self._read().get(name)
        if found is None:
            abort(404)
        response = current_app.response_class(found.content, mimetype=found.type)
        response.headers.update(_HEADERS | {"Content-Security-Policy": "default-src 'none'"})
        response.headers["Cache-Control"] = "no-cache"
        response.set_etag(sha256(found.content).hexdigest()[:32])
        response.make_conditional(request)
        return response

    def _read(self) -> dict[str, File]:
        if self._files is None:
            self._files = _read_files(_package_folder())
        return self._files


def _package_folder() -> Path | None:
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    return Path(folders[0]) / "dist" if folders else None


def _read_files(folder: Path | None) -> dict[str, File]:
    if folder is None or not (folder / SCRIPT).is_file():
        return {}
    paths = [folder / name for name in (SCRIPT, "favicon-32x32.png")]
    paths += sorted(OWN_FILES.iterdir())
    files = {path.name: File(path.read_bytes(), TYPES[path.suffix]) for path in paths if path.suffix in TYPES}
    return files | with_images_apart((folder / STYLE).read_text(encoding="utf-8"))


def with_images_apart(style: str) -> dict[str, File]:
    """
    Give the style sheet with each of its ``data:`` images as a file of its own.

    A policy of ``default-src 'self'`` refuses the images, as it should: ``data:`` can't be told from an injected one.
    """
    files: dict[str, File] = {}

    def apart(found: re.Match[str]) -> str:
        kind, content = _decoded(next(filter(None, found.groups())))
        if kind not in IMAGE_TYPES:
            return "none"
        name = f"image-{sha256(content).hexdigest()[:16]}{IMAGE_TYPES[kind]}"
        files[name] = File(content, kind)
        return f'url("{name}")'

    files[STYLE] = File(_DATA.sub(apart, style).encode(), TYPES[".css"])
    return files


def _decoded(url: str) -> tuple[str, bytes]:
    head, _, data = re.sub(r"\\(.)", r"\1", url).removeprefix("data:").partition(",")
    kind, *more = head.split(";")
    content = unquote_to_bytes(data)
    return kind, base64.b64decode(content) if "base64" in more else content
