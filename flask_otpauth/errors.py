"""What can go wrong, one class a cause, with the ``code``, ``status`` and ``title`` of its RFC 9457 problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override


class ConfigurationError(RuntimeError):
    """
    The settings of the app can't be served; every fault found is told at once.

    Attributes:
        faults: One sentence a fault, each with its cure.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults: tuple[str, ...] = tuple(faults)
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(f"Flask-OTPAuth can't start:{lines}")


class UncommittedWrite(RuntimeError):
    """
    The app's own session has written to a SQLite file and not committed, in the thread that is to write there now.

    A mistake of the app, and no refusal: it would wait for itself.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One entry of a problem's ``errors``: a field by its wire name, and what is wrong with it."""

    field: str
    message: str


class OTPAuthError(Exception):
    """
    Root of all refusals; never raised itself.

    Attributes:
        code: Stable name for programs, snake case.
        status: HTTP status.
        title: Short and the same for every occurrence.
        detail: For people; says nothing that its receiver may not know.
        members: Extension members of the problem (RFC 9457, 3.2): numbers in seconds, times in RFC 3339.
        headers: Headers that the answer must carry.
        reason: For the log alone: the cause, where ``detail`` doesn't tell it. Nothing that opens anything.
    """

    reason: str | None = None
    code: ClassVar[str] = "error"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Error"

    def __init__(self, detail: str | None = None, **members: object) -> None:
        self.detail: str = detail if detail is not None else self.title + "."
        self.members: Mapping[str, object] = {name: value for name, value in members.items() if value is not None}
        super().__init__(self.detail)

    @property
    def headers(self) -> dict[str, str]:
        retry = self.members.get("retry_after")
        return {} if retry is None else {"Retry-After": str(retry)}


class MalformedRequest(OTPAuthError):
    """Not JSON, not an object, duplicate keys, nested too deep, or invalid text."""

    code = "malformed_request"
    status = 400
    title = "Malformed request"


class ValidationFailed(OTPAuthError):
    """Fields are missing, unknown, of the wrong type or out of bounds; ``errors`` names each."""

    code = "validation_failed"
    status = 400
    title = "Validation failed"

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors: tuple[FieldError, ...] = tuple(errors)
        super().__init__("Some fields are not valid.")


class UnsupportedMediaType(OTPAuthError):
    """A body that isn't ``application/json`` in UTF-8."""

    code = "unsupported_media_type"
    status = 415
    title = "Unsupported media type"


class PayloadTooLarge(OTPAuthError):
    """A body of more than 16 KiB."""

    code = "payload_too_large"
    status = 413
    title = "Payload too large"


class InvalidCredentials(OTPAuthError):
    """Wrong password, unknown user or disabled account: the same answer."""

    code = "invalid_credentials"
    status = 401
    title = "Invalid credentials"


class WrongCode(OTPAuthError):
    """The code was compared and is wrong; ``attempts_left`` is 0 at the last one."""

    code = "otp_invalid"
    status = 401
    title = "Invalid code"

    def __init__(self, *, attempts_left: int | None = None) -> None:
        self.attempts_left = attempts_left
        super().__init__("The code is not right.", attempts_left=attempts_left)


class CodeExpired(OTPAuthError):
    """The code, right or wrong, came too late; nothing was compared."""

    code = "otp_expired"
    status = 401
    title = "Code expired"


class ChallengeGone(OTPAuthError):
    """There is nothing to answer: unknown, used, replaced or exhausted."""

    code = "challenge_invalid"
    status = 401
    title = "Challenge not valid"


class AuthenticationRequired(OTPAuthError):
    """No credentials or bad ones (RFC 6750, 3)."""

    code = "authentication_required"
    status = 401
    title = "Authentication required"

    def __init__(self, detail: str | None = None, *, token_rejected: bool = False, reason: str | None = None) -> None:
        self.token_rejected = token_rejected
        self.reason = reason
        super().__init__(detail)

    @property
    @override
    def headers(self) -> dict[str, str]:
        # RFC 6750, 3.1: a request without credentials gets no error code.
        return {"WWW-Authenticate": 'Bearer error="invalid_token"' if self.token_rejected else "Bearer"}


class InsufficientAuthentication(OTPAuthError):
    """Logged in, but without the factor, method or freshness that the view asks for (RFC 9470, 3)."""

    code = "insufficient_user_authentication"
    status = 401
    title = "More authentication needed"

    def __init__(self, detail: str | None = None, *, max_age: int | None = None) -> None:
        super().__init__(detail, max_age=max_age)

    @property
    @override
    def headers(self) -> dict[str, str]:
        value = f'Bearer error="insufficient_user_authentication", error_description="{self.detail}"'
        age = self.members.get("max_age")
        return {"WWW-Authenticate": value if age is None else f'{value}, max_age="{age}"'}


class Forbidden(OTPAuthError):
    """The user lacks the role, or a hook of the host refused the request."""

    code = "forbidden"
    status = 403
    title = "Forbidden"


class NoMethod(OTPAuthError):
    """The caller is right so far, and there is no address or authenticator that could get a code."""

    code = "no_method"
    status = 403
    title = "No method to get a code"


class CrossOrigin(OTPAuthError):
    """A request that a cookie authenticates comes from another site."""

    code = "cross_origin"
    status = 403
    title = "Cross-origin request refused"


class IdentifierTaken(OTPAuthError):
    """Another account has that identifier, and telling so is no leak."""

    code = "identifier_taken"
    status = 409
    title = "Identifier taken"

    def __init__(self, field: str) -> None:
        self.field = field
        super().__init__(f"This {field} is taken.")


class RateLimited(OTPAuthError):
    """A budget is spent: nothing was compared and nothing was sent. ``retry_after`` in seconds, 1 or more."""

    code = "rate_limited"
    status = 429
    title = "Too many requests"

    def __init__(self, retry_after: int, *, resend_at: str | None = None) -> None:
        self.retry_after: int = max(1, retry_after)
        super().__init__("Too many requests; try again later.", retry_after=self.retry_after, resend_at=resend_at)


class DeliveryFailed(OTPAuthError):
    """The gateway refused the message, and the caller had proved a password or a session."""

    code = "delivery_failed"
    status = 503
    title = "Message not delivered"

    def __init__(self, retry_after: int = 10) -> None:
        super().__init__("The code could not be sent; try again.", retry_after=retry_after)


class ServiceUnavailable(OTPAuthError):
    """The database or the store is away: nothing is let through."""

    code = "service_unavailable"
    status = 503
    title = "Service unavailable"

    def __init__(self, retry_after: int = 5) -> None:
        super().__init__("The service is not available; try again.", retry_after=retry_after)
