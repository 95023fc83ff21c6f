"""Directives whose content is read from the code: all settings, and all errors."""

from __future__ import annotations

import inspect

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from flask_otpauth import errors
from flask_otpauth.config import reference


class Settings(SphinxDirective):
    """``{otpauth-settings}``: one section for each setting, with its default and its meaning."""

    def run(self) -> list[nodes.Node]:
        """Give the sections."""
        made: list[nodes.Node] = []
        for name, default, meaning in reference():
            section = nodes.section("", nodes.title(name, name), ids=[nodes.make_id(name)], names=[name.lower()])
            self.state.nested_parse(StringList([meaning]), 0, section)
            section += nodes.paragraph("", "", nodes.Text("Default: "), nodes.literal(default, default))
            made.append(section)
        return made


class Errors(SphinxDirective):
    """``{otpauth-errors}``: the table of all problems."""

    def run(self) -> list[nodes.Node]:
        """Give the table."""
        rows = [
            f"| `{error.code}` | {error.status} | {error.title} | {(inspect.getdoc(error) or '').splitlines()[0]} |"
            for error in errors.OTPAuthError.__subclasses__()
        ]
        container = nodes.container()
        table = ["| code | status | title | when |", "|---|---|---|---|", *rows]
        self.state.nested_parse(StringList(table), 0, container)
        return container.children


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directives."""
    app.add_directive("otpauth-settings", Settings)
    app.add_directive("otpauth-errors", Errors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
