from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_otpauth.crypto import Keyring, base64url, digest, index, mint, new_id

pytestmark = pytest.mark.core

OLD, NEW = b"the old secret of the app", b"the new secret of the app"


@pytest.mark.parametrize("digits", [4, 6, 8, 12])
def test_a_code_has_all_its_digits(digits: int) -> None:
    codes = {mint(digits) for _ in range(300)}
    assert all(len(code) == digits and code.isascii() and code.isdigit() for code in codes)
    assert len(codes) > 290 or digits == 4


def test_codes_keep_leading_zeros() -> None:
    assert any(mint(4).startswith("0") for _ in range(500))


def test_ids_have_256_bits() -> None:
    assert len({new_id() for _ in range(100)}) == 100
    assert all(len(new_id()) == 43 for _ in range(10))


def test_a_digest_takes_any_string() -> None:
    assert len(digest("\ud800")) == len(digest("")) == 32


def test_a_code_matches_only_what_it_is_bound_to() -> None:
    keyring = Keyring([NEW])
    stored = keyring.code_digest("123456", "challenge", "user", "login")
    assert keyring.code_matches(stored, "123456", "challenge", "user", "login")
    assert not keyring.code_matches(stored, "123457", "challenge", "user", "login")
    assert not keyring.code_matches(stored, "123456", "challenge", "user", "step_up")
    assert not keyring.code_matches(stored, "123456", "challengeuser", "", "login")


def test_without_a_digest_nothing_matches() -> None:
    assert not Keyring([NEW]).code_matches(None, "123456")


def test_a_pending_code_survives_the_rotation_of_the_secret() -> None:
    stored = Keyring([OLD]).code_digest("123456", "a")
    assert Keyring([NEW, OLD]).code_matches(stored, "123456", "a")
    assert not Keyring([NEW]).code_matches(stored, "123456", "a")


def test_sealed_data_survives_the_rotation_of_the_secret() -> None:
    sealed = Keyring([OLD]).seal({"name": "ann"})
    assert Keyring([NEW, OLD]).unseal(sealed) == {"name": "ann"}
    assert Keyring([NEW]).unseal(sealed) is None
    assert Keyring([NEW]).unseal("nothing") is None
    assert "ann" not in sealed


def test_each_use_has_a_key_of_its_own() -> None:
    keyring = Keyring([NEW])
    assert keyring.token_keys != Keyring([OLD]).token_keys
    assert bytes.fromhex(keyring.token_keys[0]) != keyring.code_digest("")


def test_an_earlier_key_matches_wherever_it_stands() -> None:
    stored = Keyring([OLD]).code_digest("123456")
    assert all(
        Keyring(keys).code_matches(stored, "123456") for keys in ([OLD], [OLD, NEW], [NEW, OLD], [NEW, OLD, NEW])
    )


def test_nothing_that_was_given_out_or_stored_is_voided_by_a_release() -> None:
    keyring = Keyring([NEW])
    assert keyring.token_keys == ("a842b6a7ecdfb02bbf3db39665212a33357738401579b815f416aa6ccc7242bc",)
    stored = bytes.fromhex("e1260687767895eb3ed1093001f8032246ced08219dcfe21c4b5ec84cd514abd")
    assert keyring.code_digest("123456", "a", "\ud800") == stored
    sealed = "gAAAAABq__XG2iKmCXYlcKM6Cn-ErMcpuQ_D6uGuCIiFhg9K1wOkUtd1DKptdevoNUrHb-A1uN_0SstqBocf8jjDNJ7yWiV8CQ=="
    assert keyring.unseal(sealed) == {"name": "ann"}
    assert index("code", "u:1").hex() == "706067156c79dc6b57c32f82fd212e0a3705fb5e6482f0629a4edcbe4c2712d4"
    assert digest("\ud800").hex() == "91a681b998555fb475479817b126c94e57e52011fa1842c5d188795a4a05226b"


@pytest.mark.parametrize(
    ("raw", "text"), [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"\xfb\xff", "-_8")]
)
def test_base64url_has_no_padding(raw: bytes, text: str) -> None:
    assert base64url(raw) == text


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_different_parts_give_different_budgets(one: list[str], other: list[str]) -> None:
    assert (index(*one) == index(*other)) == (one == other)
