"""Each switch of the flows has a walk of its own over HTTP, from nothing to the protected view and out again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from flask_otpauth import OTPAuth
from flask_otpauth.testing import capture_messages

PASSWORD = "correct horse battery"
PHONE = "+972508464336"
EMAIL = "ann@example.org"

Host = Any


def test_confirm_then_log_in_with_password_and_code(host: Callable[..., Host]) -> None:
    ann = host()
    asked = ann.register()
    assert asked.status_code == 202
    assert asked.json["purpose"] == "confirm"
    assert asked.json["destination"].endswith("36")
    assert ann.post("/login", {"username": "ann", "password": PASSWORD}).status_code == 401

    registered = ann.prove(asked)
    assert registered.status_code == 200
    assert registered.json["user"]["phone"] == PHONE
    assert ann.get("/private", registered.json["access_token"]).json["hello"] == "ann"

    challenge = ann.login()
    assert (challenge.status_code, challenge.json["mfa_required"]) == (200, True)
    assert "access_token" not in challenge.json
    tokens = ann.prove(challenge)
    assert tokens.status_code == 200
    assert ann.get("/private", tokens.json["access_token"]).json["amr"] == ["pwd", "otp", "sms", "mfa"]
    assert ann.get("/auth/me", tokens.json["access_token"]).json["user"]["username"] == "ann"

    assert ann.post("/logout", token=tokens.json["access_token"]).status_code == 204
    assert ann.get("/private", tokens.json["access_token"]).status_code == 401
    assert ann.post("/refresh", token=tokens.json["refresh_token"]).status_code == 401


def test_confirm_without_login(host: Callable[..., Host]) -> None:
    ann = host(LOGIN_ON_CONFIRM=False)
    done = ann.prove(ann.register())
    assert done.status_code == 201
    assert set(done.json) == {"user"}
    assert ann.prove(ann.login()).status_code == 200


def test_login_code(host: Callable[..., Host]) -> None:
    ann = host(REGISTRATION="login-code")
    asked = ann.register()
    assert (asked.status_code, asked.json["purpose"]) == (202, "login")
    assert ann.prove(asked).status_code == 200
    assert ann.register(username="eve").status_code == 409


def test_open(host: Callable[..., Host]) -> None:
    ann = host(REGISTRATION="open")
    done = ann.register()
    assert done.status_code == 201
    assert done.json["user"]["username"] == "ann"
    assert ann.messages == []
    assert ann.register(username="eve").json["code"] == "identifier_taken"
    assert ann.prove(ann.login()).status_code == 200


def test_closed(host: Callable[..., Host]) -> None:
    assert host(REGISTRATION="closed").register().status_code == 404


def test_second_factor_never(host: Callable[..., Host]) -> None:
    ann = host(REGISTRATION="open", SECOND_FACTOR="never")
    ann.register()
    tokens = ann.login()
    assert tokens.status_code == 200
    token = tokens.json["access_token"]
    assert ann.get("/auth/me", token).status_code == 200
    refused = ann.get("/private", token)
    assert (refused.status_code, refused.json["code"]) == (401, "insufficient_user_authentication")
    stepped = ann.post("/step-up", {"password": PASSWORD}, token)
    assert stepped.status_code == 200


def test_second_factor_opt_in(host: Callable[..., Host]) -> None:
    ann = host(REGISTRATION="open", SECOND_FACTOR="opt-in")
    ann.register()
    tokens = ann.login()
    assert "access_token" in tokens.json
    with ann.app.app_context():
        service = ann.app.extensions["otpauth"]
        service.users.set_mfa(tokens.json["user"]["id"], True)
    challenge = ann.login()
    assert challenge.json["mfa_required"] is True
    assert ann.prove(challenge).status_code == 200


def test_second_factor_by_a_callable(host: Callable[..., Host]) -> None:
    ann = host(REGISTRATION="open", SECOND_FACTOR=lambda user: user.username == "ann")
    ann.register()
    ann.register(username="bob", phone="+972508464337")
    assert "challenge_id" in ann.login().json
    assert "access_token" in ann.login(identifier="bob").json


def test_passwordless(host: Callable[..., Host]) -> None:
    ann = host(FIRST_FACTOR="otp")
    assert ann.prove(ann.register()).status_code == 200
    ann.clock.advance(61)
    asked = ann.post("/login", {"identifier": PHONE})
    assert asked.status_code == 202
    assert len(ann.code) == 8
    tokens = ann.prove(asked)
    assert tokens.status_code == 200
    assert ann.get("/private", tokens.json["access_token"]).json["amr"] == ["otp", "sms"]


def test_passwordless_by_identifier(host: Callable[..., Host]) -> None:
    ann = host(FIRST_FACTOR="otp", CHALLENGE_LOOKUP="identifier", REGISTRATION="login-code")
    assert ann.register().status_code == 202
    assert ann.post("/login", {"identifier": PHONE, "otp": ann.code}).status_code == 200
    ann.clock.advance(61)
    assert ann.post("/login", {"phone": PHONE}).status_code == 202
    assert ann.post("/login", {"phone": PHONE, "otp": "00000000"}).json["code"] == "otp_invalid"
    assert ann.post("/verify-otp", {"phone": PHONE, "otp": ann.code}).status_code == 200


def test_password_login_by_identifier(host: Callable[..., Host]) -> None:
    ann = host(CHALLENGE_LOOKUP="identifier")
    ann.prove(ann.register())
    ann.login()
    assert ann.post("/verify-otp", {"identifier": "ann", "otp": ann.code}).status_code == 200


def test_session_credentials(host: Callable[..., Host]) -> None:
    ann = host(CREDENTIALS="session")
    asked = ann.register()
    done = ann.post("/verify-otp", {"otp": ann.code})
    assert done.status_code == 200
    assert set(done.json) == {"user", "expires_in", "message"}
    assert "challenge_id" in asked.json
    assert ann.get("/private").status_code == 200
    cookie = ann.client.get_cookie("session")
    assert cookie is not None
    assert ann.post("/logout").status_code == 204
    assert ann.get("/private").status_code == 401
    ann.client.set_cookie("session", cookie.value)
    assert ann.get("/private").status_code == 401


def test_both_credentials_end_together(host: Callable[..., Host]) -> None:
    ann = host(CREDENTIALS=("jwt", "session"))
    tokens = ann.prove(ann.register())
    bare = type(ann)(ann.app, ann.clock, ann.messages)
    assert bare.get("/private", tokens.json["access_token"]).status_code == 200
    assert ann.get("/private").status_code == 200
    assert ann.post("/logout").status_code == 204
    assert bare.get("/private", tokens.json["access_token"]).status_code == 401


def test_email(host: Callable[..., Host]) -> None:
    ann = host(CHANNELS="email")
    asked = ann.post("/register", {"username": "ann", "password": PASSWORD, "email": EMAIL})
    assert asked.json["channel"] == "email"
    tokens = ann.prove(asked)
    assert ann.get("/private", tokens.json["access_token"]).json["amr"] == ["pwd", "otp", "mfa"]


def test_step_up(host: Callable[..., Host]) -> None:
    ann = host()
    tokens = ann.prove(ann.register()).json
    ann.clock.advance(400)
    refreshed = ann.post("/refresh", token=tokens["refresh_token"])
    assert refreshed.status_code == 200
    token = refreshed.json["access_token"]
    challenge = ann.post("/step-up", token=token)
    assert (challenge.status_code, challenge.json["purpose"]) == (202, "step_up")
    stepped = ann.prove(challenge)
    assert stepped.status_code == 200
    assert ann.get("/private", stepped.json["access_token"]).status_code == 200


def test_refresh_rotates_and_reuse_ends_the_session(host: Callable[..., Host]) -> None:
    ann = host()
    first = ann.prove(ann.register()).json
    second = ann.post("/refresh", token=first["refresh_token"]).json
    assert ann.post("/refresh", token=first["refresh_token"]).status_code == 401
    assert ann.get("/private", second["access_token"]).status_code == 200
    ann.clock.advance(11)
    assert ann.post("/refresh", token=first["refresh_token"]).status_code == 401
    assert ann.get("/private", second["access_token"]).status_code == 401
    assert ann.post("/refresh", token=second["refresh_token"]).status_code == 401


def test_resend_replaces_the_code(host: Callable[..., Host]) -> None:
    ann = host()
    asked = ann.register()
    early = ann.post("/resend-otp", {"challenge_id": asked.json["challenge_id"]})
    assert (early.status_code, early.json["code"]) == (429, "rate_limited")
    assert early.json["resend_at"] == asked.json["resend_at"]
    first = ann.code
    ann.clock.advance(61)
    again = ann.post("/resend-otp", {"challenge_id": asked.json["challenge_id"]})
    assert again.status_code == 202
    assert again.json["challenge_id"] == asked.json["challenge_id"]
    assert again.json["expires_at"] > asked.json["expires_at"]
    wrong = ann.post("/verify-otp", {"challenge_id": asked.json["challenge_id"], "otp": first})
    assert wrong.json["code"] == "otp_invalid" or first == ann.code
    assert ann.prove(asked).status_code == 200


def test_an_expired_code_is_told_and_replaced(host: Callable[..., Host]) -> None:
    ann = host()
    asked = ann.register()
    ann.clock.advance(300)
    assert ann.prove(asked).json["code"] == "otp_expired"
    assert ann.post("/resend-otp", {"challenge_id": asked.json["challenge_id"]}).status_code == 202
    assert ann.prove(asked).status_code == 200


def test_restart_replaces_no_expired_code(host: Callable[..., Host]) -> None:
    ann = host(ON_EXPIRY="restart")
    asked = ann.register()
    ann.clock.advance(300)
    assert ann.post("/resend-otp", {"challenge_id": asked.json["challenge_id"]}).json["code"] == "challenge_invalid"


def test_wrong_codes_use_the_challenge_up(host: Callable[..., Host]) -> None:
    ann = host()
    asked = ann.register()
    wrong = "000000" if ann.code != "000000" else "111111"
    left = [
        ann.post("/verify-otp", {"challenge_id": asked.json["challenge_id"], "otp": wrong}).json.get("attempts_left")
        for _ in range(6)
    ]
    assert left == [4, 3, 2, 1, 0, None]
    assert ann.prove(asked).json["code"] == "challenge_invalid"


def test_seventy_logins_in_a_month_lock_nobody_out(host: Callable[..., Host]) -> None:
    ann = host(LOGIN_IP_LIMITS="1000 per hour", SEND_IP_LIMITS="1000 per hour", VERIFY_IP_LIMITS="1000 per hour")
    ann.prove(ann.register())
    for _ in range(70):
        ann.clock.advance(10 * 3600)
        assert ann.prove(ann.login()).status_code == 200


def test_a_code_is_good_once(host: Callable[..., Host]) -> None:
    ann = host()
    asked = ann.register()
    assert ann.prove(asked).status_code == 200
    assert ann.prove(asked).json["code"] == "challenge_invalid"


def test_a_taken_address_is_answered_like_a_free_one(host: Callable[..., Host]) -> None:
    ann = host()
    ann.prove(ann.register())
    ann.clock.advance(61)
    taken = ann.register(username="eve")
    assert (taken.status_code, set(taken.json)) == (202, set(ann.register(username="eve", phone="+972508464337").json))
    assert ann.messages[-2].code is None
    assert ann.messages[-2].to == PHONE


def test_field_names_are_mapped_both_ways(host: Callable[..., Host]) -> None:
    ann = host(FIELD_NAMES={"phone": "mobile_number", "challenge_id": "session_id"})
    assert ann.register().json["errors"]
    asked = ann.post("/register", {"username": "ann", "password": PASSWORD, "mobile_number": PHONE})
    done = ann.post("/verify-otp", {"session_id": asked.json["session_id"], "otp": ann.code})
    assert done.json["user"]["mobile_number"] == PHONE


def test_routes_are_renamed_and_switched_off(host: Callable[..., Host]) -> None:
    ann = host(ROUTES={"register": "/signup", "inbox": False})
    assert ann.client.post("/signup", json={}).status_code == 400
    assert ann.client.post("/auth/register", json={}).status_code == 404
    assert ann.client.get("/auth/inbox").status_code == 404


def test_a_shaper_gives_the_answer_its_form(make_app: Callable[..., Flask]) -> None:
    app = make_app()
    auth = OTPAuth(app)

    @auth.response_shaper
    def shape(answer: Any) -> Any:
        return replace(answer, body={"wrapped": answer.body}, status=299) if answer.endpoint == "health" else None

    response = app.test_client().get("/auth/health")
    assert (response.status_code, response.json) == (299, {"wrapped": {"status": "ok"}})


def test_the_host_begins_a_login_itself(make_app: Callable[..., Flask], clock: Any) -> None:
    app = make_app(OTPAUTH_REGISTRATION="open")
    auth = OTPAuth(app, clock=clock)

    @app.post("/oauth")
    def oauth() -> Any:
        return auth.login(app.extensions["otpauth"].users.load("1"), amr=("oauth",))

    with capture_messages(app) as messages:
        client: FlaskClient = app.test_client()
        client.post("/auth/register", json={"username": "ann", "password": PASSWORD, "phone": PHONE})
        challenge = client.post("/oauth")
        assert challenge.json is not None
        done = client.post(
            "/auth/verify-otp", json={"challenge_id": challenge.json["challenge_id"], "otp": messages[-1].code}
        )
        assert done.status_code == 200
