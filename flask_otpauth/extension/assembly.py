"""From an app and the constructor's arguments to its service."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Flask

from ..api import DocumentHooks, Documents, make_blueprint
from ..challenges import Challenges
from ..cli import Tools
from ..delivery import ConsoleSender, Inbox, Post, Texts, Threads
from ..flows.events import Recorder
from ..flows.hooks import Hooks
from ..flows.parts import Parts
from ..flows.service import Service, assemble
from ..guard import Guard
from ..limits import Limits
from ..pages import make_pages
from ..sessions import Sessions, Tokens
from ..stores import Database, SqlChallenges, SqlClients, SqlEvents, SqlGuard, SqlSessions
from ..types import SenderLike
from ..users import CustomUsers, SqlUsers
from .arguments import Arguments
from .directory import register_fields
from .reading import Configuration, read_configuration
from .storage import open_storage, schemas_of, user_columns

logger: logging.Logger = logging.getLogger("flask_otpauth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A service, and the parts of it that only the extension handles."""

    service: Service
    post: Post
    tokens: Tokens
    database: Database
    tools: Tools
    documents: Documents


def put_together(
    app: Flask,
    given: Arguments,
    senders: Mapping[str, Sequence[SenderLike]],
    hooks: Hooks,
    document_hooks: DocumentHooks | None = None,
) -> Assembled:
    """
    Read the settings, make the parts of the app, and join them.

    Raises:
        ConfigurationError: All faults that were found, each with its cure.
    """
    read = read_configuration(app, given, senders, hooks.password_validators)
    settings = read.settings
    database, users = open_storage(app, given, settings, read.directory)
    fields = register_fields(settings, users.fields, users.required if isinstance(users, SqlUsers) else ())
    inbox = Inbox() if read.lenient else None
    post = _post(app, read, users, inbox)
    strategy, enabled, shared = read.counting
    if not shared and not read.lenient:
        logger.warning("Limits per address are counted in each process alone; set RATELIMIT_STORAGE_URI to redis://...")
    keyring = read.keyring
    tokens = Tokens(app, settings, keyring.token_keys, settings.name)
    logins, trail = SqlSessions(database, user_columns(database, users)), SqlEvents(database)
    parts = Parts(
        settings=settings,
        clock=given.clock,
        users=users,
        identifiers=read.identifiers,
        passwords=read.passwords,
        courier=post,
        limits=Limits(settings, strategy, enabled),
        sessions=Sessions(settings, logins, users, tokens, given.clock, claims_loaders=hooks.claims_loaders),
        challenges=Challenges(SqlChallenges(database), keyring, settings),
        guard=Guard(SqlGuard(database), settings, database.unit),
        clients=SqlClients(database),
        keyring=keyring,
        recorder=Recorder(trail, app, users.load),
        hooks=hooks,
        unit=database.unit,
    )
    schemas = schemas_of(settings, users, fields)
    documents = Documents(settings, schemas, document_hooks)
    app.register_blueprint(make_blueprint(settings, schemas, inbox, documents))
    if settings.pages:
        app.register_blueprint(make_pages(settings, schemas, fields))
    tools = Tools(
        app=app,
        parts=parts,
        post=post,
        tokens=tokens,
        database=database,
        register_fields=fields,
        secrets=read.secrets,
        debug=app.debug,
        ours=database.makes_tables,
        counting=strategy,
        counted=enabled,
        shared=shared,
    )
    directory = users if isinstance(users, SqlUsers) else None
    service = assemble(parts, ping=database.ping, directory=directory, logins=logins, trail=trail)
    return Assembled(service=service, post=post, tokens=tokens, database=database, tools=tools, documents=documents)


def _post(app: Flask, read: Configuration, users: SqlUsers | CustomUsers, inbox: Inbox | None) -> Post:
    settings = read.settings
    return Post(
        app,
        settings,
        read.senders,
        Threads(app, grace=settings.send_timeout),
        Texts(app, settings.name, sms_origin=settings.sms_origin),
        users.load,
        stand_ins=(ConsoleSender(), inbox) if inbox is not None else (),
    )
