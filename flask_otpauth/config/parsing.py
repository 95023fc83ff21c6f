"""Readers of single settings: each takes what the host wrote and gives the typed value or a ``ValueError``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from keyword import iskeyword
from typing import Any

from limits import parse_many

from ..types import Window

Parser = Callable[[Any], Any]

GUARD_DEPTH = 100
"""Charges that one row of the guard remembers: no budget counts further."""


def one_of(*values: str) -> Parser:
    """Give a reader of one of a few words."""

    def parse(value: Any) -> str:
        if value not in values:
            allowed = ", ".join(repr(word) for word in values)
            raise ValueError(f"is {value!r}; choose one of {allowed}")
        return str(value)

    return parse


def subset_of(*values: str) -> Parser:
    """Give a reader of a non-empty tuple of different words out of a few."""

    def parse(value: Any) -> tuple[str, ...]:
        words = names(value)
        unknown = [word for word in words if word not in values]
        if unknown or not words:
            allowed = ", ".join(repr(word) for word in values)
            raise ValueError(f"is {value!r}; name one or more of {allowed}")
        return words

    return parse


def names(value: Any) -> tuple[str, ...]:
    """Read a tuple of different words; a single string is one word."""
    words = (value,) if isinstance(value, str) else value
    if not isinstance(words, Iterable):
        raise ValueError(f"is {value!r}; give a tuple of names")
    given: list[Any] = list(words)  # pyright: ignore[reportUnknownArgumentType]
    if not all(isinstance(word, str) and word for word in given):
        raise ValueError(f"is {value!r}; give a tuple of names")
    return tuple(dict.fromkeys(given))


def channels(value: Any) -> tuple[str, ...]:
    """Read a tuple of different channels, one at least."""
    words = names(value)
    if not words:
        raise ValueError("names no channel; name one, or leave it out")
    return words


def identifiers(value: Any) -> tuple[str, ...]:
    """Read a tuple of different names that attributes may have: small letters, digits and "_"."""
    words = names(value)
    bad = [word for word in words if not re.fullmatch("[a-z][a-z0-9_]{0,62}", word) or iskeyword(word)]
    if bad:
        raise ValueError(f"has {bad[0]!r}; use small letters, digits and '_', beginning with a letter")
    return words


def flag(value: Any) -> bool:
    """Read True or False, or 1 and 0, as ``Config.from_prefixed_env`` reads them; nothing that merely looks like it."""
    if not isinstance(value, int) or value not in {0, 1}:
        raise ValueError(f"is {value!r}; give True or False")
    return bool(value)


def integer(least: int, most: int) -> Parser:
    """Give a reader of a whole number between bounds."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"is {value!r}; give a whole number from {least} to {most}")
        if not least <= value <= most:
            raise ValueError(f"is {value}; it must be from {least} to {most}")
        return value

    return parse


def fraction(least: float, most: float, unit: str = "seconds") -> Parser:
    """Give a reader of a duration (seconds or ``timedelta``) that needn't be whole, in seconds."""

    def parse(value: Any) -> float:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError(f"is {value!r}; give {unit} or a timedelta")
        if not least <= seconds <= most:
            raise ValueError(f"is {seconds:.10g} s; it must be from {least:.10g} to {most:.10g} s")
        return float(seconds)

    return parse


def duration(least: float, most: float) -> Parser:
    """Give a reader of a duration in whole seconds (a number or a ``timedelta``)."""
    read = fraction(least, most, "whole seconds")

    def parse(value: Any) -> int:
        seconds: float = read(value)
        if not seconds.is_integer():
            raise ValueError(f"is {value!r}; give whole seconds or a timedelta")
        return int(seconds)

    return parse


def text(value: Any) -> str:
    """Read a non-empty string."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"is {value!r}; give a text")
    return value


def optional(parse: Parser) -> Parser:
    """Give a reader that lets None through."""
    return lambda value: None if value is None else parse(value)


def limits(value: Any) -> tuple[Window, ...]:
    """Read limits in the notation of Flask-Limiter: ``"5 per 15 minutes; 20 per day"``, or a list of such strings."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):  # pyright: ignore[reportUnknownVariableType]
        raise ValueError(f'is {value!r}; write it like "5 per 15 minutes"')
    try:
        items = parse_many("; ".join(parts))  # pyright: ignore[reportUnknownArgumentType]
    except ValueError:
        raise ValueError(f'is {value!r}; write it like "5 per 15 minutes"') from None
    windows = tuple(Window(limit=item.amount, seconds=item.get_expiry()) for item in items)
    return tuple(sorted(windows, key=lambda window: window.seconds))


def budget(value: Any) -> tuple[Window, ...]:
    """Read limits that the guard keeps in the database: a number above ``GUARD_DEPTH`` is counted as that."""
    windows = limits(value)
    if any(window.limit < 1 for window in windows):
        raise ValueError(f"is {value!r}; each number must be 1 or more")
    if any(window.seconds > 366 * 86400 for window in windows):
        raise ValueError(f"is {value!r}; no window may be longer than a year")
    # Sooner than the host wrote, never later: a row remembers no more charges.
    return tuple(Window(limit=min(window.limit, GUARD_DEPTH), seconds=window.seconds) for window in windows)


def host(value: Any) -> str:
    """Read a host name, with a port or without."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[0-9]{1,5})?", value):
        raise ValueError(f'is {value!r}; give the host name alone, as in "shop.example"')
    return value


ROUTE: re.Pattern[str] = re.compile(r"/|(?:/[A-Za-z0-9._~-]+)+/?")
"""Paths that an endpoint may have: a converter (<x>) would hand its view an argument that it doesn't take."""


def prefix(value: Any) -> str:
    """Read the path under which a blueprint sits; "" is the root."""
    if not isinstance(value, str) or (value and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value)):
        raise ValueError(f'is {value!r}; write it like "/auth", without a slash at the end, or "" for the root')
    return value


def target(value: Any) -> str:
    """Read where to go: a path from the root, an absolute URL, or the name of an endpoint."""
    known = r"/(?![/\\])[!-\[\]-~]*|https?://[!-\[\]-~]+|[A-Za-z_][A-Za-z0-9_.]*"
    if not isinstance(value, str) or not re.fullmatch(known, value):
        raise ValueError(f'is {value!r}; give a path from the root ("/dashboard"), an endpoint, or an absolute URL')
    return value


def routes(value: Any) -> dict[str, str | bool]:
    """Read ``{endpoint: path from the root or False}``."""
    given = mapping(value)
    for endpoint, path in given.items():
        if path is not False and not (isinstance(path, str) and path.startswith("/")):
            raise ValueError(f"has {path!r} for {endpoint!r}; give a path from the root, or False to switch it off")
    return {endpoint.replace("-", "_"): path for endpoint, path in given.items()}


def words(value: Any) -> dict[str, str]:
    """Read a mapping of names to different names."""
    given = mapping(value)
    if not all(isinstance(word, str) and word for word in given.values()):
        raise ValueError(f"is {value!r}; give a mapping of names to names")
    if len(set(given.values())) < len(given):
        raise ValueError(f"is {value!r}; two names can't become the same one")
    return given


def durations(least: float, most: float, **defaults: int) -> Parser:
    """Give a reader of ``{name: duration}`` for a few names; one that isn't given keeps its default (seconds)."""
    read = duration(least, most)

    def parse(value: Any) -> dict[str, int]:
        given = mapping(value)
        unknown = [name for name in given if name not in defaults]
        if unknown:
            raise ValueError(f"has {unknown[0]!r}; it takes {', '.join(repr(name) for name in defaults)}")
        try:
            return {**defaults, **{name: read(one) for name, one in given.items()}}
        except ValueError as error:
            raise ValueError(f"holds a duration that {error}") from None

    return parse


def mapping(value: Any) -> dict[str, Any]:
    """Read a mapping with names as keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):  # pyright: ignore[reportUnknownVariableType]
        raise ValueError(f"is {value!r}; give a mapping with names as keys")
    return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def register_fields(value: Any) -> dict[str, bool]:
    """
    Read the fields of registration as ``{name: required}``.

    A tuple of names, where ``"email?"`` is optional; or a mapping to True or "required", and False or "optional".
    """
    if isinstance(value, Mapping):
        given = mapping(value)  # pyright: ignore[reportUnknownArgumentType]
        try:
            return {name: _required(word) for name, word in given.items()}
        except ValueError:
            raise ValueError(f"is {value!r}; map each field to 'required' or 'optional'") from None
    return {word.removesuffix("?"): not word.endswith("?") for word in names(value)}


def secret(value: Any) -> str | bytes:
    """Read text or bytes, which no fault tells."""
    if not isinstance(value, str | bytes):
        raise ValueError("is neither text nor bytes; give one of them")
    return value


def _required(word: Any) -> bool:
    return one_of("required", "optional")(word) == "required" if isinstance(word, str) else flag(word)


def keys(value: Any) -> dict[str, bytes]:
    """Read ``{id: key}``, the last one current: keys are text or bytes of 16 bytes or more, ids letters and digits."""
    wanted = "wants {id: key}: an id of letters, digits, '_', '.', '-', and a key of 16 bytes or more"
    try:
        given = mapping(value)
    except ValueError:
        raise ValueError(wanted) from None  # its own text shows the value
    read: dict[str, bytes] = {}
    for name, key in given.items():
        raw = key.encode() if isinstance(key, str) else key
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", name) or not isinstance(raw, bytes) or len(raw) < 16:
            raise ValueError(wanted)
        read[name] = raw
    if not read:
        raise ValueError("is empty; give {id: key}")
    return read


def countries(value: Any) -> tuple[str, ...]:
    """Read ISO 3166 country codes."""
    codes = names(value)
    if not all(re.fullmatch("[A-Z]{2}", code) for code in codes):
        raise ValueError(f"is {value!r}; give two-letter country codes in capitals")
    return codes


def second_factor(value: Any) -> Any:
    """Read "always", "opt-in", "never" or a callable ``(user) -> bool``."""
    return value if callable(value) else one_of("always", "opt-in", "never")(value)


def lengths(value: Any) -> tuple[int, int]:
    """Read a pair of bounds for the length of a username."""
    pair: list[Any] = list(value) if isinstance(value, list | tuple) else []  # pyright: ignore[reportUnknownArgumentType]
    if len(pair) != 2 or not all(isinstance(bound, int) and not isinstance(bound, bool) for bound in pair):
        raise ValueError(f"is {value!r}; give (shortest, longest)")
    shortest, longest = pair
    if not 1 <= shortest <= longest <= 64:
        raise ValueError(f"is {value!r}; it must be within (1, 64)")
    return shortest, longest


def pattern(value: Any) -> str:
    """Read a regular expression that no address and no number fulfils."""
    try:
        compiled = re.compile(text(value))
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if any(compiled.fullmatch(probe) for probe in ("ann@example.org", "0501234567", "+15005550006")):
        raise ValueError("lets a username be an address or a number")
    return compiled.pattern
