"""The e-mail sender that a configuration describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_otpauth import OTPAuth
from flask_otpauth.delivery import mail_settings, smtp_from_config
from flask_otpauth.errors import ConfigurationError

OURS = {"SMTP_SERVER": "mail.example.org", "SENDER_EMAIL": "no-reply@example.org"}
FLASK_MAIL = {"MAIL_SERVER": "mail.example.org", "MAIL_DEFAULT_SENDER": "no-reply@example.org"}


def described(config: dict[str, Any], timeout: float = 5.0) -> dict[str, Any]:
    sender, faults = smtp_from_config(config, timeout)
    assert faults == []
    assert sender is not None
    held = vars(sender)
    return {name: held[f"_{name}"] for name in ("host", "port", "login", "tls", "timeout")} | {
        "from": str(held["_sender"])
    }


@pytest.mark.parametrize(
    "config", [{}, {"SMTP_SERVER": ""}, {"SMTP_SERVER": None}, {"SMTP_SERVER": " ", "SMTP_PORT": "x"}]
)
def test_without_a_server_there_is_no_sender(config: dict[str, Any]) -> None:
    assert smtp_from_config(config) == (None, [])


def test_two_settings_are_enough() -> None:
    assert described(OURS) == {
        "host": "mail.example.org",
        "port": 587,
        "login": None,
        "tls": "starttls",
        "timeout": 5.0,
        "from": "no-reply@example.org",
    }


def test_values_may_be_strings_as_in_a_file_of_settings() -> None:
    config = OURS | {
        "SMTP_PORT": " 465 ",
        "SMTP_USERNAME": "ann",
        "SMTP_PASSWORD": "secret",
        "SENDER_EMAIL": "Acme Bank <no-reply@example.org>",
    }
    held = described(config, 2)
    assert (held["port"], held["tls"], held["login"]) == (465, "implicit", ("ann", "secret"))
    assert held["from"] == "Acme Bank <no-reply@example.org>"
    assert held["timeout"] == 2


def test_ours_comes_before_flask_mails() -> None:
    assert described(OURS | FLASK_MAIL | {"MAIL_PORT": 2525})["port"] == 587


@pytest.mark.parametrize(
    ("config", "port", "tls"),
    [
        ({}, 25, "starttls"),
        ({"MAIL_USE_TLS": True}, 587, "starttls"),
        ({"MAIL_USE_TLS": "true", "MAIL_PORT": "2525"}, 2525, "starttls"),
        ({"MAIL_USE_SSL": True, "MAIL_USE_TLS": False}, 465, "implicit"),
        ({"MAIL_USE_SSL": "1", "MAIL_PORT": 4650}, 4650, "implicit"),
        ({"MAIL_USE_TLS": False}, 25, "none"),
        ({"MAIL_SERVER": "localhost"}, 25, "none"),
        ({"MAIL_SERVER": "127.0.0.1", "MAIL_USE_TLS": "yes"}, 587, "starttls"),
    ],
)
def test_flask_mails_settings_are_read(config: dict[str, Any], port: int, tls: str) -> None:
    held = described(FLASK_MAIL | config)
    assert (held["port"], held["tls"]) == (port, tls)


def test_flask_mails_sender_may_be_a_pair() -> None:
    held = described(FLASK_MAIL | {"MAIL_DEFAULT_SENDER": ("Acme, Bank", "no-reply@example.org")})
    assert held["from"] == '"Acme, Bank" <no-reply@example.org>'


def test_flask_mails_switch_for_tests_is_honoured() -> None:
    assert smtp_from_config(FLASK_MAIL | {"MAIL_SUPPRESS_SEND": True}) == (None, [])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"SMTP_SERVER": "m.example"}, ["SMTP_SERVER is set without SENDER_EMAIL"]),
        ({"MAIL_SERVER": "m.example"}, ["MAIL_SERVER is set without MAIL_DEFAULT_SENDER"]),
        (OURS | {"SENDER_EMAIL": "nobody"}, ["SENDER_EMAIL is 'nobody'"]),
        (OURS | {"SENDER_EMAIL": "a@b.example\nBcc: c@d.example"}, ["SENDER_EMAIL is "]),
        (FLASK_MAIL | {"MAIL_DEFAULT_SENDER": ("Acme",)}, ["MAIL_DEFAULT_SENDER is "]),
        (OURS | {"SMTP_PORT": "smtp"}, ["SMTP_PORT is 'smtp'"]),
        (OURS | {"SMTP_PORT": 0}, ["SMTP_PORT is '0'"]),
        (OURS | {"SMTP_PORT": "99999"}, ["SMTP_PORT is '99999'"]),
        (OURS | {"SMTP_USERNAME": "ann"}, ["SMTP_USERNAME is set without SMTP_PASSWORD"]),
        (OURS | {"SMTP_PASSWORD": "secret"}, ["SMTP_PASSWORD is set without SMTP_USERNAME"]),
        (FLASK_MAIL | {"MAIL_USE_TLS": "maybe"}, ["MAIL_USE_TLS is 'maybe'"]),
        (FLASK_MAIL | {"MAIL_USE_TLS": True, "MAIL_USE_SSL": True}, ["MAIL_USE_TLS and MAIL_USE_SSL are both set"]),
        (
            FLASK_MAIL | {"MAIL_USE_TLS": False, "MAIL_USERNAME": "ann", "MAIL_PASSWORD": "secret"},
            ["MAIL_PASSWORD would go to mail.example.org in plain text"],
        ),
        (
            {"SMTP_SERVER": "m.example", "SMTP_PORT": "x"},
            ["SMTP_PORT is 'x'", "SMTP_SERVER is set without SENDER_EMAIL"],
        ),
    ],
)
def test_every_fault_is_told_with_its_cure(config: dict[str, Any], words: list[str]) -> None:
    sender, faults = smtp_from_config(config)
    assert sender is None
    assert len(faults) == len(words)
    for fault, word in zip(faults, words, strict=True):
        assert fault.startswith(word)
        assert fault.endswith(".")
        assert "secret" not in fault


def test_credentials_may_go_in_plain_text_to_this_machine() -> None:
    config = FLASK_MAIL | {"MAIL_SERVER": "127.0.0.1", "MAIL_USERNAME": "ann", "MAIL_PASSWORD": "secret"}
    assert described(config)["tls"] == "none"


# --- from the environment -----------------------------------------------------------------------------------------


def test_what_the_config_leaves_out_is_taken_from_the_environment() -> None:
    environment = {"SMTP_PASSWORD": "secret", "SMTP_USERNAME": "ann", "SMTP_PORT": "465", "HOME": "/root"}
    merged = mail_settings({**OURS, "SMTP_PORT": 587, "SMTP_USERNAME": None}, environment)
    assert merged == OURS | {"SMTP_PORT": 587, "SMTP_USERNAME": "ann", "SMTP_PASSWORD": "secret"}


@pytest.mark.parametrize("environment", [OURS, FLASK_MAIL])
def test_the_environment_alone_is_enough(environment: dict[str, str]) -> None:
    assert described(mail_settings({"DEBUG": True}, environment))["host"] == "mail.example.org"


def test_a_server_in_the_config_hides_both_of_the_environment() -> None:
    merged = mail_settings(FLASK_MAIL, {"SMTP_SERVER": "other.example.org", "SENDER_EMAIL": "other@example.org"})
    assert described(merged)["host"] == "mail.example.org"


@pytest.mark.parametrize("key", ["SMTP_SERVER", "MAIL_SERVER"])
def test_an_empty_server_in_the_config_switches_the_environment_off(key: str) -> None:
    assert smtp_from_config(mail_settings({key: ""}, OURS | FLASK_MAIL)) == (None, [])


def test_a_server_that_is_none_in_the_config_was_left_out() -> None:
    # As in SMTP_SERVER=os.environ.get("SMTP_SERVER").
    assert described(mail_settings({"SMTP_SERVER": None}, OURS))["host"] == "mail.example.org"


def test_an_app_reads_the_environment_of_its_process(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_SERVER", "mail.example.org")
    with pytest.raises(ConfigurationError, match="SMTP_SERVER is set without SENDER_EMAIL"):
        OTPAuth(make_app())
    # Neither a host that has a sender of its own is asked for it, nor one that sends no mail.
    OTPAuth(make_app(), email=print)
    OTPAuth(make_app(OTPAUTH_CHANNELS=("sms",)))
    monkeypatch.setenv("SENDER_EMAIL", "no-reply@example.org")
    app = make_app()
    OTPAuth(app)
    assert set(app.cli.commands["otpauth"].tools.post.chains) == {"email"}  # type: ignore[attr-defined]
