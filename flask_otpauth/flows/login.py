"""Logging in: by a password and a code, by a code alone, or after a login that the host began itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from ..crypto import new_id
from ..errors import (
    DeliveryFailed,
    FieldError,
    InsufficientAuthentication,
    InvalidCredentials,
    NoMethod,
    OTPAuthError,
    ServiceUnavailable,
    ValidationFailed,
)
from ..guard import claimed, nobody, owned
from ..types import Account, Caller, Charge, Identifier, Issued, Kind, LoggedIn, Purpose, Registered
from ..users.identifiers import mask
from ..users.passwords import Verdict
from .codes import Codes
from .completion import Completion
from .parts import Parts, Route, carries
from .sending import DOUBLE_TAP, Ask, Sending, Shown


class Login:
    """The ways into a session."""

    def __init__(self, parts: Parts, sending: Sending, completion: Completion, codes: Codes) -> None:
        self._parts = parts
        self._sending = sending
        self._completion = completion
        self._codes = codes

    def start(self, identifier: str, kind: Kind | None, password: str | None, caller: Caller) -> Issued | LoggedIn:
        """
        Begin a login with a password or, where a code alone opens it, ask for that code.

        Raises:
            InvalidCredentials: Unknown user, wrong password or disabled account.
            NoMethod: The password is right, and no code can reach the user.
            RateLimited, DeliveryFailed, ValidationFailed: As they say.
        """
        self._parts.limits.hit("login", caller.address)
        typed = self.identify(identifier, kind)
        if self._parts.settings.passwordless:
            return self._ask(typed, caller)
        account, charges = self._by_password(typed, password or "", caller)
        return self._proceed(account, ("pwd",), caller, charges)

    def with_code(self, identifier: str, kind: Kind | None, otp: str, caller: Caller) -> LoggedIn | Registered:
        """Answer the live challenge of an identifier, first the browser's own; see ``Codes.verify_held``."""
        typed = self.identify(identifier, kind)
        if caller.pending is not None:
            return self._codes.verify_held(caller.pending, typed, otp, caller)
        return self._codes.verify_for(typed, otp, caller)

    def resend(self, identifier: str, kind: Kind | None, caller: Caller, *, channel: str | None = None) -> Issued:
        """
        Ask for another code by identifier.

        Without its secret id, or the browser that holds it, a challenge that followed a password is never renewed,
        since the code would then be the only factor: whoever names another user than his browser's, or has nothing
        pending, gets the answer of an unknown identifier, and what the browser holds stays as it is.

        Raises:
            RateLimited, ValidationFailed, DeliveryFailed: As ``Codes.resend``.
        """
        typed = self.identify(identifier, kind)
        if caller.pending is not None:
            renewed = self._codes.resend_held(caller.pending, typed, channel, caller)
            if renewed is not None:
                return renewed
        waiting = self._codes.confirmation(typed)
        if waiting is not None:
            # Its secret id can't be told again; who names it by identifier doesn't need it.
            return self._codes.renew(waiting, caller.pending or new_id(), None, caller)
        if self._parts.settings.passwordless:
            return self._ask(typed, caller)
        issued = self._sending.issue(self._decoy(typed, Purpose.LOGIN), replace(caller, pending=None))
        return replace(issued, challenge_id=caller.pending or issued.challenge_id)

    def finish_host_login(self, user: object, amr: tuple[str, ...], caller: Caller) -> Issued | LoggedIn:
        """
        Go on after a first factor that the host checked itself.

        Raises:
            InvalidCredentials: The account is disabled or gone.
            NoMethod, RateLimited, DeliveryFailed: As ``start``.
        """
        account = self._parts.users.by_id(self._parts.users.id_of(user))
        if account is None or not account.active:
            raise InvalidCredentials
        return self._proceed(account, amr, caller, [])

    def identify(self, text: str, kind: Kind | None) -> Identifier:
        """
        Read an identifier into its canonical form.

        Raises:
            ValidationFailed: It can't be one.
        """
        read = self._parts.identifiers
        try:
            return read.parse(text) if kind is None else read.read(kind, text)
        except ValueError as error:
            field = self._parts.settings.wire("identifier" if kind is None else kind.value)
            raise ValidationFailed([FieldError(field=field, message=str(error))]) from None

    def _by_password(self, typed: Identifier, password: str, caller: Caller) -> tuple[Account, list[Charge]]:
        """Find whose password it is; what was charged for it is given back with what comes next, in one commit."""
        parts, now = self._parts, self._parts.now()
        account = self._find(typed)
        known = parts.knows(caller, account.id if account else None, now)
        # An unknown identifier does the same work, on a row of its own.
        whom = owned(account.id) if account else claimed(typed)
        charges, within = parts.guard.charge_password(typed, caller.network, whom, now, known=known)
        stored = account.password_hash if account is not None else None
        verdict = parts.passwords.verify(stored, password)
        if account is None or verdict is Verdict.WRONG or not within or not account.active:
            parts.recorder.happened(parts.event("login_failed", now, caller, account.id if account else None))
            raise InvalidCredentials
        if verdict is Verdict.STALE:
            rehashed = parts.passwords.hash(password)
            parts.unit(lambda: parts.users.set_password(account.id, rehashed, was=stored))
        return account, charges

    def _find(self, typed: Identifier) -> Account | None:
        if not self._parts.identifiers.allowed(typed):
            return None
        return self._parts.users.by_identifier(typed)

    def _proceed(
        self, account: Account, amr: tuple[str, ...], caller: Caller, charges: list[Charge]
    ) -> Issued | LoggedIn:
        try:
            if not self._parts.needs_second_factor(account):
                with suppress(InsufficientAuthentication):  # he has switched it on since
                    return self._completion.login(account, amr, caller, charges)
            return self._sending.issue(self._second_factor(account, amr), caller, charges)
        except OTPAuthError as error:
            # The password was right all the same.
            self._parts.unit(lambda: self._parts.guard.refund(*charges))
            if not isinstance(error, DeliveryFailed | ServiceUnavailable):
                # Or somebody who only tries passwords could stop here each time, and leave no trace.
                now, purpose = self._parts.now(), Purpose.LOGIN.value
                event = self._parts.event("otp_send_failed", now, caller, account.id, purpose=purpose, why=error.code)
                self._parts.recorder.happened(event)
            raise

    def _second_factor(self, account: Account, amr: tuple[str, ...]) -> Ask:
        routes = self._parts.routes(account, verified=False)
        if not routes:
            raise NoMethod
        return proved_ask(Purpose.LOGIN, account, routes, routes[0], amr, min_gap=DOUBLE_TAP)

    def _ask(self, typed: Identifier, caller: Caller) -> Issued:
        """Ask for a code without any proof: the answer is made of what was typed and of the settings alone."""
        account = self._find(typed)
        route, adopt = self._reachable(account, typed) if account is not None and account.active else (None, False)
        if account is None or route is None:
            return self._sending.issue(self._decoy(typed, Purpose.LOGIN), caller)
        return self._sending.issue(
            Ask(
                purpose=Purpose.LOGIN,
                account=owned(account.id),
                alias=claimed(typed),
                user=account,
                typed=typed,
                route=route,
                shown=self._visible(typed),
                data={"amr": [], "adopt": adopt},
            ),
            caller,
        )

    def _reachable(self, account: Account, typed: Identifier) -> tuple[Route | None, bool]:
        """
        Find where a passwordless code may go, and whether proving it adopts an address that nobody has proved.

        Only where registration itself sends a login code may an unproved address get another one: it is still the
        confirmation of that registration. A user whom the host made keeps what the host gave him.
        """
        routes = self._parts.routes(account, verified=True)
        adopt = False
        if not routes and self._parts.settings.registration == "login-code":
            unproved = self._parts.routes(account, verified=False)
            routes = [one for one in unproved if not self._parts.is_claimed(account, one)]
            adopt = account.registered
        if typed.kind is not Kind.USERNAME:
            routes = [route for route in routes if route.kind is typed.kind]
        return (routes[0] if routes else None), adopt

    def _visible(self, typed: Identifier) -> Shown:
        channels = self._parts.courier.channels
        if typed.kind is Kind.USERNAME:
            return Shown(channel=channels[0] if channels else None, destination=None, methods=channels)
        fitting = tuple(channel for channel in channels if carries(channel) is typed.kind)
        destination = mask(typed.kind, typed.value)
        return Shown(channel=fitting[0] if fitting else typed.kind.value, destination=destination, methods=fitting)

    def _decoy(self, typed: Identifier, purpose: Purpose) -> Ask:
        return Ask(
            purpose=purpose,
            # Not the alias itself: a real challenge has two rows of budgets, and so has this one.
            account=nobody(typed),
            alias=claimed(typed),
            user=None,
            typed=typed,
            route=None,
            shown=self._visible(typed),
            data={"amr": [], "adopt": False},
        )


def proved_ask(
    purpose: Purpose,
    account: Account,
    routes: list[Route],
    route: Route,
    amr: tuple[str, ...],
    *,
    min_gap: int = 0,
    binding: str = "",
    extra: dict[str, object] | None = None,
    replaces: bytes | None = None,
) -> Ask:
    """Make the request of a caller who has proved a password or a session: he may see where the code goes."""
    return Ask(
        purpose=purpose,
        account=owned(account.id),
        alias=binding or owned(account.id),
        user=account,
        typed=None,
        route=route,
        shown=Shown(channel=route.channel, destination=route.masked, methods=tuple(one.channel for one in routes)),
        binding=binding,
        data={"amr": list(amr), **(extra or {})},
        min_gap=min_gap,
        replaces=replaces,
    )
