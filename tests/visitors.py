"""A person at a browser without JavaScript: reads pages, fills in their forms, follows where they lead."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

PASSWORD = "correct horse battery"
ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class Visitor:
    """One browser; ``messages`` is what ``capture_messages`` gives."""

    def __init__(self, app: Flask, messages: list[Any], prefix: str = "/account") -> None:
        self.client: FlaskClient = app.test_client()
        self.messages = messages
        self.prefix = prefix

    @property
    def code(self) -> str:
        return str(self.messages[-1].code)

    @property
    def wrong(self) -> str:
        return "0" * len(self.code) if self.code.strip("0") else "1" * len(self.code)

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers={"Accept": ACCEPT, **headers})

    def page(self, name: str, **headers: str) -> TestResponse:
        return self.get(f"{self.prefix}/{name}".rstrip("/"), **headers)

    def token(self, page: TestResponse) -> str:
        found = _TOKEN.search(page.text)
        assert found is not None, (page.status, page.location, page.text)
        return found[1]

    def send(self, name: str, /, *, of: str | None = None, **fields: Any) -> TestResponse:
        """Fill in the form of the page ``of``, by default the very one that it is sent to."""
        token = self.token(self.page(of or name))
        return self.post(name, csrf_token=token, **fields)

    def post(self, name: str, /, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
        path = f"{self.prefix}/{name}".rstrip("/")
        return self.client.post(path, data=fields, headers={"Accept": ACCEPT, **(headers or {})})

    def register(self, username: str = "ann", /, **fields: str) -> TestResponse:
        email = f"{username}@example.org"
        given = {"username": username, "email": email, "password": PASSWORD, "password_repeat": PASSWORD}
        return self.send("register", **{**given, **fields})

    def confirm(self, name: str = "ann") -> TestResponse:
        """Register and prove it; the visitor is logged in then, unless the app says otherwise."""
        self.register(name)
        return self.send("confirm", otp=self.code)

    def login(self, name: str = "ann", path: str = "login") -> TestResponse:
        return self.send(path, identifier=name, password=PASSWORD)

    def logout(self) -> TestResponse:
        return self.send("logout")

    @property
    def cookie(self) -> str:
        cookie = self.client.get_cookie("session")
        return "" if cookie is None else cookie.value
