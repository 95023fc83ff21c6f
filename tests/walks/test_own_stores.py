"""Users in a store of the host, which our transactions don't reach."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import DBAPIError

from flask_otpauth import IdentifierTaken, OTPAuth
from flask_otpauth.testing import capture_messages
from tests.walks.conftest import PASSWORD, Host

OTHER_PHONE, EMAIL = "+972508464337", "ann@example.org"
CONFLICT = DBAPIError("", None, sqlite3.OperationalError(1213))


class Person:
    """A user, who has what he was given."""

    def __init__(self, **fields: Any) -> None:
        self.username = self.email = self.phone = self.password_hash = None
        self.__dict__.update(fields)


class People:
    """A store that fails at the first look at a user who was just added."""

    def __init__(self) -> None:
        self.rows: list[Person] = []
        self.faults: list[Exception] = []
        self._added: str | None = None

    def by_id(self, user_id: str, /) -> object | None:
        if user_id == self._added and self.faults:
            raise self.faults.pop()
        return next((one for one in self.rows if one.id == user_id), None)

    def by_identifier(self, kind: str, value: str, /) -> object | None:
        return next((one for one in self.rows if getattr(one, kind) == value), None)

    def add(self, fields: Mapping[str, object], /) -> object:
        for kind in ("username", "email", "phone"):
            if fields.get(kind) is not None and self.by_identifier(kind, str(fields[kind])):
                raise IdentifierTaken(kind)
        self._added = str(len(self.rows))
        self.rows.append(Person(id=self._added, **fields))
        return self.rows[-1]

    def update(self, user_id: str, changes: Mapping[str, object], /) -> None:
        for one in self.rows:
            if one.id == user_id:
                one.__dict__.update(changes)

    def remove(self, user_id: str, /) -> None:
        self.rows = [one for one in self.rows if one.id != user_id]


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
def ann(make_app: Callable[..., Flask], clock: Any, people: People) -> Iterator[Host]:
    app = make_app()
    OTPAuth(app, clock=clock, users=people)
    with capture_messages(app) as messages:
        yield Host(app, clock, messages)


def names(people: People) -> list[tuple[str, str]]:
    return [(one.username, one.email) for one in people.rows]


def test_a_registration_that_is_run_again_makes_one_user(ann: Host, people: People) -> None:
    asked = ann.register()
    people.faults = [CONFLICT]
    tokens = ann.prove(asked)
    assert tokens.status_code == 200
    assert names(people) == [("ann", None)]
    assert ann.get("/auth/me", tokens.json["access_token"]).json["user"]["username"] == "ann"


def test_a_registration_that_fails_leaves_no_user(ann: Host, people: People) -> None:
    asked = ann.register()
    people.faults = [LookupError("the store is ill")]
    with pytest.raises(LookupError):
        ann.prove(asked)
    assert people.rows == []
    assert ann.prove(asked).status_code == 200


@pytest.mark.parametrize("fault", [CONFLICT, None], ids=["run again", "failed"])
def test_an_address_that_gives_way_is_taken_once_and_not_for_nothing(
    ann: Host, people: People, fault: Exception | None
) -> None:
    evil = ann.prove(ann.register(username="evil", phone=OTHER_PHONE, email=EMAIL)).json["access_token"]
    ann.clock.advance(61)
    asked = ann.post("/register", {"username": "ann", "password": PASSWORD, "email": EMAIL})
    people.faults = [fault or LookupError("the store is ill")]
    if fault is None:
        with pytest.raises(LookupError):
            ann.prove(asked)
        assert names(people) == [("evil", EMAIL)]
        return
    assert ann.prove(asked).status_code == 200
    assert names(people) == [("evil", None), ("ann", EMAIL)]
    # He isn't told that the owner has come.
    assert ann.get("/auth/me", evil).json["user"]["email"] == EMAIL
