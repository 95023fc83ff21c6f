"""The endpoints in the document of a host that has one of its own, made by the real packages."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate

from flask_otpauth import OTPAuth, otp_required
from flask_otpauth.openapi import merge

Document = dict[str, Any]
Prepare = Callable[[Any], Any]

EMPTY = {"openapi": "3.1.0", "info": {"title": "host", "version": "1"}, "paths": {}}


def prepare(app: Any, tmp_path: Path, **config: Any) -> Any:
    """Give an app the settings of the tests, its instance folder aside."""
    app.config.update(
        TESTING=True, SECRET_KEY="a key of the tests, long enough: 0123456789", OTPAUTH_BCRYPT_ROUNDS=4, **config
    )
    app.instance_path = str(tmp_path / "instance")
    return app


@pytest.fixture
def close() -> Any:
    made: list[Flask] = []
    yield made.append
    for app in made:
        with app.app_context():
            for engine in app.extensions["sqlalchemy"].engines.values():
                engine.dispose()


def check(document: Document, own: str) -> None:
    """See that a merged document is valid and has both parts."""
    validate(document)
    assert own in document["paths"]
    login = document["paths"]["/auth/login"]["post"]
    assert login["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("LoginRequest")
    assert "accessToken" in document["components"]["securitySchemes"]
    assert document["paths"]["/auth/me"]["get"]["security"] == [{"accessToken": []}]


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_apiflask(tmp_path: Path, close: Any, version: str) -> None:
    from apiflask import APIFlask

    app = prepare(APIFlask("host", title="Bank"), tmp_path, OPENAPI_VERSION=version)
    auth = OTPAuth(app)
    close(app)
    app.spec_processor(auth.merge_openapi)

    @app.get("/pets")
    @otp_required
    def pets() -> dict[str, str]:
        """List the pets."""
        return {}

    document = app.test_client().get("/openapi.json").get_json()
    assert (document["openapi"], document["info"]["title"]) == (version, "Bank")
    check(document, "/pets")


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
def test_flask_smorest(tmp_path: Path, close: Any, version: str) -> None:
    from flask.views import MethodView
    from flask_smorest import Api, Blueprint

    app = prepare(
        Flask("host"), tmp_path, API_TITLE="Bank", API_VERSION="v1", OPENAPI_VERSION=version, OPENAPI_URL_PREFIX="/"
    )
    auth = OTPAuth(app)
    close(app)
    api = Api(app)
    auth.merge_openapi(api.spec)
    blueprint = Blueprint("pets", "pets", url_prefix="/pets", description="Pets")

    @blueprint.route("/")
    class Pets(MethodView):
        @blueprint.response(200)
        def get(self) -> list[str]:
            """List the pets."""
            return []

    api.register_blueprint(blueprint)
    document = app.test_client().get("/openapi.json").get_json()
    assert (document["openapi"], document["info"]["title"]) == (version, "Bank")
    assert {"pets", "login"} <= {tag["name"] for tag in document["tags"]}
    check(document, "/pets/")


def test_flask_openapi3(tmp_path: Path, close: Any) -> None:
    from flask_openapi3 import Info, OpenAPI

    app = prepare(OpenAPI("host", info=Info(title="Bank", version="1")), tmp_path)
    auth = OTPAuth(app)
    close(app)

    @app.get("/pets", responses={"200": None})
    def pets() -> dict[str, str]:
        """List the pets."""
        return {}

    auth.merge_openapi(app.api_doc)
    document = app.test_client().get("/openapi/openapi.json").get_json()
    assert (document["openapi"], document["info"]["title"]) == ("3.1.0", "Bank")
    check(document, "/pets")


# --- what is the host's stays ---------------------------------------------------------------------------------------


@pytest.fixture
def ours(make_app: Callable[..., Flask]) -> Document:
    app = make_app()
    return OTPAuth(app).openapi()


def test_what_the_host_has_already_stays_and_ours_is_renamed(ours: Document) -> None:
    host = deepcopy(EMPTY) | {
        "tags": [{"name": "login", "description": "The host's own."}],
        "security": [{"accessToken": []}],
        "paths": {
            "/auth/login": {"get": {"operationId": "login", "responses": {"200": {"description": "A page."}}}},
            "/auth/me": {"get": {"operationId": "own_me", "responses": {"200": {"description": "Mine."}}}},
        },
        "components": {
            "schemas": {
                "User": {"type": "object"},
                "FieldError": deepcopy(ours["components"]["schemas"]["FieldError"]),
            },
            "securitySchemes": {"accessToken": {"type": "http", "scheme": "basic"}},
        },
    }
    before = deepcopy(host)
    assert merge(host, ours) is host
    validate(host)
    assert host["paths"]["/auth/login"]["get"] == before["paths"]["/auth/login"]["get"]
    assert host["paths"]["/auth/me"] == before["paths"]["/auth/me"]
    assert host["paths"]["/auth/login"]["post"]["operationId"] == "otpauth_login"
    assert host["components"]["schemas"]["User"] == {"type": "object"}
    assert "OTPAuthUser" in host["components"]["schemas"]
    assert "OTPAuthFieldError" not in host["components"]["schemas"]
    assert host["components"]["schemas"]["Me"]["properties"]["user"] == {"$ref": "#/components/schemas/OTPAuthUser"}
    assert host["paths"]["/auth/logout"]["post"]["security"] == [{"OTPAuthaccessToken": []}]
    assert host["tags"][0] == before["tags"][0]
    assert [tag["name"] for tag in host["tags"]].count("login") == 1
    # An operation of ours that anybody may call is so in the host's document too, whatever that asks by default.
    assert host["paths"]["/auth/login"]["post"]["security"] == []


def test_merging_twice_changes_nothing_more(ours: Document) -> None:
    for version in ("3.0.3", "3.1.0"):
        host = merge(deepcopy(EMPTY) | {"openapi": version}, ours)
        once = deepcopy(host)
        assert merge(host, ours) == once


def test_3_0_gets_its_own_terms(ours: Document) -> None:
    host = merge(deepcopy(EMPTY) | {"openapi": "3.0.3"}, ours)
    validate(host)
    user = host["components"]["schemas"]["User"]["properties"]
    assert user["email"] == {
        "type": "string", "nullable": True, "description": "E-mail address, canonical.", "example": "ann@example.org",
    }  # fmt: skip
    assert host["components"]["schemas"]["Login"]["properties"]["token_type"]["enum"] == ["Bearer"]
    assert ours["components"]["schemas"]["User"]["properties"]["email"]["type"] == ["string", "null"]


@pytest.mark.parametrize("spec", [{}, {"swagger": "2.0"}, object(), "openapi: 3.1.0"])
def test_what_is_no_document_of_openapi_3_is_refused(ours: Document, spec: object) -> None:
    with pytest.raises(TypeError, match="OpenAPI"):
        merge(spec, ours)
