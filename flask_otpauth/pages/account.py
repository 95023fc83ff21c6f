"""The pages of who is logged in: account, logout, and a fresh proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from flask import Request, Response
from typing_extensions import override

from ..callers import caller_with, page_caller, required_session
from ..crypto import base64url
from ..errors import AuthenticationRequired, InsufficientAuthentication, MalformedRequest
from ..flows.refusals import note_refusal
from ..redirects import page_url
from ..types import Session, SessionRecord, moment
from .agents import browser_of, system_of
from .forms import password_form
from .page import Page, logged_out, proceed
from .rendering import go_away, go_to, say

if TYPE_CHECKING:
    from ..flows.service import Service


SESSION, OTHERS, MFA = "session", "others", "mfa"
"""Names of the buttons: one that ends a login, one that ends all but this one, the switch of the second factor."""

SWITCHED = {"on": True, "off": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A login as its user recognises it."""

    id: str
    current: bool
    browser: str
    system: str
    begun: datetime
    used: datetime


class AccountPage(Page):
    """Shows the user what the app knows of him, and where he is logged in."""

    name: ClassVar[str] = "account"
    template: ClassVar[str] = "account"

    @override
    def values(self, service: Service, request: Request) -> Mapping[str, Any] | Response:
        session = required_session(service, request)
        return {
            "account": service.account.me(session),
            "mfa": service.mfa.choice(session),
            "logins": [_login(record, session) for record in service.account.sessions(session)],
        }

    @override
    def submit(self, service: Service, request: Request, body: dict[str, str]) -> Response:
        session = required_session(service, request)
        caller = caller_with(request, session)
        if set(body) == {OTHERS}:
            service.account.end_other_sessions(session, caller)
            say("others_ended", "success")
            return go_to(self.name)
        if set(body) == {MFA} and body[MFA] in SWITCHED:
            return self._switch(service, request, session, SWITCHED[body[MFA]])
        if set(body) != {SESSION}:
            raise MalformedRequest("The form has other fields than its page.")
        if service.account.end_session(session, body[SESSION], caller):
            return logged_out(service, request)
        say("session_ended", "success")
        return go_to(self.name)

    def _switch(self, service: Service, request: Request, session: Session, enabled: bool) -> Response:
        try:
            service.mfa.switch(session, enabled, caller_with(request, session))
        except InsufficientAuthentication as error:
            note_refusal(error, service, request)
            say("prove_first")
            return go_to("step_up", page_url(self.name))
        say("mfa_on" if enabled else "mfa_off", "success")
        return go_to(self.name)


class LogoutPage(Page):
    """Ends the login; only a form can: a link elsewhere could be followed unawares."""

    name: ClassVar[str] = "logout"
    template: ClassVar[str] = "logout"

    @override
    def values(self, service: Service, request: Request) -> Mapping[str, Any] | Response:
        try:
            service.account.me(required_session(service, request))
        except AuthenticationRequired:
            return go_away(self.settings)
        return {}

    @override
    def submit(self, service: Service, request: Request, body: dict[str, str]) -> Response:
        del body
        try:
            session = required_session(service, request)
        except AuthenticationRequired:
            # A token beside the cookie may be what is bad: the login that the browser holds ends all the same.
            return logged_out(service, request)
        service.account.logout(session, caller_with(request, session))
        return logged_out(service, request)


class StepUpPage(Page):
    """Asks for a fresh proof: sends a code, or takes the password of who has no way to get one."""

    name: ClassVar[str] = "step_up"
    template: ClassVar[str] = "step_up"

    @override
    def values(self, service: Service, request: Request) -> Mapping[str, Any] | Response:
        ways = service.step_up.ways(required_session(service, request))
        return {"ways": ways, "fields": () if ways else password_form(self.settings)}

    @override
    def submit(self, service: Service, request: Request, body: dict[str, str]) -> Response:
        wish = self.schemas.step_up(body)
        caller = page_caller(service, request, wish.extra)
        session = required_session(service, request)
        return proceed(service, request, service.step_up.start(session, wish.method, wish.password, caller))


def _login(record: SessionRecord, current: Session) -> Login:
    return Login(
        id=base64url(record.id),
        current=record.id == current.key,
        browser=browser_of(record.client),
        system=system_of(record.client),
        begun=moment(record.created_at),
        used=moment(record.last_used_at),
    )
