"""A session and the state of its user in one SELECT, by the index of the user's key, whatever its type."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Uuid,
    event,
    insert,
    make_url,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

from flask_otpauth.stores import Database, SqlSessions, UserColumns, tables_for
from flask_otpauth.types import UserState
from tests.contracts.samples import NOW, session
from tests.services import KINDS, database_url, shared


def _latin() -> TypeEngine[str]:
    return String(40).with_variant(mysql.VARCHAR(40, charset="latin1"), "mysql")


def _nopad() -> TypeEngine[str]:
    return (
        String(40)
        .with_variant(mysql.VARCHAR(40, charset="utf8mb4", collation="utf8mb4_unicode_nopad_ci"), "mysql")
        .with_variant(String(40, collation="C"), "postgresql")
    )


KEYS: dict[str, tuple[TypeEngine[Any], list[Any]]] = {
    "integer": (Integer(), list(range(1, 300))),
    "big integer": (BigInteger(), [2**40 + n for n in range(300)]),
    "string": (String(40), [f"user-{n}" for n in range(300)]),
    "string of another character set": (_latin(), [f"user-{n}" for n in range(300)]),
    "string of another collation": (_nopad(), [f"user-{n}" for n in range(300)]),
    "uuid": (Uuid(), [uuid.UUID(int=n << 64) for n in range(300)]),
    "uuid as text": (Uuid(as_uuid=False), [str(uuid.UUID(int=n << 64)) for n in range(300)]),
    "uuid in characters": (Uuid(native_uuid=False), [uuid.UUID(int=n << 64) for n in range(300)]),
    "fixed characters": (CHAR(12), [f"user-{n:07d}" for n in range(300)]),
    "uuid with dashes": (String(36), [str(uuid.UUID(int=n << 64)) for n in range(300)]),
}


@pytest.fixture(params=KINDS, scope=shared)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[str, None, None]:
    with database_url(request.param, tmp_path_factory.mktemp("members")) as made:
        yield made


def make(url: str, name: str, kind: TypeEngine[Any], keys: list[Any]) -> tuple[Database, Table]:
    users = Table(
        f"users_{name.replace(' ', '_')}", MetaData(), Column("key", kind, primary_key=True), Column("on", Boolean)
    )
    database = Database(url, tables_for(MetaData()), create=True, extra=lambda: [users])
    with database.transaction() as connection:
        connection.execute(insert(users), [{"key": key, "on": number % 2 == 0} for number, key in enumerate(keys)])
    return database, users


@pytest.mark.parametrize("name", KEYS)
def test_one_select_reads_session_and_user_by_the_index(url: str, name: str) -> None:
    kind, keys = KEYS[name]
    database, users = make(url, name, kind, keys)
    with closing(database):
        sessions = SqlSessions(database, UserColumns(id=users.c.key, active=users.c.on))
        on, off, gone = (session(user_id=str(key)) for key in keys[:3])
        for each in (on, off, gone):
            sessions.add(each)
        with database.transaction() as connection:
            connection.execute(users.delete().where(users.c.key == keys[2]))
        states = [_state(sessions, each.id) for each in (on, off, gone)]
        assert states == [UserState.ACTIVE, UserState.DISABLED, UserState.MISSING]
        assert off.cookie is not None
        record = sessions.by_cookie(off.cookie, NOW)
        assert record is not None
        assert record.user_state is UserState.DISABLED
        assert record.user_id == str(keys[1])
        assert _uses_index(database, sessions, on.id, users.name)


def _state(sessions: SqlSessions, key: bytes) -> UserState:
    record = sessions.by_id(key, NOW)
    assert record is not None
    return record.user_state


def _uses_index(database: Database, sessions: SqlSessions, key: bytes, table: str) -> bool:
    """Ask the database how it runs the very statement of ``by_id``."""
    seen: list[Any] = []
    assert sessions._reads is not None
    statement, values = sessions._reads["id"].bound(database.dialect, {"value": key, "now": NOW})
    with database.transaction() as connection:
        if database.backend == "sqlite":
            seen = [row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, values)]
            return any(line.startswith(f"SEARCH {table} USING") for line in seen)
        if database.backend == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
            seen = list(connection.exec_driver_sql("EXPLAIN " + statement, values).scalars())
            place = next(number for number, line in enumerate(seen) if f"{table}_pkey" in line)
            return str(seen[place + 1]).strip().startswith(("Index Cond: (key", "Index Cond: ((key"))
        seen = list(connection.exec_driver_sql("EXPLAIN " + statement, values).mappings())
        return any(row["table"] == table and row["type"] in {"const", "eq_ref"} for row in seen)


def test_a_collation_that_the_model_names_is_no_hindrance(url: str) -> None:
    names = {"sqlite": "NOCASE", "postgresql": "ucs_basic", "mysql": "utf8mb4_unicode_nopad_ci"}
    collated = String(40, collation=names[make_url(url).get_backend_name()])
    database, users = make(url, "collated", collated, [f"user-{n}" for n in range(300)])
    with closing(database):
        sessions, new = SqlSessions(database, UserColumns(id=users.c.key)), session(user_id="user-7")
        sessions.add(new)
        assert _state(sessions, new.id) is UserState.ACTIVE
        assert _uses_index(database, sessions, new.id, users.name)


def test_without_a_column_for_it_every_user_is_active(url: str) -> None:
    database, users = make(url, "bare", Integer(), [1])
    with closing(database):
        sessions = SqlSessions(database, UserColumns(id=users.c.key))
        here, gone = session(user_id="1"), session(user_id="2")
        sessions.add(here)
        sessions.add(gone)
        assert _state(sessions, here.id) is UserState.ACTIVE
        assert _state(sessions, gone.id) is UserState.MISSING


class Packed(TypeDecorator[uuid.UUID]):
    impl = LargeBinary(16)
    cache_ok = True


def test_a_key_of_another_type_is_left_to_a_second_query(tmp_path: Path) -> None:
    metadata = MetaData()
    packed = Table("packed", metadata, Column("key", Packed(), primary_key=True))
    apart = Table("apart", metadata, Column("key", Integer, primary_key=True), Column("on", Boolean))
    with closing(Database(f"sqlite:///{tmp_path / 'x'}", tables_for(MetaData()), create=True)) as database:
        for users in (
            None,
            UserColumns(id=packed.c.key),
            UserColumns(id=Table("other", metadata, Column("key", Integer)).c.key, active=apart.c.on),
        ):
            sessions = SqlSessions(database, users)
            new = session(user_id="1")
            sessions.add(new)
            assert _state(sessions, new.id) is UserState.UNREAD


def test_it_is_one_statement(tmp_path: Path) -> None:
    database, users = make(f"sqlite:///{tmp_path / 'one'}", "one", Integer(), [1])
    with closing(database):
        sessions = SqlSessions(database, UserColumns(id=users.c.key, active=users.c.on))
        new = session(user_id="1")
        sessions.add(new)
        sessions.by_id(new.id, NOW)
        statements: list[str] = []

        def trace(connection: Any, _record: object, _proxy: object) -> None:
            connection.set_trace_callback(statements.append)

        event.listen(database._engines.read, "checkout", trace)
        sessions.by_id(new.id, NOW)
    assert len(statements) == 1
    assert statements[0].startswith("SELECT")
