"""All settings, typed, with their defaults, bounds and meaning: read once, then frozen."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import ceil
from typing import Any, cast

from ..types import Window
from . import parsing
from .parsing import Parser

PREFIX = "OTPAUTH_"
MINUTE, HOUR, DAY = 60, 3600, 86400


def option(default: Any, parse: Parser, doc: str, *, secret: bool = False) -> Any:
    """
    Declare a setting: its default as a host would write it, its reader, and one sentence for the docs.

    A ``secret`` one isn't in the ``repr``, which a traceback or an error tracker may show; its reader must not tell it.
    """
    metadata = {"parse": parse, "default": default, "doc": doc}
    return field(default_factory=lambda: parse(default), metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What the host set, as ``OTPAUTH_<NAME>`` in capitals; durations are seconds.

    A default of None says that the value follows from others; see the text of the setting.
    """

    # Flows
    first_factor: str = option(
        "password", parsing.one_of("password", "otp"), "What opens a login: a password, or a code alone."
    )
    second_factor: str | Callable[[Any], bool] = option(
        "always",
        parsing.second_factor,
        "A code after the password: for all, for users who turned MFA on, for none, or a callable `(user) -> bool`.",
    )
    registration: str = option(
        "confirm",
        parsing.one_of("confirm", "login-code", "open", "closed"),
        "When the account exists: after a proved code; at once, with a login code sent; at once, without a code; no "
        "self-registration.",
    )
    login_on_confirm: bool = option(True, parsing.flag, "Whether proving a registration also logs in.")
    identifiers: tuple[str, ...] = option(
        ("username", "email", "phone"),
        parsing.subset_of("username", "email", "phone"),
        "By what a user may name himself at login.",
    )
    register_fields: Mapping[str, bool] | None = option(
        None,
        parsing.optional(parsing.register_fields),
        'Fields of registration: a tuple of names, `"email?"` for an optional one, or a mapping to `"required"` or '
        '`"optional"` (True or False). Roles, keys, and what says whether a user is active or verified are none of '
        "them. Default: username, password, and those of phone and email that the model has, one of them at least.",
    )
    channels: tuple[str, ...] | None = option(
        None,
        parsing.optional(parsing.channels),
        "Channels for codes, in the order of preference. Default: every channel that has a sender, `sms` first.",
    )
    challenge_lookup: str = option(
        "id",
        parsing.one_of("id", "identifier"),
        "Whether a challenge is named by its secret id, or also by the user's identifier.",
    )
    credentials: tuple[str, ...] = option(
        ("jwt",), parsing.subset_of("jwt", "session"), "What a finished login hands out to JSON clients."
    )
    on_expiry: str = option(
        "resend",
        parsing.one_of("resend", "restart"),
        "Whether an expired code may be replaced, or the flow starts again.",
    )
    # Places and names
    api_prefix: str = option("/auth", parsing.prefix, "Where the JSON endpoints sit.")
    pages: bool = option(
        False,
        parsing.flag,
        "Whether the app has the HTML pages; they need the extra `pages`. Their logins are sessions, whatever "
        "`OTPAUTH_CREDENTIALS` says.",
    )
    pages_prefix: str = option("/account", parsing.prefix, "Where the HTML pages sit.")
    after_login: str | None = option(
        None,
        parsing.optional(parsing.target),
        "Where pages go after a login that no other page asked for: a path from the root, an endpoint of the app, or "
        "an absolute URL. Default: the account page.",
    )
    after_logout: str | None = option(
        None,
        parsing.optional(parsing.target),
        "Where pages go after a logout, written like `OTPAUTH_AFTER_LOGIN`. Default: the login page.",
    )
    routes: Mapping[str, str | bool] = option(
        {},
        parsing.routes,
        "Paths of single endpoints: `{endpoint: path from the root, or False}`. Those of pages are `pages.login` and "
        "the like.",
    )
    field_names: Mapping[str, str] = option(
        {},
        parsing.words,
        'Wire names of JSON fields, in both directions: `{"phone": "mobile_number"}`; of problems `attempts_left`, '
        "`retry_after`, `resend_at` and `max_age`.",
    )
    app_name: str | None = option(
        None, parsing.optional(parsing.text), "Name in messages and of the issuer. Default: the app's name."
    )
    user_fields: Mapping[str, str] = option({}, parsing.words, 'Attribute names of the model: `{"phone": "mobile"}`.')
    profile_fields: tuple[str, ...] = option(
        (),
        parsing.identifiers,
        "Text columns (255 characters, may be missing) that the built-in user model has besides its own, so that "
        "`OTPAUTH_REGISTER_FIELDS` can name them. A model of the app's own has its own columns.",
    )
    extra_fields: tuple[str, ...] = option(
        (),
        parsing.names,
        "Further string fields that clients may send with register, login, resend and step-up, for `before_send`.",
    )
    trusted_origins: tuple[str, ...] = option(
        (), parsing.names, "Origins besides the request's own from which a cookie may act: `https://app.example.org`."
    )
    # Sessions
    session_permanent: bool = option(
        False, parsing.flag, "Whether the session cookie survives the closing of the browser."
    )
    session_lifetime: int = option(30 * DAY, parsing.duration(1, 400 * DAY), "Absolute lifetime of a session.")
    session_idle: int = option(
        14 * DAY, parsing.duration(1, 400 * DAY), "A session ends when it isn't used for so long."
    )
    session_cache: int = option(
        0,
        parsing.duration(0, 30),
        "How long a process may go by its last look at a session: a logout made elsewhere holds that much later. 0 "
        "looks each time.",
    )
    access_lifetime: int = option(15 * MINUTE, parsing.duration(1, 60 * MINUTE), "Lifetime of an access token.")
    refresh_lifetime: int = option(30 * DAY, parsing.duration(1, 400 * DAY), "Lifetime of a family of refresh tokens.")
    refresh_idle: int = option(
        14 * DAY, parsing.duration(1, 400 * DAY), "A refresh token ends when it isn't used for so long."
    )
    fresh_lifetime: int = option(300, parsing.duration(1, 900), "How long a step-up counts as fresh.")
    # Users
    username_length: tuple[int, int] = option((3, 64), parsing.lengths, "Shortest and longest username.")
    username_pattern: str = option(
        r"[A-Za-z][A-Za-z0-9._-]*", parsing.pattern, "Whole form of a username; it may match no address and no number."
    )
    phone_region: str | None = option(
        None,
        parsing.optional(parsing.text),
        'Region of national numbers (ISO 3166, "IL"). Without it numbers are taken in `+` form only.',
    )
    sms_countries: tuple[str, ...] | None = option(
        None,
        parsing.optional(parsing.countries),
        "Countries whose numbers get messages. Default: that of the region; without a region it must be set outside "
        "debug.",
    )
    # Passwords
    password_hash: str = option(
        "bcrypt",
        parsing.one_of("bcrypt", "pbkdf2:sha256:600000", "scrypt", "argon2"),
        "Scheme of new hashes; all of them are verified.",
    )
    bcrypt_rounds: int = option(12, parsing.integer(4, 16), "Cost of bcrypt (below 10 only in debug and testing).")
    password_min_length: int | None = option(
        None,
        parsing.optional(parsing.integer(8, 128)),
        "Shortest password. Default: 8 with an enforced second factor, else 15.",
    )
    password_blocklist: tuple[str, ...] = option((), parsing.names, "Further passwords that are refused.")
    peppers: Mapping[str, bytes] | None = option(
        None,
        parsing.optional(parsing.keys),
        "Keys of the password pre-hash: `{id: key}`, the last one current.",
        secret=True,
    )
    # Secrets
    secret_key: str | bytes | None = option(
        None,
        parsing.optional(parsing.secret),
        "Key of codes and tables. Default: the app's `SECRET_KEY`.",
        secret=True,
    )
    # Codes
    code_length: int | None = option(
        None, parsing.optional(parsing.integer(4, 12)), "Digits of a code. Default: 6; 8 with passwordless login."
    )
    code_lifetime: int = option(300, parsing.duration(1, 600), "Lifetime of a code, exact from minting.")
    flow_lifetime: int = option(900, parsing.duration(1, 1800), "Lifetime of a whole flow, resends included.")
    max_attempts: int = option(5, parsing.integer(1, 10), "Guesses compared per challenge.")
    resend_cooldown: int = option(
        60,
        parsing.duration(30, 1800),
        "Time between two codes for one challenge, or for one destination and purpose of anonymous callers.",
    )
    live_challenges: int = option(3, parsing.integer(1, 10), "Live challenges per account.")
    # Budgets
    account_limits: tuple[Window, ...] | None = option(
        None,
        parsing.optional(parsing.budget),
        "Failed codes per account. Default: 10 per 15 minutes; 20 per day; 60 per 30 days (20 per 30 days where a "
        "code is the only factor, has 6 digits, or is named by identifier).",
    )
    login_limits: tuple[Window, ...] = option(
        "5 per 15 minutes", parsing.budget, "Failed passwords per identifier and client address."
    )
    login_account_limits: tuple[Window, ...] = option(
        "50 per day",
        parsing.budget,
        "Failed passwords per account over all addresses: of unknown clients, and as many of known ones.",
    )
    send_limits: tuple[Window, ...] = option(
        "5 per 10 minutes; 10 per hour; 20 per day",
        parsing.budget,
        "Messages per destination, all purposes and channels together.",
    )
    send_ip_limits: tuple[Window, ...] = option(
        "10 per 10 minutes; 50 per day", parsing.limits, "Messages caused per client address."
    )
    send_total: tuple[Window, ...] | None = option(
        None,
        parsing.optional(parsing.limits),
        "Messages with a code of the whole app. Notices, which carry none, aren't counted: they have a budget of "
        "their own, one of a kind per user and hour.",
    )
    verify_ip_limits: tuple[Window, ...] = option(
        "30 per 5 minutes", parsing.limits, "Verify requests per client address."
    )
    login_ip_limits: tuple[Window, ...] = option(
        "100 per hour", parsing.limits, "Requests to login and registration per client address."
    )
    # Sending
    send_timeout: float = option(
        5, parsing.fraction(0.1, 60), "For a whole chain of senders; may be a fraction of a second."
    )
    sms_origin: str | None = option(
        None,
        parsing.optional(parsing.host),
        "Host name of the page that takes codes, alone or with a port (`shop.example`); text messages then end in the "
        "origin-bound line (`@host #code`).",
    )
    notices: bool = option(
        True, parsing.flag, "Tell owners of locks, wrong codes after the right password, new devices and changes."
    )
    retention: Mapping[str, int] = option(
        {"events": 90 * DAY, "challenges": DAY, "sessions": 30 * DAY},
        parsing.durations(0, 3660 * DAY, events=90 * DAY, challenges=DAY, sessions=30 * DAY),
        "How long `flask otpauth purge` leaves events, and what has ended: `{name: duration}`, any of the three.",
    )
    demo: bool = option(False, parsing.flag, "Demonstrations outside debug: console sender and inbox.")

    # --- what follows from others ---------------------------------------------------------------------------------

    @property
    def passwordless(self) -> bool:
        """Whether a code alone opens a login."""
        return self.first_factor == "otp"

    @property
    def holds_sessions(self) -> bool:
        """Whether logins are held in Flask's session: of JSON clients, or of pages."""
        return self.pages or "session" in self.credentials

    @property
    def digits(self) -> int:
        """Digits of a code."""
        return self.code_length or (8 if self.passwordless else 6)

    @property
    def shortest_password(self) -> int:
        """Characters of the shortest password that is taken."""
        return self.password_min_length or (8 if self.second_factor == "always" and not self.passwordless else 15)

    @property
    def failures(self) -> tuple[Window, ...]:
        """Budget of failed codes per account; a tighter month where codes are easier to guess."""
        if self.account_limits is not None:
            return self.account_limits
        tight = self.challenge_lookup == "identifier" or (self.passwordless and self.digits <= 6)
        return (
            Window(limit=10, seconds=15 * MINUTE),
            Window(limit=20, seconds=DAY),
            Window(limit=20 if tight else 60, seconds=30 * DAY),
        )

    def sends(self, *, known: bool) -> tuple[Window, ...]:
        """Give the limits of messages for one destination: of every five, two are kept for known clients."""
        if known:
            return self.send_limits
        return tuple(Window(limit=ceil(one.limit * 3 / 5), seconds=one.seconds) for one in self.send_limits)

    @property
    def longest_window(self) -> int:
        """Seconds after which no budget in the database looks at a charge any more."""
        limits = (self.failures, self.login_limits, self.login_account_limits, self.send_limits)
        # At least two days: a row that was opened yesterday isn't stamped again for another challenge of today.
        return max(2 * DAY, *(window.seconds for windows in limits for window in windows))

    @property
    def name(self) -> str:
        """Name of the app in messages, tokens and shared storages."""
        return self.app_name or "app"

    def wire(self, name: str) -> str:
        """Give the wire name of a JSON field."""
        return self.field_names.get(name, name)


def read(config: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """
    Read the ``OTPAUTH_*`` keys of a Flask config.

    Gives the settings, with the default in place of each faulty value, and the faults, one sentence each.
    """
    known = {PREFIX + one.name.upper(): one for one in fields(Settings)}
    faults = [_unknown(key, list(known)) for key in config if key.startswith(PREFIX) and key not in known]
    values: dict[str, Any] = {}
    for key, one in known.items():
        parse = cast("Parser", one.metadata["parse"])
        try:
            values[one.name] = parse(config[key] if key in config else one.metadata["default"])
        except ValueError as error:
            faults.append(f"{key} {error}.")
            values[one.name] = parse(one.metadata["default"])
    return Settings(**values), faults


def _unknown(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else "remove it."
    return f"{key} is no setting; {hint}"


def reference() -> list[tuple[str, str, str]]:
    """Give name, default and meaning of each setting, for the docs."""
    return [
        (PREFIX + one.name.upper(), repr(one.metadata["default"]), str(one.metadata["doc"])) for one in fields(Settings)
    ]
