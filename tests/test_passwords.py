"""Passwords: formats, comparison, and what may be chosen."""

from __future__ import annotations

import base64
import builtins
import hashlib
import hmac
import time
from typing import Any

import bcrypt
import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.security import generate_password_hash

from flask_otpauth.config import read
from flask_otpauth.errors import ConfigurationError
from flask_otpauth.users.passwords import LONGEST, Passwords, Verdict

PASSWORD = "a rather long password"
PEPPERS = {"one": "0123456789abcdef", "two": "fedcba9876543210"}
SCHEMES = ["bcrypt", "pbkdf2:sha256:600000", "scrypt", "argon2"]


def make(names: tuple[str, ...] = (), **options: Any) -> Passwords:
    config = {f"OTPAUTH_{name.upper()}": value for name, value in {"bcrypt_rounds": 4, **options}.items()}
    found, faults = read(config)
    assert faults == []
    return Passwords(found, names=names)


# --- the format of our own --------------------------------------------------------------------------------------------


def test_default_is_bcrypt_over_a_keyed_hash() -> None:
    hashed = make().hash(PASSWORD)
    assert hashed.startswith("otpauth$*$2b$04$")
    digest = hmac.new(b"flask-otpauth password pre-hash", PASSWORD.encode(), hashlib.sha384).digest()
    assert bcrypt.checkpw(base64.b64encode(digest), hashed.removeprefix("otpauth$*").encode())


def test_default_cost_is_12() -> None:
    found, _ = read({})
    assert found.bcrypt_rounds == 12
    assert "$2b$12$" in Passwords(found, names=()).hash(PASSWORD)


def test_hash_is_salted_and_verifies() -> None:
    passwords = make()
    one, other = passwords.hash(PASSWORD), passwords.hash(PASSWORD)
    assert one != other
    assert passwords.verify(one, PASSWORD) is passwords.verify(other, PASSWORD) is Verdict.RIGHT
    assert passwords.verify(one, PASSWORD + " ") is Verdict.WRONG


def test_everything_after_72_bytes_and_after_a_nul_counts() -> None:
    passwords = make()
    assert passwords.verify(passwords.hash("x" * 72 + "a"), "x" * 72 + "b") is Verdict.WRONG
    assert passwords.verify(passwords.hash("abc\0abc"), "abc") is Verdict.WRONG
    assert passwords.verify(passwords.hash("x" * LONGEST), "x" * LONGEST) is Verdict.RIGHT


@pytest.mark.parametrize("scheme", SCHEMES)
def test_forms_of_one_character_are_one_password(scheme: str) -> None:
    passwords = make(password_hash=scheme)
    assert passwords.verify(passwords.hash("pass e\u0301 word"), "pass \u00e9 word") is Verdict.RIGHT


def test_case_counts() -> None:
    passwords = make()
    assert passwords.verify(passwords.hash(PASSWORD), PASSWORD.upper()) is Verdict.WRONG


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=100), st.text(max_size=100))
def test_no_text_raises(chosen: str, typed: str) -> None:
    passwords = make()
    assert passwords.verify(passwords.hash(chosen), typed) in Verdict
    assert passwords.verify(passwords.hash(chosen), chosen) is Verdict.RIGHT


@pytest.mark.parametrize("typed", ["\ud800", "?", "x" * (LONGEST + 1)])
@pytest.mark.parametrize("chosen", ["?", "\ufffd", ""])
def test_invalid_text_matches_nothing(chosen: str, typed: str) -> None:
    for scheme in ("bcrypt", "scrypt"):
        passwords = make(password_hash=scheme)
        right = chosen == typed
        assert (passwords.verify(passwords.hash(chosen), typed) is Verdict.RIGHT) is right


# --- keys -------------------------------------------------------------------------------------------------------------


def test_current_pepper_is_the_last_one() -> None:
    passwords = make(peppers=PEPPERS)
    assert passwords.hash(PASSWORD).startswith("otpauth$two$2b$")


def test_earlier_pepper_verifies_and_is_stale() -> None:
    old = make(peppers={"one": PEPPERS["one"]}).hash(PASSWORD)
    assert make(peppers=PEPPERS).verify(old, PASSWORD) is Verdict.STALE
    assert make(peppers=PEPPERS).verify(old, "another password") is Verdict.WRONG


def test_hash_from_before_the_peppers_is_stale() -> None:
    assert make(peppers=PEPPERS).verify(make().hash(PASSWORD), PASSWORD) is Verdict.STALE


def test_lost_pepper_opens_nothing() -> None:
    old = make(peppers=PEPPERS).hash(PASSWORD)
    assert make(peppers={"one": PEPPERS["one"]}).verify(old, PASSWORD) is Verdict.WRONG
    assert make().verify(old, PASSWORD) is Verdict.WRONG


def test_pepper_of_another_value_opens_nothing() -> None:
    old = make(peppers={"one": PEPPERS["one"]}).hash(PASSWORD)
    assert make(peppers={"one": PEPPERS["two"]}).verify(old, PASSWORD) is Verdict.WRONG


def test_secret_key_has_no_part() -> None:
    old = make(secret_key="one secret of the app, 0123456789").hash(PASSWORD)
    assert make(secret_key="another secret, 0123456789abcdefg").verify(old, PASSWORD) is Verdict.RIGHT


# --- other formats ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_verifies_and_is_stale_where_another_is_configured(scheme: str) -> None:
    hashed = make(password_hash=scheme).hash(PASSWORD)
    for other in SCHEMES:
        expected = Verdict.RIGHT if scheme == other else Verdict.STALE
        assert make(password_hash=other).verify(hashed, PASSWORD) is expected
    assert make().verify(hashed, "another password") is Verdict.WRONG


def test_formats_are_those_of_their_libraries() -> None:
    assert make(password_hash="pbkdf2:sha256:600000").hash(PASSWORD).startswith("pbkdf2:sha256:600000$")
    assert make(password_hash="scrypt").hash(PASSWORD).startswith("scrypt:32768:8:1$")
    assert PasswordHasher().verify(make(password_hash="argon2").hash(PASSWORD), PASSWORD)


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
def test_plain_bcrypt_of_a_host_is_verified_and_replaced(prefix: str) -> None:
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", f"${prefix}$")
    assert make().verify(stored, PASSWORD) is Verdict.STALE
    assert make().verify(stored, "another password") is Verdict.WRONG


def test_plain_bcrypt_is_cut_at_72_bytes_as_it_was() -> None:
    long = "é" * 50
    stored = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    assert make().verify(stored, long) is Verdict.STALE
    assert make().verify(stored, "é" * 35) is Verdict.WRONG


def test_plain_bcrypt_is_not_opened_by_what_stands_before_a_nul() -> None:
    stored = bcrypt.hashpw(b"abc", bcrypt.gensalt(4)).decode()
    assert make().verify(stored, "abc\0abc") is Verdict.WRONG
    assert make().verify(stored, "abc") is Verdict.STALE


@pytest.mark.parametrize(
    "method",
    [
        "pbkdf2:sha256:1000",
        "pbkdf2:sha1:1000",
        pytest.param("pbkdf2:sha512:700000", marks=pytest.mark.slow),
        "scrypt:1024:8:1",
    ],
)
def test_hashes_of_other_parameters_are_stale_or_stronger(method: str) -> None:
    stored = generate_password_hash(PASSWORD, method)
    assert make().verify(stored, PASSWORD) is Verdict.STALE
    for scheme in ("pbkdf2:sha256:600000", "scrypt"):
        assert make(password_hash=scheme).verify(stored, PASSWORD) is Verdict.STALE


def test_more_iterations_than_configured_are_left() -> None:
    stored = generate_password_hash(PASSWORD, "pbkdf2:sha256:600001")
    assert make(password_hash="pbkdf2:sha256:600000").verify(stored, PASSWORD) is Verdict.RIGHT


def test_other_cost_of_bcrypt_is_stale() -> None:
    assert make(bcrypt_rounds=5).verify(make(bcrypt_rounds=4).hash(PASSWORD), PASSWORD) is Verdict.STALE
    assert make(bcrypt_rounds=4).verify(make(bcrypt_rounds=5).hash(PASSWORD), PASSWORD) is Verdict.STALE


def test_cheaper_argon2_is_stale() -> None:
    stored = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    assert make(password_hash="argon2").verify(stored, PASSWORD) is Verdict.STALE


# --- nobody and corrupt hashes ----------------------------------------------------------------------------------------

GOOD = make().hash(PASSWORD)
CORRUPT = [
    "",
    "x",
    PASSWORD,
    GOOD[:-1],
    GOOD + "x",
    GOOD + "\n",
    GOOD.replace("$2b$04$", "$2b$31$"),
    GOOD.replace("$2b$04$", "$2b$03$"),
    GOOD.replace("$2b$04$", "$2b$٠٤$"),
    GOOD.replace("otpauth$*$", "otpauth$$"),
    GOOD.replace("otpauth$*$", "otpauth$unknown$"),
    "$2b$31$" + "." * 53,
    "$2b$04$" + "é" * 53,
    "$2b$04$" + "/" * 53,
    "scrypt:32768:8:1$salt$zz",
    "scrypt:3:8:1$salt$" + "0" * 128,
    "scrypt:1:8:1$salt$" + "0" * 128,
    "scrypt:0:0:0$salt$" + "0" * 128,
    "scrypt:4194304:99:1$salt$" + "0" * 128,
    "scrypt:9999999:8:99$salt$" + "0" * 128,
    "pbkdf2:sha256:0$salt$" + "0" * 64,
    "pbkdf2:sha256:9999999$salt$" + "0" * 64,
    "pbkdf2:md5:1000$salt$" + "0" * 32,
    "plain$$secret",
    "$argon2",
    "$argon2id$v=19$m=4194304,t=3,p=4$" + "A" * 22 + "$" + "A" * 43,
    "$argon2id$v=19$m=8,t=4000000,p=1$" + "A" * 22 + "$" + "A" * 43,
    "$argon2id$v=19$m=x,t=3,p=4$" + "A" * 22 + "$" + "A" * 43,
    "$argon2id$v=19$m=65536,t=3,p=4$!!!$!!!",
]


@pytest.mark.parametrize("stored", CORRUPT, ids=range(len(CORRUPT)))
def test_corrupt_hash_is_wrong_soon(stored: str) -> None:
    passwords = make()
    began = time.thread_time()
    assert passwords.verify(stored, PASSWORD) is Verdict.WRONG
    assert time.thread_time() - began < 2  # a cost of 31 takes days


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("stored", [None, "$2b$31$" + "." * 53], ids=["nobody", "corrupt"])
def test_nobody_and_corrupt_hashes_cost_what_a_wrong_password_costs(scheme: str, stored: str | None) -> None:
    passwords = make(password_hash=scheme, bcrypt_rounds=8)
    real = passwords.hash(PASSWORD)
    passwords.verify(real, "another password")

    def fastest(given: str | None) -> float:
        spans: list[float] = []
        for _ in range(3):
            began = time.thread_time()
            assert passwords.verify(given, "another password") is Verdict.WRONG
            spans.append(time.thread_time() - began)
        return min(spans)

    # Without the work the quotient is a thousandth.
    assert 0.2 < fastest(stored) / fastest(real) < 5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_dummy_is_as_long_as_a_hash(scheme: str) -> None:
    passwords = make(password_hash=scheme, peppers=PEPPERS)
    assert len(passwords._current.dummy) == len(passwords.hash(PASSWORD))


def test_passwords_are_made_without_hashing() -> None:
    began = time.thread_time()
    make(bcrypt_rounds=16)
    assert time.thread_time() - began < 1


# --- without the extra ------------------------------------------------------------------------------------------------


@pytest.fixture
def no_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def importing(name: str, *args: Any, **options: Any) -> Any:
        if name == "argon2":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", importing)


@pytest.mark.usefixtures("no_argon2")
def test_argon2_without_its_package_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"pip install 'Flask-OTPAuth\[argon2\]'"):
        make(password_hash="argon2")


@pytest.mark.usefixtures("no_argon2")
def test_stored_argon2_without_its_package_is_wrong_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    stored = "$argon2id$v=19$m=65536,t=3,p=4$" + "A" * 22 + "$" + "A" * 43
    assert make().verify(stored, PASSWORD) is Verdict.WRONG
    assert "Flask-OTPAuth[argon2]" in caplog.text
    assert stored not in caplog.text


# --- what may be chosen -----------------------------------------------------------------------------------------------


def test_shortest_password_follows_the_second_factor() -> None:
    assert make().faults("8 signs!") == []
    assert make().faults("7 signs") == ["A password has at least 8 characters."]
    assert make(second_factor="never").faults("14 characters!") == ["A password has at least 15 characters."]
    assert make(second_factor="never").faults("15 characters!!") == []
    assert make(password_min_length=10).faults("8 signs!") != []


def test_characters_count_after_nfc() -> None:
    assert make().faults("e\u0301" * 7) != []
    assert make().faults("\U0001f600" * 8) == []
    assert make().faults("e\u0301" * LONGEST) == []


def test_longest_password() -> None:
    assert make().faults("x" * LONGEST) == []
    assert make().faults("x" * (LONGEST + 1)) == ["A password has at most 1024 characters."]


@pytest.mark.parametrize("char", ["\0", "\n", "\x1b", "\x85", "\ud800"])
def test_control_characters_and_surrogates_are_refused(char: str) -> None:
    assert make().faults(f"long enough{char}") == ["A password can't hold control characters."]


@pytest.mark.parametrize(
    "password", ["password1", "PASSWORD1", "1234567890", "qwertyuiop", "iloveyou", "ILoveYou", "Sunshine"]
)
def test_common_passwords_are_refused(password: str) -> None:
    (fault,) = make().faults(password)
    assert "common" in fault
    assert password not in fault


@pytest.mark.parametrize(
    "password", ["securepassword", "SecureP@ssw0rd", "password1 and more", "no rules of composition"]
)
def test_containing_a_common_one_is_no_fault(password: str) -> None:
    assert make(names=("password",)).faults(password, username="secure", email="no@example.org") == []


def test_list_has_ten_thousand_folded_entries() -> None:
    from flask_otpauth.users.identifiers import fold

    found = make()._commonest()
    assert len(found) == 10_000
    assert all(entry == fold(entry) for entry in found)


@pytest.mark.parametrize(
    "password",
    [
        "annabella",
        "AnnaBella",
        "annabella@example.org",
        "Annabella.B",
        "My Shop",
        "my shop",
        "BLÖCKED!",
        "blo\u0308cked!",
    ],
)
def test_own_names_and_the_block_list_are_refused(password: str) -> None:
    passwords = make(names=("My Shop",), password_blocklist=("blöcked!",), password_min_length=8)
    faults = passwords.faults(password, username="annabella", email="annabella.b@example.org")
    faults += passwords.faults(password, username=None, email="annabella@example.org")
    assert "This password is too easy to guess." in faults


def test_password_isnt_compared_with_what_isnt_there() -> None:
    assert make(password_min_length=8).faults("long enough", username="", email=None) == []
