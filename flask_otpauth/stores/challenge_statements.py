"""The statements of ``SqlChallenges``, built once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Insert,
    Integer,
    Table,
    Update,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    insert,
    null,
    or_,
    select,
    true,
    update,
)

from ..types import Charged, Purpose, Renewed, Seen
from .statements import Statement
from .tables import Tables
from .upserts import upsert

CHARGED = tuple(field.name for field in fields(Charged))
RENEWED = tuple("awaited" if field.name == "generation" else field.name for field in fields(Renewed))
"""Columns of what a change tells; the generation of a renewal is the awaited one."""
SEEN = tuple(field.name for field in fields(Seen))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An update that tells what the row holds: in one statement, or in two of one transaction."""

    returning: Statement
    plain: Statement
    read: Statement


class ChallengeStatements:
    """Those of one metadata, for one kind of database."""

    def __init__(self, tables: Tables, backend: str) -> None:
        table = self._table = tables.challenge
        self._charges: dict[frozenset[Purpose], Change] = {}
        self._renewals: dict[frozenset[Purpose], Change] = {}
        self._states: dict[frozenset[Purpose], Statement] = {}
        issue = _issue(table)
        self.turn: Statement = Statement(upsert(tables.guard, backend, update=("used_at",)))
        self.issue: Statement = Statement(issue)
        self.issue_returning: Statement = Statement(issue.returning(table.c.muted))
        self.muted: Statement = Statement(select(table.c.muted).where(_this(table)))
        self.look: Statement = Statement(
            select(*(table.c[name] for name in SEEN)).where(
                _this(table), table.c.ended_at.is_(None), table.c.attempts_left > 0
            )
        )
        self.promote: Statement = Statement(_promote(table))
        self.withdraw: Statement = Statement(_withdraw(table))
        self.consume: Statement = Statement(
            update(table)
            .values(ended_at=bindparam("now"))
            .where(_this(table), table.c.generation == bindparam("counting"), table.c.digest.is_not(None))
            .where(table.c.ended_at.is_(None))
        )
        self.end: Statement = Statement(
            update(table).values(ended_at=bindparam("now")).where(_this(table), table.c.ended_at.is_(None))
        )

    def charge(self, purposes: frozenset[Purpose]) -> Change:
        """Take one attempt of a challenge whose code and flow are in their time."""
        found = self._charges.get(purposes)
        if found is None:
            c = self._table.c
            change = (
                update(self._table)
                .values(attempts_left=c.attempts_left - 1)
                .where(_this(self._table), lives(self._table), c.answers_until > _now())
                .where(of_purposes(c.purpose, purposes))
            )
            found = self._charges[purposes] = _change(self._table, change, CHARGED)
        return found

    def renew(self, purposes: frozenset[Purpose]) -> Change:
        """Await another code; ``fresh_at`` is what the old one's end must be later than."""
        found = self._renewals.get(purposes)
        if found is None:
            c = self._table.c
            change = (
                update(self._table)
                .values(awaited=c.awaited + 1)
                .values(resend_at=bindparam("new_resend_at"), answers_until=bindparam("new_answers_until"))
                .where(_this(self._table), lives(self._table), c.resend_at <= _now())
                .where(c.answers_until > bindparam("fresh_at"), of_purposes(c.purpose, purposes))
            )
            found = self._renewals[purposes] = _change(self._table, change, RENEWED)
        return found

    def state(self, purposes: frozenset[Purpose]) -> Statement:
        """Read the times of a challenge that isn't over but for them."""
        found = self._states.get(purposes)
        if found is None:
            c = self._table.c
            read = select(c.resend_at, c.answers_until, c.flow_expires_at)
            open_ = and_(c.ended_at.is_(None), c.attempts_left > 0, of_purposes(c.purpose, purposes))
            found = self._states[purposes] = Statement(read.where(_this(self._table), open_))
        return found


def lives(table: Table) -> ColumnElement[bool]:
    """Neither ended nor exhausted, and its flow is not over."""
    return and_(table.c.ended_at.is_(None), table.c.attempts_left > 0, table.c.flow_expires_at > _now())


def of_purposes(purpose: Column[str], purposes: frozenset[Purpose]) -> ColumnElement[bool]:
    """One of a few purposes: comparisons, not ``IN``, so that the statement has one fixed text."""
    return or_(false(), *(purpose == each.value for each in sorted(purposes)))


def _issue(table: Table) -> Insert:
    c = table.c
    mine = and_(c.account == bindparam("account", type_=c.account.type), lives(table))
    replaced = bindparam("replaces", type_=c.id.type)
    # One whose code is too late keeps nobody from another: who asks once more may have no other way to get one.
    counted = and_(mine, c.answers_until > _now(), c.muted == false(), c.id != replaced)
    others = select(func.count()).where(counted).scalar_subquery()
    full = others >= bindparam("live_limit", type_=Integer())
    # A challenge that this one replaces is no reason to send twice for a double tap.
    recent = exists().where(
        mine,
        c.purpose == bindparam("purpose", type_=c.purpose.type),
        c.created_at > bindparam("gap_after", type_=c.created_at.type),
    )
    given = [column for column in c if column.name != "muted"]
    values: list[ColumnElement[Any]] = [bindparam(column.name, type_=column.type) for column in given]
    muted = case((full, true()), else_=false())
    row = select(*values, muted).where(~recent)
    return insert(table).from_select([*(column.name for column in given), "muted"], row)


def _promote(table: Table) -> Update:
    c = table.c
    generation = bindparam("new_generation", type_=Integer())
    return (
        update(table)
        .values(
            generation=generation,
            digest=bindparam("new_digest"),
            code_expires_at=bindparam("new_code_expires_at"),
            answers_until=bindparam("new_code_expires_at"),
            channel=bindparam("new_channel"),
            destination=bindparam("new_destination"),
        )
        .where(_this(table), lives(table), c.muted == false())
        .where(c.awaited == generation, c.generation < generation)
    )


def _withdraw(table: Table) -> Update:
    c = table.c
    withdrawn = bindparam("withdrawn", type_=Integer())
    return (
        update(table)
        .values(
            # The number is never handed out again: a sender that returns late finds it passed.
            awaited=c.awaited + 1,
            resend_at=_now(),
            answers_until=c.code_expires_at,
            ended_at=case((c.digest.is_(None), _now()), else_=c.ended_at),
        )
        .where(_this(table), c.awaited == withdrawn, c.generation < withdrawn, c.ended_at.is_(None))
    )


def _change(table: Table, change: Update, names: tuple[str, ...]) -> Change:
    # A code past its time matches nothing, even while the challenge still takes answers: another one was asked for.
    in_time = case((table.c.code_expires_at > _now(), table.c.digest), else_=null())
    columns = [in_time.label("digest") if name == "digest" else table.c[name] for name in names]
    return Change(
        returning=Statement(change.returning(*columns)),
        plain=Statement(change),
        read=Statement(select(*columns).where(_this(table))),
    )


def _this(table: Table) -> ColumnElement[bool]:
    return table.c.id == bindparam("id_", type_=table.c.id.type)


def _now() -> ColumnElement[int]:
    return bindparam("now", type_=BigInteger())
