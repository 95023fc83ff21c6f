"""The stores that the contract suites run on. Another kind of store joins the suites here."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import MetaData

from flask_otpauth.stores import (
    Database,
    SqlChallenges,
    SqlClients,
    SqlEvents,
    SqlFlags,
    SqlGuard,
    SqlSessions,
    tables_for,
)
from flask_otpauth.types import (
    ChallengeStore,
    ClientStore,
    EventStore,
    FlagStore,
    GuardStore,
    SessionStore,
    UnitOfWork,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """All stores over one place."""

    database: Database
    challenges: ChallengeStore
    guard: GuardStore
    sessions: SessionStore
    clients: ClientStore
    flags: FlagStore
    events: EventStore
    unit: UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where stores are to be opened: picklable, so that a process of a race opens its own."""

    url: str

    @contextmanager
    def open(self) -> Generator[Stores, None, None]:
        """Open the stores, and close them."""
        database = Database(self.url, tables_for(MetaData()), create=True, ours=True)
        try:
            yield Stores(
                database=database,
                challenges=SqlChallenges(database),
                guard=SqlGuard(database),
                sessions=SqlSessions(database),
                clients=SqlClients(database),
                flags=SqlFlags(database),
                events=SqlEvents(database),
                unit=database.unit,
            )
        finally:
            database.close()
