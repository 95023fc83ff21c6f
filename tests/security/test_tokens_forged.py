"""Tokens that we didn't make, or that are shown in the wrong place, open no door (RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.security.doors import DOORS, SECRET, Site, copied, shut, site_on

pytestmark = pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")

THIEVES = rsa.generate_private_key(public_exponent=65537, key_size=2048)
HOSTS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = HOSTS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = HOSTS.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
OURS = tuple(door for door in DOORS if "/plain" not in door[1])


class Owner:
    """Somebody who is in, and whose tokens the attacker has seen or changes."""

    def __init__(self, site: Site) -> None:
        self.site = site
        held = site.enter(site.app.test_client())
        self.access, self.refresh = str(held["access_token"]), str(held["refresh_token"])
        self.claims: dict[str, Any] = jwt.decode(self.access, options={"verify_signature": False})
        self.refresh_claims: dict[str, Any] = jwt.decode(self.refresh, options={"verify_signature": False})
        self.key: Any = site.app.config["JWT_SECRET_KEY"] or site.app.config["SECRET_KEY"]

    def signed(self, changes: Mapping[str, Any] | None = None, **header: Any) -> str:
        """Sign changed claims with the app's very key; None leaves a claim out."""
        claims = {name: value for name, value in {**self.claims, **(changes or {})}.items() if value is not None}
        return by_hand({"alg": "HS256", "typ": "JWT", **header}, claims, self.key)

    def is_in(self) -> bool:
        return self.site.knock(self.access, doors=(("GET", "/plain"), ("GET", "/otp-required"))) == {
            "GET /plain": 200,
            "GET /otp-required": 200,
        }


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header: Any, claims: Any, key: str | bytes | None, hashing: str = "sha256") -> str:
    """Make a token without the library, which refuses some."""
    text = f"{part(header)}.{part(claims)}"
    if key is None:
        return f"{text}."
    raw = key.encode() if isinstance(key, str) else key
    return f"{text}.{part(hmac.digest(raw, text.encode(), hashing))}"


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    folder = tmp_path_factory.mktemp("forged")
    with site_on("sqlite", folder, OTPAUTH_CREDENTIALS=("jwt", "session")) as site:
        yield Owner(site)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    with site_on("sqlite", tmp_path_factory.mktemp("hosted"), manager="host") as site:
        yield Owner(site)


# --- without the key ------------------------------------------------------------------------------------------------


def derived(label: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"flask-otpauth " + label.encode()).derive(SECRET.encode())


def jwk() -> dict[str, str]:
    return dict(jwt.algorithms.RSAAlgorithm.to_jwk(THIEVES.public_key(), as_dict=True))


def rsa_signed(owner: Owner, **header: Any) -> str:
    return jwt.encode(owner.claims, THIEVES, "RS256", headers=header)


def thumb() -> str:
    return part(hashlib.sha256(b"x").digest())


WITHOUT_KEY: dict[str, Callable[[Owner], str]] = {
    "alg none": lambda one: by_hand({"alg": "none", "typ": "JWT"}, one.claims, None),
    "alg NONE": lambda one: by_hand({"alg": "NONE"}, one.claims, None),
    "alg nOnE with a signature": lambda one: by_hand({"alg": "nOnE"}, one.claims, "x"),
    "alg missing": lambda one: by_hand({"typ": "JWT"}, one.claims, "x"),
    "alg null": lambda one: by_hand({"alg": None}, one.claims, "x"),
    "alg a list": lambda one: by_hand({"alg": ["HS256", "none"]}, one.claims, "x"),
    "alg empty": lambda one: by_hand({"alg": ""}, one.claims, None),
    "an empty key": lambda one: by_hand({"alg": "HS256"}, one.claims, ""),
    "the issuer as key": lambda one: by_hand({"alg": "HS256"}, one.claims, "host"),
    "a guessed key": lambda one: by_hand({"alg": "HS256"}, one.claims, "secret"),
    "RS256 of a thief": rsa_signed,
    "kid of a file": lambda one: by_hand({"alg": "HS256", "kid": "../../../../dev/null"}, one.claims, ""),
    "kid of SQL": lambda one: by_hand({"alg": "HS256", "kid": "x' UNION SELECT 'x"}, one.claims, "x"),
    "jwk of a thief": lambda one: rsa_signed(one, jwk=jwk()),
    "jku of a thief": lambda one: rsa_signed(one, jku="https://evil.example/jwks.json", kid="1"),
    "x5u of a thief": lambda one: rsa_signed(one, x5u="https://evil.example/cert.pem"),
    "x5c of a thief": lambda one: rsa_signed(one, x5c=["MIIB"], x5t=thumb()),
    "the signature left out": lambda one: one.access.rpartition(".")[0] + ".",
    "two parts": lambda one: one.access.rpartition(".")[0],
    "five parts": lambda one: f"{one.access}.x.y",
    "claims changed under the old signature": lambda one: swapped(one.access, {**one.claims, "sub": "2"}),
    "the signature of another token": lambda one: one.access.rpartition(".")[0] + "." + one.refresh.split(".")[2],
    "a bit of the signature": lambda one: one.access[:-3] + ("A" if one.access[-3] != "A" else "B") + one.access[-2:],
    "spaces in it": lambda one: one.access.replace(".", " .", 1),
    "a line break folded in": lambda one: one.access.replace(".", ".\t", 1),
    "standard base64": lambda one: one.access + "==",
}  # fmt: skip


def swapped(token: str, claims: Any) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{part(claims)}.{signature}"


@pytest.mark.parametrize("attack", sorted(WITHOUT_KEY))
def test_a_token_forged_without_the_key_opens_nothing(owner: Owner, attack: str) -> None:
    token = WITHOUT_KEY[attack](owner)
    assert shut(owner.site.knock(token))
    assert owner.is_in()


@pytest.mark.parametrize("attack", sorted(WITHOUT_KEY))
def test_a_token_forged_without_the_key_opens_nothing_under_a_manager_of_the_host(hosted: Owner, attack: str) -> None:
    token = WITHOUT_KEY[attack](hosted)
    assert shut(hosted.site.knock(token))
    assert hosted.is_in()


def test_the_keys_of_other_uses_sign_no_token(owner: Owner) -> None:
    for key in (
        SECRET,
        derived("code digest"),
        derived("code digest").hex(),
        derived("sealed data"),
        derived("sealed data").hex(),
        derived("access token"),
        hashlib.sha256(SECRET.encode()).hexdigest(),
    ):
        assert shut(owner.site.knock(by_hand({"alg": "HS256"}, owner.claims, key)))
    assert owner.is_in()


def test_rs256_verified_by_a_public_key_is_not_hs256_keyed_by_it(tmp_path: Any) -> None:
    config = {"JWT_ALGORITHM": "RS256", "JWT_PRIVATE_KEY": PRIVATE, "JWT_PUBLIC_KEY": PUBLIC}
    with site_on("sqlite", tmp_path, manager="host", **config) as site:
        one = Owner(site)
        for key in (PUBLIC, PUBLIC.strip(), PUBLIC.encode(), SECRET):
            assert shut(site.knock(by_hand({"alg": "HS256", "typ": "JWT"}, one.claims, key)))
        assert shut(site.knock(rsa_signed(one)))
        assert shut(site.knock(by_hand({"alg": "none"}, one.claims, None)))
        assert one.is_in()


# --- with the key: what else a token must be ------------------------------------------------------------------------

HOUR = 3600


def now() -> int:
    return int(time.time())


WITH_KEY: dict[str, Callable[[Owner], str]] = {
    "HS384": lambda one: by_hand({"alg": "HS384"}, one.claims, one.key, "sha384"),
    "HS512": lambda one: by_hand({"alg": "HS512"}, one.claims, one.key, "sha512"),
    "HS512 that is HS256": lambda one: by_hand({"alg": "HS512"}, one.claims, one.key),
    "RS256 that is HS256": lambda one: by_hand({"alg": "RS256"}, one.claims, one.key),
    "crit": lambda one: one.signed(crit=["exp"], exp=1),
    "crit of nobody": lambda one: one.signed(crit=["urn:example:x"], **{"urn:example:x": True}),
    "payload not encoded": lambda one: one.signed(crit=["b64"], b64=False),
    "type refresh": lambda one: one.signed({"type": "refresh"}),
    "sub a number": lambda one: one.signed({"sub": int(one.claims["sub"])}),
    "sub a list": lambda one: one.signed({"sub": [one.claims["sub"]]}),
    "exp past": lambda one: one.signed({"exp": now() - HOUR}),
    "nbf in the future": lambda one: one.signed({"nbf": now() + HOUR}),
    "iat in the future": lambda one: one.signed({"iat": now() + HOUR}),
    "a list of claims": lambda one: by_hand({"alg": "HS256"}, [one.claims], one.key),
    "no JSON": lambda one: by_hand({"alg": "HS256"}, b"sub=1", one.key),
    "the session of nobody": lambda one: one.signed({"sid": "A" * 43}),
    "a session that is no text": lambda one: one.signed({"sid": 7}),
}  # fmt: skip

OURS_ONLY: dict[str, Mapping[str, Any]] = {
    "no type": {"type": None},
    "a type of nobody": {"type": "challenge"},
    "no sid": {"sid": None},
    "an empty sid": {"sid": ""},
    "no sub": {"sub": None},
    "the sub of another": {"sub": "999"},
    "an empty sub": {"sub": ""},
    "no jti": {"jti": None},
    "an empty jti": {"jti": ""},
    "jti a number": {"jti": 1},
    "no exp": {"exp": None},
    "exp a text": {"exp": "never"},
    "exp without end": {"exp": True},
    "no auth_time": {"auth_time": None},
    "amr a text": {"amr": "otp"},
    "no amr": {"amr": None},
}  # what plain @jwt_required leaves to its host: a token without our claims may be the host's own

NAMED: dict[str, Mapping[str, Any]] = {
    "no iss": {"iss": None},
    "the iss of another": {"iss": "evil"},
    "iss a list": {"iss": ["host", "evil"]},
    "no aud": {"aud": None},
    "the aud of another": {"aud": "evil"},
}


@pytest.mark.parametrize("attack", sorted(WITH_KEY))
def test_a_signed_token_of_another_form_opens_nothing(owner: Owner, hosted: Owner, attack: str) -> None:
    for one in (owner, hosted):
        token = WITH_KEY[attack](one)
        doors = tuple(door for door in DOORS if door[1] not in {"/plain-refresh", "/auth/refresh"})
        # A token of "refresh" opens those of refresh tokens, where it is held against the stored id.
        assert shut(one.site.knock(token, doors=doors if attack == "type refresh" else DOORS))
        assert one.is_in()


@pytest.mark.parametrize("attack", sorted(OURS_ONLY))
def test_a_signed_token_that_lacks_what_is_ours_opens_nothing_of_ours(owner: Owner, hosted: Owner, attack: str) -> None:
    for one in (owner, hosted):
        assert shut(one.site.knock(one.signed(OURS_ONLY[attack]), doors=OURS))
        refresh = {**one.refresh_claims, **OURS_ONLY[attack]}
        if attack not in {"no auth_time", "amr a text", "no amr"}:
            refresh = {name: value for name, value in refresh.items() if value is not None}
            token = by_hand({"alg": "HS256"}, refresh, one.key)
            assert shut(one.site.knock(token, doors=OURS))
        assert one.is_in()


@pytest.mark.parametrize("attack", sorted(NAMED))
def test_a_signed_token_of_another_issuer_or_audience_opens_nothing(owner: Owner, attack: str) -> None:
    assert shut(owner.site.knock(owner.signed(NAMED[attack])))
    assert owner.is_in()


def test_a_token_of_type_refresh_with_the_jti_of_an_access_token_is_no_refresh_token(owner: Owner) -> None:
    one = Owner(owner.site)
    token = one.signed({"type": "refresh"})
    assert shut(owner.site.knock(token, doors=(("POST", "/auth/refresh"),)))


def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(owner: Owner) -> None:
    site, one = owner.site, Owner(owner.site)
    rest = tuple(door for door in DOORS if door[1] not in {"/auth/refresh", "/plain-refresh"})
    assert shut(site.knock(one.refresh, doors=rest))
    assert shut(site.knock(one.access, doors=(("POST", "/auth/refresh"), ("GET", "/plain-refresh"))))
    assert one.is_in()
    assert site.knock(one.refresh, doors=(("POST", "/auth/refresh"),)) == {"POST /auth/refresh": 200}


def test_a_token_of_another_app_with_the_same_secret_opens_nothing(owner: Owner, tmp_path: Any) -> None:
    for name, config in (("twin", {}), ("named", {"OTPAUTH_APP_NAME": "another"})):
        (tmp_path / name).mkdir()
        with site_on("sqlite", tmp_path / name, **config) as other:
            theirs = Owner(other)
            assert theirs.is_in()
            assert shut(owner.site.knock(theirs.access))
            assert shut(owner.site.knock(theirs.refresh))
            assert shut(other.knock(owner.access))


# --- in the wrong place ---------------------------------------------------------------------------------------------


def test_a_good_token_in_the_wrong_place_opens_nothing(owner: Owner) -> None:
    names = ("jwt", "access_token", "token", "Authorization", "authorization", "bearer")
    for method, path in DOORS:
        for name in names:
            for given in (
                {"query_string": {name: owner.access}},
                {"data": {name: owner.access}},
                {"json": {name: owner.access}},
                {"headers": {"X-" + name.replace("_", "-"): owner.access}},
                {"headers": {"Cookie": f"{name}={owner.access}"}},
            ):
                answer = owner.site.app.test_client().open(path, method=method, **given)  # type: ignore[arg-type]
                assert answer.status_code in {400, 401, 415}, (path, name, given)
    for name in ("Proxy-Authorization", "X-Authorization", "X-Forwarded-Authorization", "Authentication"):
        assert shut(owner.site.knock(headers={name: f"Bearer {owner.access}"}))
    for value in (owner.access, f"Basic {owner.access}", f"Token {owner.access}", f"JWT {owner.access}"):
        assert shut(owner.site.knock(headers={"Authorization": value}))
    assert owner.is_in()


def test_of_two_authorization_headers_none_is_trusted(owner: Owner) -> None:
    forged = by_hand({"alg": "none"}, owner.claims, None)
    for values in (
        (f"Bearer {forged}", f"Bearer {owner.access}"),
        (f"Bearer {owner.access}", f"Bearer {forged}"),
        ("Basic eDp5", f"Bearer {owner.access}"),
        (f"Bearer {owner.access}", f"Bearer {owner.access}"),
    ):
        for method, path in OURS:
            headers = [("Authorization", value) for value in values]
            assert owner.site.app.test_client().open(path, method=method, headers=headers).status_code == 401
            joined = {"Authorization": ", ".join(values)}
            assert owner.site.app.test_client().open(path, method=method, headers=joined).status_code == 401
    assert owner.is_in()


def test_a_bad_token_is_not_made_good_by_a_good_cookie(owner: Owner) -> None:
    client = owner.site.app.test_client()
    owner.site.enter(client)
    forged = by_hand({"alg": "none"}, owner.claims, None)
    assert shut(owner.site.knock(forged, copied(client), doors=OURS))
    assert client.get("/auth/me").status_code == 200


def test_a_token_that_was_good_a_moment_ago_is_looked_at_again(owner: Owner) -> None:
    one = Owner(owner.site)
    assert one.is_in()
    site = owner.site
    site.clock.advance(901)
    try:
        assert shut(site.knock(one.access, doors=OURS))
    finally:
        site.clock.reset()
