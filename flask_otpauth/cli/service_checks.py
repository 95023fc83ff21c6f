"""Checks that ask: the database, the storage of limits, the rows of the user model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import click
from sqlalchemy.exc import SQLAlchemyError

from ..errors import ServiceUnavailable
from ..flows.parts import carries
from ..stores import missing, server_time
from ..types import Kind
from ..users import SqlUsers
from ..users.mapping import Key
from ..users.survey import Stored
from .findings import Check, Finding, fault, warning
from .tools import Tools

BATCH = 500
LOOKED_AT = 100_000
"""Rows of users that are looked at: some twenty seconds."""

_SKEW_TOLD, _SKEW_BAD = 2_000, 30_000


def limits(tools: Tools) -> Iterable[Finding]:
    """What counts requests per client address."""
    if not tools.counted:
        yield fault("6.3.1", "RATELIMIT_ENABLED is off: nothing is counted per address.", "Set it to True.")
    if not tools.shared:
        yield fault(
            "6.3.1",
            "Limits per address are in the memory of each process: with more workers they are as many times higher.",
            "Set RATELIMIT_STORAGE_URI to redis://...",
        )
        return
    try:
        limiter = tools.counting.current()
        alive = limiter is None or limiter.storage.check()
    except Exception:  # noqa: BLE001 - each storage has errors of its own
        alive = False
    if not alive:
        yield fault(
            "16.5.2",
            "The storage of limits doesn't answer: logins get 503.",
            "Start it, or mend RATELIMIT_STORAGE_URI.",
        )


def database(tools: Tools) -> Iterable[Finding]:
    """Whether the database answers and has what we need."""
    try:
        tools.database.ping()
        lacking = missing(tools.database)
    except ServiceUnavailable:
        yield fault("16.5.2", "The database doesn't answer.", "Start it, or mend SQLALCHEMY_DATABASE_URI.")
        return
    if lacking:
        cure = (
            "Run the app's migrations (flask db migrate, flask db upgrade), db.create_all() or flask otpauth init-db."
        )
        yield fault("16.5.3", f"The database lacks {', '.join(lacking)}.", cure)
    users = tools.parts.users
    try:
        if isinstance(users, SqlUsers):
            users.page(None, 1)
    except (ServiceUnavailable, SQLAlchemyError):
        cure = "Make it by the app's migrations or db.create_all()."
        yield fault("16.5.3", "The table of users is missing, or lacks a column of the model.", cure)


def clock(tools: Tools) -> Iterable[Finding]:
    """Whether app and database agree on the time: lifetimes are counted by the clock of each app server."""
    before, there, after = tools.parts.now(), server_time(tools.database), tools.parts.now()
    if there is None:
        return
    skew = max(before - there, there - after, 0)
    if skew > _SKEW_TOLD:
        level = fault if skew > _SKEW_BAD else warning
        cure = "Let all servers follow one time source (NTP)."
        yield level("16.2.2", f"The clocks of app and database are {skew / 1000:.0f} s apart.", cure)


def identifiers(tools: Tools) -> Iterable[Finding]:
    """Rows of users that nobody finds, because what is stored isn't the canonical form."""
    users = tools.parts.users
    if not isinstance(users, SqlUsers):
        return
    looked, lost, unreached = 0, dict.fromkeys(Kind, 0), 0
    with click.progressbar(_pages(users), label="identifiers", show_pos=True, file=sys.stderr) as progress:
        for rows in progress:
            looked += len(rows)
            for _, stored in rows:
                values = {name: str(value) for name, value in stored.items() if value}
                unfound = set(_unfound(tools, values))
                for kind in unfound:
                    lost[kind] += 1
                unreached += Kind.PHONE not in unfound and not _reached(tools, values.get(Kind.PHONE))
    for kind, count in lost.items():
        if count:
            yield warning(
                "6.3.4",
                f"{count} of {looked} users can't be found by {kind.value}: what is stored isn't its canonical form.",
                "Store E.164 numbers, lower-case e-mail and case-folded usernames, as Flask-OTPAuth writes them.",
            )

    if unreached:
        yield warning(
            "2.4.1",
            f"{unreached} of {looked} users have a number that nothing is sent to: it is no personal mobile number, or "
            "of a country that isn't served.",
            "Ask them for another one, or name their countries in OTPAUTH_SMS_COUNTRIES.",
        )


def _pages(users: SqlUsers) -> Iterator[list[Stored]]:
    after: Key | None = None
    for _ in range(LOOKED_AT // BATCH):
        rows = users.page(after, BATCH)
        if rows:
            after = rows[-1][0]
            yield rows
        if len(rows) < BATCH:
            return


def _reached(tools: Tools, number: str | None) -> bool:
    carried = any(carries(name) is Kind.PHONE for name in tools.post.channels)
    return number is None or not carried or tools.parts.identifiers.reachable(number)


def _unfound(tools: Tools, stored: dict[str, str]) -> Iterable[Kind]:
    for name, value in stored.items():
        try:
            canonical = tools.parts.identifiers.read(Kind(name), value).value
        except ValueError:
            canonical = None
        if canonical != value:
            yield Kind(name)


CHECKS = (
    Check(name="limits", look=limits),
    Check(name="database", look=database),
    Check(name="clock", look=clock),
    Check(name="identifiers", look=identifiers),
)
