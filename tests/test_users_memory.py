"""Users in an in-memory database of the host, the usual setting of host tests: one connection for all."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_otpauth.errors import IdentifierTaken
from flask_otpauth.stores import Database, SqlFlags, tables_for
from flask_otpauth.types import Identifier, Kind, NewAccount
from flask_otpauth.users import SharedConnection, SqlUsers, user_model

ANN = NewAccount(username="ann", password_hash="hash")
BOB = Identifier(kind=Kind.USERNAME, value="bob")


class Host:
    """A host app whose database lives in its one connection."""

    def __init__(self) -> None:
        self.db = SQLAlchemy()
        self.app = Flask("host")
        self.app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
        self.db.init_app(self.app)
        self.model: Any = user_model(self.db)
        self.database = Database("sqlite://", tables_for(sa.MetaData()))
        shared = SharedConnection(self.db)
        self.users = SqlUsers(self.db, self.model, {}, SqlFlags(self.database), database=shared)


@pytest.fixture
def host() -> Generator[Host, None, None]:
    host = Host()
    with host.app.app_context():
        host.db.create_all()
        yield host
        host.db.session.remove()
        host.db.engine.dispose()
    host.database.close()


def test_users_are_added_read_and_changed(host: Host) -> None:
    ann = host.users.add(ANN)
    assert host.users.by_id(ann.id) == ann
    host.users.set_password(ann.id, "newer", was="another")
    host.users.set_password(ann.id, "new", was="hash")
    host.db.session.remove()
    assert getattr(host.db.session.get(host.model, int(ann.id)), "password_hash", None) == "new"
    with pytest.raises(IdentifierTaken):
        host.users.add(ANN)
    host.users.remove(ann.id)
    assert host.users.by_id(ann.id) is None


def test_what_is_written_beside_a_reading_session_stays(host: Host) -> None:
    assert host.db.session.scalars(sa.select(host.model)).all() == []
    assert host.db.session().in_transaction()
    ann = host.users.add(ANN)
    host.db.session.rollback()
    assert host.users.by_id(ann.id) == ann


def test_pending_work_of_the_host_is_neither_committed_nor_undone(host: Host) -> None:
    host.db.session.add(host.model(username="bob"))
    host.db.session.flush()
    assert host.users.by_identifier(BOB) is not None
    ann = host.users.add(ANN)
    with pytest.raises(IdentifierTaken):
        host.users.add(ANN)
    assert host.users.by_identifier(BOB) is not None
    host.db.session.rollback()
    assert host.users.by_identifier(BOB) is None
    assert host.users.by_id(ann.id) is None


def test_pending_work_of_the_host_is_committed_by_the_host(host: Host) -> None:
    host.db.session.add(host.model(username="bob"))
    host.db.session.flush()
    ann = host.users.add(ANN)
    host.db.session.commit()
    host.db.session.rollback()
    assert host.users.by_identifier(BOB) is not None
    assert host.users.by_id(ann.id) == ann


def test_objects_that_wait_unflushed_are_left_waiting(host: Host) -> None:
    host.db.session.add(host.model(username="bob"))
    host.users.add(ANN)
    assert len(host.db.session.new) == 1
    assert host.users.by_identifier(BOB) is None
    host.db.session.rollback()
