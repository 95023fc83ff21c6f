"""Why something failed, told without what a log must not hold."""

from __future__ import annotations

import re
import traceback
from pathlib import PurePath
from urllib.parse import unquote_plus

# A gateway's error often quotes the request: the text with the code, the number, the address.
_DIGITS = re.compile(r"\d(?:[\s().-]{0,2}\d){3,}")
_ADDRESS = re.compile(r"[^\s<>\"'=]+@[^\s<>\"']+")
# Before the text is decoded: a password may hold whatever ends a word then.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")
_READ, _LONGEST = 4000, 300


def cause(error: BaseException) -> str:
    """
    Name an exception, with its text and where it was raised.

    Every run of four digits or more, every e-mail address and all credentials of a URL in the text are blotted out: no
    code, number or address of a user and no password of a server is left. The texts of the exceptions behind it
    are not told.
    """
    text = unquote_plus(_CREDENTIALS.sub("[credentials] ", str(error)[:_READ]))
    text = _ADDRESS.sub("[address]", _DIGITS.sub("[digits]", text))[:_LONGEST]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(text.split())}{place}"


def cause_behind(error: BaseException) -> str | None:
    """Name what an exception was raised from, as ``cause`` does; None where it was raised from nothing."""
    origin = error.__cause__
    # SQLAlchemy's text holds the statement with its parameters; the driver's own says what happened.
    return None if origin is None else cause(getattr(origin, "orig", None) or origin)
