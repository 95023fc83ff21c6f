"""
What we keep in Flask's own session: one key, and under it at most two opaque ids.

The session is a signed cookie that anybody may copy and replay, so it holds no counter, no code and no state of a
flow: those would be rewound with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, cast

from flask import current_app
from flask.sessions import SessionMixin

KEY = "_otpauth"

_MARKS = re.compile(r"(?:s\.(?P<session>[A-Za-z0-9_-]{43}))? ?(?:c\.(?P<challenge>[A-Za-z0-9_-]{43}))?")

FlaskSession = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Opaque ids, 43 characters each: of a finished login, and of the challenge that this browser began."""

    session: str | None = None
    challenge: str | None = None


def read_marks(flask_session: FlaskSession) -> Marks:
    """Give what the session holds of ours; whatever isn't of our making counts as nothing."""
    found = _MARKS.fullmatch(value) if isinstance(value := flask_session.get(KEY), str) else None
    return Marks(session=found["session"], challenge=found["challenge"]) if found else Marks()


def put_session(flask_session: FlaskSession, session_id: str, permanent: bool) -> None:
    """
    Note a finished login and forget the challenge that led to it.

    A server-side session gets a new id from its interface, where that knows how. ``permanent`` never takes away what
    the host chose itself.
    """
    _renew(flask_session)
    if permanent:
        cast("SessionMixin", flask_session).permanent = True
    flask_session[KEY] = f"s.{session_id}"


def put_challenge(flask_session: FlaskSession, challenge_id: str | None, *, proved: bool = False) -> None:
    """
    Note the challenge that this browser began, in the place of an earlier one; None forgets it.

    After a proved password a server-side session gets a new id here too: whoever planted the old one must not see
    where the code goes, nor guess it as the owner's browser.
    """
    if proved:
        _renew(flask_session)
    session_id = read_marks(flask_session).session
    marks = [f"s.{session_id}"] if session_id else []
    marks += [f"c.{challenge_id}"] if challenge_id else []
    if marks:
        flask_session[KEY] = " ".join(marks)
    else:
        clear(flask_session)


def clear(flask_session: FlaskSession) -> None:
    """Forget all of ours, and nothing of the host's."""
    # A look first: popping from an empty session would mark it as changed.
    if KEY in flask_session:
        del flask_session[KEY]


def _renew(flask_session: FlaskSession) -> None:
    # Flask-Session's name for it; the cookie of Flask itself holds all of its data, so there is no id to fix.
    interface: object = current_app.session_interface
    regenerate = cast("Callable[[FlaskSession], object] | None", getattr(interface, "regenerate", None))
    if regenerate is not None:
        regenerate(flask_session)
