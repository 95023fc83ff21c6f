"""For a host that begins a login itself, in a view of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request

from ..callers import caller_from
from ..sessions import real_request
from ..types import Caller, Issued, LoggedIn
from .replies import reply_to, respond

if TYPE_CHECKING:
    from ..flows.service import Service


def current_caller(service: Service) -> Caller:
    """Describe who sends the current request, as the endpoints do."""
    return caller_from(service, real_request(request))


def respond_to_login(service: Service, outcome: Issued | LoggedIn) -> Response:
    """Answer a login that the host began itself, as the endpoint ``login`` would."""
    return respond(service, "login", reply_to(service, real_request(request), outcome))
