"""Our tables in the app's metadata, and what Alembic says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, inspect

from flask_otpauth.stores import tables_for
from tests.services import KINDS, SERVERS, database_url


def test_a_second_call_gives_the_same_tables() -> None:
    metadata = MetaData()
    assert tables_for(metadata) == tables_for(metadata)
    assert sorted(metadata.tables) == [
        "otpauth_challenge",
        "otpauth_client",
        "otpauth_event",
        "otpauth_flags",
        "otpauth_guard",
        "otpauth_session",
    ]


def test_tables_follow_the_schema_of_the_metadata() -> None:
    metadata = MetaData(schema="auth")
    assert tables_for(metadata).guard is metadata.tables["auth.otpauth_guard"]
    assert tables_for(metadata).guard is metadata.tables["auth.otpauth_guard"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_autogenerate_finds_no_difference(kind: str, tmp_path: Path) -> None:
    metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s", "uq": "uq_%(table_name)s_%(column_0_name)s"})
    tables_for(metadata)
    with database_url(kind, tmp_path) as url:
        engine = create_engine(url)
        try:
            with engine.connect() as connection:
                options = {"compare_type": True, "compare_server_default": True}
                before = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
                metadata.create_all(connection)
                connection.commit()
                after = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        finally:
            engine.dispose()
    assert len(before) >= 6
    assert after == []


@pytest.mark.parametrize("kind", SERVERS[1:])
def test_mariadb_compares_our_text_by_its_bytes(kind: str, tmp_path: Path) -> None:
    metadata = MetaData()
    tables_for(metadata)
    with database_url(kind, tmp_path) as url:
        engine = create_engine(url)
        try:
            metadata.create_all(engine)
            columns = [column for name in metadata.tables for column in inspect(engine).get_columns(name)]
        finally:
            engine.dispose()
    collations = {getattr(column["type"], "collation", None) for column in columns} - {None}
    assert collations == {"ascii_bin", "utf8mb4_bin"}
    assert {str(column["type"]) for column in columns if column["name"] in {"digest", "cookie"}} == {"BINARY(32)"}
