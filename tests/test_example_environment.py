"""What the bank takes from the environment."""

from __future__ import annotations

import pytest

from example_app import create_app
from example_app.environment import deployed
from flask_otpauth.errors import ConfigurationError


def test_the_usual_names_become_settings() -> None:
    found = deployed({"SECRET_KEY": "k" * 32, "RATELIMIT_STORAGE_URI": "redis://cache", "HOME": "/root"})
    assert found == {"SECRET_KEY": "k" * 32, "RATELIMIT_STORAGE_URI": "redis://cache"}


def test_an_empty_variable_counts_as_none() -> None:
    assert deployed({"SECRET_KEY": "", "DATABASE_URL": "", "OTPAUTH_DEMO": ""}) == {}


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://ann:secret@db/bank", "postgresql+psycopg://ann:secret@db/bank"),
        ("postgresql://db/bank?sslmode=require", "postgresql+psycopg://db/bank?sslmode=require"),
        ("mysql://db/bank", "mysql+pymysql://db/bank"),
        ("sqlite:////data/bank.db", "sqlite:////data/bank.db"),
        ("postgresql+psycopg://db/bank", "postgresql+psycopg://db/bank"),
    ],
)
def test_urls_of_hosting_services_name_a_driver_that_is_there(given: str, used: str) -> None:
    assert deployed({"DATABASE_URL": given}) == {"SQLALCHEMY_DATABASE_URI": used}


@pytest.mark.parametrize(("given", "demo"), [("1", True), ("TRUE", True), ("0", False), ("no", False)])
def test_a_demonstration_is_switched_on_and_off(given: str, *, demo: bool) -> None:
    assert deployed({"OTPAUTH_DEMO": given}) == {"OTPAUTH_DEMO": demo}


@pytest.mark.parametrize(("mail", "demo"), [({}, True), ({"SMTP_SERVER": "m"}, False), ({"MAIL_SERVER": "m"}, False)])
def test_the_image_is_a_demonstration_where_there_is_no_mail_server(mail: dict[str, str], *, demo: bool) -> None:
    assert deployed({"OTPAUTH_DEMO": "auto", **mail})["OTPAUTH_DEMO"] is demo


@pytest.mark.parametrize("name", ["SMTP_SERVER", "MAIL_SERVER"])
def test_with_a_mail_server_codes_go_by_mail_alone(name: str) -> None:
    assert deployed({name: "mail.example.org"}) == {"OTPAUTH_CHANNELS": ("email",)}


@pytest.mark.parametrize("demo", ["", "1"])
def test_outside_debug_there_is_no_secret_of_its_own(monkeypatch: pytest.MonkeyPatch, demo: str) -> None:
    for name in ("SECRET_KEY", "FLASK_SECRET_KEY", "FLASK_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTPAUTH_DEMO", demo)
    with pytest.raises(ConfigurationError, match="SECRET_KEY is missing"):
        create_app({"SQLALCHEMY_DATABASE_URI": "sqlite://"})
