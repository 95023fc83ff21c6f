"""What there is to say of an operation, and what that depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..config import Settings
from ..errors import OTPAuthError

Errors = tuple[type[OTPAuthError], ...]

ACCESS, REFRESH, PENDING, NOTHING = "access", "refresh", "pending", "nothing"
"""What an operation asks of its caller; "pending": a browser's cookie may name the challenge."""

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    What the document depends on.

    Attributes:
        bearer: Where access tokens go: name of the header and scheme, as the app's ``JWTManager`` has them; no scheme
            for a header that holds the bare token.
        jwt_cookie: Name of the cookie that may hold an access token.
        session_cookie: Name of the app's session cookie, where that may hold a login.
    """

    settings: Settings
    version: str
    bearer: tuple[str, str]
    jwt_cookie: str | None
    session_cookie: str | None

    @property
    def tokens(self) -> bool:
        """Whether a login hands out tokens."""
        return "jwt" in self.settings.credentials

    @property
    def pending(self) -> bool:
        """Whether a browser's cookie may name the challenge that a JSON client answers."""
        return "session" in self.settings.credentials

    @property
    def cookies(self) -> bool:
        """Whether a cookie may authenticate a request, so that those of other sites are refused."""
        return self.session_cookie is not None or self.jwt_cookie is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """
    One good answer.

    Attributes:
        body: Name of its schema; None where there is no body.
        login: Whether it sets the cookie of a known client.
        session: Whether it changes the app's session, where that is a credential.
        media: Content type of the body.
    """

    status: int
    text: str
    body: str | None = None
    login: bool = False
    session: bool = False
    media: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """
    What an endpoint does.

    Attributes:
        request: Name of the schema that checks the body; None where no body is read.
        refusals: Texts of answers that are no problems (RFC 9457), by status.
    """

    summary: str
    text: str
    tag: str
    successes: tuple[Success, ...]
    errors: Errors = ()
    request: str | None = None
    needs: str = NOTHING
    refusals: Mapping[int, str] | None = None
