"""
Whether time tells an account: ``python tests/security/timing.py [--pairs 200] [--runs 3] [--gateway slow]``.

For each endpoint known and unknown identifiers are asked about in turns, which of the two first being drawn anew for
each pair, in process, with sends off the request as in production. What left a request is waited for before the next
one, outside of the measured time. Shown are the medians in µs of each run, and the p-value of the Mann-Whitney U test
(two-sided, normal approximation with ties): how likely such a difference is where there is none. The rule is p > 0.001
in two of three runs; the exit status is 1 where an endpoint breaks it. No test of the suite: it wants a quiet machine.
"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask

from flask_otpauth import OTPAuth
from flask_otpauth.types import Kind, Message, NewAccount

PASSWORD = "my dog eats soap"
MANY = "10000000 per hour"
LEAST = 0.001
PASSWORDLESS = {"FIRST_FACTOR": "otp"}

Call = tuple[str, dict[str, str]]
"""Path and body."""


class Site:
    """An app, its users, and a clock that is set by hand."""

    def __init__(self, folder: Path, how: str, config: dict[str, Any]) -> None:
        self.now = datetime.now(UTC)
        self.app = Flask("timing", instance_path=str(folder))
        self.app.config.update(TESTING=True, SECRET_KEY="a key of the measurement, long enough: 0123456789")
        limits = {f"{name}_IP_LIMITS": MANY for name in ("SEND", "VERIFY", "LOGIN")}
        for name, value in {"BCRYPT_ROUNDS": 4, "SEND_TIMEOUT": 1, **limits, **config}.items():
            self.app.config[f"OTPAUTH_{name}"] = value
        auth = OTPAuth(self.app, clock=lambda: self.now)
        self.how, self.released = how, threading.Event()
        auth.sms_sender(self._send)
        auth.email_sender(self._send)
        # Settings are lenient as in tests; sends leave the request as in production.
        self.app.testing = False
        self.parts = self.app.extensions["otpauth"].login._parts
        self.client = self.app.test_client(use_cookies=False)
        self.names = 0

    def _send(self, message: Message) -> None:
        if self.how == "failing":
            raise OSError("of the gateway")
        if self.how != "working":
            self.released.wait(0.05 if self.how == "slow" else 60)

    def add(self, phones: Sequence[str], emails: Sequence[str]) -> None:
        """Add users with a password and proved addresses."""
        stored = self.parts.passwords.hash(PASSWORD)
        with self.app.app_context():
            for phone, email in zip(phones, emails, strict=True):
                new = NewAccount(username=self.name(), phone=phone, email=email, password_hash=stored)
                added = self.parts.users.add(new)
                for kind, value in (("phone", phone), ("email", email)):
                    self.parts.users.set_verified(added.id, Kind(kind), value)

    def name(self) -> str:
        """Give a username that nobody has."""
        self.names += 1
        return f"user{self.names:05}"

    def post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        """Post JSON outside of the measured time."""
        answer = self.client.post(f"/auth{path}", json=body)
        self.settle()
        return dict(answer.get_json())

    def timed(self, call: Call) -> tuple[float, int]:
        """Give the µs that the request took, and its status."""
        path, body = call
        began = time.perf_counter()
        answer = self.client.post(f"/auth{path}", json=body)
        took = (time.perf_counter() - began) * 1e6
        self.settle()
        return took, answer.status_code

    def settle(self) -> None:
        """Wait for what left the request; it hangs for nobody's sake."""
        self.parts.courier._dispatcher.drain(0 if self.how == "hanging" else 10)

    def close(self) -> None:
        """End what hangs, and the connections."""
        self.released.set()
        self.parts.courier._dispatcher.drain(30)
        self.parts.challenges._store._database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One line of the table.

    Attributes:
        before: Done for each identifier ahead of the measured requests, which come 61 s later.
        call: Makes the measured request of what ``before`` gave.
        hidden: False where the docs say that it can't be hidden: shown, and no breach of the rule.
    """

    name: str
    config: dict[str, Any]
    before: Callable[[Site, str], dict[str, Any]]
    call: Callable[[Site, str, dict[str, Any]], Call]
    by: str = "phone"
    hidden: bool = True


def _nothing(_site: Site, _who: str) -> dict[str, Any]:
    return {}


def _asked(site: Site, who: str) -> dict[str, Any]:
    return site.post("/login", {"identifier": who})


def _begun(site: Site, who: str) -> dict[str, Any]:
    return site.post("/register", {"username": site.name(), "phone": who, "password": PASSWORD})


def _ask(_site: Site, who: str, _: dict[str, Any]) -> Call:
    return "/login", {"identifier": who}


def _guess(_site: Site, who: str, _: dict[str, Any]) -> Call:
    return "/login", {"identifier": who, "password": "my cat eats soap"}


def _register(site: Site, who: str, _: dict[str, Any]) -> Call:
    return "/register", {"username": site.name(), ("email" if "@" in who else "phone"): who, "password": PASSWORD}


def _register_bare(site: Site, who: str, _: dict[str, Any]) -> Call:
    return "/register", {"username": site.name(), "phone": who}


def _verify(site: Site, _who: str, given: dict[str, Any]) -> Call:
    code = "0" * site.app.extensions["otpauth"].settings.digits
    return "/verify-otp", {"challenge_id": str(given["challenge_id"]), "otp": code}


def _resend(_site: Site, _who: str, given: dict[str, Any]) -> Call:
    return "/resend-otp", {"challenge_id": str(given["challenge_id"])}


def _name(_site: Site, who: str, _: dict[str, Any]) -> Call:
    return "/verify-otp", {"identifier": who, "otp": "00000000"}


LOOKUP = {**PASSWORDLESS, "CHALLENGE_LOOKUP": "identifier"}
AT_ONCE = {**PASSWORDLESS, "REGISTRATION": "login-code"}
ROWS = (
    Row(name="login, password, by phone", config={}, before=_nothing, call=_guess),
    Row(name="login, password, by e-mail", config={}, before=_nothing, call=_guess, by="email"),
    Row(name="login, passwordless, by phone", config=PASSWORDLESS, before=_nothing, call=_ask),
    Row(name="login, passwordless, by e-mail", config=PASSWORDLESS, before=_nothing, call=_ask, by="email"),
    Row(name="register, confirm, by phone", config={}, before=_nothing, call=_register),
    Row(name="register, confirm, by e-mail", config={}, before=_nothing, call=_register, by="email"),
    Row(name="register, login-code", config=AT_ONCE, before=_nothing, call=_register_bare, hidden=False),
    Row(name="verify a login", config=PASSWORDLESS, before=_asked, call=_verify),
    Row(name="verify a registration", config={}, before=_begun, call=_verify),
    Row(name="verify by identifier, nothing begun", config=LOOKUP, before=_nothing, call=_name),
    Row(name="verify by identifier", config=LOOKUP, before=_asked, call=_name),
    Row(name="resend for a login", config=PASSWORDLESS, before=_asked, call=_resend),
    Row(name="resend for a registration", config={}, before=_begun, call=_resend),
)


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
    """
    Give the two-sided p-value of the U test: normal approximation, with the corrections for ties and continuity.

    Mann and Whitney (1947); good from some twenty values a side on.
    """
    values = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    n, m, total = len(first), len(second), len(values)
    ranks, ties, place = 0.0, 0.0, 0
    while place < total:
        end = place
        while end < total and values[end][0] == values[place][0]:
            end += 1
        count = end - place
        ranks += (place + end + 1) / 2 * sum(side == 0 for _, side in values[place:end])
        ties += count**3 - count
        place = end
    u = ranks - n * (n + 1) / 2
    spread = math.sqrt(n * m / 12 * (total + 1 - ties / (total * (total - 1))))
    if spread == 0:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / spread
    return math.erfc(z / math.sqrt(2))


def run(row: Row, pairs: int, how: str) -> tuple[list[float], list[float]]:
    """Give the µs of requests for known and for unknown identifiers."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), how, row.config)
        try:
            phones = [f"+97250{number:07}" for number in range(8_000_000, 8_000_000 + 2 * pairs + 20)]
            emails = [f"somebody{number:05}@example.org" for number in range(2 * pairs + 20)]
            # Which ones are known is drawn, so that neither number nor place in an index tells.
            order = random.sample(range(2 * pairs + 20), 2 * pairs + 20)
            known, unknown = order[: pairs + 10], order[pairs + 10 :]
            site.add([phones[one] for one in known], [emails[one] for one in known])
            names = phones if row.by == "phone" else emails
            given = {one: row.before(site, names[one]) for one in order}
            site.now += timedelta(seconds=61)
            took: dict[bool, list[float]] = {True: [], False: []}
            statuses: set[int] = set()
            gc.collect()
            gc.disable()
            for number, (one, other) in enumerate(zip(known, unknown, strict=True)):
                for which in random.sample([True, False], 2):
                    who = one if which else other
                    spent, status = site.timed(row.call(site, names[who], given[who]))
                    statuses.add(status)
                    if number >= 10:  # the first ones warm up
                        took[which].append(spent)
            gc.enable()
            assert len(statuses) == 1, f"{row.name}: {statuses}"
            return took[True], took[False]
        finally:
            site.close()


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether time tells an account.")
    parser.add_argument("--pairs", type=int, default=200, help="of a known and an unknown identifier, per run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--gateway", choices=["working", "failing", "slow", "hanging"], default="working")
    parser.add_argument("--only", default="", help="part of the name of a line")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the log costs both sides the same, and the terminal much more
    _tell(f"Python {sys.version.split()[0]}, {options.pairs} pairs, gateway {options.gateway}\n")
    _tell(f"{'request':<38}{'runs: known / unknown (µs), p':<72}rule")
    broken = False
    for row in ROWS:
        if options.only not in row.name:
            continue
        shown, good = "", 0
        for _ in range(options.runs):
            known, unknown = run(row, options.pairs, options.gateway)
            p = mann_whitney(known, unknown)
            good += p > LEAST
            shown += f"{statistics.median(known):>7.0f} /{statistics.median(unknown):>6.0f} {p:<7.2g} "
        held = good * 3 >= options.runs * 2
        broken |= not held and row.hidden
        verdict = "held" if held else "broken" if row.hidden else "not promised"
        _tell(f"{row.name:<38}{shown:<72}{verdict}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
