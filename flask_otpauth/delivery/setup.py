"""The e-mail sender that the app's configuration describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from flask import Flask

from ..types import Sender
from .smtp import IMPLICIT_PORT, SmtpSender, Tls, address_of, is_loopback

LAST_PORT = 65535

_SERVERS = ("SMTP_SERVER", "MAIL_SERVER")

_KEYS = (
    *_SERVERS,
    *("SMTP_PORT", "SMTP_USERNAME", "SMTP_PASSWORD", "SENDER_EMAIL"),
    *("MAIL_PORT", "MAIL_USERNAME", "MAIL_PASSWORD", "MAIL_DEFAULT_SENDER"),
    *("MAIL_USE_TLS", "MAIL_USE_SSL", "MAIL_SUPPRESS_SEND"),
)

_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def mail_sender(app: Flask, environment: Mapping[str, str], timeout: float = 5.0) -> tuple[Sender | None, list[str]]:
    """
    Make the sender that the app describes: by its ``SMTP_SERVER``, else by its Flask-Mail, else by its
    ``MAIL_SERVER``, else by those of the environment.

    A Flask-Mail without ``MAIL_DEFAULT_SENDER`` is left alone: the app has it for messages of its own.
    """
    config = cast("Mapping[str, Any]", app.config)
    state: Any = app.extensions.get("mail")
    # Seen without an import: other packages have put things of other kinds there.
    if type(state).__module__.partition(".")[0] == "flask_mail" and not _text(config, "SMTP_SERVER"):
        if state.default_sender and (app.testing or not state.suppress):
            from .flask_mail import FlaskMailSender

            return FlaskMailSender(state, timeout), []
        config, environment = _without_flask_mails(config), _without_flask_mails(environment)
    return smtp_from_config(mail_settings(config, environment), timeout)


def mail_settings(config: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """
    Give the settings of e-mail: those of the app's config, and what it leaves out from the environment.

    A server in the config hides those of the environment, of either kind; an empty one switches them off. None counts
    as left out.
    """
    named = {key: config[key] for key in _KEYS if config.get(key) is not None}
    hidden = _SERVERS if any(key in named for key in _SERVERS) else ()
    left_out = {key: environment[key] for key in _KEYS if key in environment and key not in hidden}
    return {**left_out, **named}


def smtp_from_config(config: Mapping[str, Any], timeout: float = 5.0) -> tuple[SmtpSender | None, list[str]]:
    """
    Make the sender from ``SMTP_*`` and ``SENDER_EMAIL``, else from Flask-Mail's ``MAIL_*``.

    Gives None where neither names a server (an empty value counts as none), and the faults, one sentence each.
    Numbers and flags may be strings, as a ``.env`` file gives them.
    """
    if _text(config, "SMTP_SERVER"):
        return _own(config, timeout)
    if _text(config, "MAIL_SERVER") and not _flag(config, "MAIL_SUPPRESS_SEND", []):
        return _flask_mail(config, timeout)
    return None, []


def _without_flask_mails(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in given.items() if not key.startswith("MAIL_")}


def _own(config: Mapping[str, Any], timeout: float) -> tuple[SmtpSender | None, list[str]]:
    faults: list[str] = []
    port = _port(config, "SMTP_PORT", 587, faults)
    sender = _sender(config, "SENDER_EMAIL", "SMTP_SERVER", faults)
    return _make(config, "SMTP", faults, port=port, sender=sender, tls=None, timeout=timeout)


def _flask_mail(config: Mapping[str, Any], timeout: float) -> tuple[SmtpSender | None, list[str]]:
    faults: list[str] = []
    starttls, implicit = _flag(config, "MAIL_USE_TLS", faults), _flag(config, "MAIL_USE_SSL", faults)
    if starttls and implicit:
        faults.append("MAIL_USE_TLS and MAIL_USE_SSL are both set; keep MAIL_USE_SSL for port 465, else MAIL_USE_TLS.")
    port = _port(config, "MAIL_PORT", IMPLICIT_PORT if implicit else 587 if starttls else 25, faults)
    tls: Tls | None = "implicit" if implicit else "starttls" if starttls else None
    if starttls is False and not implicit:
        # Said, not left out: without either key nothing goes out in plain text.
        tls = "none"
    sender = _sender(config, "MAIL_DEFAULT_SENDER", "MAIL_SERVER", faults)
    return _make(config, "MAIL", faults, port=port, sender=sender, tls=tls, timeout=timeout)


def _make(
    config: Mapping[str, Any],
    prefix: str,
    faults: list[str],
    *,
    port: int,
    sender: str,
    tls: Tls | None,
    timeout: float,
) -> tuple[SmtpSender | None, list[str]]:
    host = _text(config, f"{prefix}_SERVER")
    username, password = _text(config, f"{prefix}_USERNAME"), _text(config, f"{prefix}_PASSWORD")
    if bool(username) != bool(password):
        given, missing = ("USERNAME", "PASSWORD") if username else ("PASSWORD", "USERNAME")
        faults.append(f"{prefix}_{given} is set without {prefix}_{missing}; set both, or neither.")
    if username and tls == "none" and not is_loopback(host):
        faults.append(f"{prefix}_PASSWORD would go to {host} in plain text; set {prefix}_USE_TLS to True.")
    if faults:
        return None, faults
    return SmtpSender(host, port, username or None, password or None, sender=sender, timeout=timeout, tls=tls), []


def _sender(config: Mapping[str, Any], key: str, server: str, faults: list[str]) -> str:
    given: object = config.get(key)
    # Flask-Mail takes a pair of name and address too.
    pair = tuple(cast("Iterable[object]", given)) if isinstance(given, tuple | list) else ()
    sender = f'"{pair[0]}" <{pair[-1]}>' if pair else _text(config, key)
    if not sender:
        faults.append(f"{server} is set without {key}; set it to the address that messages come from.")
        return ""
    try:
        address_of(sender)
    except ValueError:
        faults.append(f'{key} is {sender!r}; write it like "Bank <no-reply@bank.example>".')
    return sender


def _text(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key)
    return "" if value is None else str(value).strip()


def _port(config: Mapping[str, Any], key: str, default: int, faults: list[str]) -> int:
    given = _text(config, key)
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= LAST_PORT):
        faults.append(f"{key} is {given!r}; give a number from 1 to {LAST_PORT}.")
        return default
    return int(given)


def _flag(config: Mapping[str, Any], key: str, faults: list[str]) -> bool | None:
    given = _text(config, key).lower()
    if not given:
        return None
    if given not in _TRUE | _FALSE:
        faults.append(f"{key} is {given!r}; give True or False.")
        return None
    return given in _TRUE
