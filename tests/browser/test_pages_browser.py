"""The pages in a real browser: with and without JavaScript, on a phone and at a desk, with the keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from flask_otpauth import OTPAuth, current_user, otp_required
from flask_otpauth.testing import capture_messages
from tests.browser.people import PASSWORD, check, fill, focused, follow, press, tabs

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 800}


@dataclass
class Site:
    """An app that is served: its address, its clock, its messages."""

    url: str
    clock: Any
    messages: list[Any]

    @property
    def code(self) -> str:
        return str(self.messages[-1].code)

    @property
    def wrong(self) -> str:
        return "0" * len(self.code) if self.code.strip("0") else "1" * len(self.code)

    def register(self, page: Page) -> None:
        page.goto(f"{self.url}/account/register")
        fill(page, Username="ann", Password=PASSWORD, Repeat_the_password=PASSWORD)
        page.locator("#field-email").fill("ann@example.org")
        press(page, "Register")
        page.wait_for_url(f"{self.url}/account/confirm")


@pytest.fixture
def site(make_app: Callable[..., Flask], serve: Callable[[Flask], str], clock: Any) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def make(**config: Any) -> Site:
            app = make_app(OTPAUTH_PAGES=True, **{f"OTPAUTH_{name}": value for name, value in config.items()})
            OTPAuth(app, clock=clock)
            app.add_url_rule("/private", "private", otp_required(lambda: f"hello {current_user.username}"))
            app.add_url_rule("/fresh", "fresh", otp_required(fresh=True)(lambda: "fresh"))
            return Site(serve(app), clock, stack.enter_context(capture_messages(app)))

        yield make


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_everything_from_registration_to_logout(
    site: Callable[..., Site],
    open_page: Callable[..., Page],
    shoot: Callable[[Page, str], None],
    size: dict[str, int],
    script: bool,
) -> None:
    it = site()
    scheme = "dark" if size is PHONE and script else "light"
    page = open_page(viewport=size, java_script_enabled=script, color_scheme=scheme)

    def seen(name: str) -> None:
        shoot(page, f"{name}-{size['width']}-{'script' if script else 'plain'}")
        check(page, script=script)

    page.goto(f"{it.url}/private")
    assert page.url == f"{it.url}/account/login?next=/private"
    seen("login")
    press(page, "Log in")
    page.locator("#problem:focus").wait_for()
    seen("login-wrong")
    follow(page, "Register")
    seen("register")
    fill(page, Username="ann", Password=PASSWORD, Repeat_the_password="another one")
    page.locator("#field-email").fill("ann@example.org")
    press(page, "Register")
    page.get_by_text("The two passwords are not the same.").nth(1).wait_for()
    seen("register-wrong")
    fill(page, Password=PASSWORD, Repeat_the_password=PASSWORD)
    press(page, "Register")
    page.wait_for_url(f"{it.url}/account/confirm?next=/private")
    seen("confirm")
    _enter(page, it.wrong, script=script)
    page.get_by_text("4 attempts left").wait_for()
    seen("confirm-wrong")
    _enter(page, it.code, script=script)
    page.wait_for_url(f"{it.url}/private")
    assert page.get_by_text("hello ann").is_visible()

    it.clock.advance(301)
    page.goto(f"{it.url}/fresh")
    assert page.url == f"{it.url}/account/step-up?next=/fresh"
    seen("step-up")
    press(page, "Send the code")
    page.wait_for_url(f"{it.url}/account/code?next=/fresh")
    seen("code")
    _enter(page, it.code, script=script)
    page.wait_for_url(f"{it.url}/fresh")

    page.goto(f"{it.url}/account")
    seen("account")
    press(page, "Log out")
    page.wait_for_url(f"{it.url}/account/login")
    assert page.get_by_text("You are logged out.").is_visible()
    seen("logged-out")


def _enter(page: Page, code: str, *, script: bool) -> None:
    page.get_by_label("Code", exact=True).fill(code)
    if not script:
        page.locator("#code-form button").click()


def test_after_the_logout_nothing_is_left(site: Callable[..., Site], page: Page) -> None:
    it = site()
    it.register(page)
    page.get_by_label("Code", exact=True).fill(it.code)
    page.wait_for_url(f"{it.url}/account")
    page.goto(f"{it.url}/private")
    old = page.context.cookies()
    page.goto(f"{it.url}/account")
    press(page, "Log out")
    page.wait_for_url(f"{it.url}/account/login")
    for _ in range(2):
        page.go_back()
        assert page.get_by_text("hello ann").count() == page.get_by_text("ann@example.org").count() == 0
    page.context.clear_cookies()
    page.context.add_cookies(old)  # type: ignore[arg-type]
    page.goto(f"{it.url}/private")
    assert page.url == f"{it.url}/account/login?next=/private"


def test_the_keyboard_is_enough(site: Callable[..., Site], page: Page) -> None:
    it = site()
    page.goto(f"{it.url}/account/register")
    assert focused(page).get_attribute("id") == "field-username"
    for key, text in (("username", "ann"), ("email", "ann@example.org"), ("phone", ""), ("password", PASSWORD)):
        assert focused(page).get_attribute("id") == f"field-{key}"
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{it.url}/account/confirm")
    assert focused(page).get_attribute("id") == "field-otp"
    page.keyboard.type(it.code)
    page.wait_for_url(f"{it.url}/account")
    walked = tabs(page)
    assert next(walked) == "Skip to the content"
    assert next(walked) == "Log out"
    page.keyboard.press("Enter")
    page.wait_for_url(f"{it.url}/account/login")


def test_an_error_has_the_focus_and_leads_to_its_field(site: Callable[..., Site], page: Page) -> None:
    it = site()
    page.goto(f"{it.url}/account/login")
    fill(page, Password="x")
    press(page, "Log in")
    page.locator("[role=alert]:focus").wait_for()
    assert page.title().startswith("Error: ")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert focused(page).get_attribute("id") == "field-identifier"
    assert focused(page).get_attribute("aria-invalid") == "true"


def test_a_reload_sends_nothing_and_does_not_restart_the_countdown(site: Callable[..., Site], page: Page) -> None:
    it = site()
    it.register(page)
    assert _left(page) > 290
    it.clock.advance(100)
    page.reload()
    assert 190 < _left(page) <= 200
    page.wait_for_function(f"() => !document.getElementById('timer').textContent.includes('{_shown(page)}')")
    assert _left(page) < 200
    assert len(it.messages) == 1


def _shown(page: Page) -> str:
    found = re.search(r"\d+:\d\d", page.locator("#timer").inner_text())
    assert found is not None
    return found[0]


def _left(page: Page) -> int:
    minutes, seconds = _shown(page).split(":")
    return int(minutes) * 60 + int(seconds)


def test_the_button_for_another_code_unlocks_itself(site: Callable[..., Site], page: Page) -> None:
    it = site()
    it.register(page)
    assert page.get_by_role("button", name=re.compile(r"New code in (1:00|0:5\d)")).is_disabled()
    it.clock.advance(59)
    page.reload()
    it.clock.advance(1)
    button = page.get_by_role("button", name="Send a new code")
    button.wait_for()
    button.click()
    page.get_by_text("a new code is on its way").wait_for()
    assert len(it.messages) == 2
    assert page.get_by_role("button", name=re.compile("New code in")).is_disabled()
    page.get_by_label("Code", exact=True).fill(it.code)
    page.wait_for_url(f"{it.url}/account")


def test_an_expired_code_makes_room_for_another(site: Callable[..., Site], page: Page) -> None:
    it = site()
    it.register(page)
    it.clock.advance(299)
    page.reload()
    page.get_by_text("This code has expired.").wait_for()
    assert page.get_by_label("Code", exact=True).is_hidden()
    assert "btn-primary" in str(page.get_by_role("button", name="Send a new code").get_attribute("class"))
    check(page)
    it.clock.advance(2)
    page.reload()
    assert page.get_by_text("This code has expired.").is_visible()
    check(page)


def test_where_a_flow_starts_again_the_page_goes_there_by_itself(site: Callable[..., Site], page: Page) -> None:
    it = site(ON_EXPIRY="restart")
    it.register(page)
    it.clock.advance(299)
    page.reload()
    it.clock.advance(2)
    page.wait_for_url(f"{it.url}/account/register")
    assert page.get_by_text("The code has expired").is_visible()


@pytest.mark.parametrize("form", [" {}-{}\n", "{}\u00a0{}"])
def test_a_code_can_be_pasted(site: Callable[..., Site], page: Page, form: str) -> None:
    it = site()
    it.register(page)
    text = form.format(it.code[:3], it.code[3:])
    page.get_by_label("Code", exact=True).evaluate(
        """(input, text) => {
            const data = new DataTransfer();
            data.setData("text", text);
            input.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
        }""",
        text,
    )
    page.wait_for_url(f"{it.url}/account")


def test_the_browser_may_read_the_code_out_of_the_message(site: Callable[..., Site], page: Page) -> None:
    it = site()
    page.add_init_script(
        """window.OTPCredential = class {};
        window.asked = new Promise(resolve => {
            navigator.credentials.get = options => new Promise(give => resolve({options, give}));
        });"""
    )
    it.register(page)
    page.evaluate("async code => { (await asked).give({code}); }", it.code)
    page.wait_for_url(f"{it.url}/account")


def test_a_second_tap_sends_nothing_more(site: Callable[..., Site], page: Page) -> None:
    it = site()
    it.register(page)
    it.clock.advance(60)
    page.reload()
    page.evaluate("() => { const b = document.getElementById('resend'); b.click(); b.click(); }")
    page.get_by_text("a new code is on its way").wait_for()
    assert len(it.messages) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_as_dark_as_the_browser_wants(
    site: Callable[..., Site], open_page: Callable[..., Page], scheme: str
) -> None:
    page = open_page(color_scheme=scheme)
    page.goto(f"{site().url}/account/login")
    assert page.locator("html").get_attribute("data-bs-theme") == scheme
    other = {"light": "dark", "dark": "light"}[scheme]
    page.emulate_media(color_scheme=other)  # type: ignore[arg-type]
    page.wait_for_selector(f"html[data-bs-theme={other}]")


def test_logins_are_ended_in_the_account_page(
    site: Callable[..., Site], open_page: Callable[..., Page], page: Page
) -> None:
    it = site()
    it.register(page)
    page.get_by_label("Code", exact=True).fill(it.code)
    page.wait_for_url(f"{it.url}/account")
    phone = open_page(viewport=PHONE)
    phone.goto(f"{it.url}/account/login?next=/private")
    fill(phone, Password=PASSWORD)
    phone.locator("#field-identifier").fill("ann")
    press(phone, "Log in")
    phone.wait_for_url(f"{it.url}/account/code?next=/private")
    phone.get_by_label("Code", exact=True).fill(it.code)
    phone.wait_for_url(f"{it.url}/private")
    page.reload()
    assert page.get_by_text("this browser").count() == 1
    check(page)
    page.get_by_role("button", name=re.compile("^End Chrome on Linux")).click()
    page.get_by_text("That login has been ended.").wait_for()
    phone.reload()
    assert phone.url.startswith(f"{it.url}/account/login")
