"""What is wrong with the settings of pages is told when the app is set up."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_otpauth import OTPAuth
from flask_otpauth.api import taken_paths
from flask_otpauth.config import read
from flask_otpauth.errors import ConfigurationError
from flask_otpauth.pages import missing_packages, page_route_faults


def faults_of(**config: Any) -> list[str]:
    settings, faults = read({f"OTPAUTH_{name}": value for name, value in {"PAGES": True, **config}.items()})
    assert faults == []
    return page_route_faults(settings, taken_paths(settings))


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"ROUTES": {"pages.logn": "/x"}}, "OTPAUTH_ROUTES names 'pages.logn', which is no page; did you mean"),
        ({"ROUTES": {"pages.zzzzz": "/x"}}, "OTPAUTH_ROUTES names 'pages.zzzzz', which is no page; choose from"),
        ({"ROUTES": {"pages.login": "/<x>"}}, "OTPAUTH_ROUTES has '/<x>' for 'pages.login'; use letters"),
        ({"ROUTES": {"pages.login": "/account/code"}}, "The page 'pages.code' has the path of 'pages.login'"),
        ({"ROUTES": {"pages.login": "/auth/login/"}}, "The page 'pages.login' has the path of 'login'"),
        ({"PAGES_PREFIX": "/auth"}, "The page 'pages.register' has the path of 'register'"),
    ],
)
def test_a_faulty_route_is_told(config: dict[str, Any], fault: str) -> None:
    assert faults_of(**config)[0].startswith(fault)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"PAGES_PREFIX": ""},
        {"PAGES": False, "PAGES_PREFIX": "/auth", "ROUTES": {"pages.login": "/auth/login"}},
        {"ROUTES": {"pages.login": False, "login": "/account/login"}},
    ],
)
def test_a_good_route_is_none(config: dict[str, Any]) -> None:
    assert faults_of(**config) == []


def test_all_faults_are_told_at_once(make_app: Callable[..., Flask]) -> None:
    app = make_app(
        OTPAUTH_PAGES=True, OTPAUTH_ROUTES={"pages.logn": "/x", "logn": "/y"}, OTPAUTH_AFTER_LOGIN="no where"
    )
    with pytest.raises(ConfigurationError) as caught:
        OTPAuth(app)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize("package", ["flask_wtf", "flask_bootstrap"])
def test_a_missing_package_is_told_with_its_cure(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("flask_otpauth.pages.routing.find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(ConfigurationError, match=r"pip install 'Flask-OTPAuth\[pages\]'"):
        OTPAuth(make_app(OTPAUTH_PAGES=True))
    assert missing_packages(read({})[0]) == []


@pytest.mark.parametrize("setting", ["OTPAUTH_AFTER_LOGIN", "OTPAUTH_AFTER_LOGOUT"])
@pytest.mark.parametrize("target", ["nowhere", "named"])
def test_an_endpoint_that_pages_cannot_lead_to_is_told(
    make_app: Callable[..., Flask], setting: str, target: str
) -> None:
    app = make_app(OTPAUTH_PAGES=True, **{setting: target})
    OTPAuth(app, sms=lambda _: None)
    app.add_url_rule("/of/<name>", "named", lambda name: name)
    with pytest.raises(ConfigurationError, match=f"{setting} is '{target}', which is no endpoint"):
        app.test_client().get("/")


@pytest.mark.parametrize("target", ["//evil.example", "no where", "/a\\b", "ftp://x", "", 1, "a-b"])
def test_a_faulty_target_is_told(target: Any) -> None:
    assert read({"OTPAUTH_AFTER_LOGIN": target})[1]


def test_a_path_with_a_doubled_slash_leads_nowhere(make_app: Callable[..., Flask]) -> None:
    """Flask would send the client on to an absolute URL, made of the ``Host`` that he named."""
    app = make_app(OTPAUTH_PAGES=True)
    OTPAuth(app)
    paths = [rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("otpauth")]
    assert len(paths) > 25
    for path in {"//".join(path.rsplit("/", 1)) for path in paths}:
        for method in ("GET", "POST", "DELETE"):
            answer = app.test_client().open(re.sub("<.*>", "x", path), base_url="http://evil.example", method=method)
            assert (answer.status_code in {404, 405}, answer.headers.get("Location")) == (True, None), path
    assert app.test_client().get("/auth//sessions").status_code == 404
