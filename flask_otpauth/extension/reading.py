"""The configuration of an app, read once and checked as a whole."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from flask import Flask

from ..api import route_faults, taken_paths
from ..config import Settings, capped, check, check_secret, read, weighed
from ..crypto import Keyring
from ..delivery import mail_sender, shown
from ..errors import ConfigurationError
from ..limits import Strategy, strategy_of
from ..pages import missing_packages, page_route_faults
from ..schemas import name_faults
from ..types import PasswordValidator, Sender, SenderLike
from ..users import Identifiers, Passwords
from .arguments import Arguments, adapted, argument_faults
from .directory import Directory, check_users, find_users, register_fields

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("flask_otpauth")

_NOBODY_SENDS = (
    "No channel has a sender so far: unless one is registered later (@auth.sms_sender, @auth.email_sender), set "
    'SMTP_SERVER and SENDER_EMAIL, and OTPAUTH_CHANNELS to "email" where nothing goes to phones.'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """
    What was read of an app.

    Attributes:
        lenient: Debug, testing or a demonstration: what is handy but unsafe is let through.
        secrets: The current one first.
        senders: By channel, in the order in which they are tried; of e-mail the host's, or what app and environment
            describe.
        counting: What counts requests, whether it does, and whether all processes share it; see ``strategy_of``.
    """

    settings: Settings
    lenient: bool
    secrets: tuple[str | bytes | None, ...] = field(repr=False)
    senders: Mapping[str, Sequence[Sender]]
    directory: Directory
    identifiers: Identifiers
    passwords: Passwords
    counting: tuple[Strategy, bool, bool]

    @property
    def keyring(self) -> Keyring:
        """The keys that follow from the secrets."""
        return Keyring([_bytes(secret) for secret in self.secrets])


def read_configuration(
    app: Flask,
    given: Arguments,
    senders: Mapping[str, Sequence[SenderLike]],
    validators: Sequence[PasswordValidator] = (),
) -> Configuration:
    """
    Read and check all that can be seen before anything is opened or put on the app.

    Raises:
        ConfigurationError: All faults that were found, each with its cure.
    """
    settings, faults = read(app.config)
    faults = weighed(faults, app.config, settings)
    settings = replace(settings, app_name=settings.app_name or app.name)
    lenient = app.debug or app.testing or settings.demo
    chains = _senders(app, settings, senders, faults)
    faults += check(settings, lenient=lenient) + _secret_faults(app, settings, lenient=lenient)
    faults += route_faults(settings) + page_route_faults(settings, taken_paths(settings))
    faults += missing_packages(settings) + argument_faults(app, given, settings)
    faults += console_faults(chains, lenient=lenient)
    identifiers = Identifiers(settings, debug=lenient)
    directory = _tried(faults, lambda: find_users(app, given, settings))
    if directory is not None:
        nobody_sends = not chains and not lenient
        _tried(faults, lambda: faults.extend(_user_faults(directory, settings, identifiers, nobody_sends)))
    passwords = _tried(faults, lambda: Passwords(settings, names=(settings.name,), validators=validators))
    counting = _tried(faults, lambda: strategy_of(app))
    if faults or directory is None or passwords is None or counting is None:
        raise ConfigurationError(faults)
    for told in capped(app.config):
        logger.warning(told)
    if settings.demo and not app.debug:
        logger.warning("OTPAUTH_DEMO is on: codes are shown on the console. Never run it where people have accounts.")
    secrets = (settings.secret_key or app.secret_key, *_fallbacks(app))
    return Configuration(
        settings=settings,
        lenient=lenient,
        secrets=secrets,
        senders=chains,
        directory=directory,
        identifiers=identifiers,
        passwords=passwords,
        counting=counting,
    )


def _tried(faults: list[str], make: Callable[[], T]) -> T | None:
    """Make something, or else put its faults to the others."""
    try:
        return make()
    except ConfigurationError as error:
        faults.extend(error.faults)
        return None


def _senders(
    app: Flask, settings: Settings, given: Mapping[str, Sequence[SenderLike]], faults: list[str]
) -> Mapping[str, Sequence[Sender]]:
    chains, told = adapted(given)
    faults.extend(told)
    # Where the host gave a sender of e-mail, its mail settings are none of ours.
    if "email" in given or (settings.channels is not None and "email" not in settings.channels):
        return chains
    mail, told = mail_sender(app, os.environ, settings.send_timeout)
    faults.extend(told)
    return chains if mail is None else {"email": (mail,), **chains}


def _user_faults(directory: Directory, settings: Settings, identifiers: Identifiers, nobody_sends: bool) -> list[str]:
    fields, faults = check_users(directory, settings)
    phones = "phone" in fields and settings.channels != ("email",)
    of_numbers = identifiers.faults(phones=phones)
    if of_numbers and nobody_sends:
        # It would be told before the first request only, to which the app doesn't come with the other fault.
        of_numbers.insert(0, _NOBODY_SENDS)
    return faults + name_faults(settings, register_fields(settings, fields)) + of_numbers


def console_faults(senders: Mapping[str, Sequence[SenderLike]], *, lenient: bool) -> list[str]:
    """Refuse senders that show codes to whoever reads the server's output."""
    names = ", ".join(shown(senders))
    if lenient or not names:
        return []
    return [
        (
            f"Codes of channel {names} go to the console or the development inbox; register a sender that "
            "reaches people. For development run `flask run --debug`; for a demonstration set OTPAUTH_DEMO."
        )
    ]


def _secret_faults(app: Flask, settings: Settings, *, lenient: bool) -> list[str]:
    """Check each key that signs something of ours: one that is weak makes the strength of the others worthless."""
    config = cast("Mapping[str, Any]", app.config)
    named: list[tuple[str, str | bytes | None]] = [("SECRET_KEY_FALLBACKS", one) for one in _fallbacks(app)]
    if settings.secret_key:
        named.append(("OTPAUTH_SECRET_KEY", settings.secret_key))
    if not settings.secret_key or settings.holds_sessions:
        named.append(("SECRET_KEY", app.secret_key))  # Flask signs its session with it
    if config.get("JWT_SECRET_KEY") and str(config.get("JWT_ALGORITHM", "HS256")).startswith("HS"):
        named.append(("JWT_SECRET_KEY", config["JWT_SECRET_KEY"]))
    return [fault.replace("SECRET_KEY", name, 1) for name, key in named for fault in check_secret(key, lenient=lenient)]


def _fallbacks(app: Flask) -> Sequence[str | bytes]:
    config = cast("Mapping[str, Any]", app.config)
    given: str | bytes | Sequence[str | bytes] = config.get("SECRET_KEY_FALLBACKS") or ()
    return [given] if isinstance(given, str | bytes) else given


def _bytes(secret: str | bytes | None) -> bytes:
    return secret.encode() if isinstance(secret, str) else secret or b""
