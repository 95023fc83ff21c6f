"""The gate: what a body may be, and what each endpoint takes."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_otpauth.config import Settings, read
from flask_otpauth.errors import MalformedRequest, ValidationFailed
from flask_otpauth.schemas import MAX_ERRORS, Schemas, is_clean, name_faults, parse_json
from flask_otpauth.types import Kind

pytestmark = pytest.mark.core

FIELDS = {"username": True, "password": True, "phone": False, "email": False}


def settings_of(**values: Any) -> Settings:
    settings, faults = read({f"OTPAUTH_{name.upper()}": value for name, value in values.items()})
    assert not faults
    return settings


def schemas_of(
    fields: dict[str, bool] | None = None, *, profile: dict[str, int | None] | None = None, **values: Any
) -> Schemas:
    return Schemas(settings_of(**values), fields or FIELDS, one_address=fields is None, profile_fields=profile or {})


def faults_of(call: Any, body: dict[str, Any], **more: Any) -> dict[str, str]:
    try:
        faults = call(body, **more).faults  # a registration goes on with them
    except ValidationFailed as refused:
        faults = refused.errors
    errors = {one.field: one.message for one in faults}
    assert 0 < len(errors) == len(faults)  # one entry a field
    return errors


# --- JSON -----------------------------------------------------------------------------------------------------------


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.booleans())
def test_a_clean_object_is_read_as_json_reads_it(value: dict[str, Any], ascii_only: bool) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if is_clean(value):
        assert parse_json(raw) == value
    else:
        with pytest.raises(MalformedRequest):
            parse_json(raw)


@given(st.binary(max_size=200))
def test_any_bytes_give_an_object_or_a_refusal(raw: bytes) -> None:
    try:
        value = parse_json(raw)
    except MalformedRequest:
        return
    assert isinstance(value, dict)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": 1} {"b": 2}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xc0\x80"}',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": 1, "\\u0061": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\udc00\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": ["\\ud800"]}',
        b'{"a": "\\u0000"}',
        b'{"a": "\x00"}',
        b'{"a": "\\n"}',
        b'{"a": "\n"}',
        b'{"a": "\\u001f"}',
        b'{"a": "\x7f"}',
        b'{"a": "\\u007f"}',
        b'{"a": "\xc2\x85"}',
        b'{"a": {"b": [{"c": "\\t"}]}}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_an_honest_object_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse_json(raw)


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return b'{"a": ' + opening * (levels - 1) + b"0" + closing * (levels - 1) + b"}"


def test_sixteen_levels_are_read_and_seventeen_are_not() -> None:
    assert parse_json(nested(16))
    with pytest.raises(MalformedRequest, match="deep"):
        parse_json(nested(17))
    with pytest.raises(MalformedRequest, match="deep"):
        parse_json(nested(17, b'{"b": ', b"}"))


@pytest.mark.parametrize(
    "raw", [b"[" * 16000, b'{"a":' * 3000, b'{"a": "' + b'\\"[' * 5000, b'{"' + b"[{" * 8000, b'"' * 16000 + b"[" * 99]
)
def test_depth_is_told_in_linear_time_without_the_stack(raw: bytes) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(sys.getrecursionlimit() * 100)
    try:
        with pytest.raises(MalformedRequest):
            parse_json(raw)
    finally:
        sys.setrecursionlimit(before)


def test_brackets_in_strings_are_no_depth() -> None:
    text = '[{"\\' * 40 + "}]"
    assert parse_json(json.dumps({"password": text, "b": [[1], [2]] * 20}).encode())["password"] == text


def test_surrogate_pairs_are_characters() -> None:
    assert parse_json(b'{"a": "\\ud83d\\ude00"}') == {"a": "\U0001f600"}


# --- requests -------------------------------------------------------------------------------------------------------


def test_login_takes_one_identifier_and_a_password() -> None:
    login = schemas_of().login
    wish = login({"identifier": "ann", "password": "secret"})
    assert (wish.identifier, wish.kind, wish.password, wish.otp) == ("ann", None, "secret", None)
    assert login({"email": "a@example.org", "password": "x"}).kind is Kind.EMAIL
    assert faults_of(login, {"password": "x"}) == {"identifier": "This field is required."}
    assert faults_of(login, {}).keys() == {"identifier", "password"}
    assert faults_of(login, {"username": "a", "phone": "1", "password": "x"}).keys() == {"phone"}


def test_the_one_identifier_of_an_app_is_asked_for_by_its_name() -> None:
    names = {"field_names": {"phone": "mobile_number"}}
    schemas = schemas_of(identifiers="phone", challenge_lookup="identifier", **names)
    assert faults_of(schemas.login, {}).keys() == {"mobile_number", "password"}
    assert faults_of(schemas.verify, {"otp": "123456"}, pending=False).keys() == {"mobile_number"}
    assert faults_of(schemas.resend, {}, pending=False).keys() == {"mobile_number"}
    # The general name is taken all the same, and a challenge may be named by its id.
    assert schemas.login({"identifier": "0508464336", "password": "x"}).identifier == "0508464336"
    assert schemas.verify({"challenge_id": "c", "otp": "123456"}, pending=False).challenge_id == "c"
    by_id = schemas_of(identifiers="phone", **names)
    assert faults_of(by_id.verify, {"otp": "123456"}, pending=False).keys() == {"challenge_id"}
    several = schemas_of(identifiers=("phone", "email"), challenge_lookup="identifier", **names)
    assert faults_of(several.resend, {}, pending=False).keys() == {"challenge_id"}


def test_login_takes_only_the_identifiers_that_are_on() -> None:
    login = schemas_of(identifiers=("email",)).login
    assert faults_of(login, {"username": "ann", "password": "x"})["username"] == "There is no such field here."


@pytest.mark.parametrize("value", [None, 5, 5.5, True, ["a"], {"a": "b"}])
def test_nothing_is_converted_to_a_string(value: Any) -> None:
    found = faults_of(schemas_of().login, {"identifier": "ann", "password": value})
    assert found == {"password": "This must be a string."}


def test_lengths_are_bounded() -> None:
    login = schemas_of().login
    assert login({"identifier": "i" * 320, "password": "p" * 1024}).identifier == "i" * 320
    found = faults_of(login, {"identifier": "i" * 321, "password": "p" * 1025})
    assert found == {
        "identifier": "This must have at most 320 characters.",
        "password": "This must have at most 1024 characters.",
    }
    assert faults_of(login, {"identifier": "", "password": ""}).keys() == {"identifier", "password"}
    verify = schemas_of().verify
    assert faults_of(verify, {"challenge_id": "c" * 129, "otp": "123456"}, pending=False).keys() == {"challenge_id"}


def test_passwordless_login_takes_no_password() -> None:
    login = schemas_of(first_factor="otp").login
    assert login({"identifier": "ann"}).otp is None
    assert faults_of(login, {"identifier": "ann", "password": "x"}).keys() == {"password"}
    assert faults_of(login, {"identifier": "ann", "otp": "12345678"}).keys() == {"otp"}


def test_passwordless_login_with_lookup_by_identifier_takes_a_code() -> None:
    login = schemas_of(first_factor="otp", challenge_lookup="identifier").login
    assert login({"phone": "+15005550006", "otp": "1234-5678"}).otp == "12345678"
    assert login({"phone": "+15005550006"}).otp is None


@pytest.mark.parametrize("otp", ["004217", "004 217", "004-217", "0 04217", "00421-7"])
def test_a_code_may_have_one_inner_space_or_hyphen(otp: str) -> None:
    assert schemas_of().verify({"challenge_id": "c", "otp": otp}, pending=False).otp == "004217"


@pytest.mark.parametrize(
    "otp",
    [
        "", "12345", "1234567", " 123456", "123456 ", "12 34 56", "12--3456", "12- 3456", "-123456", "123456-",
        "\uff11\uff12\uff13\uff14\uff15\uff16", "\u0661\u0662\u0663\u0664\u0665\u0666", "12345\u516d",
        "12345a", "0x1234", "1e5000", "+12345", "12345\n", "123456\n", "12.3456",
        "12_3456", "12\u00a03456", "²²²²²²",
    ],
)  # fmt: skip
def test_other_shapes_of_a_code_are_refused(otp: str) -> None:
    found = faults_of(schemas_of().verify, {"challenge_id": "c", "otp": otp}, pending=False)
    assert found == {"otp": "Enter the 6 digits of the code."}


@given(st.text(max_size=12) | st.from_regex(r"[0-9 \-]{4,9}", fullmatch=True))
def test_a_code_is_ascii_digits_whatever_was_sent(text: str) -> None:
    try:
        read_code = schemas_of().verify({"challenge_id": "c", "otp": text}, pending=False).otp
    except ValidationFailed:
        assert not re.fullmatch("[0-9]{6}", text)
    else:
        assert re.fullmatch("[0-9]{6}", read_code)


@pytest.mark.parametrize("otp", [123456, 123456.0, None, ["123456"], True])
def test_a_code_is_a_string(otp: Any) -> None:
    found = faults_of(schemas_of().verify, {"challenge_id": "c", "otp": otp}, pending=False)
    assert found == {"otp": "This must be a string."}


def test_verify_wants_a_challenge_unless_the_browser_holds_one() -> None:
    verify = schemas_of(credentials=("session",)).verify
    assert faults_of(verify, {"otp": "123456"}, pending=False) == {"challenge_id": "This field is required."}
    answer = verify({"otp": "123456"}, pending=True)
    assert (answer.challenge_id, answer.identifier) == (None, None)
    assert verify({"otp": "123456", "challenge_id": "c"}, pending=True).challenge_id == "c"


def test_verify_by_identifier_is_a_matter_of_the_lookup() -> None:
    found = faults_of(schemas_of().verify, {"email": "a@example.org", "otp": "123456"}, pending=False)
    assert found.keys() == {"email", "challenge_id"}
    verify = schemas_of(challenge_lookup="identifier").verify
    answer = verify({"email": "a@example.org", "otp": "123456"}, pending=False)
    assert (answer.challenge_id, answer.identifier, answer.kind) == (None, "a@example.org", Kind.EMAIL)
    both = {"challenge_id": "c", "identifier": "ann", "otp": "123456"}
    assert faults_of(verify, both, pending=False) == {"identifier": "Leave this out: 'challenge_id' is given."}


def test_trust_device_is_true_or_false() -> None:
    verify = schemas_of().verify
    body = {"challenge_id": "c", "otp": "123456", "method": "sms"}
    assert verify(body, pending=False).trust_device is False
    answer = verify({**body, "trust_device": True}, pending=False)
    assert (answer.trust_device, answer.method) == (True, "sms")
    for value in (1, "true", None):
        found = faults_of(verify, {**body, "trust_device": value}, pending=False)
        assert found == {"trust_device": "This must be true or false."}


def test_resend_names_its_challenge_as_verify_does() -> None:
    resend = schemas_of(challenge_lookup="identifier", extra_fields=("captcha",)).resend
    wish = resend({"challenge_id": "c", "channel": "email", "captcha": "t"}, pending=False)
    assert (wish.challenge_id, wish.channel, wish.extra) == ("c", "email", {"captcha": "t"})
    assert resend({"phone": "1"}, pending=False).kind is Kind.PHONE
    assert resend({}, pending=True).challenge_id is None
    assert faults_of(resend, {}, pending=False).keys() == {"challenge_id"}


def test_step_up_takes_a_method_or_a_password_or_nothing() -> None:
    step_up = schemas_of().step_up
    assert (step_up({}).method, step_up({}).password) == (None, None)
    assert step_up({"method": "sms"}).method == "sms"
    assert step_up({"password": "p"}).password == "p"
    assert faults_of(step_up, {"otp": "123456"}).keys() == {"otp"}
    assert schemas_of(extra_fields=("captcha",)).step_up({"captcha": "t"}).extra == {"captcha": "t"}


def test_the_second_factor_is_switched_by_true_or_false() -> None:
    mfa = schemas_of().mfa
    assert mfa({"mfa_enabled": True}) is True
    assert mfa({"mfa_enabled": False}) is False
    assert faults_of(mfa, {"mfa_enabled": 1}).keys() == faults_of(mfa, {}).keys() == {"mfa_enabled"}


def test_an_endpoint_without_fields_takes_none() -> None:
    schemas_of().nothing({})
    assert faults_of(schemas_of().nothing, {"a": 1}) == {"a": "There is no such field here."}


# --- registration ---------------------------------------------------------------------------------------------------


def test_registration_takes_an_address_at_least() -> None:
    register = schemas_of().register
    body = {"username": "ann", "password": "secret"}
    assert faults_of(register, body) == {"phone": "Give one of these.", "email": "Give one of these."}
    assert register({**body, "email": "a@example.org"}).fields == {**body, "email": "a@example.org"}
    assert faults_of(register, {}).keys() == {"username", "password", "phone", "email"}


def test_one_of_two_addresses_is_told_by_their_own_names() -> None:
    assert schemas_of().either == ("phone", "email")
    assert schemas_of({"username": True, "password": True, "email": True}).either == ()


def test_registration_refuses_what_is_not_a_field() -> None:
    found = faults_of(schemas_of().register, {"username": "a", "password": "b", "email": "c", "role": "admin"})
    assert found == {"role": "There is no such field here."}


def test_profile_fields_may_have_any_name_and_the_length_of_their_column() -> None:
    fields = {"username": True, "class": True, "_x": False, "copy": False, "model_config": False, "full name": False}
    register = schemas_of(fields, profile={"class": 5, "copy": None}).register
    body = {"username": "ann", "class": "3b", "_x": "1", "copy": "2" * 2048, "model_config": "3", "full name": "4"}
    assert register(body).fields == body
    assert faults_of(register, {"username": "ann", "class": "123456", "copy": "2" * 2049}).keys() == {"class", "copy"}


def test_extra_fields_are_kept_apart() -> None:
    schemas = schemas_of(extra_fields=("captcha",))
    wish = schemas.register({"username": "a", "password": "b", "email": "c", "captcha": "d"})
    assert "captcha" not in wish.fields
    assert wish.extra == {"captcha": "d"}
    assert schemas.login({"identifier": "a", "password": "b", "captcha": "d"}).extra == {"captcha": "d"}
    assert faults_of(schemas.verify, {"challenge_id": "c", "otp": "123456", "captcha": "d"}, pending=False)


# --- names and errors -----------------------------------------------------------------------------------------------


def test_wire_names_replace_the_fields_own() -> None:
    schemas = schemas_of(field_names={"phone": "mobile_number", "challenge_id": "session_id"})
    wish = schemas.register({"username": "a", "password": "b", "mobile_number": "1"})
    assert wish.fields["phone"] == "1"
    old = faults_of(schemas.register, {"username": "a", "password": "b", "phone": "1"})
    assert old.keys() == {"phone", "mobile_number", "email"}
    assert schemas.verify({"session_id": "c", "otp": "123456"}, pending=False).challenge_id == "c"
    assert faults_of(schemas.verify, {"otp": "1"}, pending=False).keys() == {"session_id", "otp"}
    assert faults_of(schemas.login, {"username": "a", "mobile_number": 5, "password": "x"}).keys() == {"mobile_number"}


def test_two_fields_may_swap_names() -> None:
    schemas = schemas_of(field_names={"username": "email", "email": "username"})
    assert schemas.register({"email": "ann", "username": "a@example.org", "password": "p"}).fields == {
        "username": "ann",
        "email": "a@example.org",
        "password": "p",
    }


def test_errors_never_carry_what_was_sent() -> None:
    marker = "correct horse"
    body = {"identifier": marker * 99, "password": [marker], "otp": marker}
    for message in faults_of(schemas_of().login, body).values():
        assert marker not in message


def test_errors_are_few_and_short_whatever_is_sent() -> None:
    found = faults_of(schemas_of().login, {f"{number}{'x' * 500}": 1 for number in range(100)})
    assert len(found) == MAX_ERRORS
    assert max(map(len, found)) == 65


def test_field_names_are_checked_at_the_start() -> None:
    def faults(**values: Any) -> list[str]:
        return name_faults(settings_of(**values), [*FIELDS, "name"])

    assert faults(field_names={"phone": "mobile_number", "name": "full_name", "access_token": "token"}) == []
    assert faults(field_names={"username": "email", "email": "username"}) == []
    assert faults(field_names={"retry_after": "wait", "max_age": "age", "resend_at": "again"}) == []
    assert faults(field_names={"retry_after": "code"}) == [
        "OTPAUTH_FIELD_NAMES makes two fields 'code'; choose another name."
    ]
    assert "did you mean 'phone'?" in faults(field_names={"phon": "x"})[0]
    assert "remove it" in faults(field_names={"zzzzzz": "x"})[0]
    assert "'email'" in faults(field_names={"username": "email"})[0]
    assert "choose another name" in faults(extra_fields=("password",))[0]
    assert faults(extra_fields=("captcha",)) == []
