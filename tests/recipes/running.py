"""A recipe under a real server, in a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.cookiejar import CookieJar
from json import dumps, loads
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

from tests.mailserver import free_port

ROOT = Path(__file__).resolve().parent.parent.parent

NAMES = ("SECRET_KEY", "DATABASE_URL", "OTPAUTH_DEMO", "FLASK_DEBUG", "SMTP_SERVER", "MAIL_SERVER")
"""Variables that a test gives, and that nothing else may."""


class Running:
    """A server, and a browser with its cookies. ``console`` is what the server has written."""

    def __init__(self, port: int, console: Path) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._console = console
        self._browser: OpenerDirector = build_opener(HTTPCookieProcessor(CookieJar()))

    @property
    def console(self) -> str:
        return self._console.read_text()

    def post(self, path: str, body: dict[str, str]) -> tuple[int, Any]:
        return self._open(Request(self._url + path, dumps(body).encode(), {"Content-Type": "application/json"}))

    def get(self, path: str, token: str | None = None) -> tuple[int, Any]:
        return self._open(Request(self._url + path, headers={"Authorization": f"Bearer {token}"} if token else {}))

    def _open(self, request: Request) -> tuple[int, Any]:
        for _ in range(150):
            try:
                with self._browser.open(request, timeout=20) as answer:
                    read = answer.read()
                    return answer.status, loads(read) if answer.headers.get_content_subtype() == "json" else read
            except HTTPError as error:
                return error.code, error.read().decode()
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"no answer:\n{self.console}")


@contextmanager
def running(command: Sequence[str], folder: Path, **environment: str) -> Iterator[Running]:
    """Run a module of Python with that command line, ``{port}`` being a free one."""
    port, console = free_port(), folder / "console"
    inherited = {name: value for name, value in os.environ.items() if name not in NAMES}
    with console.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *(word.format(port=port) for word in command)],
            cwd=folder,
            env={**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a reloader or workers are its children
        )
    try:
        yield Running(port, console)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)
