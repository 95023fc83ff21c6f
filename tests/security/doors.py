"""A host app with one door of each kind, and somebody who tries them all."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from flask_jwt_extended import JWTManager, jwt_required
from flask_login import LoginManager, login_required
from werkzeug.test import TestResponse

from flask_otpauth import OTPAuth, auth_required, otp_required
from flask_otpauth.testing import capture_messages
from tests.services import database_url

PASSWORD = "correct horse battery"
SECRET = "a key of the tests, long enough: 0123456789"
MANY = "100000 per hour"

DOORS = (
    *(("GET", "/plain"), ("GET", "/plain-fresh"), ("GET", "/plain-refresh")),
    *(("GET", "/login-required"), ("POST", "/login-required")),
    *(("GET", "/auth-required"), ("POST", "/auth-required")),
    *(("GET", "/otp-required"), ("POST", "/otp-required"), ("GET", "/otp-fresh")),
    *(("GET", "/auth/me"), ("GET", "/auth/sessions"), ("GET", "/auth/mfa")),
    *(("POST", "/auth/refresh"), ("POST", "/auth/step-up"), ("POST", "/auth/logout")),
)
"""Method and path; the last one shuts the others."""

OWN = tuple(door for door in DOORS if door[1] not in {"/plain", "/plain-fresh", "/plain-refresh", "/auth/refresh"})
"""Those that a cookie opens too; plain ``@jwt_required`` looks at headers only."""


class Clock:
    """Starts at the real time, which other libraries go by."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def reset(self) -> None:
        """Go back to the real time: Flask-JWT-Extended takes no token from the future."""
        self.now = datetime.now(UTC)


class Site:
    """An app, its clock and messages, and the requests that attackers and owners send."""

    def __init__(self, app: Flask, auth: OTPAuth, clock: Clock, messages: list[Any]) -> None:
        self.app, self.auth, self.clock, self.messages = app, auth, clock, messages
        self._registered = 0

    @property
    def code(self) -> str:
        return str(self.messages[-1].code)

    @property
    def service(self) -> Any:
        return self.app.extensions["otpauth"]

    def newcomer(self) -> dict[str, str]:
        """Give the fields of somebody who has no account yet."""
        self._registered += 1
        name = f"user{self._registered}"
        fields = {"username": name, "phone": f"+97250846{self._registered:04d}"}
        return fields if self.service.settings.passwordless else fields | {"password": PASSWORD}

    def post(self, client: FlaskClient, path: str, body: Mapping[str, Any] | None = None) -> TestResponse:
        return client.post(f"/auth{path}", json=body)

    def enter(self, client: FlaskClient) -> dict[str, Any]:
        """Register somebody and prove the code; gives the body of the answer with the name of the new account."""
        fields = self.newcomer()
        asked = self.post(client, "/register", fields)
        assert asked.status_code == 202, asked.text
        return self.prove(client, asked) | {"username": fields["username"]}

    def prove(self, client: FlaskClient, challenge: TestResponse) -> dict[str, Any]:
        body = {"challenge_id": challenge.json["challenge_id"], "otp": self.code}  # type: ignore[index]
        done = self.post(client, "/verify-otp", body)
        assert done.status_code == 200, done.text
        return dict(done.json or {})

    def knock(
        self,
        token: str | None = None,
        cookies: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        doors: tuple[tuple[str, str], ...] = DOORS,
    ) -> dict[str, int]:
        """Try doors with these credentials alone; gives the status of each."""
        statuses: dict[str, int] = {}
        for method, path in doors:
            client = self.app.test_client()
            for name, value in (cookies or {}).items():
                client.set_cookie(name, value)
            given = {"Authorization": f"Bearer {token}"} if token is not None else {}
            answer = client.open(path, method=method, headers={**given, **(headers or {})})
            statuses[f"{method} {path}"] = answer.status_code
        return statuses


def shut(statuses: Mapping[str, int]) -> bool:
    """Tell whether nobody came through; Flask-JWT-Extended says 422 to what is no token at all."""
    return all(status == 401 or (status == 422 and "/plain" in door) for door, status in statuses.items())


def copied(client: FlaskClient, *names: str) -> dict[str, str]:
    """Give the client's cookies as somebody who copied them has them."""
    held = {name: client.get_cookie(name) for name in names or ("session", "otpauth_client")}
    return {name: cookie.value for name, cookie in held.items() if cookie is not None}


def make_site(folder: Path, *, manager: str = "ours", secret: str = SECRET, **config: Any) -> tuple[Flask, Any, Clock]:
    """Make the app; ``manager`` is "ours" or "host" for the app's own ``JWTManager``."""
    app, clock = Flask("host", instance_path=str(folder / "instance"), root_path=str(folder)), Clock()
    app.config.update(
        TESTING=True,
        SECRET_KEY=secret,
        OTPAUTH_BCRYPT_ROUNDS=4,
        OTPAUTH_LOGIN_IP_LIMITS=MANY,
        OTPAUTH_SEND_IP_LIMITS=MANY,
        OTPAUTH_VERIFY_IP_LIMITS=MANY,
    )
    app.config.update(config)
    jwt = JWTManager(app) if manager == "host" else None
    LoginManager(app)
    auth = OTPAuth(app, clock=clock)
    if jwt is not None:
        jwt.token_in_blocklist_loader(auth.token_revoked)
    doors = {
        "/plain": jwt_required(),
        "/plain-fresh": jwt_required(fresh=True),
        "/plain-refresh": jwt_required(refresh=True),
        "/login-required": login_required,
        "/auth-required": auth_required,
        "/otp-required": otp_required,
        "/otp-fresh": otp_required(fresh=True),
        "/auth-fresh": auth_required(fresh=True),
    }
    for path, protection in doors.items():

        def view() -> str:
            return "in"

        app.add_url_rule(path, path.strip("/"), protection(view), methods=["GET", "POST"])
    return app, auth, clock


@contextmanager
def site_on(kind: str, folder: Path, **config: Any) -> Generator[Site, None, None]:
    """Give a site on a database of its own: "sqlite", "postgresql" or "mariadb"."""
    with ExitStack() as stack:
        url = stack.enter_context(database_url(kind, folder))
        app, auth, clock = make_site(folder, SQLALCHEMY_DATABASE_URI=url, **config)
        stack.callback(_close, app)
        yield Site(app, auth, clock, stack.enter_context(capture_messages(app)))


def _close(app: Flask) -> None:
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
