"""The log's lines about what was refused or withheld: what its receiver isn't told, for those who run the app."""

from __future__ import annotations

import logging
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from ..delivery.causes import cause_behind
from ..errors import AuthenticationRequired, OTPAuthError
from ..types import Purpose

if TYPE_CHECKING:
    from flask import Request

    from .service import Service

logger: logging.Logger = logging.getLogger("flask_otpauth")


def note_refusal(error: OTPAuthError, service: Service, request: Request) -> None:
    """
    Log a refusal with its cause: at ``INFO``, or at ``WARNING`` where the fault is the server's own. Never raises.

    The view is named by its endpoint, never by its path, which may hold a secret of the host.
    """
    level = logging.WARNING if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
    with suppress(Exception):  # a faulty handler of the host must not change the answer
        if logger.isEnabledFor(level):
            absence = service.sessions.absence(request) if _has_no_login(error) else None
            why = error.reason or cause_behind(error) or absence or error.detail
            facts = {"event": "refused", "endpoint": request.endpoint, "code": error.code, "reason": why}
            logger.log(level, "%s refused: %s: %s", request.endpoint, error.code, why, extra={"otpauth": facts})


def note_silence(channel: str, purpose: Purpose, why: str) -> None:
    """Log why a code that was asked for goes to nobody; the answer is the same as ever. Never raises."""
    facts = {"event": "otp_withheld", "channel": channel, "purpose": purpose.value, "reason": why}
    with suppress(Exception):  # as above
        logger.info("No code was sent: %s", why, extra={"otpauth": facts})


def _has_no_login(error: OTPAuthError) -> bool:
    return isinstance(error, AuthenticationRequired) and not error.token_rejected
