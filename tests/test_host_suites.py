"""Test suites of hosts, run for real: pytest-flask, and our own opt-in plugin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = """
import pytest
from flask import Flask
from flask_otpauth import OTPAuth, current_user, otp_required

pytest_plugins = ["flask_otpauth.testing"]


@pytest.fixture
def app(tmp_path):
    app = Flask("host", instance_path=str(tmp_path))
    app.config.update(TESTING=True, SECRET_KEY="0123456789abcdef0123456789abcdef", OTPAUTH_BCRYPT_ROUNDS=4,
                      OTPAUTH_REGISTRATION="open")
    OTPAuth(app)

    @app.get("/private")
    @otp_required
    def private():
        return current_user.username

    return app
"""

SUITE = """
from flask import url_for

PASSWORD = "correct horse battery"


def test_two_requests_never_share_a_user(app, client, otp_login):
    headers = {}
    for name, phone in (("ann", "+972508464336"), ("bob", "+972508464337")):
        body = {"username": name, "password": PASSWORD, "phone": phone}
        assert client.post("/auth/register", json=body).status_code == 201
        headers[name] = otp_login(client, username=name, password=PASSWORD)
    assert client.get(url_for("private"), headers=headers["ann"]).text == "ann"
    assert client.get(url_for("private"), headers=headers["bob"]).text == "bob"
    assert client.get(url_for("private")).status_code == 401


def test_a_failure_is_seen(client):
    assert client.get(url_for("private")).status_code == 401
"""


def test_a_suite_with_pytest_flask_passes(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_host.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
