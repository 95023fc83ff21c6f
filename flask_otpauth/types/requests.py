"""What the transport tells the flows, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from .challenges import Purpose
from .identity import Account
from .sessions import Credentials, Session
from .time import Instant

T = TypeVar("T")


class UnitOfWork(Protocol):
    """
    Runs a function whose store calls commit together or not at all.

    The function may be run again after a conflict between transactions, so it has no other effects.
    """

    def __call__(self, work: Callable[[], T], /) -> T: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """
    Who asks, as far as the transport knows.

    Attributes:
        address: Client address as the app sees it; None for a program.
        network: What budgets of that address are counted on; see ``limits.client_network``.
        client: Value of the ``otpauth_client`` cookie.
        pending: Secret id of the challenge that this browser's session cookie holds.
        session: The finished login that the request presents.
        extra: What was sent of ``OTPAUTH_EXTRA_FIELDS``.
        kinds: Credentials that a login of his is given ("jwt", "session"); None for those that the settings name.
    """

    address: str | None = None
    network: str | None = None
    user_agent: str = ""
    client: str | None = field(default=None, repr=False)
    pending: str | None = field(default=None, repr=False)
    session: Session | None = None
    locale: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    kinds: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """
    A challenge as its caller may see it.

    Attributes:
        challenge_id: The secret id, 43 characters.
        destination: Masked; None where the caller may not know it.
        methods: What can answer it: channels, later "totp" and "backup_code".
        now: The instant that ``expires_in`` and ``resend_in`` count from.
        mfa_required: Whether it follows a right password.
    """

    challenge_id: str = field(repr=False)
    purpose: Purpose
    channel: str | None
    destination: str | None
    methods: tuple[str, ...]
    expires_at: Instant
    resend_at: Instant
    attempts_left: int
    now: Instant
    mfa_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """
    A finished login, refresh or step-up.

    Attributes:
        client: New value for the ``otpauth_client`` cookie; None to leave it.
    """

    credentials: Credentials
    account: Account
    purpose: Purpose | None = None
    client: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """An account exists now, and nobody is logged in."""

    account: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """
    A way in which a user may get a code after his password.

    Attributes:
        method: The channel.
        destination: Masked.
        verified: Whether a code has proved the address; only then it serves a step-up.
    """

    method: str
    destination: str
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """Whether a code is due after the user's password, and what can get one, best first."""

    mfa_enabled: bool
    factors: tuple[Factor, ...]


@dataclass(slots=True, kw_only=True)
class Answer:
    """
    A JSON answer on its way out, as response shapers see it; field names are the wire's already.

    Not frozen, as other values are: a shaper may set its attributes, or give another one (``dataclasses.replace``).

    Attributes:
        endpoint: Name of the endpoint ("login", "verify_otp", ...); of a protected view that refuses, Flask's own.
        body: The JSON object; None for an answer without a body.
        lifetime: How long lives what a success hands out, in words: "5 minutes".
        tokens: What the body has of the fields ``access_token``, ``refresh_token`` and ``token_type``.
    """

    endpoint: str
    status: int
    body: dict[str, object] | None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    lifetime: str | None = None
    tokens: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    load_user: Callable[[], Any] = field(default=lambda: None, repr=False, compare=False)

    @property
    def user(self) -> Any:
        """The host's own object of the user whom a success names; None where it names none. Loaded when asked for."""
        return self.load_user()

    def of_user(self, *names: str) -> dict[str, object]:
        """Give attributes of ``user`` by their names."""
        user = self.user
        return {name: getattr(user, name) for name in names}
