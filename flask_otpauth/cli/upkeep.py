"""Commands about the whole app: its tables, its events, its senders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping

import click

from ..flows.parts import carries
from ..stores import SqlChallenges, SqlClients, SqlEvents, SqlGuard, SqlSessions, missing
from ..types import Draft, Instant, timestamp
from .tools import Tools, with_tools

BATCH = 500
"""Rows of one transaction: few enough that no login waits for it."""

Purge = Callable[[Instant, int], int]


@click.command("init-db", help="Make the tables that are missing, where the database is ours.")
@with_tools
def init_db(tools: Tools) -> None:
    if tools.ours:
        tools.database.ping()
    lacking = missing(tools.database)
    if not lacking:
        click.echo("All tables are there.")
        return
    raise click.ClickException(
        f"Missing: {', '.join(lacking)}. The database is the app's own: make them by its migrations "
        "(flask db migrate, flask db upgrade) or by db.create_all()."
    )


@click.command("events", help="Show the latest events.")
@click.option("--user", help="Only those of this user.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@with_tools
def events(tools: Tools, *, user: str | None, limit: int) -> None:
    user_id = None if user is None else tools.account(user).id
    for event in reversed(SqlEvents(tools.database).recent(limit, user_id=user_id)):
        given = {"user": event.user_id, "channel": event.channel, "purpose": event.purpose, "from": event.address}
        facts = {name: value for name, value in {**given, **event.details}.items() if value is not None}
        # A browser or a client has a say in some of it: nothing may steer the terminal.
        told = " ".join(f"{name}={_plain(str(value))}" for name, value in facts.items())
        click.echo(f"{timestamp(event.at)}  {event.name}  {told}".rstrip())


@click.command("purge", help="Delete what is past its time, in small batches.")
@with_tools
def purge(tools: Tools) -> None:
    for name, (delete, before) in _purges(tools).items():
        batches = _batches(delete, before)
        with click.progressbar(batches, label=name, show_pos=True, file=sys.stderr) as progress:
            gone = sum(progress)
        click.echo(f"{name}: {gone} deleted")


@click.command("send-test", help="Send a message of the form of a login code, with a code that opens nothing.")
@click.argument("channel")
@click.argument("address")
@with_tools
def send_test(tools: Tools, *, channel: str, address: str) -> None:
    if channel not in tools.post.channels:
        known = ", ".join(tools.post.channels) or "none"
        raise click.UsageError(f"No sender serves {channel!r}; channels are: {known}.")
    settings = tools.parts.settings
    try:
        to = tools.parts.identifiers.read(carries(channel), address, new=True).value
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="ADDRESS") from error
    draft = Draft(
        template="login",
        channel=channel,
        to=to,
        code="0" * settings.digits,
        purpose="login",
        lifetime=settings.code_lifetime,
        expires_at=tools.parts.now() + settings.code_lifetime * 1000,
    )
    tools.post.send(draft)
    click.echo("The sender took it.")


def _purges(tools: Tools) -> Mapping[str, tuple[Purge, Instant]]:
    settings, database, now = tools.parts.settings, tools.database, tools.parts.now()
    kept = {name: now - seconds * 1000 for name, seconds in settings.retention.items()}
    return {
        "challenges": (SqlChallenges(database).purge, kept["challenges"]),
        "guard": (SqlGuard(database).purge, now - settings.longest_window * 1000),
        "sessions": (SqlSessions(database).purge, kept["sessions"]),
        "clients": (SqlClients(database).purge, now),
        "events": (SqlEvents(database).purge, kept["events"]),
    }


def _batches(delete: Purge, before: Instant) -> Iterator[int]:
    gone = BATCH
    while gone == BATCH:
        gone = delete(before, BATCH)
        yield gone


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
