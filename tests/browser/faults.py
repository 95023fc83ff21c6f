"""What the browser itself finds wrong with a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Response

PARTS = frozenset({"stylesheet", "script", "image", "font", "media", "manifest"})
"""What a page is made of: none of it may be missing. What is asked for by fetch or a form may be refused."""


class Faults:
    """What went wrong in a page: script errors, refusals of the content security policy, files that are missing."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        # Each answer of 400 and above is told here too: those that count are in ``_answered``.
        if message.type == "error" and not message.text.startswith("Failed to load resource: the server responded"):
            self.found.append(f"console: {message.text} ({message.location.get('url')})")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.request.resource_type in PARTS:
            self.found.append(f"{response.status}: {response.url}")
