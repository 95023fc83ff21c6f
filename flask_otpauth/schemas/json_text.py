"""Request bodies as JSON: strictly one object of honest text."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, cast

from ..errors import MalformedRequest

MAX_DEPTH = 16
"""Objects and arrays that may lie in each other."""

# JSON refuses raw characters below U+0020 itself; escaped ones, and those from U+007F, it lets through.
_RAW_CONTROL = re.compile("[\x7f-\x9f]")
_BAD_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# A string that never ends runs to the end of the body: no second start, so the time stays linear.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def parse_json(raw: bytes) -> dict[str, Any]:
    """
    Read a request body: one JSON object in UTF-8 without a byte order mark.

    Raises:
        MalformedRequest: Anything else; two equal keys in one object; NaN or Infinity; more than 16 levels; a lone
            surrogate or a control character in a string, raw or escaped; a number of thousands of digits.
    """
    # Counted before it is parsed: a RecursionError would depend on how deep the host's own stack is.
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise MalformedRequest("The body is nested too deep.")
    try:
        text = raw.decode()
        value = _DECODER.decode(text)
    except ValueError:
        raise MalformedRequest("The body is not JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise MalformedRequest("The body is not a JSON object.")
    body = cast("dict[str, Any]", value)
    if _RAW_CONTROL.search(text) or ("\\" in text and not is_clean(body)):
        raise MalformedRequest("The body has a character that no text may have.")
    return body


def is_clean(value: object) -> bool:
    """Tell whether all strings in a JSON value, keys too, are free of control characters and lone surrogates."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            if _BAD_TEXT.search(one):
                return False
        elif isinstance(one, dict):
            given = cast("dict[str, object]", one)
            rest.extend(given)
            rest.extend(given.values())
        elif isinstance(one, list):
            rest.extend(cast("list[object]", one))
    return True


def _depth(raw: bytes) -> int:
    deepest = depth = 0
    for byte in _STRING.sub(b"", raw).translate(None, _NO_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedRequest("A key of the body appears twice.")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
