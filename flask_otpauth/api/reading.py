"""What a request says: its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from ..errors import MalformedRequest, PayloadTooLarge, UnsupportedMediaType
from ..schemas import parse_json

BODY_LIMIT = 16 * 1024
"""Bytes of a request body."""


def read_json(request: Request) -> Mapping[str, Any]:
    """
    Give the JSON object of the body; an empty body is an object without fields, whatever its type.

    Raises:
        PayloadTooLarge: More than 16 KiB; no more than that was read, with or without ``Content-Length``.
        UnsupportedMediaType: The type isn't ``application/json``, or its charset isn't UTF-8.
        MalformedRequest: See ``schemas.parse_json``.
    """
    raw = _read_body(request)
    if not raw:
        return {}
    if request.content_type != "application/json" and not _is_json(request):
        raise UnsupportedMediaType("Send application/json in UTF-8.")
    return parse_json(raw)


def _read_body(request: Request) -> bytes:
    length = request.content_length
    if length is not None and length > BODY_LIMIT:
        raise PayloadTooLarge
    # One byte more than is allowed: Werkzeug ends a body of unknown length at the limit without a word.
    own = request.max_content_length
    request.max_content_length = BODY_LIMIT + 1 if own is None else min(own, BODY_LIMIT + 1)
    try:
        raw = request.get_data()
    except RequestEntityTooLarge:
        raise PayloadTooLarge from None
    except Exception:  # noqa: BLE001 - each server has its own errors for a broken body (gunicorn: ParseException)
        raise MalformedRequest("The body could not be read.") from None
    if len(raw) > BODY_LIMIT:
        raise PayloadTooLarge
    return raw


def _is_json(request: Request) -> bool:
    charset = request.mimetype_params.get("charset", "utf-8")
    return request.mimetype == "application/json" and charset.lower() in {"utf-8", "utf8"}
