"""Side doors that were found open once, each by the name of its attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from typing_extensions import override

from flask_otpauth import ConfigurationError, OTPAuth, current_session, otp_required
from flask_otpauth.challenges import Challenges
from flask_otpauth.config import Settings
from flask_otpauth.testing import capture_messages
from flask_otpauth.types import Identifier, Kind, NewAccount
from flask_otpauth.users import Passwords

PASSWORD = "correct horse battery"
PHONE, OTHER_PHONE, EMAIL = "+972508464336", "+972508464337", "ann@example.org"

Host = Any
Hosts = Callable[..., Host]


def answers(host: Host, challenge: Any, otp: str, client: Any = None) -> Any:
    return host.post("/verify-otp", {"challenge_id": challenge.json["challenge_id"], "otp": otp}, client=client)


def me(host: Host, tokens: Any) -> Any:
    return host.get("/auth/me", tokens.json["access_token"]).json["user"]


def test_an_anonymous_resend_reaches_no_unproved_address(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp")
    ann.prove(ann.register(email=EMAIL))
    ann.clock.advance(61)
    known, unknown = (ann.post("/login", {"identifier": name}) for name in ("ann", "nobody"))
    ann.clock.advance(61)
    sent = len(ann.messages)
    again = [
        ann.post("/resend-otp", {"challenge_id": one.json["challenge_id"], "channel": "email"})
        for one in (known, unknown)
    ]
    assert [one.status_code for one in again] == [202, 202]
    assert [one.json["destination"] for one in again] == [None, None]
    assert len(ann.messages) == sent


def test_a_squatters_own_address_does_not_survive_adoption(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", REGISTRATION="login-code")
    ann.register(username="squatter", email="evil@example.com")
    ann.clock.advance(901)
    tokens = ann.prove(ann.post("/login", {"phone": PHONE}))
    assert me(ann, tokens)["email"] is None


def test_nothing_else_of_a_squatters_survives_adoption(host: Hosts) -> None:
    ann = host(
        FIRST_FACTOR="otp",
        REGISTRATION="login-code",
        REGISTER_FIELDS=("username", "password", "phone", "nickname"),
        PROFILE_FIELDS=("nickname",),
    )
    fields = {"username": "squatter", "password": PASSWORD, "phone": PHONE, "nickname": "mine"}
    assert ann.post("/register", fields).status_code == 202
    ann.clock.advance(61)
    tokens = ann.prove(ann.post("/login", {"phone": PHONE}))
    users = ann.app.extensions["otpauth"].users
    with ann.app.app_context():
        found = users.load(tokens.json["user"]["id"])
        assert (found.password_hash, found.nickname) == (None, None)


def test_an_owner_makes_no_account_good_whose_password_a_stranger_set(host: Hosts) -> None:
    ann = host(REGISTRATION="login-code", SECOND_FACTOR="never", CHALLENGE_LOOKUP="identifier", PASSWORD_MIN_LENGTH=8)
    asked = ann.post("/register", {"username": "squatter", "password": PASSWORD, "phone": PHONE})
    owner = ann.app.test_client()
    by_name = ann.post("/verify-otp", {"identifier": PHONE, "otp": ann.code}, client=owner)
    assert by_name.json["code"] == "challenge_invalid"
    # Who registered has the id of the challenge.
    assert answers(ann, asked, ann.code).status_code == 200


def test_who_was_made_by_the_host_is_adopted_by_nobody(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", REGISTRATION="login-code", CHANNELS=("sms", "email"))
    db = ann.app.extensions["sqlalchemy"]
    users = ann.app.extensions["otpauth"].users
    with ann.app.app_context():
        db.create_all()
        model = users._map.model
        db.session.add(model(username="ann", email=EMAIL, phone=PHONE, password_hash="as the host stored it"))
        db.session.commit()
    tokens = ann.prove(ann.post("/login", {"phone": PHONE}))
    assert me(ann, tokens)["email"] == EMAIL
    with ann.app.app_context():
        assert users.load(tokens.json["user"]["id"]).password_hash == "as the host stored it"


def test_guesses_by_identifier_are_charged_on_every_account_they_could_open(host: Hosts) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier", SEND_LIMITS="90 per day")
    ann.prove(ann.register())
    ann.client.delete_cookie("otpauth_client")
    for _ in range(2):
        challenge = ann.login()
        for _ in range(5):
            answers(ann, challenge, "000000" if ann.code != "000000" else "111111")
    ann.login()
    ann.clock.advance(61)
    ann.post("/resend-otp", {"identifier": "ann"}, client=ann.app.test_client())
    refused = ann.post("/verify-otp", {"identifier": "ann", "otp": ann.code})
    assert refused.status_code in {401, 429}
    assert "access_token" not in refused.json


def test_strangers_decoys_keep_no_owner_out(host: Hosts) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier", SEND_LIMITS="90 per day")
    ann.prove(ann.register())
    stranger = ann.app.test_client()
    for _ in range(2):
        ann.clock.advance(61)
        decoy = ann.post("/resend-otp", {"identifier": "ann"}, client=stranger)
        for _ in range(5):
            answers(ann, decoy, "000000", stranger)
    ann.login()
    code = ann.code
    ann.clock.advance(61)
    ann.post("/resend-otp", {"identifier": "ann"}, client=stranger)
    assert ann.post("/verify-otp", {"identifier": "ann", "otp": code}).status_code == 200


def test_a_failing_gateway_tells_no_taken_address(make_app: Callable[..., Flask], clock: Any) -> None:
    app, works = make_app(), [True]
    sent: list[Any] = []

    def gateway(message: Any) -> None:
        sent.append(message)
        if not works[0]:
            raise OSError("down")

    OTPAuth(app, clock=clock, sms=gateway)
    client = app.test_client()

    def post(path: str, body: dict[str, Any]) -> Any:
        return client.post(f"/auth{path}", json=body)

    def register(name: str, phone: str) -> Any:
        return post("/register", {"username": name, "password": PASSWORD, "phone": phone})

    asked = register("ann", PHONE)
    post("/verify-otp", {"challenge_id": asked.json["challenge_id"], "otp": sent[-1].code})
    clock.advance(901)
    works[0] = False
    seen: list[list[tuple[int, str | None]]] = []
    for number in (PHONE, OTHER_PHONE):
        first = register("eve", number)
        steps = [first, register("eve", number)]
        named = {"challenge_id": first.json["challenge_id"]}
        steps += [post("/verify-otp", {**named, "otp": "000000"}), post("/resend-otp", named)]
        seen.append([(one.status_code, one.json.get("code")) for one in steps])
    assert seen[0] == seen[1]


def test_budgets_tell_nobody_that_an_owner_logs_in(host: Hosts) -> None:
    ann = host()
    ann.prove(ann.register())
    for _ in range(3):
        ann.prove(ann.login())
    stranger = ann.app.test_client()
    ann.clock.advance(61)
    body = {"username": "eve", "password": PASSWORD}
    known = ann.post("/register", {**body, "phone": PHONE}, client=stranger)
    free = ann.post("/register", {**body, "phone": OTHER_PHONE}, client=stranger)
    assert (known.status_code, free.status_code) == (202, 202)


def test_budgets_link_no_name_with_a_number(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp")
    ann.prove(ann.register())
    stranger = ann.app.test_client()
    ann.clock.advance(900)
    for _ in range(3):
        assert ann.post("/login", {"identifier": "ann"}, client=stranger).status_code == 202
        ann.clock.advance(61)
    for number in (PHONE, OTHER_PHONE):
        assert ann.post("/login", {"phone": number}, client=stranger).status_code == 202


def test_ones_own_phone_tells_nothing_of_anothers_email(host: Hosts) -> None:
    ann = host(CHANNELS=("email", "sms"))
    ann.prove(ann.register(email=EMAIL))
    eve = host(CHANNELS=("sms", "email"))
    assert eve.prove(eve.register(username="bob", phone=OTHER_PHONE, email=EMAIL)).status_code == 200
    sent = len(eve.messages)
    eve.clock.advance(61)
    taken = eve.register(username="eve", phone=PHONE, email=EMAIL)
    assert len(eve.messages) == sent + 1
    assert eve.messages[-1].code is not None
    tokens = eve.prove(taken)
    # As if it were free: what he is shown is what he named, and it finds the one who proved it.
    assert (tokens.status_code, me(eve, tokens)["email"]) == (200, EMAIL)
    users = eve.app.extensions["otpauth"].users
    with eve.app.app_context():
        assert users.by_identifier(Identifier(kind=Kind.EMAIL, value=EMAIL)).username == "bob"


def test_an_address_named_beside_ones_own_gives_way_to_its_owner(host: Hosts) -> None:
    ann = host()
    evil = ann.prove(ann.register(username="evil", phone=OTHER_PHONE, email=EMAIL))
    assert me(ann, evil)["email"] == EMAIL
    ann.clock.advance(61)
    owner = ann.prove(ann.post("/register", {"username": "ann", "password": PASSWORD, "email": EMAIL}))
    assert owner.status_code == 200
    assert me(ann, owner)["email"] == EMAIL
    # He isn't told that the owner has come; the address finds the owner only.
    assert me(ann, evil)["email"] == EMAIL
    users = ann.app.extensions["otpauth"].users
    with ann.app.app_context():
        assert users.by_identifier(Identifier(kind=Kind.EMAIL, value=EMAIL)).username == "ann"


def test_a_taken_address_is_told_to_its_owner_once(host: Hosts) -> None:
    ann = host(SEND_IP_LIMITS="1000 per day")
    ann.prove(ann.register())
    for number in range(5):
        ann.clock.advance(61)
        assert ann.register(username=f"eve{number}").status_code in {202, 429}
    assert [one.to for one in ann.messages if one.code is None] == [PHONE]


def test_calls_of_a_failing_gateway_have_an_end(make_app: Callable[..., Flask], clock: Any) -> None:
    app = make_app(OTPAUTH_REGISTRATION="open", OTPAUTH_SEND_IP_LIMITS="1000 per day", OTPAUTH_LIVE_CHALLENGES=10)
    called: list[Any] = []

    def gateway(message: Any) -> None:
        called.append(message)
        raise OSError("down")

    OTPAuth(app, clock=clock, sms=gateway)
    client = app.test_client()
    client.post("/auth/register", json={"username": "ann", "password": PASSWORD, "phone": PHONE})
    statuses: list[int] = []
    for _ in range(20):
        clock.advance(6)
        statuses.append(client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).status_code)
    assert set(statuses) == {503, 429}
    assert len(called) <= 10


def test_who_knows_the_password_only_leaves_a_place_for_the_owner(host: Hosts) -> None:
    ann = host()
    ann.prove(ann.register())
    ann.clock.advance(900)
    thief = ann.app.test_client()
    for _ in range(4):
        ann.clock.advance(6)
        ann.post("/login", {"identifier": "ann", "password": PASSWORD}, client=thief)
    sent = len(ann.messages)
    ann.clock.advance(6)
    mine = ann.post("/login", {"identifier": "ann", "password": PASSWORD})
    assert len(ann.messages) == sent + 1
    assert ann.prove(mine).status_code == 200


def test_limits_with_bad_odds_are_refused(host: Hosts) -> None:
    with pytest.raises(ConfigurationError, match="a year"):
        host(ACCOUNT_LIMITS="100 per minute")


def test_two_registrations_of_a_number_are_not_answered_by_identifier(host: Hosts) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier")
    ann.register(username="squatter", password="the squatter's own")
    ann.clock.advance(61)
    mine = ann.register()
    assert ann.post("/verify-otp", {"phone": PHONE, "otp": ann.code}).json["code"] == "challenge_invalid"
    assert ann.prove(mine).status_code == 200


def test_a_registration_is_renewed_by_identifier(host: Hosts) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier")
    ann.register()
    ann.clock.advance(61)
    sent = len(ann.messages)
    assert ann.post("/resend-otp", {"phone": PHONE}).status_code == 202
    assert len(ann.messages) == sent + 1
    assert ann.post("/verify-otp", {"phone": PHONE, "otp": ann.code}).status_code == 200


def test_a_step_up_by_cookie_leaves_the_refresh_token(host: Hosts) -> None:
    ann = host(CREDENTIALS=("jwt", "session"))
    tokens = ann.prove(ann.register()).json
    ann.clock.advance(61)
    assert ann.prove(ann.post("/step-up", {})).status_code == 200
    ann.clock.advance(61)
    assert ann.post("/refresh", token=tokens["refresh_token"]).status_code == 200


def test_a_resend_by_another_channel_goes_on_by_it(host: Hosts) -> None:
    ann = host()
    ann.prove(ann.register(email=EMAIL))
    challenge = ann.login()
    named = {"challenge_id": challenge.json["challenge_id"]}
    ann.clock.advance(61)
    ann.post("/resend-otp", {**named, "channel": "email"})
    ann.clock.advance(61)
    again = ann.post("/resend-otp", named).json
    assert (again["channel"], again["destination"]) == ("email", "a***@example.org")
    assert ann.messages[-1].to == EMAIL


def test_a_shaper_that_raises_lets_nobody_in(make_app: Callable[..., Flask]) -> None:
    app = make_app(
        OTPAUTH_CREDENTIALS="session", OTPAUTH_REGISTRATION="open", OTPAUTH_SECOND_FACTOR="never",
        PROPAGATE_EXCEPTIONS=False,
    )  # fmt: skip
    auth = OTPAuth(app)
    client = app.test_client()
    client.post("/auth/register", json={"username": "ann", "password": PASSWORD, "phone": PHONE})

    @auth.response_shaper
    def broken(answer: Any) -> Any:
        if answer.endpoint == "login":
            raise RuntimeError("of the host")

    assert client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).status_code == 500
    assert client.get("/auth/me").status_code == 401


def test_another_login_in_a_browser_ends_the_one_before(host: Hosts) -> None:
    ann = host(CREDENTIALS="session")
    ann.prove(ann.register())
    old = ann.client.get_cookie("session").value
    ann.prove(ann.login())
    assert ann.get("/auth/me").status_code == 200
    copy = ann.app.test_client()
    copy.set_cookie("session", old)
    assert copy.get("/auth/me").status_code == 401


def test_old_secrets_are_checked_too(make_app: Callable[..., Flask]) -> None:
    app = make_app(TESTING=False, SECRET_KEY_FALLBACKS=["dev"], OTPAUTH_BCRYPT_ROUNDS=12, OTPAUTH_PHONE_REGION="IL")
    with pytest.raises(ConfigurationError, match="well known"):
        OTPAuth(app)


def test_step_up_passwords_are_counted_over_all_addresses(host: Hosts) -> None:
    ann = host(REGISTRATION="open", SECOND_FACTOR="never", LOGIN_ACCOUNT_LIMITS="7 per day")
    ann.register()
    token = ann.login().json["access_token"]
    wrong = {"json": {"password": "wrong password"}, "headers": {"Authorization": f"Bearer {token}"}}
    statuses = [
        ann.client.post("/auth/step-up", environ_base={"REMOTE_ADDR": f"192.0.2.{number}"}, **wrong).status_code
        for number in range(10)
    ]
    assert statuses == [401] * 7 + [429] * 3


def test_no_name_that_a_stranger_types_spends_the_passwords_of_a_step_up(host: Hosts) -> None:
    ann = host(REGISTRATION="open", SECOND_FACTOR="never", LOGIN_ACCOUNT_LIMITS="7 per day")
    ann.register()
    token = ann.login().json["access_token"]
    user_id = ann.get("/auth/me", token).json["user"]["id"]
    for number in range(8):
        place = {"REMOTE_ADDR": f"192.0.2.{number}"}
        for name in (f"step-up:u:{user_id}", f"u:{user_id}"):
            ann.client.post("/auth/login", json={"identifier": name, "password": "wrong"}, environ_base=place)
    assert ann.post("/step-up", {"password": PASSWORD}, token).status_code == 200


def test_a_stranger_uses_up_nobodys_attempts_by_identifier(host: Hosts) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier", SEND_LIMITS="90 per day")
    ann.prove(ann.register())
    mine = ann.login()
    stranger = ann.app.test_client()
    for _ in range(5):
        guess = ann.post("/verify-otp", {"identifier": "ann", "otp": "000000"}, client=stranger)
        assert guess.json["code"] == "challenge_invalid"
    assert ann.prove(mine).status_code == 200


def test_a_code_by_identifier_is_compared_with_nothing_of_whoever_has_a_claimed_address(host: Hosts) -> None:
    ann = host(
        FIRST_FACTOR="otp",
        CHALLENGE_LOOKUP="identifier",
        REGISTER_FIELDS=("username", "phone?", "email?"),
        SEND_LIMITS="90 per day",
    )
    owner, eve = ann.app.test_client(), ann.app.test_client()
    asked = ann.post("/register", {"username": "ann", "email": EMAIL}, client=owner)
    assert answers(ann, asked, ann.code, owner).status_code == 200
    ann.clock.advance(61)
    asked = ann.post("/register", {"username": "eve", "phone": OTHER_PHONE, "email": EMAIL}, client=eve)
    assert answers(ann, asked, ann.code, eve).json["user"]["email"] == EMAIL
    ann.clock.advance(901)
    mine = ann.post("/login", {"email": EMAIL}, client=ann.app.test_client())
    code = ann.code
    stranger = ann.app.test_client()
    ann.post("/login", {"phone": OTHER_PHONE}, client=stranger)
    hers = ann.code
    guessed = ann.post("/verify-otp", {"phone": OTHER_PHONE, "otp": code}, client=stranger)
    assert guessed.json["code"] == "otp_invalid"
    assert (
        ann.post("/verify-otp", {"phone": OTHER_PHONE, "otp": hers}, client=stranger).json["user"]["username"] == "eve"
    )
    wrong = answers(ann, mine, "00000000" if code != "00000000" else "11111111")
    assert wrong.json["attempts_left"] == 4


def test_the_newest_challenge_of_an_identifier_says_why_there_is_none(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", CHALLENGE_LOOKUP="identifier", CODE_LIFETIME=60)
    ann.prove(ann.register())
    stranger = ann.app.test_client()
    ann.clock.advance(61)
    ann.post("/login", {"phone": PHONE}, client=stranger)
    ann.clock.advance(61)
    late = ann.post("/verify-otp", {"phone": PHONE, "otp": ann.code}, client=stranger)
    assert late.json["code"] == "otp_expired"
    ann.post("/login", {"phone": PHONE}, client=stranger)
    bad = "00000000" if ann.code != "00000000" else "11111111"
    said = [ann.post("/verify-otp", {"phone": PHONE, "otp": bad}, client=stranger).json["code"] for _ in range(6)]
    assert said == ["otp_invalid"] * 5 + ["challenge_invalid"]


def test_a_code_that_expires_while_it_is_looked_up_costs_nothing(host: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = host(FIRST_FACTOR="otp", CHALLENGE_LOOKUP="identifier")
    ann.prove(ann.register())
    stranger = ann.app.test_client()
    ann.clock.advance(61)
    ann.post("/login", {"phone": PHONE}, client=stranger)
    ann.clock.advance(300.5)
    find = Challenges.find
    monkeypatch.setattr(Challenges, "find", lambda self, keys, purposes, now: find(self, keys, purposes, now - 1000))
    guess = {"phone": PHONE, "otp": "00000000"}
    said = {ann.post("/verify-otp", guess, client=stranger).json["code"] for _ in range(12)}
    assert said == {"challenge_invalid"}


def test_two_registrations_of_a_number_lose_nothing_by_a_guess_by_identifier(host: Hosts) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier", SEND_LIMITS="90 per day")
    ann.post("/register", {"username": "eve", "password": PASSWORD, "phone": PHONE}, client=ann.app.test_client())
    ann.clock.advance(61)
    mine = ann.register()
    stranger = ann.app.test_client()
    for _ in range(5):
        guess = ann.post("/verify-otp", {"identifier": PHONE, "otp": "000000"}, client=stranger)
        assert guess.json["code"] == "challenge_invalid"
    assert ann.prove(mine).status_code == 200


def test_who_asks_again_after_each_expiry_gets_a_code_each_time(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", CHALLENGE_LOOKUP="identifier")
    ann.prove(ann.register())
    for _ in range(4):
        ann.clock.advance(302)
        sent = len(ann.messages)
        assert ann.post("/login", {"phone": PHONE}, client=ann.app.test_client()).status_code == 202
        assert len(ann.messages) == sent + 1


def test_a_lock_that_one_name_earned_shows_under_no_other(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", CHALLENGE_LOOKUP="identifier", SEND_LIMITS="90 per day")
    ann.prove(ann.register())
    stranger = ann.app.test_client()
    for _ in range(2):
        ann.clock.advance(301)
        ann.post("/login", {"identifier": "ann"}, client=stranger)
        bad = "00000000" if ann.code != "00000000" else "11111111"
        for _ in range(5):
            ann.post("/verify-otp", {"identifier": "ann", "otp": bad}, client=stranger)
    ann.clock.advance(61)
    ann.post("/login", {"identifier": "ann"}, client=stranger)
    said = [
        ann.post("/verify-otp", {"identifier": name, "otp": bad}, client=stranger).json["code"]
        for name in ("ann", PHONE, OTHER_PHONE)
    ]
    assert said == ["rate_limited", "challenge_invalid", "challenge_invalid"]


def test_a_session_waits_for_one_code_at_a_time(host: Hosts) -> None:
    ann = host(SEND_LIMITS="90 per day")
    token = ann.prove(ann.register()).json["access_token"]
    program = ann.app.test_client()
    asked = []
    for _ in range(5):
        ann.clock.advance(61)
        sent = len(ann.messages)
        asked.append(ann.post("/step-up", {}, token=token, client=program))
        assert len(ann.messages) == sent + 1
    assert answers(ann, asked[3], ann.code, program).json["code"] == "challenge_invalid"
    assert answers(ann, asked[4], ann.code, program).status_code == 200


def test_a_registration_that_is_refused_takes_no_name(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", REGISTRATION="login-code")
    assert ann.post("/login", {"phone": PHONE}).status_code == 202
    ann.clock.advance(10)
    fields = {"username": "ann", "phone": PHONE}
    assert ann.post("/register", fields).status_code == 429
    ann.clock.advance(61)
    assert ann.prove(ann.post("/register", fields)).status_code == 200


def test_a_resend_and_a_new_request_are_one_message_per_cooldown(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", SEND_LIMITS="90 per day")
    ann.prove(ann.register())
    ann.clock.advance(61)
    mine = ann.post("/login", {"phone": PHONE}, client=ann.app.test_client())
    ann.clock.advance(61)
    sent = len(ann.messages)
    place = {"REMOTE_ADDR": "198.51.100.9"}
    stranger = ann.app.test_client()
    assert stranger.post("/auth/login", json={"phone": PHONE}, environ_base=place).status_code == 202
    again = ann.post("/resend-otp", {"challenge_id": mine.json["challenge_id"]}, client=ann.app.test_client())
    assert (again.status_code, len(ann.messages)) == (202, sent + 1)
    ann.clock.advance(61)
    ann.post("/resend-otp", {"challenge_id": mine.json["challenge_id"]}, client=ann.app.test_client())
    assert len(ann.messages) == sent + 2


@pytest.mark.parametrize("credentials", ["jwt", "session"])
def test_a_view_may_ask_for_the_channel_of_the_code(
    make_app: Callable[..., Flask], clock: Any, credentials: str
) -> None:
    app = make_app(OTPAUTH_CREDENTIALS=credentials, OTPAUTH_CHANNELS=("sms", "email"))
    OTPAuth(app, clock=clock)
    for channel in ("sms", "email"):
        app.add_url_rule(
            f"/{channel}", channel, otp_required(methods={channel})(lambda: {"amr": list(current_session.amr)})
        )
    client = app.test_client()
    with capture_messages(app) as messages:
        held: dict[str, str] = {}

        def post(path: str, body: dict[str, Any]) -> Any:
            answer = client.post(f"/auth{path}", json=body, headers=held)
            if "access_token" in answer.json:
                held["Authorization"] = f"Bearer {answer.json['access_token']}"
            return answer

        def prove(asked: Any) -> Any:
            return post("/verify-otp", {"challenge_id": asked.json["challenge_id"], "otp": messages[-1].code})

        prove(post("/register", {"username": "ann", "password": PASSWORD, "phone": PHONE, "email": EMAIL}))
        assert [client.get(path, headers=held).status_code for path in ("/sms", "/email")] == [200, 401]
        clock.advance(61)
        login = post("/login", {"identifier": "ann", "password": PASSWORD})
        clock.advance(61)
        prove(post("/resend-otp", {"challenge_id": login.json["challenge_id"], "channel": "email"}))
        assert [client.get(path, headers=held).status_code for path in ("/sms", "/email")] == [401, 200]
        # Tokens and answers tell the methods that RFC 8176 names, and no others.
        assert client.get("/email", headers=held).json["amr"] == ["pwd", "otp", "mfa"]
        assert client.get("/auth/sessions", headers=held).json["sessions"][0]["amr"] == ["pwd", "otp", "mfa"]


def test_a_lock_takes_no_attempt_by_identifier(host: Hosts) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier", SEND_LIMITS="90 per day")
    ann.prove(ann.register())
    ann.client.delete_cookie("otpauth_client")
    for _ in range(2):
        challenge = ann.login()
        bad = "000000" if ann.code != "000000" else "111111"
        for _ in range(5):
            answers(ann, challenge, bad)
    ann.login()
    statuses = [ann.post("/verify-otp", {"identifier": "ann", "otp": bad}).status_code for _ in range(7)]
    assert statuses == [429] * 7


def test_a_step_up_goes_on_under_a_strangers_lock(host: Hosts) -> None:
    ann = host(SEND_LIMITS="90 per day", LIVE_CHALLENGES=6)
    token = ann.prove(ann.register()).json["access_token"]
    stranger = ann.app.test_client()
    for _ in range(2):
        ann.clock.advance(6)
        challenge = ann.post("/login", {"identifier": "ann", "password": PASSWORD}, client=stranger)
        bad = "000000" if ann.code != "000000" else "111111"
        for _ in range(5):
            answers(ann, challenge, bad, stranger)
    challenge = ann.post("/step-up", {}, token)
    # Answered without credentials, as the challenge allows.
    assert answers(ann, challenge, ann.code, ann.app.test_client()).status_code == 200


def test_a_strangers_requests_keep_no_owner_from_his_code(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp")
    ann.prove(ann.register())
    ann.clock.advance(61)
    assert ann.post("/login", {"phone": PHONE}, client=ann.app.test_client()).status_code == 202
    sent = len(ann.messages)
    mine = ann.post("/login", {"phone": PHONE})
    assert (mine.status_code, len(ann.messages)) == (202, sent + 1)
    assert ann.prove(mine).status_code == 200


def spare(host: Host, number: int, email: str, client: Any) -> str:
    """Make an account of a phone of one's own with somebody's e-mail address beside it; give the phone."""
    phone = f"+97250846{number:04}"
    asked = host.post("/register", {"username": f"eve{number}", "password": PASSWORD, "phone": phone, "email": email})
    assert answers(host, asked, host.code, client).status_code == 200
    return phone


def by_email(host: Host, phone: str, client: Any, times: int) -> list[int]:
    """Log in with that account, and ask for codes to the address beside its phone."""
    host.clock.advance(61)
    challenge = host.post("/login", {"identifier": phone, "password": PASSWORD}, client=client)
    body = {"challenge_id": challenge.json["challenge_id"], "channel": "email"}
    statuses = []
    for _ in range(times):
        host.clock.advance(61)
        statuses.append(host.post("/resend-otp", body, client=client).status_code)
    return statuses


def test_an_address_named_beside_ones_own_keeps_its_owner_from_no_code(host: Hosts) -> None:
    ann = host(ACCESS_LIFETIME=3600, SEND_IP_LIMITS="900 per hour")
    owner = ann.app.test_client()
    asked = ann.post("/register", {"username": "ann", "password": PASSWORD, "email": EMAIL})
    tokens = answers(ann, asked, ann.code, owner).json["access_token"]
    ann.clock.advance(901)
    before = sum(one.to == EMAIL for one in ann.messages)
    for number in range(2):
        # A known client of his own account, and of nobody else's.
        client = ann.app.test_client()
        assert by_email(ann, spare(ann, number, EMAIL, client), client, times=2) == [202, 202]
    assert sum(one.to == EMAIL for one in ann.messages) == before
    assert ann.post("/step-up", {}, token=tokens, client=owner).status_code == 202
    ann.clock.advance(6)
    assert ann.post("/login", {"identifier": "ann", "password": PASSWORD}, client=owner).status_code == 200


def test_an_address_named_beside_ones_own_gets_no_code_and_the_one_before_is_void(host: Hosts) -> None:
    ann = host(SEND_IP_LIMITS="900 per hour")
    asked = ann.post("/register", {"username": "ann", "password": PASSWORD, "email": EMAIL})
    assert answers(ann, asked, ann.code).status_code == 200
    ann.clock.advance(901)
    client = ann.app.test_client()
    phone = spare(ann, 1, EMAIL, client)
    ann.clock.advance(61)
    challenge = ann.post("/login", {"identifier": phone, "password": PASSWORD}, client=client)
    assert challenge.json["methods"] == ["sms", "email"]
    before, sent = ann.code, len(ann.messages)
    body = {"challenge_id": challenge.json["challenge_id"]}
    for named in ({"channel": "email"}, {}):
        ann.clock.advance(61)
        again = ann.post("/resend-otp", {**body, **named}, client=client)
        assert (again.status_code, again.json["channel"]) == (202, "email")
    assert len(ann.messages) == sent
    # As it would be if the address were his own: the new code counts, and the old one doesn't.
    assert answers(ann, challenge, before, client).json["code"] == "otp_invalid"
    ann.clock.advance(61)
    ann.post("/resend-otp", {**body, "channel": "sms"}, client=client)
    assert answers(ann, challenge, ann.code, client).status_code == 200


def test_messages_to_an_address_named_beside_ones_own_tell_nothing_of_it(host: Hosts) -> None:
    ann = host(SEND_IP_LIMITS="900 per hour")
    asked = ann.post("/register", {"username": "ann", "password": PASSWORD, "email": EMAIL})
    assert answers(ann, asked, ann.code).status_code == 200
    ann.clock.advance(901)
    seen = []
    for number, email in enumerate((EMAIL, "nobody@example.org")):
        client, stranger = ann.app.test_client(), ann.app.test_client()
        phone = spare(ann, number, email, client)
        # What an address that nobody has is sent, a taken one isn't.
        waiting = ann.post("/register", {"username": "new", "password": PASSWORD, "email": email}, client=stranger)
        for _ in range(2):
            ann.clock.advance(61)
            ann.post("/resend-otp", {"challenge_id": waiting.json["challenge_id"]}, client=stranger)
        seen.append(by_email(ann, phone, client, times=4))
    assert seen == [[202, 202, 202, 429]] * 2


def test_a_failing_gateway_tells_nothing_of_an_address_named_beside_ones_own(host: Hosts) -> None:
    ann = host()
    client = ann.app.test_client()
    phone = spare(ann, 1, EMAIL, client)

    def down(_: Any) -> None:
        raise OSError("down")

    service = ann.app.extensions["otpauth"]
    service.courier._captures = ()
    service.courier.register("sms", lambda _: None)
    service.courier.register("email", down)
    assert by_email(ann, phone, client, times=1) == [202]


@pytest.mark.parametrize("new", [True, False], ids=["a new browser", "his own"])
def test_an_owners_login_shows_to_nobody_elsewhere(host: Hosts, new: bool) -> None:
    ann = host(FIRST_FACTOR="otp")
    ann.prove(ann.register())
    ann.clock.advance(901)
    body = {"identifier": PHONE}
    assert ann.post("/login", body, client=ann.app.test_client() if new else None).status_code == 202
    stranger = ann.app.test_client()
    seen = []
    for who in (PHONE, OTHER_PHONE):
        statuses = []
        for _ in range(4):
            answer = stranger.post(
                "/auth/login", json={"identifier": who}, environ_base={"REMOTE_ADDR": "198.51.100.7"}
            )
            statuses.append(answer.status_code)
            ann.clock.advance(61)
        seen.append(statuses)
        ann.clock.advance(901)
    assert seen == [[202, 202, 202, 429]] * 2


def test_requests_from_many_places_are_one_message_per_cooldown(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp")
    ann.prove(ann.register())
    ann.clock.advance(901)
    before = len(ann.messages)
    for name in ("ann", PHONE):
        for number in range(3):
            client, place = ann.app.test_client(), {"REMOTE_ADDR": f"198.51.100.{number}"}
            assert client.post("/auth/login", json={"identifier": name}, environ_base=place).status_code == 202
    assert len(ann.messages) == before + 1


def test_addresses_of_one_network_are_one_caller(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp")
    client = ann.app.test_client()
    statuses = [
        client.post("/auth/login", json={"identifier": PHONE}, environ_base={"REMOTE_ADDR": place}).status_code
        for place in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1")
    ]
    assert statuses == [202, 429, 202]


def test_a_right_code_for_a_session_that_is_over_counts_for_nothing(host: Hosts) -> None:
    ann = host(ACCOUNT_LIMITS="1 per 15 minutes; 60 per 30 days")
    tokens = ann.prove(ann.register()).json
    other = ann.app.test_client()
    ann.clock.advance(61)
    asked = ann.post("/step-up", {}, token=tokens["access_token"], client=other)
    code = ann.code
    assert ann.post("/logout", token=tokens["access_token"], client=other).status_code == 204
    for _ in range(2):
        assert answers(ann, asked, code, other).json["code"] == "challenge_invalid"
    ann.client.delete_cookie("otpauth_client")
    assert ann.prove(ann.login()).status_code == 200


def stored(host: Host, **fields: Any) -> None:
    """Store a user as the host itself might."""
    service = host.app.extensions["otpauth"]
    password_hash = service.login._parts.passwords.hash(PASSWORD)
    with host.app.app_context():
        service.users.add(NewAccount(username="ann", password_hash=password_hash, **fields))


@pytest.mark.parametrize("number", ["+19002345678", "+881612345678", "+1800FLOWERS", "+97250846433;x=5"])
def test_a_number_that_nobody_may_register_is_not_sent_to(host: Hosts, number: str) -> None:
    ann = host()
    stored(ann, phone=number, phone_verified=True)
    refused = ann.login()
    assert (refused.status_code, refused.json["code"]) == (403, "no_method")
    assert ann.messages == []


@pytest.mark.parametrize("number", ["+19002345678", "+881612345678"])
def test_a_number_that_nobody_may_register_gets_no_passwordless_code(host: Hosts, number: str) -> None:
    ann = host(FIRST_FACTOR="otp")
    stored(ann, phone=number, phone_verified=True)
    for name in ("ann", number):
        # As if nobody had it.
        assert ann.post("/login", {"identifier": name}).status_code == 202
    assert ann.messages == []


def test_an_address_beside_a_number_that_nobody_may_register_gets_the_code(host: Hosts) -> None:
    ann = host(CHANNELS=("sms", "email"))
    stored(ann, phone="+881612345678", phone_verified=True, email=EMAIL, email_verified=True)
    answer = ann.login()
    assert (answer.status_code, answer.json["methods"]) == (200, ["email"])
    assert [one.to for one in ann.messages] == [EMAIL]


class Meanwhile(Passwords):
    """Hashes, and does something else before the hash is stored."""

    def __init__(self, settings: Settings, work: Callable[[], None]) -> None:
        super().__init__(settings, names=())
        self._work = work

    @override
    def hash(self, password: str) -> str:
        hashed = super().hash(password)
        self._work()
        return hashed


def test_a_hash_made_anew_at_login_undoes_no_password_change(host: Hosts) -> None:
    ann = host(SECOND_FACTOR="never")
    ann.prove(ann.register())
    service = ann.app.extensions["otpauth"]
    users, login = service.users, service.login
    account = users.by_identifier(Identifier(kind=Kind.USERNAME, value="ann"))
    settings = replace(service.settings, bcrypt_rounds=5)
    with ann.app.app_context():
        passwords = Meanwhile(settings, lambda: users.set_password(account.id, "changed"))
        login._parts = replace(login._parts, passwords=passwords)
        assert ann.login().status_code == 200
        assert users.by_id(account.id).password_hash == "changed"
