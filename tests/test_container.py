"""Dockerfile and compose.yaml: what they say, and their very commands, run in a clean environment without an engine."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from example_app.environment import NAMES, deployed
from tests.services import POSTGRESQL, REDIS, database_url

ROOT = Path(__file__).resolve().parents[1]
KEY = "0123456789abcdef" * 4
MAIL = {"SMTP_SERVER", "SMTP_PORT", "SMTP_USERNAME", "SMTP_PASSWORD", "SENDER_EMAIL"}


def instructions() -> list[tuple[str, str]]:
    """Give the Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, " ".join(rest.split())) for line in lines if line for word, _, rest in [line.partition(" ")]]


def only(word: str) -> str:
    """Give what the one instruction of that kind says."""
    [found] = [rest for name, rest in instructions() if name == word]
    return found


# --- what the files say -------------------------------------------------------------------------------------------


def test_the_image_runs_as_a_user_without_rights() -> None:
    assert int(only("USER")) > 0
    after = [word for word, _ in instructions()][[word for word, _ in instructions()].index("USER") + 1 :]
    assert not {"RUN", "COPY", "ADD", "USER"} & set(after)


def test_the_image_holds_no_secret_and_no_more_than_it_needs() -> None:
    assert "SECRET" not in "".join(rest for word, rest in instructions() if word in {"ENV", "ARG"})
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in ignored
    for word, rest in instructions():
        if word == "COPY":
            *sources, _ = rest.split()
            assert all(f"!{source}" in ignored for source in sources)
    assert {"**/.env*", "**/*.sqlite3", "**/instance"} <= set(ignored)


def test_the_port_is_the_same_everywhere() -> None:
    assert only("EXPOSE") == "5000"
    assert "0.0.0.0:5000" in json.loads(only("CMD"))
    assert ":5000/auth/health" in only("HEALTHCHECK")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return found


def filled_in(text: str, given: Mapping[str, str]) -> str:
    """Put variables in, as Compose does."""

    def value(match: re.Match[str]) -> str:
        name, mark, rest = match["name"], match["mark"], match["rest"]
        if given.get(name):
            return given[name]
        if mark == ":?":
            raise KeyError(f"{name}: {rest}")
        return str(rest)

    return re.sub(r"\$\{(?P<name>\w+)(?P<mark>:[?-])(?P<rest>[^}]*)\}", value, text)


def variables(compose: dict[str, Any], **given: str) -> dict[str, str]:
    return {name: filled_in(text, given) for name, text in compose["services"]["bank"]["environment"].items()}


@pytest.mark.parametrize("missing", ["SECRET_KEY", "POSTGRES_PASSWORD"])
def test_compose_starts_nothing_without_its_secrets(compose: dict[str, Any], missing: str) -> None:
    given = {"SECRET_KEY": KEY, "POSTGRES_PASSWORD": "secret"}
    with pytest.raises(KeyError, match=missing):
        variables(compose, **{name: value for name, value in given.items() if name != missing})


def test_every_variable_is_one_that_the_app_reads(compose: dict[str, Any]) -> None:
    found = variables(compose, SECRET_KEY=KEY, POSTGRES_PASSWORD="secret")
    assert set(found) == {*NAMES, *MAIL, "OTPAUTH_DEMO"}
    assert deployed(found) == {
        "SECRET_KEY": KEY,
        "SQLALCHEMY_DATABASE_URI": "postgresql+psycopg://bank:secret@database/bank",
        "RATELIMIT_STORAGE_URI": "redis://limits:6379/0",
        "OTPAUTH_DEMO": True,
    }


def test_the_services_are_waited_for_and_the_app_has_few_rights(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"bank", "database", "limits"}
    for name, wanted in services["bank"]["depends_on"].items():
        assert wanted == {"condition": "service_healthy"}
        assert services[name]["healthcheck"]["test"]
    bank = services["bank"]
    assert (bank["read_only"], bank["cap_drop"], bank["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert bank["ports"] == ["127.0.0.1:5000:5000"]
    assert set(compose["volumes"]) == {"database"}
    # Neither the database nor the limits can be reached from outside.
    assert not any("ports" in services[name] for name in ("database", "limits"))


# --- what the commands do -----------------------------------------------------------------------------------------


@dataclass
class Image:
    """What the Dockerfile makes, in a folder: its layers, a virtual environment, and its variables."""

    folder: Path
    environment: dict[str, str]

    def place(self, path: str) -> Path:
        """Give where a path of the image is."""
        return self.folder / path.lstrip("/")

    def command(self, instruction: str, port: int) -> list[str]:
        """Give the arguments of CMD or HEALTHCHECK, on another port."""
        words: list[str] = json.loads("[" + only(instruction).partition("[")[2])
        return [word.replace("5000", str(port)) for word in words]

    def run(self, words: list[str], **given: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **given}
        words = [str(self.folder / "venv" / "bin" / words[0]), *words[1:]]
        return subprocess.run(
            words, cwd=self.place("/app"), env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    @contextmanager
    def serving(self, port: int, **given: str) -> Iterator[Path]:
        """Run CMD; give the file that its console goes to."""
        console = self.folder / f"console-{secrets.token_hex(4)}"
        words = self.command("CMD", port)
        with console.open("w") as output:
            process = subprocess.Popen(
                [str(self.folder / "venv" / "bin" / words[0]), *words[1:]],
                cwd=self.place("/app"),
                env={**self.environment, **given},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            for _ in range(150):
                if process.poll() is not None or "Listening at" in console.read_text():
                    break
                time.sleep(0.1)
            assert process.poll() is None, console.read_text()
            yield console
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Do what the Dockerfile says, instruction by instruction, with a virtual environment for a system."""
    folder = tmp_path_factory.mktemp("image")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    stubs = folder / "stubs"
    stubs.mkdir()
    for name in ("useradd", "chown"):  # nobody is added to this machine
        (stubs / name).write_text("#!/bin/sh\n")
        (stubs / name).chmod(0o755)
    path = f"{stubs}:{folder / 'venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    # Where packages come from is this machine's affair, and its home's.
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "HOME"}
    image = Image(folder, {**kept, "PATH": path})
    place = folder
    for word, rest in instructions():
        if word == "ENV":
            image.environment |= dict(pair.split("=", 1) for pair in rest.split())
        elif word == "WORKDIR":
            place = image.place(rest)
            place.mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            copy(rest.split(), place)
        elif word == "RUN":
            subprocess.run(["sh", "-ec", rest], cwd=place, env=image.environment, check=True, timeout=500)
    image.environment = {name: value for name, value in image.environment.items() if name not in kept}
    return image


def copy(words: list[str], place: Path) -> None:
    *sources, target = words
    for source in sources:
        if (ROOT / source).is_dir():
            skipped = shutil.ignore_patterns("__pycache__", "instance", "*.sqlite3")
            shutil.copytree(ROOT / source, place / target, ignore=skipped)
        else:
            shutil.copy(ROOT / source, place / target)


def port() -> int:
    """Give 5000 where it is free, else another one."""
    for wanted in (5000, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("there is no free port")


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "SECRET_KEY is missing; set it"),
        ({"SECRET_KEY": "", "OTPAUTH_DEMO": "1"}, "SECRET_KEY is missing; set it"),
        ({"SECRET_KEY": "dev", "SMTP_SERVER": "localhost", "SENDER_EMAIL": "a@example.org"}, "SECRET_KEY is short"),
        ({"SECRET_KEY": KEY, "SMTP_SERVER": "localhost"}, "SMTP_SERVER is set without SENDER_EMAIL"),
        ({"SECRET_KEY": KEY, "OTPAUTH_DEMO": "0"}, "set SMTP_SERVER and SENDER_EMAIL"),
    ],
)
def test_it_refuses_to_start_with_a_fault(image: Image, given: dict[str, str], told: str) -> None:
    done = image.run(image.command("CMD", port()), **given)
    assert done.returncode == 1
    assert "Error: Flask-OTPAuth can't start:" in done.stderr
    assert told in done.stderr


def ask(port: int, path: str, body: dict[str, str] | None = None, token: str | None = None) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def walk(port: int, console: Path, name: str) -> None:
    """Register by the code that the console shows, and look at the account."""
    assert ask(port, "/auth/health")[0] == 200
    body = {"username": name, "email": f"{name}@example.org", "password": "my dog eats soap"}
    status, challenge = ask(port, "/auth/register", body)
    assert status == 202, challenge
    for _ in range(100):
        codes = re.findall(r"^CODE=(\d+)$", console.read_text(), re.MULTILINE)
        if codes:
            break
        time.sleep(0.1)
    status, tokens = ask(port, "/auth/verify-otp", {"challenge_id": challenge["challenge_id"], "otp": codes[-1]})
    assert status == 200, tokens
    status, account = ask(port, "/account", token=tokens["access_token"])
    assert (status, account["owner"]) == (200, name)


@pytest.mark.slow
@pytest.mark.services
def test_it_serves_with_a_secret_and_knows_its_health(image: Image) -> None:
    chosen = port()
    check = image.command("HEALTHCHECK", chosen)
    assert image.run(check).returncode != 0
    with image.serving(chosen, SECRET_KEY=KEY) as console:
        walk(chosen, console, "ann")
        assert image.run(check).returncode == 0
        assert "OTPAUTH_DEMO is on" in console.read_text()
        with urllib.request.urlopen(f"http://127.0.0.1:{chosen}/login", timeout=10) as page:
            assert "<form" in page.read().decode()
    written = {path.relative_to(image.place("/app")).parts[0] for path in image.place("/app").rglob("*")}
    assert written == {"example_app", "instance"}
    assert list(image.place("/app/instance").glob("*.sqlite3"))
    assert not list(image.place("/app/example_app").rglob("__pycache__"))


@pytest.mark.slow
@pytest.mark.services
def test_the_doctor_speaks_in_the_container_as_it_is_served(image: Image) -> None:
    page = (ROOT / "docs" / "how-to" / "container.md").read_text(encoding="utf-8")
    [command] = re.findall(r"`docker compose exec bank (flask [^`]+ doctor)`", page)
    done = image.run(command.split(), SECRET_KEY=KEY)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "OTPAUTH_DEMO" in done.stdout


@pytest.mark.slow
@pytest.mark.services
def test_it_serves_on_postgresql_and_redis(image: Image, tmp_path: Path, compose: dict[str, Any]) -> None:
    given = variables(compose, SECRET_KEY=KEY, POSTGRES_PASSWORD="secret")
    chosen = port()
    with database_url("postgresql", tmp_path) as url:
        given["DATABASE_URL"] = url.replace("postgresql+psycopg", "postgresql")
        given["RATELIMIT_STORAGE_URI"] = REDIS
        given["FLASK_OTPAUTH_APP_NAME"] = f"bank {secrets.token_hex(4)}"  # the limits of this test alone
        with image.serving(chosen, **given) as console:
            walk(chosen, console, "ben")
            assert "Limits per address are counted in each process alone" not in console.read_text()
    assert POSTGRESQL.startswith("postgresql+psycopg://")
