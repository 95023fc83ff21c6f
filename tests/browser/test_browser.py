"""The browser fixtures themselves: what they must notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from flask import Flask, Response

from tests.browser.faults import Faults

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PAGE = "<!doctype html><html lang=en><title>T</title><body>{}</body>"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("<p style='color: red'>inline style</p>", "Content Security Policy"),
        ("<script>1</script>", "Content Security Policy"),
        ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>", "Content Security Policy"),
        ("<script src='/broken.js'></script>", "error: broken"),
        ("<script src='/missing.js'></script>", "404: "),
        ("<p>nothing of it</p>", None),
    ],
)
def test_a_fault_of_a_page_is_noticed(
    browser: Browser, serve: Callable[[Flask], str], content: str, fault: str | None
) -> None:
    app = Flask("host")
    app.add_url_rule("/", "page", lambda: PAGE.format(content))
    app.add_url_rule("/broken.js", "broken", lambda: Response("throw new Error('broken')", mimetype="text/javascript"))
    faults = Faults()
    context = browser.new_context()
    page = context.new_page()
    faults.watch(page)
    page.goto(serve(app))
    context.close()
    assert [fault in found for found in faults.found] == ([] if fault is None else [True])
