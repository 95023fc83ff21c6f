"""The HTTP sender against a real server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError, URLError

import pytest

from flask_otpauth.delivery import HttpSender
from flask_otpauth.types import Message


@dataclass
class Gateway:
    """A gateway on this machine: what it got, and what it answers."""

    url: str = ""
    status: int = 202
    delay: float = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def gateway() -> Generator[Gateway, None, None]:
    state = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.requests.append((self.command, dict(self.headers), body))
            time.sleep(state.delay)
            self.send_response(state.status)
            if 300 <= state.status < 400:
                self.send_header("Location", state.url + "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET = answer  # noqa: N815 - the names of the standard library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def message() -> Message:
    return Message(to="+15005550006", body="Acme: 004217", code="004217", purpose="login", channel="sms")


def test_a_message_is_posted_as_json_with_the_headers(gateway: Gateway) -> None:
    HttpSender(gateway.url + "/send", {"Authorization": "Bearer key"}).send(message())
    [(method, headers, body)] = gateway.requests
    assert method == "POST"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer key"
    assert json.loads(body) == {"to": "+15005550006", "body": "Acme: 004217", "channel": "sms", "purpose": "login"}


def test_the_host_builds_the_payload(gateway: Gateway) -> None:
    HttpSender(gateway.url, build=lambda one: {"number": one.to}).send(message())
    form = HttpSender(
        gateway.url, {"Content-Type": "application/x-www-form-urlencoded"}, build=lambda one: f"n={one.code}".encode()
    )
    form.send(message())
    assert json.loads(gateway.requests[0][2]) == {"number": "+15005550006"}
    assert gateway.requests[1][2] == b"n=004217"
    assert gateway.requests[1][1]["Content-Type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_counts_as_sent(gateway: Gateway, status: int) -> None:
    gateway.status = status
    HttpSender(gateway.url).send(message())


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_every_other_answer_is_a_failure(gateway: Gateway, status: int) -> None:
    gateway.status = status
    with pytest.raises(HTTPError) as caught:
        HttpSender(gateway.url).send(message())
    caught.value.close()
    assert "004217" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_not_followed(gateway: Gateway, status: int) -> None:
    gateway.status = status
    with pytest.raises(HTTPError) as caught:
        HttpSender(gateway.url).send(message())
    caught.value.close()
    assert len(gateway.requests) == 1


def test_a_gateway_that_hangs_is_left(gateway: Gateway) -> None:
    gateway.delay = 1
    before = time.monotonic()
    with pytest.raises((TimeoutError, URLError)):
        HttpSender(gateway.url, timeout=0.1).send(message())
    assert time.monotonic() - before < 0.9


def test_a_gateway_that_is_away_is_a_failure(gateway: Gateway) -> None:
    with pytest.raises(URLError):
        HttpSender("http://127.0.0.1:1/").send(message())
    assert gateway.requests == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://gateway.example/", "gateway.example", "https://", ""])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        HttpSender(url)
