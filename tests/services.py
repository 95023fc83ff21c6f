"""The databases that tests run on: each test gets a file, schema or database of its own, gone afterwards."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
MARIADB = os.environ.get("TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")
REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")

KINDS = (
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.services),
    pytest.param("mariadb", marks=pytest.mark.services),
)
"""For ``pytest.mark.parametrize`` and ``pytest.fixture(params=...)``: what ``database_url`` takes."""

SERVERS = KINDS[1:]


def shared(fixture_name: str, config: pytest.Config) -> Literal["function", "module"]:
    """
    Give the scope of a place that serves a whole module.

    Not under mutmut, which picks a mutant's tests by what each of them has called: there each test makes its own place,
    or the statements, which are built with it, would be the first test's alone.
    """
    return "function" if "MUTANT_UNDER_TEST" in os.environ else "module"


@contextmanager
def database_url(kind: str, folder: Path) -> Generator[str, None, None]:
    """
    Give the URL of an empty database: "sqlite" (a file in ``folder``), "postgresql" or "mariadb".

    The test is skipped when the server doesn't answer; where ``CI`` is set it fails.
    """
    name = "otpauth_" + secrets.token_hex(6)
    if kind == "sqlite":
        yield f"sqlite:///{folder / name}.sqlite"
    elif kind == "postgresql":
        with _made(POSTGRESQL, f"CREATE SCHEMA {name}", f"DROP SCHEMA {name} CASCADE"):
            yield f"{POSTGRESQL}?options=-csearch_path%3D{name}"
    else:
        with _made(MARIADB, f"CREATE DATABASE {name} CHARACTER SET utf8mb4", f"DROP DATABASE {name}"):
            yield MARIADB.rpartition("/")[0] + "/" + name


def redis_prefix() -> str:
    """Give a prefix for keys that no other test has."""
    return f"otpauth-test:{secrets.token_hex(6)}:"


@contextmanager
def _made(url: str, make: str, remove: str) -> Generator[None, None, None]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(make)
        except DBAPIError as error:
            absent = f"{engine.dialect.name} doesn't answer: {error.orig}"
            if os.environ.get("CI"):
                pytest.fail(absent)
            pytest.skip(absent)
        try:
            yield
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(remove)
    finally:
        engine.dispose()
