"""The second factor of a user: what he has, and the switch where the settings leave it to him."""

from __future__ import annotations

from ..errors import AuthenticationRequired, FieldError, NoMethod, ValidationFailed
from ..guard import owned
from ..types import Account, Caller, Factor, Factors, Instant, Kind, Session
from .notices import Notices
from .parts import Parts, Route


class Mfa:
    """Shows and switches the second factor."""

    def __init__(self, parts: Parts, notices: Notices) -> None:
        self._parts = parts
        self._notices = notices

    def factors(self, session: Session) -> Factors:
        """
        Give whether a code is due after the user's password, and what can get one.

        Raises:
            AuthenticationRequired: He is gone or disabled.
        """
        return self._of(self._active(session))

    def choice(self, session: Session) -> bool | None:
        """
        Give whether the second factor is on, for a user who may switch it; None where the settings have decided.

        Raises:
            AuthenticationRequired: He is gone or disabled.
        """
        return None if self._is_decided else self.factors(session).mfa_enabled

    def switch(self, session: Session, enabled: bool, caller: Caller) -> Factors:
        """
        Switch the second factor on or off, by a fresh proof of what is there now.

        That is a code, of a user who has a proved address or owes a code already, and else his password. What is
        pending is void then. Switched on, it ends the user's other sessions: they were opened without it, and their
        clients are known no more.

        Raises:
            InsufficientAuthentication: The session has no such proof, or an old one.
            NoMethod: Switched on, without a proved address: the next login could be nobody's.
            ValidationFailed: The settings have decided it for everybody.
            AuthenticationRequired: The user is gone or disabled.
        """
        parts, now = self._parts, self._parts.now()
        account = self._active(session)
        reachable, owes = bool(parts.routes(account, verified=True)), self._owes_code(account)
        parts.require_fresh(session, now, code=reachable or owes)
        if self._is_decided and enabled is not owes:
            message = "This is the same for everybody here."
            raise ValidationFailed([FieldError(field=parts.settings.wire("mfa_enabled"), message=message)])
        if enabled and not reachable:
            raise NoMethod
        if enabled is not account.mfa_enabled:
            self._change(session, enabled, caller, now)
        return self._of(self._active(session))

    def _change(self, session: Session, enabled: bool, caller: Caller, now: Instant) -> None:
        parts, user_id = self._parts, session.user_id

        def work() -> int:
            parts.guard.take_turn(owned(user_id), now)
            parts.users.set_mfa(user_id, enabled)
            parts.challenges.void(owned(user_id), now)
            if not enabled:
                return 0
            parts.forget_clients(user_id, caller)
            return parts.sessions.end_all(user_id, but=session.key)

        ended = parts.unit(work)
        parts.recorder.happened(parts.event("mfa_changed", now, caller, user_id, enabled=enabled))
        if ended:
            parts.recorder.happened(parts.event("session_revoked", now, caller, user_id, count=ended))
        self._notices.mfa_changed(user_id, enabled, caller, now)

    @property
    def _is_decided(self) -> bool:
        settings = self._parts.settings
        return settings.passwordless or settings.second_factor in {"always", "never"}

    def _owes_code(self, account: Account) -> bool:
        # Where a code alone logs in, there is no password that it could follow.
        return not self._parts.settings.passwordless and self._parts.needs_second_factor(account)

    def _of(self, account: Account) -> Factors:
        routes = self._parts.routes(account, verified=False)
        return Factors(mfa_enabled=self._owes_code(account), factors=tuple(_factor(account, route) for route in routes))

    def _active(self, session: Session) -> Account:
        account = self._parts.users.by_id(session.user_id)
        if account is None or not account.active:
            raise AuthenticationRequired(token_rejected=True)
        return account


def _factor(account: Account, route: Route) -> Factor:
    verified = account.email_verified if route.kind is Kind.EMAIL else account.phone_verified
    return Factor(method=route.channel, destination=route.masked, verified=verified)
