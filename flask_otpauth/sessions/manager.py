"""The app's ``JWTManager``: the host's own, never touched, or else one of ours; and what its config says of tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import Flask, current_app
from flask_jwt_extended import JWTManager, default_callbacks
from flask_jwt_extended.exceptions import JWTDecodeError, JWTExtendedException
from jwt.algorithms import requires_cryptography
from jwt.exceptions import ExpiredSignatureError, InvalidTokenError
from typing_extensions import override

from ..config import Settings
from .memo import Memo

if TYPE_CHECKING:
    from .claims import Claims

NAME = "flask-jwt-extended"

# Flask-JWT-Extended is typed in part only.
defaults: Any = default_callbacks
F = TypeVar("F", bound=Callable[..., object])


class _Expired(JWTExtendedException):
    """An expired token that ``jwt_required`` of our own manager was given."""

    def __init__(self, header: dict[str, Any], claims: dict[str, Any]) -> None:
        super().__init__("Signature has expired")
        self.header = header
        self.claims = claims


class _OwnErrorsOnly:
    """Stands in for the app where the manager registers its error handlers, and passes on those for its own errors."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def errorhandler(self, error: type[Exception]) -> Callable[[F], F]:
        # The manager takes PyJWT's errors too, whoever raised them: it would answer for the host's own use of PyJWT.
        if issubclass(error, JWTExtendedException):
            return cast("Callable[[F], F]", self._app.errorhandler(error))
        return lambda handler: handler


class OwnManager(JWTManager):
    """Flask-JWT-Extended's manager that answers for its own errors only."""

    @override
    def _set_error_handler_callbacks(self, app: Flask) -> None:
        super()._set_error_handler_callbacks(cast("Flask", _OwnErrorsOnly(app)))

        loaders: Any = self

        def expired(error: _Expired) -> Any:
            return loaders._expired_token_callback(error.header, error.claims)

        app.register_error_handler(_Expired, expired)

    @override
    def _decode_jwt_from_config(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        inherited: Any = super()
        try:
            return cast("dict[str, Any]", inherited._decode_jwt_from_config(*args, **kwargs))
        except ExpiredSignatureError as error:
            told = cast("Any", error)
            raise _Expired(told.jwt_header, told.jwt_data) from error
        except InvalidTokenError as error:
            raise JWTDecodeError(str(error)) from error


def checks_revocation(function: F) -> F:
    """Mark a function as our own check of revocation: registered with a host's manager, it needn't be asked twice."""
    function.__dict__["otpauth_revocation"] = True
    return function


@checks_revocation
def _revoked(header: dict[str, Any], claims: dict[str, Any]) -> bool:
    return bool(current_app.extensions["otpauth"].sessions.token_revoked(header, claims))


def ensure_manager(app: Flask, settings: Settings, keys: tuple[str, ...], issuer: str) -> bool:
    """
    Make a ``JWTManager`` where the app has none, and tell whether it is ours.

    Ours takes each setting that the host gave it; plain ``@jwt_required()`` accepts our access tokens and refuses
    those of sessions that are over.
    """
    if NAME in app.extensions:
        return isinstance(app.extensions[NAME], OwnManager)
    config = cast("dict[str, Any]", app.config)
    # None is what the manager itself would put there, so it is no choice of the host.
    if not config.get("JWT_SECRET_KEY"):
        config["JWT_SECRET_KEY"] = keys[0]
    config.setdefault("JWT_ALGORITHM", "HS256")
    config.setdefault("JWT_TOKEN_LOCATION", ("headers",))
    config.setdefault("JWT_ACCESS_TOKEN_EXPIRES", timedelta(seconds=settings.access_lifetime))
    config.setdefault("JWT_REFRESH_TOKEN_EXPIRES", timedelta(seconds=settings.refresh_lifetime))
    for name in ("ISSUER", "AUDIENCE"):
        config.setdefault(f"JWT_ENCODE_{name}", issuer)
        config.setdefault(f"JWT_DECODE_{name}", config[f"JWT_ENCODE_{name}"])
    manager: Any = OwnManager(app)
    manager.token_in_blocklist_loader(_revoked)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    What the manager's config says of tokens, and the tokens that were accepted under just that.

    Attributes:
        keys: That verify, the current one first.
        scheme: Lower case ("bearer"); empty where the header holds the token alone.
        header: Key of the header in a WSGI environment.
        cookie: Name of the cookie for access tokens; None where the config doesn't take tokens from cookies.
        csrf: Whether a token in a cookie needs its double-submit value, which is then one of its claims.
        accepted: Claims of access tokens that PyJWT has verified, by the token.
    """

    key: Any
    keys: tuple[Any, ...]
    algorithm: str
    algorithms: tuple[str, ...]
    issuer: str | None
    issuers: Any
    audience: Any
    audiences: Any
    leeway: int
    identity: str
    not_before: bool
    header: str
    scheme: str
    hidden: re.Pattern[str]
    cookie: str | None
    csrf: bool
    csrf_header: str
    csrf_field: str | None
    csrf_methods: frozenset[str]
    accepted: Memo[str, Claims] = field(default_factory=Memo[str, "Claims"])


_NAMES = (
    "JWT_ALGORITHM",
    "JWT_SECRET_KEY",
    "SECRET_KEY",
    "JWT_PRIVATE_KEY",
    "JWT_PUBLIC_KEY",
    "JWT_DECODE_ALGORITHMS",
    "JWT_ENCODE_ISSUER",
    "JWT_DECODE_ISSUER",
    "JWT_ENCODE_AUDIENCE",
    "JWT_DECODE_AUDIENCE",
    "JWT_DECODE_LEEWAY",
    "JWT_IDENTITY_CLAIM",
    "JWT_ENCODE_NBF",
    "JWT_HEADER_NAME",
    "JWT_HEADER_TYPE",
    "JWT_TOKEN_LOCATION",
    "JWT_ACCESS_COOKIE_NAME",
    "JWT_COOKIE_CSRF_PROTECT",
    "JWT_ACCESS_CSRF_HEADER_NAME",
    "JWT_ACCESS_CSRF_FIELD_NAME",
    "JWT_CSRF_CHECK_FORM",
    "JWT_CSRF_METHODS",
)


class ManagerConfig:
    """Reads the manager's part of an app's config; read again as soon as any of it has changed."""

    def __init__(self, app: Flask, keys: tuple[str, ...], *, ours: bool) -> None:
        self._config = app.config
        self._values: Callable[[Any], tuple[Any, ...]] = itemgetter(*_NAMES)
        self._keys = keys
        self._ours = ours
        self._read: tuple[tuple[Any, ...], Rules] | None = None

    def rules(self) -> Rules:
        now = self._values(self._config)
        read = self._read
        if read is None or read[0] != now:
            # Copies of lists: one that is changed in place must not equal itself.
            read = (tuple(_copied(value) for value in now), self._rules(now))
            self._read = read
        return read[1]

    def _rules(self, values: tuple[Any, ...]) -> Rules:
        config: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
        algorithm: str = config["JWT_ALGORITHM"]
        key, keys = self._key_pair(config)
        scheme: str = (config["JWT_HEADER_TYPE"] or "").lower()
        locations = config["JWT_TOKEN_LOCATION"]
        in_cookies = "cookies" in ((locations,) if isinstance(locations, str) else locations)
        audiences, issuers = config["JWT_DECODE_AUDIENCE"], config["JWT_DECODE_ISSUER"]
        return Rules(
            key=key,
            keys=keys,
            algorithm=algorithm,
            algorithms=tuple(dict.fromkeys((*(config["JWT_DECODE_ALGORITHMS"] or ()), algorithm))),
            issuer=config["JWT_ENCODE_ISSUER"] or _first(issuers),
            issuers=issuers,
            # PyJWT refuses an audience that nobody asks for: there is one only where the config has one.
            audience=config["JWT_ENCODE_AUDIENCE"] or _first(audiences),
            audiences=audiences,
            leeway=_seconds(config["JWT_DECODE_LEEWAY"]),
            identity=config["JWT_IDENTITY_CLAIM"],
            not_before=bool(config["JWT_ENCODE_NBF"]),
            header="HTTP_" + str(config["JWT_HEADER_NAME"]).upper().replace("-", "_"),
            scheme=scheme,
            hidden=re.compile(rf"(?:^|,)\s*{re.escape(scheme)}(?:[\s,]|$)", re.IGNORECASE),
            cookie=config["JWT_ACCESS_COOKIE_NAME"] if in_cookies else None,
            csrf=in_cookies and bool(config["JWT_COOKIE_CSRF_PROTECT"]),
            csrf_header=config["JWT_ACCESS_CSRF_HEADER_NAME"],
            csrf_field=config["JWT_ACCESS_CSRF_FIELD_NAME"] if config["JWT_CSRF_CHECK_FORM"] else None,
            csrf_methods=frozenset(config["JWT_CSRF_METHODS"]),
        )

    def _key_pair(self, config: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        if config["JWT_ALGORITHM"] in requires_cryptography:
            return config["JWT_PRIVATE_KEY"], (config["JWT_PUBLIC_KEY"],)
        key = config["JWT_SECRET_KEY"] or config["SECRET_KEY"]
        # Earlier keys of ours stay good; beside a key that the host chose there are none.
        return key, self._keys if self._ours and key == self._keys[0] else (key,)


class Loaders:
    """What the host registered with its ``JWTManager``; looked at each time, since it may do so at any time."""

    def __init__(self, manager: Any) -> None:
        self.manager: Any = manager

    @property
    def write(self) -> bool:
        """Whether the host has a say in what tokens hold or how they are signed."""
        return not (
            self.manager._user_claims_callback is defaults.default_additional_claims_callback
            and self.manager._jwt_additional_header_callback is defaults.default_jwt_headers_callback
            and self.manager._encode_key_callback is defaults.default_encode_key_callback
            and not self.identify
        )

    @property
    def identify(self) -> bool:
        """Whether the host turns its users into identities itself."""
        return self.manager._user_identity_callback is not defaults.default_user_identity_callback

    @property
    def judge(self) -> bool:
        """Whether the host has a say in which tokens are good."""
        blocklist = self.manager._token_in_blocklist_callback
        return not (
            self.manager._decode_key_callback is defaults.default_decode_key_callback
            and self.manager._token_verification_callback is defaults.default_token_verification_callback
            and self.manager._user_lookup_callback is None
            and (blocklist is defaults.default_blocklist_callback or hasattr(blocklist, "otpauth_revocation"))
        )

    def refuse(self, header: dict[str, Any], claims: dict[str, Any]) -> bool:
        """Ask the host about a token whose signature is right."""
        lookup = self.manager._user_lookup_callback
        return bool(
            self.manager._token_in_blocklist_callback(header, claims)
            or not self.manager._token_verification_callback(header, claims)
            or (lookup is not None and lookup(header, claims) is None)
        )


def _first(given: Any) -> str | None:
    if given is None or isinstance(given, str):
        return given
    return next((one for one in given if isinstance(one, str)), None)


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _seconds(leeway: Any) -> int:
    return int(leeway.total_seconds() if isinstance(leeway, timedelta) else leeway)
