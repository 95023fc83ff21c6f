"""What the systems that people wrote by hand did wrong, and the recipes of the same systems can't."""

from __future__ import annotations

import logging
import random
import re
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import MetaData, select

from example_app.recipes import email_second_factor, jwt_roles, mobile_otp_login, sms_second_factor
from flask_otpauth import ConfigurationError, Message
from tests.recipes.walking import SECRET, Walk, close, refused

PASSWORD = "SecureP@ssw0rd"


@dataclass(frozen=True, kw_only=True)
class System:
    """
    How a recipe is spoken to: paths, and bodies in which ``{n}`` is the number of a person.

    Attributes:
        names: Field by which a challenge is named; None where that is what the login names anyway.
    """

    recipe: ModuleType
    register: tuple[str, dict[str, str]]
    login: tuple[str, dict[str, str]]
    verify: str
    names: str | None = None
    lifetime: int = 300
    digits: int = 6
    channel: str = "email"
    anonymous: bool = False
    opt_in: bool = field(default=False)


SYSTEMS = {
    "mobile_otp_login": System(
        recipe=mobile_otp_login,
        register=("/register", {"username": "person{n}", "password": PASSWORD, "mobile_number": "050846433{n}"}),
        login=("/login", {"mobile_number": "050846433{n}"}),
        verify="/login",
        digits=8,
        channel="sms",
        anonymous=True,
    ),
    "sms_second_factor": System(
        recipe=sms_second_factor,
        register=("/auth/register", {"username": "person-{n}", "password": PASSWORD, "phone_number": "050846433{n}"}),
        login=("/auth/login", {"username": "person-{n}", "password": PASSWORD}),
        verify="/auth/verify-otp",
        names="session_id",
        lifetime=120,
        channel="sms",
    ),
    "jwt_roles": System(
        recipe=jwt_roles,
        register=("/register", {"username": "person{n}", "email": "p{n}@example.com", "password": PASSWORD}),
        login=("/login", {"username": "person{n}", "password": PASSWORD}),
        verify="/verify-otp",
        names="session_id",
        opt_in=True,
    ),
    "email_second_factor": System(
        recipe=email_second_factor,
        register=("/signup", {"name": "Person", "email": "p{n}@example.com", "password": PASSWORD}),
        login=("/login", {"email": "p{n}@example.com", "password": PASSWORD}),
        verify="/verify-otp",
    ),
}


class Person:
    """Somebody who is registered, with a browser of his own."""

    def __init__(self, system: System, app: Flask, number: int = 6) -> None:
        self.system, self.number = system, number
        self.browser = app.test_client()
        self._asked: Any = None

    def filled(self, body: dict[str, str]) -> dict[str, str]:
        return {name: value.format(n=self.number) for name, value in body.items()}

    def register(self) -> Any:
        path, body = self.system.register
        return self.browser.post(path, json=self.filled(body))

    def ask(self) -> Any:
        """Begin a login."""
        path, body = self.system.login
        self._asked = self.browser.post(path, json=self.filled(body))
        return self._asked

    def prove(self, otp: object, client: FlaskClient | None = None) -> Any:
        body: dict[str, object] = {"otp": otp}
        if self.system.names is not None:
            body[self.system.names] = self._asked.json[self.system.names]
        else:
            named = self.filled(self.system.login[1])
            body |= {name: value for name, value in named.items() if name != "password"}
        return (client or self.browser).post(self.system.verify, json=body)


class Scene:
    """A recipe, and people who are registered at it."""

    def __init__(self, walk: Walk, system: System) -> None:
        self.walk, self.system = walk, system

    def person(self, number: int = 6) -> Person:
        made = Person(self.system, self.walk.app, number)
        assert made.register().status_code < 300
        if self.system.opt_in:
            self.walk.sql("UPDATE users SET mfa_enabled = :yes", yes=True)
        self.walk.wait(61)
        return made


@pytest.fixture(params=SYSTEMS)
def scene(request: pytest.FixtureRequest, walk: Callable[..., Walk]) -> Scene:
    system = SYSTEMS[request.param]
    # A cheap hash for all: the recipe's own is seen where its flow is walked.
    return Scene(walk(system.recipe, OTPAUTH_PASSWORD_HASH="bcrypt"), system)


@pytest.mark.parametrize("phase", [0, 1, 17, 29])
def test_a_code_lives_as_long_as_it_says_whatever_the_clock(scene: Scene, phase: int) -> None:
    """A window of the clock gave codes that lived 10 s of 300."""
    ann = scene.person()
    scene.walk.wait(-scene.walk.now % 30 + phase)
    lifetime = scene.system.lifetime
    ann.ask()
    scene.walk.wait(lifetime - 1)
    assert ann.prove(scene.walk.code).status_code == 200
    scene.walk.wait(61)
    ann.ask()
    scene.walk.wait(lifetime)
    refused(ann.prove(scene.walk.code), 401, "otp_expired")


def test_codes_do_not_follow_from_random(scene: Scene) -> None:
    ann, codes = scene.person(), []
    for _ in range(2):
        random.seed(7)
        ann.ask()
        codes.append(scene.walk.code)
        scene.walk.wait(901)  # of several challenges at once, strangers have two
    assert codes[0] != codes[1]


def test_a_code_of_one_user_is_none_of_another(scene: Scene) -> None:
    """One secret for all gave everybody the same code at the same time."""
    ann, ben = scene.person(6), scene.person(7)
    ann.ask()
    hers = scene.walk.code
    ben.ask()
    assert hers != scene.walk.code
    refused(ben.prove(hers), 401, "otp_invalid", attempts_left=4)
    assert ann.prove(hers).status_code == 200


def test_a_code_is_good_once_whoever_is_quicker(scene: Scene) -> None:
    ann = scene.person()
    ann.ask()
    clients = [scene.walk.stranger() for _ in range(8)]
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(partial(ann.prove, scene.walk.code), clients))
    assert sorted(one.status_code for one in answers)[:2] == [200, 401]
    for loser in (one for one in answers if one.status_code != 200):
        assert loser.json["code"] in {"challenge_invalid", "rate_limited"}
    refused(ann.prove(scene.walk.code), 401, "challenge_invalid")


def test_leading_zeros_are_kept(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = scene.person()
    monkeypatch.setattr(secrets, "randbelow", lambda below: 4217)
    ann.ask()
    code = "4217".zfill(scene.system.digits)
    assert scene.walk.code == code
    assert code in scene.walk.messages[-1].body
    for bad in ("4217", 4217):
        refused(ann.prove(bad), 400, "validation_failed", "otp")
    assert ann.prove(code).status_code == 200


BODIES = (
    *(b"", b"{}", b"[]", b"null", b'"x"', b"5", b"{", b"\xff", b"[" * 5000, b'{"a":' * 5000),
    *(b'{"x": 1}', b'{"otp": null}', b'{"otp": "123456", "otp": "123456"}', b'{"email": "\\ud800"}', b"x" * 20_000),
)


def test_no_body_is_a_fault_of_the_server(scene: Scene) -> None:
    scene.person()
    for rule in scene.walk.app.url_map.iter_rules():
        methods = (rule.methods or set()) & {"POST", "PUT", "DELETE"}
        for method in methods if not rule.arguments else ():
            for body in BODIES:
                answer = scene.walk.stranger().open(
                    rule.rule, method=method, data=body, content_type="application/json"
                )
                assert 400 <= answer.status_code < 500, (rule.rule, body[:20], answer.text)
                assert answer.mimetype == "application/problem+json"


def test_each_field_may_have_any_type_without_a_fault_of_the_server(scene: Scene) -> None:
    ann = scene.person()
    for path, body in (scene.system.register, scene.system.login, (scene.system.verify, {"otp": "123456"})):
        for name in body:
            for bad in (None, True, 5, -1.5, [], {}, "", "x" * 5000, "\u202e", "١٢٣٤٥٦"):
                answer = ann.browser.post(path, json={**ann.filled(body), name: bad})
                assert 400 <= answer.status_code < 500, (path, name, bad, answer.text)


def test_reading_changes_nothing(scene: Scene) -> None:
    """GET that changes state is done by links, prefetching and pages of others."""
    scene.person()
    sent, users = len(scene.walk.messages), scene.walk.sql("SELECT * FROM users")
    rules = list(scene.walk.app.url_map.iter_rules())
    for path in {rule.rule for rule in rules} - {rule.rule for rule in rules if "GET" in (rule.methods or ())}:
        assert scene.walk.client.get(path, query_string=scene.system.login[1]).status_code in {404, 405}, path
    assert (len(scene.walk.messages), scene.walk.sql("SELECT * FROM users")) == (sent, users)


def test_a_gateway_that_fails_is_told_or_at_least_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    ann, courier = scene.person(), scene.walk.app.extensions["otpauth"].courier
    received: list[Message] = []

    def failing(message: Message) -> None:
        raise ConnectionRefusedError(111, f"no gateway for {message.to} {message.code}")

    # Out of the capture, as in production.
    courier._captures = ()
    courier.register(scene.system.channel, failing)
    asked = ann.ask()
    if scene.system.anonymous:
        # A stranger isn't told: it would tell him that there is somebody to send to.
        assert asked.status_code == 202
    else:
        refused(asked, 503, "delivery_failed", retry_after=10)
    assert "failing of channel" in caplog.text
    assert "ConnectionRefusedError" in caplog.text
    assert not re.search(r"(?<!\d)\d{6,8}(?!\d)|@example|\+972", caplog.text)
    assert [one["name"] for one in scene.walk.sql("SELECT name FROM otpauth_event")][-1] == "otp_send_failed"
    courier.register(scene.system.channel, received.append)
    scene.walk.wait(901)
    ann.ask()
    assert ann.prove(received[-1].code).status_code == 200


def values(app: Flask) -> Iterator[str]:
    """Give everything in the database as text."""
    with app.app_context():
        engine = app.extensions["sqlalchemy"].engine
        metadata = MetaData()
        metadata.reflect(engine)
        with engine.connect() as connection:
            for table in metadata.sorted_tables:
                for row in connection.execute(select(table)):
                    yield from (one.decode("latin-1") if isinstance(one, bytes) else str(one) for one in row)


@pytest.mark.parametrize("name", SYSTEMS)
def test_in_production_nobody_but_the_sender_sees_a_code(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    system, sent = SYSTEMS[name], list[Message]()
    caplog.set_level(logging.DEBUG)
    app = system.recipe.create_app({"SECRET_KEY": SECRET, "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'it.db'}"})
    courier = app.extensions["otpauth"].courier
    courier.register(system.channel, sent.append)
    ann = Person(system, app)
    shown = [ann.register()]
    if system.opt_in:
        with app.app_context():
            db = app.extensions["sqlalchemy"]
            db.session.execute(db.text("UPDATE users SET mfa_enabled = 1"))
            db.session.commit()
    if not system.anonymous:  # its registration has sent a code
        shown.append(ann.ask())
    courier._dispatcher.drain(10)
    (message,) = sent
    code = re.compile(rf"(?<!\d){message.code}(?!\d)")
    assert code.search(message.body)
    assert not any(code.search(value) for value in values(app))
    shown.append(ann.prove(message.code))
    assert shown[-1].status_code == 200
    for answer in shown:
        assert not code.search(answer.text)
        assert not code.search(str(answer.headers))
    assert not any(code.search(value) for value in values(app))
    output = capfd.readouterr()
    assert not code.search(caplog.text + output.out + output.err)
    close(app)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_secret_in_the_repository_starts_no_production(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SECRET_KEY", "OTPAUTH_DEMO"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigurationError, match="SECRET_KEY is short or well known"):
        SYSTEMS[name].recipe.create_app({"SQLALCHEMY_DATABASE_URI": "sqlite://"})


@pytest.mark.parametrize("name", ["sms_second_factor", "jwt_roles"])
def test_another_code_needs_the_id_that_followed_the_password(name: str, walk: Callable[..., Walk]) -> None:
    scene = Scene(walk(SYSTEMS[name].recipe), SYSTEMS[name])
    ann = scene.person()
    ann.ask()
    scene.walk.wait(61)
    sent, path = len(scene.walk.messages), scene.system.verify.replace("verify", "resend")
    named = {"username": ann.filled(scene.system.login[1])["username"]}
    refused(scene.walk.post(path, named), 400, "validation_failed", "username", "session_id")
    refused(scene.walk.post(path, {}), 400, "validation_failed", "session_id")
    refused(scene.walk.post(path, {"session_id": "guessed"}), 401, "challenge_invalid")
    assert len(scene.walk.messages) == sent


def test_whoever_owns_a_number_takes_it_over_from_who_only_named_it(walk: Callable[..., Walk]) -> None:
    """An account that nobody proved doesn't keep its owner out, and what a stranger set opens it no more."""
    system = SYSTEMS["mobile_otp_login"]
    scene = Scene(walk(system.recipe), system)
    squatter = scene.person()
    owner = Person(system, scene.walk.app)
    owner.ask()
    entered = owner.prove(scene.walk.code)
    assert entered.status_code == 200
    assert entered.json["user"]["mobile_number"] == "+972508464336"
    assert scene.walk.sql("SELECT password_hash FROM users") == [{"password_hash": None}]
    refused(squatter.prove(scene.walk.codes[0]), 401, "challenge_invalid")
