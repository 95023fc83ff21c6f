"""What commands work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, cast

import click
from flask import Flask
from flask.cli import AppGroup, with_appcontext

from ..delivery import Post
from ..errors import ConfigurationError, OTPAuthError, ValidationFailed
from ..flows.parts import Parts
from ..limits import Strategy
from ..sessions import Tokens
from ..stores import Database
from ..types import Account, Caller

Command = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """
    The parts of one app, as ``extension`` joined them.

    Attributes:
        register_fields: Fields that registration takes, and whether each is required.
        secrets: The app's secret and the earlier ones, newest first.
        debug: Whether debug was on when the app was set up: the command line sets it anew.
        ours: Whether the database is ours, so that its missing tables are made at the first use.
        counting: What counts requests per client address; ``counted`` whether it does, ``shared`` whether all
            processes count together.
    """

    app: Flask
    parts: Parts
    post: Post
    tokens: Tokens
    database: Database
    register_fields: Mapping[str, bool]
    secrets: tuple[str | bytes | None, ...] = field(repr=False)
    debug: bool
    ours: bool
    counting: Strategy
    counted: bool
    shared: bool

    def account(self, text: str) -> Account:
        """
        Find a user by what he names himself by, or by his primary key.

        Raises:
            ClickException: There is none.
        """
        users = self.parts.users
        try:
            found = users.by_identifier(self.parts.identifiers.parse(text))
        except ValueError:
            found = None
        found = found or users.by_id(text)
        if found is None:
            raise click.ClickException("There is no such user.")
        return found

    def note(self, name: str, user_id: str, **details: object) -> None:
        """Record what a command did to an account."""
        event = self.parts.event(name, self.parts.now(), Caller(), user_id, by="command", **details)
        self.parts.recorder.happened(event)


class Commands(AppGroup):
    """The group of one app's commands, which find its tools here."""

    def __init__(self, tools: Tools, **options: Any) -> None:
        super().__init__("otpauth", **options)
        self.tools = tools


def with_tools(function: Command) -> Command:
    """Run a command in the context of its app, with the app's tools as the first argument."""

    @with_appcontext
    @wraps(function)
    def call(**options: Any) -> None:
        group = cast("click.Context", click.get_current_context().parent).command
        try:
            function(cast("Commands", group).tools, **options)
        except ValidationFailed as error:
            told = "; ".join(f"{one.field}: {one.message}" for one in error.errors)
            raise click.ClickException(told) from error
        except OTPAuthError as error:
            raise click.ClickException(error.detail) from error
        except ConfigurationError as error:
            raise click.ClickException("; ".join(error.faults)) from error

    return cast("Command", call)
