"""Commands about one user: made, unlocked, logged out."""

from __future__ import annotations

import click

from ..crypto import base64url
from ..guard import owned
from ..types import Account, Identifier, Kind, NewAccount, public_methods, timestamp
from .tools import Tools, with_tools


@click.command("create-user", help="Make a user, with a password that is asked for.")
@click.option("--username")
@click.option("--email")
@click.option("--phone")
@click.option("--role", help="Name of a role, where the model has roles as text.")
@click.option("--verified", is_flag=True, help="The addresses count as proved by a code.")
@click.option("--no-password", is_flag=True, help="For login by a code alone.")
@with_tools
def create_user(
    tools: Tools,
    *,
    username: str | None,
    email: str | None,
    phone: str | None,
    role: str | None,
    verified: bool,
    no_password: bool,
) -> None:
    parts = tools.parts
    found = _read(tools, {Kind.USERNAME: username, Kind.EMAIL: email, Kind.PHONE: phone})
    if not any(parts.identifiers.allowed(one) for one in found.values()):
        raise click.UsageError(f"Give one of {', '.join('--' + name for name in parts.settings.identifiers)}.")
    values = {kind: one.value for kind, one in found.items()}
    new = NewAccount(
        username=values.get(Kind.USERNAME),
        email=values.get(Kind.EMAIL),
        phone=values.get(Kind.PHONE),
        password_hash=None if no_password else _password_hash(tools, values),
        email_verified=verified and Kind.EMAIL in values,
        phone_verified=verified and Kind.PHONE in values,
        extra={} if role is None else {parts.settings.user_fields.get("role", "role"): role},
    )
    made = parts.unit(lambda: parts.users.add(new))
    tools.note("user_registered", made.id)
    click.echo(f"Made user {made.id} ({_named(made)}).")


@click.command("unlock", help="Forget the failures of a user: codes and passwords are compared again.")
@click.argument("user")
@with_tools
def unlock(tools: Tools, *, user: str) -> None:
    account = tools.account(user)
    tools.parts.guard.forgive(owned(account.id), account.identifiers)
    tools.note("account_unlocked", account.id)
    click.echo(f"Unlocked user {account.id} ({_named(account)}).")


@click.command("sessions", help="List the live sessions of a user, or end them.")
@click.argument("user")
@click.option("--end", "ending", metavar="ID", help="End this one.")
@click.option("--end-all", is_flag=True, help="End all of them.")
@with_tools
def sessions(tools: Tools, *, user: str, ending: str | None, end_all: bool) -> None:
    account, own = tools.account(user), tools.parts.sessions
    if end_all:
        ended = own.end_all(account.id)
        tools.note("session_revoked", account.id, count=ended)
        click.echo(f"Ended {ended}.")
        return
    live = {base64url(one.id): one for one in own.list(account.id)}
    if ending is not None:
        if ending not in live or not own.end(live[ending].id):
            raise click.ClickException("This user has no such session.")
        tools.note("session_revoked", account.id, session=ending)
        click.echo("Ended 1.")
        return
    for name, one in live.items():
        times = f"since {timestamp(one.created_at)}, until {timestamp(min(one.idle_at, one.expires_at))}"
        click.echo(f"{name}  {times}  {' '.join(public_methods(one.amr))}  {one.client}".rstrip())
    click.echo(f"{len(live)} live.")


def _read(tools: Tools, given: dict[Kind, str | None]) -> dict[Kind, Identifier]:
    found: dict[Kind, Identifier] = {}
    for kind, text in given.items():
        if text is None:
            continue
        try:
            found[kind] = tools.parts.identifiers.read(kind, text, new=True)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=f"--{kind.value}") from error
    return found


def _password_hash(tools: Tools, values: dict[Kind, str]) -> str:
    # Asked for, never an option: arguments are seen by all users of the machine and kept in the shell's history.
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    passwords = tools.parts.passwords
    faults = passwords.faults(password, username=values.get(Kind.USERNAME), email=values.get(Kind.EMAIL))
    if faults:
        raise click.ClickException(" ".join(faults))
    return passwords.hash(password)


def _named(account: Account) -> str:
    return account.username or account.email or account.phone or "no name"
