"""What the use cases of one app are built from."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

from ..challenges import Challenges
from ..config import Settings
from ..crypto import Keyring, digest
from ..errors import FieldError, InsufficientAuthentication, OTPAuthError, ServiceUnavailable, ValidationFailed
from ..guard import Guard, owned
from ..sessions import Sessions
from ..types import (
    Account,
    AddressLimits,
    Caller,
    ClientStore,
    Clock,
    Courier,
    Event,
    Instant,
    Kind,
    NewAccount,
    Session,
    UnitOfWork,
    Users,
    instant,
)
from ..users.identifiers import Identifiers, mask
from ..users.passwords import Passwords
from .events import Recorder
from .hooks import Hooks

logger: logging.Logger = logging.getLogger("flask_otpauth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A way to bring a code to a user: a channel and the stored address."""

    channel: str
    kind: Kind
    value: str

    @property
    def key(self) -> str:
        return f"{self.kind.value}:{self.value}"

    @property
    def masked(self) -> str:
        return mask(self.kind, self.value)


def carries(channel: str) -> Kind:
    """Tell what kind of address a channel goes to: e-mail, or else a phone number."""
    return Kind.EMAIL if channel == "email" else Kind.PHONE


def yields(holder: Account, kind: Kind) -> bool:
    """
    Tell whether an address gives way to somebody who proves it: its holder never did, and has another that he proved.

    So nobody can keep an address by naming it beside his own. An account that proved nothing keeps what it has: it may
    be one that the host made.
    """
    if kind is Kind.EMAIL:
        return holder.phone_verified and not holder.email_verified
    return holder.email_verified and not holder.phone_verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Ports and core of one app, as ``extension`` joined them."""

    settings: Settings
    clock: Clock
    users: Users
    identifiers: Identifiers
    passwords: Passwords
    courier: Courier
    limits: AddressLimits
    sessions: Sessions
    challenges: Challenges
    guard: Guard
    clients: ClientStore
    keyring: Keyring
    recorder: Recorder
    hooks: Hooks
    unit: UnitOfWork

    def now(self) -> Instant:
        return instant(self.clock())

    def add_user(self, new: NewAccount) -> Account:
        """
        Store a new user, and end what is left of an earlier one with the same key; joins the unit of work.

        SQLite gives the highest key out again once its row is deleted: the logins of a user whom the host deleted
        must not open the account of the next one.
        """
        account = self.users.add(new)
        self.sessions.end_all(account.id)
        self.clients.forget_all(account.id)
        self.challenges.void(owned(account.id), self.now())
        return account

    def knows(self, caller: Caller, user_id: str | None, now: Instant) -> bool:
        """Tell whether the caller finished a login of this user before: by a live session, or by our client cookie."""
        if user_id is not None and caller.session is not None and caller.session.user_id == user_id:
            return True
        # Looked up for nobody too: a cookie of the stranger's own must not make an account cost a statement more (G4).
        return caller.client is not None and self.clients.known(digest(caller.client), user_id or "", now)

    def forget_clients(self, user_id: str, caller: Caller) -> None:
        """Let nobody but the caller be a known client of the user any more; joins the unit of work."""
        self.clients.forget_all(user_id, but=None if caller.client is None else digest(caller.client))

    def routes(self, account: Account, *, verified: bool) -> list[Route]:
        """
        Give the ways to send the user a code, best first: an address that a code has proved before one that none has.

        ``verified`` leaves out the latter. Numbers that nobody may register are no way, whoever stored them.
        """
        found: list[Route] = []
        unproved: list[Route] = []
        for channel in self.courier.channels:
            kind = carries(channel)
            value, proved = (
                (account.email, account.email_verified)
                if kind is Kind.EMAIL
                else (account.phone, account.phone_verified)
            )
            if value and (kind is Kind.EMAIL or self.identifiers.reachable(value)):
                (found if proved else unproved).append(Route(channel=channel, kind=kind, value=value))
        return found if verified else found + sorted(unproved, key=lambda route: route.kind in account.claims)

    @staticmethod
    def is_claimed(account: Account | None, route: Route | None) -> bool:
        """Tell whether an address that the user is shown as his is somebody else's, to whom nothing of his is sent."""
        if account is None or route is None or route.kind not in account.claims:
            return False
        return route.value == (account.email if route.kind is Kind.EMAIL else account.phone)

    def check_channel(self, channel: str | None, known: Collection[str]) -> None:
        """
        Make sure that a wish for a channel, if there is one, names one that is known.

        Raises:
            ValidationFailed: It doesn't.
        """
        if channel is not None and channel not in known:
            field = self.settings.wire("channel")
            raise ValidationFailed([FieldError(field=field, message="This channel can't be used here.")])

    def vouches(self, account: Account, route: Route) -> bool:
        """
        Tell whether an account's address is as good as its user's own: a code has proved it, or no address at all.

        Beside a proved one anybody may have named somebody else's: it is written to as if a stranger asked.
        """
        proved = self.routes(account, verified=True)
        return not proved or any(one.key == route.key for one in proved)

    def needs_second_factor(self, account: Account) -> bool:
        """
        Apply ``OTPAUTH_SECOND_FACTOR``.

        Raises:
            ServiceUnavailable: The host's function failed, or gave None: what doesn't decide lets nobody in.
        """
        policy = self.settings.second_factor
        if callable(policy):
            user = self.users.load(account.id)
            try:
                needed = cast("object", policy(user))
                if needed is not None:
                    return bool(needed)
                cause = "it gave None"
            except OTPAuthError:
                raise
            except Exception as error:  # noqa: BLE001 - a function of the host may raise anything
                cause = type(error).__name__
            logger.error("OTPAUTH_SECOND_FACTOR failed: %s", cause)
            raise ServiceUnavailable
        return policy == "always" or (policy == "opt-in" and account.mfa_enabled)

    def require_fresh(self, session: Session, now: Instant, *, code: bool) -> None:
        """
        Demand that the session proved a code, or any factor, within ``OTPAUTH_FRESH_LIFETIME``.

        Raises:
            InsufficientAuthentication: It didn't, or it is a refreshed token, which is never fresh.
        """
        lifetime = self.settings.fresh_lifetime
        proved_at = session.code_at if code else session.auth_time
        if proved_at is None or not session.fresh or now - instant(proved_at) > lifetime * 1000:
            detail = "A fresh one-time code is needed." if code else "A fresh proof is needed."
            raise InsufficientAuthentication(detail, max_age=lifetime)

    def event(self, name: str, now: Instant, caller: Caller, user_id: str | None = None, **details: object) -> Event:
        """Make an event of a request; ``channel`` and ``purpose`` go to their own attributes."""
        channel, purpose = details.pop("channel", None), details.pop("purpose", None)
        return Event(
            name=name,
            at=now,
            user_id=user_id,
            channel=None if channel is None else str(channel),
            purpose=None if purpose is None else str(purpose),
            address=caller.address,
            details=details,
        )
