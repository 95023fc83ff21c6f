"""What protected views answer with, and who the current user is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from flask import abort, g, make_response, request
from flask import session as flask_session
from flask.testing import FlaskClient

from flask_otpauth.decorators import (
    answer_response,
    auth_required,
    current_session,
    current_user,
    otp_required,
    problem_response,
)
from flask_otpauth.errors import FieldError, IdentifierTaken, RateLimited, ValidationFailed, WrongCode
from flask_otpauth.types import Answer, Caller
from tests.memory_sessions import Desk, StillClock, desk, header

PROBLEM = "application/problem+json"


def who() -> dict[str, str]:
    return {"user": current_user.username, "session": current_session.id}


@pytest.fixture
def one() -> Desk:
    made = desk(OTPAUTH_SECOND_FACTOR="never")

    @made.app.get("/auth")
    @auth_required
    def auth() -> Any:
        return who()

    @made.app.route("/otp", methods=["GET", "POST"])
    @otp_required
    def otp() -> Any:
        return who()

    @made.app.get("/open")
    def anybody() -> Any:
        return {"user": current_user.username if current_user else None}

    @made.app.get("/login-by-cookie/<user_id>")
    def login_by_cookie(user_id: str) -> Any:
        account = made.users.by_id(user_id) or made.users.person(user_id)
        given = made.sessions.open(account, amr=("pwd", "otp"), code=True, caller=Caller(), kinds=("session",))
        flask_session["_otpauth"] = f"s.{given.cookie}"
        return "in"

    return made


@pytest.fixture
def client(one: Desk) -> FlaskClient:
    return one.app.test_client()


def weak(one: Desk) -> dict[str, str]:
    return one.bearer(amr=("pwd",), code=False)


# --- headers ---


def test_a_protected_answer_is_not_stored_unless_the_view_says_otherwise(one: Desk) -> None:
    @one.app.get("/cached")
    @auth_required
    def cached() -> Any:
        response = make_response("x")
        response.headers["Cache-Control"] = "private, max-age=60"
        response.headers["Vary"] = "Accept"
        return response

    @one.app.get("/missing")
    @auth_required
    def missing() -> Any:
        abort(404)

    client, bearer = one.app.test_client(), one.bearer()
    plain = client.get("/auth", headers=bearer)
    assert (plain.headers["Cache-Control"], plain.headers["Vary"]) == ("no-store", "Authorization, Cookie")
    said = client.get("/cached", headers=bearer)
    assert said.headers["Cache-Control"] == "private, max-age=60"
    assert set(said.vary) == {"Accept", "Authorization", "Cookie"}
    assert client.get("/missing", headers=bearer).headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in client.get("/open").headers


# --- answers ---


def test_problems_use_the_wire_names_of_the_app() -> None:
    one = desk(OTPAUTH_FIELD_NAMES={"phone": "mobile", "attempts_left": "tries", "otp": "code"})
    with one.app.test_request_context("/"):
        fields = problem_response(ValidationFailed([FieldError(field="mobile", message="Odd.")]), one)  # type: ignore[arg-type]
        wrong = problem_response(WrongCode(attempts_left=0), one)  # type: ignore[arg-type]
        taken = problem_response(IdentifierTaken("phone"), one)  # type: ignore[arg-type]
        limited = problem_response(RateLimited(7), one)  # type: ignore[arg-type]
    assert fields.get_json()["errors"] == [{"field": "mobile", "message": "Odd."}]
    assert (wrong.get_json()["tries"], wrong.get_json()["code"]) == (0, "otp_invalid")
    assert taken.status_code == 409
    assert taken.get_json()["errors"] == [{"field": "mobile", "message": "This phone is taken."}]
    assert (limited.headers["Retry-After"], limited.get_json()["retry_after"]) == ("7", 7)


def test_shapers_have_the_answer_one_after_the_other(one: Desk, client: FlaskClient) -> None:
    seen: list[Answer] = []

    def first(answer: Answer) -> Answer | None:
        seen.append(answer)
        if answer.status != 401:
            return None
        return replace(answer, body={"error": (answer.body or {})["code"]}, headers={**answer.headers, "X-Shaped": "1"})

    def second(answer: Answer) -> None:
        seen.append(answer)

    one.shapers += [first, second]
    answer = client.get("/auth")
    assert answer.get_json() == {"error": "authentication_required"}
    assert (answer.headers["X-Shaped"], answer.headers["WWW-Authenticate"]) == ("1", "Bearer")
    assert [one.endpoint for one in seen] == ["auth", "auth"]
    assert seen[1].body == {"error": "authentication_required"}


def test_an_answer_without_a_body_has_no_type(one: Desk) -> None:
    with one.app.test_request_context("/"):
        empty = answer_response(Answer(endpoint="logout", status=204, body=None), one)  # type: ignore[arg-type]
        full = answer_response(Answer(endpoint="me", status=200, body={"a": "é"}), one)  # type: ignore[arg-type]
    assert (empty.status_code, empty.data, "Content-Type" in empty.headers) == (204, b"", False)
    assert (full.get_json(), full.mimetype, full.headers["Cache-Control"]) == (
        {"a": "é"},
        "application/json",
        "no-store",
    )


# --- who it is ---


def test_nobody_is_as_good_as_none(one: Desk) -> None:
    assert not current_user
    assert not current_session
    with one.app.test_request_context("/"):
        for proxy in (current_user, current_session):
            assert not proxy
            assert proxy == None  # noqa: E711 - a proxy is equal to None, never identical with it
            with pytest.raises(AttributeError, match="nobody is logged in"):
                _ = proxy.username
            assert not hasattr(proxy, "id")


def test_an_unprotected_view_sees_who_is_there_and_no_more(one: Desk, client: FlaskClient) -> None:
    assert client.get("/open").get_json() == {"user": None}
    assert client.get("/open", headers=one.bearer("7")).get_json() == {"user": "user-7"}
    assert client.get("/open", headers=header("a.b.c")).get_json() == {"user": None}


def test_an_unprotected_view_sees_nobody_in_a_request_of_another_site(one: Desk) -> None:
    @one.app.post("/post")
    def post() -> Any:
        return {"user": bool(current_user)}

    client = one.app.test_client()
    client.get("/login-by-cookie/1")
    assert client.post("/post").get_json() == {"user": True}
    assert client.post("/post", headers={"Origin": "https://evil.example"}).get_json() == {"user": False}


def test_the_user_is_loaded_when_first_touched_and_once(one: Desk) -> None:
    @one.app.get("/touch/<int:times>")
    @auth_required
    def touch(times: int) -> Any:
        return {"same": len({id(current_user._get_current_object()) for _ in range(times)})}

    client, bearer = one.app.test_client(), one.bearer()
    one.users.loads = 0
    client.get("/touch/0", headers=bearer)
    assert one.users.loads == 0
    assert client.get("/touch/3", headers=bearer).get_json() == {"same": 1}
    assert one.users.loads == 1


def test_a_login_within_the_request_changes_who_it_is(one: Desk) -> None:
    @one.app.post("/switch")
    def switch() -> Any:
        before = current_user.username
        given = one.login("2", kinds=("session",))
        flask_session["_otpauth"] = f"s.{given.cookie}"
        one.sessions.forget(request._get_current_object())  # type: ignore[attr-defined]
        return {"before": before, "after": current_user.username}

    client = one.app.test_client()
    client.get("/login-by-cookie/1")
    assert client.post("/switch").get_json() == {"before": "user-1", "after": "user-2"}


def test_two_requests_of_one_test_never_share_a_user(one: Desk, client: FlaskClient) -> None:
    # As pytest-flask does it: one app context for the whole test, and so one g for all of its requests.
    with one.app.test_request_context():
        first = client.get("/auth", headers=one.bearer("1")).get_json()
        second = client.get("/auth", headers=one.bearer("2")).get_json()
        assert client.get("/auth").status_code == 401
        assert not current_user
        assert not [name for name in g if "otpauth" in name]
    assert (first["user"], second["user"]) == ("user-1", "user-2")


def test_requests_of_many_threads_see_their_own_user(one: Desk) -> None:
    bearers = {str(number): one.bearer(str(number)) for number in range(8)}

    def ask(number: int) -> bool:
        user_id = str(number % 8)
        answer = one.app.test_client().get("/otp", headers=bearers[user_id])
        return bool(answer.get_json()["user"] == f"user-{user_id}")

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_a_user_who_vanishes_within_the_request_is_nobody(one: Desk) -> None:
    @one.app.get("/vanish")
    @auth_required
    def vanish() -> Any:
        one.users.accounts.clear()
        return {"user": bool(current_user), "session": bool(current_session)}

    assert one.app.test_client().get("/vanish", headers=one.bearer()).get_json() == {"user": False, "session": True}


def test_two_apps_in_one_process_know_their_own_logins_only() -> None:
    first, second = desk(OTPAUTH_APP_NAME="first"), desk(OTPAUTH_APP_NAME="second")
    for made in (first, second):
        made.app.add_url_rule("/", view_func=otp_required(who), endpoint="view")
    bearer = first.bearer()
    assert first.app.test_client().get("/", headers=bearer).status_code == 200
    assert second.app.test_client().get("/", headers=bearer).status_code == 401


def test_the_clock_of_the_app_counts(one: Desk, client: FlaskClient) -> None:
    assert isinstance(one.clock, StillClock)
    bearer = one.bearer()
    one.clock.advance(901)
    assert client.get("/auth", headers=bearer).status_code == 401
    with one.app.test_request_context(headers=bearer):
        assert request.headers["Authorization"]
        assert not current_user
