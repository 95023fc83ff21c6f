"""A file ``.env`` with the usual names, read by the ``flask`` command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mailserver import HOST, authenticator, free_port, servers

ROOT = Path(__file__).resolve().parents[2]

APP = """
import os

from flask import Flask
from flask_otpauth import OTPAuth

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["SECRET_KEY"],
    SQLALCHEMY_DATABASE_URI=os.environ["DATABASE_URL"],
    OTPAUTH_REGISTER_FIELDS=("email", "password"),
    OTPAUTH_CHANNELS=("email",),
)
OTPAuth(app)
"""


def run(folder: Path, variables: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run the ``flask`` command beside a ``.env``; nothing but PATH comes from the environment of the tests."""
    (folder / "app.py").write_text(APP)
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FLASK_APP": "app"}
    line = [sys.executable, "-m", "flask", "otpauth", *command]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def described(port: int, folder: Path) -> dict[str, str]:
    return {
        "SECRET_KEY": "0123456789abcdef" * 4,
        "SMTP_SERVER": HOST,
        "SMTP_PORT": str(port),
        "SMTP_USERNAME": "ann",
        "SMTP_PASSWORD": "secret",
        "SENDER_EMAIL": "Acme <no-reply@example.org>",
        "DATABASE_URL": f"sqlite:///{folder / 'bank.db'}",
    }


def test_a_file_of_settings_is_enough_to_send(tmp_path: Path) -> None:
    with servers() as start:
        mailbox, port = start(authenticator=authenticator, auth_require_tls=False)
        done = run(tmp_path, described(port, tmp_path), "send-test", "email", "ann@example.org")
        assert (done.returncode, done.stdout.strip()) == (0, "The sender took it."), done.stderr
    assert mailbox.authenticated == [True]
    assert mailbox.mail()["From"] == "Acme <no-reply@example.org>"
    assert "000000" in mailbox.part("plain")


def test_a_server_that_is_away_is_told_with_its_cause(tmp_path: Path) -> None:
    done = run(tmp_path, described(free_port(), tmp_path), "send-test", "email", "ann@example.org")
    assert done.returncode == 1
    assert "Sender SmtpSender of channel email failed: ConnectionRefusedError" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["SMTP_PASSWORD", "SENDER_EMAIL"])
def test_what_is_missing_is_told_by_name(tmp_path: Path, name: str) -> None:
    variables = described(free_port(), tmp_path)
    del variables[name]
    done = run(tmp_path, variables, "send-test", "email", "ann@example.org")
    assert done.returncode != 0
    assert f"without {name}" in done.stderr
