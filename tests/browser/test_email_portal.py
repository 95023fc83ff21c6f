"""The e-mail verified portal in a browser, as its author described it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from example_app.recipes import email_portal
from flask_otpauth.testing import capture_messages
from tests.browser.people import PASSWORD, check, fill, press
from tests.recipes.walking import close, settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


@pytest.fixture
def portal(tmp_path: Path, serve: Callable[[Flask], str]) -> Iterator[tuple[str, list[Any]]]:
    app = email_portal.create_app(settings(f"sqlite:///{tmp_path / 'portal.db'}"))
    with ExitStack() as stack:
        stack.callback(close, app)
        messages = stack.enter_context(capture_messages(app))
        yield serve(app), messages


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_portal(
    portal: tuple[str, list[Any]], open_page: Callable[..., Page], shoot: Callable[..., None], width: int, script: bool
) -> None:
    url, messages = portal
    page = open_page(viewport={"width": width, "height": 740}, java_script_enabled=script)
    page.goto(f"{url}/register")
    check(page, script=script)
    fill(page, Username="ann", Password=PASSWORD, Repeat_the_password=PASSWORD)
    page.get_by_label("E-mail address").fill("ann@example.org")
    press(page, "Register")
    page.wait_for_url(f"{url}/verify_otp")
    check(page, script=script)
    page.get_by_label("Code", exact=True).fill(messages[-1].code)
    if not script:
        press(page, "Confirm")
    page.wait_for_url(f"{url}/login")
    assert page.get_by_text("Your account is ready.").is_visible()

    page.goto(f"{url}/dashboard")
    assert page.url == f"{url}/login?next=/dashboard"
    check(page, script=script)
    fill(page, Username="ann", Password=PASSWORD)
    press(page, "Log in")
    page.wait_for_url(f"{url}/dashboard")
    assert page.get_by_text("Welcome, ann.").is_visible()
    shoot(page, f"portal-dashboard-{width}-{'script' if script else 'plain'}")
    check(page, script=script)
    cookies = page.context.cookies()
    # The login ends with the browser: its cookie has no date.
    assert [one["expires"] for one in cookies if one["name"] == "session"] == [-1]

    press(page, "Log out")
    page.wait_for_url(f"{url}/login")
    page.go_back()
    assert page.get_by_text("Welcome, ann.").count() == 0
    page.context.clear_cookies()
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
    page.goto(f"{url}/dashboard")
    assert page.url == f"{url}/login?next=/dashboard"
