"""Checks of the settings, the app's own and ours. Nothing is asked of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ..config import check_secret
from ..delivery import shown
from ..flows.parts import carries
from ..sessions.manager import NAME as MANAGER
from ..types import Kind
from ..users import SqlUsers
from .findings import Check, Finding, fault, warning
from .tools import Tools

ENOUGH = 32
"""Bytes of a secret: the output of the hash that it keys (RFC 7518, 3.2)."""

_GOOD_ROUNDS = 12
_MAKE_ONE = "Make one with python -c 'import secrets; print(secrets.token_hex())'."


def secret(tools: Tools) -> Iterable[Finding]:
    """Length and fame of the app's secret, and of the earlier ones, which still open."""
    current, *earlier = tools.secrets
    # Flask signs its session with the app's own secret, whatever ours is.
    keys = {current, tools.app.secret_key} if tools.parts.settings.holds_sessions else {current}
    if any(check_secret(one, lenient=False) for one in keys):
        yield fault("13.3.1", "SECRET_KEY or OTPAUTH_SECRET_KEY is missing, short or well known.", _MAKE_ONE)
    elif min(map(_length, keys)) < ENOUGH:
        yield warning("11.2.3", f"The secret has {min(map(_length, keys))} bytes, fewer than {ENOUGH}.", _MAKE_ONE)
    if any(check_secret(one, lenient=False) for one in earlier):
        yield fault("13.3.1", "SECRET_KEY_FALLBACKS holds a short or well-known secret.", "Take it out.")
    elif earlier:
        yield warning(
            "13.3.4",
            "SECRET_KEY_FALLBACKS is set: whoever has an earlier secret can still sign.",
            "Take it out when OTPAUTH_REFRESH_LIFETIME has passed since the change.",
        )


def modes(tools: Tools) -> Iterable[Finding]:
    """Debug, testing, demonstration."""
    app = tools.app
    for name, on, cure in (
        ("Debug", app.debug or tools.debug, "Start without --debug and FLASK_DEBUG."),
        ("TESTING", app.testing, "Take TESTING out of the configuration."),
        ("OTPAUTH_DEMO", tools.parts.settings.demo, "Take OTPAUTH_DEMO out of the configuration."),
    ):
        if on:
            yield fault("13.4.2", f"{name} is on: weak secrets, the console and the inbox of codes are let in.", cure)


def channels(tools: Tools) -> Iterable[Finding]:
    """Who brings the codes."""
    post = tools.post
    for name in post.missing:
        yield fault(
            "6.3.3", f"Channel {name} has no sender.", f"Register one (@auth.sender({name!r})), or leave it out."
        )
    if not post.channels:
        yield fault("6.3.3", "No channel has a sender: nobody gets a code.", "Register one, or set SMTP_SERVER.")
    standing_in = [name for name in post.channels if name not in post.chains]
    for name in (*standing_in, *shown(post.chains)):
        yield fault(
            "13.4.2",
            f"Codes of channel {name} go to the console or the development inbox.",
            "Register a sender that reaches people.",
        )


def mail(tools: Tools) -> Iterable[Finding]:
    """Messages on the wire."""
    for name, chain in tools.post.chains.items():
        if any(getattr(one, "plain", False) for one in chain):
            yield fault(
                "12.3.1",
                f"Codes of channel {name} leave this machine in plain text.",
                "Set MAIL_USE_TLS or MAIL_USE_SSL, or SMTP_SERVER and SMTP_PORT 587 or 465; https:// for a gateway.",
            )


def cookies(tools: Tools) -> Iterable[Finding]:
    """The app's session cookie: a fault where a finished login is in it."""
    config = _config(tools)
    serious = fault if tools.parts.settings.holds_sessions else warning
    if not config.get("SESSION_COOKIE_SECURE"):
        yield serious("3.3.1", "The session cookie goes over plain HTTP too.", "Set SESSION_COOKIE_SECURE to True.")
    if not config.get("SESSION_COOKIE_HTTPONLY"):
        yield serious("3.3.4", "Scripts can read the session cookie.", "Leave SESSION_COOKIE_HTTPONLY at True.")
    if config.get("SESSION_COOKIE_SAMESITE") not in {"Lax", "Strict"}:
        yield warning(
            "3.3.2",
            "The session cookie goes along with other sites' requests.",
            "Set SESSION_COOKIE_SAMESITE to 'Lax'.",
        )


def proxy(tools: Tools) -> Iterable[Finding]:
    """Whose addresses are counted."""
    found = _proxy_fix(tools.app.wsgi_app)
    if found is None or not getattr(found, "x_for", 0):
        yield warning(
            "15.3.4",
            "X-Forwarded-For is ignored: behind a proxy all clients share one address, and its limits.",
            "Behind a proxy: app.wsgi_app = ProxyFix(app.wsgi_app, x_for=<how many proxies>, x_proto=1, x_host=1).",
        )


def password_cost(tools: Tools) -> Iterable[Finding]:
    """What a guess at a stolen hash costs."""
    settings = tools.parts.settings
    if settings.password_hash == "bcrypt" and settings.bcrypt_rounds < _GOOD_ROUNDS:  # noqa: S105 - a scheme's name
        level = warning if settings.bcrypt_rounds >= _GOOD_ROUNDS - 2 else fault
        told = f"OTPAUTH_BCRYPT_ROUNDS is {settings.bcrypt_rounds}."
        yield level("11.4.2", told, f"Leave it at {_GOOD_ROUNDS}: hashes are made anew at the next logins.")


def countries(tools: Tools) -> Iterable[Finding]:
    """Where messages go at the app's cost."""
    settings = tools.parts.settings
    if not any(carries(name) is Kind.PHONE for name in tools.post.channels):
        return
    if settings.sms_countries is None and settings.phone_region is None:
        yield fault(
            "2.4.1",
            "Numbers of every country get messages.",
            "Name those that you serve in OTPAUTH_SMS_COUNTRIES, or set OTPAUTH_PHONE_REGION.",
        )
    if settings.send_total is None:
        yield warning(
            "2.4.1",
            "There is no budget for the codes of the whole app: pumping is stopped per number and address only.",
            "Set OTPAUTH_SEND_TOTAL, some times what you expect: '2000 per day'.",
        )


def registration(tools: Tools) -> Iterable[Finding]:
    """Whether registration tells who has an account (G4)."""
    kind = tools.parts.settings.registration
    if kind == "open" or (kind == "login-code" and "password" in tools.register_fields):
        yield warning(
            "6.3.8",
            f"Registration {kind!r} answers 409 for an address that is taken: it tells who has an account.",
            "Set OTPAUTH_REGISTRATION to 'confirm' or 'closed', or accept it.",
        )
    elif kind != "closed" and (needed := _needed_addresses(tools)):
        yield warning(
            "6.3.8",
            f"Two addresses are registered, and {' and '.join(needed)} may not be NULL: registration tells that one is "
            "taken, and it can't be taken from who named it beside his own.",
            "Make the column nullable, or leave one address out of OTPAUTH_REGISTER_FIELDS.",
        )


def _needed_addresses(tools: Tools) -> list[str]:
    """Give the addresses that the model needs, where registration takes two, of which it proves one."""
    users, fields = tools.parts.users, tools.register_fields
    if not isinstance(users, SqlUsers) or not {Kind.EMAIL, Kind.PHONE} <= fields.keys():
        return []
    return sorted(users.required - {Kind.USERNAME})


def lookup(tools: Tools) -> Iterable[Finding]:
    """Whether a code is bound to the browser that asked for it."""
    settings = tools.parts.settings
    if settings.challenge_lookup == "identifier" and "session" not in settings.credentials:
        yield warning(
            "6.6.2",
            "Challenges are named by identifier and no cookie binds them: a code opens for whoever knows the name.",
            "Set OTPAUTH_CHALLENGE_LOOKUP to 'id', or add 'session' to OTPAUTH_CREDENTIALS.",
        )


def notices(tools: Tools) -> Iterable[Finding]:
    """Whether owners hear of attacks."""
    if not tools.parts.settings.notices:
        yield warning("6.3.5", "Owners aren't told of locks and new devices.", "Set OTPAUTH_NOTICES to True.")


def revocation(tools: Tools) -> Iterable[Finding]:
    """Whether the end of a session holds everywhere at once (G8)."""
    manager: Any = tools.app.extensions[MANAGER]
    if tools.tokens.displaced:
        yield fault("7.4.1", "A JWTManager was put on the app after OTPAuth(app).", "Make yours first.")
    elif not tools.tokens.ours and not hasattr(manager._token_in_blocklist_callback, "otpauth_revocation"):
        yield warning(
            "7.4.1",
            "Plain @jwt_required of the app's own JWTManager doesn't see that a session was ended.",
            "Register jwt.token_in_blocklist_loader(auth.token_revoked).",
        )
    if tools.parts.settings.session_cache:
        yield warning(
            "7.4.1",
            f"A logout on another worker holds up to {tools.parts.settings.session_cache} s later.",
            "Set OTPAUTH_SESSION_CACHE to 0, or accept it.",
        )


def token_key(tools: Tools) -> Iterable[Finding]:
    """The key of tokens, where the host chose it."""
    config = _config(tools)
    key = config.get("JWT_SECRET_KEY") or config.get("SECRET_KEY")
    if not str(config.get("JWT_ALGORITHM", "HS256")).startswith("HS"):
        return
    if check_secret(key, lenient=False):
        yield fault("9.1.1", "The key of tokens (JWT_SECRET_KEY) is missing, short or well known.", _MAKE_ONE)
    elif _length(key) < ENOUGH:
        yield warning("11.2.3", f"The key of tokens has {_length(key)} bytes, fewer than {ENOUGH}.", _MAKE_ONE)


CHECKS = (
    Check(name="secret", look=secret),
    Check(name="token key", look=token_key),
    Check(name="modes", look=modes),
    Check(name="channels", look=channels),
    Check(name="transport", look=mail),
    Check(name="cookies", look=cookies),
    Check(name="proxy", look=proxy),
    Check(name="password cost", look=password_cost),
    Check(name="countries", look=countries),
    Check(name="registration", look=registration),
    Check(name="look-up", look=lookup),
    Check(name="notices", look=notices),
    Check(name="revocation", look=revocation),
)


def _config(tools: Tools) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", tools.app.config)


def _length(key: str | bytes | None) -> int:
    return len(key.encode() if isinstance(key, str) else key or b"")


def _proxy_fix(layer: Any) -> Any:
    """Find Werkzeug's middleware among the layers around the app, as far as they say what they wrap."""
    for _ in range(20):
        if layer is None or type(layer).__name__ == "ProxyFix":
            return layer
        layer = getattr(layer, "app", None) or getattr(layer, "wsgi_app", None)
    return None
