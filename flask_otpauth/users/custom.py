"""Users of a project without SQLAlchemy users, behind its ``UserStore``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar

from ..crypto import digest
from ..types import Account, FlagStore, Identifier, Kind, NewAccount, UserState, UserStore
from .fields import FIELDS, account

T = TypeVar("T")


class Units(Protocol):
    """The unit of work that runs, if one does."""

    def undo(self, action: Callable[[], object], /) -> None:
        """Have an action run if the unit doesn't commit, before it is tried again."""
        ...


class CustomUsers:
    """
    ``types.Users`` over a ``UserStore``.

    What its objects have is asked of each object: an attribute that one lacks is off, or kept in our own tables.
    The store is no part of our database: a user that was added, or an address that was taken away, in a unit of work
    that fails is removed, or given back, afterwards.

    Args:
        fields: ``OTPAUTH_USER_FIELDS``: attribute names by canonical name; same names where it is silent.
    """

    def __init__(self, store: UserStore, fields: Mapping[str, str], flags: FlagStore, *, units: Units) -> None:
        self._store = store
        self._units = units
        self._fields = {name: fields.get(name, name) for name in FIELDS}
        self._flags = flags

    @property
    def fields(self) -> Mapping[str, str]:
        """Attribute names of all fields, by canonical name; whether an object has them is its own affair."""
        return self._fields

    def length(self, field: str, /) -> int | None:
        """Give None: what is too long for a store, it alone can tell."""
        del field
        return None

    def by_id(self, user_id: str, /) -> Account | None:
        user = self._store.by_id(user_id)
        return self._account(user if user is not None and self.id_of(user) == user_id else None)

    def by_identifier(self, identifier: Identifier, /) -> Account | None:
        user = self._store.by_identifier(identifier.kind.value, identifier.value)
        found = None if user is None else getattr(user, self._fields[identifier.kind.value], None)
        # A store may compare more loosely than we do.
        return self._account(user if found is not None and str(found) == identifier.value else None)

    def active(self, user_id: str, /) -> UserState:
        user = self._store.by_id(user_id)
        if user is None or self.id_of(user) != user_id:
            return UserState.MISSING
        return UserState.ACTIVE if getattr(user, self._fields["active"], True) else UserState.DISABLED

    def add(self, new: NewAccount, /) -> Account:
        names = ("username", "email", "phone", "password_hash")
        given = {self._fields[name]: getattr(new, name) for name in names}
        user = self._store.add({**new.extra, **{name: value for name, value in given.items() if value is not None}})
        user_id = self.id_of(user)
        self._units.undo(lambda: self._store.remove(user_id))
        self._flags.forget(user_id)
        if new.email is not None and new.email_verified:
            self._verify(user, user_id, Kind.EMAIL, new.email)
        if new.phone is not None and new.phone_verified:
            self._verify(user, user_id, Kind.PHONE, new.phone)
        if new.claimed is not None or new.registered:
            self._flags.set_flags(user_id, claimed=new.claimed, registered=new.registered)
        added = self.by_id(user_id)
        if added is None:
            raise LookupError("the user that the store has just added isn't there")
        return added

    def set_password(self, user_id: str, password_hash: str | None, /, *, was: str | None = None) -> None:
        attribute = self._fields["password_hash"]
        # Read as late as can be: a store has no update that looks first.
        user = self._store.by_id(user_id)
        if hasattr(user, attribute) and was in {None, getattr(user, attribute)}:
            self._store.update(user_id, {attribute: password_hash})

    def set_verified(self, user_id: str, kind: Kind, value: str, /) -> None:
        user = self._store.by_id(user_id)
        if user is not None and getattr(user, self._fields[kind.value], None) == value:
            self._verify(user, user_id, kind, value)

    def clear_address(self, user_id: str, kind: Kind, /, *, claim: str | None = None) -> None:
        attribute = self._fields[kind.value]
        before = getattr(self._store.by_id(user_id), attribute, None)
        self._store.update(user_id, {attribute: None})
        self._units.undo(lambda: self._store.update(user_id, {attribute: before}))
        self._flags.set_flags(user_id, claimed=claim or "")

    def clear_profile(self, user_id: str, fields: Collection[str], /) -> None:
        self._store.update(user_id, dict.fromkeys(fields))

    def set_mfa(self, user_id: str, enabled: bool, /) -> None:
        user, attribute = self._store.by_id(user_id), self._fields["mfa_enabled"]
        if user is not None and hasattr(user, attribute):
            self._store.update(user_id, {attribute: enabled})
        elif user is not None:
            self._flags.set_flags(user_id, mfa_enabled=enabled)

    def remove(self, user_id: str, /) -> None:
        self._store.remove(user_id)
        self._flags.forget(user_id)

    def id_of(self, user: object, /) -> str:
        """
        Give the string of the object's ``id``.

        Raises:
            TypeError: It has none.
        """
        value = getattr(user, "id", None)
        if value is None:
            raise TypeError(f"{type(user).__name__} has no id")
        return str(value)

    def load(self, user_id: str, /) -> object | None:
        return self._store.by_id(user_id)

    def seen(self, user_id: str, look: Callable[[Any], T], /) -> T:
        user = self._store.by_id(user_id)
        if user is None:
            raise LookupError("there is no such user")
        return look(user)

    def _account(self, user: object | None) -> Account | None:
        if user is None:
            # Read for nobody too, so that the time doesn't tell an unknown user (G4).
            self._flags.flags("")
            return None
        values = {name: getattr(user, at) for name, at in self._fields.items() if hasattr(user, at)}
        user_id = self.id_of(user)
        return account(user_id, values, self._flags.flags(user_id))

    def _verify(self, user: object, user_id: str, kind: Kind, value: str) -> None:
        attribute = self._fields[f"{kind.value}_verified"]
        if hasattr(user, attribute):
            self._store.update(user_id, {attribute: True})
        elif kind is Kind.EMAIL:
            self._flags.set_flags(user_id, email=digest(value))
        else:
            self._flags.set_flags(user_id, phone=digest(value))
