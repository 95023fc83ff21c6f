"""A fresh proof within a session: a code, or the password of a user who has no second factor."""

from __future__ import annotations

from ..errors import (
    AuthenticationRequired,
    FieldError,
    InsufficientAuthentication,
    InvalidCredentials,
    NoMethod,
    ValidationFailed,
)
from ..guard import owned
from ..types import Account, Caller, Issued, LoggedIn, Purpose, Session, via
from ..users.passwords import Verdict
from .completion import POSSESSION, Completion
from .login import proved_ask
from .parts import Parts, Route
from .sending import Sending


class StepUp:
    """Raises the assurance of a session."""

    def __init__(self, parts: Parts, sending: Sending, completion: Completion) -> None:
        self._parts = parts
        self._sending = sending
        self._completion = completion

    def start(self, session: Session, method: str | None, password: str | None, caller: Caller) -> Issued | LoggedIn:
        """
        Send a code for the session, or take the password where that is all the user has.

        Only an address that a code has proved before gets one: otherwise whoever may change it could prove himself.

        Raises:
            NoMethod: No proved address could get a code.
            ValidationFailed: The method isn't one that the user has.
            InsufficientAuthentication: A password, from a user who has a second factor.
            InvalidCredentials, RateLimited, DeliveryFailed: As they say.
        """
        account = self._account(session)
        if password is not None:
            return self._by_password(session, account, password, caller)
        routes = self._parts.routes(account, verified=True)
        if not routes:
            raise NoMethod
        route = next((one for one in routes if method in {None, one.channel}), None)
        if route is None:
            field = self._parts.settings.wire("method")
            raise ValidationFailed([FieldError(field=field, message="This method can't be used here.")])
        extra: dict[str, object] = {"session": self._parts.keyring.seal(_held(session))}
        # The new code takes the place of earlier ones: a view that wants a fresh TOTP isn't satisfied by an old one.
        before = tuple(method for method in session.amr if method not in POSSESSION)
        # By this name the next one of the session finds it, to take its place: a session waits for one code at a time.
        name = f"session:{session.id}"
        earlier = self._parts.challenges.find([name], frozenset({Purpose.STEP_UP}), self._parts.now())
        ask = proved_ask(
            Purpose.STEP_UP,
            account,
            routes,
            route,
            before,
            binding=name,
            extra=extra,
            replaces=earlier[0].id if earlier else None,
        )
        return self._sending.issue(ask, caller)

    def ways(self, session: Session) -> tuple[Route, ...]:
        """
        Give the ways by which a code can reach the user, best first; none for one who has only his password.

        Raises:
            NoMethod: He has neither.
            AuthenticationRequired: He is gone or disabled.
        """
        account = self._account(session)
        routes = tuple(self._parts.routes(account, verified=True))
        if not routes and (account.password_hash is None or self._parts.needs_second_factor(account)):
            raise NoMethod
        return routes

    def _account(self, session: Session) -> Account:
        account = self._parts.users.by_id(session.user_id)
        if account is None or not account.active:
            raise AuthenticationRequired(token_rejected=True)
        return account

    def _by_password(self, session: Session, account: Account, password: str, caller: Caller) -> LoggedIn:
        parts, now = self._parts, self._parts.now()
        if self._parts.needs_second_factor(account):
            raise InsufficientAuthentication("A code is needed; a password isn't enough.")
        # A budget of its own over all addresses: a stolen token must not guess on, nor strangers stand in the way.
        charges = parts.guard.charge_step_up(owned(account.id), caller.network, now)
        if parts.passwords.verify(account.password_hash, password) is Verdict.WRONG:
            parts.recorder.happened(parts.event("login_failed", now, caller, account.id, purpose="step_up"))
            raise InvalidCredentials
        amr = tuple(dict.fromkeys((*session.amr, "pwd", *map(via, session.methods.difference(session.amr)))))

        def work() -> LoggedIn:
            parts.guard.refund(*charges)
            credentials = self._completion.raise_assurance(_held(session), account, amr, caller, code=False)
            return LoggedIn(credentials=credentials, account=account, purpose=Purpose.STEP_UP)

        return parts.unit(work)


def _held(session: Session) -> dict[str, object]:
    return {"sid": session.sid, "key": session.key.hex()}
