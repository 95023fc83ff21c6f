"""Identifiers: one canonical form, and what may be registered."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from flask_otpauth.config import read
from flask_otpauth.types import Account, Identifier, Kind
from flask_otpauth.users.identifiers import Identifiers, fold, mask

pytestmark = pytest.mark.core

CONTROL = ["\x00", "\x1b", "\x7f", "\x85", "\u2028", "\ud800", "\udfff"]


def make(*, debug: bool = False, **settings: Any) -> Identifiers:
    found, faults = read({f"OTPAUTH_{name.upper()}": value for name, value in settings.items()})
    assert faults == []
    return Identifiers(found, debug=debug)


def value(identifiers: Identifiers, kind: Kind, text: str, *, new: bool = False) -> str | None:
    try:
        return identifiers.read(kind, text, new=new).value
    except ValueError as error:
        refused = str(error)
    assert not text.strip() or text not in refused
    return None


# --- finding out the kind ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "canonical"),
    [
        ("Ann", Kind.USERNAME, "ann"),
        (" ann ", Kind.USERNAME, "ann"),
        ("Ann@Example.ORG", Kind.EMAIL, "ann@example.org"),
        ("0508464336", Kind.PHONE, "+972508464336"),
        ("+972 50-846-4336", Kind.PHONE, "+972508464336"),
        ("+972 050 846 4336", Kind.PHONE, "+972508464336"),
        ("00972508464336", Kind.PHONE, "+972508464336"),
        ("(050) 846.43/36", Kind.PHONE, "+972508464336"),
        ("12", Kind.USERNAME, "12"),
        ("x" * 300, Kind.USERNAME, "x" * 300),
    ],
)
def test_kind_is_found_out_by_form(text: str, kind: Kind, canonical: str) -> None:
    assert make(phone_region="IL").parse(text) == Identifier(kind=kind, value=canonical)


@pytest.mark.parametrize(
    "text", ["", "   ", "a@", "@", "ann@exa mple.org", "a@b", "x" * 401, *(f"an{c}n" for c in CONTROL)]
)
def test_what_is_nothing_at_all_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as refused:
        make(phone_region="IL").parse(text)
    assert not text.strip() or text not in str(refused.value)


def test_national_number_without_a_region_is_a_username() -> None:
    assert make(sms_countries=("IL",)).parse("0508464336").kind is Kind.USERNAME


def test_allowed_follows_the_setting() -> None:
    identifiers = make(identifiers=("email",))
    assert identifiers.allowed(identifiers.parse("ann@example.org"))
    assert not identifiers.allowed(identifiers.parse("ann"))


@given(st.text(max_size=450))
def test_parse_gives_a_canonical_value_or_a_value_error(text: str) -> None:
    identifiers = make(phone_region="IL", debug=True)
    try:
        found = identifiers.parse(text)
    except ValueError:
        return
    assert identifiers.parse(found.value) == found


# --- usernames --------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_folding_is_idempotent_nfc_and_blind_to_form_and_case(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded == unicodedata.normalize("NFC", folded)
    assert folded == fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))
    assert folded == fold(text.casefold())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("JOSÉ", "jose\u0301"),
        ("straße", "STRASSE"),
        ("\u212bngström", "ångström"),
        ("ΑΣ", "ας"),
        ("\u1fb3", "\u0391\u0399"),
    ],
)
def test_spellings_of_one_name_share_a_bucket(one: str, other: str) -> None:
    identifiers = make()
    assert identifiers.parse(one) == identifiers.parse(other)


def test_accents_make_another_name() -> None:
    assert make().parse("jose") != make().parse("josé")


@pytest.mark.parametrize(
    "text",
    [
        "ab",
        "x" * 65,
        "1ann",
        ".ann",
        "ann smith",
        "josé",
        "ann\u200b",
        "\uff41\uff4e\uff4e",
        "ann@x",
        "ann\n",
        "\u017fam",
        "\u212aim",
    ],
)
def test_new_username_obeys_length_and_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        make().read(Kind.USERNAME, text.replace("\n", "\x0a!"), new=True)


def test_new_username_of_the_default_pattern() -> None:
    assert make().read(Kind.USERNAME, "Ann.B_c-9", new=True).value == "ann.b_c-9"


def test_pattern_and_length_of_the_settings_hold_for_the_canonical_value() -> None:
    identifiers = make(username_pattern=r"[^\W\d]\w*", username_length=(6, 8))
    assert identifiers.read(Kind.USERNAME, "Straßen", new=True).value == "strassen"
    with pytest.raises(ValueError, match="6 to 8"):
        identifiers.read(Kind.USERNAME, "Straßenn", new=True)
    with pytest.raises(ValueError, match="6 to 8"):
        identifiers.read(Kind.USERNAME, "short", new=True)
    with pytest.raises(ValueError, match="form"):
        identifiers.read(Kind.USERNAME, "seven e", new=True)


# --- e-mail -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Ann@Example.COM", "ann@example.com"),
        (" ann@example.org ", "ann@example.org"),
        ("ann+tag@mail.example.org", "ann+tag@mail.example.org"),
        ("Ann@BÜCHER.de", "ann@xn--bcher-kva.de"),
        ("ann@bu\u0308cher.de", "ann@xn--bcher-kva.de"),
        ("ann@XN--bcher-kva.de", "ann@xn--bcher-kva.de"),
        ("JOSE\u0301@example.org", "josé@example.org"),
        ("ann@\uff25\uff38\uff21\uff2d\uff30\uff2c\uff25.org", "ann@example.org"),
    ],
)
def test_email_is_lower_cased_nfc_with_the_domain_in_a_labels(text: str, canonical: str) -> None:
    assert make().read(Kind.EMAIL, text, new=True).value == canonical


@pytest.mark.parametrize(
    "text",
    [
        "ann",
        "ann@localhost",
        "a b@example.org",
        '"a b"@example.org',
        "ann@[127.0.0.1]",
        "Ann <ann@example.org>",
        "ann@example..org",
        "ann@example.org, eve@example.org",
        "ann@example.org\nbcc: eve@example.org",
        "x" * 65 + "@example.org",
        "ann@" + "x" * 250 + ".org",
        *(f"an{c}n@example.org" for c in CONTROL),
    ],
)
def test_bad_email_is_refused(text: str) -> None:
    assert value(make(), Kind.EMAIL, text, new=True) is None
    assert value(make(debug=True), Kind.EMAIL, text, new=True) is None


def test_test_domains_are_new_addresses_in_debug_only() -> None:
    assert value(make(), Kind.EMAIL, "ann@shop.test", new=True) is None
    assert value(make(debug=True), Kind.EMAIL, "ann@shop.test", new=True) == "ann@shop.test"


def test_look_up_finds_addresses_of_test_domains() -> None:
    assert make().parse("ann@shop.test").value == "ann@shop.test"


@given(st.emails(), st.booleans())
def test_email_is_idempotent_and_blind_to_case(text: str, new: bool) -> None:
    identifiers = make()
    found = value(identifiers, Kind.EMAIL, text, new=new)
    assume(found is not None)
    assert (
        value(identifiers, Kind.EMAIL, str(found), new=new)
        == found
        == value(identifiers, Kind.EMAIL, text.upper(), new=new)
    )
    assert len(str(found)) <= 254


# --- phones -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "text", "canonical"),
    [
        ("IL", "0508464336", "+972508464336"),
        ("IN", "9876543210", "+919876543210"),
        ("US", "4155552671", "+14155552671"),
        ("US", "(415) 555-2671", "+14155552671"),
        ("GB", "07400 123456", "+447400123456"),
    ],
)
def test_national_numbers_of_the_region(region: str, text: str, canonical: str) -> None:
    assert make(phone_region=region).read(Kind.PHONE, text, new=True).value == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "1-800-FLOWERS",
        "+1 415 555 2671 ext. 5",
        "+14155552671;ext=5",
        "+14155552671#5",
        "tel:+14155552671",
        "4155552671;phone-context=+1",
        "+1415555267\u0661",
        "\uff0b14155552671",
        "+\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff12\uff16\uff17\uff11",
        "+1415\u200b5552671",
        "\u202a+14155552671",
        "+1\u00a04155552671",
        "+1415555\x002671",
        "+14155552671\n",
        "+1\n4155552671",
        "++14155552671",
        "5552671",
        "+999123456789",
        "+1415555267199999",
    ],
)
def test_letters_extensions_and_tricks_are_no_number(text: str) -> None:
    for debug in (False, True):
        assert value(make(phone_region="US", debug=debug), Kind.PHONE, text, new=True) is None


def test_phone_of_another_country_is_refused_unless_named() -> None:
    assert value(make(phone_region="IL"), Kind.PHONE, "+14155552671", new=True) is None
    assert value(make(phone_region="IL", debug=True), Kind.PHONE, "+14155552671", new=True) is None
    named = make(phone_region="IL", sms_countries=("US", "GB"))
    assert value(named, Kind.PHONE, "+14155552671", new=True) == "+14155552671"
    assert value(named, Kind.PHONE, "0508464336", new=True) is None


def test_neighbours_under_one_calling_code_are_told_apart() -> None:
    jamaica = "+18762101234"
    assert value(make(phone_region="US"), Kind.PHONE, jamaica, new=True) is None
    assert value(make(phone_region="JM"), Kind.PHONE, jamaica, new=True) == jamaica


def test_without_countries_only_debug_takes_numbers() -> None:
    assert value(make(), Kind.PHONE, "+14155552671", new=True) is None
    assert value(make(debug=True), Kind.PHONE, "+14155552671", new=True) == "+14155552671"


@pytest.mark.parametrize("text", ["+15005550006", "+15551234567", "+12025550123"])
def test_test_numbers_are_taken_in_debug(text: str) -> None:
    assert value(make(debug=True), Kind.PHONE, text, new=True) == text
    assert value(make(debug=True, phone_region="US"), Kind.PHONE, text, new=True) == text


@pytest.mark.parametrize("text", ["+15005550006", "+15551234567"])
def test_test_numbers_are_refused_in_production(text: str) -> None:
    assert value(make(phone_region="US"), Kind.PHONE, text, new=True) is None


REFUSED_TYPES = [
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.UAN,
    PhoneNumberType.PAGER,
    PhoneNumberType.VOICEMAIL,
    PhoneNumberType.VOIP,
]


def examples(kind: int) -> dict[str, str]:
    found = {region: phonenumbers.example_number_for_type(region, kind) for region in phonenumbers.SUPPORTED_REGIONS}
    return {
        region: phonenumbers.format_number(number, PhoneNumberFormat.E164)
        for region, number in found.items()
        if number is not None
        and phonenumbers.number_type(number) == kind
        and phonenumbers.region_code_for_number(number) == region  # the Vatican's example is an Italian number
    }


@pytest.mark.parametrize("kind", REFUSED_TYPES)
def test_numbers_that_are_not_personal_are_refused_everywhere(kind: int) -> None:
    numbers = examples(kind)
    assert len(numbers) >= 5
    for region, number in numbers.items():
        for debug in (False, True):
            assert value(make(sms_countries=(region,), debug=debug), Kind.PHONE, number, new=True) is None, number


@pytest.mark.parametrize(
    "text", ["+881612345678", "+870773111632", "+883510012345", "+80012345678", "+979123456789", "+882161234567"]
)
def test_satellites_and_global_networks_are_refused(text: str) -> None:
    for debug in (False, True):
        assert value(make(debug=debug, sms_countries=("US",)), Kind.PHONE, text, new=True) is None
        assert value(make(debug=debug), Kind.PHONE, text, new=True) is None


def test_personal_numbering_is_refused_in_production() -> None:
    assert value(make(phone_region="GB"), Kind.PHONE, "+447012345678", new=True) is None


def test_landline_is_taken_only_where_codes_are_spoken() -> None:
    landline = "+442079460018"
    assert value(make(phone_region="GB"), Kind.PHONE, landline, new=True) is None
    assert value(make(phone_region="GB", channels=("sms",)), Kind.PHONE, landline, new=True) is None
    assert value(make(phone_region="GB", channels=("sms", "voice")), Kind.PHONE, landline, new=True) == landline


def test_mobile_numbers_of_every_country_are_taken_and_idempotent() -> None:
    for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE):
        for region, number in examples(kind).items():
            identifiers = make(phone_region=region)
            assert value(identifiers, Kind.PHONE, number, new=True) == number
            parsed = phonenumbers.parse(number)
            for form in (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL):
                written = phonenumbers.format_number(parsed, form)
                assert value(identifiers, Kind.PHONE, written) == number, (region, written)


def test_look_up_takes_numbers_that_may_not_be_registered() -> None:
    assert make().parse("+881612345678") == Identifier(kind=Kind.PHONE, value="+881612345678")


@given(
    st.from_regex(r"\A(0|\+(1|39|44|49|52|54|55|972))[0-9 ()./-]{7,14}\Z"),
    st.sampled_from([None, "IL", "US", "IT", "MX", "AR", "BR"]),
)
def test_phone_is_idempotent_e164(text: str, region: str | None) -> None:
    identifiers = make(phone_region=region, debug=True)
    found = value(identifiers, Kind.PHONE, text)
    if found is None:
        return
    assert re.fullmatch(r"\+[0-9]{4,15}", found)
    assert value(identifiers, Kind.PHONE, found) == found


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("+972508464336", True),
        ("+12015550123", True),
        ("+442079460018", False),
        ("+19002345678", False),
        ("+881612345678", False),
        ("+1800FLOWERS", False),
        ("+972508464336;ext=5", False),
        ("+972-50-846-4336", False),
        ("0508464336", False),
        ("+33612345678", False),
        ("", False),
    ],
)
def test_stored_number_is_reached_where_it_could_be_registered(text: str, reached: bool) -> None:
    identifiers = make(phone_region="IL", sms_countries=("IL", "US", "GB"))
    assert [identifiers.reachable(text) for _ in range(2)] == [reached, reached]


def test_test_numbers_are_reached_in_debug_only() -> None:
    assert make(phone_region="US", debug=True).reachable("+15005550006")
    assert not make(phone_region="US").reachable("+15005550006")


def test_answers_about_numbers_are_remembered_and_forgotten() -> None:
    identifiers = make(phone_region="IL")
    for number in range(3000):
        identifiers.reachable(f"+97250846{number:04}")
    assert identifiers._reachable.cache_info().currsize < 3000


# --- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "masked"),
    [
        (Kind.EMAIL, "ann@example.org", "a***@example.org"),
        (Kind.EMAIL, "annabella.longname@example.org", "a***@example.org"),
        (Kind.EMAIL, "a@example.org", "***@example.org"),
        (Kind.EMAIL, "josé@example.org", "j***@example.org"),
        (Kind.EMAIL, "éa@example.org", "***@example.org"),
        (Kind.PHONE, "+972508464336", "+**********36"),
        (Kind.USERNAME, "ann", "a***"),
    ],
)
def test_mask(kind: Kind, text: str, masked: str) -> None:
    assert mask(kind, text) == masked


@given(st.from_regex(r"\A\+[1-9][0-9]{6,14}\Z"))
def test_mask_of_a_phone_shows_two_digits(number: str) -> None:
    assert "".join(char for char in mask(Kind.PHONE, number) if char.isdigit()) == number[-2:]


# --- settings ---------------------------------------------------------------------------------------------------------


def test_unknown_region_and_country_are_faults() -> None:
    (fault,) = make(phone_region="XX").faults(phones=False)
    assert "OTPAUTH_PHONE_REGION" in fault
    (fault,) = make(sms_countries=("IL", "QQ")).faults(phones=True)
    assert "'QQ'" in fault


def test_countries_must_be_named_outside_debug_where_numbers_are_taken() -> None:
    (fault,) = make().faults(phones=True)
    assert "OTPAUTH_SMS_COUNTRIES" in fault
    assert make().faults(phones=False) == []
    assert make(debug=True).faults(phones=True) == []
    assert make(phone_region="IL").faults(phones=True) == []


def test_a_user_is_named_by_what_nobody_else_has() -> None:
    ann = Account(
        id="1", username="ann", email="ann@example.org", phone="+972508464336", claims=frozenset({Kind.EMAIL})
    )
    assert [one.key for one in ann.identifiers] == ["username:ann", "phone:+972508464336"]
    assert Account(id="2").identifiers == ()
