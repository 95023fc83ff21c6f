"""The example bank in a real browser: from the landing page to the logout, the codes read in the development inbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from example_app import create_app
from tests.browser.people import PASSWORD, check, fill, follow, press, tabs

if TYPE_CHECKING:
    from playwright.sync_api import Page

Look = Callable[["Page", str, str], None]

pytestmark = pytest.mark.browser


@dataclass
class Bank:
    """The example as it is served."""

    app: Flask
    url: str
    script: bool = True

    def let_proofs_age(self) -> None:
        """Let six minutes pass since the last code."""
        with self.app.app_context(), self.app.extensions["sqlalchemy"].engine.begin() as connection:
            connection.exec_driver_sql("UPDATE otpauth_session SET code_at = code_at - 360000")

    def code(self, page: Page) -> str:
        """Read the newest code off the inbox, and come back."""
        page.goto(f"{self.url}/auth/inbox")
        check(page, script=self.script)
        code = page.locator("article dd.code").first.inner_text()
        page.go_back()
        return code


@pytest.fixture
def bank(tmp_path: Path, serve: Callable[[Flask], str]) -> Iterator[Bank]:
    url = f"sqlite:///{tmp_path / 'bank.sqlite3'}"
    app = create_app({"TESTING": True, "OTPAUTH_BCRYPT_ROUNDS": 4, "SQLALCHEMY_DATABASE_URI": url})
    yield Bank(app, serve(app))
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()


@pytest.fixture
def seen(bank: Bank, shoot: Callable[[Page, str], None], request: pytest.FixtureRequest) -> Look:
    """Give a function that waits for the page of a heading, checks it, and keeps a picture of it."""

    def look(page: Page, heading: str, name: str) -> None:
        page.get_by_role("heading", name=heading, exact=True, level=1).wait_for()
        check(page, script=bank.script)
        shoot(page, f"bank-{name}-{request.node.callspec.id}")

    return look


def enter(bank: Bank, page: Page, button: str) -> None:
    """Type the newest code; with JavaScript the last digit sends it."""
    page.get_by_label("Code", exact=True).fill(bank.code(page))
    if not bank.script:
        press(page, button)


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(360, "dark"), (360, None), (1280, "light"), (1280, None)],
    ids=["phone", "phone-plain", "desk", "desk-plain"],
)
def test_a_person_saves_and_sends(
    bank: Bank, open_page: Callable[..., Page], seen: Look, width: int, scheme: str | None
) -> None:
    bank.script = scheme is not None
    page = open_page(
        viewport={"width": width, "height": 740}, java_script_enabled=bank.script, color_scheme=scheme or "light"
    )
    page.goto(bank.url)
    seen(page, "Money that waits for you", "home")
    open_account(bank, page, seen)
    send_money(bank, page, seen)
    leave(bank, page, seen)


def open_account(bank: Bank, page: Page, seen: Look) -> None:
    follow(page, "Open an account")
    seen(page, "Register", "register")
    fill(page, Username="ann", Password=PASSWORD, Repeat_the_password=PASSWORD)
    page.locator("#field-email").fill("ann@example.org")
    press(page, "Register")
    page.wait_for_url("**/confirm")
    enter(bank, page, "Confirm")
    page.wait_for_url("**/account")
    assert page.locator(".bank-sum").inner_text() == "100.00"
    seen(page, "Your savings", "account")


def send_money(bank: Bank, page: Page, seen: Look) -> None:
    bank.let_proofs_age()
    follow(page, "Send money")
    seen(page, "Send money", "order")
    fill(page, To_account="1000", Amount="1,5")
    press(page, "Continue")
    page.get_by_text("Please look at this again").wait_for()
    assert page.title().startswith("Error:")
    seen(page, "Send money", "order-faulty")
    fill(page, Amount="25")
    press(page, "Continue")
    seen(page, "Send 25.00 to account 1000", "confirm")
    order = page.url
    press(page, "Continue with a code")
    page.wait_for_url("**/step-up?next=/transfers/*")
    press(page, "Send the code")
    page.wait_for_url("**/code?next=/transfers/*")
    enter(bank, page, "Continue")
    page.wait_for_url(order)
    seen(page, "Send 25.00 to account 1000", "confirm-fresh")
    page.get_by_role("button", name="Send 25.00").dblclick()
    seen(page, "Sent", "sent")
    page.reload()
    follow(page, "Back to your savings")
    page.wait_for_url("**/account")
    assert page.locator(".bank-sum").inner_text() == "75.00"
    assert page.locator(".bank-amount").count() == 1
    seen(page, "Your savings", "account-after")


def leave(bank: Bank, page: Page, seen: Look) -> None:
    follow(page, "All transfers")
    seen(page, "Transfers", "transfers")
    follow(page, "Profile")
    seen(page, "Your account", "profile")
    follow(page, "Back to your savings")
    page.wait_for_url("**/account")
    press(page, "Log out")
    page.get_by_text("You are logged out.").wait_for()
    seen(page, "Money that waits for you", "out")
    page.go_back()
    page.wait_for_url("**/login?next=/account")
    assert "75.00" not in page.content()
    seen(page, "Log in", "login")


def test_a_keyboard_is_enough(bank: Bank, open_page: Callable[..., Page]) -> None:
    page = open_page(viewport={"width": 1280, "height": 800})
    page.goto(bank.url)

    def go_to(name: str) -> None:
        stops = tabs(page)
        assert any(next(stops) == name for _ in range(15)), f"Tab doesn't come to {name!r}"

    def write(**fields: str) -> None:
        for name, text in fields.items():
            if page.evaluate("document.activeElement.id") != f"field-{name}":
                go_to(f"field-{name}")
            page.keyboard.type(text)

    go_to("Open an account")
    page.keyboard.press("Enter")
    page.wait_for_url("**/register")
    write(username="ann", email="ann@example.org", password=PASSWORD, password_repeat=PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/confirm")
    go_to("inbox")
    with page.expect_popup() as opened:
        page.keyboard.press("Enter")
    code = opened.value.locator("article dd.code").first.inner_text()
    opened.value.close()
    page.reload()
    write(otp=code)
    page.wait_for_url("**/account")
    go_to("Send money")
    page.keyboard.press("Enter")
    page.wait_for_url("**/transfers/new")
    write(to="1000", amount="25")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Send 25.00 to account 1000").wait_for()
    go_to("Send 25.00")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Sent").wait_for()
    go_to("Log out")
    page.keyboard.press("Enter")
    page.get_by_text("You are logged out.").wait_for()
