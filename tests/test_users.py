"""Users over the app's model, on every database: reading, adding, changing, and leaving the host alone."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, validates
from typing_extensions import override

from flask_otpauth.config import read
from flask_otpauth.errors import ConfigurationError, IdentifierTaken, ValidationFailed
from flask_otpauth.stores import Database, SqlFlags, tables_for
from flask_otpauth.types import Account, Flags, Identifier, Kind, NewAccount, UserState
from flask_otpauth.users import SqlUsers, UserMixin, user_model
from flask_otpauth.users.mapping import map_of
from flask_otpauth.users.model_faults import find_faults
from tests.services import KINDS, SERVERS, database_url


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str, None, None]:
    """Give an empty database."""
    with database_url(request.param, tmp_path) as url:
        yield url


@dataclass
class Host:
    """A host app with its own Flask-SQLAlchemy, and our connections to its database."""

    url: str
    db: SQLAlchemy
    opened: list[Database] = field(default_factory=list[Database])

    def __post_init__(self) -> None:
        self.app = Flask("host")
        self.app.config["SQLALCHEMY_DATABASE_URI"] = self.url
        self.db.init_app(self.app)

    def users(self, model: type[Any], **fields: str) -> SqlUsers:
        database = Database(self.url, tables_for(sa.MetaData()))
        with self.app.app_context():
            self.db.create_all()
            database.tables.flags.create(self.db.engine, checkfirst=True)
        self.opened.append(database)
        self.database, self.flags = database, SqlFlags(database)
        return SqlUsers(self.db, model, fields, self.flags, database=database)

    def close(self) -> None:
        for database in self.opened:
            database.close()
        with self.app.app_context():
            self.db.session.remove()
            self.db.engine.dispose()


def new_style() -> SQLAlchemy:
    return SQLAlchemy(model_class=type("Base", (DeclarativeBase,), {}))


@pytest.fixture
def host(url: str) -> Generator[Host, None, None]:
    host = Host(url, new_style())
    yield host
    host.close()


ANN = NewAccount(username="ann", email="ann@example.org", phone="+972508464336", password_hash="hash")


def by(kind: Kind, value: str) -> Identifier:
    return Identifier(kind=kind, value=value)


# --- models -----------------------------------------------------------------------------------------------------------


def customer(db: SQLAlchemy) -> type[Any]:
    """Other column names, a UUID key, and none of our columns."""

    class Customer(db.Model):  # type: ignore[name-defined, misc]
        uid: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
        login: Mapped[str | None] = mapped_column(sa.String(40), unique=True)
        mail: Mapped[str | None] = mapped_column(sa.String(120))
        mobile: Mapped[str | None] = mapped_column(sa.String(20))
        secret: Mapped[str | None] = mapped_column(sa.String(255))
        city: Mapped[str] = mapped_column(sa.String(40), default="Haifa")

        __table_args__ = (sa.UniqueConstraint("mail"), sa.Index("by_mobile", "mobile", unique=True))

    return Customer


CUSTOMER = {"username": "login", "email": "mail", "phone": "mobile", "password_hash": "secret"}


MODELS = [
    ("built-in", "sqlite"),
    ("legacy", "sqlite"),
    ("mixin", "sqlite"),
    ("customer", "sqlite"),
    ("computed", "sqlite"),
    *(
        pytest.param((kind, server.values[0]), marks=server.marks)
        for server in SERVERS
        for kind in ("built-in", "computed")
    ),
]


@pytest.fixture(params=MODELS, ids=" on ".join)
def users(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[SqlUsers, None, None]:
    """Give users over models of every kind; the servers see the two that differ most."""
    kind, backend = request.param
    with database_url(backend, tmp_path) as url:
        host = Host(url, SQLAlchemy() if kind == "legacy" else new_style())
        yield users_of(host, kind)
        host.close()


def users_of(host: Host, kind: str) -> SqlUsers:
    if kind in {"built-in", "legacy"}:
        return host.users(user_model(host.db))
    if kind == "mixin":

        class Member(UserMixin, host.db.Model):  # type: ignore[name-defined, misc]
            code: Mapped[str] = mapped_column(sa.String(36), primary_key=True, default=lambda: str(uuid.uuid4()))

        return host.users(Member)
    model = customer(host.db)
    if kind == "customer":
        return host.users(model, **CUSTOMER)
    # A property makes every read go through the ORM.
    model.groups = property(lambda self: ["staff"] if self.login == "root" else [])
    return host.users(model, **CUSTOMER, roles="groups")


# --- the contract of the port -----------------------------------------------------------------------------------------


def test_object_is_seen_as_the_running_unit_sees_it(users: SqlUsers) -> None:
    def work() -> tuple[str, str]:
        added = users.add(ANN)
        return added.id, users.seen(added.id, users.id_of)

    added, seen = users._database.unit(work)
    assert added == seen
    for user_id in ("no key", str(uuid.uuid4()), "77"):
        with pytest.raises(LookupError):
            users.seen(user_id, lambda user: user)


def test_added_user_is_found_by_everything(users: SqlUsers) -> None:
    added = users.add(ANN)
    assert (added.username, added.email, added.phone, added.password_hash) == ("ann", ANN.email, ANN.phone, "hash")
    assert added.active
    assert not added.mfa_enabled
    assert users.by_id(added.id) == added
    for kind, value in ((Kind.USERNAME, "ann"), (Kind.EMAIL, str(ANN.email)), (Kind.PHONE, str(ANN.phone))):
        assert users.by_identifier(by(kind, value)) == added
    assert users.active(added.id) is UserState.ACTIVE


def test_unknown_user_is_none(users: SqlUsers) -> None:
    users.add(ANN)
    assert users.by_identifier(by(Kind.USERNAME, "bob")) is None
    assert users.by_identifier(by(Kind.EMAIL, "ann")) is None
    for user_id in (
        "",
        "0",
        "99",
        "x",
        "-1",
        "1.0",
        " 1",
        "\u0661",
        "9" * 30,
        "9223372036854775808",
        "\0",
        "\ud800",
        str(uuid.uuid4()),
    ):
        assert users.by_id(user_id) is None
        assert users.active(user_id) is UserState.MISSING
        users.set_password(user_id, "hash")
        users.set_verified(user_id, Kind.EMAIL, "ann@example.org")


@pytest.mark.parametrize("name", ["username", "email", "phone"])
def test_taken_identifier_is_named_and_nothing_is_stored(users: SqlUsers, name: str) -> None:
    users.add(ANN)
    other: dict[str, Any] = {
        "username": "bob",
        "email": "bob@example.org",
        "phone": "+972501234567",
        name: getattr(ANN, name),
    }
    with pytest.raises(IdentifierTaken) as taken:
        users.add(NewAccount(**other))
    assert taken.value.field == name
    free = "username" if name != "username" else "email"
    assert users.by_identifier(by(Kind(free), other[free])) is None


def test_several_users_lack_the_same_identifier(users: SqlUsers) -> None:
    one, other = users.add(NewAccount(username="ann")), users.add(NewAccount(username="bob"))
    assert one.id != other.id
    assert (one.email, one.phone, one.password_hash) == (None, None, None)


def test_password_is_set_and_taken_away(users: SqlUsers) -> None:
    ann, bob = users.add(ANN), users.add(NewAccount(username="bob", password_hash="his"))
    users.set_password(ann.id, "new")
    assert (users.by_id(ann.id) or ann).password_hash == "new"
    users.set_password(ann.id, None)
    found = users.by_id(ann.id)
    assert found is not None
    assert found.password_hash is None
    assert users.by_id(bob.id) == bob


def test_password_is_set_while_the_one_that_was_read_is_there(users: SqlUsers) -> None:
    ann = users.add(ANN)
    users.set_password(ann.id, "rehashed", was="another")
    assert users.by_id(ann.id) == ann
    users.set_password(ann.id, "rehashed", was="hash")
    assert (users.by_id(ann.id) or ann).password_hash == "rehashed"


def test_proved_address_is_verified_and_no_other(users: SqlUsers) -> None:
    ann = users.add(ANN)
    assert (ann.email_verified, ann.phone_verified) == (False, False)
    users.set_verified(ann.id, Kind.EMAIL, "other@example.org")
    assert users.by_id(ann.id) == ann
    users.set_verified(ann.id, Kind.EMAIL, str(ann.email))
    found = users.by_id(ann.id)
    assert found is not None
    assert (found.email_verified, found.phone_verified) == (True, False)
    users.set_verified(ann.id, Kind.PHONE, str(ann.phone))
    found = users.by_id(ann.id)
    assert found is not None
    assert (found.email_verified, found.phone_verified) == (True, True)


def test_added_with_a_proved_address(users: SqlUsers) -> None:
    added = users.add(NewAccount(email="bob@example.org", phone="+972501234567", phone_verified=True))
    assert (added.email_verified, added.phone_verified) == (False, True)


def test_mfa_is_switched_on_and_off(users: SqlUsers) -> None:
    ann = users.add(ANN)
    users.set_mfa(ann.id, True)
    found = users.by_id(ann.id)
    assert found is not None
    assert found.mfa_enabled
    users.set_mfa(ann.id, False)
    assert users.by_id(ann.id) == ann


def test_removed_user_is_gone_with_his_flags(users: SqlUsers) -> None:
    ann, bob = users.add(ANN), users.add(NewAccount(username="bob"))
    users.set_verified(ann.id, Kind.EMAIL, str(ann.email))
    users.remove(ann.id)
    assert users.by_id(ann.id) is None
    assert users.active(ann.id) is UserState.MISSING
    assert users._flags.flags(ann.id) == Flags()
    assert users.by_id(bob.id) == bob
    users.remove(ann.id)
    users.remove("no such key")


@pytest.mark.parametrize("name", ["username", "email", "phone"])
def test_one_of_two_at_once_wins(users: SqlUsers, name: str) -> None:
    start, outcomes = threading.Barrier(4), list[object]()

    def register(number: int) -> None:
        values: dict[str, Any] = {
            "username": f"ann{number}",
            "email": f"{number}@example.org",
            "phone": f"+97250846433{number}",
        }
        values[name] = getattr(ANN, name)
        start.wait()
        try:
            outcomes.append(users.add(NewAccount(**values)))
        except IdentifierTaken as taken:
            outcomes.append(taken.field)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(one) for one in outcomes if not isinstance(one, Account)) == [name] * 3
    (winner,) = [one for one in outcomes if isinstance(one, Account)]
    assert users.by_identifier(by(Kind(name), getattr(ANN, name))) == winner


def test_unknown_user_costs_the_statements_of_a_known_one(host: Host) -> None:
    users = host.users(user_model(host.db))
    users.add(ANN)
    seen: list[str] = []

    class Recording(SqlFlags):
        @override
        def flags(self, user_id: str, /) -> Flags:
            seen.append(user_id)
            return super().flags(user_id)

    users = SqlUsers(host.db, user_model(host.db), {}, Recording(host.database), database=host.database)
    for name in ("ann", "bob"):
        users.by_identifier(by(Kind.USERNAME, name))
    assert seen == ["1", ""]


# --- what lies in the database ----------------------------------------------------------------------------------------


def test_look_alikes_are_different_users(host: Host) -> None:
    users = host.users(user_model(host.db))
    names = ["jose", "josé", "jösé", "strasse", "straße", "i", "\u0131", "\uff41", "a"]
    added = [users.add(NewAccount(username=name)) for name in names]
    assert len({one.id for one in added}) == len(names)
    for name, one in zip(names, added, strict=True):
        assert users.by_identifier(by(Kind.USERNAME, name)) == one


def test_collation_of_the_host_gives_nobody_anothers_account(host: Host) -> None:
    users = host.users(customer(host.db), **CUSTOMER)
    users.add(NewAccount(username="jose", email="jose@example.org"))
    # MariaDB's default collation finds the row for each of these.
    for name in ("josé", "JOSE", "jose "):
        assert users.by_identifier(by(Kind.USERNAME, name)) is None


def test_rows_of_the_host_are_found_by_the_canonical_value_only(host: Host) -> None:
    model = user_model(host.db)
    users = host.users(model)
    with host.app.app_context():
        host.db.session.add_all([model(username="Ann"), model(username="bob")])
        host.db.session.commit()
    assert users.by_identifier(by(Kind.USERNAME, "ann")) is None
    assert users.by_identifier(by(Kind.USERNAME, "bob")) is not None


def test_identifier_of_two_rows_names_nobody(host: Host) -> None:
    class Loose(host.db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str | None] = mapped_column(sa.String(100))

    users = host.users(Loose)
    users.add(NewAccount(email="ann@example.org"))
    with pytest.raises(IdentifierTaken):
        users.add(NewAccount(email="ann@example.org"))
    with host.app.app_context():
        host.db.session.add(Loose(email="ann@example.org"))
        host.db.session.commit()
    assert users.by_identifier(by(Kind.EMAIL, "ann@example.org")) is None


def test_disabled_user(host: Host) -> None:
    model = user_model(host.db)
    users = host.users(model)
    ann = users.add(ANN)
    with host.app.app_context():
        host.db.session.execute(sa.update(model).values(active=False))
        host.db.session.commit()
    assert users.active(ann.id) is UserState.DISABLED
    found = users.by_id(ann.id)
    assert found is not None
    assert not found.active


def test_changed_address_is_not_verified(host: Host) -> None:
    model = user_model(host.db)
    users = host.users(model)
    ann = users.add(NewAccount(email="ann@example.org", email_verified=True))
    assert ann.email_verified
    with host.app.app_context():
        host.db.session.execute(sa.update(model).values(email="eve@example.org"))
        host.db.session.commit()
    found = users.by_id(ann.id)
    assert found is not None
    assert found.email == "eve@example.org"
    assert not found.email_verified


def test_mapped_flags_are_the_models_own(host: Host) -> None:
    class Member(UserMixin, host.db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        confirmed: Mapped[bool] = mapped_column(default=False)
        phone_at: Mapped[datetime | None] = mapped_column(sa.DateTime())

    users = host.users(Member, email_verified="confirmed", phone_verified="phone_at")
    bob = users.add(
        NewAccount(email="bob@example.org", phone="+972501234567", email_verified=True, phone_verified=True)
    )
    ann = users.add(ANN)
    assert (bob.email_verified, bob.phone_verified) == (True, True)
    assert (ann.email_verified, ann.phone_verified) == (False, False)
    users.set_verified(ann.id, Kind.PHONE, str(ann.phone))
    users.set_verified(ann.id, Kind.EMAIL, "other@example.org")
    users.set_mfa(ann.id, True)
    assert host.flags.flags(ann.id) == Flags()
    with host.app.app_context():
        row = host.db.session.get(Member, int(ann.id))
        assert row is not None
        assert isinstance(row.phone_at, datetime)
        assert (row.confirmed, row.mfa_enabled) == (False, True)


def test_roles_of_a_relationship(host: Host) -> None:
    db = host.db
    link = sa.Table(
        "member_role",
        db.metadata,
        sa.Column("member_id", sa.ForeignKey("member.id"), primary_key=True),
        sa.Column("role_id", sa.ForeignKey("role.id"), primary_key=True),
    )

    class Role(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(sa.String(20))
        # "roles" comes into being on the other class when the mappers are configured.
        members: Mapped[list[Any]] = relationship("Member", secondary=link, backref="roles")

    class Member(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(sa.String(64), unique=True)

    users = host.users(Member, roles="roles")
    ann = users.add(NewAccount(username="ann"))
    assert ann.roles == frozenset()
    with host.app.app_context():
        row: Any = db.session.get(Member, int(ann.id))
        row.roles = [Role(name="admin"), Role(name="teller")]
        db.session.commit()
    found = users.by_id(ann.id)
    assert found is not None
    assert found.roles == {"admin", "teller"}


def test_role_is_read_now(host: Host) -> None:
    model = user_model(host.db)
    users = host.users(model)
    ann = users.add(ANN)
    assert ann.roles == {"user"}
    with host.app.app_context():
        host.db.session.execute(sa.update(model).values(role="admin"))
        host.db.session.commit()
    found = users.by_id(ann.id)
    assert found is not None
    assert found.roles == {"admin"}


def test_inherited_model_sees_its_own_rows_only(host: Host) -> None:
    db = host.db

    class Person(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(sa.String(10))
        email: Mapped[str] = mapped_column(sa.String(100), unique=True)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012

    class Client(Person):
        __mapper_args__ = {"polymorphic_identity": "client"}  # noqa: RUF012

    users = host.users(Client)
    assert users.columns() is None
    ann = users.add(NewAccount(email="ann@example.org"))
    assert users.by_id(ann.id) == ann
    with host.app.app_context():
        db.session.add(Person(email="eve@example.org"))
        db.session.commit()
    assert users.by_identifier(by(Kind.EMAIL, "eve@example.org")) is None
    assert users.by_id(str(int(ann.id) + 1)) is None


def test_joined_inheritance(host: Host) -> None:
    db = host.db

    class Person(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(sa.String(100), unique=True)

    class Client(Person):
        id: Mapped[int] = mapped_column(sa.ForeignKey("person.id"), primary_key=True)
        password_hash: Mapped[str | None] = mapped_column(sa.String(255))

    users = host.users(Client)
    ann = users.add(NewAccount(email="ann@example.org", password_hash="hash"))
    assert (ann.email, ann.password_hash) == ("ann@example.org", "hash")
    users.set_password(ann.id, "new")
    assert (users.by_identifier(by(Kind.EMAIL, "ann@example.org")) or ann).password_hash == "new"
    with pytest.raises(IdentifierTaken):
        users.add(NewAccount(email="ann@example.org"))
    users.remove(ann.id)
    assert users.by_id(ann.id) is None


def test_hybrids_and_synonyms_are_fields(host: Host) -> None:
    class Member(host.db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        _mail: Mapped[str] = mapped_column(sa.String(100), unique=True)
        blocked: Mapped[bool] = mapped_column(default=False)

        @hybrid_property
        def email(self) -> str:
            return self._mail

        @email.inplace.setter
        def _set_email(self, value: str) -> None:
            self._mail = value

        @property
        def active(self) -> bool:
            return not self.blocked

    users = host.users(Member)
    assert users.columns() is None
    ann = users.add(NewAccount(email="ann@example.org"))
    assert users.by_identifier(by(Kind.EMAIL, "ann@example.org")) == ann
    with pytest.raises(IdentifierTaken):
        users.add(NewAccount(email="ann@example.org"))
    with host.app.app_context():
        host.db.session.execute(sa.update(Member).values(blocked=True))
        host.db.session.commit()
    assert users.active(ann.id) is UserState.DISABLED


def test_types_of_the_hosts_own(host: Host) -> None:
    class Short(sa.types.UserDefinedType[str]):
        """A type that doesn't say what it gives."""

        cache_ok = True

        @override
        def get_col_spec(self, **_: Any) -> str:
            return "VARCHAR(40)"

    class Member(host.db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[str] = mapped_column(Short(), primary_key=True, default=lambda: str(uuid.uuid4()))
        username: Mapped[str] = mapped_column(Short(), unique=True)

    users = host.users(Member)
    settings, _ = read({"OTPAUTH_FIRST_FACTOR": "otp"})
    assert not any("text column" in fault for fault in find_faults(map_of(Member, {}), {}, settings))
    ann = users.add(NewAccount(username="ann"))
    assert users.by_id(ann.id) == users.by_identifier(by(Kind.USERNAME, "ann")) == ann
    assert users.by_identifier(by(Kind.EMAIL, "ann@example.org")) is None


def test_eager_joins_of_the_model_are_no_obstacle(host: Host) -> None:
    db = host.db

    class Branch(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    class Member(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        branch_id: Mapped[int | None] = mapped_column(sa.ForeignKey("branch.id"))
        branch: Mapped[Branch | None] = relationship(lazy="joined")
        roles = property(lambda _self: ["a"])

    users = host.users(Member)
    ann = users.add(ANN)
    users.set_password(ann.id, "new")
    assert (users.by_id(ann.id) or ann).password_hash == "new"


# --- adding -----------------------------------------------------------------------------------------------------------


def test_defaults_validators_and_events_of_the_model_run(host: Host) -> None:
    seen: list[str] = []

    class Member(UserMixin, host.db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str] = mapped_column(sa.String(64))
        city: Mapped[str] = mapped_column(sa.String(40), server_default="Haifa")

        @validates("username")
        def _slug(self, _key: str, value: str) -> str:
            self.slug = f"~{value}"
            return value

    event.listen(Member, "after_insert", lambda _mapper, _connection, user: seen.append(user.slug))
    users = host.users(Member)
    ann = users.add(NewAccount(username="ann", extra={"city": "Yafo"}))
    bob = users.add(NewAccount(username="bob"))
    assert seen == ["~ann", "~bob"]
    with host.app.app_context():
        cities = [getattr(host.db.session.get(Member, int(one.id)), "city", None) for one in (ann, bob)]
    assert cities == ["Yafo", "Haifa"]


def test_profile_fields_overwrite_no_identifier(host: Host) -> None:
    users = host.users(user_model(host.db))
    assert users.add(NewAccount(username="ann", extra={"username": "root"})).username == "ann"


def test_password_that_may_not_be_null_is_stored_empty(host: Host) -> None:
    class Member(host.db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(sa.String(64), unique=True)
        password_hash: Mapped[str] = mapped_column(sa.String(255))

    users = host.users(Member)
    ann = users.add(NewAccount(username="ann"))
    assert ann.password_hash is None
    users.set_password(ann.id, "hash")
    users.set_password(ann.id, None)
    assert users.by_id(ann.id) == ann


def test_value_that_does_not_fit_is_a_fault_of_the_caller(host: Host) -> None:
    class Member(host.db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(sa.String(5), unique=True)
        email: Mapped[str] = mapped_column(sa.String(100), unique=True)
        nickname: Mapped[str | None] = mapped_column(sa.String(9))
        about: Mapped[str | None] = mapped_column(sa.Text)

    users = host.users(Member)
    assert users.required == {"username", "email"}
    assert users.length("username") == 5
    assert (users.length("nickname"), users.length("about"), users.length("no such")) == (9, None, None)
    with pytest.raises(ValidationFailed) as failed:
        users.add(NewAccount(username="annabella"))
    assert [one.field for one in failed.value.errors] == ["username", "email"]


def test_column_that_nobody_fills_is_told_without_the_row(host: Host) -> None:
    class Member(host.db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(sa.String(64), unique=True)
        birthday: Mapped[str] = mapped_column(sa.String(10))

    users = host.users(Member)
    with pytest.raises(ConfigurationError, match="birthday may not be NULL") as refused:
        users.add(NewAccount(username="ann"))
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_other_constraint_is_told_without_the_row(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    class Member(host.db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str] = mapped_column(sa.String(64), sa.CheckConstraint("username <> 'ann'"), unique=True)
        slug: Mapped[str] = mapped_column(sa.String(64))

        @validates("username")
        def _slug(self, _key: str, value: str) -> str:
            self.slug = f"~{value}"
            return value

    users = host.users(Member)
    with pytest.raises(ValidationFailed) as refused:
        users.add(NewAccount(username="ann"))
    assert [one.field for one in refused.value.errors] == ["username"]
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert "Member refused the values of a registration: " in caplog.text
    assert "'ann'" not in caplog.text


# --- transactions -----------------------------------------------------------------------------------------------------


def test_unit_of_work_that_fails_adds_nobody(host: Host) -> None:
    users = host.users(user_model(host.db))

    def work() -> None:
        ann = users.add(NewAccount(email="ann@example.org", email_verified=True))
        assert users.by_id(ann.id) == ann
        assert ann.email_verified
        users.set_password(ann.id, "hash")
        raise LookupError

    with pytest.raises(LookupError):
        host.database.unit(work)
    assert users.by_identifier(by(Kind.EMAIL, "ann@example.org")) is None


def test_unit_of_work_goes_on_after_a_taken_identifier(host: Host) -> None:
    users = host.users(user_model(host.db))
    users.add(ANN)

    def work() -> list[Account]:
        before = users.add(NewAccount(username="bob"))
        with pytest.raises(IdentifierTaken):
            users.add(NewAccount(username="ann"))
        return [before, users.add(NewAccount(username="carl"))]

    added = host.database.unit(work)
    assert [users.by_id(one.id) for one in added] == added


def test_racing_units_of_work_have_one_winner(host: Host) -> None:
    users = host.users(user_model(host.db))
    start, outcomes = threading.Barrier(6), list[str]()

    def register(number: int) -> None:
        def work() -> Account:
            host.flags.set_flags(f"other {number}", mfa_enabled=True)
            return users.add(NewAccount(username=f"ann{number}", email="ann@example.org"))

        start.wait()
        try:
            outcomes.append(host.database.unit(work).id)
        except IdentifierTaken as taken:
            outcomes.append(taken.field)

    threads = [threading.Thread(target=register, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[1:] == ["email"] * 5


def test_deadlock_of_registrations_is_tried_again(host: Host) -> None:
    users = host.users(user_model(host.db))
    begun, outcomes = threading.Event(), list[str]()

    def give_up() -> None:
        def work() -> None:
            users.add(NewAccount(email="ann@example.org"))
            begun.set()
            time.sleep(0.2)  # so that the others wait for this row; on MariaDB its rollback makes them deadlock
            raise LookupError

        with pytest.raises(LookupError):
            host.database.unit(work)

    def register(number: int) -> None:
        begun.wait()
        try:
            outcomes.append(users.add(NewAccount(username=f"ann{number}", email="ann@example.org")).id)
        except IdentifierTaken as taken:
            outcomes.append(taken.field)

    threads = [threading.Thread(target=give_up), *(threading.Thread(target=register, args=(n,)) for n in range(4))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[1:] == ["email"] * 3


def test_password_that_is_changed_meanwhile_stays(host: Host) -> None:
    users = host.users(user_model(host.db))
    ann = users.add(ANN)
    changed = threading.Event()

    def change() -> None:
        users.set_password(ann.id, "changed")
        changed.set()
        time.sleep(0.2)  # so that the other one waits for this row, having read the hash that was there before

    thread = threading.Thread(target=host.database.unit, args=(change,))
    thread.start()
    changed.wait()
    users.set_password(ann.id, "rehashed", was=ann.password_hash)
    thread.join()
    assert (users.by_id(ann.id) or ann).password_hash == "changed"


def test_session_of_the_host_is_left_alone(host: Host) -> None:
    model = user_model(host.db)
    users = host.users(model)
    ann = users.add(ANN)
    with host.app.app_context():
        session = host.db.session()
        mine = session.get(model, int(ann.id))
        session.rollback()
        before = (session.in_transaction(), list(session.identity_map.values()), list(session.new))
        users.by_id(ann.id)
        users.by_identifier(by(Kind.USERNAME, "ann"))
        users.set_password(ann.id, "new")
        users.add(NewAccount(username="bob"))
        assert (session.in_transaction(), list(session.identity_map.values()), list(session.new)) == before
        assert mine is not None
        assert mine.password_hash == "new"


def test_users_are_read_while_the_host_holds_changes(host: Host) -> None:
    model = user_model(host.db)
    users = host.users(model)
    ann = users.add(ANN)
    with host.app.app_context():
        host.db.session.add(model(username="pending"))
        host.db.session.flush()
        assert users.by_id(ann.id) == ann
        assert users.by_identifier(by(Kind.USERNAME, "pending")) is None
        host.db.session.rollback()


# --- the host's own objects -------------------------------------------------------------------------------------------


def test_load_gives_an_object_of_the_hosts_session(users: SqlUsers) -> None:
    ann = users.add(ANN)
    db = users._db
    app = next(iter(db._app_engines))
    with app.app_context():
        mine: Any = users.load(ann.id)
        assert mine in db.session
        assert users.id_of(mine) == ann.id
        assert users.load("no such key") is None
        assert users.load("0") is None


def test_id_of_what_is_no_stored_user(host: Host) -> None:
    model = user_model(host.db)
    users = host.users(model)
    with pytest.raises(ValueError, match="commit"):
        users.id_of(model(username="ann"))
    with pytest.raises(TypeError, match="User"):
        users.id_of("1")


def test_columns_for_the_sessions_read(host: Host) -> None:
    model = user_model(host.db)
    assert host.users(model).columns() == (model.__table__.c.id, model.__table__.c.active)
    assert host.users(model).bind_key is None


def test_columns_of_a_model_where_everybody_is_active(host: Host) -> None:
    model = customer(host.db)
    users = host.users(model, **CUSTOMER)
    assert users.columns() == (model.__table__.c.uid, None)
    assert users.key("no uuid") is None
    assert dict(users.fields) == CUSTOMER
    assert users.has("city")
    assert not users.has("town")
