"""
For tests of host apps: messages in a list, a login in one call, and a look for leaks.

As a pytest plugin (``pytest_plugins = ["flask_otpauth.testing"]`` in the top ``conftest.py``) it adds the fixtures
``otp_outbox``, ``otp_login`` and ``assert_no_enumeration``; the first two want a fixture ``app``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, cast

from flask import Flask

from .delivery import Post
from .types import Message

if TYPE_CHECKING:
    import pytest
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from .flows.service import Service

Login = Callable[..., dict[str, str]]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_ID = re.compile(r"[A-Za-z0-9_-]{43}")
_SECONDS = ("_in", "_after")
_VARYING = frozenset({"date", "content-length", "retry-after", "etag"})


@contextmanager
def capture_messages(app: Flask) -> Generator[list[Message], None, None]:
    """
    Collect all messages of an app in a list, in place of sending them.

    Stands in for every channel, also one that has no sender yet. Everything is sent in line: when a request has
    returned, its message is there. Of nested captures the innermost one collects.

    Raises:
        RuntimeError: The app has no ``OTPAuth``.
    """
    courier = _service(app).courier
    if not isinstance(courier, Post):
        raise TypeError("the messages of this app's courier can't be captured")
    with courier.capture() as messages:
        yield messages


def log_in(
    client: FlaskClient, outbox: list[Message], *, password: str | None = None, **identifier: str
) -> dict[str, str]:
    """
    Log in over HTTP, with the code that arrives in the outbox where one is asked for.

    Give one of ``identifier``, ``username``, ``email`` and ``phone``; without a password for passwordless login. Gives
    the headers that authenticate requests: a bearer token, or none where the client's cookie does.

    Raises:
        AssertionError: A request was refused.
    """
    service = _service(client.application)
    wire = service.settings.wire
    sent = len(outbox)
    fields = {**identifier, **({} if password is None else {"password": password})}
    body = _post(client, _path(service, "login"), {wire(name): value for name, value in fields.items()})
    if len(outbox) > sent:
        proof = {wire("otp"): outbox[-1].code}
        challenge = wire("challenge_id")
        if challenge in body:
            proof[challenge] = body[challenge]
        body = _post(client, _path(service, "verify_otp"), proof)
    elif wire("resend_at") in body:
        raise AssertionError(f"the app asked for a code and sent none: {body}")
    token = body.get(wire("access_token"))
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def assert_no_enumeration(first: TestResponse, second: TestResponse, *, masked: Iterable[str] = ()) -> None:
    """
    Check that two answers differ only in ids, times and the mask of what was typed: they tell nothing apart.

    Compares status, headers (of cookies: names and attributes) and body. ``masked`` names further JSON fields whose
    text may differ, for an app with a response shaper.

    Raises:
        AssertionError: They differ; the message shows both.
    """
    fields = frozenset({"destination", *masked})
    one, other = _visible(first, fields), _visible(second, fields)
    if one != other:
        raise AssertionError(f"the answers can be told apart:\n  {one}\n  {other}")


def pytest_configure(config: pytest.Config) -> None:
    """Add the fixtures; pytest is imported only where pytest runs."""
    config.pluginmanager.register(_fixtures(), "flask_otpauth fixtures")


def _fixtures() -> object:
    import pytest

    class Fixtures:
        @pytest.fixture
        def otp_outbox(self, app: Flask) -> Generator[list[Message], None, None]:
            """Messages of the app, newest last."""
            with capture_messages(app) as messages:
                yield messages

        @pytest.fixture
        def otp_login(self, otp_outbox: list[Message]) -> Login:
            """Log in over HTTP: ``headers = otp_login(client, username="ann", password="...")``."""

            def login(client: FlaskClient, *, password: str | None = None, **identifier: str) -> dict[str, str]:
                return log_in(client, otp_outbox, password=password, **identifier)

            return login

        @pytest.fixture(name="assert_no_enumeration")
        def no_enumeration(self) -> Callable[..., None]:
            """Check that two answers tell nothing apart."""
            return assert_no_enumeration

    return Fixtures()


def _service(app: Flask) -> Service:
    service = app.extensions.get("otpauth")
    if service is None:
        raise RuntimeError("this app has no OTPAuth; call OTPAuth(app) first")
    return cast("Service", service)


def _path(service: Service, endpoint: str) -> str:
    settings = service.settings
    route = settings.routes.get(endpoint, f"{settings.api_prefix}/{endpoint.replace('_', '-')}")
    if not isinstance(route, str):
        raise AssertionError(f"the route {endpoint} is switched off")  # noqa: TRY004 - for the test that asked for it
    return route


def _post(client: FlaskClient, path: str, body: Mapping[str, object]) -> dict[str, Any]:
    response = client.post(path, json=dict(body))
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        raise AssertionError(f"{path} answered {response.status}: {response.get_data(as_text=True)}")
    answer = response.get_json(silent=True)
    return cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}


def _visible(response: TestResponse, masked: frozenset[str]) -> dict[str, object]:
    """Give what a stranger sees of an answer, without what differs from one to the next anyway."""
    headers = sorted(_header(name.lower(), value) for name, value in response.headers.items())
    body: object = response.get_json(silent=True)
    if body is None:
        body = response.get_data(as_text=True)
    return {"status": response.status_code, "headers": headers, "body": _mask(body, "", masked)}


def _header(name: str, value: str) -> tuple[str, str]:
    if name == "set-cookie":
        cookies = SimpleCookie(value)
        shown = (
            f"{key} {sorted((k, str(v)) for k, v in one.items() if v and k != 'expires')}"
            for key, one in cookies.items()
        )
        return name, "; ".join(shown)
    return name, "" if name in _VARYING else value


def _mask(value: object, name: str, masked: frozenset[str]) -> object:
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {key: _mask(one, key, masked) for key, one in members.items()}
    if isinstance(value, list):
        return [_mask(one, name, masked) for one in cast("list[object]", value)]
    if isinstance(value, str):
        return f"<{name}>" if name in masked else _TIME.sub("<time>", _ID.sub("<id>", value))
    if isinstance(value, int) and not isinstance(value, bool) and name.endswith(_SECONDS):
        return "<seconds>"
    return value
