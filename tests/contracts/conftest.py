"""Each suite runs on every kind of store. A place serves a whole module: tests use keys of their own."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from flask_otpauth.types import ChallengeStore, GuardStore, SessionStore
from tests.contracts.backends import Backend, Stores
from tests.services import KINDS, database_url, shared


@pytest.fixture(scope=shared, params=KINDS)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Backend, None, None]:
    with database_url(request.param, tmp_path_factory.mktemp("stores")) as url:
        yield Backend(url=url)


@pytest.fixture(scope=shared)
def stores(backend: Backend) -> Generator[Stores, None, None]:
    with backend.open() as opened:
        yield opened


@pytest.fixture
def challenges(stores: Stores) -> ChallengeStore:
    return stores.challenges


@pytest.fixture
def guard(stores: Stores) -> GuardStore:
    return stores.guard


@pytest.fixture
def sessions(stores: Stores) -> SessionStore:
    return stores.sessions
