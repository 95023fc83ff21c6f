"""Credentials of finished logins: tokens and the cookie, both names of one row of sessions."""

from .manager import checks_revocation, ensure_manager
from .origins import check_origin
from .reading import real_request
from .sessions import Sessions, TokenReused
from .tokens import Tokens

__all__ = ["Sessions", "TokenReused", "Tokens", "check_origin", "checks_revocation", "ensure_manager", "real_request"]
