"""Who the users are: identifiers, passwords, the built-in model, and ``Users`` over a model or a ``UserStore``."""

from .custom import CustomUsers
from .identifiers import Identifiers, mask
from .memory import SharedConnection
from .models import UserMixin, user_model
from .passwords import Passwords, Verdict
from .sqlalchemy import Connections, SqlUsers

__all__ = [
    "Connections",
    "CustomUsers",
    "Identifiers",
    "Passwords",
    "SharedConnection",
    "SqlUsers",
    "UserMixin",
    "Verdict",
    "mask",
    "user_model",
]
