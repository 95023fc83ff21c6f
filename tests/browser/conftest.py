"""
A real browser on a real server.

Without Playwright or Chromium these tests are skipped; where ``CI`` is set they fail. Chromium is that of the
distribution, or what ``TEST_CHROMIUM`` names.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.browser.faults import Faults

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("TEST_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
STRICT = "default-src 'self'"
"""The policy that every page is served with, beside its own: a browser keeps to both."""


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        return


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give headless Chromium; for a module, since its event loop stands in the way of other tests that have one."""
    if not Path(CHROMIUM).exists():
        _absent(f"there is no Chromium at {CHROMIUM}")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _absent("Playwright isn't installed (dependency group browser)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """
    Give a maker of pages, each in a browser profile of its own: ``open_page(java_script_enabled=False)``.

    It takes the options of Playwright's ``new_context``. The test fails at its end if a page has had an error on its
    console or lacked one of its files.
    """
    faults = Faults()
    with ExitStack() as opened:

        def open_one(**options: Any) -> Page:
            context = browser.new_context(**options)
            opened.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(15_000)
            faults.watch(page)
            return page

        yield open_one
    assert faults.found == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """Give a page of 1280 by 800 px with JavaScript; see ``open_page``."""
    return open_page(viewport={"width": 1280, "height": 800})


@pytest.fixture
def serve(make_app: Callable[..., Flask]) -> Iterator[Callable[[Flask], str]]:
    """
    Give a function that serves an app from a thread of this process and tells its address: ``http://127.0.0.1:...``.

    Messages can be read with ``capture_messages(app)``. Every answer carries the policy ``STRICT`` besides its own.
    """
    with ExitStack() as running:
        yield lambda app: running.enter_context(_served(app))


@pytest.fixture
def shoot() -> Callable[[Page, str], None]:
    """Give a function that keeps a picture of the whole page in the folder ``TEST_SCREENSHOTS``, if that is set."""

    def keep(page: Page, name: str) -> None:
        folder = os.environ.get("TEST_SCREENSHOTS")
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return keep


@contextmanager
def _served(app: Flask) -> Generator[str, None, None]:
    def strict(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            return start_response(status, [*headers, ("Content-Security-Policy", STRICT)], exc_info)

        return app(environ, start)

    server = make_server("127.0.0.1", 0, strict, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _absent(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
