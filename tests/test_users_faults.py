"""What the settings ask for and the model lacks is told at the start, with its cure."""

from __future__ import annotations

from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from flask_otpauth.config import read
from flask_otpauth.errors import ConfigurationError
from flask_otpauth.stores import Database, SqlFlags, tables_for
from flask_otpauth.users import SqlUsers, UserMixin, user_model
from flask_otpauth.users.model_faults import find_faults

Column = sa.Column


def users(db: SQLAlchemy, model: type[Any], **fields: str) -> SqlUsers:
    database = Database("sqlite://", tables_for(sa.MetaData()))
    return SqlUsers(db, model, fields, SqlFlags(database), database=database)


def model_with(db: SQLAlchemy, **columns: Any) -> type[Any]:
    body = {"__tablename__": "member", "id": Column(sa.Integer, primary_key=True), **columns}
    return type("Member", (db.Model,), body)


def text(length: int = 255, **options: Any) -> Any:
    return Column(sa.String(length), **options)


FULL = {"username": 64, "email": 254, "phone": 16, "password_hash": 255}


def full(db: SQLAlchemy, **columns: Any) -> type[Any]:
    given = {name: text(length) for name, length in FULL.items()} | columns
    return model_with(db, **{name: column for name, column in given.items() if column is not None})


def faults(found: SqlUsers, **options: Any) -> list[str]:
    settings, wrong = read({f"OTPAUTH_{name.upper()}": value for name, value in options.items()})
    assert wrong == []
    return find_faults(found._map, found._fields, settings)


@pytest.fixture
def db() -> SQLAlchemy:
    return SQLAlchemy()


@pytest.mark.parametrize("registration", ["confirm", "login-code", "open", "closed"])
@pytest.mark.parametrize("first_factor", ["password", "otp"])
@pytest.mark.parametrize("scheme", ["bcrypt", "scrypt", "argon2", "pbkdf2:sha256:600000"])
def test_built_in_model_serves_everything(db: SQLAlchemy, registration: str, first_factor: str, scheme: str) -> None:
    found = users(db, user_model(db))
    peppers = {"k" * 32: "0123456789abcdef"}
    assert (
        faults(found, registration=registration, first_factor=first_factor, password_hash=scheme, peppers=peppers) == []
    )


def test_unknown_field_is_told_with_the_closest(db: SQLAlchemy) -> None:
    (fault,) = faults(users(db, full(db), pasword_hash="secret"))
    assert "'pasword_hash'" in fault
    assert "did you mean 'password_hash'?" in fault


def test_missing_attribute_is_told_with_the_closest(db: SQLAlchemy) -> None:
    (fault,) = faults(users(db, full(db, phone=None, mobile=text(20)), phone="mobil"))
    assert fault == "OTPAUTH_USER_FIELDS maps phone to 'mobil', which Member doesn't have; did you mean 'mobile'?"


def test_missing_attribute_of_roles_is_told_once_the_mappers_are_ready(db: SQLAlchemy) -> None:
    found = users(db, full(db), roles="groups")
    assert faults(found) == []
    with pytest.raises(ConfigurationError, match="maps roles to 'groups'"):
        found.by_id("1")


def test_method_is_no_field(db: SQLAlchemy) -> None:
    found = users(db, full(db, active=lambda _self: True))
    assert "active" not in found.fields
    assert found.columns() == (found._map.key, None)


def test_password_first_needs_a_hash(db: SQLAlchemy) -> None:
    (fault,) = faults(users(db, full(db, password_hash=None)))
    assert "has no password_hash" in fault
    assert "OTPAUTH_FIRST_FACTOR" in fault
    assert faults(users(SQLAlchemy(), full(SQLAlchemy(), password_hash=None)), first_factor="otp") == []


def test_codes_need_an_address(db: SQLAlchemy) -> None:
    found = users(db, full(db, email=None, phone=None))
    assert ["OTPAUTH_SECOND_FACTOR" in one or "OTPAUTH_REGISTRATION" in one for one in faults(found)] == [True, True]
    assert [one for one in faults(found, registration="open") if "OTPAUTH_SECOND_FACTOR" in one] != []
    assert faults(found, registration="open", second_factor="never") == []
    assert faults(found, registration="closed", second_factor="never") == []
    (fault,) = faults(found, registration="closed", first_factor="otp")
    assert "OTPAUTH_FIRST_FACTOR" in fault


@pytest.mark.parametrize("only", ["email", "phone"])
def test_one_address_is_enough(db: SQLAlchemy, only: str) -> None:
    other = "phone" if only == "email" else "email"
    assert faults(users(db, full(db, **{other: None}))) == []


def test_opt_in_needs_no_column(db: SQLAlchemy) -> None:
    assert faults(users(db, full(db)), second_factor="opt-in") == []


def test_channel_needs_its_address(db: SQLAlchemy) -> None:
    found = users(db, full(db, phone=None))
    assert faults(found, channels=("email",)) == []
    (fault,) = faults(found, channels=("sms", "email"))
    assert "OTPAUTH_CHANNELS names 'sms', and Member has no phone" in fault


def test_login_needs_an_identifier(db: SQLAlchemy) -> None:
    (fault,) = faults(users(db, full(db, username=None)), identifiers=("username",))
    assert "none of username" in fault


def test_field_of_registration_must_exist(db: SQLAlchemy) -> None:
    found = users(db, full(db))
    (fault,) = faults(found, register_fields=("username", "password", "phone", "city"))
    assert "OTPAUTH_REGISTER_FIELDS names 'city', and Member has no 'city'" in fault
    assert faults(found, register_fields=("username", "city"), registration="closed") == []


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize("kind", [sa.Integer(), sa.Date(), sa.Boolean(), sa.Uuid(), sa.Enum(Colour)])
def test_profile_field_must_be_a_text_column(db: SQLAlchemy, kind: Any) -> None:
    fields = ("username", "password", "phone", "born")
    found = users(db, full(db, born=Column(kind)))
    (fault,) = faults(found, register_fields=fields)
    assert fault.startswith("OTPAUTH_REGISTER_FIELDS names 'born', and Member.born is no text column")
    assert faults(found) == []
    assert faults(found, register_fields=fields, registration="closed") == []


@pytest.mark.parametrize("kind", [sa.Text(), sa.Enum("red", "blue")])
def test_profile_field_of_any_kind_of_text_is_no_fault(db: SQLAlchemy, kind: Any) -> None:
    found = users(db, full(db, born=Column(kind)))
    assert faults(found, register_fields=("username", "password", "phone", "born")) == []


def test_profile_field_that_the_model_makes_of_text_is_no_fault(db: SQLAlchemy) -> None:
    class Checked(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        born: Mapped[date | None]

        @validates("born")
        def _date(self, _key: str, value: str) -> date:
            return date.fromisoformat(value)

    class Own(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        born: Mapped[date | None]

        def __init__(self, born: str, **values: Any) -> None:
            super().__init__(**values, born=date.fromisoformat(born))

    fields = ("username", "password", "phone", "born")
    assert [faults(users(db, model), register_fields=fields) for model in (Checked, Own)] == [[], []]


@pytest.mark.parametrize("name", ["role", "roles", "active", "on", "phone_verified", "password_hash", "id"])
def test_registration_sets_nothing_that_is_kept(db: SQLAlchemy, name: str) -> None:
    columns = {one: text() for one in ("role", "roles", "on", "phone_verified")}
    found = users(db, full(db, **columns), active="on")
    told = faults(found, register_fields=("username", "password", "phone", name))
    assert f"OTPAUTH_REGISTER_FIELDS names {name!r}, which nobody may set at registration; take it out." in told
    assert faults(found, register_fields=("username", "password", "phone", name), registration="closed") == []


def test_registration_names_an_identifier_by_its_own_name(db: SQLAlchemy) -> None:
    found = users(db, full(db, phone=None, mobile=text(20)), phone="mobile")
    (fault,) = faults(found, register_fields=("username", "password", "phone", "mobile"))
    assert "names 'mobile', which is the phone; name 'phone' instead" in fault


def test_a_key_that_is_a_username_is_registered(db: SQLAlchemy) -> None:
    key = Column(sa.String(64), primary_key=True)
    body = {"__tablename__": "member", "username": key, "phone": text(20), "password": text()}
    found = users(db, type("Member", (db.Model,), body), password_hash="password")
    assert faults(found, register_fields=("username", "password", "phone")) == []


def test_column_that_registration_leaves_null_is_told(db: SQLAlchemy) -> None:
    model = full(
        db,
        city=text(nullable=False),
        country=text(nullable=False, default="IL"),
        joined=Column(sa.DateTime, nullable=False, server_default=sa.func.now()),
        age=Column(sa.Integer),
    )
    (fault,) = faults(users(db, model))
    assert fault.startswith("Member.city may not be NULL")
    assert faults(users(db, model), register_fields=("username", "password", "phone", "city")) == []
    assert faults(users(db, model), registration="closed") == []


def test_columns_that_the_mapper_fills_are_no_fault(db: SQLAlchemy) -> None:
    version, kind = Column(sa.Integer, nullable=False), Column(sa.String(10), nullable=False)
    mapper = {"version_id_col": version, "polymorphic_on": kind, "polymorphic_identity": "member"}
    assert faults(users(db, full(db, version=version, kind=kind, __mapper_args__=mapper))) == []


def test_columns_that_the_model_fills_by_itself_are_no_fault(db: SQLAlchemy) -> None:
    class Own(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str]

        def __init__(self, **values: Any) -> None:
            super().__init__(**values, slug=values["username"])

    class Checked(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str]

        @validates("username")
        def _slug(self, _key: str, value: str) -> str:
            self.slug = value
            return value

    class Heard(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str]

    event.listen(Heard, "before_insert", lambda *_: None)
    assert [faults(users(db, model)) for model in (Own, Checked, Heard)] == [[], [], []]


def test_constructor_must_take_the_fields(db: SQLAlchemy) -> None:
    class Stubborn(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

        def __init__(self, name: str) -> None:
            super().__init__(username=name)

    (fault,) = faults(users(db, Stubborn))
    assert "Stubborn(...) doesn't take the fields of a registration by keyword" in fault


@pytest.mark.parametrize(
    ("scheme", "length"), [("bcrypt", 70), ("pbkdf2:sha256:600000", 103), ("scrypt", 162), ("argon2", 97)]
)
def test_short_column_for_hashes_is_told(scheme: str, length: int) -> None:
    one, other = SQLAlchemy(), SQLAlchemy()
    (fault,) = faults(users(one, full(one, password_hash=text(length - 1))), password_hash=scheme)
    assert f"holds {length - 1} characters, and a hash has {length}" in fault
    assert faults(users(other, full(other, password_hash=text(length))), password_hash=scheme) == []


def test_identifier_must_be_a_text_column(db: SQLAlchemy) -> None:
    (fault,) = faults(users(db, full(db, phone=Column(sa.BigInteger))))
    assert "Member.phone is no text column" in fault
    other = SQLAlchemy()
    (fault,) = faults(users(other, full(other, phone=property(lambda _self: ""))))
    assert "Member.phone is no text column" in fault


def test_composite_key_is_a_configuration_error(db: SQLAlchemy) -> None:
    model = full(db, tenant=Column(sa.Integer, primary_key=True))
    with pytest.raises(ConfigurationError, match=r"primary key \(id, tenant\)"):
        users(db, model)


@pytest.mark.parametrize("kind", [sa.LargeBinary(16), sa.DateTime(), sa.Float()])
def test_key_of_another_type_is_a_configuration_error(db: SQLAlchemy, kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="an integer, a UUID or a string"):
        users(db, full(db, id=Column(kind, primary_key=True)))


def test_class_that_is_no_model_is_a_configuration_error(db: SQLAlchemy) -> None:
    with pytest.raises(ConfigurationError, match="give a model class"):
        users(db, Path)


def test_looking_at_a_model_does_not_configure_its_mappers(db: SQLAlchemy) -> None:
    class Member(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int | None] = mapped_column(sa.ForeignKey("order.id"))
        order: Mapped[Any] = relationship("Order")  # a class that the app makes later on

    found = users(db, Member)
    assert faults(found) == []
    assert not sa.inspect(Member).configured

    class Order(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    assert Member(username="ann", order=Order()).username == "ann"
