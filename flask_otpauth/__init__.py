"""One-time-code authentication for Flask: registration, login, codes, sessions, tokens and protected views."""

from . import errors, signals
from .decorators import auth_required, current_session, current_user, otp_required
from .errors import ConfigurationError, FieldError, IdentifierTaken, OTPAuthError
from .extension import OTPAuth
from .types import Account, Answer, Event, Message, Sender, SendRequest, Session, UserStore
from .users import UserMixin

__all__ = [
    "Account",
    "Answer",
    "ConfigurationError",
    "Event",
    "FieldError",
    "IdentifierTaken",
    "Message",
    "OTPAuth",
    "OTPAuthError",
    "SendRequest",
    "Sender",
    "Session",
    "UserMixin",
    "UserStore",
    "auth_required",
    "current_session",
    "current_user",
    "errors",
    "otp_required",
    "signals",
]
