"""Roles, over HTTP and on every database: read from the user at each request, whatever a token says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Blueprint, Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, ForeignKey, String, Table, delete, insert, select, text, update
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flask_otpauth import OTPAuth, UserMixin, auth_required, otp_required
from flask_otpauth.testing import capture_messages
from tests.security.doors import PASSWORD, Clock, Site
from tests.services import KINDS, database_url

VIEWS = ("/auth-admin", "/otp-admin", "/blueprint", "/several")


class Roles:
    """A site, and how its users get and lose roles: by statements on a connection of its own, as another program."""

    def __init__(self, site: Site, db: SQLAlchemy, model: type[Any], link: Table | None) -> None:
        self.site, self._db, self._model, self._link = site, db, model, link

    def give(self, user_id: str, *names: str) -> None:
        """Make these all the roles of a user."""
        with self.site.app.app_context(), self._db.engine.begin() as connection:
            if self._link is None:
                role = ",".join(names)
                connection.execute(update(self._model).where(self._model.id == int(user_id)).values(role=role))
                return
            connection.execute(delete(self._link).where(self._link.c.member_id == int(user_id)))
            roles = self._db.metadata.tables["role"]
            for name in names:
                found = connection.scalar(select(roles.c.id).where(roles.c.name == name))
                if found is None:
                    (found,) = connection.execute(insert(roles).values(name=name)).inserted_primary_key or (None,)
                connection.execute(insert(self._link).values(member_id=int(user_id), role_id=found))


def with_column(db: SQLAlchemy) -> tuple[type[Any], None]:
    class Member(UserMixin, db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)

    return Member, None


def with_relationship(db: SQLAlchemy) -> tuple[type[Any], Table]:
    link = Table(
        "member_role",
        db.metadata,
        Column("member_id", ForeignKey("member.id"), primary_key=True),
        Column("role_id", ForeignKey("role.id"), primary_key=True),
    )

    class Role(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(20), unique=True)

    class Member(db.Model):  # type: ignore[name-defined, misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        username: Mapped[str | None] = mapped_column(String(64), unique=True)
        phone: Mapped[str | None] = mapped_column(String(16), unique=True)
        password_hash: Mapped[str | None] = mapped_column(String(255))
        active: Mapped[bool] = mapped_column(default=True)
        roles: Mapped[list[Any]] = relationship(Role, secondary=link)

    return Member, link


Made = Callable[..., Roles]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    with ExitStack() as stack:

        def make(kind: str = "sqlite", *, related: bool = False, **config: Any) -> Roles:
            app, clock = Flask("host", instance_path=str(tmp_path), root_path=str(tmp_path)), Clock()
            app.config.update(
                TESTING=True,
                SECRET_KEY="a key of the tests, long enough: 0123456789",
                SQLALCHEMY_DATABASE_URI=stack.enter_context(database_url(kind, tmp_path)),
                OTPAUTH_BCRYPT_ROUNDS=4,
                OTPAUTH_CREDENTIALS=("jwt", "session"),
            )
            app.config.update(config)
            db = SQLAlchemy(app)
            model, link = with_relationship(db) if related else with_column(db)
            auth = OTPAuth(app, db=db, user_model=model, clock=clock)
            add_views(app, auth)
            with app.app_context():
                db.create_all()
                stack.callback(db.engine.dispose)
            return Roles(Site(app, auth, clock, stack.enter_context(capture_messages(app))), db, model, link)

        yield make


def add_views(app: Flask, auth: OTPAuth) -> None:
    blueprint = Blueprint("blueprint", "blueprint")
    auth.protect(blueprint, roles={"admin"})

    def view() -> str:
        return "in"

    blueprint.add_url_rule("/blueprint", "view", view)
    app.register_blueprint(blueprint)
    app.add_url_rule("/auth-admin", "auth", auth_required(roles={"admin"})(view))
    app.add_url_rule("/otp-admin", "otp", otp_required(roles={"admin"})(view))
    app.add_url_rule("/several", "several", auth_required(roles={"owner", "admin"})(view))


class Ann:
    """A user with a token and a cookie, in browsers of their own."""

    def __init__(self, roles: Roles) -> None:
        self.site, self.browser = roles.site, roles.site.app.test_client()
        self.held = self.site.enter(self.browser)
        self.bearer = {"Authorization": f"Bearer {self.held['access_token']}"}
        self.id = str(self.held["user"]["id"])

    def statuses(self) -> set[int]:
        by_token = {self.site.app.test_client().get(path, headers=self.bearer).status_code for path in VIEWS}
        return by_token | {self.browser.get(path).status_code for path in VIEWS}

    def told(self) -> list[str]:
        return list(self.browser.get("/auth/me").json["user"]["roles"])  # type: ignore[index]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("related", [False, True], ids=["a column", "a relationship"])
@pytest.mark.parametrize("cache", [0, 30])
def test_a_change_holds_at_once_for_what_is_out(made: Made, kind: str, related: bool, cache: int) -> None:
    roles = made(kind, related=related, OTPAUTH_SESSION_CACHE=cache)
    ann = Ann(roles)
    assert ann.statuses() == {403}
    roles.give(ann.id, "teller", "admin")
    assert ann.statuses() == {200}
    assert ann.told() == ["admin", "teller"]
    roles.give(ann.id, "teller")
    assert ann.statuses() == {403}
    assert ann.told() == ["teller"]
    roles.give(ann.id)
    assert ann.statuses() == {403}
    assert ann.told() == []


@pytest.mark.parametrize("related", [False, True], ids=["a column", "a relationship"])
def test_tokens_and_me_tell_roles_and_tokens_hold_none(made: Made, related: bool) -> None:
    roles = made(related=related)
    ann = Ann(roles)
    assert ann.held["user"]["roles"] == ann.told() == ([] if related else ["user"])
    roles.give(ann.id, "admin", "teller")
    refreshed = roles.site.app.test_client().post(
        "/auth/refresh", headers={"Authorization": f"Bearer {ann.held['refresh_token']}"}
    )
    assert refreshed.json["user"]["roles"] == ["admin", "teller"]  # type: ignore[index]
    for name in ("access_token", "refresh_token"):
        claims = jwt.decode(refreshed.json[name], options={"verify_signature": False})  # type: ignore[index]
        assert not {"role", "roles"} & claims.keys()
        assert "admin" not in str(claims)


def test_a_refusal_is_a_problem_that_names_no_role(made: Made) -> None:
    ann = Ann(made())
    refused = ann.browser.get("/auth-admin")
    assert (refused.status_code, refused.mimetype) == (403, "application/problem+json")
    assert refused.headers["Cache-Control"] == "no-store"
    body = refused.get_json(force=True)
    assert (body["code"], body["status"]) == ("forbidden", 403)
    assert "admin" not in refused.text
    assert ann.site.app.test_client().get("/auth-admin").status_code == 401


def test_a_role_that_a_token_claims_is_none(made: Made) -> None:
    roles = made()
    roles.site.auth.claims_loader(lambda user: {"role": "admin", "roles": ["admin"]})
    ann = Ann(roles)
    claims = jwt.decode(ann.held["access_token"], options={"verify_signature": False})
    assert claims["roles"] == ["admin"]
    assert ann.statuses() == {403}


def test_a_role_without_a_code_is_not_enough_where_one_is_asked_for(made: Made) -> None:
    roles = made(OTPAUTH_SECOND_FACTOR="never", OTPAUTH_PASSWORD_MIN_LENGTH=8)
    ann = Ann(roles)
    roles.give(ann.id, "admin")
    browser = roles.site.app.test_client()
    roles.site.clock.advance(61)
    body = {"identifier": ann.held["username"], "password": PASSWORD}
    assert roles.site.post(browser, "/login", body).status_code == 200
    assert browser.get("/auth-admin").status_code == 200
    refused = browser.get("/otp-admin")
    assert (refused.status_code, refused.get_json(force=True)["code"]) == (401, "insufficient_user_authentication")


@pytest.mark.parametrize("cache", [0, 30])
def test_who_is_disabled_has_no_role(made: Made, cache: int) -> None:
    roles = made(OTPAUTH_SESSION_CACHE=cache)
    ann = Ann(roles)
    roles.give(ann.id, "admin")
    assert ann.statuses() == {200}
    with roles.site.app.app_context(), roles._db.engine.begin() as connection:
        connection.execute(text("UPDATE member SET active = 0"))
    assert ann.statuses() == {401}


def test_nobody_gives_himself_a_role(made: Made) -> None:
    roles = made()
    for field in ("role", "roles"):
        fields = {**roles.site.newcomer(), field: "admin"}
        refused = roles.site.post(roles.site.app.test_client(), "/register", fields)
        assert refused.json["errors"][0]["field"] == field  # type: ignore[index]
