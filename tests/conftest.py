"""What several tests share: a host app on a database file of its own, and a clock that stands until it is set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jinja2 import FileSystemBytecodeCache


@pytest.fixture(autouse=True)
def _no_mail_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the mail server of whoever runs the tests out of them: the extension reads the environment."""
    for name in [name for name in os.environ if name.startswith(("SMTP_", "MAIL_")) or name == "SENDER_EMAIL"]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile each template once, not once for each app: it was most of the time of the tests of pages."""
    with pytest.MonkeyPatch.context() as patch:
        cache = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
        patch.setattr(Flask, "jinja_options", {"bytecode_cache": cache})
        yield


class Clock:
    """A clock that tells what it was set to; it starts at the real time, so that tokens made by others are valid."""

    def __init__(self) -> None:
        self.now: datetime = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """
    Give a maker of bare host apps, each with an instance folder of its own and the cheapest password hash.

    The extension is put on by the test: ``OTPAuth(make_app(OTPAUTH_REGISTRATION="open"))``. The connections of the
    app's Flask-SQLAlchemy are closed at the end.
    """
    made: list[Flask] = []

    def make(**config: Any) -> Flask:
        app = Flask("host", instance_path=str(tmp_path / f"instance-{len(made)}"), root_path=str(tmp_path))
        app.config.update(
            TESTING=True, SECRET_KEY="a key of the tests, long enough: 0123456789", OTPAUTH_BCRYPT_ROUNDS=4
        )
        app.config.update(config)
        made.append(app)
        return app

    yield make
    for app in made:
        if "sqlalchemy" in app.extensions:
            # Python 3.13 warns of each connection that isn't closed.
            with app.app_context():
                for engine in app.extensions["sqlalchemy"].engines.values():
                    engine.dispose()
