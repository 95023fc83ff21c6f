"""The savings bank of ``example_app`` refuses what a bank must refuse."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from example_app import create_app
from example_app.bank import HOUSE, PATIENCE, WELCOME, Bank
from example_app.money import MINUS, to_cents
from flask_otpauth.testing import capture_messages
from tests.services import KINDS, SERVERS, database_url

PASSWORD = "my dog eats soap"
Order = Callable[[Any], TestResponse]


def make_example(folder: Path, **config: Any) -> Flask:
    url = f"sqlite:///{folder / 'bank.sqlite3'}"
    return create_app({"TESTING": True, "OTPAUTH_BCRYPT_ROUNDS": 4, "SQLALCHEMY_DATABASE_URI": url, **config})


def close(app: Flask) -> None:
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Flask]:
    app = make_example(tmp_path)
    yield app
    close(app)


@pytest.fixture
def tokens(example: Flask) -> dict[str, Any]:
    """Tokens of a customer who has just proved a code."""
    client = example.test_client()
    with capture_messages(example) as messages:
        body = {"username": "ann", "email": "ann@example.org", "password": PASSWORD}
        asked = client.post("/auth/register", json=body)
    proof = {"challenge_id": asked.json["challenge_id"], "otp": messages[-1].code}
    return dict(client.post("/auth/verify-otp", json=proof).json)


@pytest.fixture
def order(example: Flask, tokens: dict[str, Any]) -> Order:
    """Send a body to the transfers."""
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return lambda body: example.test_client().post("/transfers", json=body, headers=headers)


def balance(example: Flask, tokens: dict[str, Any]) -> int:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return int(example.test_client().get("/account", headers=headers).json["balance"])


def test_a_transfer_moves_the_money(example: Flask, tokens: dict[str, Any], order: Order) -> None:
    answer = order({"to": HOUSE, "amount": 2500})
    assert answer.status_code == 201
    assert answer.json["balance"] == balance(example, tokens) == WELCOME - 2500


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"to": HOUSE, "amount": WELCOME + 1}, 409),
        ({"to": 999_999, "amount": 1}, 409),
        ({"to": HOUSE + 1, "amount": 1}, 409),
        ({"to": HOUSE, "amount": 0}, 400),
        ({"to": HOUSE, "amount": -5}, 400),
        ({"to": HOUSE, "amount": True}, 400),
        ({"to": HOUSE, "amount": 1.5}, 400),
        ({"to": HOUSE, "amount": "5"}, 400),
        ({"to": HOUSE, "amount": 2**53}, 400),
        ({"to": HOUSE, "amount": 1, "from": 1}, 400),
        ({"to": HOUSE}, 400),
        ([], 400),
    ],
)
def test_a_faulty_order_moves_nothing(
    example: Flask, tokens: dict[str, Any], order: Order, body: Any, status: int
) -> None:
    answer = order(body)
    assert (answer.status_code, answer.is_json) == (status, True)
    assert balance(example, tokens) == WELCOME


def test_a_deeply_nested_order_is_a_bad_request(example: Flask, tokens: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {tokens['access_token']}", "Content-Type": "application/json"}
    answer = example.test_client().post("/transfers", data=b"[" * 100_000, headers=headers)
    assert answer.status_code == 400


def test_orders_at_once_spend_no_more_than_there_is(example: Flask, tokens: dict[str, Any], order: Order) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(order, [{"to": HOUSE, "amount": WELCOME // 4}] * 10))
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [409] * 6
    assert balance(example, tokens) == 0


def test_a_refreshed_token_moves_nothing(example: Flask, tokens: dict[str, Any]) -> None:
    client = example.test_client()
    headers = {"Authorization": f"Bearer {tokens['refresh_token']}"}
    refreshed = client.post("/auth/refresh", headers=headers).json
    headers = {"Authorization": f"Bearer {refreshed['access_token']}"}
    answer = client.post("/transfers", json={"to": HOUSE, "amount": 1}, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (401, "insufficient_user_authentication")
    assert answer.json["max_age"] == 300


# --- in a browser -------------------------------------------------------------------------------------------------

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class Visitor:
    """A browser without a window: it sends the forms of the pages that it was shown, and follows no redirection."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client = app.test_client()
        self.path = "/"
        self.shown = ""

    def look(self, path: str) -> str:
        """Give the text of a page."""
        response = self.client.get(path, headers=HTML)
        assert (response.status_code, response.mimetype) == (200, "text/html"), (
            path,
            response.status,
            response.location,
        )
        assert "no-store" in response.headers["Cache-Control"]
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self';")
        self.path, self.shown = path, response.text
        return unescape(response.text)

    def send(self, path: str | None = None, **fields: str) -> TestResponse:
        """Send a form of the page last seen."""
        token = TOKEN.search(self.shown)
        assert token is not None
        headers = {**HTML, "Referer": f"http://localhost{self.path}", "Origin": "http://localhost"}
        return self.client.post(path or self.path, data={"csrf_token": token[1], **fields}, headers=headers)

    def register(self, name: str) -> None:
        """Open an account, by the extension's own pages."""
        self.look("/register")
        with capture_messages(self.app) as messages:
            address = f"{name}@example.org"
            asked = self.send(username=name, email=address, password=PASSWORD, password_repeat=PASSWORD)
        self.look(asked.location)
        assert self.send(otp=messages[-1].code or "").location == "/account"

    def prepare(self, to: int, amount: str) -> str:
        """Fill in an order; give the path of the page that shows it."""
        self.look("/transfers/new")
        response = self.send(to=str(to), amount=amount)
        assert response.status_code == 303
        self.look(response.location)
        return str(response.location)

    @property
    def balance(self) -> int:
        return int(self.client.get("/account").json["balance"])


@pytest.fixture
def ann(example: Flask) -> Visitor:
    """A customer who has just proved a code."""
    visitor = Visitor(example)
    visitor.register("ann")
    return visitor


def change(example: Flask, statement: str) -> None:
    """Let time pass, or something else happen, in the database."""
    with example.app_context(), example.extensions["sqlalchemy"].engine.begin() as connection:
        assert connection.exec_driver_sql(statement).rowcount


def test_a_person_opens_an_account_sends_money_and_leaves(example: Flask) -> None:
    ann = Visitor(example)
    assert 'href="/register"' in ann.look("/")
    assert ann.client.get("/account", headers=HTML).location == "/login?next=/account"
    ann.register("ann")
    assert ann.client.get("/", headers=HTML).location == "/account"
    text = ann.look("/account")
    assert "100.00" in text
    assert "1001" in text
    path = ann.prepare(HOUSE, "25")
    assert "Send 25.00 to account 1000" in ann.look(path)
    assert ann.balance == WELCOME
    assert (ann.send().status_code, ann.balance) == (303, WELCOME - 2500)
    assert '<h1 class="otpauth-heading">Sent</h1>' in ann.look(path)
    for page in ("/account", "/transfers"):
        assert f"{MINUS}25.00" in ann.look(page)
    kept = ann.client.get_cookie("session")
    assert kept is not None
    assert ann.send("/logout").location == "/"
    assert "You are logged out." in ann.look("/")
    ann.client.set_cookie("session", kept.value)
    for page in ("/account", "/transfers", path):
        assert ann.client.get(page, headers=HTML).location == f"/login?next={page}"


def test_the_profile_leads_back_to_the_savings(ann: Visitor) -> None:
    link = '<a href="/account">Back to your savings</a>'
    assert link in ann.look("/profile")
    assert link not in ann.look("/account")


def test_an_order_with_an_old_code_leads_to_a_fresh_one_and_back(example: Flask, ann: Visitor) -> None:
    path = ann.prepare(HOUSE, "25.5")
    change(example, "UPDATE otpauth_session SET code_at = code_at - 301000")
    assert "prove a fresh code" in ann.look(path)
    refused = ann.send()
    assert (refused.status_code, refused.location) == (302, f"/step-up?next={path}")
    ann.look(refused.location)
    with capture_messages(example) as messages:
        asked = ann.send()
    ann.look(asked.location)
    assert ann.send(otp=messages[-1].code or "").location == path
    assert ann.balance == WELCOME
    assert "Send 25.50 to account 1000" in ann.look(path)
    ann.send()
    assert ann.balance == WELCOME - 2550


@pytest.mark.parametrize(
    ("to", "amount", "status", "fault"),
    [
        ("", "", 400, "Enter the number of an account"),
        ("\N{FULLWIDTH DIGIT ONE}000", "1", 400, "Enter the number of an account"),
        ("-1000", "1", 400, "Enter the number of an account"),
        ("1000", "1,50", 400, "Enter an amount"),
        ("1000", "1.500", 400, "Enter an amount"),
        ("1000", "-1", 400, "Enter an amount"),
        ("1000", "1e3", 400, "Enter an amount"),
        ("1000", "٣", 400, "Enter an amount"),
        ("1000", "0.00", 400, "more than nothing"),
        ("1000", "100.01", 409, "not so much money"),
        ("1001", "1", 409, "the money would come from"),
        ("999999999", "1", 409, "no account with that number"),
    ],
)
def test_a_faulty_form_says_what_is_wrong_and_keeps_what_was_typed(
    ann: Visitor, to: str, amount: str, status: int, fault: str
) -> None:
    ann.look("/transfers/new")
    response = ann.send(to=to, amount=amount)
    assert response.status_code == status
    assert "<title>Error:" in response.text
    assert re.search(rf'otpauth-fault" id="fault-\w+">[^<]*{fault}', response.text)
    assert f'value="{to}"' in response.text
    assert f'value="{amount}"' in response.text


@pytest.mark.parametrize(
    ("text", "cents"),
    [("25", 2500), ("25.5", 2550), ("25.05", 2505), ("0.01", 1), ("007", 700), ("25.", None), (".5", None),
     ("1 000", None), ("1_0", None), ("9" * 13, None), ("25\n", None)],
)  # fmt: skip
def test_amounts_are_read_strictly(text: str, cents: int | None) -> None:
    assert to_cents(text) == cents


def test_a_form_that_is_sent_many_times_at_once_moves_the_money_once(example: Flask, ann: Visitor) -> None:
    path = ann.prepare(HOUSE, "10")
    token, cookie = TOKEN.search(ann.shown), ann.client.get_cookie("session")
    assert token is not None
    assert cookie is not None

    def send(_: int) -> int:
        client = example.test_client()
        client.set_cookie("session", cookie.value)
        return client.post(path, data={"csrf_token": token[1]}, headers=HTML).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(send, range(16))) == [303] * 16
    assert ann.balance == WELCOME - 1000
    assert len(ann.client.get("/transfers").json["transfers"]) == 1


def test_a_form_that_no_page_gave_moves_nothing(ann: Visitor) -> None:
    path = ann.prepare(HOUSE, "10")
    for form in ({}, {"csrf_token": "forged"}):
        response = ann.client.post(path, data=form, headers=HTML)
        assert response.status_code == 400
        assert "This page was open for too long" in response.text
        assert (
            ann.client.post("/transfers/new", data={**form, "to": "1000", "amount": "1"}, headers=HTML).status_code
            == 400
        )
    assert ann.balance == WELCOME


def test_an_order_is_its_owners_alone(example: Flask, ann: Visitor) -> None:
    path = ann.prepare(HOUSE, "10")
    bob = Visitor(example)
    bob.register("bob")
    assert bob.client.get(path, headers=HTML).status_code == 404
    bob.look("/account")
    assert bob.send(path).status_code == 404
    assert (ann.balance, bob.balance) == (WELCOME, WELCOME)


def test_an_order_lapses(example: Flask, ann: Visitor) -> None:
    path = ann.prepare(HOUSE, "10")
    change(example, f"UPDATE orders SET prepared_at = prepared_at - {PATIENCE + 1}")
    response = ann.send()
    assert (response.status_code, ann.balance) == (409, WELCOME)
    assert "This order has lapsed" in response.text
    assert "Begin again" in ann.look(path)
    ann.prepare(HOUSE, "10")
    assert ann.client.get(path, headers=HTML).status_code == 404


def test_an_order_whose_money_is_gone_is_refused(ann: Visitor) -> None:
    first, second = ann.prepare(HOUSE, "60"), ann.prepare(HOUSE, "60")
    assert ann.send(first).status_code == 303
    refused = ann.send(second)
    assert (refused.status_code, ann.balance) == (409, WELCOME - 6000)
    assert "There is not so much money" in refused.text
    assert "Send 60.00" in ann.look(second)


def test_the_inbox_is_linked_and_has_the_codes(example: Flask, ann: Visitor) -> None:
    assert 'href="/auth/inbox"' in ann.look("/account")
    response = ann.client.get("/auth/inbox", headers=HTML)
    # No script, and no style but that of a file of this very app.
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; style-src 'self'"
    style = re.search('<link rel="stylesheet" href="([^"]+)">', response.text)
    assert style is not None
    with ann.client.get(style[1]) as file:
        assert file.mimetype == "text/css"
    assert response.text.count("<style") == response.text.count("<script") == 0
    elsewhere = ann.client.get("/account", headers=HTML, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert "on the bank's console" in elsewhere.text
    assert "/auth/inbox" not in elsewhere.text


# --- programs and browsers --------------------------------------------------------------------------------------------


def test_programs_get_json_where_browsers_get_a_page(ann: Visitor) -> None:
    ann.prepare(HOUSE, "10")
    ann.send()
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5"):
        body = ann.client.get("/transfers", headers={"Accept": accept}).json["transfers"]
        assert [(one["from"], one["to"], one["amount"]) for one in body] == [(1001, HOUSE, 1000)]
        assert ann.client.get("/nowhere", headers={"Accept": accept}).json["error"]
    lost = ann.client.get("/nowhere", headers=HTML)
    assert (lost.status_code, lost.mimetype) == (404, "text/html")
    assert "Accept" in lost.headers["Vary"]


def test_without_the_extra_the_bank_speaks_json_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "flask_wtf", None)
    app = make_example(tmp_path)
    assert "pip install -e '.[pages]'" in caplog.text
    client = app.test_client()
    assert client.get("/", headers=HTML).json["error"]
    assert client.get("/login", headers=HTML).status_code == 404
    refused = client.get("/account", headers=HTML)
    assert (refused.status_code, refused.json["code"]) == (401, "authentication_required")
    close(app)


@pytest.mark.parametrize("kind", KINDS)
def test_orders_and_accounts_that_never_were_are_not_found(tmp_path: Path, kind: str) -> None:
    with database_url(kind, tmp_path) as url:
        app = make_example(tmp_path, SQLALCHEMY_DATABASE_URI=url)
        ann = Visitor(app)
        ann.register("ann")
        ann.look("/account")
        for reference in ("%00", "%FF", "A" * 32, "0" * 32, "new%0A", "1" * 5000):
            assert ann.client.get(f"/transfers/{reference}", headers=HTML).status_code == 404
            assert ann.send(f"/transfers/{reference}").status_code == 404
        ann.look("/transfers/new")
        assert ann.send(to="999999999", amount="1").status_code == 409
        assert ann.client.post("/transfers", json={"to": 2**53 - 1, "amount": 1}).status_code == 409
        close(app)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SERVERS)
def test_orders_at_once_on_a_server_wait_for_nobody_and_are_sent_once(tmp_path: Path, kind: str) -> None:
    with database_url(kind, tmp_path) as url:
        app = make_example(tmp_path, SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_ENGINE_OPTIONS={"pool_size": 20})
        bank = Bank(app)
        with app.app_context():
            left, right = bank.account_of("left"), bank.account_of("right")

        def send(number: int) -> None:
            with app.app_context():
                if number % 2:
                    bank.transfer("left", right.number, 10)
                else:
                    bank.transfer("right", left.number, 10)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(send, range(400)))
        with app.app_context():
            assert [bank.account_of(owner).balance for owner in ("left", "right")] == [WELCOME, WELCOME]
            one = bank.prepare("left", right.number, 100)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda _: bank.send("left", one.reference), range(32)))
        with app.app_context():
            assert [bank.account_of(owner).balance for owner in ("left", "right")] == [WELCOME - 100, WELCOME + 100]
        close(app)
