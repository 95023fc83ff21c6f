"""A sender for any gateway that takes one HTTP request a message."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http.client import HTTPMessage
from typing import IO
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from typing_extensions import override

from ..types import Message
from .smtp import is_loopback

Payload = Mapping[str, object] | bytes
Build = Callable[[Message], Payload]


def as_json(message: Message) -> Payload:
    """Make the payload where the host names none: the address, the text and what they are for."""
    return {"to": message.to, "body": message.body, "channel": message.channel, "purpose": message.purpose}


class HttpSender:
    """
    Posts each message to a URL; any answer of 200 to 299 counts as sent.

    Args:
        url: ``http`` or ``https``.
        headers: For every request: the gateway's key, or another ``Content-Type``.
        build: Makes the payload: a mapping becomes JSON, bytes go as they are.
        timeout: Seconds for each step of the exchange (connecting, each wait for an answer).

    Raises:
        ValueError: The URL is of another scheme.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, build: Build = as_json, *, timeout: float = 5.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the URL of a gateway begins with https:// or http://")
        self._url = url
        self._headers = dict(headers or {})
        self._build = build
        self._timeout = timeout
        self._opener = build_opener(_NoRedirects)

    @property
    def plain(self) -> bool:
        """Whether messages leave this machine in plain text."""
        parts = urlsplit(self._url)
        return parts.scheme == "http" and not is_loopback(parts.hostname or "")

    def send(self, message: Message, /) -> None:
        payload = self._build(message)
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        headers = {"Content-Type": "application/json", **self._headers}
        request = Request(self._url, data, headers, method="POST")  # noqa: S310 - the scheme was checked
        # urllib raises for every status that isn't 2xx.
        with self._opener.open(request, timeout=self._timeout):
            pass


class _NoRedirects(HTTPRedirectHandler):
    # urllib would repeat the request as a GET without the message, and take the page it finds for a success.
    @override
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        return None
