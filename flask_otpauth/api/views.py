"""The views: each parses, calls one flow and replies. No domain fact is decided here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flask import Request

from ..callers import caller_from, caller_with, check_held, required_session
from ..cookies import forget_login
from ..errors import AuthenticationRequired
from .answers import factors_body, session_body, sessions_body, user_body
from .reading import read_json
from .replies import Reply, reply_to

if TYPE_CHECKING:
    from ..flows.service import Service
    from ..schemas import Schemas


class Views:
    """What the endpoints of one app do; methods bear the endpoints' names."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def register(self, service: Service, request: Request) -> Reply:
        wish = self._schemas.register(read_json(request))
        caller = caller_from(service, request, wish.extra)
        return reply_to(service, request, service.registration.register(wish.fields, caller, faults=wish.faults))

    def login(self, service: Service, request: Request) -> Reply:
        wish = self._schemas.login(read_json(request))
        caller = caller_from(service, request, wish.extra)
        if wish.otp is None:
            return reply_to(service, request, service.login.start(wish.identifier, wish.kind, wish.password, caller))
        check_held(service, request, caller)
        return reply_to(service, request, service.login.with_code(wish.identifier, wish.kind, wish.otp, caller))

    def verify_otp(self, service: Service, request: Request) -> Reply:
        body = read_json(request)
        caller = caller_from(service, request)
        proof = self._schemas.verify(body, pending=caller.pending is not None)
        if proof.challenge_id is not None:
            return reply_to(service, request, service.codes.verify(proof.challenge_id, proof.otp, caller))
        check_held(service, request, caller)
        if proof.identifier is None:
            return reply_to(service, request, service.codes.verify(str(caller.pending), proof.otp, caller))
        return reply_to(service, request, service.login.with_code(proof.identifier, proof.kind, proof.otp, caller))

    def resend_otp(self, service: Service, request: Request) -> Reply:
        body = read_json(request)
        caller = caller_from(service, request)
        wish = self._schemas.resend(body, pending=caller.pending is not None)
        caller = replace(caller, extra=wish.extra)
        if wish.challenge_id is not None:
            return reply_to(service, request, service.codes.resend(wish.challenge_id, wish.channel, caller))
        check_held(service, request, caller)
        if wish.identifier is None:
            return reply_to(service, request, service.codes.resend(str(caller.pending), wish.channel, caller))
        return reply_to(
            service, request, service.login.resend(wish.identifier, wish.kind, caller, channel=wish.channel)
        )

    def refresh(self, service: Service, request: Request) -> Reply:
        self._schemas.nothing(read_json(request))
        token = service.sessions.bearer(request)
        if token is None:
            raise AuthenticationRequired
        return reply_to(service, request, service.account.refresh(token, caller_with(request, None)))

    def logout(self, service: Service, request: Request) -> Reply:
        self._schemas.nothing(read_json(request))
        session = required_session(service, request)
        service.account.logout(session, caller_with(request, session))
        forget_login(service, request)
        return Reply(status=204, body=None)

    def me(self, service: Service, request: Request) -> Reply:
        session = required_session(service, request)
        account = service.account.me(session)
        return Reply(status=200, body={"user": user_body(account), "session": session_body(session)})

    def sessions(self, service: Service, request: Request) -> Reply:
        session = required_session(service, request)
        return Reply(status=200, body=sessions_body(service.account.sessions(session), session))

    def end_session(self, service: Service, request: Request) -> Reply:
        self._schemas.nothing(read_json(request))
        session = required_session(service, request)
        public_id = str((request.view_args or {})["id"])
        if service.account.end_session(session, public_id, caller_with(request, session)):
            forget_login(service, request)
        return Reply(status=204, body=None)

    def end_other_sessions(self, service: Service, request: Request) -> Reply:
        self._schemas.nothing(read_json(request))
        session = required_session(service, request)
        service.account.end_other_sessions(session, caller_with(request, session))
        return Reply(status=204, body=None)

    def step_up(self, service: Service, request: Request) -> Reply:
        wish = self._schemas.step_up(read_json(request))
        session = required_session(service, request)
        caller = caller_with(request, session, wish.extra)
        return reply_to(service, request, service.step_up.start(session, wish.method, wish.password, caller))

    @staticmethod
    def mfa(service: Service, request: Request) -> Reply:
        return Reply(status=200, body=factors_body(service.mfa.factors(required_session(service, request))))

    def switch_mfa(self, service: Service, request: Request) -> Reply:
        enabled = self._schemas.mfa(read_json(request))
        session = required_session(service, request)
        return Reply(status=200, body=factors_body(service.mfa.switch(session, enabled, caller_with(request, session))))

    @staticmethod
    def health(service: Service, _request: Request) -> Reply:
        service.ping()
        return Reply(status=200, body={"status": "ok"})
