"""Identifiers in their one canonical form, for uniqueness, look-up, limits and cooldowns on every database."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from ..config import Settings
from ..types import Identifier, Kind

LONGEST = {Kind.USERNAME: 64, Kind.EMAIL: 254, Kind.PHONE: 16}
"""Characters of a canonical value: RFC 5321, 4.5.3.1.3 for e-mail, "+" and 15 digits (E.164) for a phone."""

_LONGEST_LOCAL_PART = 64  # octets, RFC 5321, 4.5.3.1.1

# The library would take letters ("1-800-FLOWERS"), extensions and digits of every script: spellings of which two
# readers may make two numbers.
_PHONE = re.compile(r"\+?[0-9 ()./-]{2,40}")
_TYPED_AT_MOST = 400
_LONGEST_VALUE = 320
"""Characters that the tables hold of an identifier of any kind."""

_PERSONAL = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
_DEBUG = _PERSONAL | {PhoneNumberType.FIXED_LINE, PhoneNumberType.PERSONAL_NUMBER, PhoneNumberType.UNKNOWN}
_EVERYWHERE = "001"

_REMEMBERED = 2048
"""Numbers whose answer is kept: some 200 kB."""

_BAD_EMAIL = "This is not a valid e-mail address."
_BAD_PHONE = "This is not a valid phone number."
_BAD_TEXT = "This holds characters that are not allowed."


def fold(text: str) -> str:
    """Give the NFC form of the case folding (Unicode, D145: canonical caseless matching); idempotent."""
    if text.isascii():
        return text.lower()
    # Folded twice: a few combining marks (U+0345) only come apart after the first time.
    once = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", once.casefold()))


def printable(text: str) -> bool:
    """Tell whether a text is free of control characters, line separators and lone surrogates."""
    return not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text)


def mask(kind: Kind, value: str) -> str:
    """
    Give a destination as a caller may see it: ``a***@example.org``, ``+**********36``.

    ASCII. At most the first letter of a name or of the part before the "@", and the last two digits of a phone.
    """
    if kind is Kind.PHONE:
        return f"+{'*' * max(0, len(value) - 3)}{value[-2:]}"
    name, at, domain = value.partition("@") if kind is Kind.EMAIL else (value, "", "")
    # One letter that is the whole name, or a letter that not every gateway can write, is left out.
    first = name[:1] if len(name) > 1 and name[:1].isascii() else ""
    return f"{first}***{at}{domain}"


class Identifiers:
    """
    Reads what people type into canonical identifiers.

    Two spellings of one address, number or name give the same value, and reading a value gives it back. With
    ``debug`` (debug or testing) test domains and the test numbers of gateways are taken too.
    """

    def __init__(self, settings: Settings, *, debug: bool) -> None:
        region = settings.phone_region
        self._settings = settings
        self._debug = debug
        self._countries = frozenset(settings.sms_countries or ([region] if region else []))
        self._pattern = re.compile(settings.username_pattern)
        self._kinds = frozenset(Kind(name) for name in settings.identifiers)
        # A landline can't get an SMS; it may be registered only where the host said that codes are spoken.
        spoken = {PhoneNumberType.FIXED_LINE} if settings.channels and "voice" in settings.channels else set[int]()
        self._types = _DEBUG if debug else _PERSONAL | spoken
        self._reachable = lru_cache(_REMEMBERED)(self._is_reachable)

    def faults(self, *, phones: bool) -> list[str]:
        """Tell what is wrong with region and countries; ``phones`` says whether the app takes numbers at all."""
        known = phonenumbers.SUPPORTED_REGIONS
        region, countries = self._settings.phone_region, self._settings.sms_countries or ()
        faults: list[str] = []
        if region is not None and region not in known:
            faults.append(f"OTPAUTH_PHONE_REGION is {region!r}; give a country by its ISO 3166 code, such as 'IL'.")
        unknown = [country for country in countries if country not in known]
        if unknown:
            faults.append(f"OTPAUTH_SMS_COUNTRIES has {unknown[0]!r}; give countries by their ISO 3166 codes.")
        if phones and not self._countries and not self._debug:
            faults.append(
                "OTPAUTH_SMS_COUNTRIES is not set, so messages would go anywhere, at any price; "
                "name the countries that you serve, or set OTPAUTH_PHONE_REGION to the only one."
            )
        return faults

    def parse(self, text: str) -> Identifier:
        """
        Find out what somebody named himself by, for a look-up.

        What holds "@" is an e-mail, what parses as a number a phone, the rest a username of any length.

        Raises:
            ValueError: It can be none of them; the sentence doesn't repeat it.
        """
        if "@" in text:
            return self.read(Kind.EMAIL, text)
        try:
            return self.read(Kind.PHONE, text)
        except ValueError:
            return self.read(Kind.USERNAME, text)

    def read(self, kind: Kind, text: str, *, new: bool = False) -> Identifier:
        """
        Give the canonical identifier of a known kind.

        ``new`` applies what holds for one that is about to be registered or sent to: length and pattern of a
        username; a personal number of a country that is served.

        Raises:
            ValueError: It isn't one; the sentence is for people and doesn't repeat it.
        """
        if len(text) > _TYPED_AT_MOST:
            raise ValueError("This is too long.")
        if not printable(text):
            raise ValueError(_BAD_TEXT)
        readers = {Kind.USERNAME: self._username, Kind.EMAIL: self._email, Kind.PHONE: self._phone}
        value = readers[kind](text.strip(), new)
        if len(value) > _LONGEST_VALUE:
            # A name triples when it is folded ("\ufb03"), and a decoy is stored under it.
            raise ValueError("This is too long.")
        return Identifier(kind=kind, value=value)

    def allowed(self, identifier: Identifier) -> bool:
        """Tell whether users may name themselves so at login (``OTPAUTH_IDENTIFIERS``)."""
        return identifier.kind in self._kinds

    def reachable(self, number: str) -> bool:
        """
        Tell whether a stored number may be sent to: it is canonical, and could be registered now.

        The host may have stored it by itself. Answers are remembered, for this is asked at each login.
        """
        return self._reachable(number)

    def _is_reachable(self, number: str) -> bool:
        try:
            return self.read(Kind.PHONE, number, new=True).value == number
        except ValueError:
            return False

    def _username(self, text: str, new: bool) -> str:
        value = fold(text)
        if not value:
            raise ValueError("This is empty.")
        shortest, longest = self._settings.username_length
        if new and not shortest <= len(value) <= longest:
            raise ValueError(f"A username has {shortest} to {longest} characters.")
        if new and not (self._pattern.fullmatch(text) and self._pattern.fullmatch(value)):
            raise ValueError(self._pattern_told())
        return value

    def _pattern_told(self) -> str:
        if self._settings.username_pattern == r"[A-Za-z][A-Za-z0-9._-]*":
            return "A username is a letter, then letters, digits, '.', '_' or '-'."
        return "This username has a form that is not allowed."

    def _email(self, text: str, new: bool) -> str:
        # A look-up is lenient: a row that the host wrote in a test domain is found in production too.
        lenient = self._debug or not new
        try:
            # The local part is lowered first: a few capitals aren't valid where their small letters are.
            found = validate_email(_lower(text), check_deliverability=False, test_environment=lenient)
        except EmailNotValidError:
            raise ValueError(_BAD_EMAIL) from None
        # The A-label form of the domain (RFC 5890, 2.3.2.1) is the one that every mail server takes.
        local = _lower(found.local_part)
        value = f"{local}@{found.ascii_domain}"
        if len(local.encode()) > _LONGEST_LOCAL_PART or len(value.encode()) > LONGEST[Kind.EMAIL]:
            raise ValueError(_BAD_EMAIL)
        return value

    def _phone(self, text: str, new: bool) -> str:
        if not _PHONE.fullmatch(text):
            raise ValueError(_BAD_PHONE)
        number = self._parsed(text)
        value = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        # A trunk prefix is taken off at each reading ("+49 00..."): a number that loses one again has two forms.
        if value != re.sub("[ ()./-]", "", text) and self._parsed(value) != number:
            raise ValueError(_BAD_PHONE)
        if new:
            self._check(number)
        return value

    def _parsed(self, text: str) -> PhoneNumber:
        try:
            number = phonenumbers.parse(text, self._settings.phone_region)
        except phonenumbers.NumberParseException:
            raise ValueError(_BAD_PHONE) from None
        if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
            raise ValueError(_BAD_PHONE)
        return number

    def _check(self, number: PhoneNumber) -> None:
        valid = phonenumbers.is_valid_number(number)
        if not valid and not self._debug:
            raise ValueError(_BAD_PHONE)
        regions = _regions(number, valid=valid)
        # Global networks (satellites, +881; +883) are no country, and cost like none.
        if _EVERYWHERE in regions or phonenumbers.number_type(number) not in self._types:
            raise ValueError("This is not a personal mobile number.")
        if not self._served(regions):
            raise ValueError("Numbers of this country are not served.")

    def _served(self, regions: Iterable[str]) -> bool:
        if not self._countries:
            return self._debug
        return not self._countries.isdisjoint(regions)


def _regions(number: PhoneNumber, *, valid: bool) -> tuple[str, ...]:
    if valid:
        return (phonenumbers.region_code_for_number(number) or _EVERYWHERE,)
    return tuple(phonenumbers.region_codes_for_country_code(number.country_code or 0))


def _lower(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
