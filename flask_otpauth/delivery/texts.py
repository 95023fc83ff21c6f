"""The texts of messages: Jinja templates, each of which the app may override."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flask import Flask
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, Template, select_autoescape
from jinja2.exceptions import TemplateNotFound

from ..types import Draft

TEMPLATES = Path(__file__).parent.parent / "templates"
"""The package's template folder; messages are in ``otpauth/messages`` of it."""

FOLDER = "otpauth/messages"

MINUTE, SENDING = 60, 5

_BLANK = re.compile(r"\n\s*\n\s*\n")

MAIL = "email"
"""The channel that has a subject and HTML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A message in words. ``subject`` and ``html`` are None except for e-mail."""

    body: str
    subject: str | None = None
    html: str | None = None


@dataclass(frozen=True, slots=True)
class _Templates:
    body: Template
    subject: Template | None = None
    html: Template | None = None


class Texts:
    """
    Renders ``otpauth/messages/<template>.<channel>.txt``, else ``<template>.txt``; for e-mail also
    ``<template>.subject.txt`` and, where there is one, ``<template>.html``.

    The app's own templates come first. Rendering needs no request. Templates are in Jinja's standard syntax whatever
    delimiters the app chose for its pages, and see the app's filters, tests, globals and extensions. Compiled
    templates are kept, unless the app reloads its own.

    Args:
        name: The app's name in messages; default its ``app.name``.
        sms_origin: Host of the web page that takes codes; text messages then end in the origin-bound line
            (WICG, "Origin-bound one-time codes delivered via SMS", 2).
    """

    def __init__(self, app: Flask, name: str | None = None, sms_origin: str | None = None) -> None:
        self._app = app
        self._name = name or app.name
        self._origin = sms_origin
        self._made: Environment | None = None
        self._found: dict[tuple[str, str], _Templates] = {}

    def render(self, draft: Draft) -> Text:
        """
        Put a draft into words.

        Templates see ``app``, ``code``, ``lifetime`` ("5 minutes"), ``purpose``, ``channel``, ``locale`` and the
        values of the draft.

        Raises:
            TemplateError: The app's own template is missing or broken.
        """
        found = self._templates(draft.template, draft.channel)
        values: dict[str, object] = {
            **draft.values,
            "app": self._name,
            "code": draft.code,
            "lifetime": in_words(draft.lifetime),
            "purpose": draft.purpose,
            "channel": draft.channel,
            "locale": draft.locale,
        }
        body = _BLANK.sub("\n\n", found.body.render(values).strip())
        if draft.channel != MAIL:
            if self._origin is not None and draft.code is not None and draft.channel == "sms":
                body = f"{body}\n\n@{self._origin} #{draft.code}"
            return Text(body=body)
        return Text(
            body=body,
            subject=" ".join(found.subject.render(values).split()) if found.subject else self._name,
            html=found.html.render(values) if found.html else None,
        )

    def _templates(self, template: str, channel: str) -> _Templates:
        key = (template, channel)
        found = self._found.get(key)
        if found is None:
            found = self._find(template, channel)
            if not self._environment.auto_reload:
                self._found[key] = found
        return found

    def _find(self, template: str, channel: str) -> _Templates:
        stem = f"{FOLDER}/{template}"
        body = self._environment.select_template([f"{stem}.{channel}.txt", f"{stem}.txt"])
        if channel != MAIL:
            return _Templates(body)
        return _Templates(body, self._optional(f"{stem}.subject.txt"), self._optional(f"{stem}.html"))

    def _optional(self, name: str) -> Template | None:
        try:
            return self._environment.get_template(name)
        except TemplateNotFound:
            return None

    @property
    def _environment(self) -> Environment:
        # Made at the first message: the app's own environment must not be made before the app is complete.
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> Environment:
        hosts = self._app.jinja_env
        made = Environment(
            loader=ChoiceLoader([self._app.create_global_jinja_loader(), FileSystemLoader(TEMPLATES)]),
            autoescape=select_autoescape(["html"], default_for_string=False),
            auto_reload=hosts.auto_reload,
            extensions=[type(one) for one in hosts.extensions.values()],
        )
        made.filters = {**made.filters, **hosts.filters}
        made.tests = {**made.tests, **hosts.tests}
        made.globals = cast("Any", {**made.globals, **hosts.globals})
        return made


def in_words(seconds: int) -> str:
    """Say a duration: "90 seconds", "5 minutes"; minutes are rounded down, but for what sending itself may take."""
    minutes, rest = divmod(seconds + SENDING, MINUTE)
    if minutes == 0 or (minutes == 1 and rest >= 2 * SENDING):
        return f"{seconds} second{'' if seconds == 1 else 's'}"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"
