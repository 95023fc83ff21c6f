"""What each endpoint takes and answers: one entry an endpoint, as the settings of the app have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import (
    AuthenticationRequired,
    ChallengeGone,
    CodeExpired,
    CrossOrigin,
    DeliveryFailed,
    Forbidden,
    IdentifierTaken,
    InsufficientAuthentication,
    InvalidCredentials,
    MalformedRequest,
    NoMethod,
    PayloadTooLarge,
    RateLimited,
    ServiceUnavailable,
    UnsupportedMediaType,
    ValidationFailed,
    WrongCode,
)
from .operations import ACCESS, PENDING, REFRESH, Errors, Facts, Operation, Success

_BODY: Errors = (MalformedRequest, ValidationFailed, UnsupportedMediaType, PayloadTooLarge)
_AWAY: Errors = (ServiceUnavailable,)
_ASKED: Errors = (Forbidden,)
"""Where a code is sent, a ``before_send`` of the host may refuse; it may be registered after the document was made."""

CHALLENGE = Success(status=202, text="A code is on its way.", body="Challenge", session=True)
TOKENS = Success(status=200, text="Logged in.", body="Login", login=True, session=True)
REGISTERED = Success(status=201, text="The account exists now.", body="Registered", session=True)


def _register(facts: Facts) -> Operation:
    proved = facts.settings.registration in {"confirm", "login-code"}
    kinds = {
        "confirm": "The account exists once the code that is sent was proved.",
        "login-code": "The account exists, and the code of its first login is sent.",
        "open": "The account exists at once.",
    }
    return Operation(
        summary="Register",
        text=kinds.get(facts.settings.registration, ""),
        tag="registration",
        request="Register",
        successes=(CHALLENGE if proved else REGISTERED,),
        errors=(*_BODY, IdentifierTaken, RateLimited, *(_ASKED if proved else ()), *_AWAY),
    )


def _login(facts: Facts) -> Operation:
    settings = facts.settings
    if not settings.passwordless:
        coded = settings.second_factor != "never"
        return Operation(
            summary="Log in with a password",
            text="Where a code is due, the answer is a challenge with `mfa_required`, else the login itself."
            if coded
            else "No code is asked for.",
            tag="login",
            request="Login",
            successes=(
                Success(
                    status=200, text="A challenge, or the login.", body="LoginOrChallenge", login=True, session=True
                ),
            )
            if coded
            else (TOKENS,),
            errors=(
                *_BODY,
                InvalidCredentials,
                RateLimited,
                *((NoMethod, DeliveryFailed, *_ASKED) if coded else ()),
                *_AWAY,
            ),
        )
    by_identifier = settings.challenge_lookup == "identifier"
    codes = _codes(facts) if by_identifier else ()
    return Operation(
        summary="Log in with a code",
        text="Sends a code; with the code, logs in." if by_identifier else "Sends a code.",
        tag="login",
        request="Login",
        successes=(CHALLENGE, *(_finished(facts) if by_identifier else ())),
        errors=(*_BODY, RateLimited, *codes, *_ASKED, *_AWAY),
    )


def _finished(facts: Facts) -> tuple[Success, ...]:
    confirms = facts.settings.registration == "confirm" and not facts.settings.login_on_confirm
    return (TOKENS, REGISTERED) if confirms else (TOKENS,)


def _verify_otp(facts: Facts) -> Operation:
    return Operation(
        summary="Prove a code",
        text="Answers a challenge of a login, a registration or a step-up. Each guess is counted.",
        tag="codes",
        request="VerifyOtp",
        successes=_finished(facts),
        errors=(*_BODY, *_codes(facts), *_AWAY),
        needs=PENDING,
    )


def _resend_otp(facts: Facts) -> Operation:
    return Operation(
        summary="Ask for another code",
        text="The challenge keeps its id, the attempts left and the end of its flow.",
        tag="codes",
        request="ResendOtp",
        successes=(CHALLENGE,),
        errors=(
            *_BODY, ChallengeGone, RateLimited, DeliveryFailed, *_forged(facts), *_ASKED, *_AWAY,
        ),
        needs=PENDING,
    )  # fmt: skip


def _step_up(facts: Facts) -> Operation:
    return Operation(
        summary="Prove oneself again",
        text="Sends a code for fresh credentials of the same session; a user without a second factor gives his "
        "password.",
        tag="codes",
        request="StepUp",
        successes=(CHALLENGE, TOKENS),
        errors=(
            *_BODY, AuthenticationRequired, InvalidCredentials, InsufficientAuthentication, ChallengeGone, NoMethod,
            RateLimited, DeliveryFailed, *_forged(facts), *_ASKED, *_AWAY,
        ),
        needs=ACCESS,
    )  # fmt: skip


def _refresh(facts: Facts) -> Operation:
    return Operation(
        summary="Exchange the refresh token",
        text="A refresh token is good for one exchange; used again later, it ends its session."
        if facts.tokens
        else "This app hands out no tokens.",
        tag="session",
        request="Nothing",
        successes=(TOKENS,),
        errors=(*_BODY, AuthenticationRequired, *_AWAY),
        needs=REFRESH,
    )


def _logout(facts: Facts) -> Operation:
    return Operation(
        summary="Log out",
        text="Ends the session: its cookie and its tokens are refused from the next request on.",
        tag="session",
        request="Nothing",
        successes=(Success(status=204, text="Logged out.", session=True),),
        errors=(*_BODY, AuthenticationRequired, *_forged(facts), *_AWAY),
        needs=ACCESS,
    )


def _me(_: Facts) -> Operation:
    return Operation(
        summary="Show who is logged in",
        text="The user as he is now, and the session that the request presents.",
        tag="session",
        successes=(Success(status=200, text="The user and the session.", body="Me"),),
        errors=(AuthenticationRequired, *_AWAY),
        needs=ACCESS,
    )


def _sessions(_: Facts) -> Operation:
    return Operation(
        summary="List one's sessions",
        text="All live sessions of the user, the newest first. Their ids open nothing.",
        tag="session",
        successes=(Success(status=200, text="The sessions.", body="Sessions"),),
        errors=(AuthenticationRequired, *_AWAY),
        needs=ACCESS,
    )


def _end_session(facts: Facts) -> Operation:
    return Operation(
        summary="End one of one's sessions",
        text="By the id that the list tells; the session that asks may be ended too.",
        tag="session",
        request="Nothing",
        successes=(Success(status=204, text="Ended.", session=True),),
        errors=(*_BODY, AuthenticationRequired, *_forged(facts), *_AWAY),
        needs=ACCESS,
    )


def _end_other_sessions(facts: Facts) -> Operation:
    return Operation(
        summary="End all other sessions",
        text="All sessions of the user but the one that asks.",
        tag="session",
        request="Nothing",
        successes=(Success(status=204, text="Ended."),),
        errors=(*_BODY, AuthenticationRequired, *_forged(facts), *_AWAY),
        needs=ACCESS,
    )


def _mfa(_: Facts) -> Operation:
    return Operation(
        summary="Show the second factor",
        text="Whether a code is due after the password, and what can get one.",
        tag="mfa",
        successes=(Success(status=200, text="The factors.", body="Factors"),),
        errors=(AuthenticationRequired, *_AWAY),
        needs=ACCESS,
    )


def _switch_mfa(facts: Facts) -> Operation:
    return Operation(
        summary="Switch the second factor on or off",
        text="Needs fresh proof of what is there now. Switched on, it ends the user's other sessions.",
        tag="mfa",
        request="Mfa",
        successes=(Success(status=200, text="The factors.", body="Factors"),),
        errors=(
            *_BODY, AuthenticationRequired, InsufficientAuthentication, NoMethod, *_forged(facts), *_AWAY,
        ),
        needs=ACCESS,
    )  # fmt: skip


def _health(_: Facts) -> Operation:
    return Operation(
        summary="Tell whether the service works",
        text="Looks at the database and the store.",
        tag="service",
        successes=(Success(status=200, text="It works.", body="Health"),),
        errors=_AWAY,
    )


def _inbox(_: Facts) -> Operation:
    return Operation(
        summary="Show the last messages",
        text="From the machine itself only; in debug, testing and demonstrations only.",
        tag="service",
        successes=(Success(status=200, text="A page.", body="Page", media="text/html"),),
        refusals={404: "The request comes from elsewhere."},
    )


def _openapi(_: Facts) -> Operation:
    return Operation(
        summary="Show this document",
        text="OpenAPI 3.1.",
        tag="service",
        successes=(Success(status=200, text="The document.", body="Document"),),
    )


def _codes(facts: Facts) -> Errors:
    # The one registration that is proved by a code alone may find its name taken meanwhile.
    taken: Errors = (IdentifierTaken,) if facts.settings.registration == "confirm" else ()
    return (WrongCode, CodeExpired, ChallengeGone, RateLimited, *taken, *_forged(facts))


def _forged(facts: Facts) -> Errors:
    return (CrossOrigin,) if facts.cookies else ()


OPERATIONS: Mapping[str, Callable[[Facts], Operation]] = {
    "register": _register,
    "login": _login,
    "verify_otp": _verify_otp,
    "resend_otp": _resend_otp,
    "refresh": _refresh,
    "logout": _logout,
    "me": _me,
    "sessions": _sessions,
    "end_session": _end_session,
    "end_other_sessions": _end_other_sessions,
    "step_up": _step_up,
    "mfa": _mfa,
    "switch_mfa": _switch_mfa,
    "health": _health,
    "inbox": _inbox,
    "openapi": _openapi,
}
"""
By endpoint; an endpoint without an entry is left out of the document, and a test fails.

Swagger UI has none: it shows the interface, and is no part of it.
"""

TAGS: Mapping[str, str] = {
    "registration": "Making an account.",
    "login": "Opening a session.",
    "codes": "One-time codes.",
    "session": "What a finished login can do.",
    "mfa": "The second factor.",
    "service": "About the service itself.",
    "app": "Views of the app.",
}
"""With their texts, in the order of the document."""
