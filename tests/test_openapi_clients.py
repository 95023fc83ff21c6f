"""What others make of the document: a fuzzer, a generated client, a linter."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from flask import Flask
from werkzeug.serving import make_server

from flask_otpauth import OTPAuth, current_user, otp_required
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import Caller, NewAccount

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"

Make = Callable[..., Flask]


@pytest.fixture
def make_host(make_app: Make) -> Callable[..., Flask]:
    """Give a maker of apps that serve for long without any limit on addresses, with one view of the host."""

    def make(**config: Any) -> Flask:
        app = make_app(RATELIMIT_ENABLED=False, **config)
        auth = OTPAuth(app)

        @app.get("/private")
        @auth.documented(responses={200: {"type": "object", "properties": {"hello": {"type": "string"}}}})
        @otp_required
        def private() -> dict[str, str]:
            """Greet whoever has proved a code."""
            return {"hello": current_user.username}

        return app

    return make


# --- schemathesis ---------------------------------------------------------------------------------------------------

SHAPES: dict[str, dict[str, Any]] = {
    "by identifier, session": {
        "OTPAUTH_CREDENTIALS": ("jwt", "session"),
        "OTPAUTH_CHALLENGE_LOOKUP": "identifier",
        "OTPAUTH_SECOND_FACTOR": "opt-in",
    },
    "passwordless": {"OTPAUTH_FIRST_FACTOR": "otp", "OTPAUTH_FIELD_NAMES": {"phone": "mobile_number"}},
}
EXAMPLES = 12
"""Per operation and kind of request; the whole takes some 40 s."""


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fuzzer_finds_no_answer_that_is_not_described(make_host: Make, shape: str) -> None:
    from schemathesis import GenerationMode, openapi

    app = make_host(**SHAPES[shape])
    schema = openapi.from_wsgi("/auth/openapi.json", app)
    seen: dict[str, set[int]] = {}
    with capture_messages(app):
        give_token = insider(app)
        for found in schema.get_all_operations():
            operation = found.ok()
            # There is nothing to get wrong in a request that says nothing.
            modes = list(GenerationMode) if operation.body else [GenerationMode.POSITIVE]
            for mode in modes:
                send(operation, mode, {}, seen)
            if operation.security.iter_parameters():
                send(operation, modes[0], {"Authorization": f"Bearer {give_token()}"}, seen)
    described = {f"{method.upper()} {path}" for path, item in document_of(app)["paths"].items() for method in item}
    # Where the document itself comes from, schemathesis leaves alone.
    assert set(seen) == described - {"GET /auth/openapi.json"}
    assert {200, 204, 400, 401} <= {status for found in seen.values() for status in found}


def document_of(app: Flask) -> dict[str, Any]:
    """Give an app's document."""
    document: dict[str, Any] = app.test_client().get("/auth/openapi.json").get_json()
    return document


def insider(app: Flask) -> Callable[[], str]:
    """Add a user who is in, and give a function that gives access tokens of his, each of another session."""
    service = app.extensions["otpauth"]
    with app.test_request_context():
        account = service.users.add(NewAccount(username="insider", email="insider@example.org"))

    def give() -> str:
        with app.test_request_context():
            return str(service.sessions.open(account, amr=("pwd", "otp"), code=True, caller=Caller()).access_token)

    return give


def send(operation: Any, mode: Any, headers: dict[str, str], seen: dict[str, set[int]]) -> None:
    """Send generated requests to an operation: such as fit its schema, or such as don't."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    wanted = [
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        checks.status_code_conformance,
        not_a_server_error,
    ]

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate,),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Any) -> None:
        response = case.call(headers=headers)
        seen.setdefault(operation.label, set()).add(response.status_code)
        case.validate_response(response, checks=wanted)

    one()


# --- a generated client ---------------------------------------------------------------------------------------------


@contextmanager
def served(app: Flask) -> Generator[str, None, None]:
    """Serve an app from a thread, and give its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Flask], None]]:
    """Give a function that generates the package ``made_client`` from an app's document, for the test to import."""

    def generate(app: Flask) -> None:
        (tmp_path / "openapi.json").write_text(json.dumps(document_of(app)))
        # It would have ruff put the code in order, which need not be there.
        (tmp_path / "config.json").write_text('{"post_hooks": []}')
        command = [
            sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none",
            "--output-path", "made_client", "--config", "config.json", "--fail-on-warning",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        monkeypatch.syspath_prepend(tmp_path)

    yield generate
    for name in [name for name in sys.modules if name.partition(".")[0] == "made_client"]:
        del sys.modules[name]


def test_a_typed_client_made_of_it_logs_in(make_host: Make, generated: Callable[[Flask], None]) -> None:
    app = make_host(OTPAUTH_REGISTRATION="open", OTPAUTH_FIELD_NAMES={"challenge_id": "session_id"})
    generated(app)
    client, models = importlib.import_module("made_client.client"), importlib.import_module("made_client.models")

    def call(tag: str, name: str, **given: Any) -> Any:
        return importlib.import_module(f"made_client.api.{tag}.{name}").sync(**given)

    with served(app) as url, capture_messages(app) as messages:
        anybody = client.Client(base_url=url)
        ann = models.RegisterRequest(username="ann", password=PASSWORD, email="ann@example.org")
        registered = call("registration", "register", client=anybody, body=ann)
        assert (type(registered).__name__, registered.user.username) == ("Registered", "ann")
        wish = models.LoginRequest(identifier="ann", password=PASSWORD)
        challenge = call("login", "login", client=anybody, body=wish)
        assert (type(challenge).__name__, challenge.mfa_required) == ("Challenge", True)
        wrong = models.VerifyOtpRequest(session_id=challenge.session_id, otp="000000")
        refused = call("codes", "verify_otp", client=anybody, body=wrong)
        assert (refused.code.value, refused.attempts_left) == ("otp_invalid", 4)
        proof = models.VerifyOtpRequest(session_id=challenge.session_id, otp=str(messages[-1].code))
        login = call("codes", "verify_otp", client=anybody, body=proof)
        assert type(login).__name__ == "Login"
        ann_in = client.AuthenticatedClient(base_url=url, token=login.access_token)
        assert call("app", "private", client=ann_in).hello == "ann"
        assert call("session", "me", client=ann_in).user.email == "ann@example.org"
        assert call("session", "sessions", client=ann_in).sessions[0].current is True
        assert call("app", "private", client=anybody).code.value == "authentication_required"


# --- a linter -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [{}, *SHAPES.values()], ids=["defaults", *SHAPES])
def test_a_linter_has_nothing_to_say(make_host: Make, tmp_path: Path, shape: dict[str, Any]) -> None:
    redocly = os.environ.get("TEST_REDOCLY") or shutil.which("redocly")
    if redocly is None:
        pytest.skip("there is no redocly on PATH (npm install -g @redocly/cli)")
    (tmp_path / "openapi.json").write_text(json.dumps(document_of(make_host(**shape))))
    # Whose licence holds is the host's to say, and neither the document nor the health has anything to refuse.
    skipped = ["--skip-rule=info-license", "--skip-rule=operation-4xx-response"]
    command = [redocly, "lint", "openapi.json", "--extends=recommended-strict", "--format=json", *skipped]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(done.stdout)
    assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, found["problems"]
