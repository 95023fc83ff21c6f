"""A second factor that users switch on and off themselves, over HTTP and on every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from flask_otpauth import OTPAuth
from flask_otpauth.flows.completion import Completion
from flask_otpauth.signals import mfa_changed, session_revoked
from flask_otpauth.testing import capture_messages
from tests.contracts.races import in_threads
from tests.security.doors import MANY, PASSWORD, Clock, Site
from tests.services import KINDS, database_url

PHONE = "+972508464336"
INSUFFICIENT = (401, "insufficient_user_authentication")


def own_model(db: SQLAlchemy) -> type[Any]:
    """Give a model that knows nothing of a second factor."""

    class Customer(db.Model):  # type: ignore[name-defined,misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(String(64), unique=True)
        email: Mapped[str | None] = mapped_column(String(254), unique=True)
        phone: Mapped[str | None] = mapped_column(String(16), unique=True)
        password_hash: Mapped[str | None] = mapped_column(String(255))

    return Customer


Sites = Callable[..., Site]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Sites]:
    with ExitStack() as stack:

        def make(kind: str = "sqlite", *, bare: bool = False, **config: Any) -> Site:
            app = Flask("host", instance_path=str(tmp_path / "instance"), root_path=str(tmp_path))
            app.config.update(
                TESTING=True,
                SECRET_KEY="a key of the tests, long enough: 0123456789",
                SQLALCHEMY_DATABASE_URI=stack.enter_context(database_url(kind, tmp_path)),
                OTPAUTH_BCRYPT_ROUNDS=4,
                OTPAUTH_SECOND_FACTOR="opt-in",
                OTPAUTH_SEND_IP_LIMITS=MANY,
            )
            app.config.update(config)
            clock, arguments = Clock(), {}
            if bare:
                db = SQLAlchemy(app)
                arguments = {"db": db, "user_model": own_model(db)}
            auth = OTPAuth(app, clock=clock, **arguments)
            with app.app_context():
                stack.callback(app.extensions["sqlalchemy"].engine.dispose)
                if bare:
                    app.extensions["sqlalchemy"].create_all()
            return Site(app, auth, clock, stack.enter_context(capture_messages(app)))

        yield make


class Ann:
    """A user by her token alone."""

    def __init__(self, site: Site, *, enters: bool = True) -> None:
        self.site = site
        self.held: dict[str, Any] = {}
        if enters:
            self.held = site.prove(site.app.test_client(), self.register())

    def register(self) -> Any:
        fields = {"username": "ann", "password": PASSWORD, "phone": PHONE}
        return self.site.post(self.site.app.test_client(), "/register", fields)

    def open(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.held['access_token']}"}
        return self.site.app.test_client().open(f"/auth{path}", method=method, json=body, headers=headers)

    def login(self) -> Any:
        """Give the answer to her password, from a new browser; tokens in it become hers."""
        self.site.clock.advance(61)
        body = {"identifier": "ann", "password": PASSWORD}
        answer = self.site.post(self.site.app.test_client(), "/login", body)
        if "access_token" in (answer.json or {}):
            self.held = dict(answer.json or {})
        return answer

    def step_up(self, body: Any = None) -> None:
        self.site.clock.advance(61)
        answer = self.open("POST", "/step-up", body)
        if answer.status_code == 202:
            self.held = self.site.prove(self.site.app.test_client(), answer)
        else:
            assert answer.status_code == 200, answer.text
            self.held = dict(answer.json)

    def switch(self, enabled: bool) -> Any:
        return self.open("PUT", "/mfa", {"mfa_enabled": enabled})

    def refused(self, enabled: bool) -> tuple[int, str]:
        answer = self.switch(enabled)
        return answer.status_code, str(answer.json["code"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bare", [False, True], ids=["a column for it", "no column for it"])
def test_a_user_switches_it_on_and_off(opened: Sites, kind: str, bare: bool) -> None:
    site = opened(kind, bare=bare)
    ann = Ann(site)
    told = ann.open("GET", "/mfa")
    assert (told.status_code, told.json["mfa_enabled"]) == (200, False)
    assert [(one["method"], one["verified"]) for one in told.json["factors"]] == [("sms", True)]
    assert told.json["factors"][0]["destination"].endswith("36")
    assert PHONE not in told.text
    assert ann.login().status_code == 200  # the password is all
    assert "access_token" in ann.held

    assert ann.refused(enabled=True) == INSUFFICIENT
    ann.step_up()
    on = ann.switch(enabled=True)
    assert (on.status_code, on.json["mfa_enabled"]) == (200, True)
    assert ann.open("GET", "/mfa").json == on.json

    asked = ann.login()
    assert (asked.status_code, asked.json["mfa_required"]) == (200, True)
    ann.held = site.prove(site.app.test_client(), asked)
    assert ann.switch(enabled=False).json["mfa_enabled"] is False
    assert "access_token" in ann.login().json


def test_it_is_not_switched_by_an_old_proof(opened: Sites) -> None:
    ann = Ann(opened())
    ann.site.clock.advance(301)
    assert ann.refused(enabled=True) == INSUFFICIENT
    answer = ann.switch(enabled=True)
    assert 'max_age="300"' in answer.headers["WWW-Authenticate"]
    ann.step_up()
    assert ann.switch(enabled=True).status_code == 200
    ann.site.clock.advance(301)
    assert ann.refused(enabled=False) == INSUFFICIENT
    assert ann.open("GET", "/mfa").json["mfa_enabled"] is True


def test_a_password_switches_nothing_for_who_can_get_a_code(opened: Sites) -> None:
    ann = Ann(opened())
    ann.login()
    ann.step_up({"password": PASSWORD})
    assert ann.refused(enabled=True) == INSUFFICIENT
    ann.step_up()
    ann.switch(enabled=True)
    # And where it is on, a password steps up to nothing.
    ann.site.clock.advance(301)
    refused = ann.open("POST", "/step-up", {"password": PASSWORD})
    assert (refused.status_code, refused.json["code"]) == INSUFFICIENT


def test_a_refreshed_token_switches_nothing(opened: Sites) -> None:
    ann = Ann(opened())
    bearer = {"Authorization": f"Bearer {ann.held['refresh_token']}"}
    ann.held = dict(ann.site.app.test_client().post("/auth/refresh", headers=bearer).json or {})
    assert ann.refused(enabled=True) == INSUFFICIENT


def test_without_a_proved_address_it_is_not_switched_on(opened: Sites) -> None:
    site = opened(OTPAUTH_REGISTRATION="open")
    ann = Ann(site, enters=False)
    assert ann.register().status_code == 201
    assert ann.login().status_code == 200
    (factor,) = ann.open("GET", "/mfa").json["factors"]
    assert factor["verified"] is False
    assert ann.refused(enabled=True) == (403, "no_method")
    site.clock.advance(301)
    assert ann.refused(enabled=True) == INSUFFICIENT
    ann.step_up({"password": PASSWORD})
    assert ann.refused(enabled=True) == (403, "no_method")
    assert ann.open("GET", "/mfa").json["mfa_enabled"] is False


def test_what_a_host_switched_on_is_not_switched_off_by_a_password(opened: Sites) -> None:
    site = opened(OTPAUTH_REGISTRATION="open")
    ann = Ann(site, enters=False)
    ann.register()
    ann.login()
    with site.app.app_context():
        site.service.users.set_mfa("1", True)
    assert ann.refused(enabled=False) == INSUFFICIENT


def test_other_logins_end_with_it_and_what_is_pending_is_void(opened: Sites) -> None:
    ann = Ann(opened())
    thief = Ann(ann.site, enters=False)
    thief.login()
    revoked = _heard(session_revoked, ann.site)
    asked = ann.open("POST", "/step-up")
    code = ann.site.code
    assert ann.switch(enabled=True).status_code == 200
    assert thief.open("GET", "/me").status_code == 401
    assert ann.open("GET", "/me").status_code == 200
    assert [event.details for event in revoked] == [{"count": 1}]
    body = {"challenge_id": asked.json["challenge_id"], "otp": code}
    void = ann.site.post(ann.site.app.test_client(), "/verify-otp", body)
    assert (void.status_code, void.json["code"]) == (401, "challenge_invalid")  # type: ignore[index]


@pytest.mark.parametrize("kind", KINDS)
def test_no_login_without_a_code_outlives_the_switch_beside_which_it_was_made(opened: Sites, kind: str) -> None:
    ann = Ann(opened(kind, OTPAUTH_LOGIN_IP_LIMITS=MANY))
    body = {"identifier": "ann", "password": PASSWORD}

    def work(number: int) -> Any:
        if number == 0:
            return ann.switch(enabled=True)
        return ann.site.post(ann.site.app.test_client(), "/login", body)

    for _ in range(3):
        switched, *logins = in_threads(12, work)
        assert switched.status_code == 200
        tokens = [one.json["access_token"] for one in logins if "access_token" in one.json]
        assert [ann.site.knock(token, doors=(("GET", "/auth/me"),)) for token in tokens] == (
            [{"GET /auth/me": 401}] * len(tokens)
        )
        assert {one.status_code for one in logins} <= {200, 429}
        ann.site.clock.advance(61)
        ann.step_up()
        assert ann.switch(enabled=False).status_code == 200


def test_a_login_goes_on_at_the_code_that_was_switched_on_meanwhile(
    opened: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = Ann(opened())
    finish = Completion.login

    def late(*arguments: Any) -> Any:
        assert ann.switch(enabled=True).status_code == 200
        return finish(*arguments)

    monkeypatch.setattr(Completion, "login", late)
    asked = ann.login()
    assert (asked.status_code, asked.json["mfa_required"]) == (200, True)
    assert ann.site.prove(ann.site.app.test_client(), asked)["access_token"]


def test_a_client_that_knew_a_password_alone_is_known_no_more(opened: Sites) -> None:
    ann = Ann(opened())
    thief = ann.site.app.test_client()
    ann.site.clock.advance(61)
    assert ann.site.post(thief, "/login", {"identifier": "ann", "password": PASSWORD}).status_code == 200
    ann.step_up()
    assert ann.switch(enabled=True).status_code == 200
    ann.site.clock.advance(61)
    asked = ann.site.post(thief, "/login", {"identifier": "ann", "password": PASSWORD})
    sent = len(ann.site.messages)
    bad = "000000" if ann.site.code != "000000" else "111111"
    for _ in range(5):
        ann.site.post(thief, "/verify-otp", {"challenge_id": asked.json["challenge_id"], "otp": bad})  # type: ignore[index]
    # Wrong codes after the right password: the owner hears of a client that isn't known.
    assert len(ann.site.messages) == sent + 1


def test_each_switch_is_told_and_no_wish_that_changes_nothing(opened: Sites) -> None:
    ann = Ann(opened())
    events, sent = _heard(mfa_changed, ann.site), len(ann.site.messages)
    for enabled in (False, True, True, False):
        assert ann.switch(enabled=enabled).status_code == 200
    assert [event.details for event in events] == [{"enabled": True}, {"enabled": False}]
    notices = ann.site.messages[sent:]
    assert [(one.to, one.code) for one in notices] == [(PHONE, None)] * 2
    assert "a code after the password from now on" in notices[0].body
    assert "no code after the password any more" in notices[1].body


@pytest.mark.parametrize(
    ("config", "granted"),
    [
        ({"OTPAUTH_SECOND_FACTOR": "always"}, True),
        ({"OTPAUTH_SECOND_FACTOR": "never"}, False),
        ({"OTPAUTH_FIRST_FACTOR": "otp", "OTPAUTH_REGISTER_FIELDS": ("username", "password", "phone")}, False),
    ],
)
def test_what_the_settings_decided_is_told_and_not_switched(
    opened: Sites, config: dict[str, Any], granted: bool
) -> None:
    ann = Ann(opened(**config))
    assert ann.open("GET", "/mfa").json["mfa_enabled"] is granted
    assert ann.switch(enabled=granted).json["mfa_enabled"] is granted
    refused = ann.switch(enabled=not granted)
    assert (refused.status_code, refused.json["code"]) == (400, "validation_failed")
    assert refused.json["errors"][0]["field"] == "mfa_enabled"


def test_a_policy_of_the_host_may_go_by_the_switch(opened: Sites) -> None:
    ann = Ann(opened(OTPAUTH_SECOND_FACTOR=lambda user: user.role == "admin" or user.mfa_enabled))
    assert ann.switch(enabled=True).json["mfa_enabled"] is True
    assert ann.login().json["mfa_required"] is True


def test_who_is_disabled_switches_and_sees_nothing_whatever_is_remembered(opened: Sites) -> None:
    ann = Ann(opened(OTPAUTH_SESSION_CACHE=30))
    assert ann.open("GET", "/mfa").status_code == 200
    with ann.site.app.app_context():
        ann.site.service.users.load("1").active = False
        ann.site.app.extensions["sqlalchemy"].session.commit()
    for answer in (ann.open("GET", "/mfa"), ann.switch(enabled=True)):
        assert (answer.status_code, answer.json["code"]) == (401, "authentication_required")


def test_only_true_and_false_are_taken(opened: Sites) -> None:
    ann = Ann(opened())
    for body in ({}, {"mfa_enabled": "true"}, {"mfa_enabled": 1}, {"mfa_enabled": None}, {"enabled": True}):
        assert ann.open("PUT", "/mfa", body).json["code"] == "validation_failed"
    anonymous = ann.site.app.test_client()
    assert anonymous.get("/auth/mfa").status_code == 401
    assert anonymous.put("/auth/mfa", json={"mfa_enabled": False}).status_code == 401


def test_the_wire_name_is_the_hosts(opened: Sites) -> None:
    ann = Ann(opened(OTPAUTH_FIELD_NAMES={"mfa_enabled": "two_step"}))
    assert ann.open("PUT", "/mfa", {"two_step": True}).json["two_step"] is True
    assert ann.open("PUT", "/mfa", {"mfa_enabled": True}).status_code == 400


def test_another_site_switches_nothing_by_a_cookie(opened: Sites) -> None:
    site = opened(OTPAUTH_CREDENTIALS=("session",))
    browser = site.app.test_client()
    asked = site.post(browser, "/register", {"username": "ann", "password": PASSWORD, "phone": PHONE})
    site.prove(browser, asked)
    foreign = browser.put("/auth/mfa", json={"mfa_enabled": True}, headers={"Sec-Fetch-Site": "cross-site"})
    assert (foreign.status_code, foreign.json["code"]) == (403, "cross_origin")  # type: ignore[index]
    assert browser.get("/auth/mfa").json["mfa_enabled"] is False  # type: ignore[index]
    assert browser.put("/auth/mfa", json={"mfa_enabled": True}).status_code == 200


def _heard(signal: Any, site: Site) -> list[Any]:
    events: list[Any] = []

    def receive(_app: Any, *, event: Any, **_: Any) -> None:
        events.append(event)

    signal.connect(receive, site.app, weak=False)
    return events
