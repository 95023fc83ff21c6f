"""Tokens, made and read under the config of the app's ``JWTManager``: plain ``@jwt_required`` takes them."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import flask_jwt_extended
import jwt
from flask import Flask, Request
from flask_jwt_extended.exceptions import CSRFError, JWTExtendedException
from jwt.exceptions import InvalidSignatureError, PyJWTError

from ..config import Settings
from ..errors import AuthenticationRequired, CrossOrigin
from ..types import Instant
from .claims import Claims, Grant, understood, written
from .manager import NAME, Loaders, ManagerConfig, Rules, ensure_manager

# Typed in part only.
extended: Any = flask_jwt_extended

LONGEST = 8192
"""Characters of a token that is looked at."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A good access token, and whether it came in a cookie."""

    claims: Claims
    in_cookie: bool


class Tokens:
    """
    Tokens of one app.

    ``keys`` sign where the host set no key of its own: the current one first, the others verify. ``issuer`` is issuer
    and audience where the host set none.
    """

    def __init__(self, app: Flask, settings: Settings, keys: tuple[str, ...], issuer: str) -> None:
        self._app = app
        self._settings = settings
        self.ours: bool = ensure_manager(app, settings, keys, issuer)
        self._loaders = Loaders(app.extensions[NAME])
        self._config = ManagerConfig(app, keys, ours=self.ours)

    @property
    def displaced(self) -> bool:
        """Whether another ``JWTManager`` was put on the app since: whose rules hold is then anybody's guess."""
        return self._app.extensions.get(NAME) is not self._loaders.manager

    @property
    def names_users(self) -> bool:
        """Whether ``sub`` is our user id, and not what an identity loader of the host makes of its user."""
        return not self._loaders.identify

    def pair(self, grant: Grant, load_user: Callable[[], object | None], further: Mapping[str, Any]) -> tuple[str, str]:
        """
        Make an access and a refresh token; ``load_user`` is asked only where the host has an identity loader.

        ``further`` claims go into the access token, where they are none of ours.
        """
        if self._loaders.write:
            return self._by_manager(grant, load_user, further)
        rules = self._config.rules()
        return self._encoded(rules, grant, "access", further), self._encoded(rules, grant, "refresh", {})

    def bearer(self, request: Request) -> str | None:
        """
        Give the token of the ``Authorization`` header; None where that header is missing or of another scheme.

        Raises:
            AuthenticationRequired: It is malformed, or there are several: no token of it is trusted.
        """
        return self._bearer(request, self._config.rules())

    def presented(self, request: Request, now: Instant) -> Presented | None:
        """
        Read the access token of a request: from the header, or from a cookie where the manager's config takes it.

        A bad one is refused even if another credential beside it is good; query string and body are never looked at.

        Raises:
            AuthenticationRequired: The token is malformed, forged, expired, of another kind or not one of ours.
            CrossOrigin: The double-submit value of a token in a cookie is missing or wrong.
        """
        rules = self._config.rules()
        token = self._bearer(request, rules)
        in_cookie = token is None and rules.cookie is not None
        if in_cookie:
            token = request.cookies.get(str(rules.cookie)) or None
        if token is None:
            return None
        if self._loaders.judge:
            claims = _by_host("cookies" if in_cookie else "headers")
        else:
            claims = self._accepted(token, rules)
            if in_cookie:
                _check_double_submit(request, rules, claims)
        claims.check_time(now, rules.leeway)
        return Presented(claims=claims, in_cookie=in_cookie)

    def read_refresh(self, token: str, now: Instant) -> Claims:
        """
        Read a refresh token.

        Raises:
            AuthenticationRequired: As ``presented``.
        """
        rules = self._config.rules()
        if len(token) > LONGEST or not _COMPACT.fullmatch(token):
            raise AuthenticationRequired(token_rejected=True)
        if self._loaders.judge:
            claims = _refresh_by_host(self._loaders, token)
        else:
            claims = understood(_decoded(token, rules), "refresh")
        claims.check_time(now, rules.leeway)
        return claims

    def _bearer(self, request: Request, rules: Rules) -> str | None:
        value = str(request.environ.get(rules.header, "")).strip()
        if not value:
            return None
        token = value
        if rules.scheme:
            scheme, _, rest = value.partition(" ")
            token = rest.strip()
            if scheme.lower() != rules.scheme and not rules.hidden.search(value):
                return None
            if scheme.lower() != rules.scheme:
                raise AuthenticationRequired(token_rejected=True)
        # Servers join repeated headers by commas, which no token holds.
        if len(token) > LONGEST or not _COMPACT.fullmatch(token):
            raise AuthenticationRequired(token_rejected=True)
        return token

    def _accepted(self, token: str, rules: Rules) -> Claims:
        claims = rules.accepted.get(token)
        if claims is None:
            claims = understood(_decoded(token, rules), "access")
            rules.accepted.put(token, claims)
        return claims

    def _encoded(self, rules: Rules, grant: Grant, kind: str, further: Mapping[str, Any]) -> str:
        lifetime = self._settings.access_lifetime
        payload = {**further, **written(grant, kind, jti=_jti(grant, kind), lifetime=lifetime)}
        payload[rules.identity] = grant.user_id
        if rules.not_before:
            payload["nbf"] = payload["iat"]
        if rules.issuer:
            payload["iss"] = rules.issuer
        if rules.audience:
            payload["aud"] = rules.audience
        if rules.csrf:
            payload["csrf"] = secrets.token_urlsafe(16)
        return jwt.encode(payload, rules.key, rules.algorithm)

    def _by_manager(
        self, grant: Grant, load_user: Callable[[], object | None], further: Mapping[str, Any]
    ) -> tuple[str, str]:
        rules = self._config.rules()
        identity: object = load_user() if self._loaders.identify else grant.user_id
        made: list[str] = []
        for kind, create in (("access", extended.create_access_token), ("refresh", extended.create_refresh_token)):
            claims = written(grant, kind, jti=_jti(grant, kind), lifetime=self._settings.access_lifetime)
            if kind == "access":
                own = {name: value for name, value in further.items() if name != rules.identity}
                claims = {**own, **claims}
            if rules.identity == "sub":
                del claims["sub"]  # the manager asks the host's identity loader
            if rules.not_before:
                claims["nbf"] = claims["iat"]
            lifetime = timedelta(seconds=claims["exp"] - claims["iat"])
            made.append(create(identity, expires_delta=lifetime, additional_claims=claims))
        return made[0], made[1]


def _jti(grant: Grant, kind: str) -> str:
    return grant.refresh if kind == "refresh" else secrets.token_urlsafe(16)


def _decoded(token: str, rules: Rules) -> dict[str, Any]:
    refused: PyJWTError | None = None
    for key in rules.keys:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=list(rules.algorithms),
                audience=rules.audiences,
                issuer=rules.issuers,
                # Times are checked by the app's clock, with the claims as they are remembered.
                options={
                    "require": ["exp", "sub", "sid", "jti"],
                    "verify_aud": rules.audiences is not None,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except InvalidSignatureError as error:
            refused = error
        except PyJWTError as error:
            refused = error
            break
    raise AuthenticationRequired(token_rejected=True) from refused


def _check_double_submit(request: Request, rules: Rules, claims: Claims) -> None:
    if not rules.csrf or request.method not in rules.csrf_methods:
        return
    value = request.headers.get(rules.csrf_header)
    if not value and rules.csrf_field is not None:
        value = request.form.get(rules.csrf_field)
    if not value or claims.csrf is None or not hmac.compare_digest(value.encode(), claims.csrf.encode()):
        raise CrossOrigin("The anti-forgery token is missing or wrong.")


def _by_host(location: str) -> Claims:
    """Ask the manager, whose loaders the host has set, about the access token of the current request."""
    try:
        verified = extended.verify_jwt_in_request(locations=[location])
    except CSRFError as error:
        raise CrossOrigin("The anti-forgery token is missing or wrong.") from error
    except (JWTExtendedException, PyJWTError) as error:
        raise AuthenticationRequired(token_rejected=True) from error
    if verified is None:
        raise AuthenticationRequired(token_rejected=True)
    return understood(cast("dict[str, Any]", verified[1]), "access")


def _refresh_by_host(loaders: Loaders, token: str) -> Claims:
    # A refresh token may come from a program, outside any request: so the loaders are asked one by one.
    try:
        payload: dict[str, Any] = extended.decode_token(token)
        header: dict[str, Any] = jwt.get_unverified_header(token)
    except (JWTExtendedException, PyJWTError) as error:
        raise AuthenticationRequired(token_rejected=True) from error
    if loaders.refuse(header, payload):
        raise AuthenticationRequired(token_rejected=True)
    return understood(payload, "refresh")
