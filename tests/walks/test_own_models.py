"""Registrations over models of the host whose columns take less than ours, over HTTP and on every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import CheckConstraint, Enum, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import mapped_column, validates

from flask_otpauth import OTPAuth
from flask_otpauth.testing import capture_messages
from tests.services import KINDS, database_url
from tests.walks.conftest import PASSWORD, PHONE, Host

OTHER_PHONE, EMAIL = "+972508464337", "ann@example.org"


class Models:
    """Makes hosts, each with a model of its own."""

    def __init__(self, kind: str, folder: Path, clock: Any, stack: ExitStack) -> None:
        self.kind = kind
        self._folder, self._clock, self._stack = folder, clock, stack

    def __call__(self, columns: dict[str, Any] | None = None, **config: Any) -> Host:
        app = Flask("host", instance_path=str(self._folder / "instance"), root_path=str(self._folder))
        app.config.update(
            TESTING=True,
            SECRET_KEY="a key of the tests, long enough: 0123456789",
            SQLALCHEMY_DATABASE_URI=self._stack.enter_context(database_url(self.kind, self._folder)),
            OTPAUTH_BCRYPT_ROUNDS=4,
            OTPAUTH_SEND_IP_LIMITS="900 per hour",
            **{f"OTPAUTH_{name}": value for name, value in config.items()},
        )
        db = SQLAlchemy(app)
        OTPAuth(app, db=db, user_model=member(db, columns or {}), clock=self._clock)
        with app.app_context():
            self._stack.callback(db.engine.dispose)
            db.create_all()
        return Host(app, self._clock, self._stack.enter_context(capture_messages(app)))


def member(db: SQLAlchemy, columns: dict[str, Any]) -> type[Any]:
    db.Table("city", db.Column("name", String(20), primary_key=True))
    lengths = {"username": 64, "email": 254, "phone": 16}
    own: dict[str, Any] = {name: mapped_column(String(length), unique=True) for name, length in lengths.items()}
    own |= {"id": db.Column(db.Integer, primary_key=True), "password_hash": mapped_column(String(255))}
    return type("Member", (db.Model,), {"__tablename__": "member", **own, **columns})


@pytest.fixture(params=KINDS)
def models(request: pytest.FixtureRequest, tmp_path: Path, clock: Any) -> Iterator[Models]:
    with ExitStack() as stack:
        yield Models(request.param, tmp_path, clock, stack)


def told(answer: Any) -> tuple[int, str, list[Any]]:
    return answer.status_code, answer.json["code"], answer.json.get("errors", [])


# --- addresses that can't be missing ----------------------------------------------------------------------------------


def needed(length: int) -> Any:
    return mapped_column(String(length), unique=True, nullable=False)


def taken(field: str) -> list[Any]:
    return [{"field": field, "message": f"This {field} is taken."}]


@pytest.mark.parametrize("registration", ["confirm", "login-code"])
def test_a_taken_address_that_the_model_needs_is_told(models: Models, registration: str) -> None:
    more = {"FIRST_FACTOR": "otp", "REGISTER_FIELDS": ("username", "email", "phone")}
    ann = models({"email": needed(254)}, REGISTRATION=registration, CHANNELS=("sms",), **more)
    fields = {"email": EMAIL, "phone": PHONE}
    assert ann.prove(ann.post("/register", {"username": "ann", **fields})).status_code == 200
    ann.clock.advance(61)
    answer = ann.post("/register", {"username": "eve", **fields, "phone": OTHER_PHONE})
    if registration == "confirm":
        assert answer.status_code == 202
        answer = ann.prove(answer)
    assert told(answer) == (409, "identifier_taken", taken("email"))


def test_an_address_that_the_model_needs_is_not_taken_from_who_named_it(models: Models) -> None:
    fields = ("username", "password", "email", "phone?")
    ann = models({"email": needed(254)}, REGISTER_FIELDS=fields, CHANNELS=("sms", "email"))
    assert ann.prove(ann.register(username="evil", phone=OTHER_PHONE, email=EMAIL)).status_code == 200
    ann.clock.advance(61)
    owner = ann.post("/register", {"username": "ann", "password": PASSWORD, "email": EMAIL})
    assert ann.messages[-1].to == EMAIL
    assert told(ann.prove(owner)) == (409, "identifier_taken", taken("email"))


def test_a_missing_address_is_asked_for_all_the_same(models: Models) -> None:
    ann = models({"email": needed(254)}, REGISTER_FIELDS=("username", "password", "email?", "phone"))
    answer = ann.prove(ann.register())
    assert told(answer) == (400, "validation_failed", [{"field": "email", "message": "This is required."}])


# --- profile fields ---------------------------------------------------------------------------------------------------

FIELDS = ("username", "password", "phone", "nickname?", "city?")


def text(length: int = 20, *constraints: Any, **options: Any) -> Any:
    return mapped_column(String(length), *constraints, **options)


def registered(host: Host, **fields: str) -> Any:
    """Register, and prove it where a code is sent."""
    host.clock.advance(901)
    answer = host.register(**fields)
    return host.prove(answer) if answer.status_code == 202 else answer


def refused(*fields: str) -> tuple[int, str, list[Any]]:
    message = "One of these values is not accepted."
    return 400, "validation_failed", [{"field": field, "message": message} for field in fields]


@pytest.mark.parametrize("registration", ["confirm", "open"])
def test_a_taken_profile_value_is_told(models: Models, registration: str) -> None:
    columns = {"nickname": text(unique=True), "city": text()}
    ann = models(columns, REGISTRATION=registration, REGISTER_FIELDS=FIELDS, FIELD_NAMES={"nickname": "handle"})
    fields = {"handle": "annie", "city": "Haifa"}
    assert registered(ann, **fields).status_code < 300
    again = registered(ann, username="eve", phone=OTHER_PHONE, **fields)
    assert told(again) == (400, "validation_failed", [{"field": "handle", "message": "This is taken."}])
    assert registered(ann, username="eve", phone=OTHER_PHONE, handle="evie").status_code < 300


def test_a_value_that_a_constraint_refuses_is_told(models: Models, caplog: pytest.LogCaptureFixture) -> None:
    columns = {
        "nickname": text(),
        "city": text(),
        "__table_args__": (
            CheckConstraint("nickname <> 'root'", name="no_root"),
            UniqueConstraint("nickname", "city", name="one_a_city"),
        ),
    }
    ann = models(columns, REGISTER_FIELDS=FIELDS, FIELD_NAMES={"phone": "mobile"})
    fields = {"username": "ann", "password": PASSWORD, "mobile": PHONE}
    answer = ann.prove(ann.post("/register", {**fields, "nickname": "root"}))
    assert told(answer) == refused("username", "mobile", "nickname")
    assert "Member refused the values of a registration: no_root" in caplog.text
    ann.clock.advance(61)
    pair = {"nickname": "annie", "city": "Haifa"}
    assert ann.prove(ann.post("/register", {**fields, **pair})).status_code == 200
    ann.clock.advance(61)
    answer = ann.prove(ann.post("/register", {**fields, **pair, "username": "eve", "mobile": OTHER_PHONE}))
    assert told(answer) == refused("username", "mobile", "nickname", "city")
    assert "annie" not in caplog.text


def test_a_value_that_names_no_row_is_told(models: Models) -> None:
    ann = models({"city": text(20, ForeignKey("city.name"))}, REGISTER_FIELDS=(*FIELDS[:3], "city?"))
    answer = registered(ann, city="Atlantis")
    if models.kind == "sqlite":
        assert answer.status_code == 200  # it looks at foreign keys where it is told to, on each connection
    else:
        assert told(answer) == refused("username", "phone", "city")


def test_a_value_that_a_type_refuses_is_told(models: Models) -> None:
    columns = {
        "nickname": mapped_column(Enum("annie", "benny", name="nicknames")),
        "city": mapped_column(Enum("Haifa", "Yafo", name="cities", validate_strings=True)),
    }
    ann = models(columns, REGISTER_FIELDS=FIELDS)
    assert told(registered(ann, city="Jaffa")) == refused("username", "phone", "city")
    answer = registered(ann, nickname="carla")
    if models.kind == "sqlite":
        assert answer.status_code == 200  # it has no such type
    else:
        assert told(answer) == refused("username", "phone", "nickname")


def test_a_value_that_the_model_refuses_is_told(models: Models, caplog: pytest.LogCaptureFixture) -> None:
    def checked(_user: Any, _key: str, value: str) -> str:
        if value == "root":
            raise ValueError(value)
        return value

    columns = {"nickname": text(), "city": text(nullable=False), "checked": validates("nickname")(checked)}
    ann = models(columns, REGISTER_FIELDS=FIELDS)
    assert told(registered(ann, nickname="root", city="Yafo")) == refused("username", "phone", "nickname", "city")
    assert "Member refused the values of a registration: ValueError" in caplog.text
    assert "root" not in caplog.text
    required = [{"field": "city", "message": "This is required."}]
    assert told(registered(ann, nickname="annie")) == (400, "validation_failed", required)
    assert registered(ann, nickname="annie", city="Yafo").status_code == 200


# --- columns that there aren't ----------------------------------------------------------------------------------------


def test_an_address_is_adopted_where_there_are_no_passwords(models: Models) -> None:
    ann = models({"password_hash": None}, FIRST_FACTOR="otp", REGISTRATION="login-code", CHANNELS=("sms",))
    assert ann.post("/register", {"username": "squatter", "phone": PHONE}).status_code == 202
    ann.clock.advance(901)
    assert ann.prove(ann.post("/login", {"phone": PHONE})).status_code == 200
