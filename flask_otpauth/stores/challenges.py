"""Challenges in SQL: conditional updates, so that nothing is decided on what was read before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from ..types import (
    Admission,
    Charged,
    Found,
    Instant,
    Miss,
    NewChallenge,
    Purpose,
    Renewed,
    Seen,
    TooSoon,
)
from .challenge_statements import CHARGED, RENEWED, SEEN, ChallengeStatements, Change, of_purposes
from .database import Database
from .purging import purge
from .statements import Params, Row

_NO_GAP = 2**62


class SqlChallenges:
    """``ChallengeStore`` in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = database.tables.challenge
        self._statements = ChallengeStatements(database.tables, database.backend)

    def issue(self, new: NewChallenge, /) -> Admission:
        params = _inserted(new)
        if self._database.backend == "sqlite" and self._database.dialect.insert_returning:
            # One statement is one step there: it takes the write lock before it counts.
            row = self._database.change_returning(self._statements.issue_returning, params)
        else:
            row = self._database.run(lambda connection: self._issue(connection, new, params))
        if row is None:
            return Admission.TOO_SOON
        return Admission.MUTED if row[0] else Admission.ADMITTED

    def _issue(self, connection: Connection, new: NewChallenge, params: Params) -> Row | None:
        # A row of the account's own is held until the commit, so that challenges of one account are counted in turn.
        turn = hashlib.sha256(b"issue:" + new.account.encode("utf-8", "surrogatepass")).digest()
        self._statements.turn.on(connection, {"key": turn, "log": "", "used_at": new.created_at})
        if connection.dialect.insert_returning:
            return self._statements.issue_returning.on(connection, params).first()
        if self._statements.issue.on(connection, params).rowcount != 1:
            return None
        return self._statements.muted.on(connection, {"id_": new.id}).first()

    def promote(
        self,
        challenge_id: bytes,
        generation: int,
        digest: bytes,
        code_expires_at: Instant,
        now: Instant,
        *,
        channel: str,
        destination: str | None,
        replaces: bytes | None = None,
    ) -> bool:
        params = {
            "id_": challenge_id,
            "new_generation": generation,
            "new_digest": digest,
            "new_code_expires_at": code_expires_at,
            "new_channel": channel,
            "new_destination": destination,
            "now": now,
        }
        if replaces is None:
            return self._database.change(self._statements.promote, params) == 1

        c = self._table.c
        both = select(c.id).where(c.id.in_((challenge_id, replaces))).order_by(c.id).with_for_update()

        def work(connection: Connection) -> bool:
            if self._database.backend != "sqlite":
                # In the order of their keys, as ``void`` takes them: in any other two would wait for each other.
                connection.execute(both).all()
            if self._statements.promote.on(connection, params).rowcount != 1:
                return False
            self._statements.end.on(connection, {"id_": replaces, "now": now})
            return True

        return self._database.run(work)

    def withdraw(self, challenge_id: bytes, generation: int, now: Instant) -> None:
        self._database.change(self._statements.withdraw, {"id_": challenge_id, "withdrawn": generation, "now": now})

    def charge(self, challenge_id: bytes, purposes: frozenset[Purpose], now: Instant) -> Charged | Miss:
        charge, state = self._statements.charge(purposes), self._statements.state(purposes)
        params = {"id_": challenge_id, "now": now}
        row = self._changed(charge, params, joined=False)
        if row is not None:
            return _charged(row)
        left = self._database.fetch(state, {"id_": challenge_id})
        # What lives and wasn't charged was too late, even if another code has come since.
        return Miss.EXPIRED if left else Miss.GONE

    def consume(self, challenge_id: bytes, generation: int, now: Instant) -> bool:
        params = {"id_": challenge_id, "counting": generation, "now": now}
        return self._database.change(self._statements.consume, params) == 1

    def renew(
        self,
        challenge_id: bytes,
        purposes: frozenset[Purpose],
        now: Instant,
        *,
        resend_at: Instant,
        answers_until: Instant,
        revive: bool,
    ) -> Renewed | TooSoon | Miss:
        renew, state = self._statements.renew(purposes), self._statements.state(purposes)
        params = {
            "id_": challenge_id,
            "now": now,
            "new_resend_at": resend_at,
            "new_answers_until": answers_until,
            "fresh_at": 0 if revive else now,
        }
        row = self._changed(renew, params, joined=True)
        if row is not None:
            return _renewed(row)
        left = self._database.fetch(state, {"id_": challenge_id})
        if not left:
            return Miss.GONE
        resend, answers_until, flow_expires_at = left[0]
        if flow_expires_at <= now or (answers_until <= now and not revive):
            return Miss.EXPIRED
        return TooSoon(resend_at=resend)

    def look(self, challenge_id: bytes, now: Instant) -> Seen | Miss:
        rows = self._database.fetch(self._statements.look, {"id_": challenge_id})
        if not rows:
            return Miss.GONE
        values: dict[str, Any] = dict(zip(SEEN, rows[0], strict=True))
        values["purpose"] = Purpose(values["purpose"])
        seen = Seen(**values)
        return seen if seen.flow_expires_at > now else Miss.EXPIRED

    def find(self, keys: Sequence[str], purposes: frozenset[Purpose], now: Instant) -> list[Found]:
        c = self._table.c
        which = select(c.created_at, c.id, c.account, c.alias, c.purpose, c.attempts_left, c.answers_until, c.muted)
        alive = [c.ended_at.is_(None), c.flow_expires_at > now, of_purposes(c.purpose, purposes)]
        with self._database.read() as connection:
            rows = connection.execute(which.where(c.alias.in_(set(keys)), *alive)).all()
        newest = sorted(((row[0], bytes(row[1]), *row[2:]) for row in rows), reverse=True)
        return [
            Found(
                id=key,
                account=account,
                alias=alias,
                purpose=Purpose(purpose),
                spent=left <= 0,
                late=until <= now,
                muted=bool(muted),
            )
            for _, key, account, alias, purpose, left, until, muted in newest
        ]

    def end(self, challenge_id: bytes, now: Instant) -> None:
        self._database.change(self._statements.end, {"id_": challenge_id, "now": now})

    def void(self, account: str, now: Instant) -> int:
        c = self._table.c
        alive = (c.ended_at.is_(None), c.flow_expires_at > now)
        find = select(c.id).where(c.account == account, *alive)
        end = update(self._table).values(ended_at=now).where(c.id == bindparam("id_"), c.ended_at.is_(None))

        def work(connection: Connection) -> int:
            # One by one in the order of their keys: updates in the order of an index deadlock on MariaDB.
            ids = sorted(bytes(key) for key in connection.scalars(find))
            return sum(connection.execute(end, {"id_": key}).rowcount for key in ids)

        return self._database.run(work)

    def purge(self, before: Instant, limit: int) -> int:
        return purge(self._database, self._table.c.flow_expires_at, before, limit)

    def _changed(self, change: Change, params: Params, *, joined: bool) -> Row | None:
        if self._database.dialect.update_returning:
            return self._database.change_returning(change.returning, params, joined=joined)

        def work(connection: Connection) -> Row | None:
            if change.plain.on(connection, params).rowcount != 1:
                return None
            return change.read.on(connection, params).first()

        return self._database.run(work, joined=joined)


def _inserted(new: NewChallenge) -> dict[str, object]:
    return {
        "id": new.id,
        "account": new.account,
        "alias": new.alias,
        "user_id": new.user_id,
        "purpose": new.purpose.value,
        "channel": new.channel,
        "destination": new.destination,
        "binding": new.binding,
        "data": new.data,
        "digest": None,
        "generation": 0,
        "awaited": 1,
        "attempts_left": new.attempts,
        "created_at": new.created_at,
        "resend_at": new.resend_at,
        "code_expires_at": new.code_expires_at,
        "answers_until": new.code_expires_at,
        "flow_expires_at": new.flow_expires_at,
        "ended_at": None,
        "now": new.created_at,
        "live_limit": new.live_limit,
        "gap_after": new.created_at - new.min_gap if new.min_gap else _NO_GAP,
        "replaces": new.replaces or b"",
    }


def _charged(row: Row) -> Charged:
    values: dict[str, Any] = dict(zip(CHARGED, row, strict=True))
    values["purpose"] = Purpose(values["purpose"])
    return Charged(**values)


def _renewed(row: Row) -> Renewed:
    values: dict[str, Any] = dict(zip(RENEWED, row, strict=True))
    values["generation"] = values.pop("awaited")
    values["purpose"] = Purpose(values["purpose"])
    values["muted"] = bool(values["muted"])
    return Renewed(**values)
