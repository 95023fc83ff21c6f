"""What a host may decide itself: its functions, by the moment at which they are asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from werkzeug.exceptions import HTTPException

from ..errors import Forbidden, OTPAuthError, ServiceUnavailable
from ..types import Answer, ClaimsLoader, PasswordValidator, SendRequest

logger: logging.Logger = logging.getLogger("flask_otpauth")

_REFUSED = "This request was refused."

Shaper = Callable[[Answer], Answer | None]
BeforeSend = Callable[[SendRequest], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The functions that a host registered; the lists are the instance's own, so that later ones are in them too."""

    shapers: list[Shaper] = field(default_factory=list[Shaper])
    before_send: list[BeforeSend] = field(default_factory=list[BeforeSend])
    claims_loaders: list[ClaimsLoader] = field(default_factory=list[ClaimsLoader])
    password_validators: list[PasswordValidator] = field(default_factory=list[PasswordValidator])


def consult(hooks: Sequence[BeforeSend], request: SendRequest) -> None:
    """
    Ask whether a code may be sent, until one refuses.

    Raises:
        Forbidden: A hook gave False, or aborted with a status of 4xx.
        OTPAuthError: What a hook raised.
        ServiceUnavailable: A hook raised anything else, or gave what is no decision: it lets nobody through.
    """
    for hook in hooks:
        try:
            allowed = hook(request)
        except OTPAuthError:
            raise
        except HTTPException as error:
            if error.code is not None and 400 <= error.code < 500:  # noqa: PLR2004 - the caller's fault, by HTTP
                raise Forbidden(_REFUSED) from None
            logger.error("The before_send hook failed: %s", type(error).__name__)  # noqa: TRY400
            raise ServiceUnavailable from None
        except Exception as error:  # noqa: BLE001 - a hook may raise anything
            # Its name alone: the text of a captcha client's error may hold its secret.
            logger.error("The before_send hook failed: %s", type(error).__name__)  # noqa: TRY400
            raise ServiceUnavailable from None
        if allowed is False:
            raise Forbidden(_REFUSED)
        if allowed is not None and allowed is not True:
            logger.error("The before_send hook gave no decision but %s", type(allowed).__name__)
            raise ServiceUnavailable
