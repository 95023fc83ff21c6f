"""The pages of who isn't logged in: register and login."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flask import Request, Response
from typing_extensions import override

from ..callers import page_caller, required_session
from ..errors import AuthenticationRequired
from .forms import login_form, register_form, take_repeated
from .page import Page, proceed
from .rendering import go_on

if TYPE_CHECKING:
    from ..flows.service import Service


class RegisterPage(Page):
    """Takes a registration."""

    name: ClassVar[str] = "register"
    template: ClassVar[str] = "register"

    @override
    def values(self, service: Service, request: Request) -> Mapping[str, Any] | Response:
        return _form_or_on(
            self, service, request, register_form(self.settings, self.register_fields, self.schemas.either)
        )

    @override
    def submit(self, service: Service, request: Request, body: dict[str, str]) -> Response:
        repeated = take_repeated(body, self.settings)
        wish = self.schemas.register(body)
        caller = page_caller(service, request, wish.extra)
        outcome = service.registration.register(wish.fields, caller, faults=(*wish.faults, *repeated))
        return proceed(service, request, outcome)


class LoginPage(Page):
    """Takes a name and, unless a code alone opens a login, a password."""

    name: ClassVar[str] = "login"
    template: ClassVar[str] = "login"

    @override
    def values(self, service: Service, request: Request) -> Mapping[str, Any] | Response:
        return _form_or_on(self, service, request, login_form(self.settings))

    @override
    def submit(self, service: Service, request: Request, body: dict[str, str]) -> Response:
        wish = self.schemas.login(body)
        caller = page_caller(service, request, wish.extra)
        outcome = service.login.start(wish.identifier, wish.kind, wish.password, caller)
        return proceed(service, request, outcome)


def _form_or_on(page: Page, service: Service, request: Request, fields: object) -> Mapping[str, Any] | Response:
    """Show the form to who isn't logged in; who is has nothing to do here."""
    try:
        service.account.me(required_session(service, request))
    except AuthenticationRequired:
        return {"fields": fields, "identifiers": page.settings.identifiers}
    return go_on(page.settings)
