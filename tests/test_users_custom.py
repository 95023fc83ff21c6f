"""Users behind a store of the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from flask_otpauth.errors import IdentifierTaken
from flask_otpauth.types import Flags, Identifier, Kind, NewAccount, Users, UserState, UserStore
from flask_otpauth.users import CustomUsers
from flask_otpauth.users.fields import unknown_fields

NAMES = {"username": "login", "email": "mail", "phone": "mobile", "password_hash": "secret"}
ANN = NewAccount(username="ann", email="ann@example.org", phone="+972508464336", password_hash="hash")


class Store:
    """A host's store: objects in a list, found without regard to case."""

    def __init__(self, **defaults: Any) -> None:
        self.rows: list[SimpleNamespace] = []
        self.defaults = defaults

    def by_id(self, user_id: str, /) -> object | None:
        return next((row for row in self.rows if str(row.id) == user_id.strip()), None)

    def by_identifier(self, kind: str, value: str, /) -> object | None:
        return next((row for row in self.rows if str(getattr(row, NAMES[kind])).lower() == value.lower()), None)

    def add(self, fields: Mapping[str, object], /) -> object:
        for kind, name in NAMES.items():
            if kind != "password_hash" and any(
                name in fields and getattr(row, name) == fields[name] for row in self.rows
            ):
                raise IdentifierTaken(kind)
        empty = dict.fromkeys(NAMES.values())
        self.rows.append(SimpleNamespace(**{**empty, **self.defaults, **fields}, id=len(self.rows) + 1))
        return self.rows[-1]

    def update(self, user_id: str, changes: Mapping[str, object], /) -> None:
        row = self.by_id(user_id)
        assert row is not None
        for name, value in changes.items():
            assert hasattr(row, name)
            setattr(row, name, value)

    def remove(self, user_id: str, /) -> None:
        self.rows = [row for row in self.rows if str(row.id) != user_id]


class Kept:
    """Flags in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Flags] = {}

    def flags(self, user_id: str, /) -> Flags:
        return self.rows.get(user_id, Flags())

    def set_flags(
        self,
        user_id: str,
        /,
        *,
        mfa_enabled: bool | None = None,
        email: bytes | None = None,
        phone: bytes | None = None,
        claimed: str | None = None,
        registered: bool | None = None,
    ) -> None:
        old = self.flags(user_id)
        self.rows[user_id] = Flags(
            mfa_enabled=old.mfa_enabled if mfa_enabled is None else mfa_enabled,
            email=email or old.email,
            phone=phone or old.phone,
            claimed=(old.claimed if claimed is None else claimed) or None,
            registered=old.registered if registered is None else registered,
        )

    def forget(self, user_id: str, /) -> None:
        self.rows.pop(user_id, None)


class Units:
    """No unit of work runs."""

    def undo(self, action: Callable[[], object], /) -> None:
        del action


OWN = {"role": "user", "active": True, "mfa_enabled": False, "email_verified": False, "phone_verified": False}


@pytest.fixture(params=[{}, OWN], ids=["bare objects", "objects with flags"])
def store(request: pytest.FixtureRequest) -> Store:
    return Store(**request.param)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def users(store: Store, kept: Kept) -> CustomUsers:
    return CustomUsers(store, NAMES, kept, units=Units())


def test_ports_are_met(users: CustomUsers, store: Store) -> None:
    port: Users = users
    assert port is users
    assert isinstance(store, UserStore)


def test_added_user_is_found(users: CustomUsers) -> None:
    ann = users.add(ANN)
    assert (ann.id, ann.username, ann.email, ann.phone, ann.password_hash) == ("1", "ann", ANN.email, ANN.phone, "hash")
    assert users.by_id("1") == ann
    for kind, value in ((Kind.USERNAME, "ann"), (Kind.EMAIL, "ann@example.org"), (Kind.PHONE, "+972508464336")):
        assert users.by_identifier(Identifier(kind=kind, value=value)) == ann
    assert users.active("1") is UserState.ACTIVE
    assert users.id_of(users.load("1") or "") == "1"


def test_unknown_user_is_none(users: CustomUsers) -> None:
    users.add(ANN)
    for user_id in ("2", "", " 1"):
        assert users.by_id(user_id) is None
        assert users.active(user_id) is UserState.MISSING
    users.set_mfa("2", True)
    users.set_verified("2", Kind.EMAIL, "ann@example.org")
    assert users.by_identifier(Identifier(kind=Kind.USERNAME, value="bob")) is None


def test_object_is_seen_as_it_is_now(users: CustomUsers) -> None:
    users.add(ANN)
    assert users.seen("1", users.id_of) == "1"
    with pytest.raises(LookupError):
        users.seen("2", lambda user: user)


def test_store_that_compares_loosely_gives_nobody_anothers_account(users: CustomUsers) -> None:
    users.add(ANN)
    assert users.by_identifier(Identifier(kind=Kind.USERNAME, value="ANN")) is None


def test_taken_identifier_is_the_stores_to_tell(users: CustomUsers) -> None:
    users.add(ANN)
    with pytest.raises(IdentifierTaken) as taken:
        users.add(NewAccount(email="ann@example.org"))
    assert taken.value.field == "email"


def test_only_what_is_given_is_stored(store: Store, users: CustomUsers) -> None:
    users.add(NewAccount(username="ann", extra={"city": "Haifa", "login": "root"}))
    assert store.rows[0].city == "Haifa"
    assert store.rows[0].login == "ann"
    assert store.rows[0].mail is None


def test_flags_lie_where_the_objects_have_room_for_them(users: CustomUsers, store: Store, kept: Kept) -> None:
    bob = users.add(
        NewAccount(email="bob@example.org", phone="+972501234567", email_verified=True, phone_verified=True)
    )
    ann = users.add(ANN)
    assert (bob.email_verified, bob.phone_verified, ann.email_verified, ann.phone_verified) == (
        True,
        True,
        False,
        False,
    )
    users.set_mfa(ann.id, True)
    users.set_verified(ann.id, Kind.PHONE, "+972508464336")
    users.set_verified(ann.id, Kind.EMAIL, "other@example.org")
    found = users.by_id(ann.id)
    assert found is not None
    assert (found.mfa_enabled, found.phone_verified, found.email_verified) == (True, True, False)
    assert (kept.rows == {}) is bool(store.defaults)


def test_password_is_set_and_taken_away(users: CustomUsers) -> None:
    ann = users.add(ANN)
    users.set_password(ann.id, "new")
    assert (users.by_id(ann.id) or ann).password_hash == "new"
    users.set_password(ann.id, None)
    assert (users.by_id(ann.id) or ann).password_hash is None


def test_password_is_set_while_the_one_that_was_read_is_there(users: CustomUsers) -> None:
    ann = users.add(ANN)
    users.set_password(ann.id, "rehashed", was="another")
    assert users.by_id(ann.id) == ann
    users.set_password(ann.id, "rehashed", was="hash")
    assert (users.by_id(ann.id) or ann).password_hash == "rehashed"
    users.set_password("2", "rehashed", was="hash")


def test_password_of_objects_that_have_none_is_left_alone(store: Store, kept: Kept) -> None:
    users = CustomUsers(store, {**NAMES, "password_hash": "no such"}, kept, units=Units())
    ann = users.add(NewAccount(username="ann"))
    users.set_password(ann.id, None)
    assert users.by_id(ann.id) == ann


def test_removed_user_is_gone_with_his_flags(users: CustomUsers, kept: Kept) -> None:
    ann = users.add(NewAccount(email="ann@example.org", email_verified=True))
    users.remove(ann.id)
    assert users.by_id(ann.id) is None
    assert kept.rows == {}


def test_disabled_user(kept: Kept) -> None:
    users = CustomUsers(Store(active=None), NAMES, kept, units=Units())
    ann = users.add(ANN)
    assert not ann.active
    assert users.active(ann.id) is UserState.DISABLED


@pytest.mark.parametrize(
    ("role", "roles"),
    [
        ("admin", {"admin"}),
        ("admin, teller", {"admin", "teller"}),
        ("", set[str]()),
        (None, set[str]()),
        (["a", "b"], {"a", "b"}),
        ((SimpleNamespace(name="a"), "b"), {"a", "b"}),
        (Kind.EMAIL, {"email"}),
        (UserState.ACTIVE, {"active"}),
        (SimpleNamespace(name="a"), {"a"}),
        (7, {"7"}),
    ],
)
def test_roles_of_every_form(kept: Kept, role: object, roles: set[str]) -> None:
    assert CustomUsers(Store(roles=role), NAMES, kept, units=Units()).add(ANN).roles == roles


def test_object_without_an_id_is_a_type_error(users: CustomUsers) -> None:
    with pytest.raises(TypeError, match="no id"):
        users.id_of(object())


def test_unknown_field_is_a_fault(store: Store, kept: Kept) -> None:
    (fault,) = unknown_fields({"mail": "email"})
    assert "did you mean 'email'?" in fault
    assert unknown_fields(NAMES) == []
    assert dict(CustomUsers(store, NAMES, kept, units=Units()).fields)["username"] == "login"
