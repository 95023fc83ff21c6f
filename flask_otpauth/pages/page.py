"""A page with a form: shown by GET, sent by POST, and shown again with what is wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flask import Request, Response
from flask import session as flask_session

from ..cookies import end_previous, forget_login, hold_client, hold_login, put_challenge
from ..errors import AuthenticationRequired, IdentifierTaken, OTPAuthError, ValidationFailed
from ..flows.refusals import note_refusal
from ..redirects import way_back
from ..sessions import check_origin
from ..types import Issued, LoggedIn, Purpose, Registered
from .csrf import check_token, forget_token
from .forms import Field, read_form
from .rendering import back, go_away, go_on, go_to, say, show

if TYPE_CHECKING:
    from ..config import Settings
    from ..flows.service import Service
    from ..schemas import Schemas

_STARTS = {Purpose.CONFIRM: "register", Purpose.LOGIN: "login"}


class Page(ABC):
    """
    One page of an app.

    Attributes:
        name: Of the endpoint; ``template`` is shown.
    """

    name: ClassVar[str]
    template: ClassVar[str]

    def __init__(self, settings: Settings, schemas: Schemas, fields: Mapping[str, bool]) -> None:
        self.settings = settings
        self.schemas = schemas
        self.register_fields = fields

    @abstractmethod
    def values(self, service: Service, request: Request) -> Mapping[str, Any] | Response:
        """Give what the template shows beside its form, or where the browser has to go instead."""

    @abstractmethod
    def submit(self, service: Service, request: Request, body: dict[str, str]) -> Response:
        """Do what the form asks for."""

    def answer(self, service: Service, request: Request) -> Response:
        """Answer a request; a refusal is told in the form, with its status."""
        try:
            if request.method != "POST":
                return self._show(service, request)
            check_origin(request, self.settings)
            body = read_form(request, self.settings)
            check_token(request)
            return self.submit(service, request, body)
        except OTPAuthError as error:
            note_refusal(error, service, request)
            return self._refused(service, request, error)

    def _refused(self, service: Service, request: Request, error: OTPAuthError) -> Response:
        try:
            if isinstance(error, AuthenticationRequired):
                return go_to("login", back() or way_back(request))
            return self._show(service, request, error)
        except AuthenticationRequired:
            return go_to("login", back() or way_back(request))
        except OTPAuthError as worse:
            return show("problem", worse.status, problem=worse)

    def _show(self, service: Service, request: Request, problem: OTPAuthError | None = None) -> Response:
        values = self.values(service, request)
        if isinstance(values, Response):
            return values
        status = 200 if problem is None else problem.status
        typed = typed_again(request, values.get("fields", ())) if problem is not None else {}
        faults = faults_of(problem, self.settings)
        return show(
            self.template,
            status,
            problem=problem,
            faults=faults,
            typed=typed,
            rules=self.settings,
            wire=self.settings.wire,
            **values,
        )


def proceed(service: Service, request: Request, outcome: Issued | LoggedIn | Registered) -> Response:
    """Note in the browser what a flow gave, and send it on."""
    if isinstance(outcome, Issued):
        put_challenge(flask_session, outcome.challenge_id, proved=outcome.mfa_required)
        return go_to(page_of(outcome.purpose), back())
    if isinstance(outcome, Registered):
        put_challenge(flask_session, None)
        say("registered", "success")
        return go_to("login", back())
    cookie = outcome.credentials.cookie
    end_previous(service, request, cookie)
    if cookie is not None:
        hold_login(service, cookie)
        forget_token()
    response = go_on(service.settings)
    if outcome.client is not None:
        hold_client(response, outcome.client)
    return response


def logged_out(service: Service, request: Request) -> Response:
    """Take the login, which is over, out of the browser, and send it on."""
    forget_login(service, request)
    say("logged_out", "success")
    return go_away(service.settings)


def page_of(purpose: Purpose) -> str:
    """Give the page that takes the codes of a purpose."""
    return "confirm" if purpose is Purpose.CONFIRM else "code"


def start_of(purpose: Purpose) -> str:
    """Give the page where a challenge of a purpose is begun."""
    return _STARTS.get(purpose, "step_up")


def typed_again(request: Request, fields: tuple[Field, ...]) -> dict[str, str]:
    """Give what was typed, as far as it may be shown again."""
    try:
        return {field.name: request.form.get(field.name, "") for field in fields if not field.secret}
    except Exception:  # noqa: BLE001 - a form that can't be read is what is told
        return {}


def faults_of(problem: OTPAuthError | None, settings: Settings) -> dict[str, str]:
    """Give what is wrong with single fields, by their names."""
    if isinstance(problem, IdentifierTaken):
        return {settings.wire(problem.field): problem.detail}
    if isinstance(problem, ValidationFailed):
        return {fault.field: fault.message for fault in problem.errors}
    return {}
