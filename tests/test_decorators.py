"""Protected views: who passes, how a refusal is answered, and who the current user is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask import session as flask_session
from flask.testing import FlaskClient
from flask.views import MethodView

from flask_otpauth.decorators import (
    auth_required,
    current_session,
    current_user,
    otp_required,
    protect,
    requirements,
)
from flask_otpauth.types import Caller, Session
from tests.memory_sessions import Desk, desk, header

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


# --- who passes ---


def test_a_finished_login_passes(one: Desk, client: FlaskClient) -> None:
    answer = client.get("/auth", headers=weak(one))
    assert (answer.status_code, answer.get_json()["user"]) == (200, "user-1")
    assert client.get("/otp", headers=one.bearer("2")).get_json()["user"] == "user-2"


def test_nobody_is_asked_to_log_in(client: FlaskClient) -> None:
    answer = client.get("/auth")
    assert (answer.status_code, answer.mimetype) == (401, PROBLEM)
    assert answer.get_json() == {
        "type": "urn:flask-otpauth:authentication_required",
        "title": "Authentication required",
        "status": 401,
        "detail": "Authentication required.",
        "code": "authentication_required",
    }
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Authorization, Cookie"


def test_a_bad_token_is_told_so(client: FlaskClient) -> None:
    answer = client.get("/auth", headers=header("a.b.c"))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_cookie_passes_and_dies_with_its_session(one: Desk, client: FlaskClient) -> None:
    client.get("/login-by-cookie/1")
    old = client.get_cookie("session")
    assert old is not None
    assert client.get("/otp").status_code == 200
    one.sessions.end_all("1")
    assert client.get("/otp").status_code == 401
    client.set_cookie("session", old.value)
    assert client.get("/otp").status_code == 401


def test_a_request_of_another_site_by_cookie_is_refused(client: FlaskClient) -> None:
    client.get("/login-by-cookie/1")
    answer = client.post("/otp", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.get_json()["code"]) == (403, "cross_origin")
    assert client.post("/otp", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert client.post("/otp").status_code == 200


def test_a_login_without_a_code_doesnt_pass_where_one_is_asked_for(one: Desk, client: FlaskClient) -> None:
    answer = client.get("/otp", headers=weak(one))
    assert (answer.status_code, answer.get_json()["code"]) == (401, "insufficient_user_authentication")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer error="insufficient_user_authentication"')
    assert "max_age" not in answer.headers["WWW-Authenticate"]


def test_a_store_that_is_away_is_503(one: Desk, client: FlaskClient) -> None:
    bearer = one.bearer()
    one.store.down = True
    answer = client.get("/auth", headers=bearer)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "service_unavailable")
    assert answer.headers["Retry-After"] == "5"


def test_options_passes(one: Desk) -> None:
    @one.app.route("/preflight", methods=["OPTIONS"], provide_automatic_options=False)
    @otp_required
    def preflight() -> str:
        return "yes"

    assert one.app.test_client().options("/preflight").data == b"yes"


def _view(one: Desk, decorator: Callable[[Any], Any]) -> FlaskClient:
    one.app.add_url_rule("/view", view_func=decorator(lambda: "in"), endpoint="view")
    return one.app.test_client()


def test_a_role_is_read_from_the_user_now(one: Desk) -> None:
    client = _view(one, auth_required(roles={"admin", "owner"}))
    one.users.person("1", "user")
    bearer = one.bearer("1")
    answer = client.get("/view", headers=bearer)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden")
    one.users.person("1", "user", "admin")
    assert client.get("/view", headers=bearer).status_code == 200
    del one.users.accounts["1"]
    assert client.get("/view", headers=bearer).status_code == 401


def test_freshness_is_the_age_of_the_code(one: Desk) -> None:
    client = _view(one, otp_required(fresh=timedelta(minutes=5)))
    bearer = one.bearer()
    one.clock.advance(299)
    assert client.get("/view", headers=bearer).status_code == 200
    one.clock.advance(2)
    answer = client.get("/view", headers=bearer)
    assert (answer.status_code, answer.get_json()["max_age"]) == (401, 300)
    assert 'max_age="300"' in answer.headers["WWW-Authenticate"]


def test_freshness_true_is_the_lifetime_of_the_settings(one: Desk) -> None:
    client = _view(one, auth_required(fresh=True))
    bearer = weak(one)
    assert client.get("/view", headers=bearer).status_code == 200
    one.clock.advance(301)
    assert client.get("/view", headers=bearer).status_code == 401


def test_a_lacking_code_tells_the_age_that_it_may_have(one: Desk) -> None:
    answer = _view(one, otp_required(fresh=timedelta(seconds=60))).get("/view", headers=weak(one))
    assert answer.get_json()["max_age"] == 60


def test_a_refreshed_token_never_meets_freshness(one: Desk) -> None:
    client = _view(one, otp_required(fresh=True))
    given = one.login()
    renewed, _ = one.sessions.refresh(str(given.refresh_token))
    assert client.get("/view", headers=header(given.access_token)).status_code == 200
    assert client.get("/view", headers=header(renewed.access_token)).status_code == 401
    assert client.get("/otp", headers=header(renewed.access_token)).status_code == 200


def test_a_later_step_up_makes_no_earlier_credential_fresh(one: Desk) -> None:
    client = _view(one, otp_required(fresh=True))
    given = one.login(amr=("pwd",), code=False)
    found: list[Session] = []

    @one.app.get("/take")
    @auth_required
    def take() -> str:
        found.append(current_session._get_current_object())
        return ""

    client.get("/take", headers=header(given.access_token))
    held = found[0]
    raised = one.sessions.raise_assurance(
        held.sid, held.key, one.users.accounts["1"], amr=("pwd", "otp"), code=True, caller=Caller()
    )
    assert raised is not None
    assert client.get("/view", headers=header(raised.access_token)).status_code == 200
    assert client.get("/view", headers=header(given.access_token)).status_code == 401


def test_a_method_must_be_among_those_proved(one: Desk) -> None:
    client = _view(one, otp_required(methods={"totp", "sms"}))
    assert client.get("/view", headers=one.bearer(amr=("pwd", "otp", "sms"))).status_code == 200
    assert client.get("/view", headers=one.bearer(amr=("pwd", "otp"))).status_code == 401


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"roles": "admin"}, TypeError),
        ({"roles": 7}, TypeError),
        ({"roles": {1}}, TypeError),
        ({"roles": set()}, ValueError),
        ({"methods": "sms"}, TypeError),
        ({"methods": []}, ValueError),
        ({"fresh": 0}, ValueError),
        ({"fresh": -1.5}, ValueError),
        ({"fresh": float("nan")}, ValueError),
        ({"fresh": float("inf")}, ValueError),
        ({"fresh": "5 minutes"}, TypeError),
        ({"fresh": timedelta(0)}, ValueError),
        ({"fresh": timedelta(seconds=-1)}, ValueError),
        ({"role": {"admin"}}, TypeError),
    ],
)
def test_wrong_arguments_are_told_when_the_view_is_decorated(asked: dict[str, Any], error: type[Exception]) -> None:
    for decorator in (auth_required, otp_required):
        with pytest.raises(error):
            decorator(**asked)


def test_what_is_no_view_is_told_when_it_is_decorated() -> None:
    wrong: Any
    for wrong in ({"admin"}, "admin", 7):
        with pytest.raises(TypeError):
            auth_required(wrong)
        with pytest.raises(TypeError):
            auth_required()(wrong)

    class Views(MethodView):
        """Views."""

    with pytest.raises(TypeError, match="decorators"):
        otp_required(Views)


def test_asking_for_no_freshness_asks_for_none() -> None:
    assert requirements(code=True, fresh=False).fresh is None
    assert requirements(code=True, fresh=300) == requirements(code=True, fresh=timedelta(minutes=5))
    assert requirements(code=True, fresh=0.5).fresh == 0.5


# --- where it may be put ---


def test_with_and_without_parentheses_on_all_kinds_of_views(one: Desk) -> None:
    class Whole(MethodView):
        decorators = [otp_required, auth_required(methods={"otp"})]  # noqa: RUF012 - as Flask's docs write it

        def get(self, number: int) -> str:
            return f"{current_user.username} {number}"

    class Methods(MethodView):
        def get(self) -> str:
            return "open"

        @otp_required()
        def post(self) -> str:
            return str(current_user.username)

        @auth_required
        async def put(self) -> str:
            await asyncio.sleep(0)
            return str(current_user.username)

    @one.app.get("/async")
    @otp_required
    async def asynchronous() -> str:
        await asyncio.sleep(0)
        return str(current_user.username)

    one.app.add_url_rule("/whole/<int:number>", view_func=Whole.as_view("whole"))
    one.app.add_url_rule("/methods", view_func=Methods.as_view("methods"))
    client, bearer = one.app.test_client(), one.bearer()
    for method, path, said in (
        ("GET", "/whole/7", b"user-1 7"),
        ("POST", "/methods", b"user-1"),
        ("PUT", "/methods", b"user-1"),
        ("GET", "/async", b"user-1"),
    ):
        assert client.open(path, method=method).status_code == 401
        assert client.open(path, method=method, headers=bearer).data == said
    assert client.get("/methods").data == b"open"


def test_a_decorated_view_keeps_its_name_and_text() -> None:
    @otp_required
    def transfer() -> str:
        """Move money."""
        return ""

    assert (transfer.__name__, transfer.__doc__) == ("transfer", "Move money.")


def test_a_whole_blueprint_and_those_in_it(one: Desk) -> None:
    outer, inner = Blueprint("outer", __name__, url_prefix="/outer"), Blueprint("inner", __name__, url_prefix="/inner")

    @outer.get("/")
    def first() -> Any:
        return who()

    @inner.route("/", methods=["GET", "OPTIONS"])
    def second() -> Any:
        return "in"

    protect(outer, code=True, methods={"otp"})
    outer.register_blueprint(inner)
    one.app.register_blueprint(outer)
    client = one.app.test_client()
    for path in ("/outer/", "/outer/inner/"):
        assert client.get(path).mimetype == PROBLEM
        assert client.get(path, headers=weak(one)).status_code == 401
        answer = client.get(path, headers=one.bearer())
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert client.options("/outer/inner/").data == b"in"
    assert client.get("/open").status_code == 200
    with pytest.raises(TypeError):
        protect(Blueprint("x", __name__), roles="admin")


def test_error_handlers_of_the_host_swallow_no_refusal(one: Desk) -> None:
    greedy = Blueprint("greedy", __name__, url_prefix="/greedy")
    greedy.register_error_handler(Exception, lambda _: ("fine", 200))
    one.app.register_error_handler(Exception, lambda _: ("fine", 200))
    one.app.register_error_handler(401, lambda _: ("fine", 200))

    @greedy.get("/")
    @otp_required
    def secret() -> str:
        return "secret"

    one.app.register_blueprint(greedy)
    answer = one.app.test_client().get("/greedy/")
    assert (answer.status_code, answer.mimetype) == (401, PROBLEM)


def test_without_the_extension_the_error_says_what_to_do() -> None:
    app = Flask("bare")
    app.add_url_rule("/", view_func=otp_required(lambda: "in"), endpoint="view")
    app.testing = True
    with pytest.raises(RuntimeError, match=r"OTPAuth\(app\)"):
        app.test_client().get("/")


def test_nothing_is_hung_on_the_app() -> None:
    app = Flask("host")
    desk(app, SECRET_KEY="x" * 40)
    assert not app.before_request_funcs
    assert not app.after_request_funcs
    assert not app.teardown_request_funcs
