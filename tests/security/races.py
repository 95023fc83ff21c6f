"""
Races against a whole app: what gets through of many requests at once, from threads and from processes.

``python -m tests.security.races`` prints a Markdown table of every store and attack, and exits with 1 when a row has
more than is allowed. Comparisons are counted where they are made; nothing of the app is replaced.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_otpauth import OTPAuth
from flask_otpauth.challenges import Challenges
from flask_otpauth.testing import capture_messages
from flask_otpauth.users.passwords import Passwords
from tests.contracts.races import in_threads
from tests.processes import CONTEXT
from tests.services import database_url

PASSWORD = "correct horse battery"
MANY = "1000000 per hour"
STORES = ("sqlite", "postgresql", "mariadb")
WAIT = 300
EACH = 5
"""Threads of each process: a server as it is installed takes 100 connections in all, and an app has three pools."""

State = dict[str, Any]


class Watch:
    """
    The machine's clock, some seconds on: processes that are told how many agree on the time.

    One that stands still goes on by ``ahead`` only.
    """

    def __init__(self, *, still: bool = False) -> None:
        self.ahead = 0.0
        self._start = datetime.now(UTC) if still else None

    def __call__(self) -> datetime:
        return (self._start or datetime.now(UTC)) + timedelta(seconds=self.ahead)


class Site:
    """
    A host app on a database, with its messages; a context manager. Several may share one database.

    Limits per client address are out of the way, as they are for somebody who has many addresses.
    """

    def __init__(
        self, url: str, folder: Path, *, watch: Watch | None = None, config: State | None = None, **settings: Any
    ) -> None:
        self.watch = watch or Watch()
        self.app = app = Flask("site", instance_path=str(folder), root_path=str(folder))
        app.config.update(
            TESTING=True,
            SECRET_KEY="a key of the tests, long enough: 0123456789",
            SQLALCHEMY_DATABASE_URI=url,
            OTPAUTH_BCRYPT_ROUNDS=4,
            OTPAUTH_SEND_LIMITS="90 per day",
            OTPAUTH_SEND_IP_LIMITS=MANY,
            OTPAUTH_VERIFY_IP_LIMITS=MANY,
            OTPAUTH_LOGIN_IP_LIMITS=MANY,
        )
        app.config.update({f"OTPAUTH_{name}": value for name, value in settings.items()})
        app.config.update(config or {})
        self.auth = OTPAuth(app, clock=self.watch)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.messages = self._stack.enter_context(capture_messages(self.app))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        with self.app.app_context():
            for engine in self.app.extensions["sqlalchemy"].engines.values():
                engine.dispose()
        # The health check knows the extension's own database; nothing else outside of it does.
        self.app.extensions["otpauth"].ping.__self__.close()

    def client(self, **cookies: str) -> FlaskClient:
        """Give a client that nobody knows, or one with copies of another's cookies."""
        client = self.app.test_client()
        for name, value in cookies.items():
            client.set_cookie(name, value)
        return client

    def post(
        self,
        path: str,
        body: State | None = None,
        *,
        token: str | None = None,
        client: FlaskClient | None = None,
        address: str = "192.0.2.1",
    ) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        remote = {"REMOTE_ADDR": address}
        return (client or self.client()).post(f"/auth{path}", json=body, headers=headers, environ_base=remote)

    def get(self, path: str, *, token: str) -> Any:
        return self.client().get(path, headers={"Authorization": f"Bearer {token}"})

    def code(self, to: str) -> str:
        """Give the newest code that was sent to an address."""
        return str(next(one.code for one in reversed(self.messages) if one.to == to and one.code))

    def register(self, name: str, **fields: str) -> Any:
        return self.post("/register", {"username": name, "password": PASSWORD, "email": mail(name), **fields})

    def join(self, name: str, client: FlaskClient | None = None, **fields: str) -> Any:
        """Register and prove the e-mail address; give the tokens."""
        asked = self.register(name, **fields)
        body = {"challenge_id": asked.json["challenge_id"], "otp": self.code(mail(name))}
        proved = self.post("/verify-otp", body, client=client)
        assert proved.status_code == 200, proved.text
        return proved.json

    def login(self, name: str, client: FlaskClient | None = None) -> Any:
        """Give the answer to the right password."""
        asked = self.post("/login", {"identifier": name, "password": PASSWORD}, client=client)
        assert asked.status_code == 200, asked.text
        return asked.json


def mail(name: str) -> str:
    """Give the address of a user."""
    return f"{name}@example.org"


def wrong(code: str) -> str:
    """Give a code that is not that one."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


@contextmanager
def comparisons() -> Generator[Counter[bytes], None, None]:
    """Count the codes that are compared, by challenge. The comparing function itself goes on as it is."""
    compared: Counter[bytes] = Counter()
    with _counting(Challenges, "matches", compared, lambda charged, _code: charged.id):
        yield compared


@contextmanager
def password_comparisons() -> Generator[Counter[str], None, None]:
    """Count the passwords that are compared."""
    compared: Counter[str] = Counter()
    with _counting(Passwords, "verify", compared, lambda *_: "password"):
        yield compared


@contextmanager
def _counting(owner: type, name: str, counter: Counter[Any], key: Callable[..., object]) -> Generator[None, None, None]:
    function, lock = getattr(owner, name), threading.Lock()

    def counted(self: object, *args: Any) -> Any:
        with lock:
            counter[key(*args)] += 1
        return function(self, *args)

    setattr(owner, name, counted)
    try:
        yield
    finally:
        setattr(owner, name, function)


# --- the attacks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """
    Something to do many times at once.

    Attributes:
        counts: "compared" or "accepted": what may not be more than ``allowed``.
        prepare: Sets the scene for a user of that name; gives plain values, which all processes get.
        strike: One request or a few; whether it got through, or the token that it got.
        judge: Counts what got through, from what the strikes gave; the default counts each that did.
    """

    name: str
    counts: str
    allowed: int
    prepare: Callable[[Site, str], State]
    strike: Callable[[Site, State, int], str | bool]
    judge: Callable[[Site, State, list[str | bool]], int] = lambda _site, _state, results: sum(map(bool, results))


def one_login(site: Site, name: str) -> State:
    tokens, client = site.join(name), site.client()
    site.watch.ahead += 61
    asked = site.login(name, client)
    cookie = client.get_cookie("session")
    assert cookie is not None
    return {
        "name": name,
        "id": asked["challenge_id"],
        "code": site.code(mail(name)),
        "access": tokens["access_token"],
        "refresh": tokens["refresh_token"],
        "cookie": cookie.value,
    }


def three_logins(site: Site, name: str) -> State:
    client = site.client()
    site.join(name, client)
    ids: list[str] = []
    for _ in range(3):
        site.watch.ahead += 61
        # A known client, for whom the last of the three is kept; the guesses come from strangers.
        ids.append(site.login(name, site.client(otpauth_client=_value(client, "otpauth_client")))["challenge_id"])
    codes = {one.code for one in site.messages if one.to == mail(name)}
    return {"ids": ids, "code": next(code for number in range(9) if (code := f"{number:06d}") not in codes)}


def waited_login(site: Site, name: str) -> State:
    state = one_login(site, name)
    site.watch.ahead += 61
    return state


def registration(site: Site, name: str) -> State:
    asked = site.register(name)
    return {"name": name, "id": asked.json["challenge_id"], "code": site.code(mail(name))}


def step_up(site: Site, name: str) -> State:
    tokens = site.join(name)
    site.watch.ahead += 61
    asked = site.post("/step-up", {}, token=tokens["access_token"])
    return {"id": asked.json["challenge_id"], "code": site.code(mail(name)), "access": tokens["access_token"]}


def guess(site: Site, state: State, number: int) -> bool:
    ids = state.get("ids") or [state["id"]]
    body = {"challenge_id": ids[number % len(ids)], "otp": state["code"] if "ids" in state else wrong(state["code"])}
    return _passed(site.post("/verify-otp", body, address=_address(number)))


def guess_by_name(site: Site, state: State, number: int) -> bool:
    body = {"identifier": state["name"], "otp": wrong(state["code"])}
    return _passed(site.post("/verify-otp", body, address=_address(number)))


def guess_password(site: Site, state: State, number: int) -> bool:
    body = {"identifier": state["name"], "password": f"wrong password {number}"}
    return _passed(site.post("/login", body))


def answer(site: Site, state: State, number: int) -> bool:
    body = {"challenge_id": state["id"], "otp": state["code"]}
    return _passed(site.post("/verify-otp", body, token=state.get("token"), address=_address(number)))


def answer_by_name(site: Site, state: State, number: int) -> bool:
    body = {"identifier": state["name"], "otp": state["code"]}
    return _passed(site.post("/verify-otp", body, address=_address(number)))


def answer_by_cookie(site: Site, state: State, number: int) -> bool:
    client = site.client(session=state["cookie"])
    return _passed(site.post("/verify-otp", {"otp": state["code"]}, client=client, address=_address(number)))


def answer_and_resend(site: Site, state: State, number: int) -> bool:
    if number % 3:
        return answer(site, state, number)
    site.post("/resend-otp", {"challenge_id": state["id"]}, address=_address(number))
    # Another process may have sent the new code: then this one goes on with the old one.
    sent = [one.code for one in list(site.messages) if one.to == mail(state["name"]) and one.code]
    return answer(site, {**state, "code": sent[-1] if sent else state["code"]}, number)


def refresh(site: Site, state: State, number: int) -> str:
    answered = site.post("/refresh", token=state["refresh"], address=_address(number))
    assert answered.status_code in {200, 401}, answered.text
    return str(answered.json.get("access_token", ""))


def refresh_and_log_out(site: Site, state: State, number: int) -> str:
    if number % 4 != 3:
        return refresh(site, state, number)
    answered = site.post("/logout", token=state["access"], address=_address(number))
    assert answered.status_code in {204, 401}, answered.text
    return ""


def still_good(site: Site, state: State, results: list[str | bool]) -> int:
    """Count the tokens that are good after the logout."""
    tokens = [state["access"], *(one for one in results if isinstance(one, str) and one)]
    return sum(site.get("/auth/me", token=token).status_code == 200 for token in tokens)


ATTACKS = (
    Attack(name="wrong codes for one challenge", counts="compared", allowed=5, prepare=one_login, strike=guess),
    Attack(
        name="wrong codes, challenge named by identifier",
        counts="compared",
        allowed=5,
        prepare=one_login,
        strike=guess_by_name,
    ),
    Attack(
        name="wrong codes for three challenges of an account",
        counts="compared",
        allowed=10,
        prepare=three_logins,
        strike=guess,
    ),
    Attack(name="wrong codes for a registration", counts="compared", allowed=5, prepare=registration, strike=guess),
    Attack(name="wrong codes for a step-up", counts="compared", allowed=5, prepare=step_up, strike=guess),
    Attack(name="wrong passwords", counts="compared", allowed=5, prepare=one_login, strike=guess_password),
    Attack(name="the right code", counts="accepted", allowed=1, prepare=one_login, strike=answer),
    Attack(
        name="the right code, by identifier", counts="accepted", allowed=1, prepare=one_login, strike=answer_by_name
    ),
    Attack(
        name="the right code, in copies of a cookie",
        counts="accepted",
        allowed=1,
        prepare=one_login,
        strike=answer_by_cookie,
    ),
    Attack(
        name="the right code beside resends",
        counts="accepted",
        allowed=1,
        prepare=waited_login,
        strike=answer_and_resend,
    ),
    Attack(name="the right code of a registration", counts="accepted", allowed=1, prepare=registration, strike=answer),
    Attack(name="the right code of a step-up", counts="accepted", allowed=1, prepare=step_up, strike=answer),
    Attack(name="a refresh token", counts="accepted", allowed=1, prepare=one_login, strike=refresh),
    Attack(
        name="a refresh token beside logouts, good afterwards",
        counts="accepted",
        allowed=0,
        prepare=one_login,
        strike=refresh_and_log_out,
        judge=still_good,
    ),
)
BY_NAME = {attack.name: attack for attack in ATTACKS}

SETTINGS: State = {"CHALLENGE_LOOKUP": "identifier", "CREDENTIALS": ("jwt", "session")}
"""Every way of naming a challenge, and both credentials, in one app."""


def _passed(response: Any) -> bool:
    assert response.status_code in {200, 401, 429}, response.text
    return bool(response.status_code == 200)


def _address(number: int) -> str:
    return f"198.51.100.{number % 200 + 1}"


def _value(client: FlaskClient, name: str) -> str:
    cookie = client.get_cookie(name)
    assert cookie is not None
    return str(cookie.value)


# --- running them -----------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What became of the strikes of one process."""

    results: list[str | bool]
    compared: int


class Row(NamedTuple):
    """A line of the table."""

    store: str
    attack: str
    tried: str
    counts: str
    count: int
    allowed: int

    @property
    def text(self) -> str:
        return f"| {self.store} | {self.attack} | {self.tried} | {self.count} {self.counts} | {self.allowed} |"


def strike(site: Site, attack: Attack, state: State, numbers: Sequence[int]) -> Outcome:
    """Strike from as many threads at once."""
    with comparisons() as codes, password_comparisons() as passwords:
        results = in_threads(len(numbers), lambda index: attack.strike(site, state, numbers[index]))
        compared = passwords if attack.strike is guess_password else codes
        return Outcome(results, sum(compared.values()))


class Processes:
    """Processes that stay for all attacks, each with an app of its own for each database."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = CONTEXT.Pool(count, _begin, (CONTEXT.Barrier(count),))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()
        self._pool.join()

    def strike(self, url: str, attack: Attack, state: State, ahead: float) -> Outcome:
        """Strike from all processes at once."""
        shares = [(url, attack.name, state, ahead, range(n * EACH, (n + 1) * EACH)) for n in range(self.count)]
        outcomes = self._pool.starmap_async(_share, shares, chunksize=1).get(WAIT)
        return Outcome([one for each in outcomes for one in each.results], sum(each.compared for each in outcomes))

    def leave(self, url: str) -> None:
        """Close the apps on a database."""
        self._pool.map_async(_leave, [url] * self.count, chunksize=1).get(WAIT)


_barriers: list[Barrier] = []
_open: dict[str, Site] = {}


def _begin(barrier: Barrier) -> None:
    logging.disable()
    _barriers.append(barrier)


def _share(url: str, attack: str, state: State, ahead: float, numbers: range) -> Outcome:
    if url not in _open:
        _open[url] = Site(url, Path.cwd(), **SETTINGS).__enter__()
    site = _open[url]
    site.watch.ahead = ahead
    # Each process waits here for all the others: so each takes one share, and they strike together.
    _barriers[0].wait(WAIT)
    return strike(site, BY_NAME[attack], state, numbers)


def _leave(url: str) -> None:
    _barriers[0].wait(WAIT)
    if url in _open:
        _open.pop(url).__exit__()


def rows(store: str, attacks: Iterable[Attack], *, threads: int, processes: Processes) -> Generator[Row, None, None]:
    """Run attacks on a store, from threads of one process and from processes."""
    with tempfile.TemporaryDirectory() as folder, database_url(store, Path(folder)) as url:
        with Site(url, Path(folder), **SETTINGS) as site:
            ways = {
                f"{threads}, threads": partial(_by_threads, site, threads),
                f"{EACH * processes.count}, {processes.count} processes": partial(_by_processes, site, url, processes),
            }
            for number, attack in enumerate(attacks):
                for name, (tried, way) in zip("ab", ways.items(), strict=True):
                    state = attack.prepare(site, f"user{number}{name}")
                    count = _count(site, attack, state, way(attack, state))
                    yield Row(store, attack.name, tried, attack.counts, count, attack.allowed)
        processes.leave(url)


def _count(site: Site, attack: Attack, state: State, outcome: Outcome) -> int:
    if attack.counts == "accepted":
        return attack.judge(site, state, outcome.results)
    # A wrong guess that gets in is one too many, however few were compared.
    return outcome.compared + (attack.allowed + 1) * any(outcome.results)


def _by_threads(site: Site, threads: int, attack: Attack, state: State) -> Outcome:
    return strike(site, attack, state, range(threads))


def _by_processes(site: Site, url: str, processes: Processes, attack: Attack, state: State) -> Outcome:
    return processes.strike(url, attack, state, site.watch.ahead)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; give 1 when a row has more than is allowed."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.races", description=__doc__)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--attacks", nargs="+", choices=BY_NAME, default=BY_NAME, metavar="NAME")
    parser.add_argument("--threads", type=int, default=50)
    parser.add_argument("--processes", type=int, default=4)
    options = parser.parse_args(arguments)
    logging.disable()
    sys.stdout.write("| store | attack | tried at once | compared or accepted | allowed |\n|---|---|---|---|---|\n")
    exceeded = 0
    with Processes(options.processes) as processes:
        for store in options.stores:
            try:
                attacks = [BY_NAME[name] for name in options.attacks]
                for row in rows(store, attacks, threads=options.threads, processes=processes):
                    sys.stdout.write(f"{row.text}\n")
                    sys.stdout.flush()
                    exceeded += row.count > row.allowed
            except pytest.skip.Exception as absent:
                sys.stderr.write(f"{store} was left out: {absent}\n")
    return int(exceeded > 0)


if __name__ == "__main__":
    sys.exit(main())
