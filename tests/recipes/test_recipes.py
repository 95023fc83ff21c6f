"""What the recipes are: short host apps, made by ``create_app``, that settings go over."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

import example_app.recipes
from flask_otpauth.testing import capture_messages
from tests.recipes.walking import SECRET, close, settings

FOLDER = Path(example_app.recipes.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_at_most_thirty_lines(name: str) -> None:
    lines = (FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 120
    # One statement a line: what is short must be read with ease.
    assert not any(";" in line and not line.startswith('"""') for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_settings_go_over_those_of_a_recipe(name: str, tmp_path: Path) -> None:
    recipe = import_module(f"example_app.recipes.{name}")
    app = recipe.create_app(settings(f"sqlite:///{tmp_path / 'users.db'}", OTPAUTH_CODE_LIFETIME=77))
    assert app.extensions["otpauth"].settings.code_lifetime == 77
    # What messages, tokens and authenticators say: the module's path is nothing to a user.
    assert "example_app" not in app.extensions["otpauth"].settings.name
    assert app.test_client().get("/nowhere").status_code == 404
    close(app)


@pytest.mark.parametrize("name", NAMES)
def test_in_debug_a_recipe_needs_nothing_else(name: str, tmp_path: Path) -> None:
    """No secret, no gateway, no mail server; codes are in the inbox."""
    recipe = import_module(f"example_app.recipes.{name}")
    app = recipe.create_app({"DEBUG": True, "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'users.db'}"})
    (inbox,) = [rule.rule for rule in app.url_map.iter_rules() if rule.endpoint == "otpauth.inbox"]
    assert "No messages" in app.test_client().get(inbox).text
    close(app)


@pytest.mark.parametrize("name", NAMES)
def test_the_document_of_a_recipe_has_nothing_that_a_linter_refuses(name: str, tmp_path: Path) -> None:
    """As ``redocly lint`` does with its strict rules: no path that ends in a slash, no component that nobody uses."""
    recipe = import_module(f"example_app.recipes.{name}")
    app = recipe.create_app(settings(f"sqlite:///{tmp_path / 'users.db'}"))
    (path,) = [rule.rule for rule in app.url_map.iter_rules() if rule.endpoint == "otpauth.openapi"]
    document = app.test_client().get(path).get_json()
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert [path for path in document["paths"] if path.endswith("/")] == []
    text = json.dumps(document)
    for section in ("schemas", "headers"):
        names = document["components"][section]
        assert [one for one in names if f'"#/components/{section}/{one}"' not in text] == []
    close(app)


ANN = {"username": "annika12", "password": "SecureP@ssw0rd"}
EMAIL = {"email": "ann@example.com"}
SIGN_UPS: dict[str, tuple[str, dict[str, str], tuple[int, int]]] = {
    "email_portal": ("/auth/register", {**ANN, **EMAIL}, (202, 429)),
    "email_second_factor": ("/signup", {"name": "Ann", "password": ANN["password"], **EMAIL}, (200, 409)),
    "jwt_roles": ("/register", {**ANN, **EMAIL}, (201, 409)),
    "mobile_otp_login": ("/register", {**ANN, "mobile_number": "0508464336"}, (202, 409)),
    "sms_second_factor": ("/auth/register", {**ANN, "phone_number": "0508464336"}, (201, 409)),
}
"""By recipe the path, the body, and the statuses for who is new and who comes again."""


def test_recipes_in_one_folder_have_each_a_database_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is named: all of them in one instance folder, one after another, and then once more."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(Flask, "auto_find_instance_path", lambda _: str(tmp_path))
    assert set(SIGN_UPS) == set(NAMES)
    for turn in (0, 1):
        for name, (path, body, statuses) in SIGN_UPS.items():
            recipe = import_module(f"example_app.recipes.{name}")
            app = recipe.create_app({"TESTING": True, "SECRET_KEY": SECRET, "OTPAUTH_BCRYPT_ROUNDS": 4})
            with capture_messages(app):
                answer = app.test_client().post(path, json=body)
            assert answer.status_code == statuses[turn], (name, answer.text)
            close(app)
    assert {path.stem for path in tmp_path.glob("*.sqlite3")} == {
        f"otpauth-example_app.recipes.{name}" for name in NAMES
    }
