"""What the flows refuse, and what their budgets, races and hooks do to people who mean well."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_otpauth import OTPAuth, signals
from flask_otpauth.testing import capture_messages

pytestmark = pytest.mark.core

PASSWORD = "correct horse battery"
PHONE, OTHER_PHONE, EMAIL = "+972508464336", "+972508464337", "ann@example.org"

Host = Any
Hosts = Callable[..., Host]


def answers(host: Host, challenge: Any, otp: str, client: Any = None) -> Any:
    return host.post("/verify-otp", {"challenge_id": challenge.json["challenge_id"], "otp": otp}, client=client)


def wrong(host: Host) -> str:
    return "0" * len(host.code) if host.code != "0" * len(host.code) else "1" * len(host.code)


def user_row(host: Host, **changes: Any) -> Any:
    """Change a column of ann's row as the host would; give the row."""
    db = host.app.extensions["sqlalchemy"]
    with host.app.app_context():
        user = host.app.extensions["otpauth"].users.load("1")
        for name, value in changes.items():
            setattr(user, name, value)
        db.session.commit()
        found = dict(db.session.execute(sa.text("SELECT * FROM users WHERE id = 1")).mappings().one())
        db.session.remove()
        db.engine.dispose()
    return found


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_wrong_codes_lock_strangers_out_and_known_clients_go_on(host: Hosts) -> None:
    ann = host(LIVE_CHALLENGES=6, SEND_LIMITS="90 per day")
    ann.prove(ann.register())
    stranger = ann.app.test_client()
    statuses: list[int] = []
    for _ in range(3):
        ann.clock.advance(61)
        challenge = ann.post("/login", {"username": "ann", "password": PASSWORD}, client=stranger)
        bad = wrong(ann)
        statuses += [answers(ann, challenge, bad, stranger).status_code for _ in range(4)]
    assert statuses == [401] * 10 + [429] * 2
    ann.clock.advance(6)
    challenge = ann.post("/login", {"username": "ann", "password": PASSWORD}, client=ann.app.test_client())
    ann.clock.advance(6)
    # Of wrong codes after the right password, and of the lock.
    assert [one.purpose for one in ann.messages if one.code is None] == ["notice", "notice"]
    assert ann.messages[-2].code is None
    assert ann.messages[-2].to == PHONE
    refused = answers(ann, challenge, ann.code, stranger)
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) == refused.json["retry_after"]
    challenge = ann.post("/login", {"username": "ann", "password": PASSWORD})
    assert ann.prove(challenge).status_code == 200


def test_a_lock_ends_with_its_window(host: Hosts) -> None:
    ann = host(ACCOUNT_LIMITS="3 per 15 minutes; 60 per 30 days")
    ann.prove(ann.register())
    ann.client.delete_cookie("otpauth_client")
    challenge = ann.login()
    assert [answers(ann, challenge, wrong(ann)).status_code for _ in range(4)] == [401, 401, 401, 429]
    ann.clock.advance(901)
    assert ann.prove(ann.login()).status_code == 200


def test_wrong_passwords_lock_the_identifier_from_this_address(host: Hosts) -> None:
    ann = host()
    ann.prove(ann.register())
    for name in ("ann", "nobody"):
        body = {"identifier": name, "password": "wrong password"}
        assert [ann.post("/login", body).status_code for _ in range(6)] == [401] * 5 + [429]
    assert ann.post("/login", {"identifier": "ann", "password": PASSWORD}).status_code == 429
    ann.clock.advance(901)
    assert ann.prove(ann.login()).status_code == 200


def test_right_passwords_never_use_the_budget_of_wrong_ones(host: Hosts) -> None:
    ann = host(SECOND_FACTOR="never", REGISTRATION="open")
    ann.register()
    assert [ann.login().status_code for _ in range(12)] == [200] * 12


def test_an_account_is_locked_under_all_its_names_without_saying_so(host: Hosts) -> None:
    ann = host(LOGIN_ACCOUNT_LIMITS="3 per day", LOGIN_LIMITS="100 per day", SECOND_FACTOR="never", REGISTRATION="open")
    ann.register()
    ann.client.delete_cookie("otpauth_client")
    for _ in range(3):
        ann.post("/login", {"identifier": "ann", "password": "wrong password"})
    assert ann.post("/login", {"identifier": PHONE, "password": PASSWORD}).status_code == 401


def test_a_double_tap_is_one_message(host: Hosts) -> None:
    ann = host()
    ann.prove(ann.register())
    first = ann.login()
    count = len(ann.messages)
    again = ann.post("/login", {"identifier": "ann", "password": PASSWORD})
    assert (again.status_code, len(ann.messages)) == (429, count)
    assert ann.prove(first).status_code == 200
    assert ann.post("/login", {"identifier": "ann", "password": PASSWORD}).status_code == 200


def test_messages_to_a_destination_are_counted_over_all_purposes(host: Hosts) -> None:
    ann = host()
    ann.prove(ann.register())
    statuses = [ann.prove(ann.login()).status_code for _ in range(4)]
    refused = ann.login()
    assert statuses == [200] * 4
    assert (refused.status_code, refused.json["code"]) == (429, "rate_limited")
    ann.clock.advance(600)
    assert ann.login().status_code == 200


def test_a_fourth_live_challenge_sends_nothing_and_voids_nothing(host: Hosts) -> None:
    ann = host(SEND_LIMITS="90 per day")
    ann.prove(ann.register())
    first = ann.login()
    code = ann.code
    ann.login()
    ann.login()
    sent = len(ann.messages)
    fourth = ann.login()
    assert (fourth.status_code, set(fourth.json)) == (200, set(first.json))
    assert len(ann.messages) == sent
    assert answers(ann, first, code).status_code == 200
    resend = ann.post("/resend-otp", {"challenge_id": fourth.json["challenge_id"]})
    assert resend.status_code in {202, 429}
    assert len(ann.messages) == sent


def test_the_budget_of_the_whole_app(host: Hosts) -> None:
    ann = host(SEND_TOTAL="1 per hour")
    heard: list[str] = []

    def hear(sender: Any, event: Any, **_: Any) -> None:
        heard.append(event.name)

    signals.sms_pumping_suspected.connect(hear, ann.app)
    assert ann.register().status_code == 202
    assert ann.register(username="bob", phone=OTHER_PHONE).status_code == 202
    assert len(ann.messages) == 1
    assert heard == ["sms_pumping_suspected"]


def test_a_notice_is_no_message_with_a_code(host: Hosts) -> None:
    ann = host(SEND_TOTAL="1 per hour")
    ann.prove(ann.register())
    ann.clock.advance(61)
    # The budget is spent; the owner is told of the stranger who names the taken number all the same.
    assert ann.register(username="eve").status_code == 202
    assert [message.code is None for message in ann.messages] == [False, True]


def test_anonymous_requests_have_a_cooldown_known_or_not(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp")
    ann.prove(ann.register())
    ann.clock.advance(61)
    for number in (PHONE, OTHER_PHONE):
        assert ann.post("/login", {"phone": number}).status_code == 202
        early = ann.post("/login", {"phone": number})
        assert (early.status_code, early.json["retry_after"]) == (429, 60)
        assert early.json["resend_at"]


# --- what can't be told apart -----------------------------------------------------------------------------------------


def test_unknown_names_are_answered_like_known_ones(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp")
    ann.prove(ann.register())
    for known, unknown in ((PHONE, OTHER_PHONE), ("ann", "nobody")):
        ann.clock.advance(900)
        pair = [ann.post("/login", {"identifier": name}) for name in (known, unknown)]
        assert pair[0].status_code == pair[1].status_code == 202
        assert set(pair[0].json) == set(pair[1].json)
        same = ("channel", "methods", "purpose", "message", "attempts_left", "expires_in", "resend_in")
        assert [pair[0].json[name] for name in same] == [pair[1].json[name] for name in same]
        assert [one.json["destination"] is None for one in pair] == [known == "ann"] * 2
        tries = [[answers(ann, one, "11111111").json for _ in range(6)] for one in pair]
        assert tries[0] == tries[1]


def test_a_resend_for_an_unknown_name_is_answered_alike(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", CHALLENGE_LOOKUP="identifier")
    ann.prove(ann.register())
    ann.clock.advance(61)
    pair = [ann.post("/login", {"phone": number}) for number in (PHONE, OTHER_PHONE)]
    ann.clock.advance(61)
    sent = len(ann.messages)
    again = [ann.post("/resend-otp", {"challenge_id": one.json["challenge_id"]}) for one in pair]
    assert again[0].status_code == again[1].status_code == 202
    assert set(again[0].json) == set(again[1].json)
    assert len(ann.messages) == sent + 1
    ann.clock.advance(61)
    asked = [ann.post("/resend-otp", {"phone": number}).status_code for number in (PHONE, OTHER_PHONE)]
    assert asked == [202, 202]


def test_a_resend_by_identifier_renews_no_login_that_followed_a_password(host: Hosts) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier")
    ann.prove(ann.register())
    ann.login()
    ann.clock.advance(61)
    sent = len(ann.messages)
    assert ann.post("/resend-otp", {"identifier": "ann"}).status_code == 202
    assert len(ann.messages) == sent


def test_nothing_to_answer_by_identifier(host: Hosts) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier")
    ann.prove(ann.register())
    for name in ("ann", "nobody", EMAIL):
        assert ann.post("/verify-otp", {"identifier": name, "otp": "123456"}).json["code"] == "challenge_invalid"
    ann.login()
    ann.clock.advance(300)
    assert ann.post("/verify-otp", {"identifier": "ann", "otp": ann.code}).json["code"] == "otp_expired"


def test_a_failing_gateway_is_not_told_to_anonymous_callers(make_app: Callable[..., Flask], clock: Any) -> None:
    app = make_app()

    def broken(message: Any) -> None:
        raise OSError("down")

    OTPAuth(app, clock=clock, sms=broken)
    body = {"username": "ann", "password": PASSWORD, "phone": PHONE}
    asked = app.test_client().post("/auth/register", json=body)
    assert asked.status_code == 202


def test_a_lock_of_the_account_is_not_told_under_another_name(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", ACCOUNT_LIMITS="3 per day")
    ann.prove(ann.register())
    ann.client.delete_cookie("otpauth_client")
    ann.clock.advance(900)
    challenge = ann.post("/login", {"identifier": "ann"})
    for _ in range(3):
        answers(ann, challenge, "11111111")
    ann.clock.advance(61)
    challenge = ann.post("/login", {"phone": PHONE})
    assert ann.prove(challenge).json["code"] == "otp_invalid"


# --- people and their addresses ---------------------------------------------------------------------------------------


def test_without_an_address_there_is_no_method(host: Hosts) -> None:
    ann = host(REGISTRATION="open", REGISTER_FIELDS=("username", "password"))
    assert ann.post("/register", {"username": "ann", "password": PASSWORD}).status_code == 201
    refused = ann.login()
    assert (refused.status_code, refused.json["code"]) == (403, "no_method")


def test_an_unproved_address_gets_no_step_up(host: Hosts) -> None:
    ann = host(REGISTRATION="open", SECOND_FACTOR="never")
    ann.register()
    token = ann.login().json["access_token"]
    assert ann.post("/step-up", {}, token).json["code"] == "no_method"


def test_a_step_up_wants_a_method_that_the_user_has(host: Hosts) -> None:
    ann = host()
    token = ann.prove(ann.register()).json["access_token"]
    refused = ann.post("/step-up", {"method": "email"}, token)
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (400, "method")
    assert ann.post("/step-up", {"method": "sms"}, token).status_code == 202


def test_a_password_is_no_step_up_beside_a_second_factor(host: Hosts) -> None:
    ann = host()
    token = ann.prove(ann.register()).json["access_token"]
    assert ann.post("/step-up", {"password": PASSWORD}, token).json["code"] == "insufficient_user_authentication"


def test_a_wrong_password_is_no_step_up(host: Hosts) -> None:
    ann = host(REGISTRATION="open", SECOND_FACTOR="never")
    ann.register()
    token = ann.login().json["access_token"]
    tries = [ann.post("/step-up", {"password": "wrong password"}, token).status_code for _ in range(6)]
    assert tries == [401] * 5 + [429]


def test_a_step_up_of_a_session_that_ended_is_gone(host: Hosts) -> None:
    ann = host()
    tokens = ann.prove(ann.register()).json
    challenge = ann.post("/step-up", {}, tokens["access_token"])
    ann.post("/logout", token=tokens["access_token"])
    assert ann.prove(challenge).json["code"] == "challenge_invalid"


def test_another_channel_at_a_resend(host: Hosts) -> None:
    ann = host()
    ann.prove(ann.register(email=EMAIL))
    challenge = ann.login()
    assert challenge.json["methods"] == ["sms", "email"]
    named = {"challenge_id": challenge.json["challenge_id"]}
    assert ann.post("/resend-otp", {**named, "channel": "email"}).status_code == 429
    for wait in (0, 61):
        ann.clock.advance(wait)
        refused = ann.post("/resend-otp", {**named, "channel": "pigeon"})
        assert (refused.status_code, refused.json["code"]) == (400, "validation_failed")
        assert refused.json["errors"][0]["field"] == "channel"
    again = ann.post("/resend-otp", {**named, "channel": "email"})
    assert (again.json["channel"], ann.messages[-1].to) == ("email", EMAIL)
    assert ann.prove(challenge).status_code == 200


def test_a_code_is_void_once_the_address_has_changed(host: Hosts) -> None:
    ann = host()
    ann.prove(ann.register())
    challenge = ann.login()
    user_row(ann, phone=OTHER_PHONE)
    assert ann.prove(challenge).json["code"] == "challenge_invalid"


def test_a_disabled_user_gets_in_nowhere(host: Hosts) -> None:
    ann = host()
    tokens = ann.prove(ann.register()).json
    challenge = ann.login()
    user_row(ann, active=False)
    assert ann.prove(challenge).json["code"] == "challenge_invalid"
    assert ann.login().json["code"] == "invalid_credentials"
    assert ann.post("/refresh", token=tokens["refresh_token"]).status_code == 401
    assert ann.post("/step-up", {}, tokens["access_token"]).status_code == 401


def test_the_first_to_prove_a_name_wins_and_the_other_is_told(host: Hosts) -> None:
    ann = host()
    mine = ann.register()
    code = ann.code
    theirs = ann.register(phone=OTHER_PHONE)
    assert ann.prove(theirs).status_code == 200
    refused = answers(ann, mine, code)
    assert (refused.status_code, refused.json["code"]) == (409, "identifier_taken")


def test_an_owner_adopts_an_address_without_what_a_squatter_set(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", REGISTRATION="login-code")
    ann.register(username="squatter", password="the squatter's own")
    assert user_row(ann)["password_hash"]
    ann.clock.advance(901)
    assert ann.prove(ann.post("/login", {"phone": PHONE})).status_code == 200
    assert not user_row(ann)["password_hash"]


def test_who_registered_himself_keeps_his_password(host: Hosts) -> None:
    ann = host(REGISTRATION="login-code")
    ann.prove(ann.register())
    assert user_row(ann)["password_hash"]


def test_a_taken_address_is_hidden_where_a_code_proves_it(host: Hosts) -> None:
    ann = host(FIRST_FACTOR="otp", REGISTRATION="login-code")
    ann.prove(ann.register())
    ann.clock.advance(61)
    taken = ann.post("/register", {"username": "eve", "phone": PHONE})
    assert taken.status_code == 202
    assert ann.messages[-1].code is None
    assert answers(ann, taken, "12345678").json["code"] == "otp_invalid"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"phone": "12"}, "phone"),
        ({"username": "1ann"}, "username"),
        ({"password": "password"}, "password"),
        ({"password": "ann"}, "password"),
    ],
)
def test_fields_of_a_registration_are_checked(host: Hosts, fields: dict[str, str], field: str) -> None:
    refused = host().register(**fields)
    assert refused.status_code == 400
    assert [one["field"] for one in refused.json["errors"]] == [field]


def test_a_registration_needs_an_address_that_gets_codes(host: Hosts) -> None:
    ann = host(CHANNELS="email", REGISTER_FIELDS=("username", "password", "phone"))
    refused = ann.register()
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (400, "email")


def test_an_identifier_that_can_not_be_one_is_told(host: Hosts) -> None:
    refused = host().post("/login", {"email": "no address", "password": PASSWORD})
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (400, "email")


def test_a_kind_of_identifier_that_is_off_finds_nobody(host: Hosts) -> None:
    ann = host(IDENTIFIERS="username")
    ann.prove(ann.register())
    assert ann.login(identifier=PHONE).status_code == 401
    assert ann.login().status_code == 200


def test_hashes_of_the_host_are_replaced_at_the_first_login(host: Hosts) -> None:
    import bcrypt

    ann = host(SECOND_FACTOR="never", REGISTRATION="open")
    ann.register()
    old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    user_row(ann, password_hash=old)
    assert ann.login().status_code == 200
    assert user_row(ann)["password_hash"] != old
    assert ann.login().status_code == 200


# --- hooks of the host ------------------------------------------------------------------------------------------------


def test_handlers_that_raise_change_no_decision(host: Hosts) -> None:
    ann = host()

    def broken(sender: Any, **_: Any) -> None:
        raise RuntimeError("of the host")

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("of the host")

    for signal in (signals.otp_sent, signals.user_logged_in, signals.otp_failed):
        signal.connect(broken, ann.app)
    logger, handler = logging.getLogger("flask_otpauth"), Broken()
    logger.addHandler(handler)
    try:
        asked = ann.register()
        assert answers(ann, asked, wrong(ann)).status_code == 401
        assert ann.prove(asked).status_code == 200
    finally:
        logger.removeHandler(handler)


def test_signals_come_with_the_user(host: Hosts) -> None:
    ann, heard = host(), list[tuple[str, str | None]]()

    def hear(sender: Any, event: Any, user: Any) -> None:
        heard.append((event.name, user and user.username))

    for name in ("otp_sent", "otp_failed", "otp_verified", "user_registered", "user_logged_in", "user_logged_out"):
        getattr(signals, name).connect(hear, ann.app)
    asked = ann.register()
    answers(ann, asked, wrong(ann))
    tokens = ann.prove(asked).json
    ann.post("/logout", token=tokens["access_token"])
    assert heard == [
        ("otp_sent", None),
        ("otp_failed", None),
        ("otp_verified", "ann"),
        ("user_registered", "ann"),
        ("user_logged_in", "ann"),
        ("user_logged_out", "ann"),
    ]


def test_a_host_login_of_a_disabled_user_is_refused(make_app: Callable[..., Flask], clock: Any) -> None:
    app = make_app(OTPAUTH_REGISTRATION="open", OTPAUTH_SECOND_FACTOR="never")
    auth = OTPAuth(app, clock=clock)

    @app.post("/oauth")
    def oauth() -> Any:
        return auth.login(app.extensions["otpauth"].users.load("1"), amr=("oauth",))

    client = app.test_client()
    body = {"username": "ann", "password": PASSWORD, "phone": PHONE}
    with capture_messages(app):
        client.post("/auth/register", json=body)
    assert client.post("/oauth").status_code == 200
    db = app.extensions["sqlalchemy"]
    with app.app_context():
        app.extensions["otpauth"].users.load("1").active = False
        db.session.commit()
        db.session.remove()
        db.engine.dispose()
    assert client.post("/oauth").status_code == 401
