"""``flask otpauth ...`` on real databases: what each command does, and what each check of the doctor finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask_jwt_extended import JWTManager
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select, text
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_otpauth import OTPAuth
from flask_otpauth.cli.service_checks import limits
from flask_otpauth.cli.tools import Tools
from flask_otpauth.delivery import ConsoleSender, HttpSender
from flask_otpauth.errors import RateLimited
from flask_otpauth.guard import claimed, owned
from flask_otpauth.stores import SqlEvents
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import Event, Message, instant
from flask_otpauth.users import UserMixin
from tests.services import REDIS, SERVERS, database_url, redis_prefix

PASSWORD = "correct horse battery"
PHONE = "+972508464336"
DAY = 86_400

KEY = "0123456789abcdef" * 4

PRODUCTION: dict[str, Any] = {
    "TESTING": False,
    "SECRET_KEY": KEY,
    "OTPAUTH_BCRYPT_ROUNDS": 12,
    "OTPAUTH_PHONE_REGION": "IL",
    "OTPAUTH_SEND_TOTAL": "2000 per day",
    "SESSION_COOKIE_SECURE": True,
    "SESSION_COOKIE_SAMESITE": "Lax",
}

Apps = Callable[..., "Host"]


class Host:
    """An app, its commands and its messages."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.messages: list[Message] = []

    @property
    def tools(self) -> Tools:
        tools: Tools = self.app.cli.commands["otpauth"].tools  # type: ignore[attr-defined]
        return tools

    def run(self, *args: str, typed: str = "") -> Result:
        """Run a command; what it doesn't mean to raise is raised here."""
        result = self.app.test_cli_runner().invoke(args=["otpauth", *args], input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def told(self, *args: str, typed: str = "") -> str:
        """Run a command that succeeds; give what it prints."""
        result = self.run(*args, typed=typed)
        assert result.exit_code == 0, result.output
        return result.output

    def findings(self) -> dict[str, list[str]]:
        """Give what the doctor finds: levels with requirements, by check."""
        result = self.run("doctor")
        line = re.compile(r"^(fault|warning|ok|skipped) +([a-z -]+)(?:: .* \(ASVS ([0-9.]+)\))?$", re.MULTILINE)
        found: dict[str, list[str]] = {}
        for level, name, asvs in line.findall(result.stdout):
            found.setdefault(name, []).append(f"{level} {asvs}".strip())
        faults = [level for levels in found.values() for level in levels if level.startswith("fault")]
        assert result.exit_code == bool(faults), result.output
        return found

    def post(self, path: str, **body: str) -> Any:
        return self.app.test_client().post(f"/auth{path}", json=body)

    def enter(self) -> dict[str, Any]:
        """Log in; give the answer with the tokens."""
        with capture_messages(self.app) as messages:
            asked = self.post("/login", identifier="ann", password=PASSWORD)
            done = self.post("/verify-otp", challenge_id=asked.json["challenge_id"], otp=str(messages[-1].code))
        assert done.status_code == 200, done.json
        body: dict[str, Any] = done.json
        return body

    def challenge(self) -> str:
        """Log in half-way; give the challenge."""
        with capture_messages(self.app):
            return str(self.post("/login", identifier="ann", password=PASSWORD).json["challenge_id"])

    def guess(self, challenge: str) -> int:
        """Send a code of no meaning; give the status."""
        return int(self.post("/verify-otp", challenge_id=challenge, otp="000000").status_code)

    def fail(self, times: int) -> int:
        """Charge that many failed codes on Ann, as strangers; tell how many there was room for."""
        guard, now = self.tools.parts.guard, self.tools.parts.now()
        account = owned(self.tools.account("ann").id)
        with self.app.app_context():
            guard.open_codes(account, now)
            for charged in range(times):
                try:
                    guard.charge_code(account, now, known=False)
                except RateLimited:
                    return charged
        return times

    def record(self, name: str, at: int, **details: object) -> None:
        """Put an event into the table."""
        with self.app.app_context():
            SqlEvents(self.tools.database).record(Event(name=name, at=at, details=details))


@pytest.fixture
def apps(make_app: Callable[..., Flask]) -> Iterator[Apps]:
    """Give a maker of apps; options of ``OTPAuth`` by ``given``."""
    made: list[Host] = []

    def make(given: dict[str, Any] | None = None, **config: Any) -> Host:
        app = make_app(**config)
        if given is not None and "db" in given:
            given["db"].init_app(app)
        OTPAuth(app, **(given or {}))
        made.append(Host(app))
        return made[-1]

    yield make
    for one in made:
        one.tools.database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def host(apps: Apps, url: str, clock: Any) -> Host:
    return apps({"clock": clock}, SQLALCHEMY_DATABASE_URI=url, OTPAUTH_PHONE_REGION="IL")


@pytest.fixture
def production(apps: Apps) -> Callable[..., Host]:
    """Give a maker of apps that the doctor finds nothing in, but for what is given."""
    prefix = redis_prefix()

    def make(given: dict[str, Any] | None = None, **config: Any) -> Host:
        storage = {"RATELIMIT_STORAGE_URI": REDIS, "RATELIMIT_STORAGE_OPTIONS": {"key_prefix": prefix}}
        host = apps({"sms": lambda message: None, **(given or {})}, **{**PRODUCTION, **storage, **config})
        host.app.wsgi_app = ProxyFix(host.app.wsgi_app, x_for=1)  # type: ignore[method-assign]
        return host

    return make


@pytest.fixture
def needy(production: Callable[..., Host], tmp_path: Path) -> Callable[..., Host]:
    """Give a maker of such apps with a model of their own that needs some addresses."""

    def make(*needed: str, **config: Any) -> Host:
        db = SQLAlchemy()
        columns = {name: db.Column(db.String(254), unique=True, nullable=False) for name in needed}
        member = type("Member", (UserMixin, db.Model), {"id": db.Column(db.Integer, primary_key=True), **columns})
        place = {"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/host.sqlite"}
        return production({"db": db, "user_model": member}, **place, **config)

    return make


def make_ann(host: Host, *args: str) -> None:
    host.told("create-user", "--username", "Ann", "--phone", "0508464336", *args, typed=f"{PASSWORD}\n{PASSWORD}\n")


# --- policy -----------------------------------------------------------------------------------------------------------


def row(output: str, name: str) -> list[str]:
    found = re.search(rf"^{re.escape(name)} +(.*)$", output, re.MULTILINE)
    assert found is not None, output
    return found[1].split()


def test_policy_tells_the_numbers_of_the_rules(apps: Apps) -> None:
    told = apps().told("policy")
    assert row(told, "strangers") == ["1000000", "1", "5", "24", "2", "730", "7.3e-04"]
    assert row(told, "known clients") == ["1000000", "1", "5", "40", "2", "730", "7.3e-04"]
    assert row(told, "10 / 15 min") == ["29.6", "%"]
    assert row(told, "20 / 24 h") == ["0.727", "%"]
    assert row(told, "60 / 30 d") == ["7.3e-04"]


def test_policy_tells_eight_digits_of_a_passwordless_app(apps: Apps) -> None:
    told = apps(OTPAUTH_FIRST_FACTOR="otp").told("policy")
    assert row(told, "strangers")[0] == "100000000"
    assert row(told, "strangers")[-1] == "7.3e-06"


def test_policy_counts_each_live_challenge_where_they_are_named_by_identifier(apps: Apps) -> None:
    told = apps(OTPAUTH_CHALLENGE_LOOKUP="identifier").told("policy")
    assert "also named by identifier" in told
    assert row(told, "strangers")[1] == "3"
    assert row(told, "20 / 30 d") == ["7.3e-04"]


def test_policy_counts_challenges_where_they_are_fewer_than_the_failures(apps: Apps) -> None:
    # One message a day for a stranger, one guess each, one kind of address: 365 guesses a year.
    told = apps(OTPAUTH_MAX_ATTEMPTS=1, OTPAUTH_SEND_LIMITS="1 per day", OTPAUTH_CHANNELS=("sms",)).told("policy")
    assert row(told, "strangers") == ["1000000", "1", "1", "1", "2", "365", "3.6e-04"]


# --- doctor: settings -------------------------------------------------------------------------------------------------


@pytest.mark.services
def test_the_doctor_finds_nothing_in_a_good_configuration(production: Callable[..., Host]) -> None:
    host = production()
    found = host.findings()
    assert {name: levels for name, levels in found.items() if levels != ["ok"]} == {}
    assert len(found) == 17


ILL = [
    pytest.param("secret", {"SECRET_KEY": KEY[:20]}, ["warning 11.2.3"], id="secret of 20 bytes"),
    pytest.param("secret", {"SECRET_KEY": "dev", "OTPAUTH_DEMO": True}, ["fault 13.3.1"], id="known secret"),
    pytest.param("secret", {"SECRET_KEY_FALLBACKS": [KEY[::-1]]}, ["warning 13.3.4"], id="earlier secret"),
    pytest.param(
        "secret", {"SECRET_KEY_FALLBACKS": ["old"], "OTPAUTH_DEMO": True}, ["fault 13.3.1"], id="weak earlier secret"
    ),
    pytest.param(
        "secret",
        {"SECRET_KEY": "dev", "OTPAUTH_SECRET_KEY": KEY, "OTPAUTH_CREDENTIALS": ("session",), "OTPAUTH_DEMO": True},
        ["fault 13.3.1"],
        id="known secret of the session",
    ),
    pytest.param("modes", {"DEBUG": True}, ["fault 13.4.2"], id="debug"),
    pytest.param("modes", {"TESTING": True}, ["fault 13.4.2"], id="testing"),
    pytest.param("modes", {"OTPAUTH_DEMO": True}, ["fault 13.4.2"], id="demonstration"),
    pytest.param("channels", {"OTPAUTH_CHANNELS": ("voice",)}, ["fault 6.3.3"] * 2, id="channel without sender"),
    pytest.param("cookies", {"SESSION_COOKIE_SECURE": False}, ["warning 3.3.1"], id="cookie over HTTP"),
    pytest.param("cookies", {"SESSION_COOKIE_HTTPONLY": False}, ["warning 3.3.4"], id="cookie for scripts"),
    pytest.param("cookies", {"SESSION_COOKIE_SAMESITE": None}, ["warning 3.3.2"], id="cookie of other sites"),
    pytest.param(
        "cookies",
        {"SESSION_COOKIE_SECURE": False, "SESSION_COOKIE_HTTPONLY": False, "OTPAUTH_CREDENTIALS": ("session",)},
        ["fault 3.3.1", "fault 3.3.4"],
        id="cookie with a login",
    ),
    pytest.param("password cost", {"OTPAUTH_BCRYPT_ROUNDS": 11}, ["warning 11.4.2"], id="cheap hash"),
    pytest.param(
        "password cost", {"OTPAUTH_BCRYPT_ROUNDS": 4, "OTPAUTH_DEMO": True}, ["fault 11.4.2"], id="cheapest hash"
    ),
    pytest.param(
        "countries", {"OTPAUTH_PHONE_REGION": None, "OTPAUTH_DEMO": True}, ["fault 2.4.1"], id="every country"
    ),
    pytest.param("countries", {"OTPAUTH_SEND_TOTAL": None}, ["warning 2.4.1"], id="no budget of messages"),
    pytest.param("registration", {"OTPAUTH_REGISTRATION": "open"}, ["warning 6.3.8"], id="open registration"),
    pytest.param(
        "registration", {"OTPAUTH_REGISTRATION": "login-code"}, ["warning 6.3.8"], id="login-code with password"
    ),
    pytest.param(
        "look-up", {"OTPAUTH_CHALLENGE_LOOKUP": "identifier"}, ["warning 6.6.2"], id="look-up without cookies"
    ),
    pytest.param("notices", {"OTPAUTH_NOTICES": False}, ["warning 6.3.5"], id="no notices"),
    pytest.param("revocation", {"OTPAUTH_SESSION_CACHE": 5}, ["warning 7.4.1"], id="remembered sessions"),
    pytest.param("token key", {"JWT_SECRET_KEY": KEY[:20]}, ["warning 11.2.3"], id="token key of 20 bytes"),
    pytest.param(
        "token key", {"JWT_SECRET_KEY": "changeme", "OTPAUTH_DEMO": True}, ["fault 9.1.1"], id="known token key"
    ),
    pytest.param("limits", {"RATELIMIT_STORAGE_URI": "memory://"}, ["fault 6.3.1"], id="limits in memory"),
    pytest.param("limits", {"RATELIMIT_ENABLED": False}, ["fault 6.3.1"], id="limits off"),
    pytest.param("limits", {"RATELIMIT_STORAGE_URI": "redis://127.0.0.1:1"}, ["fault 16.5.2"], id="storage away"),
    pytest.param(
        "transport",
        {"MAIL_SERVER": "mail.example.org", "MAIL_USE_TLS": False, "MAIL_DEFAULT_SENDER": "shop@example.org"},
        ["fault 12.3.1"],
        id="mail in plain text",
    ),
]


@pytest.mark.services
@pytest.mark.parametrize(("name", "config", "levels"), ILL)
def test_the_doctor_finds_what_is_ill(
    production: Callable[..., Host], name: str, config: dict[str, Any], levels: list[str]
) -> None:
    assert production(**config).findings()[name] == levels


@pytest.mark.services
@pytest.mark.parametrize(
    ("name", "config"),
    [
        pytest.param("secret", {"SECRET_KEY": KEY[:40], "OTPAUTH_SECRET_KEY": KEY}, id="secret of our own"),
        pytest.param("registration", {"OTPAUTH_REGISTRATION": "closed"}, id="closed registration"),
        pytest.param(
            "registration",
            {
                "OTPAUTH_REGISTRATION": "login-code",
                "OTPAUTH_FIRST_FACTOR": "otp",
                "OTPAUTH_REGISTER_FIELDS": ("phone",),
            },
            id="login-code without password",
        ),
        pytest.param(
            "look-up",
            {"OTPAUTH_CHALLENGE_LOOKUP": "identifier", "OTPAUTH_CREDENTIALS": ("session",)},
            id="look-up with cookies",
        ),
        pytest.param("password cost", {"OTPAUTH_PASSWORD_HASH": "scrypt", "OTPAUTH_BCRYPT_ROUNDS": 10}, id="scrypt"),
        pytest.param("countries", {"OTPAUTH_PHONE_REGION": None, "OTPAUTH_SMS_COUNTRIES": ("IL",)}, id="one country"),
        pytest.param("cookies", {"SESSION_COOKIE_SAMESITE": "Strict"}, id="strict cookie"),
        pytest.param("token key", {"JWT_ALGORITHM": "RS256", "JWT_SECRET_KEY": "short"}, id="key pair"),
        pytest.param(
            "transport",
            {"MAIL_SERVER": "mail.example.org", "MAIL_USE_TLS": True, "MAIL_DEFAULT_SENDER": "shop@example.org"},
            id="mail with TLS",
        ),
        pytest.param(
            "transport",
            {"MAIL_SERVER": "localhost", "MAIL_USE_TLS": False, "MAIL_DEFAULT_SENDER": "shop@example.org"},
            id="mail on this machine",
        ),
    ],
)
def test_the_doctor_lets_pass_what_is_well(production: Callable[..., Host], name: str, config: dict[str, Any]) -> None:
    assert production(**config).findings()[name] == ["ok"]


def test_the_doctor_finds_codes_on_the_console(apps: Apps) -> None:
    assert apps().findings()["channels"] == ["fault 13.4.2"] * 2
    assert apps({"sms": ConsoleSender()}, **PRODUCTION, OTPAUTH_DEMO=True).findings()["channels"] == ["fault 13.4.2"]


@pytest.mark.parametrize(
    ("gateway", "levels"),
    [
        ("http://gateway.example/send", ["fault 12.3.1"]),
        ("https://gateway.example/send", ["ok"]),
        ("http://127.0.0.1:8080/send", ["ok"]),
    ],
)
def test_the_doctor_looks_at_the_wire_of_a_gateway(apps: Apps, gateway: str, levels: list[str]) -> None:
    assert apps({"sms": HttpSender(gateway)}, **PRODUCTION).findings()["transport"] == levels


def test_the_doctor_looks_for_the_proxy(apps: Apps) -> None:
    host = apps(**PRODUCTION)
    assert host.findings()["proxy"] == ["warning 15.3.4"]
    inner = ProxyFix(host.app.wsgi_app, x_for=0, x_proto=1)
    host.app.wsgi_app = inner  # type: ignore[method-assign]
    assert host.findings()["proxy"] == ["warning 15.3.4"]

    class Layer:
        def __init__(self, app: Any) -> None:
            self.app = app

    host.app.wsgi_app = Layer(ProxyFix(inner, x_for=1))  # type: ignore[assignment]
    assert host.findings()["proxy"] == ["ok"]


def test_the_doctor_looks_at_the_hosts_own_manager(make_app: Callable[..., Flask], apps: Apps) -> None:
    app = make_app(**PRODUCTION)
    manager = JWTManager(app)
    auth = OTPAuth(app, sms=lambda message: None)
    host = Host(app)
    try:
        assert host.findings()["revocation"] == ["warning 7.4.1"]
        manager.token_in_blocklist_loader(auth.token_revoked)
        assert host.findings()["revocation"] == ["ok"]
        JWTManager(app)
        assert host.findings()["revocation"] == ["fault 7.4.1"]
    finally:
        host.tools.database.close()


def test_layers_around_the_app_may_form_a_circle(apps: Apps) -> None:
    host = apps(**PRODUCTION)

    class Circle:
        @property
        def app(self) -> Any:
            return self

    host.app.wsgi_app = Circle()  # type: ignore[assignment]
    assert host.findings()["proxy"] == ["warning 15.3.4"]


def test_a_storage_of_limits_that_raises_is_a_fault(apps: Apps) -> None:
    class Broken:
        def current(self) -> Any:
            raise OSError

    assert [one.asvs for one in limits(replace(apps().tools, counting=Broken(), shared=True))] == ["16.5.2"]  # type: ignore[arg-type]


def test_a_broken_secret_keeps_the_commands_from_being_there(make_app: Callable[..., Flask]) -> None:
    app = make_app(TESTING=False, SECRET_KEY="dev")
    with pytest.raises(RuntimeError, match="SECRET_KEY"):
        OTPAuth(app)
    assert "otpauth" not in app.cli.commands


BOTH = {"OTPAUTH_REGISTER_FIELDS": ("username", "password", "email", "phone")}


@pytest.mark.services
@pytest.mark.parametrize("registration", ["confirm", "login-code"])
@pytest.mark.parametrize("needed", [("email",), ("phone",), ("email", "phone")])
def test_the_doctor_warns_of_two_addresses_of_which_the_model_needs_one(
    needy: Callable[..., Host], registration: str, needed: tuple[str, ...]
) -> None:
    fields = {**BOTH, "OTPAUTH_REGISTRATION": registration}
    if registration == "login-code":
        fields |= {"OTPAUTH_FIRST_FACTOR": "otp", "OTPAUTH_REGISTER_FIELDS": ("email", "phone")}
    host = needy(*needed, **fields)
    assert host.findings()["registration"] == ["warning 6.3.8"]
    assert f"{' and '.join(needed)} may not be NULL" in host.run("doctor").stdout


@pytest.mark.services
@pytest.mark.parametrize(
    ("needed", "config"),
    [
        pytest.param((), BOTH, id="none is needed"),
        pytest.param(("email",), {"OTPAUTH_REGISTER_FIELDS": ("username", "password", "email")}, id="one is taken"),
        pytest.param(("email",), {**BOTH, "OTPAUTH_REGISTRATION": "closed"}, id="closed"),
    ],
)
def test_the_doctor_accepts_addresses_that_can_be_hidden(
    needy: Callable[..., Host], needed: tuple[str, ...], config: dict[str, Any]
) -> None:
    assert needy(*needed, **config).findings()["registration"] == ["ok"]


# --- doctor: services -------------------------------------------------------------------------------------------------


@pytest.fixture
def own_db(make_app: Callable[..., Flask], url: str, clock: Any) -> Iterator[Host]:
    """A host with a database and a model of its own, whose tables nobody has made."""
    db = SQLAlchemy()

    class Member(UserMixin, db.Model):  # type: ignore[name-defined,misc]
        id = db.Column(db.Integer, primary_key=True)

    app = make_app(SQLALCHEMY_DATABASE_URI=url, **PRODUCTION)
    db.init_app(app)
    OTPAuth(app, db=db, user_model=Member, sms=lambda message: None, clock=clock)
    host = Host(app)
    yield host
    host.tools.database.close()


def create_all(host: Host) -> Any:
    db = host.app.extensions["sqlalchemy"]
    with host.app.app_context():
        db.create_all()
    return db


def execute(host: Host, statement: str) -> None:
    db = host.app.extensions["sqlalchemy"]
    with host.app.app_context():
        db.session.execute(text(statement))
        db.session.commit()


def test_the_doctor_finds_missing_tables_and_columns(own_db: Host) -> None:
    assert own_db.findings()["database"] == ["fault 16.5.3", "fault 16.5.3"]
    assert own_db.findings()["identifiers"] == ["skipped"]
    create_all(own_db)
    assert own_db.findings()["database"] == ["ok"]
    execute(own_db, "DROP TABLE otpauth_client")
    execute(own_db, "ALTER TABLE otpauth_session DROP COLUMN client")
    told = own_db.run("doctor")
    assert "The database lacks otpauth_session.client, otpauth_client." in told.stdout
    assert told.exit_code == 1


def test_the_doctor_finds_a_database_that_is_away(apps: Apps, tmp_path: Path) -> None:
    host = apps(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/nowhere/file.sqlite", **PRODUCTION)
    found = host.findings()
    assert (found["database"], found["identifiers"]) == (["fault 16.5.2"], ["skipped"])


@pytest.mark.parametrize("kind", SERVERS)
def test_the_doctor_finds_clocks_that_differ(apps: Apps, tmp_path: Path, kind: str) -> None:
    offset = timedelta()

    def clock() -> datetime:
        return datetime.now(UTC) + offset

    found = []
    with database_url(kind, tmp_path) as url:
        host = apps({"clock": clock}, SQLALCHEMY_DATABASE_URI=url)
        for seconds in (0, 15, 300, -300):
            offset = timedelta(seconds=seconds)
            found += host.findings()["clock"]
        host.tools.database.close()
    assert found == ["ok", "warning 16.2.2", "fault 16.2.2", "fault 16.2.2"]


def test_sqlite_has_no_clock_to_differ(apps: Apps, clock: Any) -> None:
    clock.advance(1000)
    assert apps({"clock": clock}).findings()["clock"] == ["ok"]


def test_the_doctor_counts_users_whom_nobody_finds(own_db: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_otpauth.cli.service_checks.BATCH", 3)
    db = create_all(own_db)
    member = own_db.tools.parts.users._map.model  # type: ignore[attr-defined]
    rows = [
        {"username": "ann", "email": "ann@example.org", "phone": PHONE},
        {"username": "Ben", "email": "Ben@Example.org", "phone": "050-846-4337"},
        {"username": "cat", "email": None, "phone": ""},
        {"username": "Dan", "email": "not an address", "phone": None},
        {"username": "eve", "email": "eve@example.org", "phone": "+972508464338"},
        {"username": "fay", "email": None, "phone": None},
        {"username": "gil", "email": None, "phone": "+19002345678"},
    ]
    with own_db.app.app_context():
        db.session.add_all([member(**one) for one in rows])
        db.session.commit()
    told = own_db.run("doctor").stdout
    for kind, count in (("username", 2), ("email", 2), ("phone", 1)):
        assert f"{count} of 7 users can't be found by {kind}" in told
    assert "1 of 7 users have a number that nothing is sent to" in told
    assert own_db.findings()["identifiers"] == ["warning 6.3.4"] * 3 + ["warning 2.4.1"]


def test_the_doctor_looks_at_so_many_users_and_no_more(own_db: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_otpauth.cli.service_checks.BATCH", 2)
    monkeypatch.setattr("flask_otpauth.cli.service_checks.LOOKED_AT", 4)
    db = create_all(own_db)
    member = own_db.tools.parts.users._map.model  # type: ignore[attr-defined]
    with own_db.app.app_context():
        db.session.add_all([member(username=f"User{number}") for number in range(7)])
        db.session.commit()
    assert "4 of 4 users can't be found by username" in own_db.run("doctor").stdout


def test_users_that_lie_elsewhere_are_not_looked_at(apps: Apps) -> None:
    class Store:
        def by_id(self, user_id: str, /) -> object | None:
            return None

        by_identifier = add = update = remove = by_id

    assert apps({"users": Store()}).findings()["identifiers"] == ["ok"]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_init_db_makes_our_tables(host: Host) -> None:
    assert "All tables are there" in host.told("init-db")
    assert host.post("/login", identifier="ann", password=PASSWORD).status_code == 401


def test_init_db_leaves_the_apps_own_database_to_its_migrations(own_db: Host) -> None:
    refused = own_db.run("init-db")
    assert (refused.exit_code, "flask db upgrade" in refused.output) == (1, True)
    assert own_db.findings()["database"] == ["fault 16.5.3", "fault 16.5.3"]
    create_all(own_db)
    assert "All tables are there" in own_db.told("init-db")


# --- users ------------------------------------------------------------------------------------------------------------


def test_create_user_makes_one_that_can_log_in(host: Host) -> None:
    make_ann(host, "--verified", "--role", "admin")
    body = host.enter()
    assert body["user"]["username"] == "ann"
    assert (body["user"]["phone"], body["user"]["roles"]) == (PHONE, ["admin"])
    account = host.tools.account("ann")
    assert (account.phone_verified, account.email_verified) == (True, False)


def test_an_address_is_unproved_unless_said(host: Host) -> None:
    make_ann(host, "--email", "ann@example.org")
    account = host.tools.account("ann")
    assert (account.phone_verified, account.email_verified) == (False, False)


def test_create_user_without_a_password(host: Host) -> None:
    host.told("create-user", "--email", "Ann@Example.org", "--no-password")
    assert host.tools.account("ann@example.org").password_hash is None


@pytest.mark.parametrize(
    ("args", "typed", "told"),
    [
        pytest.param((), "", "Give one of --username, --email, --phone", id="nobody"),
        pytest.param(("--username", "x"), "", "--username", id="bad name"),
        pytest.param(("--phone", "12"), "", "--phone", id="bad number"),
        pytest.param(("--username", "ben"), "short\nshort\n", "at least 8", id="short password"),
        pytest.param(("--username", "ann", "--no-password"), "", "taken", id="taken"),
    ],
)
def test_create_user_refuses(host: Host, args: tuple[str, ...], typed: str, told: str) -> None:
    make_ann(host)
    result = host.run("create-user", *args, typed=typed)
    assert result.exit_code != 0
    assert told in result.output


@pytest.mark.parametrize(
    ("column", "told"),
    [
        pytest.param({"username": (2, True)}, "username", id="name too long"),
        pytest.param({"shoe": (10, False)}, "shoe", id="more than we know of"),
    ],
)
def test_create_user_tells_what_the_model_lacks(
    make_app: Callable[..., Flask], column: dict[str, tuple[int, bool]], told: str
) -> None:
    db = SQLAlchemy()
    columns = {name: db.Column(db.String(length), nullable=null) for name, (length, null) in column.items()}
    member = type("Member", (UserMixin, db.Model), {"id": db.Column(db.Integer, primary_key=True), **columns})
    app = make_app(SQLALCHEMY_DATABASE_URI="sqlite:///host.sqlite", OTPAUTH_REGISTRATION="closed")
    db.init_app(app)
    OTPAuth(app, db=db, user_model=member)
    host = Host(app)
    try:
        create_all(host)
        result = host.run("create-user", "--username", "ann", "--no-password")
        assert (result.exit_code, told in result.output) == (1, True)
    finally:
        host.tools.database.close()


def test_no_password_is_shown(host: Host) -> None:
    told = host.told("create-user", "--username", "ben", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert PASSWORD not in told


def test_unlock_forgets_the_failures_of_codes(host: Host) -> None:
    make_ann(host, "--verified")
    challenge = host.challenge()
    assert host.fail(11) == 10
    assert host.guess(challenge) == 429
    assert "Unlocked user" in host.told("unlock", PHONE)
    assert host.guess(challenge) == 401
    assert "account_unlocked" in host.told("events")


def test_unlock_forgets_the_failures_of_passwords_over_all_addresses(host: Host) -> None:
    make_ann(host, "--verified")
    parts, now = host.tools.parts, host.tools.parts.now()
    identifier, account = parts.identifiers.parse("ann"), owned(host.tools.account("ann").id)
    with host.app.app_context():
        for number in range(50):
            parts.guard.charge_password(identifier, f"192.0.2.{number}", account, now, known=False)
    assert host.post("/login", identifier="ann", password=PASSWORD).status_code == 429
    host.told("unlock", "ann")
    assert host.post("/login", identifier="ann", password=PASSWORD).status_code == 200


def test_unlock_forgets_what_known_clients_and_guesses_by_name_have_spent(host: Host) -> None:
    make_ann(host, "--verified")
    guard, now = host.tools.parts.guard, host.tools.parts.now()
    budgets = [(owned("1"), True), (claimed(host.tools.parts.identifiers.parse("ann")), False)]

    def room(account: str, *, known: bool) -> int:
        with host.app.app_context():
            guard.open_codes(account, now)
            for charged in range(11):
                try:
                    guard.charge_code(account, now, known=known)
                except RateLimited:
                    return charged
        return 11

    assert [room(account, known=known) for account, known in budgets * 2] == [10, 10, 0, 0]
    host.told("unlock", "ann")
    assert [room(account, known=known) for account, known in budgets] == [10, 10]


def test_unlock_leaves_others_alone(host: Host) -> None:
    make_ann(host, "--verified")
    host.told("create-user", "--username", "ben", "--no-password")
    host.fail(10)
    host.told("unlock", "ben")
    assert host.fail(1) == 0


@pytest.mark.parametrize("command", ["unlock", "sessions"])
@pytest.mark.parametrize("name", ["nobody", "nobody@example.org", "999", "\x00"])
def test_an_unknown_user_is_told(host: Host, command: str, name: str) -> None:
    result = host.run(command, name)
    assert (result.exit_code, "no such user" in result.output) == (1, True)


def test_sessions_are_listed_and_ended(host: Host) -> None:
    make_ann(host, "--verified")
    token = host.enter()["access_token"]
    listed = host.told("sessions", "ann")
    name = listed.split()[0]
    assert "1 live." in listed
    assert "pwd otp sms mfa" in listed
    refused = host.run("sessions", "ann", "--end", "A" * 43)
    assert (refused.exit_code, "no such session" in refused.output) == (1, True)
    assert "Ended 1." in host.told("sessions", "ann", "--end", name)
    me = host.app.test_client().get("/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert me.status_code == 401
    assert "0 live." in host.told("sessions", "ann")


def test_all_sessions_are_ended(host: Host, clock: Any) -> None:
    make_ann(host, "--verified")
    host.enter()
    clock.advance(61)
    host.enter()
    assert "Ended 2." in host.told("sessions", "ann", "--end-all")
    assert "session_revoked" in host.told("events")


def test_nobodys_session_is_ended_by_anothers_name(host: Host) -> None:
    make_ann(host, "--verified")
    host.enter()
    host.told("create-user", "--username", "ben", "--no-password")
    name = host.told("sessions", "ann").split()[0]
    assert host.run("sessions", "ben", "--end", name).exit_code == 1
    assert "1 live." in host.told("sessions", "ann")


# --- upkeep -----------------------------------------------------------------------------------------------------------


def test_events_are_told_oldest_first_and_of_one_user(host: Host) -> None:
    make_ann(host, "--verified")
    host.enter()
    told = host.told("events", "--user", "ann")
    assert told.index("user_registered") < told.index("otp_sent") < told.index("user_logged_in")
    host.told("create-user", "--username", "ben", "--no-password")
    assert "user_registered" not in host.told("events", "--user", "ann", "--limit", "2")
    assert len(host.told("events", "--limit", "1").splitlines()) == 1


def test_nothing_in_an_event_steers_the_terminal(host: Host) -> None:
    host.record("login_failed", host.tools.parts.now(), why="\x1b[2J\nuser_logged_in")
    assert "why=?[2J?user_logged_in" in host.told("events")


def test_purge_takes_what_is_past_its_time_and_nothing_else(host: Host, clock: Any) -> None:
    make_ann(host, "--verified")
    host.enter()

    def left() -> dict[str, int]:
        tables = host.tools.database.tables
        with host.tools.database.read() as connection:
            return {
                name: len(connection.execute(select(getattr(tables, name))).all())
                for name in ("challenge", "guard", "session", "client", "event")
            }

    full = left()
    host.told("purge")
    assert left() == full
    clock.advance(DAY + 3600)
    host.told("purge")
    assert left() == {**full, "challenge": 0}
    clock.advance(29 * DAY + 3600)
    host.told("purge")
    assert left() == {**full, "challenge": 0, "guard": 0}
    clock.advance(31 * DAY)
    host.told("purge")
    assert left() == {**dict.fromkeys(full, 0), "client": 1, "event": full["event"]}
    clock.advance(400 * DAY)
    assert f"events: {full['event']} deleted" in host.told("purge")
    assert left() == dict.fromkeys(full, 0)


def test_purge_works_in_batches(host: Host, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_otpauth.cli.upkeep.BATCH", 3)
    for number in range(7):
        host.record("otp_sent", instant(clock.now) - number)
    clock.advance(91 * DAY)
    assert "events: 7 deleted" in host.told("purge")


def test_purge_keeps_failures_as_long_as_a_window_looks_at_them(host: Host, clock: Any) -> None:
    make_ann(host, "--verified")
    for _ in range(6):
        assert host.fail(11) == 10
        clock.advance(DAY)
    clock.advance(20 * DAY)
    host.told("purge")
    assert host.fail(1) == 0


def test_purge_leaves_the_budget_of_a_challenge_that_is_under_way(apps: Apps, clock: Any) -> None:
    host = apps({"clock": clock}, OTPAUTH_ACCOUNT_LIMITS="2 per day", OTPAUTH_PHONE_REGION="IL")
    make_ann(host, "--verified")
    host.challenge()
    clock.advance(DAY - 10)
    # The row was opened less than a day ago, so it isn't stamped again.
    challenge = host.challenge()
    clock.advance(20)
    host.told("purge")
    assert host.guess(challenge) == 401


def test_retention_is_set(apps: Apps, clock: Any) -> None:
    host = apps({"clock": clock}, OTPAUTH_RETENTION={"events": 3600})
    host.record("otp_sent", instant(clock.now))
    clock.advance(3601)
    assert "events: 1 deleted" in host.told("purge")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"event": 1}, "'event'"),
        ({"events": -1}, "from 0 to"),
        ({"events": "90 days"}, "whole seconds"),
        ([], "mapping"),
    ],
)
def test_a_wrong_retention_is_told(make_app: Callable[..., Flask], value: Any, fault: str) -> None:
    with pytest.raises(RuntimeError, match=fault):
        OTPAuth(make_app(OTPAUTH_RETENTION=value))


def test_send_test_sends_a_code_that_opens_nothing(host: Host) -> None:
    with capture_messages(host.app) as messages:
        assert "took it" in host.told("send-test", "sms", "050-846-4336")
    assert (messages[0].to, messages[0].code, messages[0].purpose) == (PHONE, "000000", "login")


def test_send_test_tells_what_is_wrong(apps: Apps) -> None:
    def broken(message: Message) -> None:
        raise OSError("no route")

    host = apps({"sms": broken}, **PRODUCTION)
    for args, told in (
        (("pigeon", PHONE), "channels are: sms"),
        (("sms", "12"), "ADDRESS"),
        (("sms", PHONE), "code"),
    ):
        result = host.run("send-test", *args)
        assert result.exit_code != 0
        assert told in result.output
