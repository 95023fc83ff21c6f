"""What a view replies, and how that leaves: wire names, the host's shapers, cookies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from flask import Request, Response
from flask import session as flask_session

from ..cookies import end_previous, hold_client, hold_login, put_challenge
from ..decorators import answer_response
from ..delivery import in_words
from ..types import Answer, Issued, LoggedIn, Purpose, Registered
from .answers import Body, challenge_body, login_body, user_body

if TYPE_CHECKING:
    from ..config import Settings
    from ..flows.service import Service

TOKENS = ("access_token", "refresh_token", "token_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    What a view replies, under the fields' own names.

    Attributes:
        client: New value for the cookie of known clients; None to leave it.
        keep: Puts what the browser's session has to hold into it.
    """

    status: int
    body: Body | None
    client: str | None = field(default=None, repr=False)
    keep: Callable[[], None] | None = field(default=None, repr=False)


def reply_to(service: Service, request: Request, outcome: Issued | LoggedIn | Registered) -> Reply:
    """Reply with what a flow gave."""
    in_session = "session" in service.settings.credentials
    if isinstance(outcome, Issued):
        keep = (
            partial(put_challenge, flask_session, outcome.challenge_id, proved=outcome.mfa_required)
            if in_session
            else None
        )
        return Reply(status=200 if outcome.mfa_required else 202, body=challenge_body(outcome), keep=keep)
    if isinstance(outcome, Registered):
        keep = partial(put_challenge, flask_session, None) if in_session else None
        return Reply(status=201, body={"user": user_body(outcome.account)}, keep=keep)
    cookie = outcome.credentials.cookie
    end_previous(service, request, cookie)
    keep = partial(hold_login, service, cookie) if cookie else None
    message = "Confirmed." if outcome.purpose in {Purpose.STEP_UP, Purpose.TRANSACTION} else "You are logged in."
    return Reply(status=200, body=login_body(outcome, message), client=outcome.client, keep=keep)


def respond(service: Service, endpoint: str, reply: Reply) -> Response:
    """Make the response: wire names first, then the host's shapers, then cookies."""
    response = answer_response(_answer(service, endpoint, reply), service)
    # After the host's shapers: where one of them fails, nobody is let in by a cookie.
    if reply.keep is not None:
        reply.keep()
    if reply.client is not None:
        hold_client(response, reply.client)
    return response


def _answer(service: Service, endpoint: str, reply: Reply) -> Answer:
    said = reply.body or {}
    user, seconds = cast("Body | None", said.get("user")), cast("int | None", said.get("expires_in"))
    answer = Answer(
        endpoint=endpoint,
        status=reply.status,
        body=_on_the_wire(reply.body, service.settings),
        lifetime=None if seconds is None else in_words(seconds),
        tokens={service.settings.wire(name): said[name] for name in TOKENS if name in said},
    )
    return answer if user is None else replace(answer, load_user=lambda: service.users.load(str(user["id"])))


def _on_the_wire(body: Body | None, settings: Settings) -> Body | None:
    if body is None or not settings.field_names:
        return body
    renamed = _renamed(body, settings)
    user = settings.wire("user")
    if user in renamed:
        renamed[user] = _renamed(cast("Body", renamed[user]), settings)
    return renamed


def _renamed(body: Body, settings: Settings) -> Body:
    return {settings.wire(name): value for name, value in body.items()}
