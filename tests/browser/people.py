"""What a person does at a page, and what must hold of each page that he sees."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

PASSWORD = "correct horse battery"

SERIOUS = frozenset({"serious", "critical"})

_FINDINGS = """async () => (await axe.run()).violations.map(
  one => [one.impact, one.id, one.nodes.map(node => node.html.slice(0, 120)).join(" | ")])"""


def check(page: Page, *, script: bool = True) -> None:
    """
    Check what must hold of each page.

    Nothing sticks out at the side, there is one heading and at most one clear action, every field has a label, and axe
    finds nothing serious. Where the page may run no script, axe can't either.
    """
    page.wait_for_load_state()
    width = page.viewport_size
    assert width is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= width["width"]
    assert page.locator("h1").count() == 1
    assert page.locator(".btn-primary:visible").count() <= 1
    assert page.locator("html").get_attribute("lang") == "en"
    unlabelled = "[...document.querySelectorAll('input:not([type=hidden])')].filter(one => !one.labels.length).length"
    assert page.evaluate(unlabelled) == 0
    if not script:
        return
    assert [one for one in _axe(page) if one[0] in SERIOUS] == []


def _axe(page: Page) -> list[Any]:
    spec = find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe isn't installed (dependency group browser)")
    # By the debugger, which the policy of the page doesn't bind.
    page.evaluate((Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8"))
    found: list[Any] = page.evaluate(_FINDINGS)
    return found


def fill(page: Page, **fields: str) -> None:
    """Fill in fields by their labels: ``fill(page, Username="ann")``; "_" stands for a space."""
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(value)


def press(page: Page, name: str) -> None:
    """Press a button, and wait for the page that its form leads to."""
    button = page.get_by_role("button", name=name, exact=True)
    with page.expect_navigation():
        button.click()


def follow(page: Page, name: str) -> None:
    """Follow a link, and wait for the page that it leads to."""
    link = page.get_by_role("link", name=name)
    with page.expect_navigation():
        link.click()


def focused(page: Page) -> Locator:
    """Give the element that has the focus."""
    return page.locator(":focus")


def tabs(page: Page) -> Iterator[str]:
    """Press Tab on and on, and give the name of what has the focus then."""
    while True:
        page.keyboard.press("Tab")
        yield str(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
