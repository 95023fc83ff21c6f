"""A recipe as an app on a database of its own, on a clock that stands until it is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import time_machine

from flask_otpauth.testing import capture_messages
from tests.described import watched
from tests.recipes.walking import Walk, close, settings
from tests.services import database_url


@pytest.fixture(autouse=True)
def described() -> Iterator[None]:
    """Let no walk get an answer that the OpenAPI document doesn't describe."""
    with watched():
        yield


@pytest.fixture
def clock() -> Iterator[Any]:
    """The clock of the whole process: a recipe has no other."""
    with time_machine.travel(datetime.now(UTC).replace(microsecond=0), tick=False) as clock:
        yield clock


@pytest.fixture
def walk(tmp_path: Path, clock: Any) -> Iterator[Callable[..., Walk]]:
    """Give a maker of walks: a recipe's module, a kind of database, and settings over the recipe's own."""
    with ExitStack() as stack:

        def make(recipe: ModuleType, kind: str = "sqlite", **config: Any) -> Walk:
            url = stack.enter_context(database_url(kind, tmp_path))
            app = recipe.create_app(settings(url, **config))
            stack.callback(close, app)
            return Walk(app, stack.enter_context(capture_messages(app)), clock)

        yield make
