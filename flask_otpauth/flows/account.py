"""What a user does with his finished logins: refresh, look, log out, end others."""

from __future__ import annotations

from ..crypto import base64url
from ..errors import AuthenticationRequired, FieldError, ValidationFailed
from ..sessions import TokenReused
from ..types import Account, Caller, LoggedIn, Session, SessionRecord
from .parts import Parts


class AccountFlow:
    """The owner's side of sessions."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def refresh(self, token: str, caller: Caller) -> LoggedIn:
        """
        Exchange a refresh token; it is good for one exchange.

        Raises:
            AuthenticationRequired: It is no good; where it had been used before, its whole family ended just now.
        """
        parts = self._parts
        try:
            credentials, user_id = parts.sessions.refresh(token)
        except TokenReused as error:
            parts.recorder.happened(parts.event("token_reuse_detected", parts.now(), caller, error.user_id))
            raise
        account = parts.users.by_id(user_id)
        if account is None or not account.active:
            raise AuthenticationRequired(token_rejected=True)
        return LoggedIn(credentials=credentials, account=account)

    def logout(self, session: Session, caller: Caller) -> None:
        """End the session: its cookie, access and refresh tokens are refused from the next request on."""
        parts = self._parts
        parts.sessions.end(session.key)
        parts.recorder.happened(parts.event("user_logged_out", parts.now(), caller, session.user_id))

    def sessions(self, session: Session) -> list[SessionRecord]:
        """Give all live sessions of the user, the newest first."""
        return self._parts.sessions.list(session.user_id)

    def end_session(self, session: Session, public_id: str, caller: Caller) -> bool:
        """
        End one of the user's sessions by its public id; tell whether it was the very one that asks.

        Raises:
            ValidationFailed: He has no such session: an unknown id, one that is over, and another user's are the same.
        """
        parts = self._parts
        if public_id == session.id:
            self.logout(session, caller)
            return True
        found = [one.id for one in self.sessions(session) if base64url(one.id) == public_id]
        if not (found and parts.sessions.end(found[0])):
            # The id of a path, which has no name on the wire: that of the body's "id" is a user's.
            raise ValidationFailed([FieldError(field="id", message="There is no such session.")])
        event = parts.event("session_revoked", parts.now(), caller, session.user_id, session=public_id)
        parts.recorder.happened(event)
        return False

    def end_other_sessions(self, session: Session, caller: Caller) -> int:
        """End all sessions of the user but the one that asks, and know their clients no more; tell how many."""
        parts = self._parts

        def work() -> int:
            parts.forget_clients(session.user_id, caller)
            return parts.sessions.end_all(session.user_id, but=session.key)

        ended = parts.unit(work)
        if ended:
            event = parts.event("session_revoked", parts.now(), caller, session.user_id, count=ended)
            parts.recorder.happened(event)
        return ended

    def me(self, session: Session) -> Account:
        """
        Give the user of the session as he is now.

        Raises:
            AuthenticationRequired: He is gone or disabled.
        """
        account = self._parts.users.by_id(session.user_id)
        if account is None or not account.active:
            raise AuthenticationRequired(token_rejected=True)
        return account
