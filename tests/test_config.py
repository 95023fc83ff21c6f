from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_otpauth.config import Settings, capped, check, check_secret, read, reference, weighed, yearly_chance
from flask_otpauth.errors import ConfigurationError
from flask_otpauth.types import Window

pytestmark = pytest.mark.core


def faults_of(**config: Any) -> list[str]:
    return read({f"OTPAUTH_{name}": value for name, value in config.items()})[1]


def settings_of(**config: Any) -> Settings:
    settings, faults = read({f"OTPAUTH_{name}": value for name, value in config.items()})
    assert faults == []
    return settings


def test_the_defaults_are_those_of_the_rules() -> None:
    settings = settings_of()
    assert (settings.digits, settings.code_lifetime, settings.flow_lifetime, settings.max_attempts) == (6, 300, 900, 5)
    assert settings.failures == (
        Window(limit=10, seconds=900),
        Window(limit=20, seconds=86400),
        Window(limit=60, seconds=2592000),
    )
    assert (settings.resend_cooldown, settings.live_challenges, settings.shortest_password) == (60, 3, 8)
    assert settings.access_lifetime == 900
    assert settings.send_limits == (
        Window(limit=5, seconds=600),
        Window(limit=10, seconds=3600),
        Window(limit=20, seconds=86400),
    )
    assert check(settings, lenient=True) == []


def test_passwordless_codes_are_longer() -> None:
    settings = settings_of(FIRST_FACTOR="otp")
    assert (settings.digits, settings.shortest_password) == (8, 15)
    assert settings.failures[2].limit == 60


@pytest.mark.parametrize("config", [{"CHALLENGE_LOOKUP": "identifier"}, {"FIRST_FACTOR": "otp", "CODE_LENGTH": 6}])
def test_guessable_set_ups_have_a_tighter_month(config: dict[str, Any]) -> None:
    assert settings_of(**config).failures[2] == Window(limit=20, seconds=2592000)


def test_a_password_that_stands_alone_is_longer() -> None:
    assert settings_of(SECOND_FACTOR="opt-in").shortest_password == 15
    assert settings_of(SECOND_FACTOR="opt-in", PASSWORD_MIN_LENGTH=10).shortest_password == 10


def test_an_unknown_key_is_told_with_the_closest_name() -> None:
    assert faults_of(CODE_LIFETIMES=30) == ["OTPAUTH_CODE_LIFETIMES is no setting; did you mean OTPAUTH_CODE_LIFETIME?"]
    assert faults_of(ZZZZZZZZ=1) == ["OTPAUTH_ZZZZZZZZ is no setting; remove it."]


def test_all_faults_are_told_at_once() -> None:
    assert len(faults_of(CODE_LIFETIME=5000, MAX_ATTEMPTS=0, FIRST_FACTOR="magic", NOPE=1)) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CODE_LIFETIME", 601),
        ("CODE_LIFETIME", "300"),
        ("CODE_LIFETIME", True),
        ("CODE_LIFETIME", 60.5),
        ("MAX_ATTEMPTS", 11),
        ("MAX_ATTEMPTS", 5.0),
        ("MAX_ATTEMPTS", True),
        ("RESEND_COOLDOWN", 29),
        ("ACCESS_LIFETIME", timedelta(hours=2)),
        ("FRESH_LIFETIME", 901),
        ("CODE_LENGTH", 3),
        ("FLOW_LIFETIME", 1801),
        ("LOGIN_ON_CONFIRM", 2),
        ("LOGIN_ON_CONFIRM", "1"),
        ("LOGIN_ON_CONFIRM", 1.0),
        ("IDENTIFIERS", ()),
        ("IDENTIFIERS", ("name",)),
        ("IDENTIFIERS", 5),
        ("IDENTIFIERS", ("",)),
        ("CREDENTIALS", "cookie"),
        ("API_PREFIX", "auth"),
        ("API_PREFIX", "/auth/"),
        ("API_PREFIX", None),
        ("ROUTES", {"login": "login"}),
        ("ROUTES", {"login": True}),
        ("ROUTES", ["login"]),
        ("FIELD_NAMES", {"phone": "email2", "email": "email2"}),
        ("FIELD_NAMES", {"phone": ""}),
        ("REGISTER_FIELDS", {"username": "yes"}),
        ("REGISTER_FIELDS", {"username": ["required"]}),
        ("REGISTER_FIELDS", 3),
        ("PROFILE_FIELDS", 3),
        ("PROFILE_FIELDS", ("Full name",)),
        ("PROFILE_FIELDS", ("name", "class")),
        ("PROFILE_FIELDS", ("_name",)),
        ("PEPPERS", {}),
        ("PEPPERS", {"a": "short"}),
        ("PEPPERS", {"a$": "x" * 16}),
        ("SMS_COUNTRIES", ("il",)),
        ("USERNAME_LENGTH", (0, 5)),
        ("USERNAME_LENGTH", 5),
        ("USERNAME_LENGTH", ("a", 5)),
        ("USERNAME_PATTERN", ".*"),
        ("USERNAME_PATTERN", "("),
        ("SECOND_FACTOR", "maybe"),
        ("ACCOUNT_LIMITS", "many"),
        ("ACCOUNT_LIMITS", "0 per day"),
        ("SEND_TIMEOUT", 0),
        ("SEND_TIMEOUT", 60.5),
        ("SEND_TIMEOUT", "5"),
        ("RESEND_COOLDOWN", 1801),
        ("CODE_LIFETIME", 0),
        ("SESSION_IDLE", float("nan")),
        ("SESSION_IDLE", float("inf")),
        ("ACCOUNT_LIMITS", "5 per 2 years"),
        ("ACCOUNT_LIMITS", [5]),
        ("APP_NAME", " "),
        ("CHANNELS", ()),
        ("SMS_ORIGIN", "https://shop.example"),
        ("SMS_ORIGIN", "@shop.example"),
        ("SMS_ORIGIN", "shop.example/login"),
        ("SMS_ORIGIN", "shop.example:"),
        ("SMS_ORIGIN", ""),
        ("LIVE_CHALLENGES", 0),
        ("SEND_IP_LIMITS", 5),
    ],
)
def test_a_value_out_of_bounds_is_a_fault(name: str, value: object) -> None:
    (fault,) = faults_of(**{name: value})
    assert fault.startswith(f"OTPAUTH_{name} ")


PEPPER = "the pepper of the tests, long enough"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PEPPERS", PEPPER),
        ("PEPPERS", [PEPPER]),
        ("PEPPERS", {1: PEPPER}),
        ("PEPPERS", {"a": [PEPPER]}),
        ("PEPPERS", {PEPPER: "x" * 16}),
        ("SECRET_KEY", [PEPPER]),
        ("SECRET_KEY", {"a": PEPPER}),
    ],
)
def test_a_secret_of_another_shape_is_a_fault_that_does_not_tell_it(name: str, value: object) -> None:
    (fault,) = faults_of(**{name: value})
    assert fault.startswith(f"OTPAUTH_{name} ")
    assert PEPPER not in fault


def test_settings_show_no_secret() -> None:
    settings = settings_of(SECRET_KEY=PEPPER, PEPPERS={"a": PEPPER})
    assert (settings.secret_key, settings.peppers) == (PEPPER, {"a": PEPPER.encode()})
    assert PEPPER not in repr(settings)
    assert "max_attempts=5" in repr(settings)


@pytest.mark.parametrize(
    "name",
    [
        *("CODE_LIFETIME", "FLOW_LIFETIME", "ACCESS_LIFETIME", "FRESH_LIFETIME"),
        *("REFRESH_LIFETIME", "REFRESH_IDLE", "SESSION_LIFETIME", "SESSION_IDLE"),
    ],
)
def test_a_lifetime_may_be_as_short_as_a_second(name: str) -> None:
    assert getattr(settings_of(**{name: 1}), name.lower()) == 1


def test_a_cooldown_may_be_as_long_as_a_flow() -> None:
    assert settings_of(RESEND_COOLDOWN=1800).resend_cooldown == 1800


@pytest.mark.parametrize("value", [0.5, timedelta(milliseconds=500)])
def test_the_time_for_sending_may_be_a_fraction(value: float | timedelta) -> None:
    assert settings_of(SEND_TIMEOUT=value).send_timeout == 0.5


@pytest.mark.parametrize("name", ["ACCOUNT_LIMITS", "LOGIN_LIMITS", "LOGIN_ACCOUNT_LIMITS", "SEND_LIMITS"])
def test_no_budget_counts_further_than_its_row_remembers(name: str) -> None:
    settings = settings_of(**{name: "200 per day; 5 per hour"})
    assert getattr(settings, name.lower()) == (Window(limit=5, seconds=3600), Window(limit=100, seconds=86400))
    (told,) = capped({f"OTPAUTH_{name}": "200 per day; 5 per hour"})
    assert told.startswith(f"OTPAUTH_{name} ")
    assert capped({f"OTPAUTH_{name}": "100 per day"}) == []


@pytest.mark.parametrize(
    ("name", "value", "chance"),
    [
        ("CODE_LENGTH", 3, "5.2e-01"),
        ("CODE_LENGTH", 10**9, "0.0e+00"),
        ("MAX_ATTEMPTS", 99, "7.3e-04"),
        ("CODE_LIFETIME", timedelta(hours=1), "7.3e-04"),
        ("CODE_LIFETIME", 3600.0, "7.3e-04"),
    ],
)
def test_numbers_beyond_their_bounds_are_told_with_their_odds(name: str, value: object, chance: str) -> None:
    config = {f"OTPAUTH_{name}": value}
    settings, faults = read(config)
    (told,) = weighed(faults, config, settings)
    assert told == f"{faults[0]} Somebody who guesses would get into an account with a chance of {chance} a year."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("CODE_LENGTH", 0), ("CODE_LENGTH", 6.0), ("CODE_LENGTH", True), ("MAX_ATTEMPTS", "9")),
        *(("FLOW_LIFETIME", 1801), ("CODE_LIFETIME", 1.5), ("CODE_LIFETIME", float("inf"))),
    ],
)
def test_other_faults_have_no_odds(name: str, value: object) -> None:
    config = {f"OTPAUTH_{name}": value}
    settings, faults = read(config)
    assert weighed(faults, config, settings) == faults


def test_values_are_read_into_their_types() -> None:
    settings = settings_of(
        CODE_LIFETIME=timedelta(minutes=2),
        CHANNELS="email",
        ACCOUNT_LIMITS=["20 per day", "5 per 15 minutes"],
        REGISTER_FIELDS=("username", "password", "email?"),
        PROFILE_FIELDS="name",
        ROUTES={"verify-otp": "/verify", "inbox": False},
        FIELD_NAMES={"phone": "mobile_number"},
        PEPPERS={"1": "a" * 16, "2": b"b" * 16},
        SMS_COUNTRIES=("IL", "US"),
        USERNAME_LENGTH=[6, 20],
        SECRET_KEY=b"bytes",
        API_PREFIX="",
        SECOND_FACTOR=bool,
    )
    assert settings.code_lifetime == 120
    assert settings.channels == ("email",)
    assert settings.failures == (Window(limit=5, seconds=900), Window(limit=20, seconds=86400))
    assert settings.register_fields == {"username": True, "password": True, "email": False}
    assert settings.profile_fields == ("name",)
    assert settings.routes == {"verify_otp": "/verify", "inbox": False}
    assert settings.wire("phone") == "mobile_number"
    assert settings.wire("email") == "email"
    assert settings.peppers == {"1": b"a" * 16, "2": b"b" * 16}
    assert settings.username_length == (6, 20)
    assert settings.second_factor is bool
    assert settings_of(REGISTER_FIELDS={"phone": True, "email": False}).register_fields == {
        "phone": True,
        "email": False,
    }


@pytest.mark.parametrize("name", ["shop.example", "xn--bcher-kva.example", "localhost:5000", "192.0.2.1"])
def test_an_origin_is_a_host_name(name: str) -> None:
    assert settings_of(SMS_ORIGIN=name).sms_origin == name
    assert "give the host name alone" in faults_of(SMS_ORIGIN=f"https://{name}")[0]


@pytest.mark.parametrize(("given", "read"), [(1, True), (0, False), (True, True), (False, False)])
def test_flags_may_be_numbers_as_the_environment_gives_them(given: object, read: bool) -> None:
    assert settings_of(PAGES=given).pages is read


def test_fields_of_a_registration_are_told_in_words_too() -> None:
    fields = settings_of(REGISTER_FIELDS={"username": "required", "email": "optional", "phone": 0}).register_fields
    assert fields == {"username": True, "email": False, "phone": False}


def test_a_short_code_wants_few_attempts_and_a_small_budget() -> None:
    assert len(check(settings_of(CODE_LENGTH=4), lenient=True)) == 2
    assert len(check(settings_of(CODE_LENGTH=4, MAX_ATTEMPTS=3), lenient=True)) == 1
    assert check(settings_of(CODE_LENGTH=4, MAX_ATTEMPTS=3, ACCOUNT_LIMITS="9 per 365 days"), lenient=True) == []


@pytest.mark.parametrize(
    ("config", "chance"),
    [
        ({"ACCOUNT_LIMITS": "10 per 15 minutes"}, 0.296),
        ({"ACCOUNT_LIMITS": "20 per day"}, 0.0073),
        ({}, 7.3e-4),
        ({"CODE_LENGTH": 8}, 7.3e-6),
        ({"CHALLENGE_LOOKUP": "identifier"}, 7.3e-4),
        ({"FIRST_FACTOR": "otp", "CODE_LENGTH": 6}, 2.43e-4),
    ],
)
def test_the_odds_are_those_of_the_rules(config: dict[str, Any], chance: float) -> None:
    settings = settings_of(**config)
    assert yearly_chance(settings) == pytest.approx(chance, rel=0.01)
    assert bool(check(settings, lenient=True)) == (chance > 1e-3)


def test_passwordless_login_wants_proved_addresses() -> None:
    assert "'confirm'" in check(settings_of(FIRST_FACTOR="otp", REGISTRATION="open"), lenient=True)[0]


def test_a_code_can_not_outlive_its_flow() -> None:
    assert "OTPAUTH_FLOW_LIFETIME" in check(settings_of(CODE_LIFETIME=600, FLOW_LIFETIME=300), lenient=True)[0]


def test_production_wants_a_cost() -> None:
    settings = settings_of(BCRYPT_ROUNDS=4)
    assert check(settings, lenient=True) == []
    assert len(check(settings, lenient=False)) == 1


@pytest.mark.parametrize("secret", ["dev", "changeme", "short", b"SECRET", "your-secret-key"])
def test_a_weak_secret_is_refused_outside_debug(secret: str | bytes) -> None:
    (fault,) = check_secret(secret, lenient=False)
    assert "flask run --debug" in fault
    assert check_secret(secret, lenient=True) == []


@pytest.mark.parametrize("secret", [None, "", b""])
def test_a_missing_secret_is_always_refused(secret: str | bytes | None) -> None:
    assert "SECRET_KEY is missing" in check_secret(secret, lenient=True)[0]


def test_a_random_secret_is_taken() -> None:
    assert check_secret("8f42a73054b1749f8f58848be5e6502c", lenient=False) == []


def test_the_reference_names_every_setting() -> None:
    rows = reference()
    assert ("OTPAUTH_MAX_ATTEMPTS", "5", "Guesses compared per challenge.") in rows
    assert all(doc.endswith(".") for _, _, doc in rows)


def test_the_cure_for_bad_odds_works() -> None:
    (fault,) = check(settings_of(ACCOUNT_LIMITS="5 per 30 minutes"), lenient=True)
    assert "'82 per 30 days'" in fault
    assert check(settings_of(ACCOUNT_LIMITS="5 per 30 minutes; 82 per 30 days"), lenient=True) == []
    (fault,) = check(settings_of(CODE_LENGTH=4, MAX_ATTEMPTS=3), lenient=True)
    assert "longer codes" in fault


@pytest.mark.parametrize("value", ["/dashboard", "home", "account.home", "https://app.example.org/", "/"])
def test_a_target_is_a_path_an_endpoint_or_an_address(value: str) -> None:
    assert settings_of(AFTER_LOGIN=value).after_login == value


@pytest.mark.parametrize("value", ["//evil.example", "/\\evil.example", "javascript:alert(1)", "", 1, "/a b"])
def test_what_leads_nowhere_is_no_target(value: object) -> None:
    assert any("give a path from the root" in fault for fault in faults_of(AFTER_LOGIN=value))


@pytest.mark.parametrize("value", [{"otp": ""}, {"otp": 1}, {"otp": "code", "identifier": "code"}])
def test_names_on_the_wire_are_different_words(value: object) -> None:
    assert faults_of(FIELD_NAMES=value)


def test_rows_are_kept_for_the_longest_window() -> None:
    assert settings_of().longest_window == 30 * 86_400
    short = "5 per 10 minutes"
    quick = dict.fromkeys(("ACCOUNT_LIMITS", "LOGIN_LIMITS", "LOGIN_ACCOUNT_LIMITS", "SEND_LIMITS"), short)
    assert settings_of(**quick).longest_window == 2 * 86_400


def test_what_is_kept_how_long_is_said_by_name() -> None:
    kept = {"events": 90 * 86_400, "challenges": 86_400, "sessions": 30 * 86_400}
    assert settings_of(RETENTION={"events": timedelta(days=7)}).retention == {**kept, "events": 7 * 86_400}
    assert any("it takes 'events'" in fault for fault in faults_of(RETENTION={"codes": 1}))
    assert any("holds a duration that" in fault for fault in faults_of(RETENTION={"events": "soon"}))


def test_faults_are_told_together() -> None:
    error = ConfigurationError(fault for fault in ("one", "two"))
    assert error.faults == ("one", "two")
    assert str(error) == "Flask-OTPAuth can't start:\n  - one\n  - two"
