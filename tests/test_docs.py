"""Every code block of README.md and docs/ is run as it stands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from tests.recipes.running import NAMES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
SHOWN = {"console", "json", "text", "ini", "html", "jinja", "sql"}
"""Languages of blocks that show something and aren't run."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_run_or_is_marked_as_shown(page: Path) -> None:
    languages = re.findall(r"^```(.*)\n(?:.*\n)*?```$", page.read_text(encoding="utf-8"), re.MULTILINE)
    directives = {language for language in languages if language.startswith("{")}
    assert set(languages) - directives <= {"python", "bash"} | SHOWN
    assert "bash" not in languages or page.name == "README.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The blocks think that they are a module in a folder of their own: Flask puts the instance folder there.
    module = ModuleType("documented")
    module.__file__ = str(tmp_path / "documented.py")
    monkeypatch.setitem(sys.modules, "documented", module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLASK_DEBUG", "1")
    document = Sybil(parsers=[PythonCodeBlockParser()], path=str(page.parent)).parse(page)
    document.namespace["__name__"] = "documented"
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        for value in list(document.namespace.values()):
            if isinstance(value, Flask):
                close(value)


def close(app: Flask) -> None:
    """Give back the connections of an app."""
    with app.app_context():
        db = app.extensions.get("sqlalchemy")  # an app whose settings were refused has none
        for engine in db.engines.values() if db is not None else ():
            engine.dispose()


@pytest.mark.slow
def test_the_migrations_of_a_recipe_run_as_they_are_written(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "recipes.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ flask (.* db .*)$", page, re.MULTILINE)
    assert [re.sub(".* db ", "", command).split()[0] for command in commands] == ["init", "migrate", "upgrade"]
    given = {name: value for name, value in os.environ.items() if name not in NAMES}
    given |= {"PYTHONPATH": str(ROOT), "DATABASE_URL": f"sqlite:///{tmp_path / 'users.db'}"}
    for command in commands:
        words = [sys.executable, "-m", "flask", *shlex.split(command)]
        done = subprocess.run(words, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    with closing(sqlite3.connect(tmp_path / "users.db")) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert {"users", "otpauth_challenge", "otpauth_session", "alembic_version"} <= tables


class Bank:
    """The example, started by the README's own command on another port; its console is a file."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(ROOT / "example_app", folder / "example_app", ignore=shutil.ignore_patterns("__pycache__"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.console = folder / "console"
        command = block("start").rpartition("&& .venv/bin/flask")[2].split()
        with self.console.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flask", *command, "--port", str(self.port)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the reloader has a child
            )

    def wait(self) -> None:
        """Return when it answers."""
        for _ in range(150):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/auth/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"the example didn't start:\n{self.console.read_text()}")

    def code(self, number: int) -> str:
        """Give the code of the message of that number, as a person reads it off the console."""
        for _ in range(100):
            codes = re.findall(r"^CODE=(\d+)$", self.console.read_text(), re.MULTILINE)
            if len(codes) >= number:
                return str(codes[number - 1])
            time.sleep(0.1)
        pytest.fail(f"there is no code of number {number}:\n{self.console.read_text()}")

    def stop(self) -> None:
        """End it and its reloader."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(timeout=10)


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    bank = Bank(tmp_path)
    try:
        bank.wait()
        yield bank
    finally:
        bank.stop()


@pytest.mark.services
def test_the_walk_of_the_readme(bank: Bank) -> None:
    shell = subprocess.Popen(
        ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    codes, output, checked = 0, "", 0
    with shell:
        for line in walk():
            if line.startswith("#"):
                # A comment names what the line before it has just shown.
                assert all(word in output for word in line[1:].split()), f"no {line[1:]} in {output}"
                checked += 1
                continue
            typed = line.replace(":5000", f":{bank.port}")
            if typed == "CODE=...":
                codes += 1
                typed = f"CODE={bank.code(codes)}"
            shell.stdin.write(f"{typed}\necho; echo '--- done'\n")
            output = "".join(iter(shell.stdout.readline, "--- done\n"))
        shell.stdin.close()
    assert (codes, checked) == (3, 14)
    assert "Traceback" not in bank.console.read_text()


def walk() -> list[str]:
    """Give the lines of the walk, one by one."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("### A walk")[2]
    return [
        line
        for lines in re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in lines.splitlines()
    ]


def block(mark: str) -> str:
    """Give the command below a mark of the README."""
    found = re.search(rf"<!-- {mark} -->\n```bash\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    return found[1]
