"""Every log line and error that the page "When something goes wrong" shows is provoked here, and reads as it says."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_otpauth import OTPAuth, UserMixin, otp_required
from flask_otpauth.delivery import Threads
from flask_otpauth.errors import ConfigurationError
from flask_otpauth.testing import capture_messages
from tests.mailserver import free_port

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "troubleshooting.md"
PASSWORD = "correct horse battery"
MAIL = {"SMTP_SERVER": "127.0.0.1", "SENDER_EMAIL": "no-reply@example.org"}


@dataclass
class Trouble:
    """Apps that get into trouble, and what is told of it: log lines and errors."""

    make_app: Callable[..., Flask]
    clock: Any
    folder: Path
    errors: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)

    def app(self, **config: Any) -> Flask:
        """Give an app with one protected view."""
        app = self.make_app(**{**MAIL, "SMTP_PORT": free_port(), **config})
        OTPAuth(app, clock=self.clock)
        app.add_url_rule("/private", "private", otp_required(lambda: "secret"))
        return app

    def post(self, client: Any, path: str, **body: str) -> Any:
        return client.post(f"/auth/{path}", json=body)

    def registered(self, app: Flask) -> tuple[Any, dict[str, Any]]:
        """Register ann; give her client and the answer."""
        client = app.test_client()
        with capture_messages(app) as messages:
            asked = self.post(client, "register", username="ann", email="ann@example.org", password=PASSWORD)
            done = self.prove(client, asked, str(messages[-1].code))
        assert done.status_code == 200, done.json
        self.clock.advance(61)
        return client, done.json

    def challenged(self, app: Flask, client: Any) -> tuple[Any, str]:
        """Log ann in half-way; give the challenge and the code."""
        with capture_messages(app) as messages:
            asked = self.post(client, "login", identifier="ann", password=PASSWORD)
        self.codes.append(str(messages[-1].code))
        return asked, self.codes[-1]

    def prove(self, client: Any, asked: Any, code: str) -> Any:
        self.codes.append(code)
        return self.post(client, "verify-otp", challenge_id=asked.json["challenge_id"], otp=code)

    def fail(self, action: Callable[[], object]) -> None:
        """Note the error that an action ends with, as Python prints it."""
        try:
            action()
        except (ConfigurationError, RuntimeError) as error:
            self.errors += "".join(traceback.format_exception_only(error)).splitlines()
        else:
            pytest.fail("it did not fail")


# --- what is provoked ---------------------------------------------------------------------------------------------


def mail_refused(trouble: Trouble) -> None:
    app = trouble.app()
    client, _ = trouble.registered(app)
    assert trouble.post(client, "login", identifier="ann", password=PASSWORD).status_code == 503


def unknown_address(trouble: Trouble) -> None:
    app = trouble.app(OTPAUTH_FIRST_FACTOR="otp")
    assert trouble.post(app.test_client(), "login", email="nobody@example.org").status_code == 202


def asked_twice(trouble: Trouble, **config: Any) -> None:
    app = trouble.app(OTPAUTH_FIRST_FACTOR="otp", **config)
    trouble.registered(app)
    with capture_messages(app) as messages:
        for named in ({"email": "ann@example.org"}, {"username": "ann"}):
            assert trouble.post(app.test_client(), "login", **named).status_code == 202
            trouble.clock.advance(61)  # else the address rests, whatever else would hold
    assert len(messages) == 1


def budget_spent(trouble: Trouble) -> None:
    asked_twice(trouble, OTPAUTH_SEND_LIMITS="3 per hour", OTPAUTH_LIVE_CHALLENGES=10)


def enough_challenges(trouble: Trouble) -> None:
    asked_twice(trouble, OTPAUTH_LIVE_CHALLENGES=1, OTPAUTH_SEND_LIMITS="100 per hour")


def resent_at_once(trouble: Trouble) -> None:
    app = trouble.app()
    client, _ = trouble.registered(app)
    asked, _ = trouble.challenged(app, client)
    trouble.post(client, "resend-otp", challenge_id=asked.json["challenge_id"])


def queue_full(trouble: Trouble) -> None:
    threads = Threads(trouble.make_app(TESTING=False), workers=1, queued=1)
    over, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        over.wait(10)

    threads.later(wait)
    begun.wait(10)
    threads.later(wait)
    threads.later(wait)
    over.set()
    threads.drain(5)


def database_locked(trouble: Trouble) -> None:
    path = trouble.folder / "bank.db"
    options = {"connect_args": {"timeout": 0.1}}
    app = trouble.app(SQLALCHEMY_DATABASE_URI=f"sqlite:///{path}", SQLALCHEMY_ENGINE_OPTIONS=options)
    client, _ = trouble.registered(app)
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        answer = trouble.post(client, "login", identifier="ann", password=PASSWORD)
    finally:
        other.close()
    assert (answer.status_code, answer.json["code"]) == (503, "service_unavailable")


def own_session_waits(trouble: Trouble) -> None:
    class Base(DeclarativeBase):
        pass

    app = trouble.make_app(SQLALCHEMY_DATABASE_URI=f"sqlite:///{trouble.folder / 'own.db'}", **MAIL)
    db = SQLAlchemy(app, model_class=Base)

    class Customer(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    auth = OTPAuth(app, db=db, user_model=Customer, clock=trouble.clock)
    with app.test_request_context():
        db.create_all()
        ann = Customer(username="ann", email="ann@example.org")
        db.session.add(ann)
        db.session.commit()
        ann.role = "admin"
        db.session.flush()
        trouble.fail(lambda: auth.login(ann))
        db.session.rollback()


def no_login(trouble: Trouble) -> None:
    assert trouble.app().test_client().get("/private").status_code == 401


def other_secret(trouble: Trouble) -> None:
    app = trouble.app(OTPAUTH_CREDENTIALS=("session",))
    client, _ = trouble.registered(app)
    assert client.get("/private").status_code == 200
    app.secret_key = "another key of the tests, long enough: 0123456789"
    assert client.get("/private").status_code == 401


def cookie_after_logout(trouble: Trouble) -> None:
    app = trouble.app(OTPAUTH_CREDENTIALS=("session",))
    client, _ = trouble.registered(app)
    cookie = client.get_cookie("session")
    assert trouble.post(client, "logout").status_code == 204
    client.set_cookie("session", cookie.value)
    assert client.get("/private").status_code == 401


def bearer(answer: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer['access_token']}"}


def token_after_logout(trouble: Trouble) -> None:
    client, answer = trouble.registered(trouble.app())
    assert client.post("/auth/logout", headers=bearer(answer)).status_code == 204
    assert client.get("/private", headers=bearer(answer)).status_code == 401


def old_token(trouble: Trouble) -> None:
    client, answer = trouble.registered(trouble.app())
    trouble.clock.advance(3600)
    assert client.get("/private", headers=bearer(answer)).status_code == 401


def other_signature(trouble: Trouble) -> None:
    _, answer = trouble.registered(trouble.app())
    other = trouble.app(SECRET_KEY="another key of the tests, long enough: 0123456789")
    assert other.test_client().get("/private", headers=bearer(answer)).status_code == 401


def other_site(trouble: Trouble) -> None:
    client, _ = trouble.registered(trouble.app(OTPAUTH_CREDENTIALS=("session",)))
    assert client.post("/auth/logout", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def late_code(trouble: Trouble) -> None:
    app = trouble.app()
    client, _ = trouble.registered(app)
    asked, code = trouble.challenged(app, client)
    trouble.clock.advance(301)
    assert trouble.prove(client, asked, code).json["code"] == "otp_expired"


def used_code(trouble: Trouble) -> None:
    app = trouble.app()
    client, _ = trouble.registered(app)
    asked, code = trouble.challenged(app, client)
    assert trouble.prove(client, asked, code).status_code == 200
    assert trouble.prove(client, asked, code).json["code"] == "challenge_invalid"


def no_secret(trouble: Trouble) -> None:
    app = trouble.make_app(SECRET_KEY=None, TESTING=False, SMTP_SERVER="127.0.0.1", OTPAUTH_CODE_LIFETIM=60)
    trouble.fail(lambda: OTPAuth(app))


def weak_secret(trouble: Trouble) -> None:
    trouble.fail(lambda: OTPAuth(trouble.make_app(SECRET_KEY="dev", TESTING=False)))


def no_countries(trouble: Trouble) -> None:
    trouble.fail(lambda: OTPAuth(trouble.make_app(TESTING=False, OTPAUTH_BCRYPT_ROUNDS=12)))


def no_sender(trouble: Trouble) -> None:
    app = trouble.make_app(
        TESTING=False, PROPAGATE_EXCEPTIONS=True, OTPAUTH_BCRYPT_ROUNDS=12, OTPAUTH_PHONE_REGION="IL"
    )
    OTPAuth(app)
    trouble.fail(lambda: app.test_client().get("/auth/health"))


def late_limiter(trouble: Trouble) -> None:
    app = trouble.app()
    Limiter(get_remote_address, app=app, storage_uri="memory://")
    trouble.fail(lambda: app.test_client().get("/auth/health"))


TROUBLES: dict[str, tuple[Callable[[Trouble], None], ...]] = {
    "Sender SmtpSender of channel email failed": (mail_refused,),
    "otp_send_failed": (mail_refused,),
    "otpauth.login refused: delivery_failed": (mail_refused,),
    "No code was sent: no account": (unknown_address,),
    "No code was sent: that address": (budget_spent,),
    "No code was sent: the account": (enough_challenges,),
    "otpauth.resend_otp refused: rate_limited": (resent_at_once,),
    "A job was dropped": (queue_full,),
    "otpauth.login refused: service_unavailable": (database_locked,),
    "flask_otpauth.errors.UncommittedWrite: The app's own": (own_session_waits,),
    "private refused: authentication_required: no login": (no_login,),
    "private refused: authentication_required: the session cookie": (other_secret,),
    "private refused: authentication_required: the cookie's session": (cookie_after_logout,),
    "private refused: authentication_required: the token's session": (token_after_logout,),
    "private refused: authentication_required: The token": (old_token,),
    "private refused: authentication_required: InvalidSignature": (other_signature,),
    "otpauth.logout refused: cross_origin": (other_site,),
    "otpauth.verify_otp refused: otp_expired": (late_code,),
    "otpauth.verify_otp refused: challenge_invalid": (used_code,),
    "flask_otpauth.errors.ConfigurationError": (no_secret, weak_secret, no_countries, no_sender, late_limiter),
    "  - SECRET_KEY is missing": (no_secret,),
    "  - SECRET_KEY is short": (weak_secret,),
    "  - SMTP_SERVER is set": (no_secret,),
    "  - OTPAUTH_CODE_LIFETIM is": (no_secret,),
    "  - OTPAUTH_SMS_COUNTRIES": (no_countries,),
    "  - No channel has a sender so far": (no_countries,),
    "  - No channel has a sender:": (no_sender,),
    "  - A Limiter": (late_limiter,),
}
"""What provokes a line of the page, by its beginning."""


def lines() -> list[str]:
    """Give the lines that the page shows as the log's or Python's."""
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("line", lines())
def test_the_line_is_what_is_told(
    line: str, make_app: Callable[..., Flask], clock: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [provokers] = [provokers for start, provokers in TROUBLES.items() if line.startswith(start)]
    pattern = re.compile(".*".join(re.escape(part) for part in line.split("...")), re.DOTALL)
    for provoke in provokers:
        trouble = Trouble(make_app, clock, tmp_path)
        with caplog.at_level(logging.INFO, logger="flask_otpauth"):
            provoke(trouble)
        told = [record.getMessage() for record in caplog.records if record.name == "flask_otpauth"] + trouble.errors
        assert any(pattern.fullmatch(one) for one in told), "\n".join(told)
        everything = "\n".join(told) + "".join(str(record.__dict__) for record in caplog.records)
        for secret in (PASSWORD, "ann@example.org", "nobody@example.org", *trouble.codes):
            assert secret not in everything
        caplog.clear()


def test_every_provocation_is_of_a_line_of_the_page() -> None:
    assert [start for start in TROUBLES if not any(line.startswith(start) for line in lines())] == []


def test_the_pages_tell_the_log_as_much(
    make_app: Callable[..., Flask], clock: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Trouble(make_app, clock, tmp_path).app(OTPAUTH_PAGES=True, WTF_CSRF_ENABLED=False)
    client, browser = app.test_client(), {"Accept": "text/html"}
    with caplog.at_level(logging.INFO, logger="flask_otpauth"), capture_messages(app) as messages:
        assert client.get("/private", headers=browser).status_code == 302
        form = {"username": "ann", "email": "ann@example.org", "password": PASSWORD, "password_repeat": PASSWORD}
        assert client.post("/account/register", data=form, headers=browser).status_code in {302, 303}
        clock.advance(301)
        client.post("/account/confirm", data={"otp": messages[-1].code}, headers=browser)
        clock.advance(900)
        client.get("/account/confirm", headers=browser)
    told = [record.getMessage() for record in caplog.records]
    assert "private refused: authentication_required: no login came with the request" in told
    # Once for the code, once for the look at the page of a flow that is over.
    assert told.count("otpauth_pages.confirm refused: otp_expired: Code expired.") == 2


class Broken(logging.Handler):
    """A handler of a host that always raises."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("of the host")


def test_a_handler_that_raises_changes_no_answer(make_app: Callable[..., Flask], clock: Any, tmp_path: Path) -> None:
    trouble = Trouble(make_app, clock, tmp_path)
    app = trouble.app(OTPAUTH_LIVE_CHALLENGES=1)
    trouble.registered(app)
    logger, broken = logging.getLogger("flask_otpauth"), Broken()
    level = logger.level
    logger.addHandler(broken)
    logger.setLevel(logging.INFO)
    try:
        with capture_messages(app) as messages:
            body = {"identifier": "ann", "password": PASSWORD}
            for _ in range(2):
                # The second one is withheld, which is logged within the request.
                assert trouble.post(app.test_client(), "login", **body).status_code == 200
                clock.advance(61)
            assert len(messages) == 1
            assert app.test_client().get("/private").status_code == 401
    finally:
        logger.setLevel(level)
        logger.removeHandler(broken)
