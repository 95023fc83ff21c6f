"""What ``OTPAuth`` was given, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from ..config import Settings
from ..delivery import adapt
from ..types import Clock, Sender, SenderLike, Senders, UserStore

_STORE = ("by_id", "by_identifier", "add", "update", "remove")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What ``OTPAuth`` was given; see there."""

    db: SQLAlchemy | None
    user_model: type[Any] | None
    users: UserStore | None
    clock: Clock


def argument_faults(app: Flask, given: Arguments, settings: Settings) -> list[str]:
    """Tell what is wrong with the arguments, one sentence each, with its cure."""
    faults: list[str] = []
    if given.db is not None and app.extensions.get("sqlalchemy") is not given.db:
        faults.append("db= is not set up on this app; call db.init_app(app) before OTPAuth.")
    if given.user_model is not None and given.db is None and "sqlalchemy" not in app.extensions:
        faults.append("user_model= needs the app's own Flask-SQLAlchemy; pass it as db=.")
    if given.users is not None and given.user_model is not None:
        faults.append("users= and user_model= are both given; pass one of them.")
    if settings.profile_fields and (given.users is not None or given.user_model is not None):
        faults.append("OTPAUTH_PROFILE_FIELDS is for the built-in model; add the columns to yours, and take it out.")
    return faults + _store_faults(given.users) + _clock_faults(app, given.clock)


def chain_of(given: Senders) -> tuple[SenderLike, ...]:
    """Give the senders of a fallback chain, of which one alone needn't be in a list."""
    # What is neither a list nor a tuple is told by itself: a text is a sequence of letters.
    return (
        tuple(cast("Sequence[SenderLike]", given)) if isinstance(given, list | tuple) else (cast("SenderLike", given),)
    )


def adapted(senders: Mapping[str, Sequence[SenderLike]]) -> tuple[dict[str, tuple[Sender, ...]], list[str]]:
    """Make senders of what the host gave, by channel, and tell what is none."""
    chains: dict[str, tuple[Sender, ...]] = {}
    faults: list[str] = []
    for channel, chain in senders.items():
        if not chain:
            faults.append(f"Channel {channel!r}: an empty list sends nothing; name a sender, or leave it out.")
        try:
            chains[channel] = tuple(adapt(one) for one in chain)
        except TypeError as error:
            faults.append(f"Channel {channel!r}: {error}.")
    return chains, faults


def _store_faults(store: object) -> list[str]:
    if isinstance(store, type):
        return [f"users= is the class {store.__name__}; pass an object of it."]
    missing = [name for name in _STORE if not callable(getattr(store, name, None))]
    if store is None or not missing:
        return []
    return [f"users= is {store!r}, which lacks {', '.join(missing)}; pass an object with the methods of UserStore."]


def _clock_faults(app: Flask, clock: Callable[[], object]) -> list[str]:
    cure = "give a function without arguments that tells the time, aware and UTC: lambda: datetime.now(UTC)"
    try:
        with app.app_context():
            now = clock()
    except Exception as error:  # noqa: BLE001 - a clock of the host may raise anything, and would at each request
        return [f"clock= raised {type(error).__name__}; {cure}."]
    if not isinstance(now, datetime):
        return [f"clock= gave {now!r}; {cure}."]
    return [f"clock= gave a naive datetime; {cure}."] if now.utcoffset() is None else []
