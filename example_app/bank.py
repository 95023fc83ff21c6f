"""Accounts and transfers, in tables of the bank's own beside those of the extension. Money is in whole cents."""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import IntegrityError

HOUSE = 1000
"""Number of the bank's own account."""
LAST = 2**31 - 1
"""The greatest number that an account can have; PostgreSQL fails at a greater one."""
WELCOME = 100_00
"""Cents that a new customer starts with."""
PATIENCE = 15 * 60
"""Seconds within which an order that was prepared must be sent."""

_REFERENCE = re.compile(r"[0-9a-f]{32}")

metadata = sa.MetaData()
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("owner", sa.String(64), unique=True),
    sa.Column("balance", sa.BigInteger, sa.CheckConstraint("balance >= 0"), nullable=False),
)
# An order is prepared first and sent once; times are in Unix seconds.
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("reference", sa.String(32), unique=True, nullable=False),
    sa.Column("source", sa.Integer, sa.ForeignKey("accounts.number"), index=True, nullable=False),
    sa.Column("target", sa.Integer, sa.ForeignKey("accounts.number"), index=True, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("prepared_at", sa.BigInteger, nullable=False),
    sa.Column("sent_at", sa.BigInteger),
)


class Refusal(Exception):
    """
    The bank doesn't carry out an order; the text says why.

    Attributes:
        field: What of the order is at fault, "to" or "amount"; None where it is the order as a whole.
    """

    def __init__(self, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a customer has: ``balance`` in cents."""

    number: int
    balance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    Money that goes, or went, from one account to another.

    Attributes:
        reference: 32 hexadecimal digits that name the order to its owner.
        amount: Cents.
        sent_at: Unix time in seconds; None before the money has moved.
        lapsed: Whether it was prepared too long ago to be sent.
    """

    reference: str
    source: int
    target: int
    amount: int
    sent_at: int | None
    lapsed: bool


class Bank:
    """The accounts of one app; makes its tables, and the house account."""

    def __init__(self, app: Flask) -> None:
        # OTPAuth(app) put one there, as the app has none of its own.
        db: SQLAlchemy = app.extensions["sqlalchemy"]
        with app.app_context():
            engine = db.engine
        # MariaDB locks the gaps between rows by default, and orders at once would clash there.
        committed = {} if engine.dialect.name == "sqlite" else {"isolation_level": "READ COMMITTED"}
        self._engine: sa.Engine = engine.execution_options(**committed)
        metadata.create_all(self._engine)
        with self._engine.begin() as connection:
            if connection.scalar(sa.select(accounts.c.number).where(accounts.c.number == HOUSE)) is None:
                connection.execute(accounts.insert().values(number=HOUSE, balance=0))

    def account_of(self, owner: str) -> Account:
        """Give the account of a user; it is opened, with the welcome money, when it is first asked for."""
        with self._engine.connect() as connection:
            row = connection.execute(_select(owner)).one_or_none()
        if row is None:
            # Of two first requests at once, the second one finds the account of the first.
            with suppress(IntegrityError), self._engine.begin() as connection:
                connection.execute(accounts.insert().values(owner=owner, balance=WELCOME))
            with self._engine.connect() as connection:
                row = connection.execute(_select(owner)).one()
        return Account(number=row.number, balance=row.balance)

    def prepare(self, owner: str, to: int, amount: int) -> Order:
        """
        Write an order down, and give it; no money moves before ``send``.

        Raises:
            Refusal: There isn't so much money, or no such other account.
        """
        mine = self.account_of(owner)
        if to == mine.number:
            raise Refusal("That is the account that the money would come from.", "to")
        if to > LAST:
            raise Refusal("There is no account with that number.", "to")
        if amount > mine.balance:
            raise Refusal("There is not so much money in the account.", "amount")
        self._clear(mine)
        row: dict[str, Any] = {
            "reference": secrets.token_hex(16),
            "source": mine.number,
            "target": to,
            "amount": amount,
        }
        both = sa.select(accounts.c.number).where(accounts.c.number.in_([mine.number, to]))
        with self._engine.begin() as connection:
            # Locked here in the order of ``_move``: the foreign keys would lock them in another one.
            if to not in connection.scalars(both.order_by(accounts.c.number).with_for_update()).all():
                raise Refusal("There is no account with that number.", "to")
            connection.execute(orders.insert().values(**row, prepared_at=int(time.time())))
        return Order(**row, sent_at=None, lapsed=False)

    def order(self, owner: str, reference: str) -> Order | None:
        """Give an order that the user has prepared, or sent; None for anything else, another's too."""
        # PostgreSQL doesn't take every text, and this one comes from the path.
        if not _REFERENCE.fullmatch(reference):
            return None
        mine = self.account_of(owner)
        with self._engine.connect() as connection:
            row = connection.execute(orders.select().where(*_is(mine.number, reference))).one_or_none()
        return None if row is None else _order(row)

    def send(self, owner: str, reference: str) -> None:
        """
        Move the money of a prepared order, once: for one that is sent already, nothing is done.

        Raises:
            Refusal: There isn't so much money any more, or the order has lapsed; nothing was moved.
        """
        mine, now = self.account_of(owner), int(time.time())
        theirs = _is(mine.number, reference)
        ready = orders.c.sent_at.is_(None) & (orders.c.prepared_at >= now - PATIENCE)
        with self._engine.begin() as connection:
            # The condition is in the update itself: of two submits at once, one sends.
            won = connection.execute(orders.update().where(*theirs, ready).values(sent_at=now)).rowcount
            row = connection.execute(orders.select().where(*theirs)).one_or_none()
            if won and row is not None:
                _move(connection, _order(row))
        if row is None or row.sent_at is None:
            raise Refusal("This order has lapsed. Please begin again.")

    def transfer(self, owner: str, to: int, amount: int) -> Account:
        """
        Move ``amount`` cents to another account at once, and give the owner's as it is then.

        Raises:
            Refusal: There isn't so much money, or no such other account; nothing was moved.
        """
        self.send(owner, self.prepare(owner, to, amount).reference)
        return self.account_of(owner)

    def transfers(self, account: Account, most: int) -> list[Order]:
        """Give what went out of the account or came in, newest first."""
        ours = (orders.c.source == account.number) | (orders.c.target == account.number)
        newest = orders.c.sent_at.desc(), orders.c.id.desc()
        found = orders.select().where(ours, orders.c.sent_at.is_not(None)).order_by(*newest).limit(most)
        with self._engine.connect() as connection:
            return [_order(row) for row in connection.execute(found)]

    def _clear(self, account: Account) -> None:
        """Take away what its owner has prepared and left."""
        late = orders.c.sent_at.is_(None) & (orders.c.prepared_at < int(time.time()) - PATIENCE)
        with self._engine.begin() as connection:
            connection.execute(orders.delete().where(orders.c.source == account.number, late))


def _select(owner: str) -> sa.Executable:
    return sa.select(accounts.c.number, accounts.c.balance).where(accounts.c.owner == owner)


def _is(source: int, reference: str) -> tuple[sa.ColumnElement[bool], ...]:
    return orders.c.source == source, orders.c.reference == reference


def _order(row: sa.Row[Any]) -> Order:
    return Order(
        reference=row.reference,
        source=row.source,
        target=row.target,
        amount=row.amount,
        sent_at=row.sent_at,
        lapsed=row.sent_at is None and row.prepared_at < time.time() - PATIENCE,
    )


def _move(connection: sa.Connection, order: Order) -> None:
    # The lower number first: two orders in opposite directions never wait for each other.
    for number, cents in sorted([(order.source, -order.amount), (order.target, order.amount)]):
        balance = accounts.c.balance
        # The condition is in the update itself: two orders at once can't spend the same money.
        paid = accounts.update().where(accounts.c.number == number, balance >= -cents).values(balance=balance + cents)
        if not connection.execute(paid).rowcount:
            raise Refusal("There is not so much money in the account.", "amount")
