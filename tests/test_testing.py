"""What host apps get for their own tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify

from flask_otpauth import OTPAuth, otp_required
from flask_otpauth.testing import assert_no_enumeration, capture_messages, log_in
from flask_otpauth.types import Answer, Message

pytest_plugins = ["pytester"]

Maker = Callable[..., Flask]

PASSWORD = "correct horse battery"
ANN = {"username": "ann", "password": PASSWORD, "phone": "+972508464336"}


def host(make_app: Maker, **config: Any) -> Flask:
    app = make_app(**{f"OTPAUTH_{name.upper()}": value for name, value in {"registration": "open", **config}.items()})
    OTPAuth(app)

    @app.get("/private")
    @otp_required
    def private() -> dict[str, str]:
        return {"hello": "ann"}

    return app


def register(app: Flask, path: str = "/auth/register", **fields: str) -> None:
    assert app.test_client().post(path, json={**ANN, **fields}).status_code == 201


# --- capture_messages ---------------------------------------------------------------------------------------------


def test_the_code_of_a_login_is_in_the_list_when_the_request_has_returned(make_app: Maker) -> None:
    app = host(make_app)
    register(app)
    with capture_messages(app) as messages:
        asked = app.test_client().post("/auth/login", json={"username": "ann", "password": PASSWORD})
        [message] = messages
        proof = {"challenge_id": asked.get_json()["challenge_id"], "otp": message.code}
        assert app.test_client().post("/auth/verify-otp", json=proof).status_code == 200
    assert message.to == ANN["phone"]


def test_a_channel_without_a_sender_is_captured_outside_of_tests_too(make_app: Maker) -> None:
    app = make_app(TESTING=False, OTPAUTH_PHONE_REGION="IL", OTPAUTH_BCRYPT_ROUNDS=10)
    OTPAuth(app)
    with capture_messages(app) as messages:
        # Who registers is anonymous: outside of tests his message would be queued off the request.
        assert app.test_client().post("/auth/register", json=ANN).status_code == 202
        assert [message.channel for message in messages] == ["sms"]


def test_senders_of_the_app_get_nothing_while_messages_are_captured(make_app: Maker) -> None:
    app = make_app(OTPAUTH_REGISTRATION="open")
    auth = OTPAuth(app)
    sent: list[Message] = []
    auth.sms_sender(sent.append)
    register(app)
    with capture_messages(app) as messages:
        app.test_client().post("/auth/login", json={"username": "ann", "password": PASSWORD})
    assert (len(messages), len(sent)) == (1, 0)


def test_an_app_without_the_extension_is_told(make_app: Maker) -> None:
    with pytest.raises(RuntimeError, match="has no OTPAuth"), capture_messages(make_app()):
        pass


def test_a_courier_that_is_not_ours_is_told(make_app: Maker) -> None:
    app = host(make_app)
    app.extensions["otpauth"] = replace(app.extensions["otpauth"], courier=object())
    with pytest.raises(TypeError, match="can't be captured"), capture_messages(app):
        pass


# --- log_in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"credentials": "session"},
        {"credentials": ("jwt", "session")},
        {"challenge_lookup": "identifier"},
        {"field_names": {"username": "name", "otp": "code", "challenge_id": "session_id", "access_token": "token"}},
        {"routes": {"login": "/sign-in", "verify-otp": "/prove"}},
        {"api_prefix": "/api/v1"},
    ],
)
def test_a_login_gives_what_protected_views_want(make_app: Maker, config: dict[str, Any]) -> None:
    app = host(make_app, **config)
    path = f"{config.get('api_prefix', '/auth')}/register"
    fields = {"name": "ann"} if "field_names" in config else {}
    given = {**ANN, **fields}
    if fields:
        del given["username"]
    assert app.test_client().post(path, json=given).status_code == 201
    client = app.test_client()
    with capture_messages(app) as messages:
        headers = log_in(client, messages, username="ann", password=PASSWORD)
    assert ("Authorization" in headers) == (config.get("credentials") != "session")
    assert client.get("/private", headers=headers).status_code == 200
    assert app.test_client().get("/private").status_code == 401


def test_a_login_without_a_second_factor_needs_no_message(make_app: Maker) -> None:
    app = host(make_app, second_factor="never")
    register(app)
    with capture_messages(app) as messages:
        headers = log_in(app.test_client(), messages, username="ann", password=PASSWORD)
    assert messages == []
    assert app.test_client().get("/auth/me", headers=headers).status_code == 200


def test_a_passwordless_login(make_app: Maker, clock: Any) -> None:
    app = make_app(OTPAUTH_FIRST_FACTOR="otp", OTPAUTH_REGISTER_FIELDS=("username", "phone"))
    OTPAuth(app, clock=clock)
    with capture_messages(app) as messages:
        asked = app.test_client().post("/auth/register", json={"username": "ann", "phone": ANN["phone"]})
        proof = {"challenge_id": asked.get_json()["challenge_id"], "otp": messages[-1].code}
        assert app.test_client().post("/auth/verify-otp", json=proof).status_code == 200
        clock.advance(61)
        headers = log_in(app.test_client(), messages, phone=ANN["phone"])
    assert app.test_client().get("/auth/me", headers=headers).status_code == 200


def test_a_login_whose_code_goes_nowhere_is_told(make_app: Maker) -> None:
    app = host(make_app, registration="login-code", first_factor="otp", register_fields=("username", "phone"))
    with capture_messages(app) as messages, pytest.raises(AssertionError, match="sent none"):
        log_in(app.test_client(), messages, phone=ANN["phone"])


def test_a_browser_needs_no_id_of_the_challenge(make_app: Maker) -> None:
    app = make_app(OTPAUTH_REGISTRATION="open", OTPAUTH_CREDENTIALS="session")
    auth = OTPAuth(app)

    @auth.response_shaper
    def without_id(answer: Answer) -> None:
        answer.body.pop("challenge_id", None)

    register(app)
    client = app.test_client()
    with capture_messages(app) as messages:
        assert log_in(client, messages, username="ann", password=PASSWORD) == {}
    assert client.get("/auth/me").status_code == 200


def test_a_refused_login_is_told_with_the_answer(make_app: Maker) -> None:
    app = host(make_app)
    register(app)
    with capture_messages(app) as messages, pytest.raises(AssertionError, match="invalid_credentials"):
        log_in(app.test_client(), messages, username="ann", password="wrong horse battery")


def test_a_route_that_is_switched_off_is_told(make_app: Maker) -> None:
    app = host(make_app, routes={"login": False})
    with capture_messages(app) as messages, pytest.raises(AssertionError, match="login is switched off"):
        log_in(app.test_client(), messages, username="ann", password=PASSWORD)


# --- assert_no_enumeration ----------------------------------------------------------------------------------------


def answers(make_app: Maker, *made: Callable[[], Response]) -> list[Any]:
    app = make_app()
    for number, make in enumerate(made):
        app.add_url_rule(f"/{number}", str(number), make)
    return [app.test_client().get(f"/{number}") for number in range(len(made))]


def test_ids_times_and_masks_may_differ(make_app: Maker) -> None:
    def one() -> Response:
        answer = jsonify(
            challenge_id="a" * 43,
            expires_at="2026-11-20T10:00:00Z",
            expires_in=300,
            destination="a***@x.org",
            methods=["sms"],
        )
        answer.set_cookie("c", "one", max_age=60)
        return answer

    def other() -> Response:
        answer = jsonify(
            challenge_id="B_-" + "c" * 40,
            expires_at="2026-11-20T10:00:01Z",
            expires_in=299,
            destination="bb**@y.org",
            methods=["sms"],
        )
        answer.set_cookie("c", "other", max_age=60)
        return answer

    assert_no_enumeration(*answers(make_app, one, other))


@pytest.mark.parametrize(
    "other",
    [
        lambda: jsonify(message="sent", attempts_left=4),
        lambda: jsonify(message="sent"),
        lambda: jsonify(message="Sent", attempts_left=5),
        lambda: jsonify(message="sent", attempts_left="5"),
        lambda: jsonify(message="sent", attempts_left=5, user={"id": "1"}),
        lambda: jsonify(message=None, attempts_left=5),
        lambda: Response("sent"),
        lambda: Response('{"message": "sent", "attempts_left": 5}', 202, mimetype="application/json"),
        lambda: Response(
            '{"message": "sent", "attempts_left": 5}', mimetype="application/json", headers={"X-User": "1"}
        ),
        lambda: Response(
            '{"message": "sent", "attempts_left": 5}', mimetype="application/json", headers={"Set-Cookie": "known=1"}
        ),
    ],
)
def test_every_other_difference_is_told(make_app: Maker, other: Callable[[], Response]) -> None:
    first, second = answers(make_app, lambda: jsonify(message="sent", attempts_left=5), other)
    with pytest.raises(AssertionError, match="can be told apart"):
        assert_no_enumeration(first, second)


def test_cookies_are_compared_without_their_values(make_app: Maker) -> None:
    def cookie(**attributes: Any) -> Callable[[], Response]:
        def make() -> Response:
            answer = Response("")
            answer.set_cookie("c", str(id(attributes)), **attributes)
            return answer

        return make

    same, again, longer = answers(make_app, cookie(max_age=60), cookie(max_age=60), cookie(max_age=90))
    assert_no_enumeration(same, again)
    with pytest.raises(AssertionError):
        assert_no_enumeration(same, longer)


def test_further_fields_may_be_masked(make_app: Maker) -> None:
    first, second = answers(make_app, lambda: jsonify(sent_to="a***"), lambda: jsonify(sent_to="b***"))
    assert_no_enumeration(first, second, masked={"sent_to"})
    with pytest.raises(AssertionError):
        assert_no_enumeration(first, second)


def test_a_passwordless_login_tells_no_account_apart(make_app: Maker, clock: Any) -> None:
    app = make_app(OTPAUTH_FIRST_FACTOR="otp", OTPAUTH_REGISTER_FIELDS=("phone",))
    OTPAuth(app, clock=clock)
    with capture_messages(app) as messages:
        asked = app.test_client().post("/auth/register", json={"phone": ANN["phone"]})
        proof = {"challenge_id": asked.get_json()["challenge_id"], "otp": messages[-1].code}
        assert app.test_client().post("/auth/verify-otp", json=proof).status_code == 200
    clock.advance(61)
    known = app.test_client().post("/auth/login", json={"phone": ANN["phone"]})
    unknown = app.test_client().post("/auth/login", json={"phone": "+972508464337"})
    assert known.status_code == 202
    assert_no_enumeration(known, unknown)


# --- the plugin ---------------------------------------------------------------------------------------------------

CONFTEST = """
import pytest
from flask import Flask
from flask_otpauth import OTPAuth, otp_required

pytest_plugins = ["flask_otpauth.testing"]

@pytest.fixture
def app(tmp_path):
    app = Flask("host", instance_path=str(tmp_path))
    app.config.update(TESTING=True, SECRET_KEY="a key of the tests, long enough", OTPAUTH_BCRYPT_ROUNDS=4,
                      OTPAUTH_REGISTRATION="open")
    OTPAuth(app)

    @app.get("/private")
    @otp_required
    def private():
        return {"hello": "ann"}

    return app
"""

TESTS = """
ANN = {"username": "ann", "password": "correct horse battery", "phone": "+972508464336"}

def test_outbox(app, otp_outbox):
    client = app.test_client()
    client.post("/auth/register", json=ANN)
    client.post("/auth/login", json={"username": "ann", "password": ANN["password"]})
    assert len(otp_outbox[-1].code) == 6

def test_login(app, otp_login):
    client = app.test_client()
    client.post("/auth/register", json=ANN)
    headers = otp_login(client, username="ann", password=ANN["password"])
    assert client.get("/private", headers=headers).json == {"hello": "ann"}

def test_no_enumeration(app, assert_no_enumeration):
    client = app.test_client()
    client.post("/auth/register", json=ANN)
    known = client.post("/auth/login", json={"username": "ann", "password": "wrong horse battery"})
    unknown = client.post("/auth/login", json={"username": "eve", "password": "wrong horse battery"})
    assert_no_enumeration(known, unknown)
"""


def test_the_plugin_adds_its_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TESTS)
    outcome = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    outcome.assert_outcomes(passed=3)


def test_the_module_needs_no_pytest() -> None:
    program = "import sys; sys.modules['pytest'] = None; from flask_otpauth.testing import capture_messages"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent.parent, timeout=60)
