"""Who a user is, and the ports to where users live."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Protocol, TypeVar, runtime_checkable

from .time import Instant

T = TypeVar("T")


class Kind(StrEnum):
    """Kinds of identifiers."""

    USERNAME = "username"
    EMAIL = "email"
    PHONE = "phone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """
    By what a user names himself, in its one canonical form.

    ``value`` is E.164 for a phone, lower-cased IDNA and NFC for an e-mail, NFC and case-folded for a username.
    """

    kind: Kind
    value: str

    @property
    def key(self) -> str:
        return f"{self.kind.value}:{self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    A user as the core sees him: a snapshot, whatever model or store he lives in.

    Attributes:
        id: String of the primary key.
        phone: E.164.
        password_hash: As stored; None where the user or the model has none.
        email_verified: Whether a code proved the address that ``email`` holds now; ``phone_verified`` alike.
        claims: Kinds of those addresses that the user only named beside his own, while another account had them. He is
            shown them as his, so that he can't tell; nothing is sent there, and they name somebody else.
        registered: Whether a registration made the account before anything was proved.
    """

    id: str
    username: str | None = None
    email: str | None = None
    phone: str | None = None
    password_hash: str | None = field(default=None, repr=False)
    roles: frozenset[str] = frozenset()
    active: bool = True
    mfa_enabled: bool = False
    email_verified: bool = False
    phone_verified: bool = False
    claims: frozenset[Kind] = frozenset()
    registered: bool = False

    @property
    def identifiers(self) -> tuple[Identifier, ...]:
        """All that names this user and nobody else."""
        values = {Kind.USERNAME: self.username, Kind.EMAIL: self.email, Kind.PHONE: self.phone}
        return tuple(
            Identifier(kind=kind, value=value)
            for kind, value in values.items()
            if value is not None and kind not in self.claims
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """
    What a registration adds; identifiers are canonical.

    Attributes:
        claimed, registered: See ``Flags``.
        extra: Profile fields of the host's model, by attribute name.
    """

    username: str | None = None
    email: str | None = None
    phone: str | None = None
    password_hash: str | None = field(default=None, repr=False)
    email_verified: bool = False
    phone_verified: bool = False
    claimed: str | None = None
    registered: bool = False
    extra: Mapping[str, object] = field(default_factory=dict[str, object])


class UserState(Enum):
    """What the read of a session found out about its user."""

    ACTIVE = "active"
    DISABLED = "disabled"
    MISSING = "missing"
    UNREAD = "unread"
    """The users live elsewhere: ask ``Users.active``."""


@runtime_checkable
class UserStore(Protocol):
    """
    For a project without SQLAlchemy users: what ``OTPAuth(users=...)`` takes.

    Users are objects of any class with the attributes that ``OTPAUTH_USER_FIELDS`` names, and ``id``.
    ``fields`` and ``changes`` are keyed by those attribute names; identifiers in them are canonical.
    """

    def by_id(self, user_id: str, /) -> object | None: ...

    def by_identifier(self, kind: str, value: str, /) -> object | None:
        """Find by "username", "email" or "phone" and canonical value."""
        ...

    def add(self, fields: Mapping[str, object], /) -> object:
        """
        Store a new user.

        Raises:
            IdentifierTaken: A unique identifier is taken; exactly one of several callers at once wins.
        """
        ...

    def update(self, user_id: str, changes: Mapping[str, object], /) -> None: ...

    def remove(self, user_id: str, /) -> None:
        """Remove a user; also one who was added a moment ago, when the registration failed in our own database."""
        ...


ClaimsLoader = Callable[[Any], Mapping[str, Any]]
"""Gives further claims for the access tokens of a user (the host's own object)."""

PasswordValidator = Callable[[str], str | bool | None]
"""Says in a sentence why a password can't be chosen, or raises it as ``ValueError``; None or True for one that can."""


class Users(Protocol):
    """The users, as flows see them, over the app's model or its ``UserStore``."""

    def by_id(self, user_id: str, /) -> Account | None: ...

    def by_identifier(self, identifier: Identifier, /) -> Account | None: ...

    def active(self, user_id: str, /) -> UserState:
        """Whether the user exists and is active, read now."""
        ...

    def length(self, field: str, /) -> int | None:
        """Give how many characters can be stored of a field, or of a profile attribute; None for any number."""
        ...

    def add(self, new: NewAccount, /) -> Account:
        """
        Store a new user; joins a ``UnitOfWork`` where the users live in the same database, and is undone after one
        that fails where they live elsewhere.

        Raises:
            IdentifierTaken: Exactly one of several callers at once wins.
        """
        ...

    def set_password(self, user_id: str, password_hash: str | None, /, *, was: str | None = None) -> None:
        """Store a hash, or none; with ``was`` only while that hash is stored, so that no change meanwhile is undone."""
        ...

    def set_verified(self, user_id: str, kind: Kind, value: str, /) -> None:
        """Note that a code proved this address, if the user still has it."""
        ...

    def clear_address(self, user_id: str, kind: Kind, /, *, claim: str | None = None) -> None:
        """Take an address away, where the model lets it be missing; ``claim`` is what the user goes on to name."""
        ...

    def clear_profile(self, user_id: str, fields: Collection[str], /) -> None:
        """Take profile fields away, those that the model lets be missing."""
        ...

    def set_mfa(self, user_id: str, enabled: bool, /) -> None: ...

    def remove(self, user_id: str, /) -> None: ...

    def id_of(self, user: object, /) -> str:
        """Give the string of the primary key of the host's own object."""
        ...

    def load(self, user_id: str, /) -> object | None:
        """Give the host's own object, attached to the host's own session."""
        ...

    def seen(self, user_id: str, look: Callable[[Any], T], /) -> T:
        """
        Give what a function makes of the host's own object as the running unit of work sees it.

        Raises:
            LookupError: There is no such user.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """
    What our tables keep of a user whose model doesn't.

    ``email`` and ``phone`` are the SHA-256 of the proved address, so that a changed one is not verified. ``claimed`` is
    an address (canonical) that the user named beside his own while another account had it: he is shown it, so that he
    can't tell, and it finds nobody. ``registered`` says that a registration made the account before anything was
    proved, so that a stranger may have set what it holds: a user whom the host made has no such flag.
    """

    mfa_enabled: bool = False
    email: bytes | None = None
    phone: bytes | None = None
    claimed: str | None = None
    registered: bool = False


class FlagStore(Protocol):
    """Keeps ``Flags`` by user id; a user without a row has the defaults."""

    def flags(self, user_id: str, /) -> Flags: ...

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
        """Set those that are not None; an empty ``claimed`` takes it away."""
        ...

    def forget(self, user_id: str, /) -> None: ...


class ClientStore(Protocol):
    """Known clients: browsers and programs that finished a login of the user before."""

    def known(self, client: bytes, user_id: str, now: Instant) -> bool:
        """Tell whether that cookie (SHA-256, 32 bytes) was given out at a login of this user."""
        ...

    def several(self, user_id: str, now: Instant) -> bool:
        """Tell whether the user has more than one known client."""
        ...

    def remember(self, client: bytes, user_id: str, now: Instant, expires_at: Instant) -> None: ...

    def forget_all(self, user_id: str, *, but: bytes | None = None) -> None:
        """Forget all clients of the user, but for one."""
        ...

    def purge(self, before: Instant, limit: int) -> int: ...
