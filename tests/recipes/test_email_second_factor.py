"""System 5, e-mail second factor: a password, then a code by e-mail, then a session cookie that lasts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from example_app.recipes import email_second_factor
from flask_otpauth.testing import assert_no_enumeration
from tests.mailserver import authenticator, servers
from tests.recipes.running import Running, running
from tests.recipes.walking import SECRET, Walk, close, refused
from tests.services import KINDS, database_url

JOHN = {"name": "John Doe", "email": "john@example.com", "password": "SecureP@ssw0rd"}
EMAIL = {"email": "john@example.com"}
LOGIN = {**EMAIL, "password": "SecureP@ssw0rd"}
ROOT = Path(__file__).resolve().parent.parent.parent
RECIPE = "example_app.recipes.email_second_factor"

CHEAP = {"OTPAUTH_PASSWORD_HASH": "bcrypt"}
"""The recipe's own scheme takes its time; it is seen where the whole flow is walked."""

SENT = (200, {"message": "New OTP sent to your email"})
WELCOME = {"message": "Login successful", "user": {"id": 1, "name": "John Doe", "email": "john@example.com"}}

Walks = Callable[..., Walk]


@pytest.fixture
def john(walk: Walks) -> Walk:
    """John has signed up."""
    made = walk(email_second_factor, **CHEAP)
    assert made.post("/signup", JOHN).status_code == 200
    return made


def said(answer: Any) -> tuple[int, Any]:
    return answer.status_code, answer.json


def log_in(walk: Walk, **more: Any) -> Any:
    return walk.post("/login", LOGIN, **more)


def verify(walk: Walk, otp: str | None = None, **more: Any) -> Any:
    return walk.post("/verify-otp", {**EMAIL, "otp": walk.code if otp is None else otp}, **more)


def enter(walk: Walk, **more: Any) -> None:
    assert log_in(walk, **more).status_code == 200
    assert verify(walk, **more).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_sign_up_log_in_look_and_log_out(walk: Walks, kind: str) -> None:
    john = walk(email_second_factor, kind)
    assert john.get("/health").status_code == 200
    assert said(john.post("/signup", JOHN)) == (200, {"message": "Account created successfully"})
    (row,) = john.sql("SELECT name, password_hash FROM users")
    assert row["name"] == "John Doe"
    assert row["password_hash"].startswith("pbkdf2:sha256:600000$")
    assert said(log_in(john)) == (200, {"message": "OTP sent to your email", "expires_in": "5 minutes"})
    assert [(one.to, one.channel) for one in john.messages] == [("john@example.com", "email")]
    refused(john.get("/protected"), 401, "authentication_required")

    done = verify(john)
    assert said(done) == (200, WELCOME)
    cookie = john.client.get_cookie("session")
    assert cookie is not None
    assert cookie.http_only
    assert cookie.expires is not None, "closing the browser would end the login"
    user = {"id": 1, "email": "john@example.com"}
    assert said(john.get("/protected")) == (200, {"message": "Welcome to protected area", "user": user})

    assert said(john.post("/logout")) == (200, {"message": "Logged out successfully"})
    refused(john.get("/protected"), 401, "authentication_required")
    john.client.set_cookie("session", cookie.value)
    refused(john.get("/protected"), 401, "authentication_required")
    refused(john.post("/logout"), 401, "authentication_required")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(30, "30 seconds"), (60, "1 minute"), (90, "90 seconds"), (120, "2 minutes"), (600, "10 minutes")],
)
def test_the_lifetime_that_is_told_follows_the_setting(walk: Walks, seconds: int, words: str) -> None:
    john = walk(email_second_factor, OTPAUTH_CODE_LIFETIME=seconds)
    john.post("/signup", JOHN)
    assert log_in(john).json["expires_in"] == words
    assert words in john.messages[-1].body
    john.wait(seconds)
    refused(verify(john), 401, "otp_expired")


def test_after_expiry_another_code_is_sent(john: Walk) -> None:
    log_in(john)
    john.wait(300)
    refused(verify(john), 401, "otp_expired")
    assert said(john.post("/resend-otp", EMAIL)) == SENT
    assert said(verify(john)) == (200, WELCOME)


def test_another_code_takes_the_place_of_the_first(john: Walk) -> None:
    log_in(john)
    first = john.code
    refused(john.post("/resend-otp", EMAIL), 429, "rate_limited", retry_after=60)
    john.wait(60)
    assert said(john.post("/resend-otp", EMAIL)) == SENT
    assert len(john.codes) == 2
    if first != john.code:
        refused(verify(john, first), 401, "otp_invalid")
    assert said(verify(john)) == (200, WELCOME)


def test_whoever_has_no_password_gets_nothing_sent_and_the_same_answer(john: Walk) -> None:
    """The code would be the only factor otherwise."""
    log_in(john)
    john.wait(61)
    stranger = john.stranger()
    assert said(john.post("/resend-otp", EMAIL, client=stranger)) == SENT
    assert said(john.post("/resend-otp", {"email": "nobody@example.com"}, client=john.stranger())) == SENT
    assert len(john.messages) == 1
    # Nor has he begun anything that the owner's code would finish for him.
    refused(verify(john, client=stranger), 401, "otp_invalid")
    assert said(verify(john)) == (200, WELCOME)


def test_another_ones_address_gets_nothing_sent(john: Walk) -> None:
    john.post("/signup", {**JOHN, "email": "jane@example.com", "name": "Jane Doe"})
    log_in(john)
    john.wait(61)
    assert said(john.post("/resend-otp", {"email": "jane@example.com"})) == SENT
    assert [one.to for one in john.messages] == ["john@example.com"]


def test_a_code_is_good_for_the_address_that_got_it_only(john: Walk) -> None:
    john.post("/signup", {**JOHN, "email": "jane@example.com", "name": "Jane Doe"})
    log_in(john)
    answer = john.post("/verify-otp", {"email": "jane@example.com", "otp": john.code})
    assert (answer.status_code, answer.json["code"]) in {(401, "challenge_invalid"), (401, "otp_invalid")}
    refused(john.get("/protected"), 401, "authentication_required")


def test_another_name_than_that_of_the_pending_login_gets_nothing_sent(john: Walk) -> None:
    log_in(john)
    john.wait(61)
    assert said(john.post("/resend-otp", {"email": "nobody@example.com"})) == SENT
    assert len(john.codes) == 1
    refused(john.post("/verify-otp", {"email": "nobody@example.com", "otp": john.code}), 401, "otp_invalid")
    assert said(verify(john)) == (200, WELCOME)


def test_wrong_codes_are_counted_and_end_the_challenge(john: Walk) -> None:
    log_in(john)
    for left in (4, 3, 2, 1, 0):
        refused(verify(john, john.wrong), 401, "otp_invalid", attempts_left=left)
    refused(verify(john), 401, "challenge_invalid")
    john.wait(61)
    assert said(john.post("/resend-otp", EMAIL)) == SENT
    assert len(john.messages) == 1


def test_another_login_gives_no_new_guesses(john: Walk) -> None:
    statuses: list[int] = []
    for _ in range(3):
        john.wait(301)
        browser = john.stranger()
        log_in(john, client=browser)
        statuses += [verify(john, john.wrong, client=browser).status_code for _ in range(4)]
    assert statuses == [401] * 10 + [429] * 2
    refused(verify(john, client=browser), 429, "rate_limited")


def test_a_used_code_is_refused(john: Walk) -> None:
    enter(john)
    refused(verify(john), 401, "challenge_invalid")
    refused(verify(john, client=john.stranger()), 401, "challenge_invalid")


def test_the_cookie_holds_an_opaque_id_and_a_copy_rewinds_nothing(john: Walk) -> None:
    log_in(john)
    cookie = john.client.get_cookie("session")
    assert cookie is not None
    held = john.app.session_interface.get_signing_serializer(john.app).loads(cookie.value)  # type: ignore[attr-defined]
    assert list(held) == ["_otpauth"]
    assert re.fullmatch(r"c\.[\w-]{43}", held["_otpauth"])
    for left in (4, 3, 2):
        john.client.set_cookie("session", cookie.value)
        refused(verify(john, john.wrong), 401, "otp_invalid", attempts_left=left)


@pytest.mark.parametrize("name", JOHN)
def test_each_field_of_signup_is_required(walk: Walks, name: str) -> None:
    new = walk(email_second_factor)
    refused(new.post("/signup", {k: v for k, v in JOHN.items() if k != name}), 400, "validation_failed", name)
    for bad in (None, 5, "", {}):
        refused(new.post("/signup", {**JOHN, name: bad}), 400, "validation_failed", name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("email", "john"), ("email", "john@"), ("password", "short77"), ("password", "john@example.com")),
        *(("name", "x" * 256), ("username", "john"), ("role", "admin")),
    ],
)
def test_each_field_is_checked(walk: Walks, field: str, value: str) -> None:
    refused(walk(email_second_factor).post("/signup", {**JOHN, field: value}), 400, "validation_failed", field)


def test_fields_are_required_everywhere(john: Walk) -> None:
    refused(john.post("/login", {"password": "x"}), 400, "validation_failed", "email")
    refused(john.post("/login", EMAIL), 400, "validation_failed", "password")
    refused(john.post("/verify-otp", EMAIL), 400, "validation_failed", "otp")
    refused(john.post("/verify-otp", {"otp": "123456"}), 400, "validation_failed", "email")
    refused(john.post("/resend-otp", {}), 400, "validation_failed", "email")
    refused(verify(john, "12345"), 400, "validation_failed", "otp")


def test_an_address_is_registered_once_and_a_name_by_anybody(john: Walk) -> None:
    refused(john.post("/signup", {**JOHN, "email": "JOHN@Example.com"}), 409, "identifier_taken", "email")
    assert john.post("/signup", {**JOHN, "email": "john.doe@example.com"}).status_code == 200


def test_an_unknown_address_is_answered_like_a_wrong_password(john: Walk) -> None:
    wrong = john.post("/login", {**LOGIN, "password": "not the right one"})
    refused(wrong, 401, "invalid_credentials")
    assert_no_enumeration(wrong, john.post("/login", {**LOGIN, "email": "nobody@example.com"}))
    refused(verify_unknown(john), 401, "challenge_invalid")
    assert john.messages == []


def verify_unknown(walk: Walk) -> Any:
    return walk.post("/verify-otp", {"email": "nobody@example.com", "otp": "123456"})


def test_another_sites_page_does_nothing_with_the_cookie(john: Walk) -> None:
    enter(john)
    answer = john.client.post("/logout", headers={"Sec-Fetch-Site": "cross-site"})
    refused(answer, 403, "cross_origin")
    assert john.get("/protected").status_code == 200


# --- the wish list of its author --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("config", "many"), [({}, 5), ({"OTPAUTH_LOGIN_LIMITS": "2 per 15 minutes"}, 2)])
def test_five_logins_in_fifteen_minutes(walk: Walks, config: dict[str, str], many: int) -> None:
    john = walk(email_second_factor, **CHEAP, **config)
    john.post("/signup", JOHN)
    for _ in range(many):
        refused(john.post("/login", {**LOGIN, "password": "not the right one"}), 401, "invalid_credentials")
    refused(log_in(john), 429, "rate_limited", retry_after=900)
    john.wait(900)
    assert log_in(john).status_code == 200


def test_three_codes_in_five_minutes(walk: Walks) -> None:
    john = walk(email_second_factor, OTPAUTH_SEND_LIMITS="3 per 5 minutes", **CHEAP)
    john.post("/signup", JOHN)
    enter(john)
    for _ in range(2):
        john.wait(6)
        assert log_in(john).status_code == 200
    john.wait(6)
    refused(log_in(john), 429, "rate_limited", retry_after=282)
    assert len(john.codes) == 3
    john.wait(282)
    assert log_in(john).status_code == 200


def test_five_wrong_codes_lock_for_half_an_hour_and_the_owner_is_told(walk: Walks) -> None:
    john = walk(email_second_factor, OTPAUTH_ACCOUNT_LIMITS="5 per 30 minutes; 20 per 30 days", **CHEAP)
    john.post("/signup", JOHN)
    enter(john)
    john.wait(61)
    thief = john.stranger()
    log_in(john, client=thief)
    for _ in range(5):
        refused(verify(john, john.wrong, client=thief), 401, "otp_invalid")
    john.wait(61)
    log_in(john, client=thief)
    refused(verify(john, client=thief), 429, "rate_limited")
    alert = john.messages[-1]
    assert (alert.to, alert.code, alert.purpose) == ("john@example.com", None, "notice")
    assert "codes" in alert.body
    assert alert.html is not None
    # The owner's own browser goes on.
    john.wait(61)
    enter(john)
    john.wait(30 * 60)
    enter(john, client=john.stranger())


def test_tokens_with_refresh(walk: Walks) -> None:
    john = walk(email_second_factor, OTPAUTH_CREDENTIALS=("session", "jwt"))
    john.post("/signup", JOHN)
    log_in(john)
    done = verify(john)
    assert set(done.json) == {*WELCOME, "access_token", "refresh_token", "token_type"}
    program = john.stranger()
    assert john.get("/protected", token=done.json["access_token"], client=program).status_code == 200
    again = john.post("/refresh", token=done.json["refresh_token"], client=program)
    assert john.get("/protected", token=again.json["access_token"], client=program).status_code == 200
    john.wait(11)
    refused(john.post("/refresh", token=done.json["refresh_token"], client=program), 401, "authentication_required")
    refused(john.get("/protected", token=again.json["access_token"], client=program), 401, "authentication_required")


def test_mails_are_text_and_html(walk: Walks) -> None:
    john = walk(email_second_factor, OTPAUTH_APP_NAME="Doe & Sons")
    john.post("/signup", JOHN)
    log_in(john)
    mail = john.messages[-1]
    assert mail.subject is not None
    assert mail.html is not None
    assert "Doe & Sons" in mail.body
    assert "Doe &amp; Sons" in mail.html
    for text in (mail.body, mail.html):
        assert john.code in text
        assert "5 minutes" in text


@pytest.mark.services
def test_postgresql_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with database_url("postgresql", tmp_path) as url:
        monkeypatch.setenv("DATABASE_URL", url.replace("postgresql+psycopg", "postgres"))
        app = email_second_factor.create_app({"TESTING": True, "SECRET_KEY": SECRET})
        assert app.extensions["sqlalchemy"] is not None
        assert app.test_client().post("/signup", json=JOHN).status_code == 200
        with app.app_context():
            assert app.extensions["sqlalchemy"].engine.dialect.name == "postgresql"
        close(app)


# --- as it is run -----------------------------------------------------------------------------------------------------


@contextmanager
def flask_run(folder: Path, dotenv: str, *options: str, **environment: str) -> Iterator[Running]:
    """Run the recipe by Flask's own command in a folder with that ``.env``."""
    (folder / ".env").write_text(dotenv, encoding="utf-8")
    with running(["flask", "--app", RECIPE, "run", "--port", "{port}", *options], folder, **environment) as site:
        yield site


def walk_through(site: Running, code: Callable[[], str]) -> None:
    assert site.post("/signup", JOHN)[0] == 200
    assert site.post("/login", LOGIN) == (200, {"message": "OTP sent to your email", "expires_in": "5 minutes"})
    assert site.post("/verify-otp", {**EMAIL, "otp": code()}) == (200, WELCOME)
    assert site.get("/protected")[0] == 200


@pytest.mark.slow
@pytest.mark.services
def test_settings_come_from_a_dotenv_file(tmp_path: Path) -> None:
    with servers() as start:
        mailbox, port = start(authenticator=authenticator, auth_require_tls=False)
        values = {
            "SECRET_KEY": SECRET,
            "DATABASE_URL": f"sqlite:///{tmp_path / 'app.db'}",
            "SMTP_SERVER": "127.0.0.1",
            "SMTP_PORT": str(port),
            "SMTP_USERNAME": "ann",
            "SMTP_PASSWORD": "secret",
            "SENDER_EMAIL": "Doe & Sons <no-reply@example.org>",
        }
        dotenv = "".join(f'{name}="{value}"\n' for name, value in values.items())
        with flask_run(tmp_path, dotenv) as site:
            walk_through(site, lambda: str(re.findall(r"\b\d{6}\b", mailbox.part("plain"))[0]))
            code = re.findall(r"\b\d{6}\b", mailbox.part("plain"))[0]
            assert code in mailbox.part("html")
            assert mailbox.authenticated == [True]
            assert code not in site.console
    assert (tmp_path / "app.db").exists()


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize(
    ("options", "environment"), [(("--debug",), {}), ((), {"OTPAUTH_DEMO": "1", "SECRET_KEY": SECRET})]
)
def test_without_a_mail_server_the_code_is_on_the_console(
    tmp_path: Path, options: tuple[str, ...], environment: dict[str, str]
) -> None:
    dotenv = f"DATABASE_URL=sqlite:///{tmp_path / 'app.db'}\n"
    with flask_run(tmp_path, dotenv, *options, **environment) as site:
        walk_through(site, lambda: str(re.findall(r"^CODE=(\d+)$", site.console, re.MULTILINE)[-1]))
        assert ("OTPAUTH_DEMO is on" in site.console) == ("OTPAUTH_DEMO" in environment)


@pytest.mark.slow
@pytest.mark.services
def test_without_a_mail_server_production_says_what_is_missing(tmp_path: Path) -> None:
    with flask_run(tmp_path, f"SECRET_KEY='{SECRET}'\nDATABASE_URL=sqlite:///{tmp_path / 'app.db'}\n") as site:
        status, _ = site.get("/health")
        assert status == 500
        assert "for e-mail set SMTP_SERVER and SENDER_EMAIL" in site.console
        assert site.post("/signup", JOHN)[0] == 500


def test_the_example_of_a_dotenv_file_has_every_name_and_no_secret() -> None:
    values = dotenv_values(ROOT / "example_app" / "recipes" / ".env.example")
    assert values == {
        **dict.fromkeys(("SECRET_KEY", "SMTP_SERVER", "SMTP_USERNAME", "SMTP_PASSWORD", "SENDER_EMAIL"), ""),
        "SMTP_PORT": "587",
        "DATABASE_URL": "",
    }
