"""Swagger UI: its page and its files, all from this server."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from flask import Flask
from typing_extensions import override

from flask_otpauth import OTPAuth
from flask_otpauth.api import swagger_ui
from flask_otpauth.api.swagger_ui import with_images_apart

Make = Callable[..., Flask]

LINK = re.compile(r'(?:href|src|data-document)="([^"]+)"')


class Inline(HTMLParser):
    """Finds what a strict policy refuses: scripts, styles and handlers that stand in the page itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open = ""

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.found += [f"{tag} {name}" for name, _ in attrs if name == "style" or name.startswith("on")]

    @override
    def handle_data(self, data: str) -> None:
        if self._open in {"script", "style"} and data.strip():
            self.found.append(f"<{self._open}>{data}")


@pytest.mark.parametrize(
    ("path", "page", "style"),
    [
        ("/docs", "/docs", "/docs/swagger-ui/swagger-ui.css"),
        ("/", "/", "/swagger-ui/swagger-ui.css"),
        ("/swagger/", "/swagger/", "/swagger/swagger-ui/swagger-ui.css"),
        (None, "/auth/docs", "/auth/docs/swagger-ui/swagger-ui.css"),
    ],
)
def test_the_page_and_all_that_it_names_come_from_here(make_app: Make, path: str | None, page: str, style: str) -> None:
    app = make_app(OTPAUTH_ROUTES={} if path is None else {"docs": path})
    OTPAuth(app)
    client = app.test_client()
    response = client.get(page)
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert response.headers["Cache-Control"] == "no-store"
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "data:" not in policy
    assert "frame-ancestors 'none'" in policy
    inline = Inline()
    inline.feed(response.text)
    assert inline.found == []
    links = set(LINK.findall(response.text))
    assert {style, "/auth/openapi.json"} <= links
    for link in links:
        assert link.startswith("/")
        assert client.get(link).status_code == 200


def test_a_mounted_app_names_its_place(make_app: Make) -> None:
    app = make_app()
    OTPAuth(app)
    page = app.test_client().get("/auth/docs", environ_overrides={"SCRIPT_NAME": "/mounted"}).text
    assert set(LINK.findall(page)) >= {"/mounted/auth/openapi.json", "/mounted/auth/docs/swagger-ui/docs.js"}


def test_the_name_of_the_app_is_escaped(make_app: Make) -> None:
    app = make_app(OTPAUTH_APP_NAME="</title><script>alert(1)</script>")
    OTPAuth(app)
    assert "<script>alert" not in app.test_client().get("/auth/docs").text


def test_a_browser_may_keep_the_files_and_asks_for_changes(make_app: Make) -> None:
    app = make_app()
    OTPAuth(app)
    client = app.test_client()
    for name, kind in (
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-ui.css", "text/css"),
        ("docs.js", "text/javascript"),
        ("docs.css", "text/css"),
        ("favicon-32x32.png", "image/png"),
    ):
        first = client.get(f"/auth/docs/swagger-ui/{name}")
        assert (first.status_code, first.mimetype) == (200, kind)
        assert first.headers["Cache-Control"] == "no-cache"
        assert first.headers["X-Content-Type-Options"] == "nosniff"
        again = client.get(f"/auth/docs/swagger-ui/{name}", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    "name", ["index.html", "__init__.py", "..%2fflask_swagger_ui.py", "../../login", "docs.js/", ""]
)
def test_there_are_no_other_files(make_app: Make, name: str) -> None:
    app = make_app()
    OTPAuth(app)
    assert app.test_client().get(f"/auth/docs/swagger-ui/{name}").status_code in {404, 405}


def test_the_images_of_the_style_sheet_are_files(make_app: Make) -> None:
    app = make_app()
    OTPAuth(app)
    client = app.test_client()
    style = client.get("/auth/docs/swagger-ui/swagger-ui.css").text
    assert "data:" not in style
    images = set(re.findall(r'url\("(image-[0-9a-f]+\.\w+)"\)', style))
    assert len(images) >= 5
    for image in images:
        response = client.get(f"/auth/docs/swagger-ui/{image}")
        assert response.status_code == 200
        assert response.mimetype.startswith("image/")
        assert response.headers["Content-Security-Policy"] == "default-src 'none'"
        start = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8", "image/svg+xml": b"<svg"}[response.mimetype]
        assert response.data.startswith(start)


@pytest.mark.parametrize(
    ("style", "name", "content"),
    [
        ('a{background:url("data:image/svg+xml;charset=utf-8,<svg a=\\"(1)\\"/>") 0}', "svg", b'<svg a="(1)"/>'),
        ("a{background:url('data:image/svg+xml,%3Csvg/%3E')}", "svg", b"<svg/>"),
        ("a{background:url( data:image/png;base64,iVBORw== )}", "png", b"\x89PNG"),
    ],
)
def test_each_way_to_write_an_image_is_understood(style: str, name: str, content: bytes) -> None:
    files = with_images_apart(style)
    css = files.pop("swagger-ui.css").content.decode()
    assert "data:" not in css
    ((image, file),) = files.items()
    assert image.endswith("." + name)
    assert f'url("{image}")' in css
    assert file.content == content


def test_what_is_no_image_is_left_out() -> None:
    files = with_images_apart("@font-face{src:url(data:font/woff2;base64,AAAA)} b{background:url(x.png)}")
    assert {name: file.content for name, file in files.items()} == {
        "swagger-ui.css": b"@font-face{src:none} b{background:url(x.png)}"
    }


def test_without_the_extra_the_page_says_what_to_install(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swagger_ui, "PACKAGE", "there_is_no_such_package")
    app = make_app()
    OTPAuth(app)
    client = app.test_client()
    response = client.get("/auth/docs")
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert 'pip install "Flask-OTPAuth[docs-ui]"' in response.text
    assert client.get("/auth/docs/swagger-ui/swagger-ui.css").status_code == 404
    assert client.get("/auth/openapi.json").status_code == 200
