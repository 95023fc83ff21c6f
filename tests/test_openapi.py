"""The OpenAPI document: valid, complete, and true of every configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from flask_otpauth import OTPAuth, auth_required, otp_required
from flask_otpauth.api import route_faults
from flask_otpauth.api.answers import challenge_body, login_body, session_body, user_body
from flask_otpauth.config import read
from flask_otpauth.errors import OTPAuthError
from flask_otpauth.openapi import OPERATIONS
from flask_otpauth.testing import capture_messages
from tests.described import PAGES, Described, pointer
from tests.test_api import ANN, ISSUED, LOGIN, SESSION

Make = Callable[..., Flask]
Document = dict[str, Any]

PROBLEM = "application/problem+json"

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "names": {"FIELD_NAMES": {"phone": "mobile_number", "challenge_id": "session_id", "access_token": "token"}},
    "names of answers": {"FIELD_NAMES": {"attempts_left": "left", "resend_at": "again_at", "user": "account"}},
    "places": {"ROUTES": {"login": "/sign-in", "me": False, "docs": False, "openapi": "/spec"}, "API_PREFIX": "/v1"},
    "session": {"CREDENTIALS": ("session",)},
    "pages": {"PAGES": True},
    "both": {"CREDENTIALS": ("jwt", "session")},
    "passwordless": {"FIRST_FACTOR": "otp", "REGISTRATION": "closed"},
    "passwordless, by identifier": {"FIRST_FACTOR": "otp", "CHALLENGE_LOOKUP": "identifier"},
    "by identifier, session": {"CHALLENGE_LOOKUP": "identifier", "CREDENTIALS": ("session",)},
    "closed": {"REGISTRATION": "closed"},
    "open, no code": {"REGISTRATION": "open", "SECOND_FACTOR": "never"},
    "no login on confirm": {"LOGIN_ON_CONFIRM": False},
    "one identifier": {"IDENTIFIERS": ("email",), "REGISTER_FIELDS": ("email", "password"), "CODE_LENGTH": 8},
    "login-code": {"REGISTRATION": "login-code", "EXTRA_FIELDS": ("captcha",)},
}


def app_of(make_app: Make, **settings: Any) -> Flask:
    app = make_app(**{f"OTPAUTH_{name}": value for name, value in settings.items()})
    OTPAuth(app)
    return app


def served(app: Flask, path: str = "/auth/openapi.json") -> Document:
    response = app.test_client().get(path)
    assert response.status_code == 200
    document: Document = response.get_json()
    return document


def operations(document: Document) -> dict[str, Any]:
    """Give the operations by their ids."""
    return {one["operationId"]: one for path in document["paths"].values() for one in path.values()}


def codes(operation: Any) -> dict[str, list[str]]:
    """Give the codes of an operation's problems by status."""
    return {
        status: response["content"][PROBLEM]["schema"]["allOf"][1]["properties"]["code"]["enum"]
        for status, response in operation["responses"].items()
        if PROBLEM in response.get("content", {})
    }


# --- every configuration --------------------------------------------------------------------------------------------


@pytest.fixture(params=CONFIGURATIONS)
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CONFIGURATIONS[request.param]


@pytest.fixture
def document(make_app: Make, settings: dict[str, Any]) -> Document:
    return served(app_of(make_app, **settings), "/spec" if "API_PREFIX" in settings else "/auth/openapi.json")


def test_it_is_valid_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_endpoint_of_the_url_map_is_described(make_app: Make, settings: dict[str, Any]) -> None:
    app = app_of(make_app, **settings)
    mapped = {
        (rule.rule, method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("otpauth.") and rule.endpoint not in PAGES
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    document = served(app, "/spec" if "API_PREFIX" in settings else "/auth/openapi.json")
    assert {(path, method) for path, item in document["paths"].items() for method in item} == {
        (rule.replace("<", "{").replace(">", "}"), method) for rule, method in mapped
    }


def test_everything_has_what_a_reader_needs(document: Document) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    assert all(tag["description"] for tag in document["tags"])
    for operation in operations(document).values():
        assert operation["summary"]
        assert operation["description"]
        assert set(operation["tags"]) <= tags
        for way in operation["security"]:
            assert set(way) <= set(document["components"]["securitySchemes"])
        for response in operation["responses"].values():
            assert response["description"]
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))


def test_each_example_fits_its_schema(document: Document) -> None:
    described, media_type = Described(document), PROBLEM.replace("/", "~1")
    checked = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in media:
                assert described.invalid(media["example"], media["schema"]["$ref"]) == []
                checked += 1
            for status, response in operation["responses"].items():
                found = response.get("content", {}).get(PROBLEM, {}).get("examples", {})
                where = f"#/paths/{pointer(path)}/{method}/responses/{status}/content/{media_type}"
                for code, example in found.items():
                    assert example["value"]["code"] == code
                    assert described.invalid(example["value"], f"{where}/schema") == []
                    checked += 1
    assert checked > 20


def test_each_status_has_the_codes_of_its_errors(document: Document) -> None:
    known: dict[str, type[OTPAuthError]] = {error.code: error for error in OTPAuthError.__subclasses__()}
    for operation in operations(document).values():
        for status, found in codes(operation).items():
            assert [known[code].status for code in found] == [int(status)] * len(found)
            headers = operation["responses"][status]["headers"]
            assert {"Cache-Control", "Vary"} <= set(headers)
            if {"authentication_required", "insufficient_user_authentication"} & set(found):
                assert "WWW-Authenticate" in headers
            if {"rate_limited", "service_unavailable", "delivery_failed"} & set(found):
                assert "Retry-After" in headers


# --- single facts ---------------------------------------------------------------------------------------------------


def test_an_endpoint_without_a_description_is_noticed(make_app: Make) -> None:
    mapped = {rule.endpoint for rule in app_of(make_app).url_map.iter_rules() if rule.endpoint.startswith("otpauth.")}
    assert mapped - PAGES == {f"otpauth.{name}" for name in OPERATIONS}


def test_every_error_of_the_table_is_somewhere(make_app: Make) -> None:
    app = make_app(OTPAUTH_CREDENTIALS=("jwt", "session"))
    auth = OTPAuth(app)

    @app.get("/admin")
    @auth.documented()
    @auth_required(roles={"admin"})
    def admin() -> str:
        return ""

    found = {code for one in operations(served(app)).values() for each in codes(one).values() for code in each}
    assert found == {error.code for error in OTPAuthError.__subclasses__()}


def test_requests_are_described_by_what_checks_them(make_app: Make) -> None:
    document = served(app_of(make_app, FIELD_NAMES={"phone": "mobile_number", "challenge_id": "session_id"}))
    schemas = document["components"]["schemas"]
    login = schemas["LoginRequest"]
    assert set(login["properties"]) == {"identifier", "username", "email", "mobile_number", "password"}
    assert login["properties"]["identifier"] | {"minLength": 1, "maxLength": 320} == login["properties"]["identifier"]
    assert login["required"] == ["password"]
    assert login["additionalProperties"] is False
    assert login["allOf"] == [
        {"oneOf": [{"required": [name]} for name in ("identifier", "username", "email", "mobile_number")]}
    ]
    register = schemas["RegisterRequest"]
    assert set(register["required"]) == {"username", "password"}
    assert register["allOf"] == [{"anyOf": [{"required": ["mobile_number"]}, {"required": ["email"]}]}]
    verify = schemas["VerifyOtpRequest"]
    assert set(verify["required"]) == {"session_id", "otp"}
    assert verify["properties"]["otp"]["pattern"].startswith("^(?:[0-9]{6}|")
    assert "session_id" in schemas["Challenge"]["properties"]
    assert "mobile_number" in schemas["User"]["properties"]


@pytest.mark.parametrize(
    ("settings", "schema", "body", "good"),
    [
        ({}, "LoginRequest", {"identifier": "ann", "password": "x"}, True),
        ({}, "LoginRequest", {"identifier": "ann", "username": "ann", "password": "x"}, False),
        ({}, "LoginRequest", {"password": "x"}, False),
        ({}, "LoginRequest", {"identifier": 7, "password": "x"}, False),
        ({}, "LoginRequest", {"identifier": "ann", "password": "x", "role": "admin"}, False),
        ({}, "VerifyOtpRequest", {"challenge_id": "c", "otp": "123 456"}, True),
        ({}, "VerifyOtpRequest", {"challenge_id": "c", "otp": "12345"}, False),
        ({}, "VerifyOtpRequest", {"challenge_id": "c", "otp": "１２３４５６"}, False),  # noqa: RUF001
        ({}, "VerifyOtpRequest", {"otp": "123456"}, False),
        ({}, "VerifyOtpRequest", {"identifier": "ann", "otp": "123456"}, False),
        ({"CHALLENGE_LOOKUP": "identifier"}, "VerifyOtpRequest", {"identifier": "ann", "otp": "123456"}, True),
        ({"CHALLENGE_LOOKUP": "identifier"}, "VerifyOtpRequest", {"otp": "123456"}, False),
        ({"CREDENTIALS": ("session",)}, "VerifyOtpRequest", {"otp": "123456"}, True),
        ({"CREDENTIALS": ("session",)}, "ResendOtpRequest", {}, True),
        (
            {"CREDENTIALS": ("session",), "CHALLENGE_LOOKUP": "identifier"},
            "VerifyOtpRequest",
            {"identifier": "ann", "challenge_id": "c", "otp": "123456"},
            False,
        ),
        ({"CODE_LENGTH": 8}, "VerifyOtpRequest", {"challenge_id": "c", "otp": "123456"}, False),
        ({"EXTRA_FIELDS": ("captcha",)}, "LoginRequest", {"identifier": "a", "password": "x", "captcha": "y"}, True),
        ({"FIRST_FACTOR": "otp"}, "LoginRequest", {"identifier": "ann"}, True),
        ({"FIRST_FACTOR": "otp"}, "LoginRequest", {"identifier": "ann", "password": "x"}, False),
        ({}, "StepUpRequest", {"method": "sms"}, True),
        ({}, "MfaRequest", {"mfa_enabled": True}, True),
        ({}, "MfaRequest", {"mfa_enabled": 1}, False),
    ],
)
def test_a_body_fits_the_description_if_the_gate_lets_it_in(
    make_app: Make, settings: dict[str, Any], schema: str, body: dict[str, Any], good: bool
) -> None:
    app = app_of(make_app, **settings)
    described = Described(served(app))
    assert (described.invalid(body, f"#/components/schemas/{schema}") == []) is good
    paths = {
        "Login": "login",
        "VerifyOtp": "verify-otp",
        "ResendOtp": "resend-otp",
        "StepUp": "step-up",
        "Mfa": "mfa",
    }
    client = app.test_client()
    if "session" in settings.get("CREDENTIALS", ()):
        with client.session_transaction() as flask_session:
            flask_session["_otpauth"] = "c." + "a" * 43
    name = schema.removesuffix("Request")
    answer = client.open(f"/auth/{paths[name]}", method="PUT" if name == "Mfa" else "POST", json=body).get_json()
    assert (answer["code"] != "validation_failed" if "code" in answer else True) is good


def test_answers_have_the_described_members_and_no_others(make_app: Make) -> None:
    schemas = served(app_of(make_app))["components"]["schemas"]

    def members(name: str) -> set[str]:
        return set(schemas[name]["properties"])

    assert members("Challenge") == {*challenge_body(ISSUED), "mfa_required"}
    assert members("Login") == set(login_body(LOGIN, ""))
    assert members("User") == set(user_body(ANN))
    assert members("Session") == set(session_body(SESSION))


@pytest.mark.parametrize(
    ("settings", "schemes", "me", "verify"),
    [
        (("jwt",), {"accessToken", "refreshToken"}, [{"accessToken": []}], []),
        (
            ("session",),
            {"refreshToken", "sessionCookie"},
            [{"sessionCookie": []}],
            [{}, {"sessionCookie": []}],
        ),
        (
            ("jwt", "pages"),
            {"accessToken", "refreshToken", "sessionCookie"},
            [{"accessToken": []}, {"sessionCookie": []}],
            [],
        ),
        (
            ("jwt", "session"),
            {"accessToken", "refreshToken", "sessionCookie"},
            [{"accessToken": []}, {"sessionCookie": []}],
            [{}, {"sessionCookie": []}],
        ),
    ],
)
def test_security_schemes_follow_the_credentials(
    make_app: Make, settings: tuple[str, ...], schemes: set[str], me: list[Any], verify: list[Any]
) -> None:
    credentials = tuple(one for one in settings if one != "pages")
    document = served(app_of(make_app, CREDENTIALS=credentials, PAGES="pages" in settings))
    found = operations(document)
    assert set(document["components"]["securitySchemes"]) == schemes
    assert found["me"]["security"] == me
    assert found["verify_otp"]["security"] == verify
    assert found["refresh"]["security"] == [{"refreshToken": []}]
    assert found["login"]["security"] == []


def test_tokens_in_cookies_and_in_other_headers_are_told(make_app: Make) -> None:
    app = make_app(
        JWT_TOKEN_LOCATION=["headers", "cookies"], JWT_HEADER_NAME="X-Token", JWT_HEADER_TYPE="", JWT_COOKIE_SECURE=True
    )
    OTPAuth(app)
    document = served(app)
    schemes = document["components"]["securitySchemes"]
    assert (schemes["accessToken"]["in"], schemes["accessToken"]["name"]) == ("header", "X-Token")
    assert schemes["tokenCookie"]["name"] == "access_token_cookie"
    assert "cross_origin" in codes(operations(document)["logout"])["403"]


def test_only_what_can_happen_is_told(make_app: Make) -> None:
    plain = operations(served(app_of(make_app)))
    assert "cross_origin" not in str(codes(plain["logout"]))
    assert set(codes(plain["login"])["403"]) == {"no_method", "forbidden"}
    assert "identifier_taken" in codes(plain["verify_otp"])["409"]
    bare = operations(served(app_of(make_app, REGISTRATION="open", SECOND_FACTOR="never")))
    assert "403" not in bare["login"]["responses"]
    assert "409" not in bare["verify_otp"]["responses"]
    assert set(bare["register"]["responses"]) >= {"201", "409"}
    assert "202" not in bare["register"]["responses"]


def test_a_host_that_is_asked_before_a_code_is_sent_may_refuse(make_app: Make) -> None:
    app = make_app()
    auth = OTPAuth(app)
    auth.before_send(lambda request: False)
    document = served(app)
    found = operations(document)
    refusing = {name for name, one in found.items() if "forbidden" in codes(one).get("403", ())}
    assert refusing == {"register", "login", "resend_otp", "step_up"}
    with capture_messages(app):
        ann = {"username": "ann", "password": "correct horse battery", "email": "ann@example.org"}
        response = app.test_client().post("/auth/register", json=ann)
    assert response.status_code == 403
    assert Described(document).faults("POST", "/auth/register", response) == []


# --- how it is served -----------------------------------------------------------------------------------------------


def test_it_is_served_whole_and_never_stored(make_app: Make) -> None:
    app = make_app()
    auth = OTPAuth(app)
    auth.response_shaper(lambda answer: pytest.fail(f"the shaper saw {answer}"))
    response = app.test_client().get("/auth/openapi.json")
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert app.test_client().post("/auth/openapi.json").status_code == 405


def test_it_is_made_once(make_app: Make) -> None:
    app = make_app()
    auth = OTPAuth(app)
    made: list[Document] = []
    auth.openapi_shaper(lambda document: made.append(document))  # noqa: PLW0108 - gives None, as a shaper may
    client = app.test_client()
    assert client.get("/auth/openapi.json").data == client.get("/auth/openapi.json").data
    assert len(made) == 1


def test_it_names_where_the_app_is_mounted(make_app: Make) -> None:
    client = app_of(make_app).test_client()
    for number in range(20):
        found = client.get("/auth/openapi.json", environ_overrides={"SCRIPT_NAME": f"/mounted-{number}"})
        assert found.get_json()["servers"] == [{"url": f"/mounted-{number}"}]
    assert client.get("/auth/openapi.json").get_json()["servers"] == [{"url": "/"}]


def test_a_package_that_is_not_installed_has_a_version_too(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", lost)
    assert served(app_of(make_app))["info"]["version"] == "0"


def test_nothing_of_it_is_imported_before_it_is_asked_for() -> None:
    script = (
        "import sys; from flask import Flask; from flask_otpauth import OTPAuth\n"
        "app = Flask('host'); app.config.update(TESTING=True, SECRET_KEY='k' * 40,"
        " SQLALCHEMY_DATABASE_URI='sqlite://'); OTPAuth(app)\n"
        "def there(): return [name for name in sys.modules if 'openapi' in name]\n"
        "assert there() == [], there()\n"
        "assert app.test_client().get('/auth/openapi.json').status_code == 200\n"
        "assert there()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=120)


def test_what_is_switched_off_is_gone(make_app: Make) -> None:
    client = app_of(make_app, ROUTES={"openapi": False, "docs": False}).test_client()
    assert client.get("/auth/openapi.json").status_code == 404
    assert client.get("/auth/docs").status_code == 404
    assert client.get("/auth/docs/swagger-ui/docs.js").status_code == 404


def test_a_page_without_its_document_is_refused_at_the_start() -> None:
    faults = route_faults(read({"OTPAUTH_ROUTES": {"openapi": False}})[0])
    assert faults == ["OTPAUTH_ROUTES switches off 'openapi', which 'docs' shows; switch 'docs' off too."]


# --- what the host adds ---------------------------------------------------------------------------------------------


class Transfer(BaseModel):
    """A transfer."""

    amount: int
    to: Place


class Place(BaseModel):
    """Where it goes."""

    iban: str


Transfer.model_rebuild()


def test_views_of_the_host_are_told_with_what_the_decorators_ask(make_app: Make) -> None:
    app = make_app(OTPAUTH_CREDENTIALS=("jwt", "session"))
    auth = OTPAuth(app)

    @app.get("/auth/private")
    @auth.documented(responses={200: {"type": "object"}, 404: None}, query={"page": {"type": "integer"}})
    @otp_required
    def private() -> str:
        """
        Answer whoever has proved a code.

        And nobody else.
        """
        return ""

    @app.post("/transfers/<int:number>")
    @otp_required(fresh=timedelta(minutes=5), roles={"teller"})
    @auth.documented(summary="Move money", description="At once.", tag="bank", request=Transfer)
    def transfer(number: int) -> str:
        return str(number)

    @app.get("/open")
    @auth.documented()
    def open_view() -> str:
        return ""

    @app.get("/silent")
    @otp_required
    def silent() -> str:
        """Stand in no document."""
        return ""

    document = served(app)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert "/silent" not in document["paths"]
    found = operations(document)
    assert found["private"]["summary"] == "Answer whoever has proved a code"
    assert found["private"]["description"] == "And nobody else."
    assert found["private"]["parameters"] == [{"name": "page", "in": "query", "schema": {"type": "integer"}}]
    assert found["private"]["security"] == [{"accessToken": []}, {"sessionCookie": []}]
    assert codes(found["private"]) == {
        "401": ["authentication_required", "insufficient_user_authentication"],
        "503": ["service_unavailable"],
    }
    assert "content" not in found["private"]["responses"]["404"]
    moved = document["paths"]["/transfers/{number}"]["post"]
    assert (moved["summary"], moved["description"], moved["tags"]) == ("Move money", "At once.", ["bank"])
    assert moved["parameters"][0] | {"in": "path", "schema": {"type": "integer"}} == moved["parameters"][0]
    assert codes(moved)["403"] == ["forbidden", "cross_origin"]
    described = Described(document)
    where = "#/paths/~1transfers~1%7Bnumber%7D/post/requestBody/content/application~1json/schema"
    assert described.invalid({"amount": 5, "to": {"iban": "x"}}, where) == []
    assert described.invalid({"amount": 5, "to": {}}, where) != []
    assert (found["open_view"]["security"], found["open_view"]["summary"]) == ([], "open view")


@pytest.mark.parametrize("name", ["me", "login", "logout", "health", "register", "sessions"])
def test_a_view_of_the_host_may_have_the_name_of_an_endpoint(make_app: Make, name: str) -> None:
    app = make_app()
    auth = OTPAuth(app)
    auth.response_bodies(**{name: {"shaped": True}})
    app.add_url_rule("/its", name, auth.documented(summary="The host's")(lambda: ""))
    app.add_url_rule("/its/other", f"otpauth_{name}", auth.documented(summary="Another")(lambda: ""))
    document = served(app)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    found = operations(document)
    assert document["paths"]["/its"]["get"] is found[name]
    assert (found[name]["summary"], found[f"otpauth_{name}"]["summary"]) == ("The host's", "Another")
    # Other bodies are for the endpoint of ours, whatever it is called now.
    ours = found[f"otpauth_otpauth_{name}"]["responses"]["200"]
    assert ours["content"]["application/json"]["schema"]["required"] == ["shaped"]
    assert found[name]["responses"]["200"]["content"]["application/json"]["schema"] == {}


def test_a_browser_that_is_sent_to_a_page_is_told(make_app: Make) -> None:
    app = make_app(OTPAUTH_PAGES=True)
    auth = OTPAuth(app)

    @app.get("/kept")
    @auth.documented()
    @otp_required
    def kept() -> str:
        return ""

    @app.get("/staff")
    @auth.documented()
    @auth_required(roles={"admin"})
    def staff() -> str:
        return ""

    document = served(app)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert set(document["paths"]["/staff"]["get"]["responses"]["403"]["content"]) == {PROBLEM, "text/html"}
    response = app.test_client().get("/kept", headers={"Accept": "text/html"})
    assert response.status_code == 302
    assert set(document["paths"]["/kept"]["get"]["responses"]["302"]["headers"]) >= {"Location", "Cache-Control"}
    assert Described(document).faults("GET", "/kept", response) == []


def test_classes_and_protected_blueprints_are_told(make_app: Make) -> None:
    app = make_app()
    auth = OTPAuth(app)

    class Account(MethodView):
        """All of it."""

        decorators = (auth_required,)

        @auth.documented()
        def get(self) -> str:
            """Show the account."""
            return ""

        @auth.documented()
        @auth_required(roles={"admin"})
        def delete(self) -> str:
            """Remove the account."""
            return ""

        def put(self) -> str:
            return ""

    view = Account.as_view("account")
    for path in ("/account", "/customer"):
        app.add_url_rule(path, view_func=view)
    outer, inner = Blueprint("outer", __name__, url_prefix="/outer"), Blueprint("inner", __name__)
    auth.protect(outer, code=True)

    @inner.get("/kept")
    @auth.documented()
    def kept() -> str:
        return ""

    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    document = served(app)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert {"account_get", "account_get_2", "account_delete", "account_delete_2"} < set(operations(document))
    account = document["paths"]["/account"]
    assert set(account) == {"get", "delete"}
    assert account["get"]["summary"] == "Show the account"
    assert "403" not in account["get"]["responses"]
    assert codes(account["delete"])["403"] == ["forbidden"]
    assert "insufficient_user_authentication" in codes(document["paths"]["/outer/kept"]["get"])["401"]


def test_the_host_may_change_the_document(make_app: Make) -> None:
    app = make_app()
    auth = OTPAuth(app)

    @auth.openapi_shaper
    def rename(document: Document) -> None:
        document["info"]["title"] = "Bank"

    @auth.openapi_shaper
    def replace(document: Document) -> Document:
        return {**document, "externalDocs": {"url": "https://example.org"}}

    found = served(app)
    assert (found["info"]["title"], found["externalDocs"]["url"]) == ("Bank", "https://example.org")
    assert auth.openapi() == {**found, "servers": [{"url": "/"}]}
    assert auth.openapi() is not auth.openapi()


def test_answers_of_another_form_are_told(make_app: Make) -> None:
    app = make_app(OTPAUTH_REGISTRATION="open")
    auth = OTPAuth(app)
    auth.response_bodies(
        register={"message": "Welcome", "number": 7, "more": None},
        login=lambda _: {"sent": True},
        logout={"done": True},
    )
    document = served(app)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    described, found = Described(document), operations(document)
    assert "201" not in found["register"]["responses"]
    assert "204" not in found["logout"]["responses"]
    client = app.test_client()
    ann = {"username": "ann", "password": "correct horse battery", "email": "ann@example.org"}
    with capture_messages(app):
        for path, body in (
            ("/auth/register", ann),
            ("/auth/login", {"identifier": "ann", "password": ann["password"]}),
        ):
            response = client.post(path, json=body)
            assert response.status_code == 200
            assert described.faults("POST", path, response) == []
    where = "#/paths/~1auth~1register/post/responses/200/content/application~1json/schema"
    assert described.invalid({"message": "Welcome", "number": 7, "more": []}, where) == []
    assert described.invalid({"message": 1, "number": 7, "more": []}, where) != []


def test_of_several_apps_one_must_be_named(make_app: Make) -> None:
    auth = OTPAuth()
    one, two = make_app(OTPAUTH_API_PREFIX="/one"), make_app(OTPAUTH_API_PREFIX="/two")
    auth.init_app(one)
    assert "/one/login" in auth.openapi()["paths"]
    auth.init_app(two)
    with pytest.raises(RuntimeError, match="which app"):
        auth.openapi()
    with two.app_context():
        assert "/two/login" in auth.openapi()["paths"]
    assert "/one/login" in auth.openapi(one)["paths"]
    with pytest.raises(RuntimeError, match="which app"):
        auth.openapi(make_app())


def test_it_is_json_of_plain_values(make_app: Make) -> None:
    app = make_app()
    auth = OTPAuth(app)
    assert json.loads(json.dumps(auth.openapi())) == auth.openapi()
