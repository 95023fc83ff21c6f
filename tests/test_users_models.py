"""The built-in model and the mixin: their columns, on every database and in both styles."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_otpauth.errors import ConfigurationError
from flask_otpauth.users import UserMixin, user_model
from tests.services import KINDS, database_url


def new_style() -> SQLAlchemy:
    return SQLAlchemy(model_class=type("Base", (DeclarativeBase,), {}))


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str, None, None]:
    with database_url(request.param, tmp_path) as url:
        yield url


@pytest.fixture(params=[SQLAlchemy, new_style])
def db(request: pytest.FixtureRequest) -> SQLAlchemy:
    return request.param()  # type: ignore[no-any-return]


def test_built_in_model_is_made_once_per_metadata() -> None:
    one, other = SQLAlchemy(), new_style()
    assert user_model(one) is user_model(one)
    assert user_model(other) is user_model(other)
    assert user_model(one) is not user_model(other)
    assert user_model(one).__table__.metadata is one.metadata


def test_built_in_model_of_several_apps_is_the_same(db: SQLAlchemy) -> None:
    first, second = Flask("first"), Flask("second")
    for app in (first, second):
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
        db.init_app(app)
    assert user_model(db) is user_model(db)


def test_table_users_of_the_app_is_told(db: SQLAlchemy) -> None:
    sa.Table("users", db.metadata, sa.Column("id", sa.Integer, primary_key=True))
    with pytest.raises(ConfigurationError, match="user_model=YourModel"):
        user_model(db)


def test_columns_of_the_built_in_model(db: SQLAlchemy) -> None:
    table = user_model(db).__table__
    assert table.name == "users"
    assert {column.name: column.nullable for column in table.columns} == {
        "id": False,
        "username": True,
        "email": True,
        "phone": True,
        "password_hash": True,
        "role": False,
        "active": False,
        "mfa_enabled": False,
        "created_at": False,
    }


def test_profile_fields_are_columns_of_the_built_in_model(db: SQLAlchemy) -> None:
    table = user_model(db, ("name", "city")).__table__
    assert {column.name for column in table.columns} >= {"name", "city", "role"}
    assert (table.c.name.nullable, table.c.name.type.length) == (True, 255)
    assert not hasattr(UserMixin, "name")


@pytest.mark.parametrize("name", ["id", "role", "password_hash", "is_active", "metadata", "query", "registry"])
def test_a_profile_field_takes_no_name_of_the_model(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"OTPAUTH_PROFILE_FIELDS names '{name}'"):
        user_model(new_style(), ("city", name))


def test_mixin_serves_several_models_of_one_app(db: SQLAlchemy) -> None:
    class Clerk(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    class Client(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    assert Clerk.__table__.c.email is not Client.__table__.c.email
    assert user_model(db).__table__.c.email.table.name == "users"


def test_rows_and_uniqueness(url: str, db: SQLAlchemy) -> None:
    app = Flask("host")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    model = user_model(db)
    with app.app_context():
        db.create_all()
        db.session.add_all([model(username="jose"), model(username="josé"), model(email="a@example.org")])
        db.session.commit()
        row: Any = db.session.scalars(sa.select(model).where(model.username == "josé")).one()
        assert (row.role, row.active, row.mfa_enabled) == ("user", True, False)
        made = row.created_at if row.created_at.tzinfo else row.created_at.replace(tzinfo=UTC)
        assert abs(datetime.now(UTC) - made) < timedelta(minutes=1)
        for taken in ({"username": "jose"}, {"email": "a@example.org"}):
            db.session.add(model(**taken))
            with pytest.raises(IntegrityError):
                db.session.commit()
            db.session.rollback()
        db.session.remove()
        db.engine.dispose()


def test_second_autogenerate_finds_no_difference(url: str) -> None:
    db = new_style()
    user_model(db)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        db.metadata.create_all(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, db.metadata) == []
    engine.dispose()


def test_the_key_of_a_deleted_user_is_not_given_out_again(url: str) -> None:
    db = new_style()
    model = user_model(db)
    engine = sa.create_engine(url)
    db.metadata.create_all(engine)
    users = model.__table__
    with engine.begin() as connection:
        keys = []
        for name in ("ann", "ben"):
            row = {"username": name, "role": "user", "active": True, "mfa_enabled": False}
            made = connection.execute(sa.insert(users).values(**row, created_at=datetime.now(UTC)))
            keys.append(made.inserted_primary_key[0])
            connection.execute(sa.delete(users))
    engine.dispose()
    assert keys[1] > keys[0]
