"""A real server with several workers, and a client of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent.parent


class Answer(NamedTuple):
    """What a request got: ``body`` is the decoded JSON, an empty dict where there is none."""

    status: int
    body: dict[str, Any]


class Gunicorn:
    """
    Gunicorn on a free loopback port, as a context manager; leaving it stops the workers too.

    Attributes:
        log: Everything that the server and the app wrote.
    """

    def __init__(
        self, target: str, folder: Path, *, environ: Mapping[str, str], workers: int = 4, threads: int = 4
    ) -> None:
        self._target, self._environ = target, dict(environ)
        self._size = ["--workers", str(workers), "--threads", str(threads)]
        self._file = folder / "gunicorn.log"
        self.port = 0

    def __enter__(self) -> Self:
        with self._file.open("w") as output:
            self._process = subprocess.Popen(
                # Port 0: the kernel chooses a free one, and the log tells it.
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    *self._size,
                    "--bind",
                    "127.0.0.1:0",
                    "--no-control-socket",
                    self._target,
                ],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self._environ},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def log(self) -> str:
        return self._file.read_text()

    @property
    def faults(self) -> list[str]:
        """What of the log tells of a fault: each traceback and each lock, with the lines around it."""
        return re.findall(r"(?:.*\n){0,5}.*(?:Traceback|database is locked)(?:.*\n){0,40}", self.log)

    def client(self) -> Client:
        """Give a client with a connection of its own."""
        return Client(self.port)

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", self.log)
            if found:
                self.port = int(found[1])
                if self._healthy():
                    return
            time.sleep(0.1)
        raise RuntimeError(f"the server didn't start:\n{self.log}")

    def _healthy(self) -> bool:
        try:
            return self.client().get("/auth/health").status == 200
        except OSError:
            return False


class Client:
    """Speaks JSON with a server on the loopback; a connection for each request, so that any worker may answer."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, token: str | None = None) -> Answer:
        return self._ask("GET", path, None, token)

    def post(self, path: str, body: Mapping[str, object] | None = None, token: str | None = None) -> Answer:
        return self._ask("POST", path, body, token)

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None, token: str | None) -> Answer:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        return Answer(answer.status, json.loads(raw) if raw and is_json else {})


class Outbox:
    """The messages that the workers wrote to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def code(self, to: str, number: int = 1, *, timeout: float = 30) -> str:
        """Give the code of the ``number``-th message to an address, and wait for it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found = [message["code"] for message in self._messages() if message["to"] == to and message["code"]]
            if len(found) >= number:
                return str(found[number - 1])
            time.sleep(0.05)
        raise AssertionError(f"no message of number {number} to {to}")

    def _messages(self) -> list[dict[str, Any]]:
        # A line without its end is still being written.
        return [json.loads(line) for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]
