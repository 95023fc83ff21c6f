"""What a container or a ``.env`` file says, by the names that are usual there, as settings of the app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "SECRET_KEY": "SECRET_KEY",
    "DATABASE_URL": "SQLALCHEMY_DATABASE_URI",
    "RATELIMIT_STORAGE_URI": "RATELIMIT_STORAGE_URI",
}
"""Variable of the environment, and key of the config. The mail server's need no line: the extension reads them."""

DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
"""What the URLs of hosting services begin with, and what SQLAlchemy needs for the drivers of the extension's extras."""


def deployed(environment: Mapping[str, str]) -> dict[str, Any]:
    """Give the settings that the environment names; an empty variable counts as none."""
    found: dict[str, Any] = {key: environment[name] for name, key in NAMES.items() if environment.get(name)}
    if "SQLALCHEMY_DATABASE_URI" in found:
        scheme, mark, rest = found["SQLALCHEMY_DATABASE_URI"].partition("://")
        found["SQLALCHEMY_DATABASE_URI"] = DRIVERS.get(scheme, scheme) + mark + rest
    mailed = bool(environment.get("SMTP_SERVER") or environment.get("MAIL_SERVER"))
    if environment.get("OTPAUTH_DEMO"):
        wish = environment["OTPAUTH_DEMO"].lower()
        # "auto" is what the image says: where nobody gets a mail, codes are shown on the console.
        found["OTPAUTH_DEMO"] = not mailed if wish == "auto" else wish in {"1", "true", "yes", "on"}
    if mailed:
        found["OTPAUTH_CHANNELS"] = ("email",)  # the bank has no gateway for text messages
    return found
