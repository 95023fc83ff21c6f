"""An app of a recipe, and what is done with it over HTTP."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from flask_otpauth.types import Message

SECRET = "a key of the tests, long enough: 0123456789"


class Walk:
    """An app, a client, the messages that were sent, and the clock that both go by."""

    def __init__(self, app: Flask, messages: list[Message], clock: Any) -> None:
        self.app, self.messages = app, messages
        self._clock = clock
        self.client: FlaskClient = app.test_client()

    @property
    def codes(self) -> list[str]:
        """All codes that were sent; a notice has none."""
        return [one.code for one in self.messages if one.code is not None]

    @property
    def code(self) -> str:
        """The last code that was sent."""
        return self.codes[-1]

    @property
    def wrong(self) -> str:
        """A code that was never sent."""
        tries = (f"{number:0{len(self.code)}d}" for number in itertools.count())
        return next(one for one in tries if one not in self.codes)

    @property
    def now(self) -> int:
        """Seconds of Unix time."""
        return int(time.time())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.shift(seconds)

    def post(
        self, path: str, body: object = None, *, token: str | None = None, client: FlaskClient | None = None
    ) -> Any:
        return (client or self.client).post(path, json=body, headers=_bearer(token))

    def get(self, path: str, *, token: str | None = None, client: FlaskClient | None = None) -> Any:
        return (client or self.client).get(path, headers=_bearer(token))

    def stranger(self) -> FlaskClient:
        """Give a client without any cookie."""
        return self.app.test_client()

    def sql(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Run a statement as somebody at the database would, and give its rows."""
        with self.app.app_context(), self.app.extensions["sqlalchemy"].engine.begin() as connection:
            result = connection.execute(text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def refused(answer: Any, status: int, code: str, *fields: str, **members: Any) -> None:
    """Check that an answer is that problem (RFC 9457), names those fields, and says nothing that it shouldn't."""
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.text
    body = dict(answer.json)
    assert [one["field"] for one in body.pop("errors", [])] == list(fields), answer.text
    assert body.pop("detail")
    assert body.pop("title")
    assert (body.pop("type"), body.pop("status"), body.pop("code")) == (f"urn:flask-otpauth:{code}", status, code)
    assert {name: body.get(name) for name in members} == members
    assert set(body) <= {"attempts_left", "retry_after", "resend_at", "max_age"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("Retry-After" in answer.headers) == (status in {429, 503})


def settings(url: str, **config: Any) -> Mapping[str, Any]:
    """Give what a test of a host sets, and a cheap hash."""
    own = {"TESTING": True, "SECRET_KEY": SECRET, "OTPAUTH_BCRYPT_ROUNDS": 4, "SQLALCHEMY_DATABASE_URI": url}
    return {**own, **config}


def close(app: Flask) -> None:
    """Give back the connections of an app."""
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
