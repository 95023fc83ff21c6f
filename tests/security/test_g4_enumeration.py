"""
G4: no answer tells whether an address has an account, nor whether that is locked, has MFA or has a password.

Known and unknown identifiers take turns, step by step; after each step the two answers are compared as they came over
HTTP: status, headers in their order and body, every character but secret ids. The clock stands and the masks of all
addresses are the same, so times, masks and lengths are compared as well. Time itself isn't measured here (the command
``timing.py`` does): what can be asserted is that both sides cost the request the same SQL.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_otpauth import OTPAuth
from flask_otpauth.delivery import Texts
from flask_otpauth.errors import RateLimited
from flask_otpauth.flows.login import proved_ask
from flask_otpauth.flows.service import Service
from flask_otpauth.guard import owned
from flask_otpauth.types import Caller, Identifier, Kind, Message, NewAccount, Purpose, instant

from ..services import KINDS, database_url

pytestmark = pytest.mark.slow

PASSWORD = "my dog eats soap"
WRONG = "my cat eats soap"
MANY = "1000000 per hour"
PAIRS = 20
FEW = 6

Walk = Generator[Any, None, None]
"""Yields answers, which are compared, and seconds, after which the walk goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Somebody, known or not: by the look of his names there is no telling."""

    number: int
    id: str | None = None

    @property
    def username(self) -> str:
        return f"user{self.number:04}"

    @property
    def email(self) -> str:
        return f"a{self.number:04}@example.org"

    @property
    def phone(self) -> str:
        return f"+97250{self.number:05}36"

    def by(self, kind: str) -> str:
        return str(getattr(self, kind))


class Gateway:
    """
    A sender that works, fails, is slow or hangs.

    Attributes:
        sent: What it brought.
    """

    def __init__(self, how: str = "working") -> None:
        self.how = how
        self.sent: list[Message] = []
        self.released = threading.Event()

    def __call__(self, message: Message) -> None:
        if self.how == "failing":
            raise OSError("of the gateway")
        if self.how != "working":
            self.released.wait(0.02 if self.how == "slow" else 60)
        self.sent.append(message)


class Site:
    """An app with a public interface, and what the tests need to know of its inside."""

    def __init__(self, app: Flask, clock: Any, gateway: Gateway) -> None:
        self.app, self.clock, self.gateway = app, clock, gateway
        self.auth = OTPAuth(app, clock=clock)
        self.auth.sms_sender(gateway)
        self.auth.email_sender(gateway)
        self.client = app.test_client(use_cookies=False)
        self.names = 0
        self.connections: list[sqlite3.Connection] = []

    @property
    def service(self) -> Service:
        service: Service = self.app.extensions["otpauth"]
        return service

    @property
    def parts(self) -> Any:
        return self.service.login._parts

    @property
    def now(self) -> int:
        return instant(self.clock())

    def post(self, path: str, body: dict[str, Any], client: Any = None) -> Any:
        return (client or self.client).post(f"/auth{path}", json=body)

    def wrong(self, challenge: Any, client: Any = None) -> Any:
        """Answer with a code of the right shape, which is nobody's but once in a hundred million times."""
        code = "0" * self.service.settings.digits
        return self.post("/verify-otp", {"challenge_id": challenge.json["challenge_id"], "otp": code}, client)

    def resend(self, challenge: Any, **fields: str) -> Any:
        return self.post("/resend-otp", {"challenge_id": challenge.json["challenge_id"], **fields})

    def people(self, number: int = PAIRS, **changes: Any) -> tuple[list[Who], list[Who]]:
        """Add users; give them, and as many that nobody has heard of."""
        users, known = self.service.users, []
        stored = self.parts.passwords.hash(PASSWORD)
        with self.app.app_context():
            for index in range(number):
                who = Who(number=index)
                given = {"email": who.email, "phone": who.phone, "password_hash": stored} | {
                    "email_verified": True,
                    "phone_verified": True,
                }
                added = users.add(NewAccount(username=who.username, **(given | changes)))
                known.append(replace(who, id=added.id))
        return known, [Who(number=5000 + index) for index in range(number)]

    def settle(self) -> None:
        """Wait for what left the requests, unless it hangs."""
        if self.gateway.how != "hanging":
            self.parts.courier._dispatcher.drain(30)


Sites = Callable[..., Site]


@pytest.fixture
def site(make_app: Callable[..., Flask], clock: Any) -> Iterator[Sites]:
    with ExitStack() as stack:
        opened: list[sqlite3.Connection] = []
        pool = sa.pool.Pool

        def note(connection: Any, _: object) -> None:
            opened.append(connection)

        sa.event.listen(pool, "connect", note)
        stack.callback(sa.event.remove, pool, "connect", note)

        def make(how: str = "working", uri: str | None = None, threads: bool = False, **config: Any) -> Site:
            limits = {f"{name}_IP_LIMITS": MANY for name in ("SEND", "VERIFY", "LOGIN")}
            named = {f"OTPAUTH_{name}": value for name, value in (limits | config).items()}
            if uri is not None:
                named["SQLALCHEMY_DATABASE_URI"] = uri
            gateway = Gateway(how)
            made = Site(make_app(**named), clock, gateway)
            made.connections = opened
            # As in production: anonymous sends leave the request, in threads.
            made.app.testing = not threads
            stack.callback(made.parts.challenges._store._database.close)
            stack.callback(made.parts.courier._dispatcher.drain, 30)
            stack.callback(gateway.released.set)
            return made

        yield make


def visible(response: Any) -> tuple[int, list[tuple[str, str]], str]:
    """Give all that a stranger sees of an answer; only secret ids (of 43 characters) and the date are masked."""

    def shown(text: str) -> str:
        return re.sub(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])", "<id>", text)

    headers = [(name, "" if name == "Date" else shown(value)) for name, value in response.headers]
    headers = [(name, re.sub(r"session=[^;]*", "session=", value)) for name, value in headers]
    return response.status_code, headers, shown(response.get_data(as_text=True))


def compare(site: Site, walk: Callable[[Site, Who], Walk], known: list[Who], unknown: list[Who]) -> list[int]:
    """Let all of them walk, in turns; give the statuses that were seen on the way."""
    walks = [walk(site, who) for pair in zip(known, unknown, strict=True) for who in pair]
    statuses: list[int] = []
    while steps := [step for one in walks if (step := next(one, None)) is not None]:
        assert len(steps) == len(walks)
        site.settle()
        if isinstance(steps[0], float):
            site.clock.advance(steps[0])
            continue
        first = visible(steps[0])
        for index, step in enumerate(steps[1:], 1):
            whose = "an unknown" if index % 2 else "a known"
            assert visible(step) == first, f"step {len(statuses)}: {whose} one can be told from the first known one"
        statuses.append(first[0])
    return statuses


# --- the walks --------------------------------------------------------------------------------------------------------


def ask(kind: str) -> Callable[[Site, Who], Walk]:
    def walk(site: Site, who: Who) -> Walk:
        """Ask for a code, and do with the challenge all that can be done without its code."""
        asked = site.post("/login", {kind: who.by(kind)})
        yield asked
        yield site.wrong(asked)
        yield site.post("/login", {"identifier": who.by(kind)})  # the cooldown runs
        yield site.resend(asked)
        yield 61.0
        yield site.resend(asked)
        yield site.wrong(asked)
        yield 61.0
        yield site.post("/login", {kind: who.by(kind)})
        yield site.wrong(asked)
        yield site.wrong(asked)
        yield site.wrong(asked)  # the last attempt
        yield site.wrong(asked)
        yield 61.0
        yield site.resend(asked)

    return walk


ASKED = [202, 401, 429, 429, 202, 401, 202, 401, 401, 401, 401, 401]


def guess_passwords(kind: str) -> Callable[[Site, Who], Walk]:
    def walk(site: Site, who: Who) -> Walk:
        for _ in range(6):
            yield site.post("/login", {kind: who.by(kind), "password": WRONG})
        yield site.post("/login", {"identifier": who.by(kind).upper(), "password": WRONG})

    return walk


GUESSED = [401] * 5 + [429] * 2


def register(kind: str, **fields: str) -> Callable[[Site, Who], Walk]:
    def body(site: Site, who: Who) -> dict[str, str]:
        # Usernames are public, so each is one that nobody has.
        site.names += 1
        named = {"username": f"new{site.names:05}"} if "username" not in fields else {}
        return {**named, **fields, kind: who.by(kind)}

    def walk(site: Site, who: Who) -> Walk:
        asked = site.post("/register", body(site, who))
        yield asked
        yield site.wrong(asked)
        yield site.post("/register", body(site, who))
        yield site.resend(asked)
        yield 61.0
        yield site.resend(asked)
        yield site.wrong(asked)
        yield 61.0
        yield site.post("/register", body(site, who))
        yield site.wrong(asked)

    return walk


REGISTERED = [202, 401, 429, 429, 202, 401, 202, 401]

KINDS_OF_NAMES = pytest.mark.parametrize("kind", ["username", "email", "phone"])
ADDRESSES = pytest.mark.parametrize("kind", ["email", "phone"])
GATEWAYS = pytest.mark.parametrize("how", ["failing", "slow", "hanging"])


@KINDS_OF_NAMES
def test_asking_for_a_code(site: Sites, kind: str) -> None:
    one = site(FIRST_FACTOR="otp")
    assert compare(one, ask(kind), *one.people()) == ASKED
    assert one.gateway.sent


@KINDS_OF_NAMES
def test_guessing_passwords(site: Sites, kind: str) -> None:
    one = site()
    assert compare(one, guess_passwords(kind), *one.people()) == GUESSED


@ADDRESSES
def test_registering(site: Sites, kind: str) -> None:
    one = site()
    assert compare(one, register(kind, password=PASSWORD), *one.people()) == REGISTERED
    assert {message.purpose for message in one.gateway.sent} == {"confirm", "notice"}


@ADDRESSES
def test_registering_where_the_account_is_made_at_once(site: Sites, kind: str) -> None:
    one = site(FIRST_FACTOR="otp", REGISTRATION="login-code")
    assert compare(one, register(kind), *one.people()) == REGISTERED


@pytest.mark.parametrize("kind", KINDS)
def test_on_every_database(site: Sites, tmp_path: Path, kind: Any) -> None:
    with database_url(kind, tmp_path) as uri:
        one = site(uri=uri, FIRST_FACTOR="otp")
        try:
            known, unknown = one.people(3)
            assert compare(one, ask("phone"), known, unknown) == ASKED
            one.clock.advance(3600)
            assert compare(one, register("phone"), known, unknown) == REGISTERED
        finally:
            one.parts.challenges._store._database.close()


# --- what the gateway does ----------------------------------------------------------------------------------------


@GATEWAYS
def test_asking_while_the_gateway_is_ill(site: Sites, how: str) -> None:
    one = site(how, threads=True, FIRST_FACTOR="otp", SEND_TIMEOUT=1)
    assert compare(one, ask("phone"), *one.people(6 if how == "slow" else PAIRS)) == ASKED
    assert bool(one.gateway.sent) == (how == "slow")


@GATEWAYS
def test_registering_while_the_gateway_is_ill(site: Sites, how: str) -> None:
    one = site(how, threads=True, SEND_TIMEOUT=1)
    people = one.people(6 if how == "slow" else PAIRS)
    assert compare(one, register("email", password=PASSWORD), *people) == REGISTERED


def test_asking_when_all_messages_of_the_app_are_spent(site: Sites) -> None:
    one = site(FIRST_FACTOR="otp", SEND_TOTAL="1 per day")
    assert compare(one, ask("email"), *one.people()) == ASKED
    assert len(one.gateway.sent) == 1


# --- what the account is like -------------------------------------------------------------------------------------


def disabled(site: Site, who: Who) -> None:
    database = site.parts.challenges._store._database
    with database.transaction() as connection:
        connection.execute(
            sa.text("UPDATE users SET active = :off WHERE id = :id"), {"off": False, "id": int(str(who.id))}
        )


def locked(site: Site, who: Who) -> None:
    account = owned(str(who.id))
    site.parts.guard.open_codes(account, site.now)
    for _ in range(10):
        site.parts.guard.charge_code(account, site.now, known=False)
    with pytest.raises(RateLimited):
        site.parts.guard.charge_code(account, site.now, known=False)


def locked_out_of_passwords(site: Site, who: Who) -> None:
    charge = site.parts.guard.charge_password
    for number in range(51):
        other = Identifier(kind=Kind.USERNAME, value=f"{who.username}-{number}")
        charge(other, None, owned(str(who.id)), site.now, known=False)


def written_to(site: Site, who: Who) -> None:
    """Spend the messages that strangers may cause; the owner's own logins do it too."""
    for key in (f"phone:{who.phone}", f"email:{who.email}"):
        for _ in range(3):
            site.parts.unit(lambda key=key: site.parts.guard.charge_send(key, site.now, known=False))


def busy(site: Site, who: Who) -> None:
    """Begin as many logins as an account may have at once."""
    caller = Caller(address=None)
    account = site.service.users.by_id(str(who.id))
    routes = site.parts.routes(account, verified=False)
    for _ in range(3):
        site.service.login._sending.issue(proved_ask(Purpose.LOGIN, account, routes, routes[0], ("pwd",)), caller)


NOBODY_THERE = {
    "unverified": {"email_verified": False, "phone_verified": False},
    "without password": {"password_hash": None},
    "without address": {"phone": None, "email": None, "phone_verified": False, "email_verified": False},
    "with a hash that nobody can read": {"password_hash": "md5$corrupt"},
}
STATES = {f.__name__.replace("_", " "): f for f in (disabled, locked, locked_out_of_passwords, written_to, busy)}


@pytest.mark.parametrize("state", [*STATES, "unverified", "without password"])
def test_asking_for_an_account_that_is(site: Sites, state: str) -> None:
    one = site(FIRST_FACTOR="otp")
    known, unknown = one.people(FEW, **NOBODY_THERE.get(state, {}))
    with one.app.app_context():
        for who in known:
            STATES.get(state, lambda *_: None)(one, who)
    assert compare(one, ask("phone"), known, unknown) == ASKED


@pytest.mark.parametrize("state", [*STATES, *NOBODY_THERE])
def test_guessing_the_password_of_an_account_that_is(site: Sites, state: str) -> None:
    one = site()
    known, unknown = one.people(FEW, **NOBODY_THERE.get(state, {}))
    with one.app.app_context():
        for who in known:
            STATES.get(state, lambda *_: None)(one, who)
    assert compare(one, guess_passwords("username"), known, unknown) == GUESSED


@pytest.mark.parametrize("state", ["disabled", "locked out of passwords"])
def test_the_right_password_of_a_closed_account_is_a_wrong_one(site: Sites, state: str) -> None:
    def walk(site: Site, who: Who) -> Walk:
        for _ in range(6):
            yield site.post("/login", {"username": who.username, "password": PASSWORD})

    one = site()
    known, unknown = one.people(FEW)
    with one.app.app_context():
        for who in known:
            STATES[state](one, who)
    assert compare(one, walk, known, unknown) == [401] * 5 + [429]


@pytest.mark.parametrize("state", STATES)
def test_registering_the_address_of_an_account_that_is(site: Sites, state: str) -> None:
    one = site()
    known, unknown = one.people(FEW)
    with one.app.app_context():
        for who in known:
            STATES[state](one, who)
    assert compare(one, register("phone", password=PASSWORD), known, unknown) == REGISTERED


# --- what a challenge does later ------------------------------------------------------------------------------------


def wait_out(site: Site, who: Who) -> Walk:
    """Have a second code sent, and answer when the first one would be too old."""
    asked = site.post("/login", {"phone": who.phone})
    yield asked
    yield 61.0
    yield site.resend(asked)
    yield 250.0
    yield site.wrong(asked)
    yield site.resend(asked)
    yield 301.0
    yield site.wrong(asked)
    yield site.resend(asked)
    yield 300.0
    yield site.wrong(asked)
    yield site.resend(asked)


@pytest.mark.parametrize("expiry", ["resend", "restart"])
@pytest.mark.parametrize("how", ["working", "failing", "hanging"])
def test_waiting_for_the_end(site: Sites, how: str, expiry: str) -> None:
    one = site(how, threads=True, FIRST_FACTOR="otp", ON_EXPIRY=expiry, SEND_TIMEOUT=1)
    late = 202 if expiry == "resend" else 401
    statuses = compare(one, wait_out, *one.people())
    assert statuses == [202, 202, 401, 202, 401, late, 401, 401]


@pytest.mark.parametrize("how", ["working", "failing", "hanging"])
def test_a_browser_that_asks_again(site: Sites, how: str) -> None:
    def walk(site: Site, who: Who) -> Walk:
        browser = site.app.test_client()
        asked = site.post("/login", {"phone": who.phone}, browser)
        yield asked
        yield 61.0
        again = site.post("/login", {"phone": who.phone}, browser)
        yield again
        # By their ids: the earlier one is over, or isn't, whoever was asked for.
        yield site.wrong(asked)
        yield site.wrong(again)
        yield site.resend(asked)

    one = site(how, threads=True, FIRST_FACTOR="otp", CREDENTIALS=("session",), SEND_TIMEOUT=1)
    assert compare(one, walk, *one.people()) == [202, 202, 401, 401, 401]


# --- named by identifier --------------------------------------------------------------------------------------------


def answer_by(kind: str) -> Callable[[Site, Who], Walk]:
    def walk(site: Site, who: Who) -> Walk:
        guess = {"identifier": who.by(kind), "otp": "0" * site.service.settings.digits}
        yield site.post("/verify-otp", guess)
        yield site.post("/login", guess)
        yield site.post("/login", {kind: who.by(kind)})
        yield site.post("/verify-otp", guess)
        yield site.post("/login", guess)
        yield 61.0
        yield site.post("/resend-otp", {"identifier": who.by(kind)})
        for _ in range(9):
            yield site.post("/verify-otp", guess)

    return walk


@KINDS_OF_NAMES
def test_answering_by_identifier(site: Sites, kind: str) -> None:
    one = site(FIRST_FACTOR="otp", CHALLENGE_LOOKUP="identifier")
    statuses = compare(one, answer_by(kind), *one.people())
    assert statuses == [401, 401, 202, 401, 401, 202] + [401] * 9


def test_answering_by_identifier_where_a_password_comes_first(site: Sites) -> None:
    def walk(site: Site, who: Who) -> Walk:
        guess = {"identifier": who.username, "otp": "0" * site.service.settings.digits}
        yield site.post("/verify-otp", guess)
        yield site.post("/resend-otp", {"identifier": who.username})
        yield site.post("/verify-otp", guess)
        yield site.post("/resend-otp", {"phone": who.phone})
        yield site.post("/verify-otp", {"phone": who.phone, "otp": guess["otp"]})

    one = site(CHALLENGE_LOOKUP="identifier")
    assert compare(one, walk, *one.people()) == [401, 202, 401, 202, 401]


# --- the second address of a registration ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["confirm", "login-code"])
def test_registering_somebodys_address_beside_ones_own(site: Sites, how: str) -> None:
    def walk(site: Site, who: Who) -> Walk:
        site.names += 1
        own = f"+97252{site.names:05}36"
        password = {} if how == "login-code" else {"password": PASSWORD}
        asked = site.post(
            "/register", {"username": f"new{site.names:05}", "phone": own, "email": who.email, **password}
        )
        yield asked
        yield site.wrong(asked)

    first = "otp" if how == "login-code" else "password"
    one = site(REGISTRATION=how, FIRST_FACTOR=first)
    assert compare(one, walk, *one.people()) == [202, 401]


def test_registering_an_address_that_an_account_never_proved(site: Sites) -> None:
    one = site(REGISTRATION="login-code", FIRST_FACTOR="otp")
    # It would give way to whoever proves it; an account that is made before the proof must not tell of it.
    known, unknown = one.people(email_verified=False)
    assert compare(one, register("email"), known, unknown) == REGISTERED
    assert {message.purpose for message in one.gateway.sent} == {"login", "notice"}


def test_the_owner_of_a_locked_account_is_told_off_the_request(site: Sites) -> None:
    one = site(threads=True, FIRST_FACTOR="otp")
    known, unknown = one.people(FEW)
    with one.app.app_context():
        for who in known:
            locked(one, who)
    compare(one, ask("phone"), known, unknown)
    assert [message.purpose for message in one.gateway.sent].count("notice") == FEW


# --- what can't be hidden (docs/explanation/enumeration.md) -----------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "given", "taken"),
    [
        pytest.param({}, {"email": "new@example.org"}, "username", id="username"),
        pytest.param({"REGISTRATION": "open"}, {"username": "new"}, "email", id="open"),
        pytest.param({"REGISTRATION": "login-code"}, {"username": "new"}, "email", id="login-code with passwords"),
    ],
)
def test_what_is_taken_is_told_where_it_must_be(
    site: Sites, config: dict[str, str], given: dict[str, str], taken: str
) -> None:
    one = site(**config)
    known, _ = one.people(1)
    answer = one.post("/register", {"password": PASSWORD, taken: known[0].by(taken), **given})
    assert (answer.status_code, answer.json["code"]) == (409, "identifier_taken")


def test_a_second_address_is_shown_alike_and_names_its_holder_only(site: Sites) -> None:
    one = site()
    known, unknown = one.people(1)
    for who in (known[0], unknown[0]):
        body = {"username": f"new{who.number}", "phone": f"+97252{who.number:05}36", "email": who.email}
        asked = one.post("/register", {**body, "password": WRONG})
        proof = {"challenge_id": asked.json["challenge_id"], "otp": one.gateway.sent[-1].code}
        assert one.post("/verify-otp", proof).json["user"]["email"] == who.email
        login = one.post("/login", {"email": who.email, "password": WRONG})
        assert login.status_code == (401 if who.id else 200)


# --- what it costs ----------------------------------------------------------------------------------------------------


@contextmanager
def statements(site: Site) -> Iterator[list[str]]:
    """Collect the SQL of this thread, which is that of requests, without its values."""
    seen: list[str] = []
    me = threading.get_ident()

    def note(statement: str) -> None:
        if threading.get_ident() == me:
            seen.append(re.sub(r"'[^']*'|\b\d+\b|\bNULL\b", "?", statement))

    for connection in site.connections:
        connection.set_trace_callback(note)
    try:
        yield seen
    finally:
        for connection in site.connections:
            connection.set_trace_callback(None)


def compare_cost(
    site: Site, walk: Callable[[Site, Who], Walk], known: list[Who], unknown: list[Who], besides: str = "nothing"
) -> int:
    """
    Let pairs of them walk, in turns; each step costs both the same statements. Give their number in all.

    ``besides``: Beginning of a statement that isn't counted.
    """
    walks = [walk(site, who) for pair in zip(known, unknown, strict=True) for who in pair]
    number, steps = 0, 0
    while True:
        costs: list[list[str]] = []
        step: Any = None
        for one in walks:
            with statements(site) as ran:
                step = next(one, None)
            costs.append([statement for statement in ran if not statement.startswith(besides)])
            site.settle()
        if step is None:
            return number
        if isinstance(step, float):
            site.clock.advance(step)
            continue
        # The first pair warms up: what runs once a process tells nothing.
        assert costs[2:] == [costs[2]] * len(costs[2:]), f"step {steps} is told by its work"
        number, steps = number + len(costs[2]), steps + 1


def answer_decoy_by(kind: str) -> Callable[[Site, Who], Walk]:
    """Answer by name what anybody may ask for by name, where a password comes first."""

    def walk(site: Site, who: Who) -> Walk:
        yield site.post("/resend-otp", {kind: who.by(kind)})
        answer = site.post("/verify-otp", {kind: who.by(kind), "otp": "0" * site.service.settings.digits})
        assert answer.json["code"] == "otp_invalid"
        yield answer

    return walk


COSTS = {
    "ask by username": ({"FIRST_FACTOR": "otp"}, ask("username")),
    "ask by e-mail": ({"FIRST_FACTOR": "otp"}, ask("email")),
    "ask by phone": ({"FIRST_FACTOR": "otp"}, ask("phone")),
    "guess a password": ({}, guess_passwords("phone")),
    "register": ({}, register("email", password=PASSWORD)),
    "wait": ({"FIRST_FACTOR": "otp"}, wait_out),
    "answer a decoy by identifier": ({"CHALLENGE_LOOKUP": "identifier"}, answer_decoy_by("phone")),
    "answer by identifier": ({"FIRST_FACTOR": "otp", "CHALLENGE_LOOKUP": "identifier"}, answer_by("phone")),
}


@pytest.mark.parametrize("what", COSTS)
def test_the_request_costs_the_same(site: Sites, what: str) -> None:
    config, walk = COSTS[what]
    one = site(threads=True, **config)
    assert compare_cost(one, walk, *one.people(4)) > 10


@pytest.mark.parametrize("state", ["disabled", "locked", "busy", "unverified"])
def test_the_request_costs_the_same_for_an_account_that_is(site: Sites, state: str) -> None:
    """But for the one read of a spent budget, which stands in the place of a write."""
    one = site(threads=True, FIRST_FACTOR="otp")
    known, unknown = one.people(4, **NOBODY_THERE.get(state, {}))
    with one.app.app_context():
        for who in known:
            STATES.get(state, lambda *_: None)(one, who)
    spent = "SELECT otpauth_guard.log" if state in {"locked", "busy"} else "nothing"
    assert compare_cost(one, ask("phone"), known, unknown, besides=spent) > 10


def test_a_strangers_own_cookie_costs_the_same(site: Sites) -> None:
    def walk(site: Site, who: Who) -> Walk:
        browser = site.app.test_client()
        browser.set_cookie("otpauth_client", "A" * 43)
        asked = site.post("/login", {"phone": who.phone}, browser)
        yield asked
        yield site.wrong(asked, browser)

    one = site(threads=True, FIRST_FACTOR="otp")
    assert compare_cost(one, walk, *one.people(4)) > 10


def test_a_strangers_own_cookie_costs_the_same_where_he_answers_by_name(site: Sites) -> None:
    def walk(site: Site, who: Who) -> Walk:
        browser = site.app.test_client()
        browser.set_cookie("otpauth_client", "A" * 43)
        # A challenge of the account's, and one that is nobody's yet.
        yield site.post("/login", {"phone": who.phone}, browser)
        yield site.post("/register", {"username": f"zoe{secrets.token_hex(4)}", "phone": who.phone})
        answer = site.post("/verify-otp", {"phone": who.phone, "otp": "0" * site.service.settings.digits}, browser)
        assert answer.json["code"] == "otp_invalid"
        yield answer

    one = site(threads=True, FIRST_FACTOR="otp", CHALLENGE_LOOKUP="identifier")
    assert compare_cost(one, walk, *one.people(4)) > 10


def test_a_message_to_nobody_is_put_into_words_too(site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    render = Texts.render
    monkeypatch.setattr(Texts, "render", lambda self, draft: words.append(draft.to) or render(self, draft))
    one = site(threads=True, FIRST_FACTOR="otp")
    known, unknown = one.people(FEW)
    compare(one, ask("phone"), known, unknown)
    assert words.count(known[0].phone) > 0
    assert len({words.count(who.phone) for who in (*known, *unknown)}) == 1


def test_an_unknown_address_leaves_the_same_rows(site: Sites) -> None:
    def rows() -> dict[str, int]:
        database = one.parts.challenges._store._database
        with database.read() as connection:
            return {
                name: connection.scalar(sa.text(f"SELECT count(*) FROM otpauth_{name}"))
                for name in ("challenge", "guard", "event", "flags", "session", "client")
            }

    one = site(FIRST_FACTOR="otp")
    known, unknown = one.people(4)
    left: list[dict[str, int]] = []
    for who in (*known, *unknown):
        before = rows()
        one.wrong(one.post("/login", {"phone": who.phone}))
        left.append({name: number - before[name] for name, number in rows().items()})
    # "otp_sent" comes on top, for the owner.
    assert left == [{**left[-1], "event": left[-1]["event"] + (who.id is not None)} for who in (*known, *unknown)]
    assert left[-1]["challenge"] == 1
