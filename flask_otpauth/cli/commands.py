"""All commands of an app."""

from __future__ import annotations

import click

from .accounts import create_user, sessions, unlock
from .doctor import doctor
from .policy import policy
from .tools import Commands, Tools
from .upkeep import events, init_db, purge, send_test

ALL: tuple[click.Command, ...] = (
    create_user,
    doctor,
    events,
    init_db,
    policy,
    purge,
    send_test,
    sessions,
    unlock,
)


def commands_for(tools: Tools) -> Commands:
    """Give the group ``otpauth`` for one app's command line."""
    group = Commands(tools, help="Accounts, codes and sessions of Flask-OTPAuth.")
    for command in ALL:
        group.add_command(command)
    return group
