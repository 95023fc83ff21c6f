"""Bodies of answers: what flows gave, under the fields' own names."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime

from ..crypto import base64url
from ..types import (
    Account,
    Factors,
    Instant,
    Issued,
    LoggedIn,
    Purpose,
    Session,
    SessionRecord,
    public_methods,
    timestamp,
)

Body = dict[str, object]


def challenge_body(issued: Issued) -> Body:
    """Give a challenge: times in RFC 3339 UTC, never later than a code lives nor earlier than a resend is taken."""
    proved = issued.mfa_required or issued.purpose in {Purpose.STEP_UP, Purpose.TRANSACTION, Purpose.CONTACT}
    body: Body = {
        "challenge_id": issued.challenge_id,
        "purpose": issued.purpose.value,
        "channel": issued.channel,
        "destination": issued.destination,
        "methods": list(issued.methods),
        "expires_at": _timestamp(issued.expires_at // 1000),
        "expires_in": max(0, (issued.expires_at - issued.now) // 1000),
        "resend_at": _timestamp(-(-issued.resend_at // 1000)),
        "resend_in": max(0, -((issued.now - issued.resend_at) // 1000)),
        "attempts_left": issued.attempts_left,
        # An anonymous caller isn't told whether there is anybody to send a code to.
        "message": "A code is on its way." if proved else "If the address is right, a code is on its way.",
    }
    return {"mfa_required": True} | body if issued.mfa_required else body


def login_body(done: LoggedIn, message: str) -> Body:
    """Give tokens and user; with the session credential alone there are no tokens, and the cookie is the login."""
    held = done.credentials
    body: Body = {}
    if held.access_token is not None:
        body = {"access_token": held.access_token, "refresh_token": held.refresh_token, "token_type": "Bearer"}
    return body | {"expires_in": held.expires_in, "user": user_body(done.account), "message": message}


def user_body(account: Account) -> Body:
    """Give what the user may see of his account in every answer."""
    return {
        "id": account.id,
        "username": account.username,
        "email": account.email,
        "phone": account.phone,
        "roles": sorted(account.roles),
    }


def session_body(session: Session) -> Body:
    """Give what the user may see of the session that the request presents."""
    return {
        "id": session.id,
        "amr": list(session.amr),
        "auth_time": _moment(session.auth_time),
        "code_at": None if session.code_at is None else _moment(session.code_at),
        "created_at": _moment(session.created_at),
        "expires_at": _moment(session.expires_at),
    }


def sessions_body(records: Iterable[SessionRecord], current: Session) -> Body:
    """Give what a user may see of all his sessions; ids are those of ``session_body``, which open nothing."""
    return {
        "sessions": [
            {
                "id": base64url(one.id),
                "current": one.id == current.key,
                "user_agent": one.client,
                "amr": list(public_methods(one.amr)),
                "created_at": timestamp(one.created_at),
                "last_used_at": timestamp(one.last_used_at),
                "expires_at": timestamp(min(one.idle_at, one.expires_at)),
            }
            for one in records
        ]
    }


def factors_body(factors: Factors) -> Body:
    """Give what the user may see of his second factor; destinations are masked."""
    return {
        "mfa_enabled": factors.mfa_enabled,
        "factors": [
            {"method": one.method, "destination": one.destination, "verified": one.verified} for one in factors.factors
        ],
    }


def _timestamp(seconds: Instant) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _moment(moment: datetime) -> str:
    return _timestamp(int(moment.timestamp()))
