"""A response shaper made of bodies by endpoint."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import replace

from ..api import ENDPOINTS
from ..errors import ConfigurationError
from ..flows.hooks import Shaper
from ..types import Answer

Body = dict[str, object] | Callable[[Answer], dict[str, object] | None]
"""The body of a success, or a function that makes it, or leaves the answer as it is (None)."""

_FIRST_PROBLEM = 400


def shaper_of(bodies: Mapping[str, Body]) -> Shaper:
    """
    Make a shaper that puts those bodies, by endpoint, in the place of the standard ones, with status 200.

    Problems are left as they are. Tokens stay beside the new body: without them the login would be lost.

    Raises:
        ConfigurationError: There is no endpoint of that name.
    """
    if unknown := [_unknown(name) for name in bodies if name not in ENDPOINTS]:
        raise ConfigurationError(unknown)
    known = dict(bodies)

    def shape(answer: Answer) -> Answer | None:
        given = known.get(answer.endpoint) if answer.status < _FIRST_PROBLEM else None
        body = given(answer) if callable(given) else given
        return None if body is None else replace(answer, status=200, body={**answer.tokens, **body})

    return shape


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, ENDPOINTS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(ENDPOINTS)}."
    return f"response_bodies is given {name!r}, which is no endpoint; {hint}"
