"""The pages that take a code: of a registration, of a login, of a step-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flask import Request, Response
from flask import session as flask_session
from typing_extensions import override

from ..callers import page_caller
from ..cookies import put_challenge
from ..errors import ChallengeGone, CodeExpired, IdentifierTaken
from ..flows.refusals import note_refusal
from ..sessions.cookie import read_marks
from ..types import Issued
from .forms import code_form
from .page import Page, page_of, proceed, start_of
from .rendering import back, go_to, say, say_problem

if TYPE_CHECKING:
    from ..flows.service import Service


class CodePage(Page):
    """Takes the code of the challenge that this browser began, and tells how long it may wait."""

    name: ClassVar[str] = "code"
    template: ClassVar[str] = "code"
    start: ClassVar[str] = "login"
    """Where it is begun again."""

    @override
    def values(self, service: Service, request: Request) -> Mapping[str, Any] | Response:
        shown = self.challenge(service, request)
        if isinstance(shown, Response):
            return shown
        page = page_of(shown.purpose)
        return self.form(shown) if page == self.name else go_to(page, back())

    @override
    def submit(self, service: Service, request: Request, body: dict[str, str]) -> Response:
        held = read_marks(flask_session).challenge
        if held is None:
            raise ChallengeGone
        otp = self.schemas.verify(body, pending=True).otp
        return proceed(service, request, service.codes.verify(held, otp, page_caller(service, request)))

    def challenge(self, service: Service, request: Request) -> Issued | Response:
        """Give the challenge that this browser began, or where it can begin another one."""
        held = read_marks(flask_session).challenge
        if held is None:
            return go_to(self.start, back())
        try:
            return service.looking.challenge(held)
        except (ChallengeGone, CodeExpired) as over:
            note_refusal(over, service, request)
            put_challenge(flask_session, None)
            say_problem(over)
            return go_to(self.start, back())

    def form(self, challenge: Issued) -> Mapping[str, Any]:
        """Give what the form shows."""
        settings = self.settings
        return {
            "fields": code_form(settings),
            "challenge": challenge,
            "digits": settings.digits,
            "restarts": settings.on_expiry == "restart",
            "page": page_of(challenge.purpose),
            "start": start_of(challenge.purpose),
        }


class ConfirmPage(CodePage):
    """Takes the code of a registration."""

    name: ClassVar[str] = "confirm"
    start: ClassVar[str] = "register"

    @override
    def submit(self, service: Service, request: Request, body: dict[str, str]) -> Response:
        try:
            return super().submit(service, request, body)
        except IdentifierTaken as error:
            # The code was right: another one would be of no more use here, where no name can be typed.
            note_refusal(error, service, request)
            put_challenge(flask_session, None)
            say("name_taken", "warning")
            return go_to(self.start, back())


class ResendPage(CodePage):
    """Sends another code; it has no look of its own."""

    name: ClassVar[str] = "resend"

    @override
    def values(self, service: Service, request: Request) -> Mapping[str, Any] | Response:
        shown = self.challenge(service, request)
        if isinstance(shown, Response):
            return shown
        return self.form(shown) if request.method == "POST" else go_to(page_of(shown.purpose), back())

    @override
    def submit(self, service: Service, request: Request, body: dict[str, str]) -> Response:
        held = read_marks(flask_session).challenge
        if held is None:
            raise ChallengeGone
        wish = self.schemas.resend(body, pending=True)
        issued = service.codes.resend(held, wish.channel, page_caller(service, request, wish.extra))
        say("sent", "success", challenge=service.looking.challenge(held))
        return go_to(page_of(issued.purpose), back())
